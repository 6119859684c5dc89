# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook adopt: a domain that other tools have made, and that runs, becomes a server without noticing."""

from __future__ import annotations

import subprocess
import typing as t

import yaml
from tests.support.fleet import Fleet

MAC = "52:54:00:ad:0b:7e"
DOMAIN = """
<domain type='qemu'><name>{name}</name>
  <memory unit='MiB'>128</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>
  <devices>
    {disks}
    <interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/><model type='virtio'/></interface>
    <serial type='pty'/>
  </devices>
</domain>
"""
DISK = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{file}'/>
      <target dev='{target}' bus='virtio'/></disk>"""


def made_by_hand(
    fleet: Fleet,
    host: str,
    name: str,
    *,
    mac: str = MAC,
    bridge: str = "br0",
    pool: str = "local",
    there: str = "",
    data: bool = False,
) -> None:
    """A domain that runs; with *data* it has a second disk. *there*: the pool's folder, if it is not the lab's own."""
    folder = fleet.lab.tree(host, there) if there else fleet.lab.pool(pool, host)
    there = there or f"/var/lib/libvirt/pools/{pool}"
    files = {"vda": f"{name}.qcow2", **({"vdb": f"{name}-data.qcow2"} if data else {})}
    subprocess.run(["cp", "--sparse=always", fleet.lab.facts["image"], str(folder / files["vda"])], check=True)
    if data:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / files["vdb"]), "1G"], check=True)
    xml = fleet.folder / f"{name}.xml"
    disks = "".join(DISK.format(target=target, file=f"{there}/{file}") for target, file in files.items())
    xml.write_text(DOMAIN.format(name=name, disks=disks, mac=mac, bridge=bridge))
    fleet.lab.virsh(host, "define", str(xml))
    fleet.lab.virsh(host, "pool-refresh", pool)
    fleet.lab.virsh(host, "start", name)


def declare_adopted(fleet: Fleet, told: dict[str, t.Any]) -> None:
    """Write into the inventory what the playbook has told. It names all that a server has: the defaults of the others
    become their own."""
    for variables in fleet.servers.values():
        for key, value in fleet.defaults.items():
            variables.setdefault(key, value)
    fleet.defaults = {}
    for part in told["inventory"].split("# the inventory\n"):
        for name, entries in yaml.safe_load(part).items():
            if name == "servers":
                fleet.servers.update(entries["hosts"])
            else:
                fleet.all.setdefault(name, {}).update(entries)


def domains(fleet: Fleet, host: str) -> dict[str, tuple[str, str]]:
    """Name -> id, and the id that libvirt gives a guest anew at each start."""
    return {
        domain.name: (domain.id, fleet.lab.virsh(host, "domid", domain.id).strip())
        for domain in fleet.look().domains
        if domain.host == host
    }


def test_a_running_domain_is_adopted_and_reconcile_has_nothing_to_do(fleet: Fleet) -> None:
    fleet.reconcile()  # enrolls the hosts
    made_by_hand(fleet, "kvm2", "mail")
    made_by_hand(fleet, "kvm2", "router", mac="52:54:00:ad:0b:7f", bridge="br0")
    fleet.lab.virsh("kvm2", "pool-refresh", "local")
    before, world = domains(fleet, "kvm2"), fleet.look().but()

    plan = result(fleet, "kvm2")
    assert sorted(plan["adopted"]) == ["mail", "router"]
    assert fleet.look().but() == world, "without a server the whole host is only planned"

    told = result(fleet, "kvm2", fleet_server="mail")
    assert (told["adopted"], told["refused"]) == (["mail"], {})
    assert domains(fleet, "kvm2") == before
    server = fleet.look().server("mail")
    assert (server.id, server.state, server.generation) == (before["mail"][0], "running", 1)
    assert "router" not in fleet.look().servers

    rest = result(fleet, "kvm2", fleet_action="adopt")
    assert (rest["adopted"], rest["refused"]) == (["router"], {}), "all of the host at once"
    assert domains(fleet, "kvm2") == before
    assert fleet.look().server("router").id == before["router"][0]

    for each in (told, rest):
        declare_adopted(fleet, each)
    run = fleet.reconcile()
    assert (run.changed, run.all_steps, run.plan["plan"]["changed"]) == (0, {}, False)
    assert domains(fleet, "kvm2") == before
    assert MAC in fleet.look().server("mail").xml


def result(fleet: Fleet, host: str, **extra: t.Any) -> dict[str, t.Any]:
    return fleet.run("adopt", fleet_host=host, **extra).ok().results("Adopt the domains")[host]
