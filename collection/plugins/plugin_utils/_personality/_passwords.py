# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords as a guest's /etc/shadow has them, hashed on the controller: none leaves it in clear.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need

__all__ = ["Hash", "hasher", "with_hashes"]

Hash = t.Callable[[str], str]

#: Rounds of SHA-512: 0.1 s for one, where it is done in Python; crypt(3) does 5000 unless told.
_ROUNDS = 20_000
_SALT_LENGTH = 16
_SALT_LETTERS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: What cloud-init takes for a hash (cc_set_passwords), with yescrypt, which newer ones know.
_HASHED = re.compile(r"\$(1|2a|2y|5|6|y)(\$.+){2}")
_DRAWN = ("R", "RANDOM")  # the guest draws one itself


def hasher(secret: bytes, server_id: str) -> Hash:
    """Hashes by sha512-crypt. The salt is the same each time a drive is made again, and nobody can tell it before."""
    return functools.partial(_hashed, secret, server_id)


@functools.lru_cache(maxsize=256)
def _hashed(secret: bytes, server_id: str, password: str) -> str:
    digest = hmac.new(secret, f"salt/{server_id}/{password}".encode(), hashlib.sha512).digest()
    salt = "".join(_SALT_LETTERS[byte % len(_SALT_LETTERS)] for byte in digest[:_SALT_LENGTH])
    sha512_crypt = need("passlib.hash").sha512_crypt
    return str(sha512_crypt.using(salt=salt, rounds=_ROUNDS).hash(password))


def with_hashes(config: t.Mapping[str, t.Any], hashed: Hash) -> dict[str, t.Any]:
    """A #cloud-config with every password in it hashed: ``password``, ``chpasswd``, ``users``."""
    found = dict(config)
    if isinstance(found.get("password"), str):
        found["password"] = _kept_or_hashed(found["password"], hashed)
    if isinstance(found.get("chpasswd"), t.Mapping):
        found["chpasswd"] = _chpasswd(found["chpasswd"], hashed)
    for key in ("user", "users"):
        if key in found:
            found[key] = _users(found[key], hashed)
    return found


def _kept_or_hashed(password: str, hashed: Hash) -> str:
    return password if password in _DRAWN or _HASHED.match(password) else hashed(password)


def _chpasswd(value: t.Mapping[str, t.Any], hashed: Hash) -> dict[str, t.Any]:
    found = dict(value)
    if isinstance(found.get("users"), list):
        found["users"] = [_of_type_hash(user, hashed) for user in found["users"]]
    lines = found.get("list")
    if isinstance(lines, str):
        found["list"] = "\n".join(_line(line, hashed) for line in lines.splitlines()) + "\n"
    if isinstance(lines, list):
        found["list"] = [_line(line, hashed) if isinstance(line, str) else line for line in lines]
    return found


def _of_type_hash(user: t.Any, hashed: Hash) -> t.Any:
    if not isinstance(user, t.Mapping) or user.get("type") != "text" or not isinstance(user.get("password"), str):
        return user
    return {**user, "password": hashed(user["password"]), "type": "hash"}


def _line(line: str, hashed: Hash) -> str:
    name, colon, password = line.partition(":")
    return f"{name}:{_kept_or_hashed(password, hashed)}" if colon and password else line


def _users(value: t.Any, hashed: Hash) -> t.Any:
    if isinstance(value, list):
        return [_users(user, hashed) for user in value]
    if not isinstance(value, t.Mapping) or not isinstance(value.get("plain_text_passwd"), str):
        return value
    found = {key: item for key, item in value.items() if key != "plain_text_passwd"}
    return {**found, "hashed_passwd": hashed(value["plain_text_passwd"])}
