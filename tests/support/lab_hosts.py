# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab of the tests' own: real hosts, what is on them, and faults."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from tests.support.world import Host, World

LAB = Path(__file__).resolve().parents[1] / "lab" / "lab"
LOOK = Path(__file__).with_name("look.py")
PYTHON = "/usr/bin/python3"  # the one that has libvirt, on hosts as here
POOLS = ("local", "shared")
_NETWORKS = ("default",)


class Lab:
    """The lab *name*. ``control`` is where its warm SSH connections have their sockets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sockets = Path(tempfile.mkdtemp(prefix="fl-"))  # short: a socket's path has 108 bytes
        self._turn = 0
        self.facts: dict[str, t.Any] = {}
        self.inventory = ""

    def up(self, hosts: int) -> None:
        self._take()
        self.anew(hosts)

    def anew(self, hosts: int = 3) -> None:
        """Hosts that nobody has ever touched, whatever was done to those before them."""
        self("down")
        self.ok("up", "--hosts", str(hosts))
        self.facts = json.loads(self.ok("status", "--json"))
        self.inventory = self.ok("inventory")
        self._turn += 1

    def _take(self) -> None:
        """Two runs of the tests on one machine would take each other's hosts away. The lock ends with the process."""
        self._lock = open(f"/run/lock/flotilla-tests-{self.name}", "w", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AssertionError(
                f"other tests are using the lab {self.name!r}: wait for their end, or name another one by FLOTILLA_LAB"
            ) from None

    def down(self) -> None:
        shutil.rmtree(self._sockets, ignore_errors=True)
        self.ok("down")

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(LAB), *arguments],
            input=stdin,
            env={**os.environ, "FLOTILLA_LAB": self.name},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def ok(self, *arguments: str, stdin: str = "") -> str:
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, f"lab {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def virsh(self, host: str, *arguments: str) -> str:
        """virsh at a host, past Flotilla: what a person does by hand."""
        return _ran(["virsh", "-q", "-c", self.uri(host), *arguments])

    def virsh_inside(self, host: str, *arguments: str) -> str:
        """virsh in the host itself, where other hosts are known by their names."""
        return self.ok("exec", host, "virsh", "-q", *arguments)

    # -- what is there ------------------------------------------------------------------------------------------

    @property
    def hosts(self) -> list[str]:
        return list(self.facts["hosts"])

    @property
    def control(self) -> Path:
        """The folder of warm SSH connections; a new one after a fault, since the old ones lead nowhere."""
        folder = self._sockets / str(self._turn)
        folder.mkdir(exist_ok=True)
        return folder

    def tree(self, host: str, path: str) -> Path:
        """A host's own file, as this machine sees it."""
        return Path(self.facts["folder"]) / "hosts" / host / "tree" / path.lstrip("/")

    def pool(self, name: str, host: str) -> Path:
        if name == "shared":
            return Path(self.facts["folder"]) / "shared"
        return self.tree(host, f"/var/lib/libvirt/pools/{name}")

    def look(self, *hosts: str) -> World:
        """All domains and volumes of the hosts (those that are on), read with libvirt."""
        found = self._libvirt("look", [host for host in hosts or self.hosts if self.is_on(host)])
        return World({name: Host.of(name, told, self._marker(name)) for name, told in found.items()})

    def _marker(self, host: str) -> dict[str, t.Any] | None:
        file = self.tree(host, "/var/lib/flotilla/host.json")
        return json.loads(file.read_text()) if file.exists() else None

    def _libvirt(self, deed: str, hosts: t.Iterable[str]) -> dict[str, t.Any]:
        asked = {"deed": deed, "uris": {host: self.uri(host) for host in hosts}, "keep": [*POOLS, *_NETWORKS]}
        found: dict[str, t.Any] = json.loads(_ran([PYTHON, str(LOOK), json.dumps(asked)]))
        return found

    def uri(self, host: str) -> str:
        """By the host's own socket, which a cut link leaves alone."""
        first = self._first_process(host)
        assert first is not None, f"{host} is off"
        return f"qemu+unix:///system?socket=/proc/{first}/root/run/libvirt/libvirt-sock"

    def is_on(self, host: str) -> bool:
        return self._first_process(host) is not None

    def _first_process(self, host: str) -> str | None:
        """The host's process number 1, by this machine's count: the only child of what the lab started."""
        try:
            started = (Path(self.facts["folder"]) / "hosts" / host / "pid").read_text().split()[0]
            children = Path(f"/proc/{started}/task/{started}/children").read_text().split()
        except FileNotFoundError:
            return None
        return children[0] if children else None

    def processes(self, host: str) -> dict[int, str]:
        """The host's processes by this machine's pids, with their command lines."""
        first = self._first_process(host)
        space = os.readlink(f"/proc/{first}/ns/pid")
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if os.readlink(folder / "ns/pid") == space:
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def modules(self, host: str) -> int:
        """How many modules are at work on a host. Each is a Python that reads it from its standard input (Ansible's
        pipelining): its command line doesn't say which."""
        return sum(command.startswith("/usr/bin/python3") for command in self.processes(host).values())

    def files(self, host: str) -> dict[str, bytes]:
        """Every file that Flotilla has written on a host beside libvirt's own, and its pools' contents."""
        folders = [self.tree(host, "/var/lib/flotilla"), *(self.pool(pool, host) for pool in POOLS)]
        return {
            str(file): file.read_bytes()
            for folder in folders
            for file in sorted(folder.rglob("*"))
            if file.is_file() and not file.name.startswith("image-")
        }

    # -- guests -------------------------------------------------------------------------------------------------

    def console(self, host: str, server_id: str) -> str:
        """What the guest has written on its serial console on that host since its last start."""
        file = self.tree(host, f"/var/log/libvirt/qemu/{server_id}.console.log")
        return file.read_text(errors="replace").replace("\r\n", "\n") if file.exists() else ""

    def wait_for(self, host: str, server_id: str, text: str, *, times: int = 1, timeout: float = 90) -> str:
        """Until the guest has written *text* so many *times*; gives the whole console."""
        until(
            lambda: self.console(host, server_id).count(text) >= times,
            lambda: f"{server_id} on {host} to say {text!r} {times} times; it said:\n{self.console(host, server_id)}",
            timeout,
        )
        return self.console(host, server_id)

    # -- faults -------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """All hosts on, joined and with their daemons, whatever the test before has done."""
        status = json.loads(self.ok("status", "--json"))["hosts"]
        for host, facts in status.items():
            if facts["link"] == "cut":
                self.ok("join", host)
            if facts["power"] == "off":
                self.ok("power", "on", host)
            elif facts["libvirtd"] != "runs":
                self.ok("restart", host)
            if (facts["link"], facts["power"]) != ("up", "on"):
                self._turn += 1

    def wipe(self) -> None:
        """As if no fleet had ever been here."""
        self._libvirt("wipe", self.hosts)
        for host in self.hosts:
            for folder in ("/var/lib/flotilla", "/var/log/libvirt/qemu", "/tmp", "/var/tmp"):
                _empty(self.tree(host, folder))
            for pool in POOLS:
                _empty(self.pool(pool, host))
        self._libvirt("look", self.hosts)  # which refreshes the pools


@contextlib.contextmanager
def running_lab(name: str, hosts: int = 3) -> t.Iterator[Lab]:
    """A lab for as long as tests need it; the runs of Ansible that they make know of none by their environment."""
    made = Lab(name)
    os.environ.pop("FLOTILLA_LAB", None)
    try:
        made.up(hosts=hosts)
        yield made
    finally:
        made.down()


def until(reached: t.Callable[[], bool], what: t.Callable[[], str] | str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _ran(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
