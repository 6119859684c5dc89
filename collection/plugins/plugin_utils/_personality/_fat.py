# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A FAT file system as a file, by mkfs.fat and mtools: nothing is mounted, and anybody may make one.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError

if t.TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SIZE_MIB", "fat_of"]

#: As large as Nova's (CONFIGDRIVESIZE_BYTES), which is mostly empty.
SIZE_MIB = 64
#: Program -> the package that has it, on Debian as on Fedora.
_PROGRAMS = {"mkfs.fat": "dosfstools", "mmd": "mtools", "mcopy": "mtools"}
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
#: A volume's serial number and the time of its files, which otherwise come from the clock.
_SERIAL = "f1071114"
_MOMENT = 315532800  # 1980-01-01 UTC, the first day that FAT can write
_ENVIRONMENT = {"LC_ALL": "C", "MTOOLSRC": "/dev/null", "SOURCE_DATE_EPOCH": str(_MOMENT), "TZ": "UTC"}
_LIMIT = 60  # seconds that a program may take: some hundredths are usual


def fat_of(files: Mapping[str, bytes], *, label: str) -> bytes:
    """*files* (paths without a leading slash) as a volume of 64 MiB; the same files give the same bytes."""
    lacking = sorted({package for program, package in _PROGRAMS.items() if not _found(program)})
    if lacking:
        raise FlotillaError(
            f"a config drive of the format vfat is made with mkfs.fat and mtools on the controller, which has no "
            f"{' and no '.join(lacking)}: install that, or use server_config_drive_format: iso9660"
        )
    with tempfile.TemporaryDirectory(prefix="flotilla-drive-") as name:
        folder = pathlib.Path(name)
        drive = folder / "drive"
        _run("mkfs.fat", "--invariant", "-i", _SERIAL, "-n", label, "-C", str(drive), str(SIZE_MIB * 1024))
        folders = sorted(
            {parent.as_posix() for path in files for parent in pathlib.PurePosixPath(path).parents} - {"."}
        )
        if folders:
            _run("mmd", "-i", str(drive), *(f"::{one}" for one in folders))
        for one in ["", *folders]:
            _copy(drive, folder / "files", one, files)
        return drive.read_bytes()


def _copy(drive: pathlib.Path, source: pathlib.Path, folder: str, files: Mapping[str, bytes]) -> None:
    """The files of one folder, in the order of their names."""
    paths = sorted(path for path in files if path.rpartition("/")[0] == folder)
    if not paths:
        return
    place = source / folder
    place.mkdir(parents=True, exist_ok=True)
    for path in paths:
        (source / path).write_bytes(files[path])
    _run("mcopy", "-i", str(drive), *(str(source / path) for path in paths), f"::{folder}")


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_PATH}")


def _run(program: str, *arguments: str) -> None:
    command = [str(_found(program)), *arguments]
    try:
        done = subprocess.run(
            command, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise FlotillaError(f"a config drive of the format vfat can't be made: {exc}") from exc
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).decode("utf-8", "replace").split())
        raise FlotillaError(f"a config drive of the format vfat can't be made: {program} says {said!r}")
