# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of aggregates: those that would move servers to another zone are refused, as Nova does."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._aggregates import Fleet, entry_of, refuse_moves
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import Aggregate

Servers = t.Mapping[str, t.Sequence[str]]

EAST = Aggregate("rack1", ("kvm1",), {"availability_zone": "east"})
SSD = Aggregate("ssd", ("kvm1", "kvm2"), {"ssd": "true"})
PLAIN = Fleet({"kvm3": "south"}, "nova", [SSD])


def zoned(zone: str | None, *hosts: str) -> Aggregate:
    return Aggregate("rack1", hosts, {"availability_zone": zone} if zone else {})


REFUSED: list[tuple[str, Aggregate | None, Aggregate | None, str]] = [
    (
        "host added",
        zoned("east"),
        zoned("east", "kvm1"),
        (
            "Cannot add host to aggregate rack1. Reason: The host kvm1 cannot be added to the aggregate as the "
            "availability zone of the host would change from 'nova' to 'east' but the host already has 2 instance(s): "
            "web1, web2. Changing the AZ of an existing instance is not supported by this action. Move the instances "
            "away from this host then try again."
        ),
    ),
    ("aggregate made with a host", None, EAST, "Cannot add host to aggregate rack1. Reason: The host kvm1 cannot be"),
    (
        "host removed",
        EAST,
        zoned("east"),
        (
            "Cannot remove host from aggregate rack1. Reason: The host kvm1 cannot be removed from the aggregate as "
            "the availability zone of the host would change from 'east' to 'nova'"
        ),
    ),
    ("aggregate removed", EAST, None, "Cannot remove host from aggregate rack1. Reason: The host kvm1 cannot be"),
    (
        "zone changed",
        EAST,
        zoned("west", "kvm1"),
        "Cannot update aggregate rack1. Reason: One or more hosts contain instances in this zone: on kvm1, the avail",
    ),
    ("zone given", zoned(None, "kvm1"), EAST, "Cannot update aggregate rack1. Reason: One or more hosts contain"),
]
ALLOWED: list[tuple[str, Aggregate | None, Aggregate | None]] = [
    ("nothing changed", EAST, EAST),
    ("host without servers added", EAST, zoned("east", "kvm1", "kvm2")),
    ("host without servers removed", zoned("east", "kvm1", "kvm2"), EAST),
    ("no zone given", None, zoned(None, "kvm1")),
    ("removed without a zone", zoned(None, "kvm1"), None),
    ("the zone that it has", None, zoned("nova", "kvm1")),
    ("the zone that its variable gives it", None, zoned("south", "kvm3")),
    ("zone of an aggregate without hosts", zoned("east"), zoned("west")),
]
THERE: Servers = {"kvm1": ["web1", "web2"], "kvm3": ["db1"]}


@pytest.mark.parametrize(("before", "after", "sentence"), [pytest.param(*rest, id=name) for name, *rest in REFUSED])
def test_servers_keep_their_zone(before: Aggregate | None, after: Aggregate | None, sentence: str) -> None:
    with pytest.raises(Conflict, match=re.escape(sentence)):
        refuse_moves(before, after, PLAIN, lambda host: THERE.get(host, ()))

    refuse_moves(before, after, PLAIN, lambda _host: ())


@pytest.mark.parametrize(("before", "after"), [pytest.param(*rest, id=name) for name, *rest in ALLOWED])
def test_what_moves_no_server_is_allowed(before: Aggregate | None, after: Aggregate | None) -> None:
    refuse_moves(before, after, PLAIN, lambda host: THERE.get(host, ()))


def test_another_aggregate_keeps_the_host_in_its_zone() -> None:
    fleet = Fleet({}, "nova", [Aggregate("rack1b", ("kvm1",), {"availability_zone": "east"})])

    refuse_moves(EAST, None, fleet, lambda host: THERE.get(host, ()))


def arguments(**given: t.Any) -> dict[str, t.Any]:
    nothing = {"availability_zone": None, "hosts": None, "purge_hosts": True, "metadata": None, "description": None}
    return {**nothing, **given}


def test_what_is_not_given_stays() -> None:
    before = {"hosts": ["kvm1"], "metadata": {"availability_zone": "east", "ssd": "true"}, "description": "old"}

    assert entry_of(arguments(), before, ["kvm1", "kvm2"]) == before
    assert entry_of(arguments(metadata={}), before, ["kvm1"])["metadata"] == {"availability_zone": "east"}
    assert entry_of(arguments(hosts=["kvm2"], purge_hosts=False), before, ["kvm1", "kvm2"])["hosts"] == ["kvm1", "kvm2"]
    assert entry_of(arguments(hosts=[]), before, ["kvm1"])["hosts"] == []
    assert "description" not in entry_of(arguments(description=""), before, ["kvm1"])


def test_a_zone_is_given_in_one_of_its_places() -> None:
    assert entry_of(arguments(metadata={"availability_zone": "east"}), None, [])["metadata"] == {
        "availability_zone": "east"
    }
    with pytest.raises(InvalidInput, match="'east' and 'west' in metadata; give one of them"):
        entry_of(arguments(availability_zone="east", metadata={"availability_zone": "west"}), None, [])
