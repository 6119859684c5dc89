# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger is lost: a run only reads until it is told to take the hosts over; then all is known again."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from tests.support.fleet import Fleet

DISABLE = """\
- hosts: kvm3
  gather_facts: false
  tasks:
    - name: Keep new servers away
      flotilla.compute.compute:
        state: disabled
        reason: new disks
"""


@pytest.fixture
def known(fleet: Fleet) -> Fleet:
    """A server on each host; kvm3 takes no new ones."""
    for number, host in enumerate(fleet.lab.hosts, 1):
        fleet.declare(f"s{number}", state="stopped", host=host, metadata={"number": str(number)})
    fleet.reconcile()
    playbook = fleet.folder / "disable.yml"
    playbook.write_text(DISABLE)
    fleet.run(playbook).ok()
    fleet.reconcile()  # the ledger learns of a host's id when it surveys the host that bears it
    return fleet


def lose(fleet: Fleet) -> None:
    for file in fleet.folder.glob("fleet.db*"):
        file.unlink()


def remembered(fleet: Fleet) -> dict[str, t.Any]:
    """All that a ledger can know from the hosts, but for generations."""
    snapshot = fleet.snapshot
    return {
        "servers": {
            (row.id, row.name, row.host, row.record, row.vm_state, row.power_state) for row in snapshot.servers.values()
        },
        "hosts": {(row.name, row.host_id, row.service_state, row.service_reason) for row in snapshot.hosts.values()},
        "addresses": {(row.network, row.address, row.server_id) for row in snapshot.addresses},
        "fleet": snapshot.fleet.fleet_id if snapshot.fleet else None,
    }


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("fleet.db*")}


def test_a_run_without_the_ledger_only_reads_until_it_takes_over(known: Fleet) -> None:
    fleet = known
    before, world = remembered(fleet), fleet.look()
    files = {host: fleet.lab.files(host) for host in fleet.lab.hosts}
    assert ("kvm3", world.hosts["kvm3"].marker["host_id"], "disabled", "new disks") in before["hosts"]  # type: ignore[index]
    lose(fleet)

    fleet.declare("s1", metadata={"number": "eleven"})
    fleet.declare("s4", state="stopped")
    run = fleet.run().failed()
    assert "belong to ledger" in run.message
    assert "fleet_take_over=true" in run.message
    assert (fleet.look().but(), {host: fleet.lab.files(host) for host in fleet.lab.hosts}) == (world.but(), files)

    fleet.declare("s1", metadata={"number": "1"})
    del fleet.servers["s4"]
    run = fleet.reconcile(fleet_take_over=True)
    assert run.all_steps == {}
    assert remembered(fleet) == before
    assert "catalogs (flavors, keypairs and the like) and its journal are lost: they are not on the hosts" in run.text
    assert fleet.look().but() == world.but()
    fleet.whole()
    assert fleet.reconcile().changed == 0

    # The hosts are this ledger's now, and a third one is refused again.
    fleet.all["fleet_ledger"] = f"sqlite:///{fleet.folder}/third.db"
    assert "belong to ledger" in fleet.run().failed().message


@pytest.mark.soak
def test_what_was_on_a_host_that_is_cut_off_is_not_built_again(known: Fleet) -> None:
    fleet = known
    before, world = remembered(fleet), fleet.look()
    lose(fleet)
    fleet.lab.ok("cut", "kvm2")
    fleet.all["fleet_timeout"] = 12
    run = fleet.run(fleet_take_over=True).civil()
    assert run.all_steps == {}
    assert "s2 may be on kvm2" in run.text
    assert "fleet_assume_absent=kvm2" in run.text
    kept = {row for row in before["servers"] if row[2] != "kvm2"}
    assert remembered(fleet)["servers"] == kept
    run = fleet.run().civil()
    assert run.all_steps == {}

    fleet.lab.heal()
    fleet.reconcile(fleet_take_over=True)
    assert fleet.whole().but() == world.but()
    assert remembered(fleet) == before


@pytest.mark.soak
def test_a_dead_hosts_servers_come_back_by_the_records_beside_their_disks(fleet: Fleet) -> None:
    """The ledger and a host are lost at once: what a shared pool tells of lives on, of the rest nobody knows."""
    fleet.all["fleet_timeout"] = 20
    fleet.declare("kept", "idle", pool="shared")
    fleet.declare("idle", state="stopped")
    fleet.declare("alone", state="stopped")
    for host in ("kvm2", "kvm3"):
        fleet.computes[host] = {"compute_state": "disabled"}
    fleet.reconcile()
    fleet.computes.update({"kvm2": {}, "kvm3": {}})
    before = fleet.look()
    fleet.console("kept", "boots=1 ")
    fleet.lab.ok("power", "off", "kvm1")
    lose(fleet)

    run = fleet.run(fleet_take_over=True).failed()
    assert "idle, kept: known from the records beside their disks in shared pools alone" in run.text
    assert {row.name: (row.host, row.id) for row in fleet.snapshot.servers.values()} == {
        name: ("kvm1", before.server(name).id) for name in ("idle", "kept")
    }
    said: dict[str, t.Any] = {"fleet_host": "kvm1", "fleet_fenced": "the test has switched it off"}
    run = fleet.run("evacuate", **said).civil()
    assert run.all_steps == {"idle": ["evacuate"], "kept": ["evacuate"]}
    assert "its id and disks are on kvm1 alone" in run.text
    world = fleet.look()
    assert world.states == {"idle": "shutoff", "kept": "running"}
    assert {name: server.id for name, server in world.servers.items()} == {
        name: before.server(name).id for name in ("idle", "kept")
    }
    fleet.console("kept", "boots=2 ")  # its disk knows that it has run before

    run = fleet.run("evacuate", fleet_allow="data_loss", **said).ok()
    assert run.all_steps == {"alone": ["create"]}
    new = fleet.look().server("alone")
    assert (new.host != "kvm1", new.id != before.server("alone").id) == (True, True)

    # The host is back, and is taken over in its turn. The old copy is told, by its id and its host, and left as it is.
    fleet.lab.heal()
    run = fleet.run(fleet_take_over=True).failed()
    assert f"there are two servers named alone: {before.server('alone').id} on kvm1" in run.text, str(run)
    copies = sorted((domain.id, domain.host) for domain in fleet.look().domains if domain.server == "alone")
    assert copies == sorted([(before.server("alone").id, "kvm1"), (new.id, new.host)])
    assert {"root", "config"} <= {volume[37:] for _pool, volume in fleet.look().volumes(before.server("alone").id)}
    assert fleet.look().hosts["kvm1"].domains[0].name == "alone"
    assert len(fleet.look().hosts["kvm1"].domains) == 1, "the copies that were replaced are gone"


@pytest.mark.soak
def test_the_hosts_of_another_fleet_are_not_ours(known: Fleet) -> None:
    """The same hosts in an inventory of another fleet, with a ledger of its own."""
    other = Fleet(known.lab, known.folder / "other", "other")
    other.declare("t1", state="stopped")
    world = known.look()
    run = other.run().failed()
    assert "belong to ledger" in run.message
    assert known.look().but() == world.but()
    assert known.reconcile().changed == 0
