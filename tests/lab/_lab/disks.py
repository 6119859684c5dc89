# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk for each pool: sparse files with a file system of their own.

Pools on the machine's one file system would all tell its free space, which changes while anything on the machine
writes: hosts would look alike by chance, and a plan made twice would differ.
"""

from __future__ import annotations

from pathlib import Path

from .run import run

SIZE = 256 * 1024**3
MOUNTS = Path("/proc/self/mounts")
# No journal and nothing written ahead: made in hundredths of a second, and never to outlive the machine.
MAKE = ("mkfs.ext4", "-q", "-F", "-m", "0", "-T", "largefile", "-O", "^has_journal")
LAZY = ("-E", "lazy_itable_init=1,nodiscard,root_owner=0:0")


def mount_new(file: Path, folder: Path) -> None:
    """Makes an empty disk in `file` and mounts it on `folder`, which is made too."""
    folder.mkdir(parents=True)
    with open(file, "xb") as disk:
        disk.truncate(SIZE)
    run(*MAKE, *LAZY, str(file))
    # What guests delete is given back to the machine.
    run("mount", "-o", "loop,discard,noatime", str(file), str(folder))
    (folder / "lost+found").rmdir()


def unmount_below(folder: Path) -> None:
    """Unmounts every disk on a folder below; their loop devices go with them."""
    for line in MOUNTS.read_text().splitlines():
        target = line.split()[1]
        if target.startswith(f"{folder}/"):
            run("umount", "--lazy", target)
