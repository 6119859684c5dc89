# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Golden batches: small clusters as text in data/, with where each server goes."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput, NoValidHost
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import Instance, ServerGroup
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler, explain, place
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.builders import (
    host,
    parse_case,
    request,
)

CASES = sorted((Path(__file__).parent / "data").glob("*.txt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    case = parse_case(path.read_text())
    placement = place(case.hosts, case.requests, Settings.from_variable(case.options))
    lines = [f"{name} -> {placed.host}" for name, placed in placement.placed.items()]
    lines += [explanation.sentence() for explanation in placement.refused.values()]
    assert "\n".join(lines) + "\n" == case.expected


def test_golden_cases_are_there() -> None:
    assert len(CASES) >= 10


def test_a_refusal_is_an_error_with_reasons() -> None:
    hosts = [host("kvm1", memory=4096), host("kvm2", enabled=False, reason="broken fan")]
    error = place(hosts, [request(ram=8192, vcpus=4)]).refused["web1"].error()
    assert isinstance(error, NoValidHost)
    assert error.reasons == {
        "kvm1": "needs 8 GiB, one server can have at most 4 GiB",
        "kvm2": "disabled (broken fan)",
    }
    assert str(error).startswith("No valid host was found for web1 (8 GiB, 4 vCPUs, 10 GiB disk): kvm1: needs 8 GiB")


def test_no_hosts_at_all() -> None:
    assert place([], [request()]).refused["web1"].sentence().endswith("there are no compute hosts")


def test_a_request_that_is_wrong_leaves_the_others() -> None:
    wrong = request("web1", extra_specs={"resources:VCPU": "many"})
    placement = place([host()], [wrong, request("web2")])
    assert placement.placed["web2"].host == "kvm1"
    error = placement.refused["web1"].error()
    assert isinstance(error, InvalidInput)
    assert "'resources:VCPU' should be a whole number, found 'many'" in str(error)


@pytest.mark.parametrize(
    ("hosts", "requests"),
    [([host("kvm1"), host("kvm1")], []), ([host()], [request("web1"), request("web1")])],
)
def test_two_of_one_name_are_a_conflict(hosts: list[t.Any], requests: list[t.Any]) -> None:
    with pytest.raises(Conflict, match="one name"):
        place(hosts, requests)


def test_alternates_are_the_next_best() -> None:
    hosts = [
        host("kvm1", memory=8192),
        host("kvm2", memory=32768),
        host("kvm3", memory=16384),
        host("kvm4", memory=4096),
    ]
    placed = place(hosts, [request()], Settings(enabled_filters=())).placed["web1"]
    assert (placed.host, list(placed.alternates)) == ("kvm2", ["kvm3", "kvm1"])


def test_weights_say_why() -> None:
    hosts = [host("kvm1", memory=16896), host("kvm2", memory=33280)]
    placed = place(hosts, [request()]).placed["web1"]
    assert placed.weights == {"RAMWeigher": 1.0, "CPUWeigher": 1.0, "DiskWeigher": 1.0}


def test_a_single_host_is_never_weighed() -> None:
    assert place([host()], [request()]).placed["web1"].weights == {}


def test_host_subset_size_repeats_and_spreads() -> None:
    hosts = [host(f"kvm{number}", memory=32768 + number) for number in range(1, 7)]
    settings = Settings(host_subset_size=3)
    chosen = {name: place(hosts, [request(name)], settings).placed[name].host for name in (f"s{n}" for n in range(40))}
    assert set(chosen.values()) == {"kvm4", "kvm5", "kvm6"}
    assert chosen == {name: place(hosts, [request(name)], settings).placed[name].host for name in chosen}


def test_shuffle_is_among_equals_only() -> None:
    hosts = [host("kvm1"), host("kvm2"), host("kvm3", memory=16384)]
    settings = Settings(shuffle_best_same_weighed_hosts=True)
    chosen = {place(hosts, [request(f"s{n}")], settings).placed[f"s{n}"].host for n in range(40)}
    assert chosen == {"kvm1", "kvm2"}


def test_explain_a_success() -> None:
    hosts = [host("kvm1", memory=8192), host("kvm2"), host("kvm3", up=False, reason="no route")]
    explanation = explain(hosts, request())
    assert explanation.host == "kvm2"
    assert list(explanation.weights) == ["kvm2", "kvm1"]
    assert explanation.left == [
        ("ComputeFilter", 2),
        ("StoragePool", 2),
        ("Placement", 2),
    ]
    text = explanation.text()
    assert "web1 (2 GiB, 1 vCPU, 10 GiB disk) goes to kvm2" in text
    assert "kvm3: down (no route) (ComputeFilter)" in text
    assert "<- chosen" in text
    assert explanation.to_json()["text"] == text


def test_explain_consumes_nothing() -> None:
    scheduler = Scheduler([host(memory=3072)])
    assert scheduler.explain(request()) == scheduler.explain(request())
    assert scheduler.place([request()]).placed["web1"].host == "kvm1"
    assert scheduler.explain(request("web2")).host is None


def test_many_hosts_stay_one_sentence() -> None:
    hosts = [host(f"kvm{number:03}", memory=1024 + number) for number in range(200)]
    explanation = place(hosts, [request()]).refused["web1"]
    assert len(explanation.refusals) == 200
    assert "192 more hosts: see the explanation" in explanation.sentence()


def test_equal_hosts_share_a_reason() -> None:
    hosts = [host(f"kvm{number}", up=False) for number in range(1, 13)]
    sentence = place(hosts, [request()]).refused["web1"].sentence()
    assert sentence.endswith(": kvm1, kvm10, kvm11, kvm12, kvm2, kvm3, kvm4, kvm5 and 4 more: down")


def test_members_on_hosts_that_are_not_given_count_for_affinity() -> None:
    group = ServerGroup("db", "affinity", hosts=["kvm9"])
    assert place([host()], [request(group=group)]).refused["web1"].refusals["kvm1"].reason.endswith("is on 'kvm9'")


def test_a_server_may_stay_where_it_is() -> None:
    group = ServerGroup("db", "anti-affinity")
    there = host(instances=[Instance("id-1", "web1", "db")])
    assert place([there], [request(id="id-1", group=group)]).placed["web1"].host == "kvm1"
    assert "web2" in place([there], [request("web2", id="id-2", group=group)]).refused


def test_soft_policies_prefer_and_never_refuse() -> None:
    hosts = [host("kvm1", instances=[Instance("a", group="g")]), host("kvm2")]
    apart = place(hosts, [request(group=ServerGroup("g", "soft-anti-affinity"))])
    together = place(hosts, [request(group=ServerGroup("g", "soft-affinity"))])
    assert (apart.placed["web1"].host, together.placed["web1"].host) == ("kvm2", "kvm1")
    assert place(hosts[:1], [request(group=ServerGroup("g", "soft-anti-affinity"))]).placed["web1"].host == "kvm1"
