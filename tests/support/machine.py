# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest that plays a machine with systemd, for roles."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml
from tests.support.login import OPTIONS, Login
from tests.support.runs import ROOT


class Done(t.NamedTuple):
    """What a role has said, and how many of its tasks changed something."""

    said: str
    changed: int


class Machine:
    """The guest, by a login as the user debian, who may do all. Plays know it as the host ``host``."""

    def __init__(self, login: Login) -> None:
        self.login = login

    def run(self, script: str) -> str:
        return self.login.by_key("debian", _as_root(script))

    def says(self, script: str) -> str | None:
        """What a script that may fail says; None if it does, or nobody can log in."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = self.login.tried_by_key("debian", _as_root(script))
            return done.stdout if done.returncode == 0 else None
        return None

    def says_another(self, script: str, before: str) -> bool:
        return self.says(script) not in (None, before)

    def does(self, role: str, *options: str, variables: t.Mapping[str, t.Any], tasks_from: str = "main") -> Done:
        """A role of the collection on it, which ends well."""
        connection = {
            "ansible_host": self.login.address,
            "ansible_user": "debian",
            "ansible_become": True,
            "ansible_ssh_private_key_file": str(self.login.key),
            "ansible_ssh_common_args": " ".join(OPTIONS),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        folder = self.login.folder
        (folder / "host.yml").write_text(yaml.safe_dump({"all": {"hosts": {"host": connection}}}))
        included = {"name": f"flotilla.compute.{role}", "tasks_from": tasks_from}
        play = {
            "hosts": "host",
            "gather_facts": False,
            "vars": dict(variables),
            "tasks": [{"ansible.builtin.include_role": included}],
        }
        (folder / "role.yml").write_text(yaml.safe_dump([play]))
        program = Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [str(program), "-i", str(folder / "host.yml"), *options, str(folder / "role.yml")],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (changed,) = re.findall(r"^host +: ok=\d+ +changed=(\d+) ", done.stdout, re.MULTILINE)
        return Done(done.stdout, int(changed))


def _as_root(script: str) -> str:
    quoted = script.replace("'", "'\\''")
    return f"sudo sh -c '{quoted}'"
