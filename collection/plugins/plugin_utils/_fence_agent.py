# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fence agent: a program of the fence-agents project (or any of its kin) that switches a host's power.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

The protocol is the one of ClusterLabs' fence agents: ``option=value`` lines on standard input, one of them
``action=off``; exit code 0 for done, for ``action=status`` 0 means on and 2 off; ``action=metadata`` prints, as XML,
which options the agent knows. Options never go on the agent's command line, where every user of the machine could read
them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import typing as t
from xml.etree import ElementTree

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed, nearest

__all__ = ["Agent"]

OFF = 2
_METADATA_TIMEOUT = 30.0  # it asks nobody; an agent in Python takes half a second to begin with
_SECRET = re.compile(r"pass|secret|token|key|_kg\Z|community|credential", re.IGNORECASE)
_HIDDEN = "***"
_LONGEST = 200
# What Python's logging and the agents put before what they say.
_PREFIX = re.compile(r"\A(?:\d{4}-\d\d-\d\d [\d:,]+ )?(?:(?:ERROR|CRITICAL|WARNING)\s*:\s*)?(?:root:)?(?:Failed: )?")
# Of its start-up, not of the fence device: Python tells that a library is old, and the agent how to call it.
_NOISE = re.compile(r"DeprecationWarning|\A\s+from |Please use '-h'|\AWARNING:")
_BLIND = re.compile(r"unable to obtain correct plug status", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Agent:
    """The program's name, or its path, and its options as text. No repr or error shows an option's value that may be
    secret."""

    name: str
    options: t.Mapping[str, str] = dataclasses.field(repr=False)

    def power(self, timeout: float) -> t.Literal["on", "off"]:
        """What the agent reads: FlotillaError if it can't, within *timeout* seconds."""
        done = self._call("status", timeout)
        if done.code == 0:
            return "on"
        # An argument that a program doesn't understand often ends with 2 as well: such a program says more than OFF.
        if done.code == OFF and (re.search(r"\boff\b", done.output, re.IGNORECASE) or not done.said):
            return "off"
        raise FlotillaError(f"{self.name} could not read the power: {self._reason(done)}")

    def switch(self, power: t.Literal["on", "off"], timeout: float) -> None:
        """Switch the power. That the agent says so is no proof: read it back."""
        done = self._call(power, timeout)
        if done.code != 0:
            raise FlotillaError(f"{self.name} could not switch the power {power}: {self._reason(done)}")

    def check(self) -> None:
        """InvalidInput if the agent doesn't know one of the options, before it is given any of them: agents write
        unknown ones to the system's log, with their values."""
        known = self._known()
        for name in self.options:
            if name not in known and name.replace("-", "_") not in known:
                like = nearest(name, known)
                hint = f"; did you mean {like!r}?" if like else f"; it knows {listed(sorted(known), len(known))}"
                raise InvalidInput(f"{self.name} has no option {name!r}{hint}")

    def _known(self) -> set[str]:
        done = _run(self._program(), "action=metadata\n", self.name, "metadata", _METADATA_TIMEOUT)
        try:
            parameters = ElementTree.fromstring(done.output).iter("parameter")  # noqa: S314 - of an installed program
            known = {name for name in (each.get("name") for each in parameters) if name}
        except ElementTree.ParseError:
            known = set()
        if not known:
            raise FlotillaError(f"{self.name} is no fence agent: it does not answer action=metadata with its options")
        return known

    def _call(self, action: str, timeout: float) -> _Done:
        lines = [f"{name}={_quoted(value)}\n" for name, value in self.options.items()]
        return _run(self._program(), "".join([*lines, f"action={action}\n"]), self.name, action, timeout)

    def _program(self) -> str:
        # Agents are installed where only root's PATH looks.
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        found = shutil.which(self.name, path=path)
        if found is not None:
            return found
        like = nearest(self.name, _installed(path))
        hint = f"did you mean {like!r}?" if like else "Debian's package fence-agents has the known ones"
        raise InvalidInput(f"the controller has no fence agent {self.name!r}; {hint}")

    def _reason(self, done: _Done) -> str:
        lines = [line for line in f"{done.said}\n{done.output}".splitlines() if not _NOISE.search(line)]
        said = next((text for text in (_PREFIX.sub("", line).strip() for line in lines) if text), "")
        if _BLIND.search(said):
            # All that an agent says when it is not let in.
            said += "; a wrong user name or password looks like this too"
        for name, value in self.options.items():
            if value and _SECRET.search(name):
                said = said.replace(value, _HIDDEN)
        return said[:_LONGEST] if said else f"it ended with exit code {done.code} and said nothing"


@dataclasses.dataclass(frozen=True)
class _Done:
    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """What it complained of, or else what it printed, without what every start of it prints."""
        lines = [line for line in self.errors.splitlines() if line.strip() and not _NOISE.search(line)]
        return "\n".join(lines) or self.output.strip()


def _run(program: str, lines: str, name: str, action: str, timeout: float) -> _Done:
    """Run the agent, and end it with all that it has started if it takes longer."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "LC_ALL": "C", "PYTHONWARNINGS": "ignore"}
    try:
        process = subprocess.Popen(
            [program],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as exc:
        raise FlotillaError(f"fence agent {name} can't be started: {exc}") from exc
    try:
        output, errors = process.communicate(lines, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise FlotillaError(f"{name} did not answer action={action} within {timeout:g} s") from None
    finally:
        if process.poll() is None:
            _end(process)
    return _Done(process.returncode, output, errors)


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=5)


def _quoted(value: str) -> str:
    """Agents strip a line's ends and a pair of quotes around a value: what would lose something gets a pair."""
    bare = value == value.strip() and not (len(value) > 1 and value[0] == value[-1] == '"')
    return value if bare else f'"{value}"'


def _installed(path: str) -> set[str]:
    found: set[str] = set()
    for folder in path.split(os.pathsep):
        with contextlib.suppress(OSError):
            found.update(name for name in os.listdir(folder) if name.startswith("fence_"))
    return found
