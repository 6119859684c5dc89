# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the schemas can't say of the scheduler's options, of the metadata that it reads, and of what servers ask of it.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Nova passes over a multiplier in aggregate metadata that is no number, over the name of an isolated image that doesn't
exist and over a hint that no enabled filter reads. Here each of them is a mistake.
"""

from __future__ import annotations

import ipaddress
import math
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import document
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Clauses, listed, nearest, shown

__all__ = ["check_scheduling", "metadata_mistakes"]

Entry = t.Mapping[str, t.Any]

_COUNTS = ("max_io_ops_per_host", "max_instances_per_host")
_MULTIPLIER = "_weight_multiplier"
#: Policy -> the filter that holds it. The soft ones are weighed, and no weigher can be switched off by name.
_GROUP_FILTERS = {"affinity": "ServerGroupAffinityFilter", "anti-affinity": "ServerGroupAntiAffinityFilter"}
_NEAR = "build_near_host_ip"


def check_scheduling(review: Review) -> None:
    for name, entry in review.fleet.get("fleet_aggregates", {}).items():
        for key, clauses in metadata_mistakes(entry):
            review.add("fleet_aggregates", (name, "metadata", key), **clauses)
    options = review.fleet.get("fleet_scheduler", {})
    _isolated(review, options)
    enabled = _enabled(review, options)
    if enabled is not None:
        _policies(review, enabled)
    for host, data in review.servers.items():
        _hints(review, host, data.get("server_scheduler_hints", {}), enabled)


def metadata_mistakes(entry: Entry) -> t.Iterator[tuple[str, Clauses]]:
    """Each key of an aggregate's metadata that the scheduler reads and can't use, with what is wrong."""
    for key, value in (entry.get("metadata") or {}).items():
        if key == "availability_zone" and not str(value).strip():
            yield key, {"reason": "an aggregate does not support empty named availability zone; leave it out"}
        elif key in _COUNTS and not _is_count(value):
            yield key, {"found": shown(value), "allowed": "a whole number, which the filter reads"}
        elif key in _multipliers() and not _is_number(value):
            yield key, {"found": shown(value), "allowed": "a number, which the weigher reads"}
        elif key.endswith(_MULTIPLIER) and key not in _multipliers():
            reason = f"no weigher reads {shown(key)}, allowed are {listed(sorted(_multipliers()), 20)}"
            yield key, {"reason": reason, "hint": nearest(key, _multipliers())}


def _multipliers() -> list[str]:
    options = document("fleet")["$defs"]["scheduler"]["properties"]
    return [name for name in options if name.endswith(_MULTIPLIER)]


def _is_number(value: t.Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (ValueError, OverflowError):
        return False


def _is_count(value: t.Any) -> bool:
    return not isinstance(value, (bool, float)) and str(value).strip().isdecimal()


def _isolated(review: Review, options: Entry) -> None:
    """Names of images and hosts that don't exist: what they were meant for would not be isolated."""
    known = {"isolated_images": ("an image", "fleet_images", review.names("fleet_images"))}
    if review.inventory.computes:
        known["isolated_hosts"] = ("a compute host", "inventory", frozenset(review.inventory.computes))
    for option, (what, where, names) in known.items():
        for index, name in enumerate(options.get(option, ()) if names is not None else ()):
            if name not in t.cast("frozenset[str]", names):
                allowed = f"{what} of {where} ({listed(sorted(names or ()))})"
                clauses: Clauses = {"found": shown(name), "allowed": allowed, "hint": nearest(name, names or ())}
                review.add("fleet_scheduler", (option, index), **clauses)


def _enabled(review: Review, options: Entry) -> frozenset[str] | None:
    """The filters that hold; None when that can't be known."""
    if review.spoilt("fleet_scheduler"):
        return None
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import DEFAULT_FILTERS

    return frozenset(options.get("enabled_filters", DEFAULT_FILTERS))


def _policies(review: Review, enabled: frozenset[str]) -> None:
    """Groups whose policy no enabled filter holds, in Nova's words; of groups that a server is in."""
    groups = review.entries("fleet_server_groups")
    members: dict[str, list[str]] = {}
    for host, data in review.servers.items():
        if data.get("server_group") in groups:
            members.setdefault(data["server_group"], []).append(host)
    for name, hosts in members.items():
        policy = groups[name]["policy"]
        if policy in _GROUP_FILTERS and _GROUP_FILTERS[policy] not in enabled:
            reason = (
                f"{_GROUP_FILTERS[policy]} not configured, which holds the policy {policy} of server group {name!r}; "
                "name it in enabled_filters of fleet_scheduler"
            )
            review.add("server_group", hosts=hosts, reason=reason)


def _hints(review: Review, host: str, hints: Entry, enabled: frozenset[str] | None) -> None:
    if not hints:
        return
    # Here, not above: most fleets have no hints, and need no filters for a run that places nothing.
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.json_query import problem
    from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import FILTERS

    for hint in hints if enabled is not None else ():
        reader = next((name for name, rule in FILTERS.items() if hint in rule.hints), None)
        if reader is not None and reader not in t.cast("frozenset[str]", enabled):
            reason = f"is read by {reader}, which enabled_filters of fleet_scheduler doesn't name"
            review.add("server_scheduler_hints", (hint,), hosts=(host,), reason=reason)
    wrong = problem(hints["query"]) if "query" in hints else None
    if wrong:
        review.add("server_scheduler_hints", ("query",), hosts=(host,), reason=wrong)
    if "cidr" in hints:
        _cidr(review, host, hints)


def _cidr(review: Review, host: str, hints: Entry) -> None:
    if _NEAR not in hints:
        review.add("server_scheduler_hints", ("cidr",), hosts=(host,), reason=f"is given without {_NEAR}")
        return
    length = ipaddress.ip_address(hints[_NEAR]).max_prefixlen
    if int(hints["cidr"][1:]) > length:
        allowed = f"at most /{length} for {hints[_NEAR]}"
        review.add("server_scheduler_hints", ("cidr",), hosts=(host,), found=shown(hints["cidr"]), allowed=allowed)
