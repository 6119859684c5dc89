# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The validator as a whole: everything at once, nothing twice, no secret, and no exception whatever it is given."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import random
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import PREFIXES, variables
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Mistake
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import validate
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example


def test_example_has_no_mistake(example: Example) -> None:
    assert example.mistaken() == []


def test_thousand_servers_have_no_mistake(example: Example) -> None:
    shape = example.servers.pop("web2")
    del shape["server_id"]
    shape["server_networks"] = ["lan"]
    example.servers.update({f"db{number:04}": {**shape, "server_tags": [f"n{number}"]} for number in range(1000)})

    assert example.mistaken() == []


def test_all_mistakes_are_told_at_once(example: Example) -> None:
    example.flavor.update(vcpus=0, ram="much", rma=1)
    example.fleet.update(fleet_strict="maybe", fleet_flavours={})
    example.lan["gateway"] = "198.51.100.1"
    example.kvm1["compute_allocation_ratio"] = {"vcpus": -1, "ram": 1.5}
    example.web1.update(server_flavor="m1.smal", server_image="debian", server_state="off")
    example.web2["server_networks"] = [{"network": "lan", "fixed_ip": "192.0.2.1"}, {"network": "six", "mac": "x"}]
    example.servers["-x"] = {}

    told = example.mistaken()

    assert [sentence.partition(": ")[0] for sentence in told] == [
        "fleet_flavors.m1.small.ram",
        "fleet_flavors.m1.small.rma",
        "fleet_flavors.m1.small.vcpus",
        "fleet_flavours",
        "fleet_networks.lan.gateway",
        "fleet_strict",
        "compute_allocation_ratio.ram (host kvm1)",
        "compute_allocation_ratio.vcpus (host kvm1)",
        "inventory_hostname (host -x)",
        "server_flavor (host -x)",
        "server_flavor (host web1)",
        "server_image (host -x)",
        "server_image (host web1)",
        "server_networks[1].mac (host web2)",
        "server_state (host web1)",
    ]


def test_broken_entry_is_still_a_known_name(example: Example) -> None:
    del example.fleet["fleet_flavors"]["m1.small"]["ram"]
    del example.fleet["fleet_networks"]["lan"]["bridge"]

    assert [sentence.partition(":")[0] for sentence in example.mistaken()] == [
        "fleet_flavors.m1.small.ram",
        "fleet_networks.lan",
    ]


def test_equal_mistakes_of_many_hosts_are_one(example: Example) -> None:
    for number in range(1, 21):
        example.servers[f"app{number:02}"] = {"server_flavor": "m1.smal", "server_image": "probe"}

    (sentence,) = example.mistaken()

    assert sentence.startswith(
        "server_flavor (hosts app01, app02, app03, app04, app05, app06, app07 and 13 more): found 'm1.smal', "
    )


def test_source_is_told(example: Example) -> None:
    example.sources = {"": {"fleet_strict": "group_vars/all.yml"}, "web1": {"server_state": "host_vars/web1.yml"}}
    example.fleet["fleet_strict"] = "maybe"
    example.web1["server_state"] = "up"

    assert [sentence.partition(": ")[0] for sentence in example.mistaken()] == [
        "fleet_strict (group_vars/all.yml)",
        "server_state (host web1, host_vars/web1.yml)",
    ]


def test_mistake_of_the_caller_hides_what_follows_from_it(example: Example) -> None:
    del example.web1["server_flavor"]
    mistake = Mistake("server_flavor", "server_flavor", hosts=("web1",), reason="'size' is undefined")
    example.mistakes.append(mistake)
    example.mistakes.append(Mistake("fleet_images", "fleet_images", reason="'mirror' is undefined"))
    del example.fleet["fleet_images"]

    assert example.mistaken() == [
        "fleet_images: 'mirror' is undefined.",
        "server_flavor (host web1): 'size' is undefined.",
    ]


def test_a_ledger_that_is_not_found_may_have_any_name(example: Example) -> None:
    example.fleet["fleet_name"] = "a/b"
    example.web1.update(server_flavor="from-a-module", server_state="runing")
    given = dataclasses.replace(example.input(), ledger=None)

    assert [str(mistake).partition(": ")[0] for mistake in validate(given)] == [
        "fleet_name",
        "server_state (host web1)",
    ]


def test_null_counts_as_not_given(example: Example) -> None:
    example.web1.update(server_group=None, server_networks=None)
    example.fleet.update(fleet_volumes=None, fleet_strict=None)
    del example.web2["server_volumes"]

    assert example.mistaken() == []


def test_foreign_variables_are_left_alone(example: Example) -> None:
    example.fleet.update(ansible_user="root", compute_nothing=1)
    example.web1["compute_state"] = "whatever"

    assert example.mistaken() == []


@pytest.mark.parametrize("value", ["true", "yes", "True", "on", "1", "no", "FALSE"])
def test_extra_variables_come_as_text(example: Example, value: str) -> None:
    example.fleet.update(fleet_strict=value, fleet_timeout="20", fleet_servers="web1, web2", fleet_allow="")

    assert example.mistaken() == []


# Where each secret stands, and what would make the validator speak of it.
SECRETS: list[tuple[str, t.Callable[[Example], object]]] = [
    ("ledger", lambda e: e.fleet.update(fleet_ledger="mysql://flotilla:pl4nted@db/flotilla")),
    ("ledger as mapping", lambda e: e.fleet.update(fleet_ledger={"pl4nted": ["pl4nted\udcff"]})),
    ("secret key", lambda e: e.fleet.update(fleet_secret_key="pl4nted")),
    ("secret key misspelt", lambda e: e.fleet.update(fleet_secretkey="pl4nted")),
    (
        "user data too large",
        lambda e: e.web1.update(server_user_data=f"{random.Random(1).randbytes(70000)!r}pl4nted"),
    ),
    ("user data as mapping", lambda e: e.web1.update(server_user_data={"users": 1, "packages": {"pl4nted": 1}})),
    ("user data as list", lambda e: e.web1.update(server_user_data=["pl4nted", float("inf")])),
    ("user data not UTF-8", lambda e: e.web1.update(server_user_data="pl4nted\udcff")),
    ("password as list", lambda e: e.web1.update(server_admin_password=["pl4nted"])),
    ("password misspelt", lambda e: e.web1.update(server_admin_passwd="pl4nted")),
    ("fence options", lambda e: e.kvm1.update(compute_fence=["pl4nted"])),
    ("fence options with numbers as names", lambda e: e.kvm1.update(compute_fence={1: "pl4nted"})),
    ("private key", lambda e: e.fleet["fleet_keypairs"]["ops"].update(public_key="PRIVATE KEY pl4nted")),
    ("private key as list", lambda e: e.fleet["fleet_keypairs"]["ops"].update(public_key=["PRIVATE KEY pl4nted"])),
    ("private key misspelt", lambda e: e.fleet["fleet_keypairs"]["ops"].update(private_key="pl4nted")),
    ("image URL", lambda e: e.image.update(url="gopher://user:pl4nted@example.org/x")),
]


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in SECRETS])
def test_secrets_are_not_shown(example: Example, change: t.Callable[[Example], object]) -> None:
    change(example)

    mistakes = validate(example.input())

    assert mistakes
    assert "pl4nted" not in f"{mistakes!r} {[str(mistake) for mistake in mistakes]}"


KEYS = st.text(max_size=8) | st.integers() | st.sampled_from(["lan", "cidr", "hosts"])
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(["lan", "m1.small", "8GiB", "192.0.2.10", "2001:db8::/64", "active", "kvm1", "-", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def places(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """The paths to everything in the value but the value itself."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def put(value: t.Any, path: tuple[t.Any, ...], new: t.Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


PLACES = [
    (part, path)
    for part in ("fleet", "computes", "servers")
    for path in places(getattr(Example(), part))
    if part == "fleet" or len(path) > 1
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=3))
def test_anything_anywhere_gives_mistakes_and_never_raises(
    changes: list[tuple[tuple[str, tuple[t.Any, ...]], t.Any]],
) -> None:
    example = Example()
    for (part, path), value in changes:
        with contextlib.suppress(TypeError, KeyError, IndexError):  # an earlier change has taken the place away
            put(getattr(example, part), path, copy.deepcopy(value))

    for sentence in example.mistaken():
        assert sentence.endswith((".", "?"))
        sentence.encode()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(variables())), ANYTHING)
def test_any_value_of_any_variable_never_raises(variable: str, value: t.Any) -> None:
    family = next(family for family, prefix in PREFIXES.items() if variable.startswith(prefix))
    example = Example()
    target = {"fleet": example.fleet, "compute": example.kvm1, "server": example.web1}[family]
    target[variable] = value

    for sentence in example.mistaken():
        sentence.encode()


def test_deep_nesting_is_a_mistake(example: Example) -> None:
    value: t.Any = "bottom"
    for _level in range(5000):
        value = [value]
    example.web1["server_scheduler_hints"] = {"query": value}

    (sentence,) = example.mistaken()

    assert sentence == (
        "server_scheduler_hints (host web1): is nested too deeply, or has a number in it that is too large."
    )
