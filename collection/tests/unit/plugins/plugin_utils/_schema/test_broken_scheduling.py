# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong input to the scheduler: options, metadata of aggregates, hints, groups. Each has its own sentence."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import FILTERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.weighers import WEIGHERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema import scheduling
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import document

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example

HINTED = ("ComputeFilter", "ServerGroupAntiAffinityFilter", "JsonFilter", "SameHostFilter", "SimpleCIDRAffinityFilter")


def options(example: Example, **values: t.Any) -> None:
    example.fleet["fleet_scheduler"].update(values)


def metadata(example: Example, **values: t.Any) -> object:
    return example.fleet["fleet_aggregates"]["rack1"]["metadata"].update(values)


def hint(example: Example, **values: t.Any) -> None:
    options(example, enabled_filters=[*HINTED])
    example.web1["server_scheduler_hints"] = values


# What was meant, how it is broken, and all that the validator says of it.
BROKEN: list[tuple[str, t.Callable[[Example], object], str]] = [
    (
        "weigher unknown",
        lambda e: options(e, rum_weight_multiplier=2),
        "fleet_scheduler.rum_weight_multiplier: 'rum_weight_multiplier' is not known here",
    ),
    (
        "multiplier that is no number",
        lambda e: options(e, ram_weight_multiplier="a lot"),
        "fleet_scheduler.ram_weight_multiplier: found 'a lot', allowed is a number.",
    ),
    (
        "multiplier of a soft policy below nought",
        lambda e: options(e, soft_affinity_weight_multiplier=-1),
        "fleet_scheduler.soft_affinity_weight_multiplier: found -1, allowed is a number of at least 0.",
    ),
    (
        "subset of no hosts",
        lambda e: options(e, host_subset_size=0),
        "fleet_scheduler.host_subset_size: found 0, allowed is a number of at least 1.",
    ),
    (
        "filters as text",
        lambda e: options(e, enabled_filters="ComputeFilter"),
        "fleet_scheduler.enabled_filters: found 'ComputeFilter', allowed is a list.",
    ),
    (
        "isolated image unknown",
        lambda e: options(e, isolated_images=["debian-12", "debain-12"]),
        (
            "fleet_scheduler.isolated_images[1]: found 'debain-12', allowed is an image of fleet_images (debian-12, "
            "probe); did you mean 'debian-12'?"
        ),
    ),
    (
        "isolated host unknown",
        lambda e: options(e, isolated_hosts=["kvm7"]),
        (
            "fleet_scheduler.isolated_hosts[0]: found 'kvm7', allowed is a compute host of inventory (kvm1, kvm2); "
            "did you mean 'kvm2'?"
        ),
    ),
    (
        "factor of a metric that is no number",
        lambda e: options(e, metrics_weight_setting={"cpu.percent": "low"}),
        "fleet_scheduler.metrics_weight_setting.cpu.percent: found 'low', allowed is a number.",
    ),
    (
        "policy that no filter holds",
        lambda e: options(e, enabled_filters=["ComputeFilter"]),
        (
            "server_group (host web1): ServerGroupAntiAffinityFilter not configured, which holds the policy "
            "anti-affinity of server group 'spread'; name it in enabled_filters of fleet_scheduler."
        ),
    ),
    (
        "multiplier of an aggregate that is no number",
        lambda e: metadata(e, ram_weight_multiplier="much"),
        (
            "fleet_aggregates.rack1.metadata.ram_weight_multiplier: found 'much', allowed is a number, which the "
            "weigher reads."
        ),
    ),
    (
        "multiplier of an aggregate that is not finite",
        lambda e: metadata(e, cpu_weight_multiplier="nan"),
        (
            "fleet_aggregates.rack1.metadata.cpu_weight_multiplier: found 'nan', allowed is a number, which the "
            "weigher reads."
        ),
    ),
    (
        "multiplier of an aggregate without end",
        lambda e: metadata(e, cpu_weight_multiplier=10**400),
        "fleet_aggregates.rack1.metadata.cpu_weight_multiplier: found 1000000000",
    ),
    (
        "multiplier of an aggregate misspelt",
        lambda e: metadata(e, ram_wait_weight_multiplier=1),
        "fleet_aggregates.rack1.metadata.ram_wait_weight_multiplier: no weigher reads 'ram_wait_weight_multiplier'",
    ),
    (
        "number of servers in an aggregate not whole",
        lambda e: metadata(e, max_instances_per_host="2.5"),
        (
            "fleet_aggregates.rack1.metadata.max_instances_per_host: found '2.5', allowed is a whole number, which "
            "the filter reads."
        ),
    ),
    (
        "zone without a name",
        lambda e: metadata(e, availability_zone="") or e.web1.pop("server_availability_zone"),
        "fleet_aggregates.rack1.metadata.availability_zone: an aggregate does not support empty named availability",
    ),
    (
        "aggregate of the ledger that names an unknown host",
        lambda e: e.ledger.update(aggregates={"ssd": {"hosts": ["kvm9"], "metadata": {}}}),
        (
            "fleet_aggregates.ssd.hosts[0] (in the ledger, set with module aggregate): found 'kvm9', allowed is a "
            "compute host or a pattern that matches one (kvm1, kvm2); did you mean 'kvm2'?"
        ),
    ),
    (
        "aggregate of the ledger that contradicts inventory",
        lambda e: e.ledger.update(aggregates={"ssd": {"hosts": ["kvm2"], "metadata": {"availability_zone": "west"}}}),
        (
            "compute_availability_zone (host kvm2): One or more hosts already in availability zone(s): 'east' by "
            "aggregate rack1 and 'west' by aggregate ssd, allowed is one zone."
        ),
    ),
    (
        "aggregate in inventory and ledger",
        lambda e: e.ledger.update(aggregates={"rack1": {"hosts": [], "metadata": {}}}),
        (
            "fleet_aggregates.rack1: the ledger has this name too, from a module; allowed is one of both: rename this "
            "one or remove that."
        ),
    ),
    (
        "server group in inventory and ledger",
        lambda e: e.ledger.update(server_groups={"near": {"policy": "affinity"}}),
        (
            "fleet_server_groups.near: the ledger has this name too, from a module; allowed is one of both: rename "
            "this one or remove that."
        ),
    ),
    (
        "hint unknown",
        lambda e: hint(e, same_hosts=["web2"]),
        (
            "server_scheduler_hints.same_hosts (host web1): 'same_hosts' is not known here, allowed are "
            "build_near_host_ip, cidr, different_host, query, same_host; did you mean 'same_host'?"
        ),
    ),
    (
        "hint of a wrong form",
        lambda e: hint(e, same_host={"name": "web2"}),
        (
            "server_scheduler_hints.same_host (host web1): found {'name': 'web2'}, allowed is the name or id of a "
            "server, or a list of them."
        ),
    ),
    (
        "hint with a number in its list",
        lambda e: hint(e, same_host=["web2", 7]),
        "server_scheduler_hints.same_host[1] (host web1): found 7, allowed is text of 1 to 255 characters",
    ),
    (
        "hints as a list",
        lambda e: e.web1.update(server_scheduler_hints=["same_host"]),
        "server_scheduler_hints (host web1): found ['same_host'], allowed is a mapping.",
    ),
    (
        "hint that no enabled filter reads",
        lambda e: e.web1.update(server_scheduler_hints={"query": '["=", 1, 1]'}),
        (
            "server_scheduler_hints.query (host web1): is read by JsonFilter, which enabled_filters of "
            "fleet_scheduler doesn't name."
        ),
    ),
    (
        "query that is no JSON",
        lambda e: hint(e, query='[">=", "$free_ram_mb", 1024'),
        "server_scheduler_hints.query (host web1): is not JSON: Expecting ',' delimiter",
    ),
    (
        "query with an unknown operator",
        lambda e: hint(e, query='["and", ["~", "$free_ram_mb", 1024]]'),
        (
            'server_scheduler_hints.query (host web1): ["~", "$free_ram_mb", 1024] should be a list that begins with '
            "one of = < > <= >= in not or and."
        ),
    ),
    (
        "query that is no list",
        lambda e: hint(e, query='{"free_ram_mb": 1024}'),
        'server_scheduler_hints.query (host web1): {"free_ram_mb": 1024} should be a list that begins with one of',
    ),
    (
        "query as a list",
        lambda e: hint(e, query=[">=", "$free_ram_mb", 1024]),
        "server_scheduler_hints.query (host web1): found ['>=', '$free_ram_mb', 1024], allowed is JSON as text",
    ),
    (
        "query without a bottom",
        lambda e: hint(e, query='["not", ' * 400 + "1" + "]" * 400),
        "server_scheduler_hints.query (host web1): is nested more than 50 deep.",
    ),
    (
        "query that no parser takes",
        lambda e: hint(e, query="[" * 100000),
        "server_scheduler_hints.query (host web1): is not JSON: ",
    ),
    (
        "address that is none",
        lambda e: hint(e, build_near_host_ip="192.0.2.300"),
        "server_scheduler_hints.build_near_host_ip (host web1): found '192.0.2.300', allowed is an IP address.",
    ),
    (
        "prefix without its slash",
        lambda e: hint(e, build_near_host_ip="192.0.2.3", cidr="24"),
        "server_scheduler_hints.cidr (host web1): found '24', allowed is the length of a prefix, such as /24.",
    ),
    (
        "prefix that is too long",
        lambda e: hint(e, build_near_host_ip="192.0.2.3", cidr="/64"),
        "server_scheduler_hints.cidr (host web1): found '/64', allowed is at most /32 for 192.0.2.3.",
    ),
    (
        "prefix without an address",
        lambda e: hint(e, cidr="/24"),
        "server_scheduler_hints.cidr (host web1): is given without build_near_host_ip.",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), [pytest.param(*rest, id=name) for name, *rest in BROKEN])
def test_is_told(example: Example, change: t.Callable[[Example], object], sentence: str) -> None:
    change(example)

    (told,) = example.mistaken()

    assert told.startswith(sentence)


def test_all_of_them_are_told_in_one_go(example: Example) -> None:
    options(example, isolated_images=["no-such"], isolated_hosts=["no-such"], enabled_filters=["ComputeFilter"])
    metadata(example, ram_weight_multiplier="much", max_io_ops_per_host="many")
    example.web1["server_scheduler_hints"] = {"query": "[", "cidr": "/24"}

    told = "\n".join(example.mistaken())

    wanted = ("isolated_images", "isolated_hosts", "not configured", "ram_weight", "max_io_ops", "is not JSON", "cidr")
    assert [word for word in wanted if word not in told] == []


def test_what_is_right_passes(example: Example) -> None:
    hint(
        example,
        query=json.dumps(["and", [">=", "$free_ram_mb", 1024], ["not", ["in", "$host", "a", "b"]], []]),
        same_host="web2",
        build_near_host_ip="2001:db8::7",
        cidr="/64",
    )
    metadata(example, ram_weight_multiplier="-1.5", max_instances_per_host=20, max_io_ops_per_host="4", rack="a,b")
    options(example, isolated_images=["probe"], isolated_hosts=["kvm1", "kvm2"])

    assert example.mistaken() == []


def test_names_are_the_schedulers() -> None:
    schema = document("fleet")["$defs"]["scheduler"]["properties"]
    named = set(schema["enabled_filters"]["items"]["enum"])

    assert named == set(FILTERS)
    assert set(scheduling._multipliers()) == {weigher.option for weigher in WEIGHERS}


def test_hints_are_those_that_filters_read() -> None:
    known = document("server")["properties"]["server_scheduler_hints"]["properties"]

    assert set(known) == {name for rule in FILTERS.values() for name in rule.hints}
