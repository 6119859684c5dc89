# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the schemas can't say of the catalogs: addresses that must fit, keys that must be keys, Nova's rules.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import BRIDGE, FILTER
from ansible_collections.flotilla.compute.plugins.plugin_utils._keys import check_certificate, check_name, parse_public
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.addresses import IPAddress, IPNetwork, unusable
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.extra_specs import problem
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import CATALOGS, Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Path

__all__ = ["check_catalogs"]

Entry = t.Mapping[str, t.Any]


def check_catalogs(review: Review) -> None:
    for name, entry in review.fleet.get("fleet_flavors", {}).items():
        _flavor(review, name, entry)
    for name, entry in review.fleet.get("fleet_keypairs", {}).items():
        _keypair(review, name, entry)
    for name, entry in review.fleet.get("fleet_networks", {}).items():
        _network(review, name, entry)
    _metadata_services(review)
    for name, entry in review.fleet.get("fleet_server_groups", {}).items():
        _server_group(review, name, entry)
    _twice(review)


def _flavor(review: Review, name: str, entry: Entry) -> None:
    for key, value in entry.get("extra_specs", {}).items():
        clauses = problem(key, value)
        if clauses is not None:
            review.add("fleet_flavors", (name, "extra_specs", key), **clauses)


def _keypair(review: Review, name: str, entry: Entry) -> None:
    try:
        check_name(name)
        if entry.get("type") == "x509":
            check_certificate(entry["public_key"], name=name)
        else:
            parse_public(entry["public_key"], name=name)
    except InvalidInput as exc:
        review.add("fleet_keypairs", (name,), reason=str(exc).removeprefix(f"keypair {name!r}: "))


def _server_group(review: Review, name: str, entry: Entry) -> None:
    if entry.get("rules") and entry["policy"] != "anti-affinity":
        nova = "Only anti-affinity policy supports rules."
        reason = f"found rules with policy {entry['policy']!r}: {nova}"
        review.add("fleet_server_groups", (name, "rules"), reason=reason)


def _network(review: Review, name: str, entry: Entry) -> None:
    if "cidr" not in entry:
        for key in ("gateway", "allocation_pools", "routes", "ipv6_address_mode"):
            if entry.get(key):
                reason = "is given without cidr, which says what addresses there are"
                review.add("fleet_networks", (name, key), reason=reason)
    else:
        _subnet(review, (name,), entry)
    for index, subnet in enumerate(entry.get("subnets", ())):
        _subnet(review, (name, "subnets", index), subnet)
    blocks = _blocks(entry)
    for at, block in enumerate(blocks):
        other = next((one for one in blocks[:at] if one.version == block.version and one.overlaps(block)), None)
        if other is not None:
            review.add("fleet_networks", (name, "subnets"), reason=f"found {block}, which overlaps {other}")


def _metadata_services(review: Review) -> None:
    """A guest is known by its bridge and a claimed IPv4 address: what can't be told apart so is refused."""
    known: list[tuple[str, str, IPNetwork]] = []
    for name, entry in review.fleet.get("fleet_networks", {}).items():
        if not entry.get("metadata_service"):
            continue
        wrong = _unserved(entry)
        place = str(entry.get("bridge") or f"libvirt network {entry.get('libvirt_network')}")
        for block in _blocks(entry):
            twin = next((other for other, where, one in known if where == place and one.overlaps(block)), None)
            if block.version == 4 and twin is not None:
                wrong = wrong or f"found {block} on {place}, where network {twin!r} with the service has such addresses"
            known.append((name, place, block))
        if wrong:
            review.add("fleet_networks", (name, "metadata_service"), reason=wrong)


def _unserved(entry: Entry) -> str | None:
    versions = {block.version for block in _blocks(entry)}
    if 4 not in versions:
        return "needs an IPv4 cidr: guests are known by the addresses that are claimed for them in it"
    if 6 in versions:
        return f"allowed are IPv4 subnets alone: the filter that holds guests to their addresses, {FILTER}, drops IPv6"
    bridge = entry.get("bridge")
    if bridge is not None and not BRIDGE.fullmatch(bridge):
        return f"found bridge {bridge!r}, allowed are letters, digits, '_', '.' and '-', the first a letter or digit"
    return None


def _blocks(entry: Entry) -> list[IPNetwork]:
    return [ipaddress.ip_network(one["cidr"]) for one in (entry, *entry.get("subnets", ())) if "cidr" in one]


def _subnet(review: Review, path: Path, entry: Entry) -> None:
    variable = "fleet_networks"
    cidr = ipaddress.ip_network(entry["cidr"])
    gateway = ipaddress.ip_address(entry["gateway"]) if "gateway" in entry else None
    wrong = None if gateway is None else unusable(gateway, cidr)
    if wrong:
        review.add(variable, (*path, "gateway"), reason=wrong)
    for index, route in enumerate(entry.get("routes", ())):
        wrong = _route(route, cidr)
        if wrong:
            review.add(variable, (*path, "routes", index), reason=wrong)
    mode = entry.get("ipv6_address_mode")
    if mode is not None and (cidr.version == 4 or (mode != "dhcpv6-stateful" and cidr.prefixlen != 64)):
        needs = "an IPv6 cidr" if cidr.version == 4 else "a cidr of /64, of which guests derive their addresses"
        review.add(variable, (*path, "ipv6_address_mode"), reason=f"found {mode!r} for {cidr}, which needs {needs}")
    pools: list[tuple[IPAddress, IPAddress]] = []
    for index, pool in enumerate(entry.get("allocation_pools", ())):
        start, end = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        wrong = _pool(start, end, cidr, gateway, pools)
        if wrong:
            review.add(variable, (*path, "allocation_pools", index), reason=wrong)
        else:
            pools.append((start, end))


def _route(route: t.Mapping[str, str], cidr: IPNetwork) -> str | None:
    if ipaddress.ip_network(route["destination"]).version != cidr.version:
        return f"leads to {route['destination']}, allowed is a destination of the same family as {cidr}"
    return unusable(ipaddress.ip_address(route["gateway"]), cidr)


def _pool(
    start: IPAddress,
    end: IPAddress,
    cidr: IPNetwork,
    gateway: IPAddress | None,
    others: t.Sequence[tuple[IPAddress, IPAddress]],
) -> str | None:
    wrong = unusable(start, cidr) or unusable(end, cidr)
    if wrong:
        return wrong
    # Integers, because mypy can't know that all are of one family (`unusable` has made sure of it).
    first, last = int(start), int(end)
    if first > last:
        return f"starts at {start} after its end {end}, allowed is a start that is not after the end"
    if gateway is not None and gateway.version == start.version and first <= int(gateway) <= last:
        return f"{start} to {end} has the gateway {gateway} in it, allowed are pools without it"
    for other_start, other_end in others:
        if first <= int(other_end) and int(other_start) <= last:
            return f"{start} to {end} overlaps the pool {other_start} to {other_end}"
    return None


def _twice(review: Review) -> None:
    """A name may be in inventory or, put there by a module, in the ledger: in both nobody could say which counts."""
    for variable in CATALOGS:
        for name in sorted(review.fleet.get(variable, {}).keys() & review.written(variable).keys()):
            reason = (
                "the ledger has this name too, from a module; allowed is one of both: rename this one or remove that"
            )
            review.add(variable, (name,), reason=reason)
