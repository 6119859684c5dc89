# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixed addresses: unique in their network, the lowest free one of the pools, so that runs repeat.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._rows import AddressRow, Wish

__all__ = ["AddressBook", "AddressError"]

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressError(Exception):
    """A wish that can't be fulfilled; its text is the reason."""


class AddressBook:
    """The addresses in use, and those that are given out now. ``names`` are those of servers, for sentences."""

    def __init__(self, rows: t.Iterable[AddressRow], names: t.Mapping[str, str]) -> None:
        self._names = dict(names)
        self._owner = {(row.network, _ip(row.address)): row.server_id for row in rows}
        self._stored = frozenset(self._owner)

    def take(self, server_id: str, name: str, wishes: t.Sequence[Wish]) -> tuple[str, ...]:
        """Addresses for all wishes of a server, in their order. What it has already it is given again."""
        self._names[server_id] = name
        given: list[tuple[str, _Ip]] = []
        for wish in wishes:
            given.append((wish.network, self._one(server_id, wish, given)))
        self._owner.update((pair, server_id) for pair in given)
        return tuple(str(address) for _network, address in given)

    def new(self) -> list[dict[str, str]]:
        """Rows for the addresses that weren't in the ledger yet."""
        return [
            {"network": network, "address": str(address), "server_id": server_id}
            for (network, address), server_id in self._owner.items()
            if (network, address) not in self._stored
        ]

    def _one(self, server_id: str, wish: Wish, given: t.Collection[tuple[str, _Ip]]) -> _Ip:
        if wish.fixed is not None:
            return self._fixed(server_id, wish.network, _ip(wish.fixed), given)
        ranges = [_range(wish.network, first, last) for first, last in wish.pools]
        kept = sorted(
            (
                address
                for (network, address), owner in self._owner.items()
                if owner == server_id and network == wish.network
            ),
            key=int,
        )
        for address in kept:
            if (wish.network, address) not in given and any(_within(address, *ends) for ends in ranges):
                return address
        taken = {address for network, address in [*self._owner, *given] if network == wish.network}
        taken.update(_ip(address) for address in wish.reserved)
        for first, last in ranges:
            free = _lowest_free(first, last, taken)
            if free is not None:
                return free
        pools = ", ".join(f"{first}-{last}" for first, last in ranges) or "none"
        raise AddressError(
            f"network {wish.network!r} has no free address left (pools: {pools}); add an allocation pool"
        )

    def _fixed(self, server_id: str, network: str, address: _Ip, given: t.Collection[tuple[str, _Ip]]) -> _Ip:
        owner = self._owner.get((network, address), server_id)
        if owner != server_id:
            raise AddressError(
                f"address {address} of network {network!r} is taken by server "
                f"{self._names.get(owner, owner)!r}; choose another"
            )
        if (network, address) in given:
            raise AddressError(f"address {address} of network {network!r} is asked for twice; choose another")
        return address


def _lowest_free(first: _Ip, last: _Ip, taken: t.Collection[_Ip]) -> _Ip | None:
    """Walks the taken ones, not the pool, which may be a /64."""
    candidate = int(first)
    for number in sorted(int(address) for address in taken if _within(address, first, last)):
        if number > candidate:
            break
        candidate = number + 1
    return None if candidate > int(last) else type(first)(candidate)


def _within(address: _Ip, first: _Ip, last: _Ip) -> bool:
    return address.version == first.version and int(first) <= int(address) <= int(last)


def _range(network: str, first: str, last: str) -> tuple[_Ip, _Ip]:
    ends = _ip(first), _ip(last)
    if ends[0].version != ends[1].version or int(ends[0]) > int(ends[1]):
        raise InvalidInput(
            f"fleet_networks: the allocation pool {first}-{last} of {network!r} is no range; swap its ends"
        )
    return ends


def _ip(text: str) -> _Ip:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is no IP address; write one such as 192.0.2.10 or 2001:db8::10") from None
