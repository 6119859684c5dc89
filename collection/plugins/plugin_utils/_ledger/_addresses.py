# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixed addresses: unique in their network, the lowest free one of the pools, so that runs repeat.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections
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
        # Numbers are hashed ten times faster than addresses; those of IPv4 and IPv6 are kept apart.
        self._owners: dict[tuple[str, int], dict[int, str]] = collections.defaultdict(dict)
        self._held: dict[tuple[str, str], list[_Ip]] = collections.defaultdict(list)
        self._new: list[dict[str, str]] = []
        for row in rows:
            self._enter(row.network, _ip(row.address), row.server_id)

    def take(self, server_id: str, name: str, wishes: t.Sequence[Wish]) -> tuple[str, ...]:
        """Addresses for all wishes of a server, in their order; fixed ones are settled first.

        What it has already it is given again.
        """
        self._names[server_id] = name
        given: dict[int, tuple[str, _Ip]] = {}
        for index, wish in sorted(enumerate(wishes), key=lambda pair: pair[1].fixed is None):
            address = self._one(server_id, wish, given.values())
            given[index] = (wish.network, address)
            if self._owner(wish.network, address) is None:
                self._enter(wish.network, address, server_id)
                self._new.append({"network": wish.network, "address": str(address), "server_id": server_id})
        return tuple(str(given[index][1]) for index in range(len(wishes)))

    def new(self) -> list[dict[str, str]]:
        """Rows for the addresses that weren't in the ledger yet."""
        return self._new

    def _enter(self, network: str, address: _Ip, server_id: str) -> None:
        self._owners[network, address.version][int(address)] = server_id
        self._held[network, server_id].append(address)

    def _owner(self, network: str, address: _Ip) -> str | None:
        return self._owners[network, address.version].get(int(address))

    def _one(self, server_id: str, wish: Wish, given: t.Collection[tuple[str, _Ip]]) -> _Ip:
        if wish.fixed is not None:
            return self._fixed(server_id, wish.network, _ip(wish.fixed), given)
        ranges = [_range(wish.network, first, last) for first, last in wish.pools]
        for address in sorted(self._held[wish.network, server_id], key=int):
            if (wish.network, address) not in given and any(_within(address, *ends) for ends in ranges):
                return address
        reserved = [_ip(address) for address in wish.reserved]
        for first, last in ranges:
            free = self._lowest_free(wish.network, first, last, reserved)
            if free is not None:
                return free
        pools = ", ".join(f"{first}-{last}" for first, last in ranges) or "none"
        raise AddressError(
            f"network {wish.network!r} has no free address left (pools: {pools}); add an allocation pool"
        )

    def _fixed(self, server_id: str, network: str, address: _Ip, given: t.Collection[tuple[str, _Ip]]) -> _Ip:
        owner = self._owner(network, address) or server_id
        if owner != server_id:
            raise AddressError(
                f"address {address} of network {network!r} is taken by server "
                f"{self._names.get(owner, owner)!r}; choose another"
            )
        if (network, address) in given:
            raise AddressError(f"address {address} of network {network!r} is asked for twice; choose another")
        return address

    def _lowest_free(self, network: str, first: _Ip, last: _Ip, reserved: t.Collection[_Ip]) -> _Ip | None:
        """Never further than past those that are taken, however large the pool."""
        taken = self._owners[network, first.version]
        left_out = {int(address) for address in reserved if address.version == first.version}
        number = int(first)
        while number in taken or number in left_out:
            number += 1
        return type(first)(number) if number <= int(last) else None


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
