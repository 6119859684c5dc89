# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lab tells of itself: a table, JSON, an Ansible inventory."""

from __future__ import annotations

import json
import typing as t

from . import host, state
from .layout import CACHE, Host, Lab

COLUMNS = ("host", "address", "power", "link", "libvirtd", "sshd", "guests")


def status() -> str:
    lab, hosts = state.running()
    rows = [COLUMNS, *(tuple(_host_facts(each)[column] for column in COLUMNS) for each in hosts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    table = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
    networks = f"hosts {lab.host_network}.0/24, guests {lab.guest_network}.0/24 (br0), controller .1 in both"
    return "\n".join((f"Lab {lab.name!r}: {networks}", *table)) + "\n"


def status_json() -> str:
    lab, hosts = state.running()
    facts = {
        "name": lab.name,
        "folder": str(lab.folder),
        # By its own name: the link may lead to another image when a lab of another checkout has been started.
        "image": str((CACHE / "tick.qcow2").resolve()),
        "ssh_config": str(lab.ssh / "config"),
        "host_network": f"{lab.host_network}.0/24",
        "guest_network": f"{lab.guest_network}.0/24",
        "guest_gateway": f"{lab.guest_network}.1",
        "hosts": {each.name: _host_facts(each) for each in hosts},
    }
    return json.dumps(facts, indent=2) + "\n"


def inventory() -> str:
    """The group `computes`, with all that Ansible needs to reach its hosts. JSON strings are YAML strings."""
    lab, hosts = state.running()
    lines = ["computes:", "  hosts:"]
    for each in hosts:
        lines += [f"    {each.name}:", f"      ansible_host: {each.address}"]
        lines += [f"      compute_migration_uri: qemu+tcp://{each.name}/system"]
    lines += ["  vars:", *(f"    {key}: {json.dumps(value)}" for key, value in _connection(lab).items())]
    return "\n".join(lines) + "\n"


def _connection(lab: Lab) -> dict[str, t.Any]:
    options = {
        "UserKnownHostsFile": lab.ssh / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(lab.ssh / "id_ed25519"),
        "ansible_ssh_common_args": " ".join(f"-o {key}={value}" for key, value in options.items()),
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _host_facts(one: Host) -> dict[str, str]:
    on = host.is_on(one)
    return {
        "host": one.name,
        "address": one.address,
        "power": "on" if on else "off",
        "link": "cut" if host.is_cut(one) else "up",
        "libvirtd": "runs" if on and host.daemon_runs(one, "libvirtd") else "-",
        "sshd": "runs" if on and host.daemon_runs(one, "sshd") else "-",
        "guests": " ".join(host.guest_pids(one)) or "-",
    }
