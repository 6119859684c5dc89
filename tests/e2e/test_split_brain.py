# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host is cut off the network and its guest runs on: whatever people do then, it never runs twice. The guest keeps a
journal on its disk and sends it into the network, and the kernel tells who may write to the disk."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import typing as t
from pathlib import Path

import pytest
from tests.e2e.test_fencing import lab_agent
from tests.support.fleet import Fleet
from tests.support.lab_hosts import until

# In the gap between the guest's count of its boots and its first partition.
_FIRST, _ROOM, _SECTOR = 1100, 900, 512
#: QEMU's own: who may write to an image has a shared lock on this byte of it (block/file-posix.c, RAW_LOCK_PERM_BASE).
_MAY_WRITE = 101

_JOURNAL = f"""#!/bin/sh
# flotilla-guest: run
PATH=/bin
boot=$(cat /proc/sys/kernel/random/boot_id)
for disk in vda sda; do [ ! -e /dev/$disk ] || break; done
entry() {{ dd if=/dev/$disk bs={_SECTOR} skip=$1 count=1 2> /dev/null | tr -d '\\0'; }}
at={_FIRST}
while [ -n "$(entry $at)" ]; do at=$((at + 1)); done
while [ $at -lt {_FIRST + _ROOM} ]; do
    echo "$boot $at" | dd of=/dev/$disk bs={_SECTOR} seek=$at conv=notrunc,fsync 2> /dev/null
    echo "$boot $at" | busybox nc -w 1 GATEWAY PORT
    at=$((at + 1))
    busybox sleep 0.2
done
"""


class Listener:
    """What guests send into the network, in the order in which it comes in."""

    def __init__(self, address: str) -> None:
        self._socket = socket.create_server((address, 0))
        self._socket.settimeout(0.2)
        self.address, self.port = self._socket.getsockname()
        self.heard: list[str] = []

    def listen(self, over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _peer = self._socket.accept()
                with connection:
                    connection.settimeout(2)
                    self.heard += connection.recv(100).decode().splitlines()
        self._socket.close()


class Writers:
    """How many open images of the same file could be written to, by the kernel's own table, again and again."""

    def __init__(self, file: Path) -> None:
        found = file.stat()
        device = found.st_dev
        self._file = f"{os.major(device):02x}:{os.minor(device):02x}:{found.st_ino}"
        self.seen: list[int] = []

    @property
    def now(self) -> int:
        found = 0
        for line in Path("/proc/locks").read_text().splitlines():
            # 12: OFDLCK ADVISORY  READ -1 fe:00:1234 100 101
            *_kind, file, first, last = line.split()
            found += file == self._file and int(first) <= _MAY_WRITE <= int(last.replace("EOF", "1000"))
        return found

    def watch(self, over: threading.Event) -> None:
        while not over.wait(0.02):
            self.seen.append(self.now)


@contextlib.contextmanager
def beside(*watching: t.Callable[[threading.Event], None]) -> t.Iterator[None]:
    over = threading.Event()
    threads = [threading.Thread(target=each, args=(over,)) for each in watching]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def journal(fleet: Fleet, host: str, volume: str) -> list[str]:
    """What is in the journal on the disk of a guest that is off, by its first sector and on."""
    raw, disk = "/tmp/journal.raw", f"/var/lib/libvirt/pools/shared/{volume}"
    fleet.lab.ok("exec", host, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw)
    with fleet.lab.tree(host, raw).open("rb") as file:
        file.seek(_FIRST * _SECTOR)
        sectors = file.read(_ROOM * _SECTOR)
    entries = (sectors[at * _SECTOR : (at + 1) * _SECTOR].rstrip(b"\0").decode().strip() for at in range(_ROOM))
    return list(itertools.takewhile(bool, entries))


def boots(entries: t.Iterable[str]) -> list[str]:
    """The boots that wrote the entries, each as often as it began to write."""
    return [boot for boot, _own in itertools.groupby(entry.split()[0] for entry in entries)]


@pytest.mark.soak
def test_a_guest_that_runs_on_in_a_host_cut_off_never_runs_twice(fleet: Fleet) -> None:
    fleet.all["fleet_timeout"] = 20
    listener = Listener(fleet.lab.facts["guest_gateway"])
    script = _JOURNAL.replace("GATEWAY", listener.address).replace("PORT", str(listener.port))
    fleet.declare("web", pool="shared", user_data=script)
    fleet.computes = {"kvm1": {}, "kvm2": {}, "kvm3": {"compute_state": "disabled"}}
    fleet.computes["kvm2"]["compute_state"] = "disabled"
    fleet.reconcile()
    del fleet.computes["kvm2"]["compute_state"]
    server = fleet.look().server("web")
    assert server.host == "kvm1"
    writers = Writers(fleet.lab.pool("shared", "kvm1") / f"{server.id}-root")
    with beside(listener.listen, writers.watch):
        until(lambda: len(listener.heard) > 3, "the guest to be heard in the network")
        fleet.lab.ok("cut", "kvm1")
        ticks = fleet.lab.console("kvm1", server.id).count("tick ")
        fleet.lab.wait_for("kvm1", server.id, "tick ", times=ticks + 3)
        assert writers.now == 1, "the guest that was cut off should write to its disk as before"

        # Without proof, nothing; and who vouches for what isn't so is stopped by the disk's lock.
        assert "unreachable is not dead" in fleet.run("evacuate", fleet_host="kvm1").failed().stdout
        assert "web" not in fleet.lab.look("kvm2").states
        lie = fleet.run("evacuate", fleet_host="kvm1", fleet_fenced="looked off to me").failed()
        assert "lock" in lie.message
        assert fleet.lab.look("kvm2").states.get("web") != "running"
        assert writers.now == 1

        fleet.computes["kvm1"]["compute_fence"] = {"agent": lab_agent(fleet), "plug": "kvm1"}
        assert fleet.run("evacuate", fleet_host="kvm1").ok().all_steps == {"web": ["evacuate"]}
        assert fleet.lab("power", "status", "kvm1").returncode == 2
        until(lambda: len(boots(listener.heard)) == 2, "the guest to be heard from its new host")
        fleet.console("web", "boots=2 ")

        # Its old host is back, with the copy that ran when it was cut off; that doesn't start, and goes.
        fleet.lab.heal()
        fleet.reconcile()
        world = fleet.whole()
        assert (world.states, world.placement) == ({"web": "running"}, {"web": "kvm2"})
        fleet.declare("web", state="stopped")
        fleet.reconcile()

    assert max(writers.seen) == 1, "two could write to one disk"
    proofs = [row.data["proof"]["kind"] for row in fleet.ledger.migrations() if row.status == "completed"]
    assert proofs == ["fence"]
    written = journal(fleet, "kvm2", f"{server.id}-root")
    assert [int(entry.split()[1]) for entry in written] == list(range(_FIRST, _FIRST + len(written)))
    assert boots(written) == boots(listener.heard), "on its disk each boot ends before the next begins"
    assert len(boots(written)) == 2
    assert set(listener.heard) <= set(written)
