# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest's file systems, frozen for an instant by its agent, and thawed whatever happens.

Note that this module util is **PRIVATE** to the collection.

A guest that stays frozen hangs. So a second process is started first: it thaws the guest if this one is killed before
it could.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Quiesce
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import agent
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Domain,
    libvirt,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.domains import state_of

#: Seconds for the guest to write out what it has in memory: libvirt itself would wait for ever.
_ANSWERED_WITHIN = 60

#: It says that it is ready, waits for a word, and thaws if the pipe ends without one.
_GUARD = """
import sys
import libvirt
libvirt.registerErrorHandler(lambda _context, _error: None, None)
domain = libvirt.open(sys.argv[1]).lookupByUUIDString(sys.argv[2])
print("ready", flush=True)
if not sys.stdin.read():
    domain.fsThaw()
"""


@contextlib.contextmanager
def frozen(conn: Connection, domain: Domain, quiesce: Quiesce) -> t.Iterator[str]:
    """The guest's file systems frozen, if its image wants that and its agent can. Gives how consistent a copy is.

    FlotillaError when the image requires it and it can't be done.
    """
    if not quiesce.wanted:
        if quiesce.required:
            raise FlotillaError(
                f"domain {domain.name()!r}: its image asks for frozen file systems (os_require_quiesce) and has no "
                "hw_qemu_guest_agent: QEMU guest agent is not enabled"
            )
        yield "crash-consistent"
        return
    with _guarded(conn, domain):
        why = _freeze(domain)
        if why and quiesce.required:
            raise FlotillaError(
                f"domain {domain.name()!r}: its file systems can't be frozen, and its image asks for it "
                f"(os_require_quiesce): {why}; start qemu-guest-agent in the guest"
            )
        try:
            yield "file systems frozen" if not why else f"crash-consistent, its agent did not freeze it: {why}"
        finally:
            thaw(domain)


def thaw(domain: Domain) -> None:
    """Thaw the guest. One that is not frozen, or that has no agent, takes no harm."""
    with contextlib.suppress(libvirt.libvirtError), agent.limited(domain, _ANSWERED_WITHIN):
        domain.fsThaw()


def _freeze(domain: Domain) -> str:
    """Why it could not be done; nothing if it was."""
    if state_of(domain) != "running":
        return "the guest is paused"
    try:
        with agent.limited(domain, _ANSWERED_WITHIN):
            domain.fsFreeze()
    except libvirt.libvirtError as exc:
        return message_of(exc)
    return ""


@contextlib.contextmanager
def _guarded(conn: Connection, domain: Domain) -> t.Iterator[None]:
    command = [sys.executable, "-c", _GUARD, conn.getURI(), domain.UUIDString()]
    # A session of its own: what kills this process and its group leaves the guard.
    # The process outlives the module, whose run_command waits for its own.
    guard = subprocess.Popen(  # pylint: disable=ansible-bad-function
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    with guard:
        if guard.stdout is None or guard.stdin is None or not guard.stdout.readline():
            raise FlotillaError(f"domain {domain.name()!r} was not frozen: the process that would thaw it can't start")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                guard.stdin.write(b"done")
                guard.stdin.close()
            guard.wait()


__all__ = ["frozen", "thaw"]
