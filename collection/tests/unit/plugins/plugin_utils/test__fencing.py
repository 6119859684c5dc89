# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fencing through a real agent: a small program that speaks the fence agents' protocol over its standard input."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils import _fencing
from ansible_collections.flotilla.compute.plugins.plugin_utils._fence_agent import Agent
from ansible_collections.flotilla.compute.plugins.plugin_utils._fencing import (
    Fence,
    answering,
    fence,
    look,
    look_at_all,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._proof import Proof, operator_proof

SECRET = "s3cr3t of kvm1"

#: It keeps the power of each plug in a file, and notes what it was asked and with which command line.
PROGRAM = f"""#!{sys.executable} -S
import json, pathlib, sys
here = pathlib.Path(__file__).parent
options = dict(line.rstrip("\\n").split("=", 1) for line in sys.stdin)
action = options.get("action", "reboot")
with open(here / "asked", "a") as asked:
    asked.write(json.dumps([action, options, sys.argv[1:]]) + "\\n")
if action == "metadata":
    names = ("action", "plug", "password", "ip", "mode", "lanplus")
    print("<resource-agent>" + "".join(f'<parameter name="{{n}}"/>' for n in names) + "</resource-agent>")
    sys.exit(0)
mode = options.get("mode", "")
if options.get("password", "") != {SECRET!r}:
    print("2026-11-22 05:55:43,446 ERROR: Unable to log in with " + options.get("password", ""), file=sys.stderr)
    sys.exit(1)
if mode == "hangs":
    import subprocess
    child = subprocess.Popen(["sleep", "600"])
    (here / "child").write_text(str(child.pid))
    child.wait()
if mode == "usage":
    print("usage: agent [-h]", file=sys.stderr)
    sys.exit(2)
plug = here / ("plug-" + options["plug"])
power = plug.read_text() if plug.exists() else "on"
if action == "status":
    if mode == "deaf once" and not (here / "deaf").exists():
        (here / "deaf").touch()
        sys.exit(1)
    print("Status: " + power.upper())
    sys.exit(0 if power == "on" else 2)
if mode == "refuses" or (mode == "refuses when off" and power == "off"):
    print("Failed: Timed out waiting to power OFF", file=sys.stderr)
    sys.exit(7)
if mode != "lies":
    plug.write_text(action)
print("Success: Powered " + action.upper())
"""


class Lab:
    """The agent, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "fence_test"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)

    def entry(self, **options: t.Any) -> dict[str, t.Any]:
        return {"agent": str(self.program), "plug": "kvm1", "password": SECRET, **options}

    def power(self, power: str, plug: str = "kvm1") -> None:
        (self.folder / f"plug-{plug}").write_text(power)

    def asked(self) -> list[tuple[str, dict[str, str], list[str]]]:
        return [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def prove(levels: t.Any, timeout: float = 5.0, **more: t.Any) -> Proof:
    return fence("kvm1", levels, now=lambda: 42.0, timeout=timeout, **more)


def test_off_is_read_back_and_is_the_proof(lab: Lab) -> None:
    told: list[str] = []
    proof = prove(lab.entry(lanplus=True), tell=told.append)

    assert proof == Proof("fence", "kvm1", str(lab.program), "its power is off, read back", 42.0, 1)
    assert [action for action, _options, _argv in lab.asked()] == ["metadata", "off", "status"]
    assert lab.asked()[1][1] == {"plug": "kvm1", "password": SECRET, "lanplus": "1", "action": "off"}
    assert told == [f"kvm1: {lab.program} (level 1 of 1) is to switch it off, within 5 s"]


def test_no_option_is_on_the_agents_command_line(lab: Lab) -> None:
    prove(lab.entry())
    assert all(argv == [] for _action, _options, argv in lab.asked())


def test_the_agent_is_told_no_option_before_it_knows_them_all(lab: Lab) -> None:
    with pytest.raises(Refused, match="has no option 'passwrd'; did you mean 'password'"):
        prove({"agent": str(lab.program), "passwrd": SECRET})
    assert [(action, set(options)) for action, options, _argv in lab.asked()] == [("metadata", {"action"})]


def test_a_host_that_is_off_already_is_fenced(lab: Lab) -> None:
    lab.power("off")
    assert prove(lab.entry()).kind == "fence"
    assert prove(lab.entry(mode="refuses when off")).level == 1, "its agent fails since there is nothing to switch off"


def test_an_agent_that_lies_gives_no_proof(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fencing, "_PAUSE", 0.1)
    with pytest.raises(Refused, match=r"says that it has switched kvm1 off, but 1 s later it reads the power as on"):
        prove(lab.entry(mode="lies"), timeout=1)


def test_a_host_that_still_answers_is_not_off_whatever_the_agent_reads(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(Refused, match=f"reads off, but it still answers: port {port} of 127.0.0.1"):
            prove(lab.entry(), answers=lambda: answering("127.0.0.1", port))
    assert prove(lab.entry(), answers=lambda: answering("127.0.0.1", port)).by == str(lab.program)


def test_a_reading_that_fails_for_a_moment_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fencing, "_PAUSE", 0.05)
    assert prove(lab.entry(mode="deaf once")).kind == "fence"
    assert [action for action, _options, _argv in lab.asked()] == ["metadata", "off", "status", "status"]


def test_the_next_level_is_tried_and_all_reasons_are_told(lab: Lab) -> None:
    proof = prove([lab.entry(mode="refuses"), lab.entry(plug="pdu-3")])
    assert proof.level == 2

    with pytest.raises(Refused) as refused:
        prove([lab.entry(mode="refuses"), {"agent": "fence_ipmilanx"}, {"agent": "/no/such/agent"}])
    assert f"{lab.program} could not switch the power off: Timed out waiting to power OFF" in str(refused.value)
    assert "the controller has no fence agent 'fence_ipmilanx'" in str(refused.value)
    assert "the controller has no fence agent '/no/such/agent'" in str(refused.value)


def test_of_two_power_supplies_both_must_read_off(lab: Lab) -> None:
    one, two = lab.entry(plug="a"), lab.entry(plug="b")
    assert prove([[one, two]]).by == f"{lab.program}, {lab.program}"
    lab.power("on", "a")
    lab.power("on", "b")
    with pytest.raises(Refused, match="Timed out waiting to power OFF"):
        prove([[one, {**two, "mode": "refuses"}]])


def test_a_wrong_password_is_one_sentence_without_it(lab: Lab) -> None:
    with pytest.raises(Refused) as refused:
        prove(lab.entry(password="guessed"))
    assert str(refused.value) == (
        f"kvm1 is not proven to be off: {lab.program} could not switch the power off: Unable to log in with ***"
    )


def test_an_agent_that_hangs_is_ended_with_what_it_has_started(lab: Lab) -> None:
    with pytest.raises(Refused, match=r"did not answer action=off within 0\.5 s"):
        prove(lab.entry(mode="hangs"), timeout=0.5)
    child = int((lab.folder / "child").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.02)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return "(sleep) Z" not in Path(f"/proc/{pid}/stat").read_text()


def test_exit_code_two_of_a_program_that_was_misunderstood_is_not_off(lab: Lab) -> None:
    with pytest.raises(FlotillaError, match="could not read the power: usage"):
        Agent(str(lab.program), {"mode": "usage", "password": SECRET}).power(5)


def test_a_program_that_is_no_agent_is_said_so(tmp_path: Path) -> None:
    program = tmp_path / "fence_none"
    program.write_text("#!/bin/sh\ncat >/dev/null\n")
    program.chmod(0o755)
    with pytest.raises(Refused, match="is no fence agent: it does not answer action=metadata"):
        prove({"agent": str(program)})


def test_without_agents_there_is_no_proof() -> None:
    with pytest.raises(InvalidInput, match=r"kvm1 has no compute_fence.*being out of reach is no proof"):
        prove(None)


def test_values_keep_their_spaces_and_quotes() -> None:
    """Agents strip a line, and one pair of quotes around a value (fencing.py of fence-agents, _parse_input_stdin)."""
    from ansible_collections.flotilla.compute.plugins.plugin_utils._fence_agent import _quoted

    for value in ("plain", ' "spaced" ', '"quoted"', "a=b", "", '"'):
        line = f"x={_quoted(value)}".strip().split("=", 1)[1]
        read = line[1:-1] if len(line) > 1 and line[0] == line[-1] == '"' else line
        assert read == value


def test_looking_switches_nothing_and_tells_each_level(lab: Lab) -> None:
    lab.power("off", "kvm2")
    fences = {
        "kvm1": Fence([lab.entry(), lab.entry(password="guessed")], 5),
        "kvm2": Fence(lab.entry(plug="kvm2"), 5),
        "kvm3": Fence(None, 5),
    }
    found = [(one.host, one.level, one.power) for one in look_at_all(fences)]
    assert found == [("kvm1", 1, "on"), ("kvm1", 2, "unknown"), ("kvm2", 1, "off"), ("kvm3", 0, "unknown")]
    assert {action for action, _options, _argv in lab.asked()} == {"metadata", "status"}


def test_no_repr_has_a_password(lab: Lab) -> None:
    levels = [lab.entry()]
    assert SECRET not in repr([Fence(levels, 5), Agent("fence_test", lab.entry()), look("kvm1", levels, timeout=5)])


def test_an_operators_word_bears_a_name_and_a_reason() -> None:
    proof = operator_proof("kvm1", by="ada", reason="pulled both plugs", at=7.0)
    assert proof.sentence() == "ada says that kvm1 is off: pulled both plugs"
    assert Proof.from_json(json.loads(json.dumps(proof.to_json()))) == proof
    for by, reason in (("", "pulled"), ("ada", "  ")):
        with pytest.raises(InvalidInput, match="the name of who says so, and a reason"):
            operator_proof("kvm1", by=by, reason=reason, at=7.0)
