# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put before Python's own on a lab host (PYTHONPATH): counts a module's calls that change libvirt, and kills it at one.

The folder of this file has ``calls``, one line for each such call; the module is killed right after the one whose
number ``die_at`` holds, or right before it if ``before`` is there too. It happens once.
"""

from __future__ import annotations

import fcntl
import functools
import os
import pathlib
import signal
import typing as t

FOLDER = pathlib.Path(__file__).parent
CHANGES = {
    "virConnect": ("defineXML", "defineXMLFlags", "createXML", "networkDefineXML", "storagePoolDefineXML"),
    "virDomain": (
        "create",
        "createWithFlags",
        "destroy",
        "destroyFlags",
        "shutdown",
        "shutdownFlags",
        "undefine",
        "undefineFlags",
        "setMetadata",
        "setAutostart",
        "rename",
        "managedSave",
        "managedSaveRemove",
        "backupBegin",
        "attachDeviceFlags",
        "setVcpusFlags",
    ),
    "virStoragePool": ("createXML", "createXMLFrom"),
    "virStorageVol": ("delete", "upload", "resize", "wipe"),
    "virStream": ("finish", "send"),
}


def main() -> None:
    try:
        import libvirt
    except ImportError:
        return
    for kind, names in CHANGES.items():
        for name in names:
            cls = getattr(libvirt, kind)
            if hasattr(cls, name):
                setattr(cls, name, _counted(f"{kind}.{name}", getattr(cls, name)))


def _counted(name: str, call: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    @functools.wraps(call)
    def counted(*args: t.Any, **kwargs: t.Any) -> t.Any:
        if not _changes(name, args[0]):
            return call(*args, **kwargs)
        number = _count(name)
        mine = _is_mine(number)
        if mine and (FOLDER / "before").exists():
            _die()
        result = call(*args, **kwargs)
        if mine:
            _die()
        return result

    return counted


def _changes(name: str, of: t.Any) -> bool:
    """Of a stream that is written to, the first call and its end: an image has hundreds between them, each like the
    other. One that is read from changes nothing."""
    if not name.startswith("virStream."):
        return True
    written = getattr(of, "was_written", False)
    if name == "virStream.send":
        of.was_written = True
        return not written
    return bool(written)


def _count(name: str) -> int:
    """Its number among all calls of all modules on this host."""
    with (FOLDER / "calls").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = len(file.readlines()) + 1
        file.write(f"{name}\n")
    return number


def _is_mine(number: int) -> bool:
    try:
        return int((FOLDER / "die_at").read_text()) == number
    except FileNotFoundError:
        return False


def _die() -> None:
    (FOLDER / "die_at").unlink()
    os.kill(os.getpid(), signal.SIGKILL)


main()
