# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the schemas can't say of what a guest is told about itself: its user data, and the fleet's for cloud-init.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

User data is secret: paths are told, values are not.
"""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import (
    LIMIT,
    Part,
    composed,
    encoded_length,
    packed,
    parts_of,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.cloud_config import Flaw, flaws
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import Mistake, Path, merge, path_text

__all__ = ["check_personality", "doubts"]

_VARIABLE = "server_user_data"
_VENDOR_DATA = "fleet_vendor_data"
_CLOUD_INIT = "cloud-init"
_HEADER = "#cloud-config"
_MIME = re.compile(r"[a-z]+/[a-z0-9.+-]+")
#: As long as a hash is, which takes a password's place on the drive.
_HASH = "$6$rounds=20000$" + 16 * "s" + "$" + 86 * "h"


def check_personality(review: Review) -> None:
    for path, flaw in _flaws_of_vendor_data(review.fleet.get(_VENDOR_DATA)):
        if not flaw.doubt:
            review.add(_VENDOR_DATA, path, reason=flaw.reason)
    for host, data in review.servers.items():
        if _VARIABLE not in data:
            continue
        wrong = [(path, flaw) for path, flaw in _flaws_of(data[_VARIABLE]) if not flaw.doubt]
        for path, flaw in wrong:
            review.add(_VARIABLE, path, hosts=(host,), reason=flaw.reason)
        too_large = None if wrong else _too_large(data[_VARIABLE])
        if too_large:
            review.add(_VARIABLE, hosts=(host,), reason=too_large)


def doubts(servers: c.Mapping[str, c.Mapping[str, t.Any]], vendor_data: t.Any = None) -> list[Mistake]:
    """What may be wrong in user data and in fleet_vendor_data without mistakes, and is no reason to refuse it."""
    found = []
    for path, flaw in _flaws_of_vendor_data(vendor_data):
        if flaw.doubt:
            found.append(Mistake(_VENDOR_DATA, path_text(_VENDOR_DATA, path), reason=flaw.reason, hint=flaw.hint))
    for host, data in servers.items():
        for path, flaw in _flaws_of(data[_VARIABLE]) if data.get(_VARIABLE) is not None else ():
            if flaw.doubt:
                where = path_text(_VARIABLE, path)
                found.append(Mistake(_VARIABLE, where, hosts=(host,), reason=flaw.reason, hint=flaw.hint))
    return merge(found)


def _flaws_of_vendor_data(value: t.Any) -> c.Iterator[tuple[Path, Flaw]]:
    """What cloud-init would not take of the fleet's vendor data: it reads it as user data of every guest."""
    given = value.get(_CLOUD_INIT) if isinstance(value, c.Mapping) else None
    for path, flaw in _flaws_of(given) if given is not None else ():
        yield (_CLOUD_INIT, *path), flaw


def _flaws_of(value: t.Any) -> c.Iterator[tuple[Path, Flaw]]:
    """What is wrong in any part that is a #cloud-config, with the path to it from the variable."""
    for index, part in enumerate(parts_of(value)):
        place: Path = ()
        if isinstance(value, list):
            place = (index,) if part.content is value[index] else (index, "content")
        content = part.content
        wrong = _unfit(part)
        if wrong is not None:
            yield (*place[:1], *wrong.path), wrong
            continue
        if isinstance(content, str) and _is_cloud_config(content):
            try:
                content = need("yaml").safe_load(content)
            except need("yaml").YAMLError as exc:
                yield place, Flaw((), _broken(exc))
                continue
            if content is not None and not isinstance(content, c.Mapping):
                yield place, Flaw((), "begins with #cloud-config and is no mapping in YAML, which cloud-init needs")
        if isinstance(content, c.Mapping):
            for flaw in flaws(content):
                yield (*place, *flaw.path), flaw


def _unfit(part: Part) -> Flaw | None:
    """What of a part can't go into a MIME message."""
    if not isinstance(part.content, (str, c.Mapping)):
        return Flaw(("content",), "allowed is text or the mapping of a #cloud-config")
    if part.type is not None and not (isinstance(part.type, str) and _MIME.fullmatch(part.type)):
        return Flaw(("type",), "allowed is a MIME type such as text/x-shellscript")
    for name in ("filename", "merge_type"):
        value = getattr(part, name)
        if value is not None and not (isinstance(value, str) and value.isascii() and value.isprintable()):
            return Flaw((name,), "allowed is text of printable ASCII")
    return None


def _is_cloud_config(text: str) -> bool:
    """By cloud-init's rule: the first line begins so, and no other kind's beginning is meant."""
    return text.partition("\n")[0].strip() == _HEADER


def _broken(exc: Exception) -> str:
    """Where the YAML breaks off. Its text is not told: it may be a password."""
    mark = getattr(exc, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"begins with #cloud-config and is broken YAML{where}: {getattr(exc, 'problem', None) or 'it ends early'}"


def _too_large(value: t.Any) -> str | None:
    data = packed(composed(value, hashed=lambda _password: _HASH))
    length = encoded_length(data)
    if length <= LIMIT:
        return None
    compressed = " (compressed)" if data[:2] == b"\x1f\x8b" else ""
    return (
        f"User data too large. User data must be no larger than {LIMIT} bytes once base64 encoded. "
        f"Your data is {length} bytes{compressed}"  # Nova's words
    )
