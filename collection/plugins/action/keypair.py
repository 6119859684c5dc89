# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.keypair), which is all of it."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._catalog import CatalogAction, Entry
from ansible_collections.flotilla.compute.plugins.plugin_utils._keys import (
    KeyType,
    PublicKey,
    check_name,
    describe,
    generate,
    parse_public,
    public_half,
    write_private,
)

_SSH_TYPES: dict[KeyType, str] = {"ed25519": "ssh-ed25519", "rsa": "ssh-rsa"}


class ActionModule(CatalogAction):
    kind = "keypair"
    inventory_variable = "fleet_keypairs"
    argument_spec: t.ClassVar = {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "public_key": {"type": "str", "no_log": False},
        "private_key_path": {"type": "path", "no_log": False},
        "type": {"type": "str", "choices": list(_SSH_TYPES)},
        "force": {"type": "bool", "default": False},
    }
    constraints: t.ClassVar = {"mutually_exclusive": [("public_key", "private_key_path"), ("public_key", "type")]}

    def perform(self, args: Arguments) -> Result:
        name = args["name"]
        check_name(name)
        self.refuse_inventory_name(name)
        before = self.in_ledger().get(name)
        if args["state"] == "absent":
            return self.store(name, before, None)
        path = self._private_key_path(args)
        key = self._wanted(args, before, path)
        after = {"public_key": key.line} if key else {"public_key": "(known after generation)"}
        result = self.store(name, before, after)
        if key:
            result["keypair"] = describe(name, key)
        if not args["public_key"] and (path.exists() or self.check_mode):
            result["private_key_path"] = str(path)
        return result

    def _private_key_path(self, args: Arguments) -> Path:
        if args["private_key_path"]:
            return Path(args["private_key_path"]).expanduser().absolute()
        return self.state_dir / "keys" / self.fleet_name / str(args["name"])

    def _wanted(self, args: Arguments, before: Entry | None, path: Path) -> PublicKey | None:
        """The key that the entry should have; None where check mode stops before one is generated."""
        name = args["name"]
        there = parse_public(before["public_key"], name=name) if before else None
        if args["public_key"]:
            wanted = parse_public(args["public_key"], name=name)
            if there and not wanted.same_as(there) and not args["force"]:
                raise _exists(name, f"with another key ({there.fingerprint_sha256})")
            return wanted
        if there and args["type"] in (None, _key_type(there)):
            return there
        if there and not args["force"]:
            raise _exists(name, f"with a key of type {there.type}")
        return self._make(args, path)

    def _make(self, args: Arguments, path: Path) -> PublicKey | None:
        """A new key, its private half at *path*; a private key that is there already is used, never replaced."""
        key_type: KeyType = args["type"] or "ed25519"
        comment = f"{args['name']}@{self.fleet_name}".replace(" ", "-")
        if path.exists():
            key = public_half(path, comment=comment)
            if args["type"] and _key_type(key) != key_type:
                raise Conflict(
                    f"the private key {str(path)!r} has type {key.type}, not {key_type}; it is not touched: "
                    "move it away, or give another private_key_path"
                )
            return key
        if self.check_mode:
            return None
        private, key = generate(key_type, comment=comment)
        write_private(path, private)
        return key


def _key_type(key: PublicKey) -> KeyType | None:
    return next((name for name, ssh_type in _SSH_TYPES.items() if ssh_type == key.type), None)


def _exists(name: str, how: str) -> Conflict:
    return Conflict(
        f"Key pair {name!r} already exists, {how}; servers that have it keep it: use another name, or force: true"
    )
