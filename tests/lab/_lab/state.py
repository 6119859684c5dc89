# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which labs there are: their state files, the numbers they hold, and the lock around all that changes them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import typing as t
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import LabError
from .layout import DEFAULT_LAB, PRIVATE_FILES, PRIVATE_FOLDERS, ROOT, Host, Lab, lab_name
from .run import succeeds

STATE_FILE = "state.json"
MOUNT_POINTS_FILE = ROOT / "mount-points.json"
NETNS_FOLDER = "/run/netns"
LAST_NUMBER = 255


@dataclass(frozen=True)
class State:
    """What is known of a lab beyond its name."""

    number: int
    hosts: int
    boot_id: str
    ready: bool = False

    @property
    def is_stale(self) -> bool:
        """Of an earlier life of the machine: folders are there, processes and links are not."""
        return self.boot_id != boot_id()


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextlib.contextmanager
def lock() -> t.Iterator[None]:
    """One change at a time on this machine. Held for a second or two; a killed holder frees it."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(name: str) -> State | None:
    """The state of a lab; None when there is none that can be read (a half-done `up` may leave an empty file)."""
    try:
        return State(**json.loads((ROOT / name / STATE_FILE).read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def write(name: str, state: State) -> None:
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{STATE_FILE}.new"
    fresh.write_text(json.dumps(asdict(state)) + "\n")
    os.replace(fresh, folder / STATE_FILE)


def all_states() -> dict[str, State]:
    """The state of each lab on this machine, by name."""
    names = (file.parent.name for file in ROOT.glob(f"*/{STATE_FILE}"))
    return {name: state for name in names if (state := read(name)) is not None}


def free_number(name: str) -> int:
    """The number for a new lab: the default lab always has 0, so that its addresses are known."""
    if name == DEFAULT_LAB:
        return 0
    taken = {state.number for other, state in all_states().items() if other != name}
    free = next((number for number in range(1, LAST_NUMBER + 1) if number not in taken), None)
    if free is None:
        raise LabError(f"All {LAST_NUMBER} networks for labs are taken: take one down (`FLOTILLA_LAB=NAME lab down`).")
    return free


def running() -> tuple[Lab, list[Host]]:
    """The lab that the environment names and its hosts; it must be up."""
    name = lab_name()
    state = read(name)
    if state is None or not state.ready or state.is_stale:
        raise LabError(f"Lab {name!r} is not up: start it with `lab up --hosts 3`.")
    lab = Lab(name, state.number)
    return lab, lab.hosts(state.hosts)


def running_host(host_name: str) -> Host:
    lab, hosts = running()
    for host in hosts:
        if host.name == host_name:
            return host
    names = ", ".join(host.name for host in hosts)
    raise LabError(f"Lab {lab.name!r} has no host {host_name!r}: its hosts are {names}.")


def make_mount_points() -> None:
    """The folders and files that hosts bind over; what the machine lacked is noted, to be removed with the last lab."""
    missing = [path for path in PRIVATE_FOLDERS + PRIVATE_FILES if not os.path.lexists(path)]
    if not os.path.ismount(NETNS_FOLDER):
        missing.append(NETNS_FOLDER)
    if not missing:
        return
    noted = _noted_mount_points()
    MOUNT_POINTS_FILE.write_text(json.dumps([*noted, *missing]) + "\n")
    for path in missing:
        if path in PRIVATE_FOLDERS:
            os.makedirs(path)
        elif path in PRIVATE_FILES:
            Path(path).touch(mode=0o600)


def remove_mount_points() -> None:
    """Removes what `make_mount_points` made, unless something was put there since or another lab stands on it."""
    if all_states():
        return
    for path in _noted_mount_points():
        with contextlib.suppress(OSError):
            if path in PRIVATE_FOLDERS:
                os.rmdir(path)
            elif path == NETNS_FOLDER:
                _remove_netns_folder()
            elif os.path.getsize(path) == 0:
                os.unlink(path)
    MOUNT_POINTS_FILE.unlink(missing_ok=True)


def _remove_netns_folder() -> None:
    """`ip netns` mounts its folder at its first use; it goes again when nobody has a namespace in it."""
    if not os.listdir(NETNS_FOLDER):
        succeeds("umount", NETNS_FOLDER)
        os.rmdir(NETNS_FOLDER)


def _noted_mount_points() -> list[str]:
    try:
        return t.cast("list[str]", json.loads(MOUNT_POINTS_FILE.read_text()))
    except (FileNotFoundError, ValueError):
        return []
