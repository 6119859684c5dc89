# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host is emptied and filled again, as plans: who leaves how and where to, who stays and why, who comes back."""

from __future__ import annotations

import dataclasses
import typing as t
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FittedDevice, PciDevice
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Guest, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES
from ansible_collections.flotilla.compute.plugins.module_utils._core.steps import Leave, as_defined
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared, declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.drain import (
    Against,
    Drain,
    Undrain,
    to_return,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.plan import Plan, ServerEntry
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import moves_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import (
    Claimed,
    MigrationRow,
    RunRow,
    ServerRow,
    Snapshot,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    applied,
    hosts,
    reconcile,
    rows,
    survey,
)

HOSTS = ("kvm1", "kvm2", "kvm3")
RUN = RunRow("other", "Action", "ctl", "", "", 17, "1", "ops", 1.0, 1.0, None, "running")
Servers = t.Mapping[str, t.Mapping[str, t.Any]]


def fleet(servers: Servers, **changes: t.Any) -> Declared:
    computes = {name: {**COMPUTE, "compute_migration_uri": f"qemu+tls://{name}/system"} for name in HOSTS}
    return declare({**FLEET, **changes}, computes, {name: {**WEB, **its} for name, its in servers.items()}, {})


class World(t.NamedTuple):
    """A fleet whose servers are on kvm1, but for those that ``guests`` has elsewhere."""

    declared: Declared
    guests: dict[str, list[Guest]]

    def snapshot(self, **changes: t.Any) -> Snapshot:
        found = {
            guest.id: ServerRow(guest.id, record.name, host, record.dumps(), 1, "active", None, 1, None, None, 1.0, 1.0)
            for host, guests in self.guests.items()
            for guest in guests
            if (record := guest.record) is not None
        }
        return rows(servers=found, **changes)

    def but(self, name: str, *, host: str = "kvm1", state: str | None = None, **record: t.Any) -> World:
        """The same with one server's guest or record changed."""

        def changed(guest: Guest) -> Guest:
            if guest.record is None or guest.record.name != name:
                return guest
            its = dataclasses.replace(guest.record, **record)
            return dataclasses.replace(guest, record=its, state=state or guest.state)

        return self._replace(guests={**self.guests, host: [changed(guest) for guest in self.guests[host]]})

    def situation(self, allow: t.Iterable[str] = (), snapshot: Snapshot | None = None, **surveys: t.Any) -> Situation:
        return Situation(
            self.declared,
            hosts(self.declared, self.guests, **surveys),
            snapshot or self.snapshot(),
            fleet_id="F",
            ledger_id="L",
            leave=Leave(frozenset(allow)),
            now=1000.0,
            run_id="me",
        )

    def drain(
        self, allow: t.Iterable[str] = (), host: str = "kvm1", against: Against | None = None, **more: t.Any
    ) -> Plan:
        return planned(Drain(self.situation(allow, **more), host, against or {}))

    def undrain(
        self, left: t.Sequence[str], allow: t.Iterable[str] = (), against: Against | None = None, **more: t.Any
    ) -> Plan:
        return planned(Undrain(self.situation(allow, **more), "kvm1", left, against or {}))

    def id(self, name: str) -> str:
        every = (guest.record for guests in self.guests.values() for guest in guests)
        return next(record.id for record in every if record is not None and record.name == name)


def planned(draft: Drain | Undrain) -> Plan:
    draft.schedule()
    won = {claim.name: Claimed(str(claim.server_id), claim.host, ()) for claim in draft.claims()}
    return draft.plan(won)


def world(servers: Servers, state: str = "shutoff", **changes: t.Any) -> World:
    """All of them on kvm1, which is large enough."""
    declared = fleet(servers, **changes)
    pinned = {name: {**its, "server_host": "kvm1"} for name, its in servers.items()}
    draft = reconcile(fleet(pinned, **changes), hosts(declared, kvm1=survey("kvm1", memory=65536)))
    found = applied(draft, state)
    for guests in found.values():
        guests[:] = [_unpinned(guest) for guest in guests]
    return World(declared, found)


def _unpinned(guest: Guest) -> Guest:
    record = t.cast(Record, guest.record)
    spec = {key: value for key, value in record.spec.items() if key != "host"}
    return dataclasses.replace(guest, record=dataclasses.replace(record, spec=spec))


def ways(plan: Plan) -> dict[str, tuple[str, str | None]]:
    return {entry.name: (entry.way, entry.destination) for entry in plan.servers}


def only(plan: Plan) -> ServerEntry:
    (entry,) = plan.servers
    return entry


def kinds(entry: ServerEntry) -> list[str]:
    return [step.kind for step in entry.steps]


# -- who leaves, and how ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "allow", "way", "steps"),
    [
        ("shutoff", "", "offline", ["migrate", "confirm_resize"]),
        ("crashed", "", "offline", ["stop", "migrate", "confirm_resize"]),
        ("running", "", "live", ["live_migrate"]),
        ("running", "restart", "live", ["live_migrate"]),
        ("paused", "", "live", ["live_migrate"]),
        ("suspended", "restart", "stays", []),
        ("other", "restart", "stays", []),
    ],
)
def test_a_guest_leaves_as_its_state_lets_it(state: str, allow: str, way: str, steps: list[str]) -> None:
    entry = only(world({"web1": {}}).but("web1", state=state).drain([allow]))
    assert (entry.way, kinds(entry)) == (way, steps)
    assert (entry.host, entry.destination is None) == ("kvm1", way == "stays")
    assert (entry.verdict == "held") == (way == "stays")


@pytest.mark.parametrize(
    ("state", "allow", "way", "words"),
    [
        ("running", "", "stays", "which no live migration takes along; -e fleet_allow=restart moves it cold"),
        ("running", "restart", "cold", ""),
        ("paused", "restart", "stays", "unpause or stop it"),
    ],
)
def test_what_has_devices_of_its_host_s_goes_cold(state: str, allow: str, way: str, words: str) -> None:
    fit = Fit(pci=(FittedDevice("gpu", PciDevice("0000:3b:00.0", "10de", "1eb8")),))
    entry = only(world({"web1": {}}).but("web1", state=state, fit=fit).drain([allow]))
    assert entry.way == way
    assert words in entry.message


@pytest.mark.parametrize(
    ("marks", "allow", "words"),
    [
        ({"soft_delete": {"at": 1}}, "", "it was deleted softly"),
        ({"rescue": {"image": {}}}, "", "it is rescued"),
        ({"rebuilding": {"spec": {}}}, "", "a rebuild of it was cut off; the next reconcile run ends that"),
        ({"migrating": {"migration": "m", "to": {"host": "kvm2", "host_id": "id-kvm2"}}}, "", "was cut off"),
        ({"lock": {"by": "ops", "reason": "do not"}}, "", "locked by ops: do not; -e fleet_allow=locked lets it go"),
        ({"lock": {"by": "ops"}}, "locked", ""),
    ],
)
def test_what_keeps_a_server_is_said(marks: dict[str, t.Any], allow: str, words: str) -> None:
    entry = only(world({"web1": {}}).but("web1", marks=marks).drain([allow]))
    assert words in entry.message
    assert (entry.way == "stays") == bool(words)


def test_firmware_s_variables_are_left_behind_by_leave_alone() -> None:
    """Unless the guest runs: QEMU takes them along then."""
    base = world({"web1": {}})
    hardware = dataclasses.replace(t.cast(Record, base.guests["kvm1"][0].record).hardware, firmware="uefi")
    uefi = base.but("web1", hardware=hardware)
    assert "fleet_allow=data_loss" in only(uefi.drain()).message
    assert kinds(only(uefi.drain(["data_loss"]))) == ["migrate", "confirm_resize"]
    assert kinds(only(uefi.but("web1", state="running").drain())) == ["live_migrate"]


def natted(state: str = "shutoff") -> tuple[World, dict[str, t.Any]]:
    """A server with a port in a network that each host has for itself, and the surveys that show it."""
    network = {"default": {"active": True, "bridge": "virbr0", "forward": "nat"}}
    base = world({"web1": {"server_networks": ["lan"]}}, state=state)
    nic = dataclasses.replace(t.cast(Record, base.guests["kvm1"][0].record).nics[0], kind="network", source="default")
    return base.but("web1", nics=(nic,)), {"kvm1": {**survey("kvm1"), "networks": network}}


@pytest.mark.parametrize(("state", "way"), [("running", "live"), ("shutoff", "offline")])
def test_who_would_lose_its_peers_leaves_by_leave_alone(state: str, way: str) -> None:
    base, surveys = natted(state)
    entry = only(base.drain(**surveys))
    assert (entry.way, entry.steps) == ("stays", ())
    assert entry.message == (
        "network 'lan' is one of kvm1's own (libvirt network default, nat), and it would find none of its peers there "
        "elsewhere; -e fleet_allow=host_network moves it all the same"
    )
    entry = only(base.drain(["host_network"], **surveys))
    assert entry.way == way
    (move,) = (step for step in entry.steps if step.kind in MOVES)
    assert move.options["host_network"] is True
    assert "without its peers in network 'lan'" in move.why
    bridged: dict[str, t.Any] = {
        "kvm1": {**survey("kvm1"), "networks": {"default": {**surveys["kvm1"]["networks"]["default"]}}}
    }
    bridged["kvm1"]["networks"]["default"]["forward"] = "bridge"
    assert only(base.drain(**bridged)).way == way


def test_what_inventory_pins_stays_or_goes_there() -> None:
    base = world({"web1": {}, "web2": {}})
    pinned = base._replace(declared=fleet({"web1": {"server_host": "kvm1"}, "web2": {"server_host": "kvm3"}}))
    plan = pinned.drain()
    assert ways(plan) == {"web1": ("stays", None), "web2": ("offline", "kvm3")}
    assert "inventory declares it on kvm1 (server_host)" in plan.servers[0].message


def test_who_has_no_place_stays_with_the_scheduler_s_words() -> None:
    full: dict[str, t.Any] = {"kvm2": survey("kvm2", memory=2000), "kvm3": survey("kvm3", memory=900)}
    plan = world({"web1": {}, "web2": {}}).drain(**full)
    assert sorted(way for way, _to in ways(plan).values()) == ["offline", "stays"]
    (failed,) = plan.failures
    assert "No valid host was found" in failed.message
    text = moves_text(plan, "Drain of kvm1")
    assert text.startswith("Drain of kvm1: 1 of 2 servers go (1 offline)\n")
    assert f"{failed.name}  stays    no valid host: No valid host was found" in text
    assert "-> kvm2 (kvm1 is emptied)" in text


def test_a_host_without_an_address_for_others_takes_none_and_gives_none() -> None:
    base = world({"web1": {}})
    computes = {name: {**COMPUTE, "compute_migration_uri": f"qemu+tls://{name}/system"} for name in ("kvm1", "kvm3")}
    declared = declare(FLEET, {**computes, "kvm2": COMPUTE}, {"web1": WEB}, {})
    assert only(base._replace(declared=declared).drain()).destination == "kvm3"
    none = declare(FLEET, dict.fromkeys(HOSTS, COMPUTE), {"web1": WEB}, {})
    assert "kvm1 has no compute_migration_uri" in only(base._replace(declared=none).drain()).message


def test_another_run_s_server_is_left_to_it() -> None:
    base = world({"web1": {}})
    row = dataclasses.replace(base.snapshot().servers[base.id("web1")], run_id="other")
    entry = only(base.drain(snapshot=rows(servers={row.id: row}, runs={RUN.id: RUN})))
    assert (entry.verdict, entry.way) == ("busy", "stays")


def test_copies_strangers_and_shelved_ones_are_named() -> None:
    base = world({"web1": {}, "web2": {}})
    moved = next(guest for guest in base.guests["kvm1"] if guest.name == "web1")
    record = t.cast(Record, moved.record)
    mark = {"source": True, "migration": "m", "at": 1.0, "to": {"host": "kvm2", "host_id": "id-kvm2"}, "xml": "<x/>"}
    left = as_defined(dataclasses.replace(record, marks={"resize": mark}))
    resized = {"migration": "m", "at": 1.0, "state": "shutoff", "flavor": record.flavor.to_json(), "disks": []}
    back = {**resized, "from": {"host": "kvm1", "host_id": "id-kvm1"}}
    there = as_defined(dataclasses.replace(record, host_id="id-kvm2", generation=9, marks={"resize": back}))
    stranger = Guest(id="x", name="win", state="running", persistent=True, autostart=False, vcpus=1, memory=10)
    others = [guest for guest in base.guests["kvm1"] if guest.name == "web2"]
    plan = base._replace(guests={"kvm1": [left, stranger, *others], "kvm2": [there]}).drain()
    assert {name: way for name, (way, _to) in ways(plan).items()} == {"web2": "offline", "web1 (kvm1)": "stays"}
    assert "by its move to kvm2; confirm or revert that" in next(e for e in plan.servers if e.copy).message
    assert any("not this fleet's, and left alone on kvm1: win" in note for note in plan.notes)


def test_undeclared_servers_leave_as_their_records_have_them() -> None:
    base = world({"web1": {}})
    entry = only(base._replace(declared=fleet({})).drain())
    assert (entry.way, entry.declared, kinds(entry)) == ("offline", False, ["migrate", "confirm_resize"])


@pytest.mark.parametrize(
    ("host", "surveys", "words"),
    [
        ("kvm9", {}, "Compute host kvm9 not found. There are: kvm1, kvm2, kvm3"),
        ("kvm1", {"kvm1": None}, "kvm1 is down: no route to host; its servers can't be moved"),
    ],
)
def test_a_host_that_can_t_be_emptied(host: str, surveys: dict[str, t.Any], words: str) -> None:
    with pytest.raises(FlotillaError, match=words):
        world({"web1": {}}).drain(host=host, **surveys)


def test_the_smallest_first_unless_inventory_says_otherwise() -> None:
    servers: dict[str, dict[str, t.Any]] = {
        "big": {"server_flavor": "big"},
        "web2": {},
        "web1": {},
        "last": {"server_priority": -1},
        "first": {"server_flavor": "big", "server_priority": 7},
    }
    plan = world(servers).drain()
    assert [entry.name for entry in plan.servers] == ["first", "web1", "web2", "big", "last"]


def test_a_group_that_is_to_be_together_leaves_as_a_whole_or_not_at_all() -> None:
    groups = {"close": {"policy": "affinity"}}
    close = {name: {"server_group": "close"} for name in ("web1", "web2")}
    made = world({**close, "db1": {"server_flavor": "big"}}, fleet_server_groups=groups)
    room: dict[str, t.Any] = {name: survey(name, memory=6144) for name in ("kvm2", "kvm3")}
    together = ways(made.drain(**room))
    assert together["web1"] == together["web2"]
    assert {way for way, _to in together.values()} == {"offline"}
    tight: dict[str, t.Any] = {"kvm2": survey("kvm2", memory=1500), "kvm3": None}
    plan = made.drain(**tight)
    assert {way for way, _to in ways(plan).values()} == {"stays"}
    told = "server group 'close' (affinity) stays together, and there is no place for web"
    assert any(entry.message.startswith(told) for entry in plan.servers)


# -- laws ---------------------------------------------------------------------------------------------------------

GROUPS = {
    "apart": {"policy": "anti-affinity"},
    "close": {"policy": "affinity"},
    "two": {"policy": "anti-affinity", "rules": {"max_server_per_host": 2}},
}
_SERVER = st.fixed_dictionaries(
    {
        "flavor": st.sampled_from(["small", "big"]),
        "group": st.sampled_from([None, None, "apart", "close", "two"]),
        "home": st.sampled_from(HOSTS),
        "state": st.sampled_from(["shutoff", "running"]),
    }
)


def _random(servers: list[dict[str, t.Any]]) -> World:
    """Servers where the test wants them, whatever the rules say of that."""
    names = {f"s{number}": its for number, its in enumerate(servers)}
    wanted = {
        name: {"server_flavor": its["flavor"], **({"server_group": its["group"]} if its["group"] else {})}
        for name, its in names.items()
    }
    declared = fleet(wanted, fleet_server_groups=GROUPS)
    template = t.cast(Record, world({"x": {}}).guests["kvm1"][0].record)
    guests: dict[str, list[Guest]] = {}
    for name, its in names.items():
        server = declared.servers[name]
        record = dataclasses.replace(
            template,
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            name=name,
            spec=server.spec,
            flavor=server.flavor,
            host_id=f"id-{its['home']}",
            nics=(),
            disks=tuple(dataclasses.replace(disk, pool_id=f"pool-{its['home']}") for disk in template.disks),
        )
        guests.setdefault(its["home"], []).append(dataclasses.replace(as_defined(record), state=its["state"]))
    return World(declared, guests)


@settings(max_examples=50, deadline=None)
@given(servers=st.lists(_SERVER, min_size=1, max_size=9), memory=st.integers(1, 16), closed=st.booleans())
def test_a_drain_keeps_every_rule(servers: list[dict[str, t.Any]], memory: int, closed: bool) -> None:
    made = _random(servers)
    surveys: dict[str, t.Any] = {name: survey(name, memory=1024 * memory) for name in HOSTS}
    surveys["kvm1"] = survey("kvm1", memory=1024 * 64)
    if closed:
        surveys["kvm2"]["marker"]["service"] = {"state": "maintenance", "reason": "drained too"}
    plan = made.drain(["restart"], **surveys)
    homes = {f"s{number}": its["home"] for number, its in enumerate(servers)}
    assert {entry.name for entry in plan.servers} == {name for name, home in homes.items() if home == "kvm1"}
    after = {**homes, **{entry.name: entry.destination for entry in plan.servers if entry.destination}}
    moved = {entry.name: entry.destination for entry in plan.servers if entry.steps}
    assert "kvm1" not in moved.values()
    assert not (closed and "kvm2" in moved.values())
    for host in HOSTS[1:]:
        used = sum(made.declared.servers[name].flavor.ram for name, at in after.items() if at == host)
        before = sum(made.declared.servers[name].flavor.ram for name, at in homes.items() if at == host)
        assert used <= max(1024 * memory, before)
    for name, to in moved.items():
        group = made.declared.servers[name].spec.get("group")
        mates = [at for other, at in after.items() if made.declared.servers[other].spec.get("group") == group]
        if group in ("apart", "two"):
            assert mates.count(to) <= (1 if group == "apart" else 2)
        if group == "close":
            homes_of = {at for other, at in homes.items() if made.declared.servers[other].spec.get("group") == group}
            assert len(set(mates)) <= len(homes_of)
    for entry in plan.servers:
        assert bool(entry.steps) == (entry.way != "stays")
        assert entry.steps or entry.message
    again = made.drain(["restart"], **surveys)
    assert dataclasses.replace(again, notes=plan.notes) == plan  # a note says how long the search took


# -- who comes back -----------------------------------------------------------------------------------------------


def row(number: int, server: str, source: str, to: str, status: str = "confirmed", **data: t.Any) -> MigrationRow:
    kind = data.pop("kind", "migration")
    return MigrationRow(f"m{number}", kind, server, source, to, status, None, data, float(number), float(number))


def out(number: int, server: str, to: str = "kvm2", source: str = "kvm1", status: str = "confirmed") -> MigrationRow:
    return row(number, server, source, to, status, drain=source)


@pytest.mark.parametrize(
    ("journal", "place", "returns"),
    [
        ([out(1, "a")], "kvm2", True),
        ([out(1, "a", status="error")], "kvm1", False),
        ([out(1, "a", status="migrating")], "kvm2", True),
        ([out(1, "a", status="migrating")], "kvm1", False),
        ([out(1, "a"), row(2, "a", "kvm2", "kvm1", undrain="kvm1")], "kvm1", False),
        ([out(1, "a"), row(2, "a", "kvm2", "kvm1", "error", undrain="kvm1")], "kvm2", True),
        ([out(1, "a"), row(2, "a", "kvm2", "kvm3")], "kvm3", False),
        ([out(1, "a"), row(2, "a", "kvm2", "kvm2", kind="resize")], "kvm2", True),
        ([out(1, "a"), out(2, "a", source="kvm2", to="kvm3")], "kvm3", True),
        ([out(1, "a"), row(2, "a", "kvm2", "kvm3", "done", kind="evacuation")], "kvm3", True),
        ([out(1, "a", source="kvm2", to="kvm3")], "kvm3", False),
    ],
)
def test_what_a_drain_has_moved_comes_back_unless_somebody_moved_it_since(
    journal: list[MigrationRow], place: str, returns: bool
) -> None:
    assert to_return(journal, "kvm1", {"a": place}) == (["a"] if returns else [])


def test_they_come_back_in_the_order_of_their_size_where_the_plan_allows_it() -> None:
    base = world({"web1": {}, "db1": {"server_flavor": "big"}, "web2": {}})
    (at_home,) = base.guests.values()
    away = [
        dataclasses.replace(guest, record=dataclasses.replace(t.cast(Record, guest.record), host_id="id-kvm2"))
        for guest in at_home
    ]
    left = base._replace(guests={"kvm2": away})
    drained = survey("kvm1", memory=5120)
    drained["marker"]["service"] = {"state": "maintenance", "reason": "drained by ops"}
    ids = [base.id(name) for name in ("db1", "web1", "web2")]
    plan = left.undrain(ids, kvm1=drained)
    assert [entry.name for entry in plan.servers] == ["web1", "web2", "db1"]
    assert sorted(way for way, _to in ways(plan).values()) == ["offline", "offline", "stays"]
    assert ways(plan)["db1"] == ("offline", "kvm1")  # what is hardest to place is placed first
    assert "needs 1 GiB" in plan.failures[0].message
    assert {entry.journal["undrain"] for entry in plan.servers} == {"kvm1"}
    # One that is gone, and one that is there already, are nobody's business.
    assert [entry.name for entry in base.undrain([*ids, "gone"]).servers] == []


def test_a_host_that_inventory_keeps_out_of_service_is_not_filled() -> None:
    base = world({"web1": {}})
    computes = {name: {**COMPUTE, "compute_migration_uri": "qemu+tls://x/system"} for name in HOSTS}
    computes["kvm1"]["compute_state"] = "maintenance"
    kept = base._replace(declared=declare(FLEET, computes, {"web1": WEB}, {}))
    with pytest.raises(Refused, match=r"inventory keeps kvm1 maintenance \(compute_state\)"):
        kept.undrain([])


def test_what_was_asked_for_is_whole() -> None:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.drain import asked_for

    with pytest.raises(InvalidInput, match="say which compute host: playbook drain -e fleet_host=kvm1"):
        asked_for(None, (), "drain")
    with pytest.raises(InvalidInput, match="fleet_servers selects some"):
        asked_for("kvm1", ("web*",), "drain")
    assert asked_for("kvm1", (), "drain") == "kvm1"
