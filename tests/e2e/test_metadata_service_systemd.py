# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metadata service on a host with systemd: a Debian guest plays one, with a bridge and a guest of its own."""

from __future__ import annotations

import functools
import typing as t
from pathlib import Path

import pytest
from tests.support import debian_guest
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until
from tests.support.machine import Machine

pytestmark = pytest.mark.soak

#: A name that systemd escapes.
BRIDGE = "br-lan"
UNITS = " ".join(f"'flotilla-metadata{kind}@br\\x2dlan.service'" for kind in ("", "-http", "-dhcp"))
READY = "the host is ready"
USER_DATA = {
    "ssh_genkeytypes": ["ed25519"],
    "write_files": [
        {
            "path": f"/etc/network/interfaces.d/{BRIDGE}",
            "content": f"auto {BRIDGE}\niface {BRIDGE} inet manual\n"
            f"    pre-up ip link add name {BRIDGE} type bridge\n    up ip link set {BRIDGE} up\n",
        }
    ],
    "runcmd": [["ifup", BRIDGE], ["systemctl", "enable", "--now", "nftables.service"]],
    "final_message": READY,
}
NETWORK = {"bridge": BRIDGE, "cidr": "192.0.2.0/24", "gateway": "192.0.2.1", "metadata_service": True}
#: A guest's port as libvirt makes it, and the guest behind it.
PLUGS = f"""set -e
ip netns add guest
ip link add name fmd525400000001 type veth peer name eth0 netns guest address 52:54:00:00:00:01
ip link set fmd525400000001 master {BRIDGE} up
ip -n guest link set eth0 up
ip -n guest address add 192.0.2.10/24 dev eth0
ip -n guest route add 169.254.169.254/32 dev eth0
"""
#: What a step writes of a server (tests/libvirt has the whole of it).
WRITES = f"""set -e
cd /var/lib/flotilla
mkdir -p metadata/{BRIDGE}/192.0.2.10/openstack/latest/meta_data.json
echo "it is web1" > metadata/{BRIDGE}/192.0.2.10/openstack/latest/meta_data.json/=.json
chgrp -R www-data metadata/{BRIDGE}
echo 52:54:00:00:00:01,192.0.2.10 > metadata-dhcp/{BRIDGE}/web1
"""
ASKS = """ip netns exec guest python3 -c '
import urllib.request
url = "http://169.254.169.254/openstack/latest/meta_data.json"
print(urllib.request.urlopen(url, timeout=20).read().decode(), end="")'
"""
LEASES = "ip netns exec guest dhclient -1 -v -sf /bin/true -lf /tmp/leases -pf /tmp/pid eth0 2>&1"


class Host(Machine):
    def is_served(self) -> bool:
        return self.says(ASKS) == "it is web1\n"

    def has_role(self, **variables: t.Any) -> int:
        """The role on it; how many of its tasks changed something."""
        given: dict[str, t.Any] = {
            "compute_libvirt_uri": "test:///default",
            "fleet_networks": {"lan": NETWORK},
            "metadata_service_packages": [],
        }
        return self.does("metadata_service", variables={**given, **variables}).changed


def test_systemd_keeps_the_service_through_a_crash_a_firewall_s_restart_and_a_reboot(
    fleet: Fleet, tmp_path: Path
) -> None:
    machine = Host(debian_guest.declare(fleet, "host1", tmp_path, user_data=USER_DATA))
    fleet.reconcile()
    fleet.console("host1", READY, timeout=debian_guest.BOOTS_WITHIN)
    machine.run("cloud-init status --wait")
    assert machine.has_role() > 0
    assert machine.has_role() == 0
    assert machine.run(f"systemctl is-active {UNITS}; systemctl is-enabled {UNITS}").split() == 3 * ["active"] + 3 * [
        "enabled"
    ]
    machine.run(PLUGS + WRITES)
    machine.run("systemctl reload 'flotilla-metadata-dhcp@*'")
    assert machine.run(ASKS) == "it is web1\n"
    assert "DHCPACK of 192.0.2.10 from 169.254.169.254" in machine.run(LEASES)

    for deeds in (["reload"], ["restart"], ["stop", "start"]):
        machine.run(" && ".join(f"systemctl {deed} nftables.service" for deed in deeds))
        until(machine.is_served, f"the service after {deeds} of nftables.service", 120)
    for daemon in ("nginx", "dnsmasq"):
        before = machine.run(_pid(daemon))
        machine.run(f"kill -9 {before}")
        until(functools.partial(machine.says_another, _pid(daemon), before), f"another {daemon}", 120)
    assert machine.run(ASKS) == "it is web1\n"

    boot = "cat /proc/sys/kernel/random/boot_id"
    back = functools.partial(machine.says_another, boot, machine.run(boot))
    machine.says("systemctl reboot")
    until(back, "the host to be back", debian_guest.BOOTS_WITHIN)
    machine.run(PLUGS)
    until(machine.is_served, "the service after a reboot", 300)

    assert machine.has_role(metadata_service_state="absent") > 0
    assert machine.run(f"systemctl is-active {UNITS} || true").split() == 3 * ["inactive"]
    left = "ls -d /run/netns/flotilla-* /etc/flotilla/metadata /var/lib/flotilla/metadata || true"
    assert machine.run(f"{left}; ls /etc/systemd/system | grep flotilla || true") == ""


def _pid(daemon: str) -> str:
    """The process of a daemon that runs."""
    return f"pid=$(cat /run/flotilla-metadata/{BRIDGE}.{daemon}.pid) && test -d /proc/$pid && echo $pid"
