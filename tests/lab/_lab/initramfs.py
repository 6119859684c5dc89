# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guest's initramfs: busybox, a few kernel modules in the order they load, and the scripts in guest/."""

from __future__ import annotations

import gzip
import stat
import typing as t
from pathlib import Path

from .errors import LabError
from .run import run

BUSYBOX = Path("/bin/busybox")
SCRIPTS = Path(__file__).with_name("guest")
APPLETS = tuple(
    (
        "awk cat cp cut dd grep hostname insmod ip ipcalc mkdir mount nproc poweroff rm sed sh sha256sum sleep sync "
        "timeout tr udhcpc umount wget"
    ).split()
)
FOLDERS = ("bin", "config", "dev", "drive", "modules", "proc", "sys")
# What the guest's devices and its config drive need; what these depend on is found in the modules themselves.
MODULES = (
    "virtio_pci virtio_blk virtio_net virtio_scsi sd_mod sr_mod isofs vfat nls_cp437 nls_iso8859-1 nls_ascii nls_utf8 "
    "virtio-rng button evdev virtio_balloon virtio_console"
)
CONSOLE_DEVICE = (5, 1)


class Entry(t.NamedTuple):
    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def build(modules_folder: Path) -> bytes:
    """The compressed archive; the same inputs give the same bytes."""
    _check_applets()
    order = modules_in_order(modules_folder)
    scripts = sorted(SCRIPTS.iterdir())
    entries = [
        *(Entry(folder, stat.S_IFDIR | 0o755) for folder in FOLDERS),
        Entry("dev/console", stat.S_IFCHR | 0o600, device=CONSOLE_DEVICE),
        Entry("bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes()),
        *(Entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox") for applet in APPLETS),
        *(Entry(f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes()) for module in order),
        Entry("modules/order", stat.S_IFREG | 0o644, "\n".join(module.name for module in order).encode() + b"\n"),
        *(Entry(script.name, stat.S_IFREG | 0o755, script.read_bytes()) for script in scripts),
    ]
    return gzip.compress(archive(entries), compresslevel=9, mtime=0)


def _check_applets() -> None:
    missing = set(APPLETS) - set(run(str(BUSYBOX), "--list").split())
    if missing:
        raise LabError(f"{BUSYBOX} has no {', '.join(sorted(missing))}: install the package busybox-static.")


def modules_in_order(folder: Path) -> list[Path]:
    """The modules and what they depend on, each after what it needs."""
    files = {_module_name(file.stem): file for file in folder.rglob("*.ko")}
    order: list[Path] = []

    def load(name: str) -> None:
        file = files.get(_module_name(name))
        if file is None:
            raise LabError(f"The guest's kernel has no module {name!r} under {folder}.")
        if file in order:
            return
        for needed in _depends(file):
            load(needed)
        order.append(file)

    for name in MODULES.split():
        load(name)
    return order


def archive(entries: t.Iterable[Entry]) -> bytes:
    """A cpio archive in the `newc` form that the kernel unpacks."""
    parts: list[bytes] = []
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        parts += [_padded(header + name), _padded(entry.content)]
    return b"".join(parts)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _depends(module: Path) -> list[str]:
    """A module names what it depends on in its own `.modinfo`."""
    for field in module.read_bytes().split(b"\0"):
        if field.startswith(b"depends="):
            return [name for name in field.removeprefix(b"depends=").decode().split(",") if name]
    return []


def _module_name(name: str) -> str:
    return name.replace("-", "_")
