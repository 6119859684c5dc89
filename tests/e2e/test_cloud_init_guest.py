# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian with its own cloud-init, told by a config drive alone or by the metadata service alone, and logged in to."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from tests.support import debian_guest
from tests.support.fleet import Fleet
from tests.support.login import OPTIONS, Login

pytestmark = pytest.mark.soak

PASSWORD = "correct horse: battery"
MOTTO = "many ships, one course: ü\n"
USER_DATA = {
    "users": ["default", {"name": "anna", "shell": "/bin/bash", "lock_passwd": False}],
    "ssh_pwauth": True,
    "ssh_genkeytypes": ["ed25519"],  # others take long under emulation
    "chpasswd": {"expire": False, "users": [{"name": "anna", "type": "text", "password": PASSWORD}]},
    "write_files": [{"path": "/srv/motto", "content": MOTTO}],
    "runcmd": [["sh", "-c", "echo once >> /srv/ran"]],
    "final_message": "cloud-init has told all",
}


@pytest.fixture
def login(fleet: Fleet, tmp_path: Path) -> Login:
    """web1 is declared, with a fixed address; how to log in to it."""
    return debian_guest.declare(fleet, "web1", tmp_path, user_data=USER_DATA)


def _check(fleet: Fleet, login: Login, source: str, way: str) -> None:
    """All that it was told it has done, whoever told it; *way* is how it has come to its address."""
    fleet.console("web1", str(USER_DATA["final_message"]), timeout=debian_guest.BOOTS_WITHIN)
    ended = "cloud-init status --wait > /dev/null; cat /run/cloud-init/result.json"
    result = json.loads(login.by_key("debian", ended))["v1"]
    assert (result["datasource"].partition(" ")[0], result["errors"]) == (source, [])
    assert login.by_key("debian", "hostname") == "web1\n"
    assert login.by_key("debian", "cat /var/lib/cloud/data/instance-id").strip() == fleet.look().server("web1").id
    assert login.by_key("debian", "cat /srv/motto /srv/ran") == f"{MOTTO}once\n"
    assert f"iface eth0 inet {way}\n" in login.by_key("debian", "cat /etc/network/interfaces.d/*")
    shown = login.by_key("debian", "ip -4 -o address show dev eth0; ip -4 route show default")
    assert f"inet {login.address}/24 " in shown
    assert f"default via {fleet.lab.facts['guest_gateway']} " in shown
    assert PASSWORD not in login.by_key("debian", "sudo cat /var/lib/cloud/instance/user-data.txt")
    assert login.by_password("anna", PASSWORD, "id -un").stdout == "anna\n"
    assert login.by_password("anna", "another", "id -un").returncode == 255


def _configure(fleet: Fleet, login: Login, folder: Path) -> dict[str, int]:
    """The plays after a reconcile, by the inventory plugin: wait for the agent and for cloud-init, then configure what
    was made of the image. Gives the guest's line of the recap."""
    compose = {
        "ansible_user": "debian",
        "ansible_ssh_private_key_file": str(login.key),
        "ansible_ssh_common_args": " ".join(OPTIONS),
    }
    source = {
        "plugin": "flotilla.compute.servers",
        "ledger": fleet.ledger_url,
        "keyed_groups": [{"prefix": "image", "key": "guest_image"}],
        "compose": {name: repr(value) for name, value in compose.items()},
    }
    (fleet.inventory / "90-guests.flotilla.yml").write_text(yaml.safe_dump(source))
    wait: dict[str, t.Any] = {"ansible.builtin.import_playbook": "flotilla.compute.wait_for_guests"}
    waits = [
        {**wait, "vars": {"guest_wait_for": what, "guest_wait_timeout": debian_guest.BOOTS_WITHIN}}
        for what in ("agent", "cloud-init")
    ]
    tasks = [
        {"ansible.builtin.user": {"name": "bea", "shell": "/bin/bash"}},
        {
            "ansible.builtin.copy": {
                "content": "configured\n",
                "dest": "/srv/configured",
                "owner": "bea",
                "mode": "0640",
            }
        },
    ]
    playbook = folder / "guests.yml"
    playbook.write_text(yaml.safe_dump([*waits, {"hosts": "image_debian", "become": True, "tasks": tasks}]))
    said = fleet.command("ansible-playbook", "-i", str(fleet.inventory), str(playbook))
    (recap,) = re.findall(r"^web1 +: (.*)$", said, re.MULTILINE)
    return {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", recap)}


def test_debian_is_told_all_by_a_config_drive_and_configured_by_the_next_play(
    fleet: Fleet, login: Login, tmp_path: Path
) -> None:
    fleet.all["fleet_images"]["debian"]["properties"] = {"hw_qemu_guest_agent": "yes"}
    fleet.declare("web1", config_drive=True)
    fleet.reconcile()
    recap = _configure(fleet, login, tmp_path)  # right after its power was switched on
    assert (recap["changed"], recap["failed"], recap["unreachable"]) == (2, 0, 0)
    assert login.by_key("debian", "sudo stat -c '%U %a' /srv/configured; sudo cat /srv/configured") == (
        "bea 640\nconfigured\n"
    )
    assert _configure(fleet, login, tmp_path)["changed"] == 0
    _check(fleet, login, "DataSourceConfigDrive", "static")
    assert fleet.reconcile().all_steps == {}


def test_debian_is_told_all_by_the_metadata_service(fleet: Fleet, login: Login, tmp_path: Path) -> None:
    """By DHCP it gets its address, before it asks and from then on, and there is no drive."""
    fleet.all["fleet_networks"]["lan"].update(metadata_service=True, dhcp=True)
    fleet.write()
    role = {"ansible.builtin.include_role": {"name": "flotilla.compute.metadata_service"}}

    def play(**variables: t.Any) -> Path:
        file = tmp_path / "metadata.yml"
        given = {"metadata_service_packages": [], **variables}
        file.write_text(yaml.safe_dump([{"hosts": "kvm1", "gather_facts": False, "vars": given, "tasks": [role]}]))
        return file

    fleet.run(play()).ok()
    try:
        fleet.reconcile()
        volumes = fleet.look().volumes(fleet.look().server("web1").id)
        assert not [name for _pool, name in volumes if name.endswith("-config")]
        _check(fleet, login, "DataSourceOpenStackLocal", "dhcp")
        assert fleet.reconcile().all_steps == {}
    finally:
        fleet.run(play(metadata_service_state="absent")).ok()
