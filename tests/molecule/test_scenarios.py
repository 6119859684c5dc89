# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Molecule's scenarios, on a lab of their own: converge, the same again without a change, verify."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from tests.support.lab_names import lab_name

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "collection/extensions/molecule"
LAB_NAME = lab_name("mol")
NAMES = ("compute_host", "default", "evacuate", "fleet", "metadata_service", "migrate", "reconcile")
_DOCUMENTED = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _molecule(folder: Path, tmp_path: Path, *arguments: str, **environment: str) -> str:
    """molecule's output, where it ends well."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))},
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"),
        "NO_COLOR": "1",
        "FLOTILLA_LAB": LAB_NAME,
        **environment,
    }
    done = subprocess.run(
        ["molecule", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def _sequence(scenario: str) -> list[str]:
    """What a scenario says that it does, or all of them."""
    files = (SCENARIOS / "config.yml", SCENARIOS / scenario / "molecule.yml")
    said: dict[str, t.Any] = {}
    for file in files:
        said |= yaml.safe_load(file.read_text())["scenario"]
    return list(said["test_sequence"])


def _run(scenario: str, tmp_path: Path) -> None:
    said = _molecule(ROOT / "collection", tmp_path, "test", "--scenario-name", scenario)
    # A playbook that isn't found is no failure for molecule.
    did = re.findall(rf"^{scenario} > (\w+): Executed: (.*)$", said, re.MULTILINE)
    assert did == [(action, "Successful") for action in _sequence(scenario)], said


@pytest.mark.parametrize("scenario", NAMES)
def test_scenario(scenario: str, tmp_path: Path) -> None:
    _run(scenario, tmp_path)


@pytest.mark.soak
def test_a_role_of_a_users_own_as_documented(tmp_path: Path) -> None:
    (text,) = _DOCUMENTED.findall((ROOT / "collection/docs/testing.md").read_text())
    role, scenario = tmp_path / "role", tmp_path / "role/molecule/default"
    scenario.mkdir(parents=True)
    (scenario / "molecule.yml").write_text(
        text.replace("/opt/flotilla", str(ROOT)).replace("FLOTILLA_LAB: mine", f"FLOTILLA_LAB: {LAB_NAME}")
    )
    written = {"ansible.builtin.copy": {"content": "mine", "dest": "/etc/mine", "mode": "0644"}}
    read = {"ansible.builtin.command": "grep -x mine /etc/mine", "changed_when": False}
    for name, task in (("tasks/main.yml", written), ("molecule/default/verify.yml", read)):
        (role / name).parent.mkdir(exist_ok=True)
        play = {"hosts": "computes", "gather_facts": False, "tasks": [task]}
        (role / name).write_text(yaml.safe_dump([task] if "tasks/" in name else [play]))
    converge = {"hosts": "computes", "gather_facts": False, "roles": [str(role)]}
    (scenario / "converge.yml").write_text(yaml.safe_dump([converge]))
    said = _molecule(role, tmp_path, "test")
    assert set(re.findall(r"^default > (\w+): Executed: Successful$", said, re.MULTILINE)) >= {"idempotence", "verify"}


def test_no_scenario_is_left_out() -> None:
    assert {file.parent.name for file in SCENARIOS.glob("*/molecule.yml")} == set(NAMES)
    roles = {folder.name for folder in (ROOT / "collection/roles").iterdir()}
    assert roles <= set(NAMES)


def _bare(plays: t.Any) -> t.Any:
    """Plays without what only people read."""
    return [
        {**play, "tasks": [{k: v for k, v in task.items() if k != "name"} for task in play["tasks"]]} for play in plays
    ]


def test_the_run_in_the_documentation_is_the_one_that_is_tested() -> None:
    blocks = [yaml.safe_load(block) for block in _DOCUMENTED.findall((ROOT / "collection/docs/fleet.md").read_text())]
    whole = max(blocks, key=len)
    assert _bare(whole) == _bare(yaml.safe_load((SCENARIOS / "fleet/converge.yml").read_text()))
