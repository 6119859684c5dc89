# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A BMC for a test: pyghmi's server class answers IPMI 2.0 on a port of this machine, a program has the power.

    python bmc.py PORT USER COMMAND ...      the password comes on standard input

COMMAND is what tells the power and switches it: ``{}`` in it stands for ``status`` (exit code 0 on, 2 off), ``on`` or
``off``. It serves until its standard input is closed.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import typing as t

from pyghmi.ipmi import bmc


class Power(bmc.Bmc):  # type: ignore[misc] # pyghmi has no annotations
    """The power of one host, by a command."""

    def __init__(self, authdata: dict[str, str], port: int, command: t.Sequence[str]) -> None:
        super().__init__(authdata, port=port, address="127.0.0.1")
        self._command = command

    def _run(self, word: str) -> int:
        return subprocess.run([part.replace("{}", word) for part in self._command], check=False).returncode

    def get_power_state(self) -> str:
        return "off" if self._run("status") == 2 else "on"

    def power_off(self) -> int:
        return 0 if self._run("off") == 0 else 0xD5  # "not supported in present state"

    def power_on(self) -> int:
        return 0 if self._run("on") == 0 else 0xD5


def main() -> None:
    port, user, *command = sys.argv[1:]
    password = sys.stdin.readline().rstrip("\n")
    power = Power({user: password}, int(port), command)
    threading.Thread(target=power.listen, kwargs={"timeout": 1}, daemon=True).start()
    print("listening", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
