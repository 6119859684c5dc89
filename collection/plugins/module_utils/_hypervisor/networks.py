# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Libvirt networks of this host: read, made, changed while nobody uses them, removed when nobody does.

Note that this module util is **PRIVATE** to the collection.

A plain Linux bridge is the host's own: it only has to be there.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import (
    LibvirtNetwork,
    network_differences,
    network_of,
    network_xml,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Network,
    found,
    is_error,
    libvirt,
    libvirt_error,
)


@dataclasses.dataclass(frozen=True)
class Change:
    """What is to be done for a network; ``before`` and ``after`` are what a module shows. None: there is none."""

    before: dict[str, t.Any] | None
    after: dict[str, t.Any] | None
    changed: bool


def bridges() -> list[str]:
    """The Linux bridges of this host. (Libvirt's own interface driver knows only those of the host's udev.)"""
    return sorted(path.parent.name for path in pathlib.Path("/sys/class/net").glob("*/bridge"))


def facts(conn: Connection) -> dict[str, dict[str, t.Any]]:
    """Every libvirt network by name: {"active", "bridge", "forward"} and what else Flotilla speaks of."""
    states = ((network.name(), found(_state, network)) for network in conn.listAllNetworks())
    return {name: state for name, state in sorted(states) if state is not None}


def ensure(conn: Connection, desired: LibvirtNetwork, *, check: bool = False) -> Change:
    """Have the network defined, running and started with the host, as desired."""
    if desired.forward == "bridge" and desired.bridge not in bridges():
        raise InvalidInput(
            f"this host has no Linux bridge {desired.bridge!r} for network {desired.name!r}; "
            f"make it, or name one of: {', '.join(bridges()) or '(none)'}"
        )
    network = found(conn.networkLookupByName, desired.name)
    before = None if network is None else _state(network)
    differences = _differences(network, desired)
    definition = set(differences) - {"autostart"}
    if network is not None and definition and network.isActive():
        _refuse_if_used(conn, desired.name, "be changed (" + ", ".join(sorted(definition)) + ")")
    changed = bool(differences) or network is None or not network.isActive()
    if changed and not check:
        network = _carry_out(conn, network, desired, redefine=bool(definition))
    after = _state(network) if network is not None and not check else {**(before or {}), **_shown(desired)}
    return Change(before, after, changed)


def remove(conn: Connection, name: str, *, check: bool = False) -> Change:
    """Have no such network; refused while a guest, running or not, is on it."""
    network = found(conn.networkLookupByName, name)
    if network is None:
        return Change(None, None, False)
    before = _state(network)
    _refuse_if_used(conn, name, "be removed")
    if not check:
        try:
            if network.isActive():
                network.destroy()
            if network.isPersistent():
                network.undefine()
        except libvirt.libvirtError as exc:
            raise libvirt_error(exc, "remove", f"network {name!r}") from exc
    return Change(before, None, True)


def users(conn: Connection, name: str) -> list[str]:
    """The guests with a port on the network, by the running or the persistent configuration."""
    flags = (0, libvirt.VIR_DOMAIN_XML_INACTIVE)
    return sorted(domain.name() for domain in conn.listAllDomains() if any(_uses(domain, name, flag) for flag in flags))


def _carry_out(conn: Connection, network: Network | None, desired: LibvirtNetwork, *, redefine: bool) -> Network:
    try:
        if network is None or redefine:
            uuid = None if network is None else network.UUIDString()
            if network is not None and network.isActive():
                network.destroy()
            network = conn.networkDefineXML(network_xml(desired, uuid=uuid))
        if bool(network.autostart()) != desired.autostart:
            network.setAutostart(desired.autostart)
        if not network.isActive():
            network.create()
    except libvirt.libvirtError as exc:
        raise libvirt_error(exc, "bring up", f"network {desired.name!r}") from exc
    return network


def _differences(network: Network | None, desired: LibvirtNetwork) -> dict[str, tuple[t.Any, t.Any]]:
    if network is None:
        return {}
    return network_differences(desired, _read(network))


def _refuse_if_used(conn: Connection, name: str, deed: str) -> None:
    names = users(conn, name)
    if names:
        raise Conflict(
            f"network {name!r} can't {deed}: it would cut off {', '.join(names[:5])}{' …' if names[5:] else ''}; "
            "take these guests off it first, nothing was changed"
        )


def _uses(domain: t.Any, name: str, flag: int) -> bool:
    xml = found(domain.XMLDesc, flag)
    if xml is None:
        return False
    sources = ET.fromstring(xml).iterfind("devices/interface/source")  # noqa: S314 - libvirt wrote it
    return any(source.get("network") == name for source in sources)


def _state(network: Network) -> dict[str, t.Any]:
    return {**_shown(_read(network)), "active": bool(network.isActive())}


def _read(network: Network) -> LibvirtNetwork:
    """The network as it is defined; a transient one as it runs."""
    try:
        xml = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
    except libvirt.libvirtError as exc:
        if not is_error(exc, "VIR_ERR_INVALID_ARG"):
            raise
        xml = network.XMLDesc(0)  # libvirt's test driver doesn't know the flag
    return network_of(xml, autostart=_autostarts(network))


def _shown(network: LibvirtNetwork) -> dict[str, t.Any]:
    return {**network.to_json(), "active": True}


def _autostarts(network: Network) -> bool:
    return bool(network.isPersistent()) and bool(network.autostart())


__all__ = ["Change", "bridges", "ensure", "facts", "remove", "users"]
