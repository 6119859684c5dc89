# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Libvirt's migration job while it is at work: begun, steered as Nova does, and its end.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import (
    Wish,
    data_gb,
    downtime_at,
    downtimes,
    in_words,
    limit,
    progress,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Json
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import has_variables
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, transit
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    is_error,
    libvirt,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import Far
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.prechecks import Layout
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ways import host_of_uri

#: As Nova does (libvirt driver, _live_migration_monitor). Looks take the guest's monitor, also while it stands still.
_LOOK = 0.5
_TELL = 1.0

#: Seconds in which the destination of a post-copy learns that its link broke: it asks for a page, and TCP sends that
#: again after two minutes at most.
_NOTICED_WITHIN = 150.0

Report = t.Callable[[t.Mapping[str, Json]], None]


class MoveFailed(FlotillaError):
    """A move that came to nothing. ``status`` is Nova's: failed, cancelled, or error where nobody knows what is.

    ``left``: something is still to be done about it.
    """

    def __init__(self, message: str, *, status: str, migration: str, left: bool = False) -> None:
        super().__init__(message)
        self.left = left
        self.told: dict[str, t.Any] = {"migration": {"id": migration, "status": status, "left": left}}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How libvirt's job ended: ``cause`` is empty where it says that all went well.

    ``handed_over``: all of the guest's memory may have been sent, and then something went wrong. ``paused``: the guest
    was stopped because it took too long. ``last``: what was last seen of it, for a post-copy, of whose sums libvirt
    tells the destination nothing.
    """

    cause: str = ""
    cancelled: bool = False
    handed_over: bool = False
    paused: bool = False
    last: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


def is_encrypted(far: Far) -> bool:
    """Whether the hosts talk by TLS: what QEMU sends goes beside that, and is as much of the guest's."""
    return str(far.end.uri).partition(":")[0].endswith("+tls")


class Steering:
    """One migration of one domain. ``report`` is told how far it is."""

    def __init__(self, domain: Domain, wish: Wish, flavor: Flavor, layout: Layout, report: Report) -> None:
        self._domain = domain
        self._wish = wish
        self._layout = layout
        self._report = report
        gb = data_gb(flavor, layout.copied)
        self._course = downtimes(wish, gb)
        self._limit = limit(wish, gb)
        self._downtime = 0
        self._acted = ""
        self._paused = False
        self._told = 0.0
        self._last: t.Mapping[str, t.Any] = {}

    def move(self, far: Far, texts: t.Mapping[str, str]) -> Ended:
        """Begin the migration, and see it to its end."""
        # QEMU's own is longer than the first of Nova's, and a small guest has gone before the first look.
        self._set_downtime(0.0)
        return self._migrate(far, {**texts, **self._parameters(far)}, self._flags(far))

    def resume(self, far: Far, there: Domain | None) -> Ended:
        """Go on with a migration in post-copy whose link broke, once its domain *there*, at the destination, knows."""
        if there is not None and not domains.became(lambda: transit.is_broken_post_copy(there), within=_NOTICED_WITHIN):
            return Ended(f"{far.end.host} had not noticed after {_NOTICED_WITHIN:g} s that its link broke")
        parameters = self._parameters(far)
        parameters.pop(libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS, None)  # disks are there before post-copy begins
        flags = self._flags(far) & ~libvirt.VIR_MIGRATE_NON_SHARED_INC
        return self._migrate(
            far, parameters, flags | libvirt.VIR_MIGRATE_POSTCOPY | libvirt.VIR_MIGRATE_POSTCOPY_RESUME
        )

    def _migrate(self, far: Far, parameters: t.Mapping[str, t.Any], flags: int) -> Ended:
        raised: list[Exception] = []
        arguments = (far.end.uri, dict(parameters), flags)

        def migrate() -> None:
            try:
                self._domain.migrateToURI3(*arguments)
            except libvirt.libvirtError as exc:
                raised.append(exc)

        thread = threading.Thread(target=migrate, daemon=True)
        thread.start()
        self._watch(lambda: not thread.is_alive(), thread.join)
        return self._end(raised[0] if raised else None)

    def attach(self) -> Ended:
        """See a migration to its end that somebody else has begun."""
        self._watch(lambda: not transit.has_job(self._domain), time.sleep)
        return self._end(None)

    def looked_at(self) -> Ended:
        """One that somebody else has begun, and that is over."""
        return Ended("it was cut off", handed_over=transit.may_be_handed_over(self._domain))

    # -- what is asked of libvirt ---------------------------------------------------------------------------------

    def _flags(self, far: Far) -> int:
        flags = (
            libvirt.VIR_MIGRATE_LIVE
            | libvirt.VIR_MIGRATE_PEER2PEER
            | libvirt.VIR_MIGRATE_PERSIST_DEST
            | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
        )
        if not has_variables(self._domain.XMLDesc(0)):
            # It would leave that file behind, for the next domain of this name; `landing.arrived` takes both away.
            flags |= libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
        if self._layout.shared:
            # Libvirt knows NFS, Ceph and the like; here every shared pool has been proved to be one.
            flags |= libvirt.VIR_MIGRATE_UNSAFE
        if self._layout.copied:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_INC  # what a disk stands on is there
        if is_encrypted(far) if self._wish.tls is None else self._wish.tls:
            flags |= libvirt.VIR_MIGRATE_TLS
        if self._wish.auto_converge and not self._post_copy:
            flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
        if self._wish.parallel:
            flags |= libvirt.VIR_MIGRATE_PARALLEL
        if self._post_copy:
            flags |= libvirt.VIR_MIGRATE_POSTCOPY
        return int(flags)

    @property
    def _post_copy(self) -> bool:
        """Only by name, and never for a guest that is paused: it would touch no page (Nova drops it, too)."""
        asked = self._wish.post_copy or self._wish.timeout_action == "post_copy"
        return asked and domains.state_of(self._domain) != "paused"

    def _parameters(self, far: Far) -> dict[str, t.Any]:
        host = host_of_uri(str(far.end.uri)) or far.end.host
        parameters: dict[str, t.Any] = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://[{host}]" if ":" in host else f"tcp://{host}"
        }
        if self._layout.copied:
            parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = [disk.target for disk in self._layout.copied]
        if self._wish.bandwidth:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = self._wish.bandwidth
            if self._post_copy:
                parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY] = self._wish.bandwidth
        if self._wish.parallel:
            parameters[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = self._wish.parallel
        return parameters

    # -- while it is at work --------------------------------------------------------------------------------------

    def _watch(self, over: t.Callable[[], bool], pause: t.Callable[[float], None]) -> None:
        begin = time.monotonic()
        while not over():
            stats = self._stats()
            if stats:
                self._last = stats
                elapsed = max(time.monotonic() - begin, stats.get("time_elapsed", 0) / 1000)
                self._steer(elapsed, stats)
            pause(_LOOK)

    def _stats(self) -> dict[str, t.Any]:
        """Empty while there is no migration: not yet, or not any more."""
        with contextlib.suppress(libvirt.libvirtError):
            stats = self._domain.jobStats()
            if stats.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT and stats.get("type"):
                return dict(stats)
        return {}

    def _steer(self, elapsed: float, stats: t.Mapping[str, t.Any]) -> None:
        self._set_downtime(elapsed)
        if self._limit is not None and elapsed > self._limit and not self._acted:
            self._act()
        if time.monotonic() - self._told >= _TELL:
            self._told = time.monotonic()
            self._report({"phase": self._acted or "running", "max_downtime": self._downtime, **progress(stats)})

    def _set_downtime(self, elapsed: float) -> None:
        wanted = downtime_at(self._course, elapsed)
        if wanted != self._downtime and self._does(lambda: self._domain.migrateSetMaxDowntime(wanted)):
            self._downtime = wanted

    def _act(self) -> None:
        """The timeout action, once. A migration in post-copy has no way back, and is let go on (Nova)."""
        if transit.is_post_copy(self._domain):
            return
        action = self._wish.timeout_action
        if action == "abort":
            done = self._does(self._domain.abortJob)
            self._acted = f"it took more than {self._limit:g} s" if done else ""
        elif action == "post_copy" and self._post_copy:
            self._acted = "post-copy" if self._does(lambda: self._domain.migrateStartPostCopy(0)) else ""
        else:
            self._paused = domains.state_of(self._domain) == "running" and self._does(self._domain.suspend)
            self._acted = "paused" if self._paused else ""

    def _does(self, deed: t.Callable[[], t.Any]) -> bool:
        """What can't be done now (the memory has not begun to move) is tried again at the next look."""
        try:
            deed()
        except libvirt.libvirtError:
            return False
        return True

    # -- its end --------------------------------------------------------------------------------------------------

    def _end(self, exc: Exception | None) -> Ended:
        aborted = exc is not None and is_error(exc, "VIR_ERR_OPERATION_ABORTED")
        handed_over = not aborted and transit.may_be_handed_over(self._domain)
        if self._paused and not handed_over:
            # Where the guest still is here, it was not moved: it goes on.
            with contextlib.suppress(libvirt.libvirtError):
                if domains.state_of(self._domain) == "paused":
                    self._domain.resume()
        if aborted:
            return Ended(self._acted or "somebody aborted it", cancelled=True)
        if exc is not None:
            return Ended(in_words(message_of(exc)), handed_over=handed_over, paused=self._paused)
        if not self._stays():
            return Ended(last=self._last)
        acted = self._acted if self._wish.timeout_action == "abort" else ""
        # Libvirt lets the guest go on here when no word came back, and it may run there.
        cause = acted or "its migration ended early"
        return Ended(cause, cancelled=bool(acted), handed_over=handed_over, paused=self._paused)

    def _stays(self) -> bool:
        with contextlib.suppress(libvirt.libvirtError):
            return bool(self._domain.isActive())
        return False


__all__ = ["Ended", "MoveFailed", "Report", "Steering"]
