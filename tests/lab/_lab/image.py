# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tiny guest image: Debian's cloud kernel and an initramfs on a FAT partition that syslinux boots.

Nothing is mounted and no loop device is used: mtools and syslinux work inside the file. The result is named by its
inputs and kept in the cache, and so is the kernel: a cached one is not exchanged for a newer one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import struct
import tempfile
import typing as t
from pathlib import Path

from . import initramfs
from .errors import LabError
from .layout import CACHE
from .run import run

KERNEL_PACKAGE = "linux-image-cloud-amd64"
KERNEL = CACHE / "kernel"
MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")

SECTOR = 512
DISK_SECTORS = 32 * 2048
PARTITION_START = 2048
PARTITION_SECTORS = DISK_SECTORS - PARTITION_START
FAT16_LBA = 0x0E
BOOTABLE = 0x80
# The guest counts its boots here, in the gap before the partition (guest/init knows the same place).
MARK_SECTOR = 1024
MARK = b"flotilla-boots 0\0"

# The kernel's timer check, its mitigations and IRQ routing by ACPI (0.2 s for each virtio device) cost seconds under
# emulation and gain a guest of a lab nothing.
KERNEL_ARGUMENTS = (
    "console=ttyS0,115200 quiet no_timer_check acpi=noirq mitigations=off nokaslr tsc=reliable 8250.nr_uarts=1 "
    "random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1 rdinit=/init panic=1"
)
BOOT_CONFIG = f"DEFAULT tick\nPROMPT 0\nLABEL tick\n  LINUX vmlinuz\n  INITRD initrd\n  APPEND {KERNEL_ARGUMENTS}\n"


def build() -> Path:
    """The image's path; built only if there is none of these inputs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with _lock():
        kernel = _kernel()
        image = CACHE / f"tick-{_digest_of_inputs(kernel)}.qcow2"
        if not image.exists():
            _build(kernel, image)
        _link(image)
    return image


def _build(kernel: Path, image: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="build.") as name:
        folder = Path(name)
        initrd = folder / "initrd"
        initrd.write_bytes(initramfs.build(KERNEL / "lib" / "modules"))
        disk = folder / "disk.raw"
        _make_disk(disk, kernel, initrd)
        fresh = folder / image.name
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(disk), str(fresh))
        shutil.copy(kernel, image.with_suffix(".vmlinuz"))
        os.replace(initrd, image.with_suffix(".initrd"))
        image.with_suffix(".sha256").write_text(f"{hashlib.sha256(fresh.read_bytes()).hexdigest()}  {image.name}\n")
        os.replace(fresh, image)


def _make_disk(disk: Path, kernel: Path, initrd: Path) -> None:
    with open(disk, "wb") as file:
        file.truncate(DISK_SECTORS * SECTOR)
        file.write(_boot_sector())
        file.seek(MARK_SECTOR * SECTOR)
        file.write(MARK)
    offset = PARTITION_START * SECTOR
    partition = f"{disk}@@{offset}"
    geometry = ("-T", str(PARTITION_SECTORS), "-h", "64", "-s", "32", "-H", str(PARTITION_START), "-N", "f1071114")
    run("mformat", "-i", partition, *geometry, "::", env=_REPEATABLE)
    config = disk.with_name("syslinux.cfg")
    config.write_text(BOOT_CONFIG)
    for source, target in ((kernel, "vmlinuz"), (initrd, "initrd"), (config, "syslinux.cfg")):
        run("mcopy", "-i", partition, str(source), f"::{target}", env=_REPEATABLE)
    run("syslinux", "--install", "--offset", str(offset), str(disk), env=_REPEATABLE)


def _boot_sector() -> bytes:
    """An MBR: boot code and one active partition, told by its sectors (the CHS fields say: look at those)."""
    code = MBR_CODE.read_bytes()[:440].ljust(446, b"\0")
    far = b"\xfe\xff\xff"
    entry = struct.pack("<B3sB3sII", BOOTABLE, far, FAT16_LBA, far, PARTITION_START, PARTITION_SECTORS)
    return code + entry + bytes(48) + b"\x55\xaa"


def _digest_of_inputs(kernel: Path) -> str:
    digest = hashlib.sha256()
    sources = [Path(__file__), Path(initramfs.__file__), *sorted(initramfs.SCRIPTS.iterdir())]
    for file in (kernel, initramfs.BUSYBOX, MBR_CODE, *sources):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _kernel() -> Path:
    """Debian's cloud kernel, taken out of its package: nothing is installed."""
    if found := sorted(KERNEL.glob("boot/vmlinuz-*")):
        return found[-1]
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="kernel.") as name:
        folder = Path(name)
        # apt downloads as a user of its own, who must be able to write here.
        folder.chmod(0o777)
        _download(_kernel_package(), folder)
        unpacked = folder / "unpacked"
        run("dpkg-deb", "--extract", str(next(folder.glob("*.deb"))), str(unpacked))
        shutil.rmtree(KERNEL, ignore_errors=True)
        os.replace(unpacked, KERNEL)
    return max(KERNEL.glob("boot/vmlinuz-*"))


def _kernel_package() -> str:
    """The package behind the metapackage."""
    answer = run("apt-cache", "depends", "--important", KERNEL_PACKAGE)
    names = [line.split()[-1] for line in answer.splitlines() if line.strip().startswith("Depends:")]
    if not names:
        raise LabError(
            f"apt knows no package {KERNEL_PACKAGE}, which the guest's kernel is taken from: try `apt-get update`."
        )
    return names[0]


def _download(package: str, folder: Path) -> None:
    try:
        run("env", "-C", str(folder), "apt-get", "-q", "download", package)
    except LabError as error:
        raise LabError(f"The guest's kernel can't be downloaded (try `apt-get update`): {error}") from None


def _link(image: Path) -> None:
    """The names that stay: tick.qcow2 and its companions point to the image of today."""
    for suffix in (".qcow2", ".sha256", ".vmlinuz", ".initrd"):
        link = CACHE / f"tick{suffix}"
        target = image.with_suffix(suffix).name
        if link.is_symlink() and os.readlink(link) == target:
            continue
        fresh = CACHE / f".tick{suffix}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        os.replace(fresh, link)


@contextlib.contextmanager
def _lock() -> t.Iterator[None]:
    """One builder at a time."""
    with open(CACHE / ".lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_REPEATABLE = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "SOURCE_DATE_EPOCH": "0",
    "MTOOLS_SKIP_CHECK": "1",
}
