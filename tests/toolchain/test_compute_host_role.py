# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role compute_host: what it writes for systems that the lab doesn't have, and that its options are in the schema.

Rendering only: that netplan, systemd-networkd, NetworkManager, ifupdown, firewalld and ufw take it is not seen here.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import document

BRIDGES = {
    "br0": {
        "interface": "eno2",
        "mtu": 9000,
        "addresses": ["192.0.2.11/24", "2001:db8::11/64"],
        "gateway": "192.0.2.1",
    },
    "br1": {},
}
TEMPLATES = {
    "netplan": ("netplan.yaml.j2", None),
    "netdev": ("networkd.netdev.j2", ["br0", "netdev"]),
    "network": ("networkd.network.j2", ["br0", "network"]),
    "port": ("networkd.port.j2", ["br0", "port"]),
    "nm-bridge": ("networkmanager.bridge.j2", "br0"),
    "nm-port": ("networkmanager.port.j2", "br0"),
    "nm-empty": ("networkmanager.bridge.j2", "br1"),
    "ifupdown": ("ifupdown.j2", "br0"),
    "firewalld": ("firewalld.j2", None),
    "ufw": ("ufw.j2", None),
}


def _item(spec: t.Any) -> t.Any:
    if spec is None:
        return None
    name, more = (spec, None) if isinstance(spec, str) else spec
    entry = {"key": name, "value": BRIDGES[name]}
    return entry if more is None else [entry, more]


@pytest.fixture(scope="module")
def written(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each template as the role would write it."""
    folder = tmp_path_factory.mktemp("rendered")
    templates = root / "collection" / "roles" / "compute_host" / "templates"
    tasks = [
        {
            "ansible.builtin.template": {"src": str(templates / source), "dest": str(folder / name), "mode": "0600"},
            "vars": {"item": _item(spec)},
        }
        for name, (source, spec) in TEMPLATES.items()
    ]
    variables = {
        "__compute_host_linux_bridges": [{"key": name, "value": value} for name, value in BRIDGES.items()],
        "__compute_host_ports": ["16514", "49152-49215"],
        "compute_host_firewall_sources": ["192.0.2.0/24", "2001:db8::/64"],
    }
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (folder / "play.yml").write_text(yaml.safe_dump(play))
    done = subprocess.run(
        [
            "ansible-playbook",
            "-i",
            "localhost,",
            str(folder / "play.yml"),
            "-e",
            "ansible_python_interpreter=/usr/bin/python3",
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _ini(file: Path) -> dict[str, list[tuple[str, str]]]:
    """An INI file whose keys may stand there more than once."""
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = lambda optionstr: optionstr  # type: ignore[method-assign]
    seen: list[str] = []
    lines = []
    for line in file.read_text().splitlines():
        key = line.partition("=")[0]
        seen.append(key)
        lines.append(line if not line.startswith("Address=") else f"Address{seen.count(key)}={line.partition('=')[2]}")
    parser.read_string("\n".join(lines))
    return {section: parser.items(section) for section in parser.sections()}


def test_netplan(written: Path) -> None:
    network = yaml.safe_load((written / "netplan").read_text())["network"]
    assert network["ethernets"] == {"eno2": {"dhcp4": False, "dhcp6": False, "mtu": 9000}}
    bridge = network["bridges"]["br0"]
    assert (bridge["interfaces"], bridge["addresses"]) == (["eno2"], ["192.0.2.11/24", "2001:db8::11/64"])
    assert bridge["routes"] == [{"to": "default", "via": "192.0.2.1"}]
    assert network["bridges"]["br1"]["interfaces"] == []


def test_networkd(written: Path) -> None:
    assert ("Kind", "bridge") in _ini(written / "netdev")["NetDev"]
    network = _ini(written / "network")
    assert network["Match"] == [("Name", "br0")]
    assert {("Address1", "192.0.2.11/24"), ("Address2", "2001:db8::11/64"), ("Gateway", "192.0.2.1")} <= set(
        network["Network"]
    )
    port = _ini(written / "port")
    assert (port["Match"], port["Network"]) == ([("Name", "eno2")], [("Bridge", "br0")])


def test_networkmanager(written: Path) -> None:
    bridge = _ini(written / "nm-bridge")
    assert ("type", "bridge") in bridge["connection"]
    assert bridge["ipv4"] == [("method", "manual"), ("address1", "192.0.2.11/24"), ("gateway", "192.0.2.1")]
    assert bridge["ipv6"] == [("method", "manual"), ("address1", "2001:db8::11/64")]
    assert {("master", "br0"), ("slave-type", "bridge")} <= set(_ini(written / "nm-port")["connection"])
    empty = _ini(written / "nm-empty")
    assert (empty["ipv4"], empty["ipv6"]) == ([("method", "disabled")], [("method", "disabled")])
    assert dict(bridge["connection"])["uuid"] != dict(empty["connection"])["uuid"]


def test_ifupdown(written: Path) -> None:
    lines = [line.strip() for line in (written / "ifupdown").read_text().splitlines()]
    assert lines[1:4] == ["auto br0", "iface br0 inet static", "address 192.0.2.11/24"]
    assert "bridge_ports eno2" in lines
    assert lines[-2:] == ["iface br0 inet6 static", "address 2001:db8::11/64"]


def test_firewalls(written: Path) -> None:
    assert (written / "firewalld").read_text().splitlines()[:2] == [
        'rule family="ipv4" source address="192.0.2.0/24" port port="16514" protocol="tcp" accept',
        'rule family="ipv6" source address="2001:db8::/64" port port="16514" protocol="tcp" accept',
    ]
    assert (written / "ufw").read_text().splitlines()[2:] == [
        "allow from 192.0.2.0/24 to any port 49152:49215 proto tcp",
        "allow from 2001:db8::/64 to any port 49152:49215 proto tcp",
    ]


# What the role asks firewalld and ufw, answered from a file with one rule a line.
FIREWALLD = """#!/bin/sh
case $1$2 in
  --state) echo running ;;
  --permanent--query-rich-rule=*) grep -qxF -- "${2#*=}" "$RULES" ;;
  --permanent--add-rich-rule=*) echo "${2#*=}" >>"$RULES" ;;
  --permanent--remove-rich-rule=*) grep -vxF -- "${2#*=}" "$RULES" >"$RULES.new"; mv "$RULES.new" "$RULES" ;;
  --reload) ;;
  *) echo "no such call: $*" >&2; exit 64 ;;
esac
"""
UFW = """#!/bin/sh
case "$*" in
  status) echo 'Status: active' ;;
  'show added') cat "$RULES" ;;
  'delete allow '*) shift; grep -vxF -- "ufw $*" "$RULES" >"$RULES.new"; mv "$RULES.new" "$RULES" ;;
  'allow '*) echo "ufw $*" >>"$RULES" ;;
  *) echo "no such call: $*" >&2; exit 64 ;;
esac
"""


@pytest.mark.parametrize(("firewall", "program"), [("firewalld", FIREWALLD), ("ufw", UFW)], ids=["firewalld", "ufw"])
def test_what_was_opened_is_closed_and_nothing_else(root: Path, tmp_path: Path, firewall: str, program: str) -> None:
    role = root / "collection/roles/compute_host"
    command, rules = tmp_path / {"firewalld": "firewall-cmd", "ufw": "ufw"}[firewall], tmp_path / "rules"
    command.write_text(program)
    command.chmod(0o755)
    foreign = {"firewalld": 'rule port port="22" protocol="tcp" accept', "ufw": "ufw allow 22/tcp"}[firewall]
    rules.write_text(f"{foreign}\n")
    tasks: list[dict[str, t.Any]] = []
    for number, gone in enumerate((False, False, True, True)):
        tasks += [
            {
                "ansible.builtin.import_role": {"name": str(role), "tasks_from": "firewall"},
                "vars": {"__compute_host_gone": gone},
            },
            {"ansible.builtin.copy": {"src": str(rules), "dest": f"{rules}.{number}", "mode": "0600"}},
        ]
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "environment": {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RULES": str(rules)},
        "vars": {"compute_host_firewall_sources": ["192.0.2.0/24"]},
        "tasks": tasks,
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    arguments = ["-i", "localhost,", "play.yml", "-e", "ansible_python_interpreter=/usr/bin/python3"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(root / ".dev")}
    done = subprocess.run(
        ["ansible-playbook", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    after = [(tmp_path / f"rules.{number}").read_text().splitlines() for number in range(4)]
    assert after[0][0] == foreign
    assert len(after[0]) == 3, after
    assert any("49152" in rule and "192.0.2.0/24" in rule for rule in after[0])
    assert after[1] == after[0]
    assert after[2] == after[3] == [foreign]


#: A host that may go, as its survey says.
EMPTY: dict[str, t.Any] = {
    "host_id": "h1",
    "marker": {"service": {"state": "maintenance", "reason": "drained by ops"}},
    "guests": [{"name": "foreign", "record": None, "record_error": None}],
    "beside": [
        {"id": "9", "name": "web9", "host_id": "h2"},  # in a pool that it shares with the host that has the server
        {"id": "8", "name": "web8", "host_id": "h1"},  # evacuated
    ],
    "replaced": [{"id": "8", "name": "web8", "host_id": "h1"}],
    "shelved": [],
    "running_steps": [],
}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, ""),
        ({"marker": None, "host_id": None}, ""),
        ({"guests": [{"name": "web1", "record": {"id": "1"}, "record_error": None}]}, "it has 1 server(s): web1 ("),
        ({"guests": [{"name": "web1", "record": None, "record_error": "no JSON"}]}, "it has 1 server(s): web1 ("),
        ({"running_steps": ["1"]}, "a step is under way on it: wait for its end"),
        ({"shelved": [{"name": "db1"}]}, "its pools have what these shelved servers are kept as: db1; unshelve them"),
        (
            {"beside": [{"id": "1", "name": "web1", "host_id": "h1"}]},
            "its pools have the disks of servers that have no domain on it: web1; reconcile defines them anew",
        ),
        ({"marker": {"service": {"state": "enabled", "reason": None}}}, "it still takes servers: drain it first"),
    ],
)
def test_a_host_that_has_servers_or_gets_them_is_not_taken_out(
    root: Path, tmp_path: Path, found: dict[str, t.Any], reason: str
) -> None:
    role = {"name": str(root / "collection/roles/compute_host"), "tasks_from": "absent_preflight"}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"__compute_host_survey": {"host": {**EMPTY, **found}}},
        "tasks": [{"ansible.builtin.import_role": role}],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(root / ".dev"), "COLUMNS": "1000"}
    command = ["ansible-playbook", "-i", "localhost,", "play.yml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode == 0) == (not reason), said
    assert not reason or f"localhost can't be taken out: {reason}" in said, said


def test_every_option_of_the_role_is_in_the_schema_and_said_once_in_the_same_words(root: Path) -> None:
    role = root / "collection" / "roles" / "compute_host"
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    properties = {k: v for k, v in document("compute")["properties"].items() if k.startswith("compute_host_")}
    options = specs["main"]["options"]
    assert set(properties) == set(options)
    assert set(specs["verify"]["options"]) <= set(options)
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults
    for name, option in options.items():
        assert option["description"] == properties[name]["description"], name
        assert option.get("default") == properties[name].get("default"), name


def test_each_family_of_systems_has_the_same_names(root: Path) -> None:
    folder = root / "collection" / "roles" / "compute_host" / "vars"
    names = [set(yaml.safe_load((folder / f"{family}.yml").read_text())) for family in ("Debian", "RedHat")]
    assert names[0] - {"__compute_host_qemu_package"} == names[1]
