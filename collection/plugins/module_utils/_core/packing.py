# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON in one short string: nested data of thousands of domains is slow in Ansible's variables, a string is not.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import base64
import binascii
import json
import typing as t
import zlib

from .errors import InvalidInput


def pack(data: t.Any) -> str:
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return base64.b64encode(zlib.compress(text.encode("ascii"), 6)).decode("ascii")


def unpack(text: str) -> t.Any:
    try:
        return json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    except (binascii.Error, zlib.error, ValueError) as exc:
        raise InvalidInput(f"a packed value can't be unpacked ({exc}): was it cut short on its way?") from exc


__all__ = ["pack", "unpack"]
