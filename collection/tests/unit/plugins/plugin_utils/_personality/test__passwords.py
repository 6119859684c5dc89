# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._passwords import hasher, with_hashes
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import composed

passlib_hash = pytest.importorskip("passlib.hash", reason="libpass is not installed")

SECRET = b"s" * 32
HASHED = "$6$rounds=4096$saltsalt$" + "h" * 86


def is_hash_of(password: str, text: str) -> bool:
    return bool(passlib_hash.sha512_crypt.verify(password, text))


def test_a_hash_is_of_its_password_and_the_same_each_time() -> None:
    once = hasher(SECRET, "a")("hunter2")
    assert is_hash_of("hunter2", once)
    assert hasher(SECRET, "a")("hunter2") == once
    others = {hasher(SECRET, "b")("hunter2"), hasher(b"t" * 32, "a")("hunter2"), hasher(SECRET, "a")("hunter3")}
    assert once not in others
    assert len({one.split("$")[3] for one in others | {once}}) == 4  # the salts


def test_every_password_of_a_cloud_config_is_hashed() -> None:
    config: dict[str, t.Any] = {
        "password": "clear-1",
        "chpasswd": {
            "expire": False,
            "users": [
                {"name": "a", "password": "clear-2", "type": "text"},
                {"name": "b", "password": HASHED},
                {"name": "c", "type": "RANDOM"},
            ],
            "list": "d:clear-3\ne:RANDOM\nf:" + HASHED + "\n",
        },
        "users": ["default", {"name": "g", "plain_text_passwd": "clear-4"}, {"name": "h", "passwd": HASHED}],
    }
    text = composed(config, hashed=hasher(SECRET, "a")).decode()
    assert "clear-" not in text
    found = with_hashes(config, hasher(SECRET, "a"))
    assert is_hash_of("clear-1", found["password"])
    users = found["chpasswd"]["users"]
    assert (users[0]["type"], is_hash_of("clear-2", users[0]["password"])) == ("hash", True)
    assert users[1:] == config["chpasswd"]["users"][1:]
    d, e, f = found["chpasswd"]["list"].splitlines()
    assert is_hash_of("clear-3", d.removeprefix("d:"))
    assert (e, f) == ("e:RANDOM", f"f:{HASHED}")
    assert is_hash_of("clear-4", found["users"][1]["hashed_passwd"])
    assert "plain_text_passwd" not in found["users"][1]
    assert found["users"][2] == config["users"][2]
    assert config["password"] == "clear-1"


def test_a_list_of_lines_is_hashed_too() -> None:
    found = with_hashes({"chpasswd": {"list": ["a:clear", "b:R"]}}, hasher(SECRET, "a"))
    assert is_hash_of("clear", found["chpasswd"]["list"][0].removeprefix("a:"))
    assert found["chpasswd"]["list"][1] == "b:R"


def test_text_keeps_what_it_holds() -> None:
    assert (
        composed("#cloud-config\npassword: clear\n", hashed=hasher(SECRET, "a")) == b"#cloud-config\npassword: clear\n"
    )
