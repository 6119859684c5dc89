# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes to a host with a server's steps for the guest to read: its config drive, and its metadata service's tree.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import time
import typing as t
import zlib

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import BRING, ports
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.step import DRIVE_OUT
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuations import rebuilds_drive
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.told import TELLS
from ansible_collections.flotilla.compute.plugins.plugin_utils._outcomes import record_after
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._drive import config_drive
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import (
    Personality,
    devices_of,
    key_of,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._passwords import Hash, hasher
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import packed_service
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import (
    composed,
    digest,
    packed,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._vendor_data import (
    ask_all,
    request_of,
    static,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._plain import plain
from ansible_collections.flotilla.compute.plugins.plugin_utils._planner import Planner
from ansible_collections.flotilla.compute.plugins.plugin_utils._sealing import seal, unseal

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

_MAKES_DRIVE = frozenset({"create", "define", "rebuild", "reconfigure", "unshelve"})
#: What of a server's spec is on its drive and changes without one of these.
_ON_DRIVE = ("config_drive_format", "key_name", "metadata", "project")

#: Steps after which a server is on a host that had nothing to tell it.
_ARRIVES = frozenset({"adopt", BRING, "define", "evacuate", "restore", "unshelve"})


class Teller(Planner):
    """An action that knows from inventory what servers are told about themselves."""

    #: Of which record, in which zone, and what: a step's drive and tree are one, and vendor data is asked for it once.
    _last: tuple[Record, str, Personality] | None = None

    def _drives(self, entry: Arguments, deeds: t.Sequence[Json]) -> dict[str, str]:
        """The config drive, compressed for the way: an ISO is mostly empty."""
        needed = any(deed["kind"] in _MAKES_DRIVE or rebuilds_drive(deed) for deed in deeds)
        if not needed and not _may_renew_drive(entry, deeds):
            return {}
        record = record_after(entry, deeds)
        if record is None or not any(disk.role == "config" for disk in record.disks):
            return {}
        try:
            drive = self._drive(entry, record)
        except FlotillaError as exc:
            if any(map(rebuilds_drive, deeds)):
                # A dead host's server comes back all the same, and the run says without what.
                drive = self._drive(entry, _without(entry, record, exc))
                return {record.id: base64.b64encode(zlib.compress(drive)).decode("ascii")}
            if needed:
                raise
            # It has a drive: that it is not made anew is no reason not to start it.
            Display().vv(f"{record.name}: its config drive is left as it is: {exc}")
            return {}
        return {record.id: base64.b64encode(zlib.compress(drive)).decode("ascii")}

    def _trees(self, entry: Arguments, deeds: t.Sequence[Json]) -> dict[str, str]:
        """What the metadata service of the host is to answer, where the server has a port that it serves."""
        kinds = {deed["kind"] for deed in deeds}
        record = record_after(entry, deeds) if kinds & TELLS and not entry.get("destination") else None
        if record is None or not ports(record):
            return {}
        today = time.strftime("%Y-%m-%d", time.gmtime())
        try:
            tree = packed_service(self.personality(entry, record), today=today)
        except FlotillaError as exc:
            if "create" in kinds:
                raise
            if not kinds & _ARRIVES:
                Display().warning(f"{record.name}: the metadata service goes on to answer what it does: {exc}")
                return {}
            # Nobody here knows it yet, and a guest that is not told its id takes itself for a new one.
            Display().warning(f"{record.name}: the metadata service of {entry['host']} does not know all of it: {exc}")
            tree = packed_service(self.personality(entry, _without(entry, record, exc)), today=today)
        return {record.id: base64.b64encode(zlib.compress(tree)).decode("ascii")}

    def _drive(self, entry: Arguments, record: Record) -> bytes:
        return config_drive(self.personality(entry, record), record.spec.get("config_drive_format") or "iso9660")

    def personality(self, entry: Arguments, record: Record) -> Personality:
        """Everything that the server of *record* is told about itself."""
        zone = str(entry.get("zone") or "nova")
        if self._last is None or self._last[:2] != (record, zone):
            self._last = (record, zone, self._personality(entry, record, zone))
        return self._last[2]

    def _personality(self, entry: Arguments, record: Record, zone: str) -> Personality:
        secret = self._seed(entry)
        hashed = hasher(secret, record.id)
        user_data = self._user_data(record, hashed)
        password = self._admin_password(record)
        targets = self.variable("fleet_vendor_data_targets") or {}
        fatal = bool(self.variable("fleet_vendor_data_failure_fatal", False))
        keys = record.spec.get("key_name") or []
        return Personality(
            record=record,
            secret=secret,
            keys=[key_of(key["name"], key["public_key"]) for key in ([keys] if isinstance(keys, dict) else keys)],
            user_data=user_data,
            vendor_data=static(
                self.variable("fleet_vendor_data") or {},
                password_hash=hashed(str(password)) if password else None,
            ),
            dynamic_vendor_data=ask_all(targets, request_of(record, user_data), fatal=fatal, warn=Display().warning),
            availability_zone=zone,
            project_id=record.spec.get("project"),
            dhcp_domain=str(self.variable("fleet_dhcp_domain") or ""),
            files=self._files(record),
            devices=devices_of(record),
        )

    def own(self, _server: str, variable: str) -> Json:
        """A variable of the server's own, from inventory."""
        return self.variable(variable)

    def _files(self, record: Record) -> dict[str, bytes]:
        """The injected files, which plan, record and ledger have digests of alone."""
        wanted = record.spec.get("personality")
        if not wanted:
            return {}
        given = self.own(record.name, "server_personality")
        if _digests(given) != wanted:
            given = self._kept(record).get("personality")
        if _digests(given) != wanted:
            raise FlotillaError(
                f"{record.name}: its files in inventory (server_personality) are not what this step is for; "
                "run the reconcile playbook, which takes inventory's"
            )
        return {path: str(given[path]).encode() for path in sorted(given)}

    def _admin_password(self, record: Record) -> Json:
        given = self.own(record.name, "server_admin_password")
        return given if given or self._is_declared(record.name) else self._kept(record).get("admin_password")

    def _is_declared(self, server: str) -> bool:
        return server in self._task_vars["groups"].get("servers", [])

    def _seed(self, entry: Arguments) -> bytes:
        """What the guests' random seeds derive from: known to the controller and the hosts, never to a guest."""
        return str(self.variable("fleet_secret_key") or entry["fleet_id"]).encode()

    def user_data_of(self, server: str) -> Json:
        """The user data of a server as inventory has it: from the task, else from the server's own variables."""
        given = self._task.args.get("user_data")
        return self.own(server, "server_user_data") if given is None else plain(given)

    def _user_data(self, record: Record, hashed: Hash) -> bytes | None:
        """The user data itself comes from the server's own variables; plan, record and ledger have its digest alone."""
        if "user_data" not in record.spec:
            return None
        wanted = (record.spec["user_data"] or {}).get("sha256")
        value = self.user_data_of(record.name)
        if value is None or digest(value) != wanted:
            kept = self._kept(record).get("user_data")
            value = kept if kept is not None and digest(kept) == wanted else value
        if value is None:
            raise FlotillaError(
                f"{record.name}: its user data is in inventory (server_user_data), which this run doesn't have; "
                "run the reconcile playbook with the server in inventory"
            )
        if digest(value) != wanted:
            raise FlotillaError(
                f"{record.name}: its user data in inventory (server_user_data) is not what this step is for; "
                "give it as the option user_data, or run the reconcile playbook, which takes inventory's"
            )
        return packed(composed(value, hashed=hashed))

    # -- without inventory --------------------------------------------------------------------------------------

    def keep(self, ledger: Ledger, record: Record) -> None:
        """Have the ledger keep, encrypted with fleet_secret_key, what the server of *record* was told in confidence: it
        may have to be built again when inventory has it no more."""
        key = self.variable("fleet_secret_key")
        if not key:
            return
        what: dict[str, Json] = {}
        if record.spec.get("user_data"):
            what["user_data"] = self.user_data_of(record.name)
            if what["user_data"] is None or digest(what["user_data"]) != record.spec["user_data"].get("sha256"):
                return  # what is kept, if anything, is the right one
        if record.spec.get("personality"):
            what["personality"] = self.own(record.name, "server_personality")
            if _digests(what["personality"]) != record.spec["personality"]:
                return
        password = self.own(record.name, "server_admin_password")
        if password:
            what["admin_password"] = password
        if what:
            ledger.seal(record.id, seal(str(key), record.fleet_id, what))
        elif self._is_declared(record.name) and ledger.sealed(record.id) is not None:
            ledger.seal(record.id, None)

    def _kept(self, record: Record) -> t.Mapping[str, Json]:
        """What the ledger has kept of a server's; empty for nothing, or nothing that this key opens."""
        key = self.variable("fleet_secret_key")
        ledger = self.open_ledger(create=False) if key else None
        token = ledger.sealed(record.id) if ledger is not None else None
        if token is None:
            return {}
        found = unseal(str(key), record.fleet_id, token)
        if found is None:
            Display().warning(f"{record.name}: what the ledger keeps of it was encrypted with another fleet_secret_key")
        return found or {}


def _digests(files: Json) -> dict[str, str]:
    """What records have of injected files."""
    return {path: hashlib.sha256(str(text).encode()).hexdigest() for path, text in (files or {}).items()}


def _without(entry: Arguments, record: Record, why: FlotillaError) -> Record:
    """A server that comes all the same, as if it had no user data and no files; the run says so."""
    entry["without"] = f"its user data or files: {str(why).removeprefix(f'{record.name}: ')}"
    spec = {key: value for key, value in record.spec.items() if key not in ("personality", "user_data")}
    return dataclasses.replace(record, spec=spec)


def _may_renew_drive(entry: Arguments, deeds: t.Sequence[Json]) -> bool:
    """Whether a drive that is there may have become another: by what a step changes of it, or by anything since the
    guest's last start."""
    record = entry.get("record") or {}
    applied = record.get("spec") or {}
    if DRIVE_OUT in (record.get("marks") or {}):  # and may be half written
        return True
    specs = [deed["record"]["spec"] for deed in deeds if deed["kind"] == "update" and deed.get("record")]
    if any(spec.get(key) != applied.get(key) for spec in specs for key in _ON_DRIVE):
        return True
    return any(deed["kind"] == "start" for deed in deeds)


__all__ = ["Teller"]
