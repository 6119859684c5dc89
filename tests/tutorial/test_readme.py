# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""README as far as it can be held without hosts: what `make readme` runs is all of it, and its inventory is valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from tests.tutorial import readme

TEXT = readme.README.read_text()


def test_every_command_is_run_by_somebody() -> None:
    found = readme.steps(TEXT)
    commands = [step.text for step in found if not step.is_task]
    assert commands[:2] == ["make demo", "make test"]
    assert len(commands) > 20
    assert any(step.is_task for step in found)
    # What begins like a command, anywhere, is one of them.
    programs = ("ansible-playbook ", "ansible-galaxy ", "pip ", "extensions/")
    lines = [line.strip().partition(" # ")[0].strip() for line in TEXT.splitlines()]
    assert [line for line in lines if line.startswith(programs) and line not in commands] == []
    assert set(readme.ELSEWHERE) <= set(commands), "what README no longer names needs no place"


def test_what_is_run_elsewhere_is_run_there() -> None:
    for command, where in readme.ELSEWHERE.items():
        if "/" in where:
            assert command in (readme.ROOT / where).read_text(), command
    script = (readme.ROOT / ".ci/run").read_text()
    assert script.index("part make demo") < script.index("part make readme") < script.index("\nmake lab-down")


def test_the_inventory_that_is_shown_is_one(tmp_path: Path) -> None:
    hosts, variables = readme.inventory(TEXT)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.yml").write_text(hosts)
    public_key = "AAAAC3NzaC1lZDI1NTE5AAAAIFUNbPJq7l4OP7DGlDWfERjIjhi/BhNUoVdKWwKyBpLW"
    for shown, whole in (
        ("sha256:<the image's SHA-256, 64 hexadecimal digits>", f"sha256:{'0' * 64}"),
        ("AAAA…", public_key),
    ):
        assert shown in variables
        variables = variables.replace(shown, whole)
    (tmp_path / "group_vars/all.yml").write_text(f"{variables}\nfleet_ledger: sqlite:///{tmp_path}/fleet.db\n")
    task = {"flotilla.compute.plan": {"kind": "validate"}, "check_mode": True}
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(tmp_path / "hosts.yml")]
    done = subprocess.run(
        [*command, str(tmp_path / "play.yml")], cwd=readme.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
