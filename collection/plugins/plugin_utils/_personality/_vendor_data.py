# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Vendor data: what the fleet's owner tells all guests, static or asked for by URL (nova.api.metadata.vendordata).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import json
import typing as t
import urllib.error

from ansible.module_utils.urls import ConnectionError as UrlError
from ansible.module_utils.urls import open_url

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.hostname import hostname_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.urls import shown
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import (
    HEADER,
    Part,
    composed,
    parts_of,
)

if t.TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record

__all__ = ["ask", "ask_all", "request_of", "static"]

#: Seconds to connect and to read: Nova's vendordata_dynamic_connect_timeout and _read_timeout.
_TIMEOUT = 5
#: Bytes of an answer. Nova has no limit; a config drive that grows by more than this is a mistake of the service.
_LARGEST = 1024 * 1024
_CLOUD_INIT = "cloud-init"

Document = dict[str, t.Any]


def static(given: Mapping[str, t.Any], *, password_hash: str | None = None) -> Document:
    """vendor_data.json. What is under its key cloud-init the guest's cloud-init takes as if it were user data; it has
    the forms of ours. *password_hash* becomes the default user's; the user data itself goes above it."""
    found = dict(given)
    parts = found.get(_CLOUD_INIT)
    if password_hash is not None:
        config = f"{HEADER}chpasswd:\n  expire: false\npassword: {json.dumps(password_hash)}\n"
        before = [] if parts is None else parts if isinstance(parts, list) else [parts]
        parts = [*before, config] if before else config
    if parts is not None:
        found[_CLOUD_INIT] = _taken(parts)
    return found


def _taken(parts: t.Any) -> t.Any:
    """Text, or a list of texts, of which alone cloud-init makes user data. Who says more of a part than what is in it
    gets a message of all."""
    if isinstance(parts, list) and all(part == Part(part.content) for part in parts_of(parts)):
        return [composed(part.content).decode() for part in parts_of(parts)]
    return composed(parts).decode()


def request_of(record: Record, user_data: bytes | None) -> Document:
    """What a dynamic target is told of a server, as Nova has it."""
    return {
        "project-id": record.spec.get("project"),
        "instance-id": record.id,
        "image-id": record.image.checksum.partition(":")[2],
        "user-data": None if user_data is None else base64.b64encode(user_data).decode("ascii"),
        "hostname": hostname_of(record.name, fallback=f"Server-{record.id}"),
        "metadata": dict(record.spec.get("metadata") or {}),
        "boot-roles": "",
    }


def ask_all(
    targets: Mapping[str, str], request: Document, *, fatal: bool, warn: t.Callable[[str], t.Any]
) -> dict[str, t.Any]:
    """The answers of all *targets* (name -> URL). One that fails gives ``{}`` and a warning; FlotillaError if
    ``fatal`` (Nova: vendordata_dynamic_failure_fatal)."""

    def one(name: str, url: str) -> t.Any:
        try:
            return ask(name, url, request)
        except FlotillaError as exc:
            if fatal:
                raise
            warn(f"{exc}; the server gets an empty answer")
            return {}

    return {name: one(name, url) for name, url in targets.items()}


def ask(name: str, url: str, request: Document) -> t.Any:
    """The answer of one target: any JSON, ``{}`` for an empty one."""
    bare = shown(url)
    what = f"vendor data {name!r}: {bare}"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        answer = open_url(
            url,
            data=json.dumps(request),
            headers=headers,
            method="POST",
            timeout=_TIMEOUT,
            http_agent="openstack-nova-vendordata",
            follow_redirects="safe",
        )
        body = answer.read(_LARGEST + 1)
    except (UrlError, urllib.error.URLError, OSError, ValueError) as exc:
        # The cause is left out where it could bear the URL again: nothing of it is chained for a traceback to show.
        cause = str(exc) if bare == url else type(exc).__name__
        raise FlotillaError(f"{what} gave no answer: {cause}") from (exc if bare == url else None)
    if len(body) > _LARGEST:
        raise FlotillaError(f"{what} gave an answer of more than {_LARGEST} bytes")
    try:
        return json.loads(body) if body else {}
    except ValueError as exc:
        raise FlotillaError(f"{what} gave an answer that is not JSON: {exc}") from exc
