# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guest agent: whether it is there and answers, and what it says of its guest.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    is_error,
    libvirt,
)

#: The guest's agent is not there, or doesn't answer.
SILENT: t.Final = ("VIR_ERR_AGENT_UNRESPONSIVE", "VIR_ERR_AGENT_UNSYNCED", "VIR_ERR_AGENT_COMMAND_TIMEOUT")
#: The domain has no channel for one, or its driver knows of none.
_NONE: t.Final = ("VIR_ERR_ARGUMENT_UNSUPPORTED", "VIR_ERR_CONFIG_UNSUPPORTED", "VIR_ERR_NO_SUPPORT")


def answers(domain: Domain) -> bool:
    """Whether the agent of a running guest answers. libvirtError where the domain has no channel for one."""
    try:
        with limited(domain):
            domain.getTime(0)
    except libvirt.libvirtError as exc:
        if is_error(exc, *SILENT):
            return False
        raise
    return True


def state(domain: Domain) -> bool | None:
    """As answers(); None for a guest that doesn't run or has no channel for an agent."""
    try:
        return answers(domain)
    except libvirt.libvirtError as exc:
        if is_error(exc, *_NONE, "VIR_ERR_OPERATION_INVALID"):
            return None
        raise


#: Seconds for each answer: libvirt itself would wait for ever for an agent that has begun to speak.
WITHIN: t.Final = 5


def tell_time(domain: Domain) -> bool:
    """Set the clock of a guest that stood still, as Nova does; whether its agent took that. Without one it is left to
    what the guest has itself."""
    now = time.time()
    try:
        with limited(domain):
            domain.setTime({"seconds": int(now), "nseconds": int(now % 1 * 1e9)}, 0)
    except libvirt.libvirtError:
        return False
    return True


def told(domain: Domain) -> dict[str, Json] | None:
    """What the guest says of itself: its hostname and its addresses, without those that only it or its link can use.

    None for a guest that doesn't run, has no agent, or whose agent is silent. What an agent can't tell (an old one
    knows no hostname) is null. Needs a connection that may write.
    """
    if not state(domain):
        return None
    with limited(domain):
        hostname = _asked(domain.hostname, libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT)
        found = _asked(domain.interfaceAddresses, libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0)
    return {"hostname": hostname, "addresses": None if found is None else _usable(found)}


@contextlib.contextmanager
def limited(domain: Domain, within: int = 0) -> t.Iterator[None]:
    """While this is entered the domain's agent is waited for no longer than *within* (else WITHIN) seconds."""
    with contextlib.suppress(libvirt.libvirtError):
        domain.agentSetResponseTimeout(within or WITHIN, 0)
    try:
        yield
    finally:
        with contextlib.suppress(libvirt.libvirtError):
            domain.agentSetResponseTimeout(libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, 0)


def _asked(question: t.Callable[..., t.Any], *arguments: int) -> t.Any:
    """The agent's answer; None for one that it can't give, or not in time."""
    try:
        return question(*arguments)
    except libvirt.libvirtError:
        return None


def _usable(interfaces: t.Mapping[str, t.Any]) -> list[str]:
    found = []
    for name in sorted(interfaces):
        for one in interfaces[name].get("addrs") or ():
            address = ipaddress.ip_address(one["addr"])
            if not address.is_loopback and not address.is_link_local:
                found.append(str(address))
    return found


__all__ = ["SILENT", "WITHIN", "answers", "limited", "state", "tell_time", "told"]
