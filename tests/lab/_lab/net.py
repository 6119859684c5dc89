# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links: the lab's switch (two bridges in a namespace of their own) and the two cables of each host."""

from __future__ import annotations

import typing as t
from pathlib import Path

from .layout import Host, Lab
from .run import run, succeeds

# A port forwards at once, and multicast (IPv6 neighbours) is not snooped: nothing here needs a spanning tree.
_BRIDGE = "type bridge forward_delay 0 mcast_snooping 0"


def namespaces(lab_name: str) -> list[str]:
    """The lab's network namespaces that exist now, whatever its state file says."""
    folder = Path("/run/netns")
    names = (entry.name for entry in folder.iterdir()) if folder.is_dir() else iter(())
    return sorted(name for name in names if name.startswith(f"{lab_name}-"))


def pids_in(namespace: str) -> list[int]:
    """Every process whose network is this namespace."""
    return [int(pid) for pid in run("ip", "netns", "pids", namespace).split()]


def make_switch(lab: Lab) -> None:
    """The bridges `hosts` and `guests`, and the controller's link into each."""
    run("ip", "netns", "add", lab.switch)
    _links(
        f"link add name {lab.host_link} type veth peer name to-hosts netns {lab.switch}",
        f"link add name {lab.guest_link} type veth peer name to-guests netns {lab.switch}",
        f"address add {lab.host_network}.1/24 dev {lab.host_link}",
        f"address add {lab.guest_network}.1/24 dev {lab.guest_link}",
        f"link set {lab.host_link} up",
        f"link set {lab.guest_link} up",
    )
    _links(
        f"link add name hosts {_BRIDGE}",
        f"link add name guests {_BRIDGE}",
        "link set to-hosts master hosts up",
        "link set to-guests master guests up",
        "link set hosts up",
        "link set guests up",
        namespace=lab.switch,
    )


def plug(host: Host) -> None:
    """A network namespace for the host, its cable `eth0`, and `br0` for its guests behind the cable `eth1`."""
    run("ip", "netns", "add", host.namespace)
    port_state = "down" if host.cut_file.exists() else "up"
    _links(
        f"link add name {host.name} type veth peer name eth0 address {host.mac} netns {host.namespace}",
        f"link add name {host.guest_port} type veth peer name eth1 netns {host.namespace}",
        f"link set {host.name} master hosts {port_state}",
        f"link set {host.guest_port} master guests {port_state}",
        namespace=host.lab.switch,
    )
    _links(
        "link set lo up",
        f"link add name br0 {_BRIDGE}",
        "link set eth1 master br0 up",
        "link set br0 up",
        f"address add {host.address}/24 dev eth0",
        "link set eth0 up",
        namespace=host.namespace,
    )


def pull(host: Host) -> None:
    """Takes both cables out: from now on nobody hears anything of the host, as when its power goes."""
    for port in (host.name, host.guest_port):
        succeeds("ip", "-n", host.lab.switch, "link", "delete", port)


def remove_namespace(namespace: str) -> None:
    run("ip", "netns", "delete", namespace)


def remove_links(lab_name: str) -> None:
    """The controller's two links, if they are still there."""
    lab = Lab(lab_name, 0)
    for link in (lab.host_link, lab.guest_link):
        succeeds("ip", "link", "delete", link)


def set_ports(host: Host, state: t.Literal["up", "down"]) -> None:
    """Both of the host's cables at the switch's end; the host sees its carrier go or come."""
    _links(
        f"link set {host.name} {state}",
        f"link set {host.guest_port} {state}",
        namespace=host.lab.switch,
    )


def _links(*lines: str, namespace: str | None = None) -> None:
    """Several commands of `ip` in one process."""
    inside = ("-n", namespace) if namespace else ()
    run("ip", *inside, "-batch", "-", stdin="\n".join(lines) + "\n")
