# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of M(flotilla.compute.image): it sends a file of the controller to the host that lacks it, and
takes a snapshot that is removed out of the fleet's catalog."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

from ansible.errors import AnsibleError

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import BuildAbort
from ansible_collections.flotilla.compute.plugins.module_utils._core.image_format import HEAD_SIZE, check, inspect
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, FleetAction, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._plain import plain

_MODULE = "flotilla.compute.image"
_CHUNK = 1024**2


class ActionModule(FleetAction):
    TRANSFERS_FILES = True
    _requires_connection = True

    def _arguments(self) -> Arguments:
        """As they are: the module on the host looks at them."""
        given: Arguments = plain(self._task.args)
        return given

    def perform(self, args: Arguments) -> Result:
        if self._needs_file(args, self._task_vars):
            args = {**args, "src": self._send(args), "remote_src": True}
        result: Result = self._execute_module(module_name=_MODULE, module_args=args, task_vars=self._task_vars)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        if args.get("state") == "absent" and not self.check_mode and not result.get("failed"):
            self._forget(args)
        return result

    def _forget(self, args: Arguments) -> None:
        """A snapshot is in the ledger's catalog, with the pool that it is in."""
        ledger = self.open_ledger(create=False)
        entry = ledger.catalog("image").get(str(args.get("name"))) if ledger is not None else None
        pool = ((entry or {}).get("snapshot") or {}).get("pool")
        if ledger is None or entry is None:
            return
        if (entry["checksum"], pool) == (args.get("checksum"), args.get("pool", "local")):
            ledger.drop("image", str(args["name"]))

    def _needs_file(self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> bool:
        """Whether a file of the controller is wanted, and the host has not yet got it in its pool.

        Asked before gigabytes are sent. Arguments that are wrong are left to the module, which says so.
        """
        if not args.get("src") or args.get("remote_src") or args.get("state") == "absent" or self._task.check_mode:
            return False
        asked: dict[str, t.Any] = {key: args[key] for key in ("checksum", "uri") if key in args}
        asked["pool"] = args.get("pool", "local")
        known = self._execute_module(module_name=f"{_MODULE}_info", module_args=asked, task_vars=task_vars)
        if known.get("failed"):
            return False
        return not any(image["complete"] for image in known["images"])

    def _send(self, args: dict[str, t.Any]) -> str:
        try:
            path = Path(self._find_needle("files", args["src"]))
        except AnsibleError:
            raise BuildAbort(
                f"image {args.get('name')!r}: its file {args['src']!r} is not on the controller; correct the path"
            ) from None
        what = f"image {args.get('name')!r}, file {str(path)!r}"
        _check_file(path, args, what=what)
        self._make_tmp_path()
        there = self._connection._shell.join_path(self._connection._shell.tmpdir, "image")
        self._transfer_file(str(path), there)
        self._fixup_perms2((self._connection._shell.tmpdir, there))
        return str(there)


def _check_file(path: Path, args: dict[str, t.Any], *, what: str) -> None:
    """Refuse a wrong or hostile file here already; the host looks again at what has arrived."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_SIZE)
            check(inspect(head, path.stat().st_size), declared=args.get("format", "qcow2"), what=what)
            digest.update(head)
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as exc:
        raise BuildAbort(f"{what} can't be read: {exc.strerror}") from exc
    if args.get("checksum") != f"sha256:{digest.hexdigest()}":
        raise BuildAbort(
            f"{what}: its checksum should be {args.get('checksum')}, the file has sha256:{digest.hexdigest()}; "
            "correct the checksum, or find out who has changed the file"
        )
