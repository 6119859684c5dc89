# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role compute_host on Debian 12 with systemd, apt and ifupdown: a guest plays the machine that becomes a host.

QEMU and libvirt are in its image: under emulation their installation would take longer than all the rest. What else the
role asks for apt installs.
"""

from __future__ import annotations

import functools
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from tests.support import debian_guest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.machine import Machine
from tests.support.runs import ROOT

pytestmark = pytest.mark.soak

READY = "the machine is ready"
USER_DATA = {"ssh_genkeytypes": ["ed25519"], "final_message": READY}
#: By what each is installed that the role names for Debian: with the image, or by the role.
WITH_THE_IMAGE = ("qemu-system-x86", "qemu-utils", "libvirt-daemon-system", "libvirt-clients", "python3-libvirt")
BY_THE_ROLE = ("bridge-utils", "chrony", "iptables", "python3-apt")
VARIANT = debian_guest.Variant(packages=WITH_THE_IMAGE, offers=BY_THE_ROLE, mib=2560)
SOCKETS = "libvirtd.socket libvirtd-tls.socket"
SERVICES = "libvirtd.service libvirt-guests.service chrony.service"
BOOT = "cat /proc/sys/kernel/random/boot_id"
GUEST = """<domain type="qemu"><name>busy</name><memory unit="MiB">16</memory><os><type>hvm</type></os></domain>"""
WANTED: dict[str, t.Any] = {
    "compute_host_emulation": True,
    "compute_host_pools": {"local": {"path": "/srv/guests"}},
    "compute_host_bridges": {"br-lan": {"addresses": ["192.0.2.1/24"], "mtu": 1400}},
    "compute_host_time_servers": ["192.0.2.7"],
    "compute_host_nested": False,
    "compute_host_shutdown_timeout": 30,  # its guest has no system that would hear the power button
}


def test_the_packages_are_those_of_the_role() -> None:
    variables = yaml.safe_load((ROOT / "collection/roles/compute_host/vars/Debian.yml").read_text())
    (qemu, *others) = variables["__compute_host_distribution_packages"]
    assert "__compute_host_qemu_package" in qemu
    named = {"qemu-system-x86", *others, "bridge-utils"}
    assert named == {*WITH_THE_IMAGE, *BY_THE_ROLE} - {"python3-apt"}  # that one Ansible itself asks for


def test_debian_becomes_a_compute_host_and_is_one_after_a_reboot(fleet: Fleet, tmp_path: Path) -> None:
    machine = Machine(debian_guest.declare(fleet, "host1", tmp_path, variant=VARIANT, user_data=USER_DATA))
    fleet.all["fleet_flavors"]["debian"].update(ram=1024, disk=4)
    fleet.reconcile()
    fleet.console("host1", READY, timeout=debian_guest.BOOTS_WITHIN)
    machine.run("cloud-init status --wait")
    wanted = {**WANTED, "compute_host_tls_folder": str(tmp_path / "pki")}

    assert machine.does("compute_host", "--check", variables=wanted).changed > 0
    assert machine.does("compute_host", variables=wanted).changed > 0
    _is_whole(machine, wanted)
    machine.run(f"echo '{GUEST}' > /root/busy.xml; virsh -q define /root/busy.xml; virsh -q start busy")
    assert machine.does("compute_host", variables=wanted).changed == 0, "the second run has changed something"
    assert machine.run("virsh -q domstate busy").strip() == "running"

    back = functools.partial(machine.says_another, BOOT, machine.run(BOOT))
    machine.says("systemctl reboot")
    until(back, "the machine to be back", debian_guest.BOOTS_WITHIN)
    machine.run("systemctl is-system-running --wait || true")
    assert machine.run("virsh -q domstate busy").strip() == "shut off"
    _is_whole(machine, wanted)
    assert machine.does("compute_host", "--check", variables=wanted).changed == 0


def _is_whole(machine: Machine, wanted: dict[str, t.Any]) -> None:
    shown = machine.does("compute_host", tasks_from="verify", variables=wanted).said
    rows = dict(re.findall(r"host +(?:ok|warning|missing) +(.+?) {2,}(.*?)\s*$", shown, re.MULTILINE))
    assert {"Pool local", "Bridge br-lan", "TLS", "libvirt-guests", "Clock"} <= set(rows), shown
    assert machine.run(f"systemctl is-active {SOCKETS} libvirt-guests.service chrony.service").split() == 4 * ["active"]
    assert machine.run(f"systemctl is-enabled {SOCKETS} {SERVICES}").split() == 5 * ["enabled"]
    assert "mtu 1400" in machine.run("ip link show br-lan")
    assert "192.0.2.1/24" in machine.run("ip -4 -o address show br-lan")
    assert machine.run("virsh -q pool-list --autostart --name").split() == ["local"]
    assert "192.0.2.7" in machine.run("chronyc -n sources")
