# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One domain: its state, its record, and the deeds that libvirt has for it.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import shlex
import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core import namespace
from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import metadata_xml, read_metadata
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    found,
    is_error,
    is_migrated,
    libvirt,
)

#: Nova presses the power button again as often (libvirt driver, _clean_shutdown): a guest that boots misses the first.
_PRESS_AGAIN = 10.0
#: How long a domain may take to go once it is destroyed, or to end a shutdown that has begun.
_GONE_WITHIN = 30.0

#: virDomainState -> Guest.state
_STATES = {0: "other", 1: "running", 2: "running", 3: "paused", 4: "other", 5: "shutoff", 6: "crashed", 7: "other"}


def state_of(domain: Domain) -> str:
    """Guest.state: running, paused, shutoff, suspended, crashed or other."""
    state = _STATES.get(domain.state()[0], "other")
    return "suspended" if state == "shutoff" and domain.hasManagedSaveImage() else state


def must_not_be_elsewhere(domain: Domain) -> None:
    """Refuse a domain that was migrated away: the guest may run on another host, on this very disk."""
    if is_migrated(*domain.state()[:2]):
        name = domain.name()
        raise Conflict(
            f"domain {name!r} is off here because it was migrated away, and may run on another host on the same disk: "
            "nothing is done with it here. Look for it with `virsh list --all` on the other hosts; "
            f"if it is on none of them, `virsh start {shlex.quote(name)}` on this host, then run again"
        )


def record_of(domain: Domain) -> Record | None:
    """The record in a domain's metadata, the persistent configuration's if it has one. InvalidRecord if unreadable."""
    flag = libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else libvirt.VIR_DOMAIN_AFFECT_LIVE
    text = found(domain.metadata, libvirt.VIR_DOMAIN_METADATA_ELEMENT, namespace.URI, flag)
    return None if text is None else read_metadata(text)


def write_record(domain: Domain, record: Record) -> None:
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else 0
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, metadata_xml(record), namespace.PREFIX, namespace.URI, flags
    )


def set_autostart(domain: Domain, wanted: bool) -> bool:
    """Whether that changed anything."""
    if bool(domain.autostart()) == wanted:
        return False
    domain.setAutostart(int(wanted))
    return True


def start(domain: Domain, *, nowhere_else: bool = False) -> bool:
    """Start it; from a managed save it goes on where it was. A guest in the middle of going down is waited for.

    One that was migrated away is left to people, for two guests on one disk destroy it, unless it is proven that it
    runs ``nowhere_else``.
    """
    if state_of(domain) == "other" and domain.isActive():
        wait_until(
            lambda: state_of(domain) != "other", within=_GONE_WITHIN, what=f"{domain.name()!r} to end its shutdown"
        )
    if not nowhere_else:
        must_not_be_elsewhere(domain)
    if state_of(domain) == "crashed":
        kill(domain)
    if domain.isActive():
        return False
    domain.create()
    return True


def stay_off(domain: Domain) -> None:
    """Have one that was migrated away, and is proven to run nowhere else, be off as any other: libvirt calls it
    migrated until it has been started, be it without its CPUs."""
    if is_migrated(*domain.state()[:2]):
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        kill(domain)


def stop(domain: Domain, *, timeout: float) -> bool:
    """The power button, pressed again every ten seconds; then the plug, as Nova does it. Off already is fine."""
    if not domain.isActive():
        return False
    keep(domain)
    # A guest that doesn't run can't hear the button.
    if timeout > 0 and state_of(domain) in ("running", "other"):
        _press_until_off(domain, time.monotonic() + timeout)
    kill(domain)
    return True


def press(domain: Domain) -> bool:
    """The power button, once. What the guest makes of it is not waited for."""
    if not domain.isActive():
        return False
    keep(domain)
    domain.shutdown()
    return True


def shut_down(domain: Domain, *, timeout: float) -> bool:
    """The power button, pressed again every ten seconds; whether the guest is off within *timeout* seconds."""
    keep(domain)
    _press_until_off(domain, time.monotonic() + timeout)
    return not domain.isActive()


def kill(domain: Domain) -> bool:
    """Pull the plug, and see it gone."""
    if not domain.isActive():
        return False
    keep(domain)
    try:
        domain.destroy()
    except libvirt.libvirtError as exc:
        # It went by itself meanwhile.
        if not is_error(exc, "VIR_ERR_OPERATION_INVALID") or domain.isActive():
            raise
    wait_until(lambda: not domain.isActive(), within=_GONE_WITHIN, what=f"{domain.name()!r} to be off")
    return True


def keep(domain: Domain) -> bool:
    """Make a transient domain persistent, so that it doesn't vanish when it stops."""
    if domain.isPersistent():
        return False
    flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
    domain.connect().defineXML(domain.XMLDesc(flags))
    return True


def undefine(domain: Domain, *, keep_variables: bool = False) -> None:
    """The one place that undefines.

    What libvirt keeps beside a domain goes with it: managed save, snapshot and checkpoint metadata, TPM state, and,
    unless ``keep_variables``, those of UEFI firmware.
    """
    if domain.isActive():
        raise Conflict(f"domain {domain.name()!r} is running and can't be undefined; stop it first")
    flags = (
        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    )
    flags |= libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM if keep_variables else libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    # The TPM's flags came with libvirt 8.9; before, its state always went with the domain.
    flags |= getattr(libvirt, "VIR_DOMAIN_UNDEFINE_TPM", 0)
    domain.undefineFlags(flags)


def rename(conn: Connection, domain: Domain, name: str) -> bool:
    if domain.name() == name:
        return False
    other = found(conn.lookupByName, name)
    if other is not None:
        raise Conflict(
            f"server {domain.UUIDString()} can't be named {name!r}: "
            f"domain {other.UUIDString()} on this host has that name"
        )
    domain.rename(name)
    return True


def wait_until(fact: t.Callable[[], bool], *, within: float, what: str) -> None:
    """Poll a fact that is cheap to ask for; FlotillaError when it doesn't come true in time."""
    if not became(fact, within=within):
        raise FlotillaError(f"waited {within:g} s for {what}, and it is not; look at it on its host, then run again")


def became(fact: t.Callable[[], bool], *, within: float) -> bool:
    deadline = time.monotonic() + within
    pause = 0.02
    while not fact():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.5)
    return True


def _press_until_off(domain: Domain, deadline: float) -> None:
    while domain.isActive() and time.monotonic() < deadline:
        try:
            domain.shutdown()
        except libvirt.libvirtError:
            # Gone, or it can't be asked (in another job): the plug is pulled when time is up.
            if not domain.isActive():
                return
        if became(lambda: not domain.isActive(), within=min(_PRESS_AGAIN, max(0.0, deadline - time.monotonic()))):
            return


__all__ = [
    "became",
    "keep",
    "kill",
    "must_not_be_elsewhere",
    "press",
    "record_of",
    "rename",
    "set_autostart",
    "shut_down",
    "start",
    "state_of",
    "stay_off",
    "stop",
    "undefine",
    "wait_until",
    "write_record",
]
