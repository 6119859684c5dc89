# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""User data as the guest gets it, from what stands in inventory: text, a mapping, or a list of parts.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import email.message
import gzip
import hashlib
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._passwords import Hash, with_hashes

__all__ = ["HEADER", "LIMIT", "Part", "composed", "digest", "encoded_length", "packed", "parts_of"]

#: Nova's limit for user data once base64 encoded.
LIMIT = 65535
HEADER = "#cloud-config\n"

#: How a text begins -> its type, as cloud-init has them (handlers.INCLUSION_TYPES_MAP).
_TYPES = {
    "#!": "text/x-shellscript",
    "#cloud-boothook": "text/cloud-boothook",
    "#cloud-config-archive": "text/cloud-config-archive",
    "#cloud-config-jsonp": "text/cloud-config-jsonp",
    "#cloud-config": "text/cloud-config",
    "#include-once": "text/x-include-once-url",
    "#include": "text/x-include-url",
    "#part-handler": "text/part-handler",
    "## template: jinja": "text/jinja2",
}
_PART = frozenset({"content", "type", "filename", "merge_type"})


class Part(t.NamedTuple):
    """A part of user data: ``content`` is text, or the mapping of a #cloud-config."""

    content: t.Any
    type: str | None = None
    filename: str | None = None
    merge_type: str | None = None


def parts_of(value: t.Any) -> list[Part]:
    """The parts of ``server_user_data``; a text or a mapping is one."""
    if not isinstance(value, list):
        return [Part(value)]
    return [_part(item) for item in value]


def _part(item: t.Any) -> Part:
    if isinstance(item, t.Mapping) and "content" in item and set(item) <= _PART:
        return Part(**{str(key): value for key, value in item.items()})
    return Part(item)  # no module of cloud-init's has a key named content


def composed(value: t.Any, *, hashed: Hash | None = None) -> bytes:
    """The user data in full. With ``hashed`` no mapping has a password in clear any more; text is left as it is."""
    parts = parts_of(value)
    if not isinstance(value, list):
        return _text(parts[0], hashed).encode()
    texts = [_text(part, hashed) for part in parts]
    # The boundary must be in no part and the same each time.
    boundary = f"part-{hashlib.sha256(repr(texts).encode()).hexdigest()[:32]}"
    whole = email.message.Message()
    whole["Content-Type"] = f'multipart/mixed; boundary="{boundary}"'
    whole["MIME-Version"] = "1.0"
    for index, (part, text) in enumerate(zip(parts, texts), 1):
        whole.attach(_attachment(part, text, index))
    return whole.as_bytes()


def _attachment(part: Part, text: str, index: int) -> email.message.Message:
    found = email.message.Message()
    found["Content-Type"] = f'{part.type or _type_of(part, text)}; charset="utf-8"'
    found["MIME-Version"] = "1.0"
    found["Content-Transfer-Encoding"] = "base64"
    found.add_header("Content-Disposition", "attachment", filename=part.filename or f"part-{index:03}")
    if part.merge_type:
        found["Merge-Type"] = part.merge_type
    found.set_payload(base64.encodebytes(text.encode()).decode("ascii"))
    return found


def _type_of(part: Part, text: str) -> str:
    if isinstance(part.content, t.Mapping):
        return "text/cloud-config"
    first = text.partition("\n")[0]
    # The longest beginning first: one is the beginning of another.
    known = sorted(_TYPES, key=len, reverse=True)
    return next((_TYPES[start] for start in known if first.startswith(start)), "text/plain")


def _text(part: Part, hashed: Hash | None) -> str:
    if not isinstance(part.content, t.Mapping):
        return str(part.content)
    config = with_hashes(part.content, hashed) if hashed else part.content
    written: str = need("yaml").safe_dump(
        dict(config), default_flow_style=False, allow_unicode=True, sort_keys=True, width=1_000_000
    )
    return HEADER + written


def digest(value: t.Any) -> str:
    """What record and plan have of it: the same as long as inventory says the same."""
    return hashlib.sha256(composed(value)).hexdigest()


def encoded_length(data: bytes) -> int:
    """Its length once base64 encoded, which Nova limits."""
    return -(-len(data) // 3) * 4


def packed(data: bytes) -> bytes:
    """The data as it is if it fits Nova's limit, else compressed, which cloud-init undoes. The same bytes each time."""
    return data if encoded_length(data) <= LIMIT else gzip.compress(data, 9, mtime=0)
