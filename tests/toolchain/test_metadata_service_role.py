# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role metadata_service: what it writes, that the programs take it, and that names in it are those of the steps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import jinja2
import pytest
import yaml

from ansible_collections.flotilla.compute.plugins.module_utils._core import metadata_service
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import metadata_tree

SUBNETS = [
    {
        "cidr": "192.0.2.0/25",
        "gateway": "192.0.2.1",
        "dns": ["192.0.2.53", "192.0.2.54"],
        "mtu": 1450,
        "routes": [{"destination": "10.0.0.0/8", "gateway": "192.0.2.2"}],
    },
    {"cidr": "198.51.0.0/22"},
]


@pytest.fixture(scope="module")
def role(root: Path) -> Path:
    return root / "collection" / "roles" / "metadata_service"


@pytest.fixture(scope="module")
def written(role: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each template as the role would write it, on a bridge br0 with these subnets."""
    folder = tmp_path_factory.mktemp("rendered")
    (folder / "dhcp/br0").mkdir(parents=True)
    tasks = [
        {
            "ansible.builtin.template": {
                "src": str(role / "templates" / f"{name}.conf.j2"),
                "dest": str(folder / name),
                "mode": "0600",
            }
        }
        for name in ("nginx", "dnsmasq")
    ]
    variables = {
        "item": {"bridge": "br0", "subnets": SUBNETS},
        "metadata_service_lease_time": "2h",
        "__metadata_service_user": "www-data",
        "__metadata_service_root": str(folder / "trees"),
        "__metadata_service_dhcp": str(folder / "dhcp"),
    }
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (folder / "play.yml").write_text(yaml.safe_dump(play))
    command = ["ansible-playbook", "-i", "localhost,", str(folder / "play.yml")]
    python = ["-e", "ansible_python_interpreter=/usr/bin/python3"]
    done = subprocess.run([*command, *python], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_dhcp_tells_claimed_addresses_alone_and_the_way_to_the_service(written: Path) -> None:
    lines = (written / "dnsmasq").read_text().splitlines()
    assert [line for line in lines if line.startswith(("shared", "dhcp-range"))] == [
        "shared-network=service,192.0.2.0",
        "dhcp-range=set:net0,192.0.2.0,static,255.255.255.128,2h",
        "shared-network=service,198.51.0.0",
        "dhcp-range=set:net1,198.51.0.0,static,255.255.252.0,2h",
    ]
    assert [line.partition("=")[2] for line in lines if line.startswith("dhcp-option")] == [
        "tag:net0,option:router,192.0.2.1",
        "tag:net0,option:dns-server,192.0.2.53,192.0.2.54",
        "tag:net0,option:classless-static-route,169.254.169.254/32,0.0.0.0,10.0.0.0/8,192.0.2.2,0.0.0.0/0,192.0.2.1",
        "tag:net0,option:mtu,1450",
        "tag:net1,option:router",
        "tag:net1,option:dns-server",
        "tag:net1,option:classless-static-route,169.254.169.254/32,0.0.0.0",
    ]
    assert f"dhcp-hostsdir={written}/dhcp/br0" in lines
    if shutil.which("dnsmasq", path="/usr/sbin") and os.geteuid() == 0:
        # It looks for the interface.
        script = 'PATH=/usr/sbin:/sbin:/bin; ip link add service type bridge && dnsmasq --test -C "$0"'
        command = ["unshare", "--net", "sh", "-c", script, str(written / "dnsmasq")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "dnsmasq: syntax check OK.\n")


def test_nginx_knows_a_guest_by_the_address_that_it_asks_from(written: Path) -> None:
    text = (written / "nginx").read_text()
    assert f'root "{written}/trees/br0/$remote_addr";' in text
    listens = re.findall(r"listen (\S+);", text)
    assert listens == [f"{metadata_service.ADDRESS}:80"]
    # The files are called as the steps write them.
    found = re.search(r"try_files (.*) =404;", text)
    assert found is not None
    assert found[1].split() == ['"${uri}/=.json"', '"${uri}/=.txt"']
    assert sorted(metadata_tree._FILES.values()) == ["=.json", "=.txt"]


def test_the_program_and_the_steps_mean_the_same(role: Path, written: Path) -> None:
    program = (role / "files" / "flotilla-metadata").read_text()
    assert f"address={metadata_service.ADDRESS}\n" in program
    prefix = metadata_service.port_device("52:54:00:00:00:01")[:3]
    assert f'"{prefix}*"' in program
    assert f"namespace={metadata_tree._NAMESPACE.format('$bridge')}\n" in program
    assert f"run={metadata_tree._PIDS}\n" in program
    assert f"peer name {metadata_tree._INTERFACE} netns" in program
    assert f"interface={metadata_tree._INTERFACE}\n" in (written / "dnsmasq").read_text()
    assert f"pid-file={metadata_tree._PIDS}/br0.dnsmasq.pid\n" in (written / "dnsmasq").read_text()
    variables = yaml.safe_load((role / "vars" / "main.yml").read_text())
    folders = {key: variables[key].rpartition("/")[2] for key in ("__metadata_service_root", "__metadata_service_dhcp")}
    assert list(folders.values()) == [metadata_service.FOLDER, metadata_service.DHCP_FOLDER]


def test_nft_takes_the_rules_which_lead_http_and_the_renewal_of_leases_to_the_service(role: Path) -> None:
    program = role / "files" / "flotilla-metadata"
    given = "".join(re.findall(r"^(?:address|mac)=.*\n", program.read_text(), re.MULTILINE))
    (body,) = re.findall(r"^rules\(\) \{\n.*?^RULES\n\}\n", program.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(["sh", "-c", f"{given}{body}rules"], capture_output=True, text=True, check=True)
    led = [line.split("ip daddr")[1].split() for line in done.stdout.splitlines() if "ether daddr set" in line]
    assert [words[:-5] for words in led] == [
        [metadata_service.ADDRESS, "tcp", "dport", "80"],
        [metadata_service.ADDRESS, "udp", "sport", "68", "udp", "dport", "67"],
    ]
    if shutil.which("nft", path="/usr/sbin") and os.geteuid() == 0:
        command = ["unshare", "--net", "/usr/sbin/nft", "--check", "--file", "-"]
        checked = subprocess.run(command, input=done.stdout, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_the_service_is_locally_administered_and_one_machine(role: Path) -> None:
    found = re.search(r"^mac=(\S+)$", (role / "files" / "flotilla-metadata").read_text(), re.MULTILINE)
    assert found is not None
    assert int(found[1][:2], 16) & 3 == 2


def test_every_option_has_its_default_in_both_places(role: Path) -> None:
    specs: dict[str, t.Any] = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    options = specs["main"]["options"]
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults
    assert all(option["description"] for option in options.values())


def test_the_units_are_of_one_bridge_each(role: Path) -> None:
    units = sorted(path.name for path in (role / "files").glob("*.service"))
    variables = yaml.safe_load((role / "vars" / "main.yml").read_text())
    assert units == sorted(variables["__metadata_service_units"])
    for name in units:
        text = (role / "files" / name).read_text()
        assert "%I" in text
        assert "WantedBy=" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="it comes with systemd")
def test_systemd_takes_the_units_as_they_are(role: Path, tmp_path: Path) -> None:
    program = tmp_path / "flotilla-metadata"
    shutil.copy(role / "files" / "flotilla-metadata", program)
    for unit in (role / "files").glob("*.service"):
        # The program is on compute hosts alone, and without the daemons there is nothing to verify of their units.
        text = unit.read_text().replace("/usr/local/sbin/flotilla-metadata", str(program))
        text = re.sub(r"(?m)^ExecStart=/usr/sbin/(nginx|dnsmasq) ", f"ExecStart={program} ", text)
        (tmp_path / unit.name).write_text(text)
    units = sorted(str(path) for path in tmp_path.glob("*.service"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("bridge", ["br0", "br-lan", "br_a.5", "b-0-1"])
@pytest.mark.parametrize("tasks", ["start", "restart", "remove"])
def test_systemd_reads_the_name_of_the_bridge_from_the_name_of_the_unit(role: Path, tasks: str, bridge: str) -> None:
    """%I in the units: a dash stands for a slash, and \\xNN for the character of this number."""
    variables = yaml.safe_load((role / "vars" / "main.yml").read_text())
    read = yaml.safe_load((role / "tasks" / f"{tasks}.yml").read_text())
    (name,) = (
        task["ansible.builtin.systemd_service"]["name"] for task in read if "ansible.builtin.systemd_service" in task
    )
    given = {"unit": "u@", "item": {"bridge": bridge}, "__metadata_service_bridge": bridge}
    unit = jinja2.Template(name).render(**variables, **given)
    instance = unit.removeprefix("u@").removesuffix(".service").replace("-", "/")
    assert re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), instance) == bridge
