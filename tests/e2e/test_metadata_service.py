# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metadata service on the lab's hosts: guests without a drive are told who they are, and nobody else's metadata."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from tests.support.fleet import Fleet
from tests.support.lab_hosts import Lab, until

TREES = "/var/lib/flotilla/metadata"
UNKNOWN = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a99"
SERVICE = "http://169.254.169.254"
#: What a guest does once it knows who it is: it asks in its own name, then in its neighbour's, then goes on for ever.
ASKS = f"""#!/bin/sh
# flotilla-guest: run
ask() {{ timeout 9 wget -q -O - "{SERVICE}/$1" 2> /dev/null; }}
echo "asked versions: $(ask openstack/ | sed -n '$p') and $(ask | sed -n 1p)"
echo "asked ec2: $(ask latest/meta-data/local-ipv4) $(ask latest/meta-data/local-hostname)"
echo "asked nothing: $(ask openstack/latest/nothing || echo refused) $(ask ../../other || echo refused)"
ip address add NEIGHBOUR/24 dev eth0
ip route replace 169.254.169.254/32 dev eth0 src NEIGHBOUR
echo "asked as another: $(ask openstack/latest/meta_data.json || echo refused)"
ip route delete 169.254.169.254/32
ip address delete NEIGHBOUR/24 dev eth0
while sleep 1; do
    role=$(ask openstack/latest/meta_data.json | sed -n 's/.*"role": "\\([a-z]*\\)".*/\\1/p')
    [ "$role" = "$last" ] || echo "asked role: $role"
    last=$role
done
"""

#: A guest that asks all the time, and says by its own clock when it had its answer, or gave up. It does so before TCP
#: would send again what was lost (after 1 s), so that it is the service that is measured.
WATCHES = f"""#!/bin/sh
# flotilla-guest: run
while sleep 0.1; do
    said="left alone"
    timeout 0.5 wget -q -O /dev/null {SERVICE}/openstack/latest/meta_data.json 2> /dev/null && said=answered
    read now rest < /proc/uptime
    echo "$said at $now"
done
"""


def _play(folder: Path, hosts: str = "computes", **variables: t.Any) -> Path:
    """The role on *hosts*, which have the packages that it needs."""
    tasks = [{"ansible.builtin.include_role": {"name": "flotilla.compute.metadata_service"}}]
    given = {"metadata_service_packages": [], **variables}
    file = folder / f"metadata-{len(list(folder.glob('metadata-*')))}.yml"
    file.write_text(yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "vars": given, "tasks": tasks}]))
    return file


def _declare(fleet: Fleet, host: str = "kvm1") -> dict[str, str]:
    """Two servers beside each other, the first of which would like to be the second."""
    network = fleet.all["fleet_networks"]["lan"]
    network["metadata_service"] = True
    begin = network["cidr"].rpartition(".")[0]
    addresses = {"web": f"{begin}.21", "db": f"{begin}.22"}
    for name, address in addresses.items():
        port = {"network": "lan", "fixed_ip": address}
        fleet.declare(name, host=host, networks=[port], metadata={"role": name})
    fleet.declare("web", user_data=ASKS.replace("NEIGHBOUR", addresses["db"]))
    return addresses


def _trees(lab: Lab, host: str) -> list[str]:
    return sorted(path.name for path in lab.tree(host, f"{TREES}/br0").glob("*"))


@pytest.mark.soak
def test_guests_without_a_drive_are_told_by_the_service_and_see_no_other_s_metadata(
    fleet: Fleet, tmp_path: Path
) -> None:
    addresses = _declare(fleet)
    fleet.write()
    fleet.run(_play(tmp_path, "kvm1")).ok()
    try:
        fleet.reconcile()
        for name, address in addresses.items():
            said = fleet.console(name, "tick 1")
            server = fleet.look().server(name)
            assert f"flotilla-guest hostname={name} address={address}/24 instance={server.id}" in said
            assert "config_drive=service" in said
            assert f"flotilla-guest meta role={name}" in said
        said = fleet.console("web", "asked role: web")
        assert "asked versions: latest and 1.0\n" in said
        assert f"asked ec2: {addresses['web']} web\n" in said
        assert "asked nothing: refused refused\n" in said
        assert "asked as another: refused\n" in said
        assert _trees(fleet.lab, "kvm1") == sorted(addresses.values())

        fleet.declare("web", metadata={"role": "changed"})
        assert fleet.reconcile().all_steps == {"web": ["update"]}
        fleet.console("web", "asked role: changed", timeout=10)
        assert fleet.reconcile().all_steps == {}
    finally:
        fleet.run(_play(tmp_path, "kvm1", metadata_service_state="absent")).ok()
    assert not fleet.lab.tree("kvm1", TREES).exists()


@pytest.mark.soak
def test_a_guest_that_moves_while_it_runs_is_answered_by_its_new_host_within_a_second(
    fleet: Fleet, tmp_path: Path
) -> None:
    _declare(fleet)
    del fleet.servers["db"]
    fleet.declare("web", user_data=WATCHES)
    fleet.write()
    fleet.run(_play(tmp_path)).ok()
    try:
        fleet.reconcile()
        fleet.console("web", "answered at", times=20)
        server = fleet.look().server("web")
        fleet.run("migrate", fleet_server="web", fleet_host="kvm2").ok()
        fleet.lab.wait_for("kvm2", server.id, "answered at", times=20)
        before, after = (_answered(fleet.lab, host, server.id) for host in ("kvm1", "kvm2"))
        # Its clock stands still while it is carried over, so that the time this takes is not the service's.
        assert after[0] - before[-1] < 1, fleet.lab.console("kvm2", server.id)
    finally:
        fleet.run(_play(tmp_path, metadata_service_state="absent")).ok()


def _answered(lab: Lab, host: str, server_id: str) -> list[float]:
    """When a guest was answered while it was on that host, in seconds since its start."""
    return [float(time) for time in re.findall(r"^answered at (\S+)$", lab.console(host, server_id), re.MULTILINE)]


@pytest.mark.soak
def test_the_service_comes_and_goes_with_servers_and_networks(fleet: Fleet, tmp_path: Path) -> None:
    lab = fleet.lab
    addresses = _declare(fleet)
    fleet.write()
    checked = fleet.run(_play(tmp_path), "--check").ok()
    assert checked.changed > 0
    assert not lab.tree("kvm1", TREES).exists()
    fleet.run(_play(tmp_path)).ok()
    assert fleet.run(_play(tmp_path)).ok().changed == 0
    assert fleet.run(_play(tmp_path), "--check").ok().changed == 0
    try:
        fleet.reconcile()
        fleet.console("web", "asked role: web")
        # What somebody has taken away or spoiled comes back.
        lab.ok("exec", "kvm1", "rm", f"{TREES}/br0/{addresses['web']}")
        fleet.console("web", "asked role: \n")
        assert fleet.reconcile().all_steps == {"web": ["update"]}
        fleet.console("web", "asked role: web", times=2)
        # What was brought along for a move that came to nothing is there for nobody.
        left = f"{TREES}/.trees/{UNKNOWN}.0123456789abcdef"
        lab.ok("exec", "kvm2", "mkdir", "-p", f"{left}/openstack")
        fleet.reconcile()
        assert not lab.tree("kvm2", left).exists()
        # It goes with the server, to the other host and out of the world.
        fleet.declare("web", host="kvm2")
        fleet.reconcile(fleet_allow="migrate,restart")
        assert (_trees(lab, "kvm1"), _trees(lab, "kvm2")) == ([addresses["db"]], [addresses["web"]])
        server = fleet.look().server("web")
        # It runs on, asks once a second, and says so when the answer is another, or none.
        fleet.declare("web", metadata={"role": "moved"})
        fleet.reconcile()
        lab.wait_for("kvm2", server.id, "asked role: ")
        assert lab.console("kvm2", server.id).partition("asked role: ")[2].startswith("moved\n")
        fleet.declare("web", state="stopped")
        fleet.reconcile()
        fleet.declare("web", state="active")
        fleet.reconcile()
        lab.wait_for("kvm2", server.id, "flotilla-guest hostname=web")
        lab.wait_for("kvm2", server.id, "asked role: moved")
        assert fleet.reconcile().all_steps == {}
        fleet.declare("db", state="absent")
        fleet.reconcile()
        assert _trees(lab, "kvm1") == []
        fleet.reconcile(fleet_reclaim=0, fleet_allow="delete")
        del fleet.servers["db"]
        # An address is free at once, for DHCP too.
        fleet.declare("new", host="kvm1", networks=[{"network": "lan", "fixed_ip": addresses["db"]}])
        fleet.reconcile()
        fleet.console("new", f"flotilla-guest hostname=new address={addresses['db']}/24")
        # A host that was off serves again once the role has been there.
        lab.ok("power", "off", "kvm1")
        lab.ok("power", "on", "kvm1")
        assert fleet.run(_play(tmp_path)).ok().stats["changed"] == {"kvm1": 1}
        fleet.reconcile()
        until(lambda: "config_drive=service" in lab.console("kvm1", fleet.look().server("new").id), "a second boot")
        # Without a network that has it no bridge has it.
        del fleet.all["fleet_networks"]["lan"]["metadata_service"]
        fleet.write()
        fleet.run(_play(tmp_path)).ok()
        assert not lab.tree("kvm1", TREES).exists()
        assert "flotilla-br0" not in lab.ok("exec", "kvm1", "ip", "netns", "list")
        assert fleet.run(_play(tmp_path)).ok().changed == 0
    finally:
        fleet.run(_play(tmp_path, metadata_service_state="absent")).ok()
