# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watcher over real sockets: which answers are beats, what it reads of an inventory, and the plain command."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.watching import Decision, Rules
from ansible_collections.flotilla.compute.plugins.plugin_utils import _watch
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger
from ansible_collections.flotilla.compute.plugins.plugin_utils._watch import (
    Options,
    Target,
    options_of,
    out_of_service,
    targets_of,
    watch,
)

COLLECTION = Path(_watch.__file__).parents[2]


class Daemon:
    """What listens on a port of this machine, and says this to each that comes."""

    def __init__(self, greeting: bytes) -> None:
        self.visited = visited = threading.Event()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    self.request.sendall(greeting)
                    self.request.recv(1)  # until the watcher has read it and is gone
                visited.set()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def die_once_seen(self) -> None:
        """In a thread of its own: one that was never seen is not evacuated."""

        def run() -> None:
            self.visited.wait(60)
            self.die()

        threading.Thread(target=run, daemon=True).start()

    def die(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def daemons() -> t.Iterator[list[Daemon]]:
    made = [Daemon(b"SSH-2.0-test\r\n") for dummy in range(3)]
    yield made
    for daemon in made:
        with contextlib.suppress(OSError):
            daemon.die()


def target(host: str, port: int) -> Target:
    return Target(host, (_watch.Path("SSH", "127.0.0.1", port, b"SSH-"),))


def all_serve(_hosts: t.Sequence[str]) -> dict[str, str]:
    return {}


async def first(wanted: str, targets: t.Sequence[Target], options: Options, asks: _watch.Asks = all_serve) -> Decision:
    """The first decision of a kind."""
    async for decision in watch(targets, options, asks=asks):
        if decision.kind == wanted:
            return decision
    raise AssertionError("a watcher never ends")


def test_a_host_that_dies_is_noticed(daemons: list[Daemon]) -> None:
    targets = [target(f"kvm{number}", daemon.port) for number, daemon in enumerate(daemons, 1)]
    daemons[1].die_once_seen()
    decision = asyncio.run(asyncio.wait_for(first("evacuate", targets, Options(("x",), interval=0.5, timeout=0.5)), 60))
    assert decision.host == "kvm2"


def test_a_host_in_maintenance_is_left_and_a_ledger_that_is_away_is_told(daemons: list[Daemon]) -> None:
    targets = [target(f"kvm{number}", daemon.port) for number, daemon in enumerate(daemons, 1)]
    options = Options(("x",), Rules(misses=2), interval=0.3, timeout=0.3)
    daemons[1].die_once_seen()
    asked: list[t.Sequence[str]] = []

    def asks(hosts: t.Sequence[str]) -> dict[str, str]:
        asked.append(hosts)
        if len(asked) == 1:
            return {"kvm2": "it is in maintenance"}
        raise FlotillaError("no ledger")

    decision = asyncio.run(asyncio.wait_for(first("left", targets, options, asks), 60))
    assert (decision.host, asked) == ("kvm2", [("kvm2",)])
    daemons[1] = Daemon(b"SSH-2.0-test\r\n")
    targets[1] = target("kvm2", daemons[1].port)
    daemons[1].die_once_seen()
    decision = asyncio.run(asyncio.wait_for(first("ask", targets, options, asks), 60))
    assert (decision.host, decision.reason) == ("kvm2", "kvm2: no ledger")


def answers(way: _watch.Path) -> bool:
    return asyncio.run(_watch._answers(way, 0.3))


def test_what_greets_otherwise_or_not_at_all_is_no_beat(daemons: list[Daemon]) -> None:
    other = Daemon(b"HTTP/1.1 400\r\n")
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    assert answers(_watch.Path("SSH", "127.0.0.1", daemons[0].port, b"SSH-"))
    assert not answers(_watch.Path("SSH", "127.0.0.1", other.port, b"SSH-"))
    assert not answers(_watch.Path("SSH", "127.0.0.1", port, b"SSH-")), "its kernel answers, its sshd does not"
    assert answers(_watch.Path("libvirt", "127.0.0.1", port)), "libvirt waits to be spoken to"
    silent.close()
    assert not answers(_watch.Path("libvirt", "127.0.0.1", port))
    assert not answers(_watch.Path("SSH", "no.such.name.invalid", 22, b"SSH-"))
    other.die()


INVENTORY: dict[str, t.Any] = {
    "computes": {
        "children": {
            "rack1": {
                "hosts": {
                    "kvm1": {"ansible_host": "192.0.2.11", "compute_migration_uri": "qemu+tls://10.0.0.11/system"},
                    "kvm2": {"ansible_port": 2222, "compute_migration_uri": "qemu+ssh://kvm2/system"},
                }
            }
        },
        "hosts": {
            "kvm3": {"compute_migration_uri": "qemu+tcp://kvm3:16000/system"},
            "kvm4": {"compute_state": "maintenance"},
        },
    },
    "servers": {"hosts": {"web1": None}},
}


def inventory(folder: Path, content: t.Any = None) -> str:
    file = folder / "hosts.yml"
    file.write_text(json.dumps(content or INVENTORY))
    return str(file)


def test_targets_are_the_hosts_of_the_inventory_with_their_ways(tmp_path: Path) -> None:
    found = targets_of([inventory(tmp_path)])
    ways = {one.host: [(way.name, way.address, way.port) for way in one.paths] for one in found}
    assert ways == {
        "kvm1": [("SSH", "192.0.2.11", 22), ("libvirt", "10.0.0.11", 16514)],
        "kvm2": [("SSH", "kvm2", 2222)],
        "kvm3": [("SSH", "kvm3", 22), ("libvirt", "kvm3", 16000)],
        "kvm4": [("SSH", "kvm4", 22)],
    }


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"ansible_host": "{{ x }}"}, "ansible_host of kvm1 is a template"),
        ({"ansible_port": "22a"}, "ansible_port of kvm1 is '22a', allowed is a port from 1 to 65535"),
        (
            {"compute_migration_uri": "qemu+tls://kvm1:port/system"},
            r"compute_migration_uri of kvm1 is 'qemu\+tls://kvm1:port/system', which is no URI",
        ),
    ],
)
def test_a_host_that_cannot_be_watched_is_told(variables: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        _watch._target("kvm1", variables)


def test_an_inventory_without_hosts_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no hosts, so there is nothing to watch"):
        targets_of([inventory(tmp_path, {"servers": {"hosts": {"web1": None}}})])


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({}, "the watcher needs the option inventory"),
        ({"inventory": "x", "mises": 3}, "the watcher has no option 'mises'; did you mean 'misses'"),
        ({"inventory": "x", "misses": 0}, "the watcher's misses is 0, allowed is a whole number above 0"),
        ({"inventory": "x", "misses": "2.5"}, "misses is '2.5', allowed is a whole number above 0"),
        ({"inventory": "x", "max_unreachable": 20}, "is a share of the fleet up to 1"),
        ({"inventory": "x", "interval": 2}, "its timeout is 5 s and its interval 2 s"),
    ],
)
def test_an_option_that_is_no_good_is_told(
    args: dict[str, t.Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    with pytest.raises(InvalidInput, match=sentence):
        options_of(args)


def test_options_as_text_are_what_they_stand_for() -> None:
    options = options_of({"inventory": "inv", "misses": "4", "interval": "20", "max_unreachable": "0.5"})
    assert options == Options(("inv",), Rules(misses=4, max_unreachable=0.5), interval=20.0)


def test_ansible_says_what_inventory_and_ledger_have_out_of_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real ansible, over a ledger whose URL is a template."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    ledger = Ledger.open(url, create=True)
    assert ledger is not None
    ledger.establish("office")
    for host, state in {"kvm1": "enabled", "kvm2": "maintenance", "kvm3": "enabled"}.items():
        ledger.set_service(host, state, "drained by ann" if state == "maintenance" else None)
    ledger.hold_host(ledger.start_run("drain"), "kvm3")
    hosts = {f"kvm{n}": {"compute_state": "disabled"} if n == 4 else {} for n in range(1, 6)}
    here = {"fleet_name": "office", "folder": str(tmp_path), "fleet_ledger": "sqlite:///{{ folder }}/fleet.db"}
    source = inventory(tmp_path, {"all": {"vars": here}, "computes": {"hosts": hosts}})
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    found = out_of_service([source], sorted(hosts))
    assert found.pop("kvm3").startswith("it is in maintenance (emptied or filled again by run ")
    assert found == {"kvm2": "it is in maintenance (drained by ann)", "kvm4": "it is disabled"}
    with pytest.raises(FlotillaError, match=r"whether they are in service can't be read, ansible ended with 2"):
        out_of_service([source], ["kvm9"])


def test_the_event_source_puts_what_is_decided(daemons: list[Daemon], monkeypatch: pytest.MonkeyPatch) -> None:
    file = COLLECTION / "extensions" / "eda" / "plugins" / "event_source" / "watch.py"
    spec = importlib.util.spec_from_file_location("watch", file)
    assert spec is not None
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    targets = [target(f"kvm{number}", daemon.port) for number, daemon in enumerate(daemons, 1)]
    args = {"inventory": "hosts.yml", "interval": 0.5, "timeout": 0.5}
    monkeypatch.setattr(_watch, "_output", lambda *_given: 'localhost | SUCCESS => {"services": []}')
    monkeypatch.setattr(source, "targets_of", lambda _inventory: targets)

    async def events() -> list[dict[str, t.Any]]:
        queue: asyncio.Queue[dict[str, t.Any]] = asyncio.Queue()
        task = asyncio.create_task(source.main(queue, args))
        daemons[2].die_once_seen()
        found = [await queue.get()]
        while found[-1]["flotilla"]["kind"] != "evacuate":
            found.append(await queue.get())
        task.cancel()
        return found

    found = asyncio.run(asyncio.wait_for(events(), 120))
    assert found[-1]["flotilla"]["host"] == "kvm3"
    assert {event["flotilla"]["kind"] for event in found[:-1]} == {"sees", "missed"}


def test_the_plain_command_calls_the_playbook_for_a_host_that_died(tmp_path: Path, daemons: list[Daemon]) -> None:
    hosts = {
        f"kvm{number}": {"ansible_host": "127.0.0.1", "ansible_port": daemon.port}
        for number, daemon in enumerate(daemons, 1)
    }
    (tmp_path / "bin").mkdir()
    called = tmp_path / "called"
    program = tmp_path / "bin" / "ansible-playbook"
    program.write_text(f'#!/bin/sh\necho "$@" >{called}\n')
    program.chmod(0o755)
    asked = tmp_path / "bin" / "ansible"
    asked.write_text("#!/bin/sh\necho 'localhost | SUCCESS => {\"services\": []}'\n")
    asked.chmod(0o755)
    source = inventory(tmp_path, {"computes": {"hosts": hosts}})
    tools = str(Path(sys.executable).parent)
    command = [sys.executable, str(COLLECTION / "extensions" / "watcher" / "watch"), "-i", source]
    command += ["--interval", "0.5", "--timeout", "0.5", "--", "-e", "fleet_allow=data_loss"]
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{tools}:{os.environ['PATH']}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while len(lines) < 3:
            lines.append(process.stdout.readline())
        assert all("watching kvm" in line for line in lines)
        daemons[0].die_once_seen()
        while "kvm1 is evacuated" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "the watcher ended"
        process.terminate()
    given = "-e fleet_host=kvm1 -e fleet_unattended=true -e fleet_allow=data_loss"
    assert called.read_text() == f"-i {source} flotilla.compute.evacuate {given}\n"
