# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A config drive: an ISO 9660 image with Rock Ridge and Joliet, volume label config-2 (cidata for NoCloud), or FAT.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

The same input gives the same bytes, on any day and in any time zone: a drive is made again when its server is built
elsewhere, and a difference must mean that the server's facts differ.
"""

from __future__ import annotations

import contextlib
import io
import time
import types
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._fat import fat_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._nocloud import nocloud
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import tree

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Personality

__all__ = ["LABEL", "config_drive", "iso_of"]

LABEL = "config-2"  # cloud-init and ignition look for this very label
_NOCLOUD_LABEL = "cidata"
_PUBLISHER = "Flotilla"
_MOMENT = 315532800.0  # 1980-01-01 UTC, the first day that every file system can write
_FILE_MODE = 0o100444
_FOLDER_MODE = 0o040555


def config_drive(of: Personality, form: str = "iso9660") -> bytes:
    """The config drive of a server. ``form``: iso9660, vfat, or nocloud for images that know no OpenStack."""
    if form == "nocloud":
        return iso_of(nocloud(of), label=_NOCLOUD_LABEL)
    if form == "vfat":
        return fat_of(tree(of), label=LABEL)
    return iso_of(tree(of))


def iso_of(files: Mapping[str, bytes], *, label: str = LABEL) -> bytes:
    """*files* (paths without a leading slash) as a disc image."""
    pycdlib = need("pycdlib.pycdlib")
    with _stopped_clock():
        iso = pycdlib.PyCdlib()
        # Level 4 allows the names as they are, lower case and long.
        iso.new(interchange_level=4, joliet=3, rock_ridge="1.09", vol_ident=label, pub_ident_str=_PUBLISHER)
        for folder in _folders(files):
            iso.add_directory(f"/{folder}", rr_name=_base(folder), joliet_path=f"/{folder}", file_mode=_FOLDER_MODE)
        for path in sorted(files):
            content = files[path]
            iso.add_fp(
                io.BytesIO(content), len(content), f"/{path}", rr_name=_base(path), joliet_path=f"/{path}",
                file_mode=_FILE_MODE,
            )  # fmt: skip
        image = io.BytesIO()
        iso.write_fp(image)
        iso.close()
    return image.getvalue()


@contextlib.contextmanager
def _stopped_clock() -> Iterator[None]:
    """pycdlib stamps records and descriptors with the time of its call and the local time zone, and takes neither as an
    argument; its modules get a clock that stands still."""
    clock = types.SimpleNamespace(
        time=lambda: _MOMENT, localtime=time.gmtime, gmtime=time.gmtime, strftime=time.strftime, strptime=time.strptime
    )
    modules = [need(f"pycdlib.{name}") for name in ("dates", "headervd", "pycdlib")]
    try:
        for module in modules:
            module.time = clock
        yield
    finally:
        for module in modules:
            module.time = time


def _folders(files: Mapping[str, bytes]) -> list[str]:
    """The folders of *files*, each after the one that it is in."""
    found = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/"}
    return sorted(found)


def _base(path: str) -> str:
    return path.rpartition("/")[2]
