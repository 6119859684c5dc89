# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proofs for several hosts, by a fence agent that switches none off until all of its plugs were asked to."""

from __future__ import annotations

import socket
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._fencing import Fence
from ansible_collections.flotilla.compute.plugins.plugin_utils._proof import Proof
from ansible_collections.flotilla.compute.plugins.plugin_utils._proving import Prover, Suspect, Word

PROGRAM = f"""#!{sys.executable} -S
import pathlib, sys, time
here = pathlib.Path(__file__).parent
options = dict(line.rstrip("\\n").split("=", 1) for line in sys.stdin)
if options["action"] == "metadata":
    names = ("action", "plug", "beside")
    print("<resource-agent>" + "".join(f'<parameter name="{{n}}"/>' for n in names) + "</resource-agent>")
    sys.exit(0)
plug = here / options["plug"]
if options["action"] == "off":
    plug.touch()
    deadline = time.monotonic() + 20
    while not (here / options["beside"]).exists():
        if time.monotonic() > deadline:
            sys.exit(1)
        time.sleep(0.01)
print("Status: " + ("OFF" if plug.exists() else "ON"))
sys.exit(2 if plug.exists() else 0)
"""
WORD = Word("Ada", "the rack has no power")


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    program = tmp_path / "fence_pair"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return program


@pytest.fixture
def busy() -> t.Iterator[int]:
    """A port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent() -> t.Iterator[int]:
    """A port of which nobody takes connections, as long as it is held."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def prover(ports: t.Mapping[str, int], word: Word | None = None, fences: t.Mapping[str, t.Any] | None = None) -> Prover:
    suspects = [Suspect(host, "127.0.0.1", port) for host, port in ports.items()]
    return Prover(suspects, word, lambda host: Fence((fences or {}).get(host), 30.0), now=lambda: 42.0)


def pair(agent: Path) -> dict[str, dict[str, str]]:
    one, two = ({"agent": str(agent), "plug": name} for name in ("kvm1", "kvm2"))
    return {"kvm1": {**one, "beside": "kvm2"}, "kvm2": {**two, "beside": "kvm1"}}


def test_hosts_are_fenced_beside_each_other(agent: Path, silent: int) -> None:
    proofs = prover({"kvm1": silent, "kvm2": silent}, fences=pair(agent)).prove(["kvm1", "kvm2"])
    assert proofs == {
        host: Proof("fence", host, str(agent), "its power is off, read back", 42.0, 1) for host in ("kvm1", "kvm2")
    }


def test_no_power_is_touched_where_one_of_the_hosts_has_no_agent(agent: Path, silent: int) -> None:
    fences = {"kvm1": pair(agent)["kvm1"]}
    with pytest.raises(Refused, match="kvm2 doesn't answer, and nothing proves that it is off"):
        prover({"kvm1": silent, "kvm2": silent}, fences=fences).prove(["kvm1", "kvm2"])
    assert not (agent.parent / "kvm1").exists()


def test_a_host_that_still_answers_stands_in_the_way_and_the_others_are_named(
    agent: Path, silent: int, busy: int
) -> None:
    with pytest.raises(Refused) as refused:
        prover({"kvm1": busy, "kvm2": silent}, fences=pair(agent)).prove(["kvm1", "kvm2"])
    assert str(refused.value) == (
        f"kvm1 is not proven to be off: {agent} reads off, but it still answers: port {busy} of 127.0.0.1 takes "
        "connections; kvm2 is proven to be off: -e fleet_host=kvm2 evacuates what was there alone"
    )


@pytest.mark.parametrize("address", ["127.0.0.1", None])
def test_a_word_is_taken_for_a_host_that_is_silent(silent: int, address: str | None) -> None:
    by_word = Prover([Suspect("kvm1", address, silent)], WORD, lambda _host: None, now=lambda: 42.0)
    assert by_word.prove(["kvm1"]) == {"kvm1": Proof("operator", "kvm1", WORD.by, WORD.reason, 42.0, 0)}


def test_no_word_is_taken_for_a_host_that_answers(busy: int) -> None:
    with pytest.raises(Refused, match="Compute service of kvm1 is still in use, whatever was said of it: it still"):
        prover({"kvm1": busy}, WORD).prove(["kvm1"])


def test_silence_that_was_just_heard_is_not_waited_for_again_but_after_a_switch_of_the_power(
    agent: Path, busy: int
) -> None:
    heard = [Suspect("kvm1", "127.0.0.1", busy, silent=True)]
    by_word = Prover(heard, WORD, lambda _host: None, now=lambda: 42.0)
    assert list(by_word.prove(["kvm1"])) == ["kvm1"]
    fence = Fence({"agent": str(agent), "plug": "kvm1"}, 30.0)
    with pytest.raises(Refused, match="reads off, but it still answers"):
        Prover(heard, None, lambda _host: fence, now=lambda: 42.0).prove(["kvm1"])


def test_a_word_needs_a_reason(silent: int) -> None:
    with pytest.raises(InvalidInput, match="that kvm1 is off needs the name of who says so, and a reason"):
        prover({"kvm1": silent}, Word("Ada", " ")).prove(["kvm1"])


def test_a_host_that_need_not_be_dead_may_answer(silent: int, busy: int) -> None:
    assert list(prover({"kvm1": silent, "kvm2": busy}, WORD).prove(["kvm1"])) == ["kvm1"]


def test_what_is_wrong_with_several_is_said_of_each(busy: int) -> None:
    with pytest.raises(FlotillaError) as refused:
        prover({"kvm1": busy, "kvm2": busy}, WORD).prove(["kvm1", "kvm2"])
    assert [f"Compute service of {host} is still in use" in str(refused.value) for host in ("kvm1", "kvm2")] == [
        True
    ] * 2
    assert "proven to be off" not in str(refused.value)
