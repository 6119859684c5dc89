# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian with its own cloud-init, told by a config drive alone or by the metadata service alone, and logged in to."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
from tests.support import debian_guest
from tests.support.fleet import Fleet

pytestmark = pytest.mark.soak

PASSWORD = "correct horse: battery"
MOTTO = "many ships, one course: ü\n"
#: Under emulation a first boot takes a minute, more where others are at work.
BOOTS_WITHIN = 600
USER_DATA = {
    "users": ["default", {"name": "anna", "shell": "/bin/bash", "lock_passwd": False}],
    "ssh_pwauth": True,
    "ssh_genkeytypes": ["ed25519"],  # others take long under emulation
    "chpasswd": {"expire": False, "users": [{"name": "anna", "type": "text", "password": PASSWORD}]},
    "write_files": [{"path": "/srv/motto", "content": MOTTO}],
    "runcmd": [["sh", "-c", "echo once >> /srv/ran"]],
    "final_message": "cloud-init has told all",
}


class Login(t.NamedTuple):
    """How somebody logs in to a guest from another machine: by a key, or by a password."""

    folder: Path
    address: str

    def by_key(self, user: str, command: str) -> str:
        options = ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", str(self.folder / "key")]
        done = self._ssh(options, user, command, {})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def by_password(self, user: str, password: str, command: str) -> subprocess.CompletedProcess[str]:
        ask = self.folder / "ask"
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$TOLD"\n')
        ask.chmod(0o700)
        options = ["-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"]
        asked = {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "TOLD": password}
        return self._ssh(options, user, command, asked)

    def _ssh(
        self, options: list[str], user: str, command: str, env: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        known = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        own = {**os.environ, **env}
        own.pop("SSH_AUTH_SOCK", None)
        full = ["ssh", *known, "-o", "ConnectTimeout=60", *options, f"{user}@{self.address}", command]
        return subprocess.run(full, env=own, capture_output=True, text=True, check=False, timeout=180)


@pytest.fixture(scope="module")
def image() -> Path:
    return debian_guest.build()


@pytest.fixture
def login(fleet: Fleet, image: Path, tmp_path: Path) -> Login:
    """web1 is declared, with a fixed address; how to log in to it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    checksum = image.with_suffix(".sha256").read_text().split()[0]
    fleet.all["fleet_images"]["debian"] = {"file": str(image), "format": "qcow2", "checksum": f"sha256:{checksum}"}
    fleet.all["fleet_flavors"]["debian"] = {"vcpus": 1, "ram": 512, "disk": 2}
    fleet.all["fleet_keypairs"] = {"ops": {"public_key": (tmp_path / "key.pub").read_text().strip()}}
    address = f"{fleet.all['fleet_networks']['lan']['cidr'].rpartition('.')[0]}.31"
    fleet.declare(
        "web1",
        host="kvm1",
        image="debian",
        flavor="debian",
        key_name="ops",
        networks=[{"network": "lan", "fixed_ip": address}],
        user_data=USER_DATA,
    )
    return Login(tmp_path, address)


def _check(fleet: Fleet, login: Login, source: str) -> None:
    """All that it was told it has done, whoever told it."""
    fleet.console("web1", str(USER_DATA["final_message"]), timeout=BOOTS_WITHIN)
    ended = "cloud-init status --wait > /dev/null; cat /run/cloud-init/result.json"
    result = json.loads(login.by_key("debian", ended))["v1"]
    assert (result["datasource"].partition(" ")[0], result["errors"]) == (source, [])
    assert login.by_key("debian", "hostname") == "web1\n"
    assert login.by_key("debian", "cat /var/lib/cloud/data/instance-id").strip() == fleet.look().server("web1").id
    assert login.by_key("debian", "cat /srv/motto /srv/ran") == f"{MOTTO}once\n"
    shown = login.by_key("debian", "ip -4 -o address show dev eth0; ip -4 route show default")
    assert f"inet {login.address}/24 " in shown
    assert f"default via {fleet.lab.facts['guest_gateway']} " in shown
    assert PASSWORD not in login.by_key("debian", "sudo cat /var/lib/cloud/instance/user-data.txt")
    assert login.by_password("anna", PASSWORD, "id -un").stdout == "anna\n"
    assert login.by_password("anna", "another", "id -un").returncode == 255


def test_debian_is_told_all_by_a_config_drive(fleet: Fleet, login: Login) -> None:
    fleet.declare("web1", config_drive=True)
    fleet.reconcile()
    _check(fleet, login, "DataSourceConfigDrive")
    assert fleet.reconcile().all_steps == {}


def test_debian_is_told_all_by_the_metadata_service(fleet: Fleet, login: Login, tmp_path: Path) -> None:
    """By DHCP it gets the address from which it asks, and there is no drive."""
    fleet.all["fleet_networks"]["lan"]["metadata_service"] = True
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
        _check(fleet, login, "DataSourceOpenStackLocal")
        assert fleet.reconcile().all_steps == {}
    finally:
        fleet.run(play(metadata_service_state="absent")).ok()
