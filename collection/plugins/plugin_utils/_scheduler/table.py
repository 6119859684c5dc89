# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts as numpy arrays, one row a host in the order of names, and what a batch has consumed of them so far.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, PciDevice, free_devices
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.devices import WantedDevices
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    DISK_GB,
    HostState,
    Inventory,
    Request,
    ServerGroup,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.numa import fit
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.wanted import WantedTopology

if t.TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NONE = Inventory(total=0)


class Stock:
    """One resource class over many providers (hosts, or pools), with Placement's rules (Nova: allocation.py 253)."""

    def __init__(self, inventories: t.Sequence[Inventory]) -> None:
        np = need("numpy")

        def column(values: t.Iterable[float], dtype: str = "int64") -> t.Any:
            return np.fromiter(values, dtype=dtype, count=len(inventories))

        self.inventories = inventories
        self.used: Ints = column(entry.used for entry in inventories)
        self.total: Ints = column(entry.total for entry in inventories)
        self.unreserved: Ints = column(entry.total - entry.reserved for entry in inventories)
        self.ratio: Floats = column((entry.allocation_ratio for entry in inventories), "float64")
        self.capacity: Floats = self.unreserved * self.ratio
        self._whole: Ints = np.floor(self.capacity).astype("int64")
        self._min: Ints = column(entry.min_unit for entry in inventories)
        self._max: Ints = column(entry.total if entry.max_unit is None else entry.max_unit for entry in inventories)
        self._step: Ints = column(entry.step_size for entry in inventories)
        # Custom minima and steps are rare: two array operations less for each request.
        self._units = bool((self._min > 1).any() or (self._step > 1).any())

    def fork(self) -> Stock:
        """The same, of which others may use."""
        twin = copy.copy(self)
        twin.used = self.used.copy()
        return twin

    def room(self, rows: t.Any) -> t.Any:
        """How much more than what is used the providers in *rows* (any numpy index) can give."""
        return self._whole[rows] - self.used[rows]

    def fits(self, amount: int) -> Mask:
        mask: Mask = (self.used <= self._whole - amount) & (self._max >= amount)
        if self._units:
            mask &= (amount >= self._min) & (amount % self._step == 0)
        return mask

    def why_not(self, row: int, amount: int, size: t.Callable[[float], str]) -> str | None:
        """Why *amount* doesn't fit into provider *row*, in the words of *size*."""
        entry = self.inventories[row]
        largest = entry.total if entry.max_unit is None else entry.max_unit
        if amount > largest:
            return f"needs {size(amount)}, one server can have at most {size(largest)}"
        used = int(self.used[row])
        if used + amount > self.capacity[row]:
            free = max(float(self.capacity[row]) - used, 0)
            reserved = f", {size(entry.reserved)} reserved" if entry.reserved else ""
            return (
                f"needs {size(amount)}, {size(free)} free of {size(entry.total)} x {entry.allocation_ratio}{reserved}"
            )
        if amount < entry.min_unit:
            return f"needs {size(amount)}, at least {size(entry.min_unit)} must be asked for"
        if amount % entry.step_size:
            return f"needs {size(amount)}, only multiples of {size(entry.step_size)} are given"
        return None


class Fitting:
    """What each host would give of its special hardware, by one wish, or why it can't.

    A host is asked again only after something of it was given away: servers that are alike share the work.
    """

    def __init__(self, ask: t.Callable[[int], Fit | str], hosts: int) -> None:
        self._ask = ask
        self._answers: dict[int, Fit | str] = {}
        self._unasked = set(range(hosts))
        self._mask: Mask = need("numpy").zeros(hosts, dtype=bool)

    def at(self, row: int) -> Fit | str:
        if row in self._unasked:
            self._unasked.remove(row)
            self._answers[row] = self._ask(row)
            self._mask[row] = not isinstance(self._answers[row], str)
        return self._answers[row]

    def mask(self) -> Mask:
        """The hosts that can, as an array of its own."""
        for row in sorted(self._unasked):
            self.at(row)
        return self._mask.copy()

    def forget(self, row: int) -> None:
        self._unasked.add(row)


class Table:
    """All hosts. Changed by ``consume`` alone, which a batch calls after each choice."""

    def __init__(self, hosts: t.Iterable[HostState]) -> None:
        np = need("numpy")
        self.hosts: list[HostState] = sorted(hosts, key=lambda host: host.name)
        self.row: dict[str, int] = {host.name: row for row, host in enumerate(self.hosts)}
        if len(self.row) != len(self.hosts):
            raise Conflict("two hosts of one name were given to the scheduler")
        self.num_instances: Ints = np.array([len(host.instances) for host in self.hosts], dtype="int64")
        self.num_io_ops: Ints = np.array([host.num_io_ops for host in self.hosts], dtype="int64")
        self.cache: dict[t.Hashable, t.Any] = {}
        self._stocks: dict[str, Stock] = {}
        self._members: dict[str, Ints] = {}
        self._placed: dict[int, list[Request]] = {}
        self._topologies = [host.topology for host in self.hosts]
        self._devices: list[t.Sequence[PciDevice]] = [host.pci_devices for host in self.hosts]
        self.num_devices: Ints = np.array([len(devices) for devices in self._devices], dtype="int64")
        self._fittings: dict[t.Hashable, Fitting] = {}
        self._pool_keys, self.disk = _pools(self.hosts)
        self._where: dict[str, int] = {}
        self._grouped: dict[str, list[int]] = {}
        self._lost: list[int] = []
        for row, host in enumerate(self.hosts):
            for instance in host.instances:
                self._where[instance.id] = row
                if instance.name:
                    self._where.setdefault(instance.name, row)
                if instance.group is not None:
                    self._grouped.setdefault(instance.group, []).append(row)

    def __len__(self) -> int:
        return len(self.hosts)

    def everywhere(self) -> Mask:
        return t.cast("Mask", need("numpy").ones(len(self), dtype=bool))

    def nowhere(self) -> Mask:
        return t.cast("Mask", need("numpy").zeros(len(self), dtype=bool))

    def fork(self, lost: t.Collection[str] = (), freed: t.Mapping[str, int] | None = None) -> Table:
        """A table with the same hosts that is filled by itself; facts, which don't change, are shared.

        The guests of *lost* hosts are gone from their server groups; the hosts themselves are still there, and are for
        the requests to rule out. *freed*: GiB that are no longer used, by pool key.
        """
        twin = copy.copy(self)
        twin._stocks = {name: stock.fork() for name, stock in self._stocks.items()}
        twin.disk = self.disk.fork()
        for key, amount in (freed or {}).items():
            twin.disk.used[self._pool_keys[key]] -= amount
        twin.num_instances, twin.num_io_ops = self.num_instances.copy(), self.num_io_ops.copy()
        twin._lost = [*self._lost, *(self.row[name] for name in lost)]
        twin._members = {name: counts.copy() for name, counts in self._members.items()}
        for counts in twin._members.values():
            counts[twin._lost] = 0
        twin._placed, twin._where = {row: list(placed) for row, placed in self._placed.items()}, dict(self._where)
        twin._topologies, twin._devices = list(self._topologies), list(self._devices)
        twin.num_devices, twin._fittings = self.num_devices.copy(), {}
        return twin

    def column(self, values: t.Callable[[HostState], float]) -> Floats:
        """A fact of each host as an array; facts don't change, callers cache."""
        return t.cast("Floats", need("numpy").array([values(host) for host in self.hosts], dtype="float64"))

    def stock(self, resource: str) -> Stock:
        if resource not in self._stocks:
            self._stocks[resource] = Stock([host.inventories.get(resource, NONE) for host in self.hosts])
        return self._stocks[resource]

    def pool_name(self, row: int, request: Request) -> str | None:
        return request.pool or self.hosts[row].default_pool

    def pool_rows(self, request: Request) -> Ints:
        """For each host the row in ``disk`` of the pool that the server would use there; -1 for none."""
        key = ("pool_rows", request.pool)
        if key not in self.cache:
            rows = [self._pool_row(row, request) for row in range(len(self))]
            self.cache[key] = need("numpy").array(rows, dtype="int64")
        return t.cast("Ints", self.cache[key])

    def _pool_row(self, row: int, request: Request) -> int:
        pool = self.hosts[row].pools.get(self.pool_name(row, request) or "")
        return -1 if pool is None else self._pool_keys[pool.key]

    def where(self, server: str) -> int | None:
        """The row of the host that a server (id or name) is on; servers placed by this batch count."""
        return self._where.get(server)

    def members(self, group: ServerGroup) -> Ints:
        """How many members of the group each host has."""
        counts = self._members.get(group.name)
        if counts is None:
            rows = self._grouped.get(group.name, [])
            counts = need("numpy").bincount(need("numpy").array(rows, dtype="int64"), minlength=len(self))
            counts[self._lost] = 0
            self._members[group.name] = counts
        return counts

    def placed_on(self, row: int) -> t.Sequence[Request]:
        """What this batch has put on a host."""
        return self._placed.get(row, ())

    def devices(self, row: int) -> t.Sequence[PciDevice]:
        """The PCI devices of a host that nobody has yet."""
        return self._devices[row]

    def fitting(self, topology: WantedTopology | None, devices: tuple[WantedDevices, ...]) -> Fitting:
        """What the hosts would give to servers that ask for these cells and devices."""
        wish = (topology, devices)
        if wish not in self._fittings:
            self._fittings[wish] = Fitting(
                lambda row: fit(self._topologies[row], self._devices[row], topology, devices), len(self)
            )
        return self._fittings[wish]

    def fit(self, row: int, request: Request) -> Fit | str:
        """What of its special hardware a host would give a server that needs some, or why it can't."""
        return self.fitting(request.topology, request.devices).at(row)

    def consume(self, row: int, request: Request) -> Fit | None:
        """Count a server on a host (Nova: HostState.consume_from_request); what it has been given of the host's special
        hardware, None if it needs none."""
        for resource, amount in request.resources.items():
            if resource != DISK_GB:
                self.stock(resource).used[row] += amount
        pool = int(self.pool_rows(request)[row])
        if pool >= 0:
            self.disk.used[pool] += request.resources.get(DISK_GB, 0)
        self.num_instances[row] += 1
        self.num_io_ops[row] += 1
        if request.group is not None:
            self.members(request.group)[row] += 1
        self._placed.setdefault(row, []).append(request)
        for alias in (request.id, request.name):
            if alias:
                self._where[alias] = row
        return self._give(row, request) if request.topology is not None or request.devices else None

    def _give(self, row: int, request: Request) -> Fit | None:
        given = self.fit(row, request)
        if isinstance(given, str):
            return None
        topology = self._topologies[row]
        if topology is not None:
            self._topologies[row] = topology.with_usage([given])
        self._devices[row] = free_devices(self._devices[row], given.addresses)
        self.num_devices[row] = len(self._devices[row])
        for fitting in self._fittings.values():
            fitting.forget(row)
        return given


def _pools(hosts: t.Sequence[HostState]) -> tuple[dict[str, int], Stock]:
    """Each pool once. Hosts that see a shared pool differently (surveys take time) are settled by the tightest view."""
    tightest: dict[str, Inventory] = {}
    for host in hosts:
        for pool in host.pools.values():
            known = tightest.get(pool.key)
            if known is None or pool.disk.free < known.free:
                tightest[pool.key] = pool.disk
    return {key: row for row, key in enumerate(tightest)}, Stock(list(tightest.values()))


__all__ = ["Fitting", "Stock", "Table"]
