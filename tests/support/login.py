# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SSH into a guest, as somebody on another machine does it."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

#: Nothing of who runs the tests, and no key of a host is known or remembered.
OPTIONS = ("-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")


class Login(t.NamedTuple):
    """How somebody logs in to a guest from another machine: by the key in *folder*, or by a password."""

    folder: Path
    address: str

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def by_key(self, user: str, command: str) -> str:
        done = self.tried_by_key(user, command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def tried_by_key(self, user: str, command: str) -> subprocess.CompletedProcess[str]:
        options = ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", str(self.key)]
        return self._ssh(options, user, command, {})

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
        own = {**os.environ, **env}
        own.pop("SSH_AUTH_SOCK", None)
        full = ["ssh", *OPTIONS, "-o", "ConnectTimeout=60", *options, f"{user}@{self.address}", command]
        return subprocess.run(full, env=own, capture_output=True, text=True, check=False, timeout=180)


def new_key(folder: Path) -> str:
    """The public half of a new key, whose file is *folder*/key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    return (folder / "key.pub").read_text().strip()
