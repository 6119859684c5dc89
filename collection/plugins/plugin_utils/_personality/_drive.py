# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A config drive: an ISO 9660 image with Rock Ridge and Joliet, volume label config-2.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

The same input gives the same bytes, on any day and in any time zone: a drive is made again when its server is built
elsewhere, and a difference must mean that the server's facts differ.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import types
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Personality, meta_data
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._network_data import network_data

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LABEL", "config_drive", "documents", "iso_of"]

LABEL = "config-2"  # cloud-init and ignition look for this very label
_PUBLISHER = "Flotilla"
_MOMENT = 315532800.0  # 1980-01-01 UTC, the first day that every file system can write
_FILE_MODE = 0o100444
_FOLDER_MODE = 0o040555


def config_drive(of: Personality) -> bytes:
    """The config drive of a server."""
    return iso_of(documents(of))


def documents(of: Personality) -> dict[str, bytes]:
    """The drive's files: path to content. Versions beside ``latest`` and the ec2 tree would be added here."""
    files = {
        "openstack/latest/meta_data.json": _json(meta_data(of)),
        "openstack/latest/network_data.json": _json(network_data(of.record.nics)),
        "openstack/latest/vendor_data.json": _json(of.vendor_data),
    }
    if of.user_data is not None:
        files["openstack/latest/user_data"] = of.user_data
    return files


def iso_of(files: Mapping[str, bytes]) -> bytes:
    """*files* (paths without a leading slash) as a disc image."""
    pycdlib = need("pycdlib.pycdlib")
    with _stopped_clock():
        iso = pycdlib.PyCdlib()
        # Level 4 allows the names as they are, lower case and long.
        iso.new(interchange_level=4, joliet=3, rock_ridge="1.09", vol_ident=LABEL, pub_ident_str=_PUBLISHER)
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


def _json(value: t.Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode("ascii")
