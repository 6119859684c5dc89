# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integration targets of modules that run on the controller alone, without ansible-test around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ROOT / "collection/tests/integration/targets"


@pytest.mark.parametrize(
    "target", ["aggregate", "compute_service_info", "fence_info", "flavor", "keypair", "server_group"]
)
def test_target(target: str, tmp_path: Path) -> None:
    tasks = str(TARGETS / target / "tasks/main.yml")
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"output_dir": str(tmp_path / "output"), "ansible_python_interpreter": sys.executable},
        "tasks": [{"ansible.builtin.include_tasks": tasks}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "localhost,",
        "-c",
        "local",
        "-vvv",
        "play.yml",
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    environment.pop("FLOTILLA_LEDGER", None)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-4000:]
    assert "Traceback" not in output
    for key in (tmp_path / "output").glob("**/keys/**/*"):
        for line in key.read_text().splitlines()[1:-1] if key.is_file() else []:
            assert line not in output, "a private key was shown"
            assert line.encode() not in (tmp_path / "output" / target / "target.db").read_bytes()
