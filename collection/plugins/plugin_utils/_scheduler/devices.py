# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PCI devices by alias: what a flavor asks for and which of a host's free devices meet it (Nova: pci/stats.py).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    TYPE_PF,
    FittedDevice,
    HostTopology,
    PciAlias,
    PciDevice,
    free_devices,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.wanted import (
    PCI_POLICIES,
    Properties,
    pci_numa_policy,
)

EXTRA_SPEC = "pci_passthrough:alias"


@dataclasses.dataclass(frozen=True)
class WantedDevices:
    """``count`` devices, each of which meets one of the aliases of this name. ``policy`` is one of PCI_POLICIES."""

    alias: str
    count: int
    specs: tuple[PciAlias, ...]
    policy: str = "legacy"

    def __str__(self) -> str:
        kinds = " or ".join(f"{spec.vendor_id}:{spec.product_id}" for spec in self.specs)
        return f"{self.count} of PCI alias {self.alias!r} ({kinds})"


def wanted_devices(
    flavor: Flavor, image_properties: Properties, aliases: t.Iterable[PciAlias]
) -> tuple[WantedDevices, ...]:
    """``pci_passthrough:alias: gpu:2,nic:1``, with the fleet's aliases. InvalidInput for what can't be read."""
    text = flavor.extra_specs.get(EXTRA_SPEC)
    policy = pci_numa_policy(flavor, image_properties)
    if text is None:
        return ()
    known = _by_name(aliases)
    return tuple(_wanted(flavor, part, known, policy) for part in str(text).split(","))


def _wanted(
    flavor: Flavor, part: str, known: t.Mapping[str, tuple[PciAlias, ...]], policy: str | None
) -> WantedDevices:
    where = f"flavor {flavor.name!r}: extra spec {EXTRA_SPEC!r}"
    name, _colon, count = (word.strip() for word in part.partition(":"))
    if not count.isdecimal() or int(count) < 1:
        raise InvalidInput(f"{where} should be like gpu:2,nic:1, found {part.strip()!r}")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
        raise InvalidInput(f"{where} asks for {name!r}, which is no alias of fleet_pci_aliases; {hint}")
    specs = known[name]
    return WantedDevices(name, int(count), specs, policy or specs[0].numa_policy or "legacy")


def _by_name(aliases: t.Iterable[PciAlias]) -> dict[str, tuple[PciAlias, ...]]:
    """Aliases of one name are alternatives, which may differ in vendor and product alone."""
    known: dict[str, tuple[PciAlias, ...]] = {}
    for alias in aliases:
        others = known.get(alias.name, ())
        if others and (alias.numa_policy, alias.device_type) != (others[0].numa_policy, others[0].device_type):
            raise InvalidInput(
                f"fleet_pci_aliases: the entries of {alias.name!r} should have one numa_policy and one device_type"
            )
        if alias.numa_policy not in (None, *PCI_POLICIES):
            raise InvalidInput(
                f"fleet_pci_aliases: numa_policy of {alias.name!r} should be one of {', '.join(PCI_POLICIES)}, "
                f"found {alias.numa_policy!r}"
            )
        known[alias.name] = (*others, alias)
    return known


def choose_devices(
    free: t.Iterable[PciDevice],
    wanted: t.Iterable[WantedDevices],
    topology: HostTopology | None = None,
    cells: t.Collection[int] = (),
) -> tuple[FittedDevice, ...] | str:
    """Devices for every wish out of those that are *free*, or why there are not enough.

    *cells* are the ids of the host's cells that the guest is on; for a guest without a topology there are none, and no
    device is too far away.
    """
    left = tuple(sorted(free, key=lambda device: (device.parent or device.address, device.address)))
    chosen: list[FittedDevice] = []
    for wish in wanted:
        meeting = [device for device in left if _meets(device, wish)]
        near = _requested(_near(meeting, wish, topology, cells), wish)
        if len(near) < wish.count:
            return _shortage(wish, len(_requested(meeting, wish)), len(near))
        taken = _best(near, left, cells)[: wish.count]
        chosen += [FittedDevice(wish.alias, device) for device in taken]
        left = free_devices(left, {device.address for device in taken})
    return tuple(chosen)


def _meets(device: PciDevice, wish: WantedDevices) -> bool:
    return any(
        device.vendor_id.lower() == spec.vendor_id.lower()
        and device.product_id.lower() == spec.product_id.lower()
        and spec.device_type in (None, device.dev_type)
        for spec in wish.specs
    )


def _near(
    meeting: list[PciDevice], wish: WantedDevices, topology: HostTopology | None, cells: t.Collection[int]
) -> list[PciDevice]:
    """Those near enough by the wish's policy. The strictest that has enough is taken, whatever the policy allows."""
    if not cells or topology is None:
        return meeting
    own = [device for device in meeting if device.numa_node in cells]
    if wish.policy == "required" or len(own) >= wish.count:
        return own
    if wish.policy == "socket":
        nodes = _same_sockets(topology, cells)
        return [device for device in meeting if device.numa_node in nodes]
    unknown = [device for device in meeting if device.numa_node is None or device.numa_node in cells]
    if wish.policy == "legacy" or len(unknown) >= wish.count:
        return unknown
    return meeting


def _same_sockets(topology: HostTopology, cells: t.Collection[int]) -> frozenset[int]:
    """The cells on the sockets of *cells*; none where a cell's socket isn't known."""
    if any(cell.socket is None for cell in topology.cells):
        return frozenset()
    sockets = {cell.socket for cell in topology.cells if cell.id in cells}
    return frozenset(cell.id for cell in topology.cells if cell.socket in sockets)


def _requested(devices: list[PciDevice], wish: WantedDevices) -> list[PciDevice]:
    """A physical function is only given to who asks for one: its ids may be those of its virtual ones."""
    if any(spec.device_type == TYPE_PF for spec in wish.specs):
        return devices
    return [device for device in devices if device.dev_type != TYPE_PF]


def _best(near: list[PciDevice], free: t.Collection[PciDevice], cells: t.Collection[int]) -> list[PciDevice]:
    """The nearest first, then those that make the fewest others useless; else in the order of addresses."""
    addresses = {device.address for device in free}
    virtual = collections.Counter(device.parent for device in free)

    def cost(device: PciDevice) -> tuple[bool, int]:
        far = bool(cells) and device.numa_node is not None and device.numa_node not in cells
        return far, virtual[device.address] + (device.parent in addresses)

    return sorted(near, key=cost)


def _shortage(wish: WantedDevices, free: int, near: int) -> str:
    if free < wish.count:
        return f"needs {wish}, has {free} free"
    return f"needs {wish} near its NUMA cells (policy {wish.policy}), has {near} of {free} free ones there"


__all__ = ["WantedDevices", "choose_devices", "wanted_devices"]
