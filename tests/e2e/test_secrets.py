# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Planted secrets are looked for in all that Flotilla prints and leaves behind."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from tests.support.fleet import Fleet
from tests.support.postgres import PostgreSQL

USER_DATA = "#cloud-config\nchpasswd: {list: 'root:us3rd4ta-s3cret'}\n"
PASSWORD = "4dmin-p4ss-s3cret"
SECRET_KEY = "fl33t-k3y-s3cret"
KEYPAIR = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Generate a key
      flotilla.compute.keypair:
        name: build
        private_key_path: {path}
"""


def written(fleet: Fleet) -> t.Iterator[tuple[str, bytes]]:
    """What a secret could have been written to, but for the config drives, which are there to carry it."""
    for domain in fleet.look().domains:
        yield f"domain {domain.name}", (domain.xml + (domain.live_xml or "")).encode()
    for host in fleet.lab.hosts:
        for folder in ("/var/lib/flotilla", "/var/log/libvirt", "/etc/libvirt/qemu", "/tmp", "/var/tmp", "/root"):
            for file in fleet.lab.tree(host, folder).rglob("*"):
                if file.is_file() and not file.is_symlink():
                    yield f"{host}:{file}", file.read_bytes()
        for pool in ("local", "shared"):
            for file in fleet.lab.pool(pool, host).iterdir():
                if not file.name.startswith("image-") and not file.name.endswith("-config"):
                    yield f"{host}:{file}", file.read_bytes()
    for file in fleet.folder.glob("fleet.db*"):
        yield str(file), file.read_bytes()


def test_no_secret_is_printed_or_left_behind(fleet: Fleet) -> None:
    private_key = fleet.folder / "build"
    playbook = fleet.folder / "keypair.yml"
    playbook.write_text(KEYPAIR.format(path=private_key))
    fleet.all["fleet_secret_key"] = SECRET_KEY
    fleet.declare("a", state="stopped", user_data=USER_DATA, user_data_secret=True, key_name="build")
    fleet.declare("b", state="stopped", user_data=USER_DATA.replace("root", "admin"), admin_password=PASSWORD)
    verbose = ("-vvv", "--diff")
    runs = [fleet.run(playbook, *verbose).ok(), fleet.run("reconcile", *verbose).ok()]
    assert private_key.stat().st_mode & 0o777 == 0o600
    key = [line for line in private_key.read_text().splitlines() if not line.startswith("-----")]

    fleet.declare("a", user_data=USER_DATA + "# and more of us3rd4ta-s3cret\n")
    fleet.declare("b", metadata={"role": "changed"})
    runs.append(fleet.run("reconcile", "--check", *verbose).ok())
    runs.append(fleet.run("reconcile", *verbose, fleet_allow="rebuild").ok())
    assert "rebuild" in runs[-1].steps("a")

    secrets = {"us3rd4ta-s3cret", PASSWORD, SECRET_KEY, key[1], key[-1]}
    for number, run in enumerate(runs):
        assert [secret for secret in secrets if secret in run.stdout] == [], f"in the output of run {number}"
        assert [secret for secret in secrets if secret in str(run.events)] == [], f"in the events of run {number}"
    found = [(where, secret) for where, data in written(fleet) for secret in secrets if secret.encode() in data]
    assert found == []
    files_are_their_owners_alone(fleet)
    # They did arrive where they belong.
    server = fleet.look().server("a")
    pool, volume = server.disk("config")
    assert b"us3rd4ta-s3cret" in (fleet.lab.pool(pool, server.host) / volume).read_bytes()


@pytest.mark.parametrize("wrong", [pytest.param(False, marks=pytest.mark.soak), True], ids=["right", "wrong"])
def test_the_ledgers_password_is_shown_nowhere(fleet: Fleet, postgresql: PostgreSQL, wrong: bool) -> None:
    url = postgresql.new_database()
    password = postgresql.password
    if wrong:
        url, password = url.replace(password, "wr0ng-p4ssword"), "wr0ng-p4ssword"
    fleet.all["fleet_ledger"] = url
    fleet.declare("a", state="stopped")
    run = fleet.run("reconcile", "-vvv", "--diff").civil()
    assert (run.rc != 0) == wrong
    assert password not in run.stdout
    assert password not in str(run.events)
    if wrong:
        assert "127.0.0.1" in run.message


def files_are_their_owners_alone(fleet: Fleet) -> None:
    open_files = [
        str(file)
        for folder in [fleet.folder, *(fleet.lab.tree(host, "/var/lib/flotilla") for host in fleet.lab.hosts)]
        for file in Path(folder).glob("fleet.db*" if folder == fleet.folder else "*")
        if file.stat().st_mode & 0o007
    ]
    assert open_files == []
