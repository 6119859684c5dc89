# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a command and turns its failure into a sentence."""

from __future__ import annotations

import subprocess
import typing as t

from .errors import LabError


def run(*command: str, stdin: str | None = None, env: t.Mapping[str, str] | None = None) -> str:
    """The command's standard output."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or "it said nothing"
        raise LabError(f"`{' '.join(command)}` failed with code {done.returncode}: {said}")
    return done.stdout


def succeeds(*command: str) -> bool:
    """Whether the command ends with 0; what it says does not matter."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
