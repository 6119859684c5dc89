# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live migration encrypted with the certificates of the role compute_host, and refused with those of another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.support.fleet import Fleet
from tests.support.runs import Run


def converge(fleet: Fleet, folder: Path, *hosts: str) -> None:
    """The role's work, and libvirt restarted, which the role leaves to people where there is no systemd."""
    role = {"ansible.builtin.include_role": {"name": "flotilla.compute.compute_host"}}
    file = folder / f"{'-'.join(hosts)}.yml"
    file.write_text(yaml.safe_dump([{"hosts": list(hosts), "gather_facts": False, "tasks": [role]}]))
    fleet.run(file).ok()
    for host in hosts:
        fleet.lab.ok("restart", host)


def migrate(fleet: Fleet, host: str, **options: bool) -> Run:
    return fleet.run("migrate", fleet_server="a", fleet_host=host, fleet_action_options=options)


@pytest.mark.soak
def test_a_guest_moves_by_the_fleet_s_certificates_alone(fleet: Fleet, tmp_path: Path) -> None:
    fleet.compute_defaults = {
        "compute_host_emulation": True,
        "compute_host_packages": ["qemu-system-x86", "python3-libvirt"],  # those that the lab's hosts have
        "compute_host_tls_folder": str(tmp_path / "pki"),
    }
    for host in fleet.lab.hosts:
        fleet.computes[host] = {"compute_migration_uri": f"qemu+tls://{host}/system"}
    converge(fleet, tmp_path, "kvm1", "kvm2")
    fleet.declare("a", host="kvm1")
    fleet.reconcile()
    fleet.console("a", "tick 2")
    done = migrate(fleet, "kvm2").ok()
    assert done.results("Move the server")["kvm1"]["migration"]["status"] == "completed"
    moved = fleet.look().server("a")
    assert (moved.host, moved.state) == ("kvm2", "running")
    # QEMU's own: without them what it sends would be read by all, unless that is asked for.
    fleet.lab.ok("exec", "kvm1", "mv", "/etc/pki/qemu", "/etc/pki/away")
    assert "kvm1" in migrate(fleet, "kvm1").failed().message
    assert fleet.look().server("a") == moved
    migrate(fleet, "kvm1", tls=False).ok()
    fleet.lab.ok("exec", "kvm1", "mv", "/etc/pki/away", "/etc/pki/qemu")
    migrate(fleet, "kvm2").ok()
    moved = fleet.look().server("a")
    assert (moved.host, moved.state) == ("kvm2", "running")
    # Certificates of an authority that kvm2 has never heard of.
    fleet.compute_defaults["compute_host_tls_folder"] = str(tmp_path / "foreign")
    converge(fleet, tmp_path, "kvm1")
    refused = migrate(fleet, "kvm1").failed()
    assert "kvm1 does not answer at its compute_migration_uri" in refused.message
    assert fleet.look().server("a") == moved
