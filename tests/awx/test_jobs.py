# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The jobs of awx/flotilla.yml, run as AWX runs them: ansible-runner, in a folder that was not there before.

AWX itself needs a container engine. What it does around a job is done here: a copy of the project, its collections
installed from collections/requirements.yml, the inventory as a script, credentials and survey answers injected, an SSH
key in an agent; what is left of a job are its artifacts and the ledger in PostgreSQL.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import ansible_runner
import pytest
import yaml
from tests.support.fleet import Fleet
from tests.support.lab_hosts import Lab
from tests.support.postgres import PostgreSQL

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent


class Awx:
    """Runs job templates of awx/flotilla.yml."""

    def __init__(self, folder: Path, inventory: dict[str, t.Any], key: str, control: Path) -> None:
        data = yaml.load((ROOT / "awx/flotilla.yml").read_text().replace("!unsafe", ""), Loader=yaml.SafeLoader)
        self._templates = {template["name"]: template for template in data["awx_job_templates"]}
        self._folder = folder
        self._inventory = inventory
        self._key = key
        self._control = control
        self._numbers = itertools.count(1)

    def launch(self, name: str, *, credentials: dict[str, str], **answers: t.Any) -> ansible_runner.Runner:
        template, number = self._templates[name], next(self._numbers)
        asked = {question["variable"]: "" for question in template.get("survey", [])}
        assert set(answers) <= set(asked), f"{name} does not ask for {set(answers) - set(asked)}"
        private = self._folder / f"awx_{number}"
        self._prepare(private)
        return ansible_runner.run(
            private_data_dir=str(private),
            ident=str(number),
            playbook=template["playbook"],
            cmdline="--check" if template.get("job_type") == "check" else None,
            ssh_key=self._key,
            extravars={**asked, **answers, "awx_job_id": number},
            envvars={
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._control),  # /runner/cp there; sockets have short names
                "AWX_HOST": "https://awx.example.org",
                "AWX_PRIVATE_DATA_DIR": str(private),
                "JOB_ID": str(number),
                "HOME": str(private / "home"),
                "PATH": f"{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin",
                "ANSIBLE_COLLECTIONS_PATH": str(private / "requirements_collections"),
                "ANSIBLE_FORCE_COLOR": "0",
                "ANSIBLE_NOCOLOR": "1",
                **credentials,
            },
            settings={"job_timeout": 240},
            suppress_env_files=True,
            quiet=True,
        )

    def _prepare(self, private: Path) -> None:
        project = private / "project"
        (private / "home").mkdir(parents=True)
        subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", project], check=True)
        (project / ".dev/ansible_collections/flotilla/compute").unlink()  # only what is installed shall be there
        galaxy = [str(PROGRAMS / "ansible-galaxy"), "collection", "install", "--offline"]
        galaxy += ["-r", "collections/requirements.yml", "-p", str(private / "requirements_collections")]
        environment = {**os.environ, "ANSIBLE_HOME": str(private / "home")}
        subprocess.run(galaxy, cwd=project, env=environment, check=True, capture_output=True)
        script = private / "inventory/hosts"
        script.parent.mkdir()
        script.write_text(f"#! {sys.executable}\nprint({json.dumps(self._inventory)!r})\n")
        script.chmod(0o700)


def _inventory(fleet: Fleet) -> dict[str, t.Any]:
    """The inventory as AWX has it after an update from its project: no ledger in it, and no key."""
    command = [str(PROGRAMS / "ansible-inventory"), "-i", str(fleet.write()), "--list", "--export"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    inventory: dict[str, t.Any] = json.loads(told.stdout)
    groups = [group["vars"] for group in inventory.values() if "vars" in group]
    for variables in (*inventory["_meta"]["hostvars"].values(), *groups):
        for name in ("fleet_ledger", "ansible_ssh_private_key_file"):
            variables.pop(name, None)
        if "ansible_ssh_common_args" in variables:  # the key is in an agent
            args = str(variables["ansible_ssh_common_args"])
            variables["ansible_ssh_common_args"] = args.replace("IdentitiesOnly=yes", "IdentitiesOnly=no")
    return inventory


@pytest.mark.soak
def test_jobs_of_awx_plan_reconcile_and_evacuate(lab: Lab, postgresql: PostgreSQL, tmp_path: Path) -> None:
    lab.heal()
    lab.wipe()
    fleet = Fleet(lab, tmp_path / "fleet", "awx", ledger=postgresql.new_database())
    fleet.folder.mkdir()
    fleet.declare("web1", "web2")
    key = (Path(lab.facts["folder"]) / "ssh/id_ed25519").read_text()
    awx = Awx(tmp_path, _inventory(fleet), key, lab.control)
    credentials = {"FLOTILLA_LEDGER": fleet.ledger_url}

    refused = awx.launch("Flotilla reconcile", credentials={})
    assert refused.rc != 0
    said = refused.stdout.read()
    assert "which ends with the container of this AWX job; set fleet_ledger to a PostgreSQL database" in " ".join(
        said.split()
    )
    assert lab.look().domains == []

    planned = awx.launch("Flotilla plan", credentials=credentials)
    assert (planned.rc, planned.status) == (0, "successful"), planned.stdout.read()
    assert "Plan for fleet 'awx': 2 to create" in planned.stdout.read()
    assert lab.look().domains == []

    done = awx.launch("Flotilla reconcile", credentials=credentials)
    assert done.rc == 0, done.stdout.read()
    artifacts = Path(done.config.artifact_dir)
    assert (artifacts / "rc").read_text() == "0"
    assert (artifacts / "status").read_text() == "successful"
    assert list((artifacts / "job_events").glob("*.json"))
    assert lab.look().states == {"web1": "running", "web2": "running"}
    password = postgresql.password
    # In "command" ansible-runner itself keeps the environment that a job was given: AWX has it masked.
    told = [file for file in artifacts.rglob("*") if file.is_file() and file.name != "command"]
    leaks = [file for file in told if password in file.read_text(errors="replace")]
    assert not leaks, "the ledger's password is in a job's artifacts"

    again = awx.launch("Flotilla reconcile", credentials=credentials)
    assert again.rc == 0, again.stdout.read()
    assert not any((again.stats or {})["changed"].values())

    dead = lab.look().server("web1").host
    lab.ok("power", "off", dead)
    run = awx.launch(
        "Flotilla evacuation",
        credentials=credentials,
        fleet_host=dead,
        fleet_fenced="the lab's power switch",
        fleet_allow=["data_loss"],
    )
    assert run.rc == 0, run.stdout.read()
    after = lab.look()
    assert after.states["web1"] == "running"
    assert after.server("web1").host != dead
