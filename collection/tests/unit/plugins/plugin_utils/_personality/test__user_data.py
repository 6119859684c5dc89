# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import email
import email.message
import gzip
import random
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import (
    LIMIT,
    composed,
    digest,
    encoded_length,
    packed,
)

yaml = pytest.importorskip("yaml")


def parts(value: list[t.Any]) -> list[tuple[str, str, str | None]]:
    message = email.message_from_bytes(composed(value))
    assert message.is_multipart()
    found = []
    for part in t.cast("list[email.message.Message]", message.get_payload()):
        text = t.cast("bytes", part.get_payload(decode=True)).decode()
        found.append((part.get_content_type(), text, part.get_filename()))
    return found


def test_text_is_left_as_it_is() -> None:
    assert composed("#!/bin/sh\necho w\u00e9b\n") == "#!/bin/sh\necho w\u00e9b\n".encode()
    assert composed("") == b""


def test_a_mapping_is_a_cloud_config() -> None:
    config = {
        "write_files": [{"path": "/a", "content": "yes\n\u00e9"}],
        "runcmd": [["on", "1"]],
        "package_update": True,
    }
    head, _newline, body = composed(config).partition(b"\n")
    assert head == b"#cloud-config"
    assert yaml.safe_load(body) == config


def test_parts_become_one_message_with_the_types_that_cloud_init_knows() -> None:
    given = [
        {"packages": ["nginx"]},
        "#!/bin/sh\n",
        "#cloud-config\na: 1\n",
        "#cloud-boothook\nx\n",
        "#include\nhttp://example.org/\n",
        "#include-once\nhttp://example.org/\n",
        "## template: jinja\n#cloud-config\n",
        "w\u00e9b",
        {"content": "x", "type": "text/x-other", "filename": "other.txt"},
        {"content": {"a": 1}},
    ]
    assert [kind for kind, _text, _name in parts(given)] == [
        "text/cloud-config",
        "text/x-shellscript",
        "text/cloud-config",
        "text/cloud-boothook",
        "text/x-include-url",
        "text/x-include-once-url",
        "text/jinja2",
        "text/plain",
        "text/x-other",
        "text/cloud-config",
    ]
    assert parts(given)[7][1] == "w\u00e9b"
    assert [name for _kind, _text, name in parts(given)][7:] == ["part-008", "other.txt", "part-010"]


def test_a_part_says_how_it_is_merged() -> None:
    data = composed([{"content": {"a": 1}, "merge_type": "list(append)+dict()"}])
    assert b"Merge-Type: list(append)+dict()" in data


def test_the_same_parts_give_the_same_bytes() -> None:
    given: list[t.Any] = [{"b": 1, "a": [2]}, "#!/bin/sh\n"]
    assert composed(given) == composed([{"a": [2], "b": 1}, "#!/bin/sh\n"])
    assert digest(given) != digest(given[:1])


def test_only_what_is_too_large_is_compressed() -> None:
    fits = b"x" * (LIMIT // 4 * 3)
    assert encoded_length(fits) <= LIMIT
    assert packed(fits) == fits
    large = fits + b"xxx"
    assert packed(large)[:2] == b"\x1f\x8b"
    assert packed(large) == packed(large)
    assert gzip.decompress(packed(large)) == large
    noise = random.Random(1).randbytes(60000)
    assert encoded_length(packed(noise)) > LIMIT
