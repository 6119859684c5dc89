# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A compute host's special hardware as the scheduler sees it: CPUs by their use, NUMA cells, pages, PCI devices.

Note that this plugin util is **PRIVATE** to the collection.

What is used of it is the union of what the records of its servers say, of what claims hold, and of what its domains
really are pinned to and have, ours and those of others: a core or a device that anybody might have is given to nobody.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_set import CpuSet, format_cpus
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    Fit,
    FitCell,
    HostCell,
    HostTopology,
    Pages,
    PciDevice,
    free_devices,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import move_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import SHELVED
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import SMALLEST_PAGE, Tuning
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import ClaimRow, ServerRow
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.amounts import PCPU, VCPU

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot
    from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.hardware import DeviceSpec

_PARTS = ("domain", "bus", "slot", "function")


@dataclasses.dataclass(frozen=True)
class Held:
    """What one server or foreign guest has of a host's hardware. ``running``: its pages are in use, not only promised;
    ``addresses``: devices that it has without a fit."""

    fit: Fit
    running: bool = False
    addresses: frozenset[str] = frozenset()


# -- CPUs


def cpus_of(compute: Compute) -> frozenset[int]:
    """The host's CPUs that are online."""
    survey = compute.survey or {}
    cells = survey.get("numa") or ()
    found = frozenset(cpu for cell in cells for cpu in cell["cpus"])
    return found or frozenset(range(survey["cpu"]["count"] if survey else 0))


def shared_cpus(compute: Compute) -> frozenset[int]:
    """Those that servers share: all, unless inventory sets them apart (Nova: libvirt driver, _get_vcpu_available)."""
    given = compute.settings.hardware.cpu_shared_set
    if given is not None:
        return cpus_of(compute).intersection(given)
    return frozenset() if compute.settings.hardware.cpu_dedicated_set is not None else cpus_of(compute)


def dedicated_cpus(compute: Compute) -> frozenset[int]:
    """Those that one vCPU has for itself; none unless inventory says so."""
    return cpus_of(compute).intersection(compute.settings.hardware.cpu_dedicated_set or ())


def problem(compute: Compute) -> str:
    """Why the host can take no server as inventory sets it; empty when it can (Nova's compute service won't start)."""
    there = cpus_of(compute)
    for name in ("cpu_shared_set", "cpu_dedicated_set"):
        missing = frozenset(getattr(compute.settings.hardware, name) or ()) - there
        if missing and compute.up:
            return f"compute_{name} names CPU {format_cpus(missing)}, the host has {format_cpus(there)}"
    return ""


def vcpus_of(compute: Compute) -> int:
    """The host's amount of VCPU."""
    given = compute.settings.hardware
    if given.cpu_shared_set is None and given.cpu_dedicated_set is None and compute.survey is not None:
        return int(compute.survey["cpu"]["count"])
    return len(shared_cpus(compute))


def in_classes(vcpus: int, fit: Fit | None) -> tuple[int, int]:
    """A server's vCPUs as amounts of VCPU and PCPU."""
    cells = fit.cells if fit is not None else ()
    return vcpus - sum(len(cell.pinning) for cell in cells), sum(len(cell.cores) for cell in cells)


def with_cores(amounts: dict[str, int], vcpus: int, fit: Fit | None) -> dict[str, int]:
    """A server's amounts by resource class, with the cores that it was given as PCPU (as Request.resources asks)."""
    shared, cores = in_classes(vcpus, fit)
    return {**amounts, VCPU: shared, PCPU: cores} if cores else amounts


def foreign_classes(guest: Guest, compute: Compute) -> tuple[int, int]:
    """A foreign guest's vCPUs as amounts of VCPU and PCPU: those that are pinned to dedicated CPUs take these."""
    tuning = guest.tuning or Tuning()
    dedicated = dedicated_cpus(compute)
    own = [vcpu for vcpu, cpus in tuning.pins.items() if dedicated.issuperset(cpus)]
    return max(0, guest.vcpus - len(own)), len(tuning.pinned & dedicated)


def settled(fit: Fit | None, compute: Compute) -> Fit | None:
    """The fit that a new record bears: a server without a topology floats over the shared CPUs alone, where inventory
    has set them apart."""
    shared = compute.settings.hardware.cpu_shared_set
    if shared is None or (fit is not None and fit.cells):
        return fit
    return dataclasses.replace(fit or Fit(), cpus=shared)


# -- what is held


@dataclasses.dataclass(frozen=True)
class Coming:
    """What a host is to give to a server that a live migration brings, by the mark of its record where it still is: the
    move goes on without the run that began it, whose claim another run may have taken over."""

    server_id: str
    fit: Fit


Promised = ServerRow | ClaimRow | Coming


def coming(computes: t.Iterable[Compute], fleet_id: str | None) -> dict[str, list[Promised]]:
    """The servers that are on their way to a host, by its name."""
    found: dict[str, list[Promised]] = {}
    for compute in computes:
        for guest in compute.guests:
            record = guest.record if guest.record is not None and guest.record.fleet_id == fleet_id else None
            its = move_of(record) if record is not None else None
            if its is not None and its.fit is not None:
                found.setdefault(its.other.host, []).append(Coming(guest.id, its.fit))
    return found


def promises(snapshot: Snapshot | None) -> dict[str, list[Promised]]:
    """The ledger's servers and claims with a fit, by host."""
    found: dict[str, list[Promised]] = {}
    for row in snapshot.servers.values() if snapshot is not None else ():
        # To read a record costs more than all the rest: one that has a fit says so. A shelved one has nothing here.
        if row.host is not None and row.vm_state != SHELVED and '"fit":' in (row.record or ""):
            found.setdefault(row.host, []).append(row)
    for claim in snapshot.claims.values() if snapshot is not None else ():
        if claim.fit is not None:
            found.setdefault(claim.host, []).append(claim)
    return found


def held_on(
    compute: Compute,
    promised: t.Iterable[Promised],
    fleet_id: str | None,
    moving: t.AbstractSet[str],
    leaving: t.AbstractSet[str] = frozenset(),
) -> list[Held]:
    """What servers, foreign guests and claims have of the host. ``promised`` is what it was promised to (of `promises`
    and `coming`); ``moving`` ids are placed anew and not counted. Those of them that are ``leaving`` their host have
    what they have of it until they are gone."""
    topology_cells = tuple(_cells(compute))
    found: dict[str, list[Held]] = {}
    newest: dict[str, int] = {}
    for guest in compute.guests:
        newest[guest.id] = guest.record.generation if guest.record is not None else 0
        marked = guest.record is not None and (guest.record.fit or guest.record.marks)
        if (guest.id not in moving or guest.id in leaving) and (guest.tuning or guest.live or marked):
            found[guest.id] = list(_of_guest(guest, fleet_id, topology_cells))
    for server_id, fit in _of_promises(promised, newest):
        known = [held.fit for held in found.setdefault(server_id, [])]
        if server_id not in moving and fit not in known:
            found[server_id].append(Held(fit))
    return [held for of_server in found.values() for held in of_server]


def _of_guest(guest: Guest, fleet_id: str | None, cells: t.Sequence[HostCell]) -> t.Iterator[Held]:
    """By its record, if it is ours, and by its domain: what is pinned by hand is taken as well."""
    record = guest.record if guest.record is not None and guest.record.fleet_id == fleet_id else None
    fit = record.fit if record is not None else None
    if record is not None:
        yield from (Held(one, guest.active and one == fit) for one in _fits_of(record))
    for tuning in filter(None, (guest.tuning, guest.live)):
        if fit is None or Tuning.of(fit) != tuning:
            yield Held(_as_fit(tuning, cells, memory=fit is None), guest.active, frozenset(tuning.devices))


def _fits_of(record: Record) -> t.Iterator[Fit]:
    """What a server has; and, until its resize is confirmed, what it had: the way back must stay open."""
    mark = record.marks.get("resize")
    before = mark.get("fit") if isinstance(mark, dict) else None
    for fit in (record.fit, None if before is None else Fit.from_json(before)):
        if fit is not None:
            yield fit


def _as_fit(tuning: Tuning, cells: t.Sequence[HostCell], *, memory: bool) -> Fit:
    """What a domain has by its XML alone. A dedicated core is taken by whatever is pinned to it, to it alone or not."""
    nodes = [
        FitCell(number, cell, (), node.memory, node.page_size)
        for number, node in enumerate(tuning.nodes)
        for cell in node.cells[:1]
        if memory
    ]
    pinned = tuning.pinned
    cores = ((cell.id, tuple(sorted(pinned.intersection(cell.dedicated)))) for cell in cells)
    return Fit((*nodes, *(FitCell(0, cell, (), 0, SMALLEST_PAGE, reserved=taken) for cell, taken in cores if taken)))


def _of_promises(promised: t.Iterable[Promised], newest: t.Mapping[str, int]) -> t.Iterator[tuple[str, Fit]]:
    """What servers should have here, as far as the survey shows none or an older one; and all that is claimed, or for
    those that are coming."""
    for row in promised:
        if isinstance(row, Coming):
            yield row.server_id, row.fit
        elif isinstance(row, ClaimRow):
            yield row.server_id, Fit.from_json(row.fit)
        elif row.generation > newest.get(row.id, -1):
            record = row.loads()
            yield from ((row.id, fit) for fit in (_fits_of(record) if record is not None else ()))


# -- NUMA cells


def topology_of(compute: Compute, held: t.Sequence[Held]) -> HostTopology | None:
    """The host's cells with what is used of them; None where libvirt doesn't know them."""
    cells = tuple(_cells(compute))
    if not cells:
        return None
    settings = compute.settings
    plain = HostTopology(cells, settings.vcpus_ratio, settings.memory_ratio)
    running = plain.with_usage(one.fit for one in held if one.running)
    free = _free_pages(compute)
    base = dataclasses.replace(
        plain,
        cells=tuple(
            dataclasses.replace(
                cell,
                pages=tuple(
                    _with_others(pages, by_ours, free.get((cell.id, pages.size_kb)))
                    for pages, by_ours in zip(cell.pages, ours.pages)
                ),
            )
            for cell, ours in zip(plain.cells, running.cells)
        ),
    )
    return base.with_usage(one.fit for one in held)


def _with_others(pages: Pages, ours: Pages, free: int | None) -> Pages:
    """With the pages that are really in use and not by the guests that run: other programs of the host have them. Those
    that inventory reserves for them are counted once."""
    if free is None:
        return pages
    others = max(0, pages.total - free - ours.used)
    return dataclasses.replace(pages, used=max(0, others - pages.reserved))


def _cells(compute: Compute) -> t.Iterator[HostCell]:
    shared, dedicated = shared_cpus(compute), dedicated_cpus(compute)
    reserved = {(pages.node, pages.size): pages.count for pages in compute.settings.hardware.reserved_pages}
    for cell in (compute.survey or {}).get("numa") or ():
        cpus = frozenset(cell["cpus"])
        groups = [(shared | dedicated).intersection(group) for group in cell["siblings"]]
        yield HostCell(
            cell["id"],
            cpus=_sorted(cpus & shared),
            dedicated=_sorted(cpus & dedicated),
            siblings=tuple(_sorted(group) for group in groups if len(group) > 1),
            memory=cell["memory_mib"],
            pages=tuple(
                Pages(each["size_kib"], each["count"], reserved=reserved.get((cell["id"], each["size_kib"]), 0))
                for each in cell["pages"]
            ),
            socket=cell["socket"],
        )


def _free_pages(compute: Compute) -> dict[tuple[int, int], int | None]:
    """By cell and size; None where the host doesn't tell."""
    cells = (compute.survey or {}).get("numa") or ()
    return {(cell["id"], each["size_kib"]): each["free"] for cell in cells for each in cell["pages"]}


def _sorted(cpus: t.Iterable[int]) -> CpuSet:
    return tuple(sorted(cpus))


# -- PCI devices


def free_pci_devices(compute: Compute, held: t.Iterable[Held]) -> tuple[PciDevice, ...]:
    """The devices that inventory offers here and that nobody has."""
    specs = compute.settings.hardware.pci_devices
    if not specs:
        return ()
    found = [_device(each, specs) for each in (compute.survey or {}).get("pci_devices") or ()]
    used = {address for one in held for address in one.fit.addresses | one.addresses}
    free = free_devices([device for device, _spec in found], used)
    offered = {device.address for device, spec in found if spec is not None}
    return tuple(device for device in free if device.address in offered)


def _device(facts: t.Mapping[str, t.Any], specs: t.Sequence[DeviceSpec]) -> tuple[PciDevice, DeviceSpec | None]:
    """A device of the survey, and the first entry of compute_pci_devices that it fits."""
    device = PciDevice(**{key: facts[key] for key in _FACTS})
    spec = next((spec for spec in specs if _fits(device, spec)), None)
    network = spec.physical_network if spec is not None else None
    return dataclasses.replace(device, physical_network=network), spec


_FACTS = ("address", "vendor_id", "product_id", "dev_type", "numa_node", "parent")


def _fits(device: PciDevice, spec: DeviceSpec) -> bool:
    """Whether the entry means the device, or by its address the physical function that it is one of (Nova:
    pci/devspec.py)."""
    if spec.vendor_id is not None and spec.vendor_id.lower() != device.vendor_id:
        return False
    if spec.product_id is not None and spec.product_id.lower() != device.product_id:
        return False
    return spec.address is None or any(
        _is_at(place, spec.address) for place in (device.address, device.parent) if place
    )


def _is_at(address: str, wanted: str | t.Mapping[str, str]) -> bool:
    """Patterns have ``*`` for any part; of regular expressions those that are not given fit all."""
    found = dict(zip(_PARTS, re.split("[:.]", address)))
    if isinstance(wanted, str):
        return all(part in ("*", found[name]) for name, part in zip(_PARTS, re.split("[:.]", wanted.lower())))
    return all(re.fullmatch(pattern, found[name], re.IGNORECASE) for name, pattern in wanted.items())


__all__ = [
    "Coming",
    "Held",
    "coming",
    "cpus_of",
    "dedicated_cpus",
    "foreign_classes",
    "free_pci_devices",
    "held_on",
    "in_classes",
    "problem",
    "promises",
    "settled",
    "shared_cpus",
    "topology_of",
    "vcpus_of",
    "with_cores",
]
