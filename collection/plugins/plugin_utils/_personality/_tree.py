# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server is told about itself as files: those of a config drive, and the answers of the metadata service.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import json
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import fingerprint
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._ec2 import VERSIONS, ec2_meta_data
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import (
    Personality,
    content_paths,
    meta_data,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._network_data import network_data

if t.TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EC2_VERSIONS", "OPENSTACK_VERSIONS", "Answer", "packed_service", "service_tree", "tree"]

OPENSTACK_VERSIONS = (
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "2020-10-14",
    "2025-04-04",
)
EC2_VERSIONS = VERSIONS
LATEST = "latest"

#: Nova's config_drive_skip_versions leaves this one of EC2's on the drive.
_EC2_ON_DRIVE = ("2009-04-04",)

_TEXT = "text/plain"
_JSON = "application/json"

#: Document -> the version that it came with.
_SINCE = {
    "meta_data.json": "2012-08-10",
    "user_data": "2012-08-10",
    "password": "2013-04-04",
    "vendor_data.json": "2013-10-17",
    "network_data.json": "2015-10-15",
    "vendor_data2.json": "2016-10-06",
}


class Answer(t.NamedTuple):
    """What the metadata service answers to a GET."""

    body: bytes
    content_type: str


def tree(of: Personality) -> dict[str, bytes]:
    """The config drive's files: path without a leading slash -> content (nova: metadata_for_config_drive)."""
    files: dict[str, bytes] = {}
    for name, version in _with_latest(_EC2_ON_DRIVE, VERSIONS[-1]):
        files[f"ec2/{name}/meta-data.json"] = _json(ec2_meta_data(of, version))
        if of.user_data is not None:
            files[f"ec2/{name}/user-data"] = of.user_data
    for name, version in _with_latest(OPENSTACK_VERSIONS, OPENSTACK_VERSIONS[-1]):
        files.update({f"openstack/{name}/{document}": data for document, data in _documents(of, version, drive=True)})
    files.update({f"openstack/content/{name}": of.files[path] for path, name in content_paths(of).items()})
    return files


def service_tree(of: Personality, *, today: str, address: str | None = None) -> dict[str, Answer]:
    """What the metadata service answers: path without slashes at its ends -> answer; any other path is not found.

    ``today`` as YYYY-MM-DD: the list of versions names no later one (they are there all the same, as in Nova).
    ``address`` is the guest's, where none of its ports has a fixed one of IPv4. A path can be a list and have others
    below it. The password is always empty: nobody can have set one through a tree that stands still.
    """
    answers = {"": _list([*VERSIONS, LATEST])}
    for name, version in _with_latest(VERSIONS, VERSIONS[-1]):
        data: dict[str, t.Any] = {"meta-data": ec2_meta_data(of, version, address=address)}
        if of.user_data is not None:
            data["user-data"] = of.user_data
        below = dict(_ec2_answers(name, data))
        answers.update(below)
        answers.update({f"ec2/{path}": answer for path, answer in below.items()})
    answers["ec2"] = answers[""]
    answers["openstack"] = _list([version for version in OPENSTACK_VERSIONS if version <= today] + [LATEST])
    for name, version in _with_latest(OPENSTACK_VERSIONS, OPENSTACK_VERSIONS[-1]):
        documents = dict(_documents(of, version, drive=False))
        if version >= _SINCE["password"]:
            documents["password"] = b""
        answers[f"openstack/{name}"] = _list([document for document in _LISTED if document in documents])
        for document, body in documents.items():
            answers[f"openstack/{name}/{document}"] = Answer(body, _TEXT if document in _AS_TEXT else _JSON)
    return answers


def packed_service(of: Personality, *, today: str) -> bytes:
    """What the metadata service answers, as its host takes it: {"bodies": [base64], "answers": {path: [body, type]},
    "made_of": the record's fingerprint}.

    The same answers give the same bytes. Most of them are there several times, by version and by path.
    """
    answers = service_tree(of, today=today)
    bodies = sorted({answer.body for answer in answers.values()})
    numbers = {body: number for number, body in enumerate(bodies)}
    places = {path: [numbers[answer.body], answer.content_type] for path, answer in sorted(answers.items())}
    encoded = [base64.b64encode(body).decode("ascii") for body in bodies]
    packed = {"bodies": encoded, "answers": places, "made_of": fingerprint(of.record)}
    return json.dumps(packed, separators=(",", ":")).encode("ascii")


#: In the order of Nova's lists.
_LISTED = ("meta_data.json", "user_data", "password", "vendor_data.json", "network_data.json", "vendor_data2.json")
_AS_TEXT = ("user_data", "password", "network_data.json")  # Nova sets no type for network_data.json


def _with_latest(versions: t.Sequence[str], last: str) -> Iterator[tuple[str, str]]:
    """Name of a folder -> the version that is in it."""
    yield from ((version, version) for version in versions)
    yield LATEST, last


def _documents(of: Personality, version: str, *, drive: bool) -> Iterator[tuple[str, bytes]]:
    """The documents that *version* has, by name."""
    yield "meta_data.json", _json(meta_data(of, version, drive=drive))
    if of.user_data is not None:
        yield "user_data", of.user_data
    if version >= _SINCE["vendor_data.json"]:
        yield "vendor_data.json", _json(of.vendor_data)
    if version >= _SINCE["network_data.json"]:
        yield "network_data.json", _json(network_data(of.record.nics))
    if version >= _SINCE["vendor_data2.json"]:
        yield "vendor_data2.json", _json({**of.dynamic_vendor_data, "static": of.vendor_data})


def _ec2_answers(path: str, data: t.Any) -> Iterator[tuple[str, Answer]]:
    """*data* and everything in it, by path (nova: find_path_in_tree)."""
    yield path, Answer(_printed(data), _TEXT)
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _ec2_answers(f"{path}/{key}", value)


def _printed(data: t.Any) -> bytes:
    """As Nova's ec2_md_print has it: a mapping lists its keys, with a slash behind those of mappings."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, dict):
        names = []
        for key in sorted(set(data) - {"_name"}):
            value = data[key]
            names.append(str(value.get("_name", f"{key}/")) if isinstance(value, dict) else key)
        return "\n".join(names).encode()
    return ("\n".join(data) if isinstance(data, list) else str(data)).encode()


def _list(names: t.Sequence[str]) -> Answer:
    return Answer("\n".join(names).encode(), _TEXT)


def _json(value: t.Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True).encode("ascii")
