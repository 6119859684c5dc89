# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role compute_host on the lab's hosts: refusals, check mode, converge, a second run, TLS between hosts, verify."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from tests.support.fleet import Fleet
from tests.support.lab_hosts import Lab
from tests.support.runs import Run

SHOW = "Show what works and what is missing"
ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a01"
DOMAIN = """<domain type='qemu'><name>half</name><memory unit='MiB'>16</memory><os><type>hvm</type></os>
<metadata><f:server xmlns:f='urn:flotilla:compute:server:1'>half a record</f:server></metadata></domain>"""


def _playbook(folder: Path, *, hosts: str, verify: bool) -> Path:
    role = {"name": "flotilla.compute.compute_host"}
    tasks: list[dict[str, t.Any]] = [{"ansible.builtin.include_role": role}]
    if verify:
        tasks.append({"ansible.builtin.include_role": {**role, "tasks_from": "verify"}})
    file = folder / f"{hosts.replace(',', '-')}-{verify}.yml"
    file.write_text(yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "tasks": tasks}]))
    return file


def _files(lab: Lab, host: str) -> dict[str, bytes]:
    """What a host has of its own in /etc, but for what libvirt itself keeps there."""
    folder = Path(lab.facts["folder"]) / "hosts" / host
    etc = [file for part in ("etc/upper", "tree/etc/libvirt") for file in (folder / part).rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(etc)}


def _state(lab: Lab, host: str) -> tuple[t.Any, ...]:
    links = lab.ok("exec", host, "ls", "/sys/class/net")
    return _files(lab, host), links, lab.virsh(host, "pool-list", "--all", "--autostart")


def _declare(fleet: Fleet, folder: Path) -> None:
    for host in ("kvm1", "kvm2"):
        fleet.lab.ok("exec", host, "ip", "link", "add", "spare0", "type", "veth", "peer", "name", "spare1")
    fleet.compute_defaults = {
        "compute_host_emulation": True,
        "compute_host_packages": ["qemu-system-x86", "python3-libvirt"],  # those that the lab's hosts have
        "compute_host_pools": {"more": {"path": "/var/lib/libvirt/pools/more"}},
        "compute_host_bridges": {"brx": {"interface": "spare0", "mtu": 1400, "addresses": ["192.0.2.1/24"]}},
        "compute_host_tls_folder": str(folder / "pki"),
    }
    for host in fleet.lab.hosts:
        fleet.computes[host] = {"compute_migration_uri": f"qemu+tls://{host}/system"}


def test_what_can_not_become_a_compute_host_or_leave_the_fleet_is_left_as_it_was(fleet: Fleet, tmp_path: Path) -> None:
    lab = fleet.lab
    lab.ok("exec", "kvm3", "sh", "-c", "echo 3.20.1 > /etc/alpine-release")
    _declare(fleet, tmp_path)
    fleet.computes["kvm1"]["compute_host_emulation"] = False
    fleet.computes["kvm2"]["compute_host_bridges"] = {"brx": {"interface": "eth0"}}
    before = {host: _state(lab, host) for host in lab.hosts}

    refused = fleet.run(_playbook(tmp_path, hosts="computes", verify=False)).failed()
    said = refused.message
    assert "kvm1 has no usable /dev/kvm: switch virtualisation on" in said
    assert "kvm2 is reached by SSH over eth0, which a bridge of compute_host_bridges would take" in said
    assert "kvm3 has Alpine 3.20.1, which the role compute_host does not know" in said
    assert {host: _state(lab, host) for host in lab.hosts} == before
    assert refused.changed == 0

    del fleet.computes["kvm1"]["compute_host_emulation"], fleet.computes["kvm2"]["compute_host_bridges"]
    converge = _playbook(tmp_path, hosts="kvm1,kvm2", verify=False)
    checked = fleet.run(converge, "--check", "--limit kvm1").ok()
    assert {host: _state(lab, host) for host in lab.hosts} == before
    assert not (tmp_path / "pki").exists()
    assert checked.changed > 0
    _may_not_leave(fleet, converge, tmp_path).unlink()
    lab.virsh("kvm1", "undefine", "half")
    lab.ok("exec", "kvm3", "rm", "/etc/alpine-release")
    for host in ("kvm1", "kvm2"):
        lab.ok("exec", host, "ip", "link", "delete", "spare0")


@pytest.mark.soak
def test_a_machine_becomes_a_compute_host_and_says_so(fleet: Fleet, tmp_path: Path) -> None:
    lab = fleet.lab
    _declare(fleet, tmp_path)
    converge = _playbook(tmp_path, hosts="kvm1,kvm2", verify=False)
    checked = fleet.run(converge, "--check", "--limit kvm1").ok()
    done = fleet.run(converge).ok()
    assert 0 < checked.changed <= done.stats["changed"]["kvm1"], (checked, done)
    # Without systemd nobody else does what the role then says.
    assert "kvm1 has no systemd: restart libvirtd for the new settings" in done.stdout
    for host in ("kvm1", "kvm2"):
        lab.ok("restart", host)

    again = fleet.run(_playbook(tmp_path, hosts="kvm1,kvm2", verify=True), "--diff").ok()
    assert again.changed == 0, again
    _whole(lab, again)

    _taken_out(fleet, converge, tmp_path)

    lab.virsh("kvm2", "pool-destroy", "more")
    lab.ok("exec", "kvm2", "sed", "-i", "s/^ON_BOOT=.*/ON_BOOT=start/", "/etc/default/libvirt-guests")
    broken = fleet.run(_verify(tmp_path)).failed()
    assert "kvm2 is not a whole compute host: Pool more: not active" in broken.message
    assert "libvirt-guests: may start guests at boot" in broken.message
    _clean(lab)


def _may_not_leave(fleet: Fleet, converge: Path, folder: Path) -> Path:
    """kvm1 is refused its leave as long as a second controller may build there (its service is not in maintenance) or
    a copy of a server is there, one too whose record can't be read. Its marker."""
    lab = fleet.lab
    file = folder / "domain.xml"
    file.write_text(DOMAIN)
    lab.virsh("kvm1", "define", str(file))
    marker = lab.tree("kvm1", "/var/lib/flotilla/host.json")
    marker.parent.mkdir(parents=True, exist_ok=True)
    service = {"state": "enabled", "reason": None}
    marker.write_text(json.dumps({"host_id": ID, "fleet_id": ID, "ledger_id": ID, "service": service}))
    before = _state(lab, "kvm1")
    refused = fleet.run(converge, "--limit kvm1", compute_host_state="absent").failed()
    assert (
        "kvm1 can't be taken out: it has 1 server(s): half (playbook drain -e fleet_host=kvm1 moves them)"
        in refused.message
    )
    assert "it still takes servers: drain it first" in refused.message
    assert (_state(lab, "kvm1"), refused.changed) == (before, 0)
    return marker


def _taken_out(fleet: Fleet, converge: Path, folder: Path) -> None:
    """kvm1 leaves the fleet.

    Nothing that the run deletes holds data. Where it is killed the next one goes on: the authority's certificate, which
    tells whose the keys are, goes last. A host still in inventory afterwards has its marker, in maintenance, and
    gets no server.
    """
    lab = fleet.lab
    marker = _may_not_leave(fleet, converge, folder)
    before = _state(lab, "kvm1")
    lab.virsh("kvm1", "metadata", "half", "urn:flotilla:compute:server:1", "--config", "--remove")
    marker.write_text(marker.read_text().replace("enabled", "maintenance"))
    lab.ok("exec", "kvm1", "sh", "-c", "echo somebody else >/etc/pki/qemu/ca-cert.pem")
    marked, links, pools = marker.read_bytes(), before[1], before[2]
    gone = fleet.run(converge, "--limit kvm1", compute_host_state="absent").ok()
    assert gone.changed > 0
    assert "take its line out of the inventory" in gone.stdout
    assert marker.read_bytes() == marked
    assert _state(lab, "kvm1")[1:] == (links, pools)
    assert lab.virsh("kvm1", "list", "--all", "--name").split() == ["half"]
    there = lab.ok("exec", "kvm1", "find", "/etc/pki/CA", "/etc/pki/libvirt", "/etc/pki/qemu", "-type", "f").split()
    assert sorted(there) == [
        f"/etc/pki/qemu/{name}.pem" for name in ("ca-cert", "client-cert", "client-key", "server-cert", "server-key")
    ]
    lab.ok("restart", "kvm1")
    cut = lab("exec", "kvm2", "virsh", "-q", "-c", "qemu+tls://kvm1/system", "hostname")
    assert cut.returncode != 0, cut.stdout
    assert fleet.run(converge, "--limit kvm1", compute_host_state="absent").ok().changed == 0
    lab.virsh("kvm1", "undefine", "half")
    marker.unlink()


def _verify(folder: Path) -> Path:
    role = {"name": "flotilla.compute.compute_host", "tasks_from": "verify"}
    file = folder / "verify.yml"
    file.write_text(
        yaml.safe_dump([{"hosts": "kvm2", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}])
    )
    return file


def _whole(lab: Lab, run: Run) -> None:
    rows = [line.split(None, 2) for line in str(run.results(SHOW)["kvm1"]["msg"]).splitlines()]
    assert rows[0][:2] == ["HOST", "RESULT"]
    told = {
        (host, rest.partition("  ")[0]): (result, rest.partition("  ")[2].strip()) for host, result, rest in rows[1:]
    }
    assert not {key: row for key, row in told.items() if row[0] == "missing"}
    for host, other in (("kvm1", "kvm2"), ("kvm2", "kvm1")):
        assert told[host, f"Way to {other}"] == ("ok", f"qemu+tls://{other}/system answers as {other}")
        assert told[host, "TLS"][0] == "ok"
        assert told[host, "Pool more"] == ("ok", "dir /var/lib/libvirt/pools/more")
        assert told[host, "Bridge brx"] == ("ok", "Linux, spare0")
        assert told[host, "libvirt-guests"] == ("ok", "starts nothing at boot")
        assert told[host, "KVM"][0] == "warning"
        assert lab.ok("exec", host, "cat", "/sys/class/net/brx/mtu").strip() == "1400"
        # By the name in the certificate alone: an address that is not in it is refused by libvirt's client.
        assert lab.virsh_inside(host, "-c", f"qemu+tls://{other}/system", "hostname").strip() == other


def _clean(lab: Lab) -> None:
    """Other tests have the same hosts."""
    for host in ("kvm1", "kvm2"):
        for link in ("brx", "spare0"):
            lab.ok("exec", host, "ip", "link", "delete", link)
        if host == "kvm1":
            lab.virsh(host, "pool-destroy", "more")
        lab.virsh(host, "pool-undefine", "more")
