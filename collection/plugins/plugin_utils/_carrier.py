# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What carries out a plan's entry for one server: its slot and task in the ledger, the module call, the journal.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import typing as t
from pathlib import Path

from ansible import constants, context
from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import TASKS, power_state, vm_state
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.evacuations import (
    COMPLETED,
    needs_image,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute, surveyed
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.migrations import Move, move_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rolling import interrupts
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.sightings import left_since
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.text import checks_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._health import TIMEOUT, check_turn, wait_port
from ansible_collections.flotilla.compute.plugins.plugin_utils._kept_snapshots import keep_snapshots
from ansible_collections.flotilla.compute.plugins.plugin_utils._outcomes import (
    applied,
    arrived_at,
    attempts_left,
    cause,
    end_told,
    ended,
    is_back,
    is_host_s_fault,
    is_running,
    last_record,
    may_try_again,
    nothing_left,
    of_server,
    watched,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._progress import how_far
from ansible_collections.flotilla.compute.plugins.plugin_utils._teller import Teller
from ansible_collections.flotilla.compute.plugins.plugin_utils._together import Ask, Together, about_to_ask

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

#: Seconds that a step of a run that was killed, and that goes on on the host, is waited for: a clean stop takes the
#: longest.
LOCK_TIMEOUT = 180
#: Seconds to wait for one of the host's slots: others may be stopping slowly before us.
_SLOT_TIMEOUT = 3600.0
#: And for both hosts of a move: a large disk takes its time, and there may be many before it.
_MOVE_TIMEOUT = 86400.0
#: Steps that wait for nothing: those of several servers of a host are asked for in one call.
_QUICK = frozenset({"create", "define", "delete", "evacuate", "reconfigure", "start", "undefine", "update"})
#: What the plan has looked at of the destination of a move: where one of them stands against it, no step is planned.
_PLANNED = ("service (up, enabled, another host)", "scheduler's filters and server groups", "capacity")
#: What Ansible itself reads in a result.
_KEPT = ("changed", "failed", "msg", "unreachable", "warnings", "exception")
#: Steps that are what Nova's task state shows, whatever comes before them.
_SHOWN = frozenset({"live_migrate", "migrate", "resize", "revert_resize"})


class Carrier(Teller):
    """An action that has a compute host carry out what is planned for one server."""

    def secrets(self, _entry: Arguments) -> dict[str, str]:
        """What the entry's steps need and neither plan nor ledger may see."""
        return {}

    def enter(self, entry: Arguments) -> Result:
        """Carry out an entry of a plan; in check mode only say what would be done."""
        kinds = [step["kind"] for step in entry["steps"]]
        result: Result = {
            "changed": bool(kinds),
            "host": entry["host"],
            "steps": kinds,
            "server": {"name": entry["name"], "id": entry["id"], "host": entry["host"]},
        }
        looked = self._look(entry) if self.check_mode else {}
        if self.diff_mode:
            lines = [*entry["text"], *checks_text(looked.get("checks", ()))]
            result["diff"] = [{"prepared": "\n".join(lines) + "\n"}]
        if self.check_mode or not kinds:
            return {**result, **looked}
        if entry.get("tried"):
            result["tried"] = entry["tried"]
        lacking = self._lacking_image(entry)
        return {**result, **(self._carry_out(entry) if lacking is None else self._fail_before(entry, lacking))}

    def _look(self, entry: Arguments) -> Result:
        """What the host says stands against its steps, where it can tell without touching anything."""
        planned = [{"check": what, "against": []} for what in _PLANNED]
        if entry.get("looked"):
            return {"checks": [*planned, *entry["looked"]]}
        deeds = [deed for deed in entry["deeds"] if deed["kind"] in ("live_migrate", "migrate")]
        if not deeds:
            return {}
        outcome = self._call(entry, deeds)
        kept: Result = {key: outcome[key] for key in ("failed", "msg", "unreachable") if key in outcome}
        told = [(result.get("told") or {}).get("checks", ()) for result in outcome.get("results", [])]
        return {**kept, "checks": [*planned, *(check for checks in told for check in checks)]}

    def _lacking_image(self, entry: Arguments) -> Result | None:
        """What the host answered that could not get the server's image; None if it has it."""
        wanted = {deed["record"]["image"]["name"] for deed in entry["deeds"] if needs_image(deed)}
        if entry.get("tried"):
            fetched = self._task_vars.get("fleet_images_elsewhere") or {}
        else:
            fetched = self._task_vars["hostvars"].raw_get(entry["host"]).get("fleet_images_done") or {}
        failed = (item for item in fetched.get("results", []) if item.get("failed") or item.get("unreachable"))
        return next((item for item in failed if item["item"]["name"] in wanted), None)

    def _fail_before(self, entry: Arguments, lacking: Result) -> Result:
        """What keeps a server from being built is told as it is, not as what follows from it on the host."""
        cause = " ".join(str(lacking.get("msg")).split())
        message = f"its image could not be brought to {entry['host']}: {cause}"
        result: Result = {"failed": True, "changed": False, "msg": message, "steps": []}
        self._journal(self.open_ledger(create=True), entry, move_of(entry["deeds"], entry["record"]), None, message)
        if entry["deeds"][0]["kind"] == "create" and not lacking.get("abort"):
            self.open_ledger(create=True).fail_before(entry["run_id"], entry["id"], entry["host"], message)
            result.update(may_try_again(entry))
        return result

    def _carry_out(self, entry: Arguments) -> Result:
        deeds = entry["deeds"]
        if entry["copy"]:
            return self._carry_out_beside(entry)
        ledger = self.open_ledger(create=True)
        run_id, server_id = entry["run_id"], entry["id"]
        first = next((deed["kind"] for deed in deeds if deed["kind"] in _SHOWN), deeds[0]["kind"])
        check_turn(ledger, entry, self._entries)
        # How many steps a host carries out at once is the fleet's word: forks don't know what is delegated where.
        ledger.begin_step(
            run_id,
            server_id,
            TASKS.get(first, "updating"),
            action=entry.get("action") or first,
            host=entry["host"],
            limit=entry["host_slots"],
            timeout=_MOVE_TIMEOUT if entry.get("destination") else _SLOT_TIMEOUT,
            ends=(entry["host"], entry["destination"]) if entry.get("destination") else (),
            at_once=int(entry.get("moves_at_once") or 1),
        )
        outcome: Result = {}
        move = move_of(deeds, entry["record"])
        self._journal(ledger, entry, move, None if move is None else move.begun)
        try:
            with ledger.renewing(run_id):
                outcome = self._call_to_the_end(entry, deeds)
                self._wait_healthy(entry, outcome)
        except BaseException as exc:
            # Whatever it is (the host is gone, the task timed out), the server is not this run's any more.
            why = str(exc) or type(exc).__name__
            self._journal(ledger, entry, move, ended(move, entry, outcome), why)
            self._note_failure(ledger, entry, why, outcome)
            raise
        self._journal(ledger, entry, move, ended(move, entry, outcome), cause(outcome))
        self._journal_end(ledger, entry, outcome)
        if outcome.get("failed"):
            self._note_failure(ledger, entry, str(outcome.get("msg", "")), outcome)
        else:
            self._note_success(ledger, entry, outcome)
        keep_snapshots(ledger, entry, outcome)
        return self._result(entry, outcome)

    def _carry_out_beside(self, entry: Arguments) -> Result:
        """Steps on a copy beside the server itself: the ledger knows none of them, but the move that left it."""
        outcome = self._call(entry, entry["deeds"])
        told = entry["deeds"][-1].get("options") or {}
        if entry["deeds"][-1]["kind"] == "drop_stale" and not outcome.get("failed") and outcome.get("results"):
            with contextlib.suppress(FlotillaError):  # a ledger that was lost doesn't know of it
                ledger = self.open_ledger(create=True)
                ledger.update_migration(entry["run_id"], told["migration"], status=COMPLETED)
        return self._result(entry, outcome)

    def _entries(self) -> t.Mapping[str, Arguments]:
        """The entries of the run's plan, by server."""
        plan = self._task_vars["hostvars"].raw_get("localhost").get("fleet_plan") or {}
        entries: t.Mapping[str, Arguments] = plan.get("servers") or {}
        return entries

    def _wait_healthy(self, entry: Arguments, outcome: Result) -> None:
        """A server that was interrupted counts as done when it is well again, as its server_health says."""
        results = [] if outcome.get("failed") else outcome["results"]
        health = self.variable("server_health") if interrupts([result["kind"] for result in results]) else None
        if not health:
            return
        record, timeout = results[-1]["record"], health.get("timeout", TIMEOUT)
        if health.get("agent"):
            ping = {"kind": "wait_agent", "server_id": entry["id"], "name": entry["name"], "timeout": timeout}
            # After a move it answers where it is now.
            at = (entry["deeds"][-1].get("options") or {}).get("at")
            options = {} if at is None else {"options": {"at": at}}
            answer = self._call(entry, [{**ping, "expects": record["generation"], **options}])
            if answer.get("failed"):
                raise FlotillaError(str(answer.get("msg")))
        if health.get("port"):
            wait_port(record, health["port"], timeout)

    def _journal(self, ledger: Ledger, entry: Arguments, move: Move | None, status: str | None, why: str = "") -> None:
        """A resize is a migration in Nova's words. What can't be noted the next run reads from the host.

        *why*: what went wrong, also where nobody knows the status that it has led to."""
        if move is None or not (status or why):
            return
        with contextlib.suppress(FlotillaError):
            if status is None:
                ledger.update_migration(entry["run_id"], move.id, cause=why)
                return
            names = {"source": move.source or entry["host"], "destination": move.destination, **move.data}
            names.update(entry.get("journal") or {})
            ledger.note_migration(
                entry["run_id"], move.id, move.kind, entry["id"], status=status, cause=why or None, **names
            )

    def _journal_end(self, ledger: Ledger, entry: Arguments, outcome: Result) -> None:
        """A move whose run was cut off is over: its row was that run's."""
        told = end_told(outcome)
        if told is not None:
            migration, status, why = told
            with contextlib.suppress(FlotillaError):
                ledger.update_migration(entry["run_id"], migration, status=status, cause=why)

    def _call_to_the_end(self, entry: Arguments, deeds: t.Sequence[Json]) -> Result:
        """A step that goes on by itself is asked for again, and its progress is shown."""
        since = time.time()
        while True:
            outcome = self._call(entry, [watched(deed, time.time() - since) for deed in deeds])
            if outcome.get("failed") or not is_running(outcome):
                return outcome
            last = outcome["results"][-1]
            if not all((deed.get("options") or {}).get("wait", True) for deed in deeds):
                return outcome
            far = f"{how_far(last['told']['progress'])}, {time.time() - since:.0f} s"
            Display().display(f"{entry['name']}: {last['kind']}: {far}")

    def _call(self, entry: Arguments, deeds: t.Sequence[Json]) -> Result:
        secrets = self.secrets(entry)
        ask = {
            "name": entry["name"],
            "steps": list(deeds),
            "drives": self._drives(entry, deeds),
            "trees": self._trees(entry, deeds),
        }
        at_once = 1 if secrets or self.check_mode else self._asking_at_once(entry, deeds)
        if at_once == 1:
            return self._execute(entry, [ask], {entry["id"]: secrets} if secrets else {})
        answer = self._together(entry, at_once).ask(entry["id"], ask, lambda asks: self._ask_for_all(entry, asks))
        if "out_of_reach" in answer:
            raise AnsibleConnectionFailure(str(answer["out_of_reach"]))
        return answer

    def _ask_for_all(self, entry: Arguments, asks: t.Mapping[str, Ask]) -> dict[str, Result]:
        try:
            outcome = self._execute(entry, list(asks.values()), {})
        except AnsibleConnectionFailure as exc:  # it is so for all of them, and each would wait for it anew
            return {server_id: {"out_of_reach": str(exc)} for server_id in asks}
        return {server_id: of_server(outcome, server_id) for server_id in asks}

    def _execute(self, entry: Arguments, asks: t.Sequence[Ask], secrets: t.Mapping[str, Json]) -> Result:
        module_args = {
            "name": ", ".join(ask["name"] for ask in asks),
            **self._circumstances(entry),
            "steps": [step for ask in asks for step in ask["steps"]],
            "drives": {server_id: drive for ask in asks for server_id, drive in ask["drives"].items()},
            "trees": {server_id: tree for ask in asks for server_id, tree in ask["trees"].items()},
            "secrets": secrets,
            "lock_timeout": LOCK_TIMEOUT,
        }
        called: Result = self._execute_module(
            module_name="flotilla.compute.server", module_args=module_args, task_vars=self._task_vars
        )
        return called

    def _circumstances(self, entry: Arguments) -> dict[str, Json]:
        """What is equal for all servers that are asked for in one call."""
        return {
            "uri": entry["uri"],
            "state_dir": entry["host_state_dir"],
            "run_id": entry["run_id"] or "check mode",
            "fleet_id": entry["fleet_id"],
            "undo": attempts_left(entry),
        }

    def _asking_at_once(self, entry: Arguments, deeds: t.Sequence[Json]) -> int:
        """How many servers of this one's host the run's processes are about to ask for; 1 if this one goes alone."""
        entries = self._entries()
        if entry.get("tried") or entry["name"] not in entries or not is_quick(deeds):
            return 1
        like = [each for each in entries.values() if each["deeds"] and is_quick(each["deeds"])]
        here = sum(each["host"] == entry["host"] for each in like)
        forks = int(context.CLIARGS.get("forks") or 1)
        return about_to_ask(here, len(like), forks=forks, slots=int(entry["host_slots"]))

    def _together(self, entry: Arguments, at_once: int) -> Together:
        """With all of this run that ask the same host for the like."""
        what = json.dumps([entry["host"], self._circumstances(entry)], sort_keys=True)
        folder = f"flotilla-{hashlib.sha256(what.encode()).hexdigest()[:16]}"
        mine = constants.DEFAULT_LOCAL_TMP  # type: ignore[attr-defined, unused-ignore]
        return Together(Path(mine) / folder, at_once)

    def target_host(self) -> str:
        """The compute host that the task is for."""
        return str(self._task.delegate_to or self._task_vars["inventory_hostname"])

    def survey(self, declared: Declared, host: str) -> Result:
        settings = declared.computes[host]
        found: Result = self._execute_module(
            module_name="flotilla.compute.compute_info",
            module_args={
                "uri": settings.uri,
                "state_dir": settings.state_dir,
                "cpu_model": declared.settings.cpu_model,
            },
            task_vars=self._task_vars,
        )
        return found

    def surveyed_since(self, now: float, declared: Declared) -> float:
        """When the surveys that other tasks have registered were begun; *now* if there are none that are fresh."""
        read = self._task_vars["hostvars"].raw_get("localhost").get("fleet_declared") or {}
        since = float((read.get("run") or {}).get("since") or 0)
        return since if now - since <= declared.settings.survey_max_age else now

    def known(self, declared: Declared, server: str, survey: Result, now: float) -> list[Compute]:
        """This host as it is now; the others as they were surveyed in this run, if that is not too long ago."""
        host, since = self.target_host(), self.surveyed_since(now, declared)
        if since >= now:
            return surveyed(declared.computes, {host: survey})
        computes, ledger = self.computes(declared, {host: survey}), self.open_ledger(create=False)
        left = left_since(ledger.snapshot() if ledger is not None else None, server, host, computes, since)
        if left is not None:
            raise Refused(
                f"{server} has come from {left} to {host} since {left} was surveyed: import the playbook "
                "flotilla.compute.survey before this task, too"
            )
        return computes

    def _note_success(self, ledger: Ledger, entry: Arguments, outcome: Result) -> None:
        last = outcome["results"][-1]
        record = last_record(outcome) or applied(entry)
        deleted = last["kind"] == "delete"
        state = last.get("state")
        if is_running(outcome) or (record is None and not deleted):
            # What goes on by itself the next run finds. And no record is the ledger's word for a server that is no
            # more: only a deletion may say it.
            ledger.end_task(entry["run_id"], entry["id"])
            return
        ledger.finish(
            entry["run_id"],
            entry["id"],
            record=None if deleted else record,
            host=arrived_at(outcome) or entry.get("destination") or entry["host"],
            vm_state=vm_state(state or "shutoff", () if record is None else record.marks),
            power_state=power_state(state or "shutoff"),
            message=", ".join(result["message" if entry.get("action") else "kind"] for result in outcome["results"]),
        )
        if record is not None and not deleted:
            with contextlib.suppress(FlotillaError):  # what is done is done, and the next step tries again
                self.keep(ledger, record)

    def _note_failure(self, ledger: Ledger, entry: Arguments, message: str, outcome: Result) -> None:
        # The ledger may be what failed; then the host's own record tells the next run.
        with contextlib.suppress(FlotillaError):
            gone = nothing_left(outcome)
            ledger.fail(
                entry["run_id"],
                entry["id"],
                message,
                # The record of a build that was undone is nobody's.
                record=None if gone else last_record(outcome),
                host=arrived_at(outcome),
                failed_build=entry["host"] if is_host_s_fault(entry, outcome) else None,
                unclaim=is_back(entry, outcome),
            )

    def recorded(self, name: str) -> Record | None:
        """The server of that name or id as the ledger remembers it; one that was deleted softly by its id alone."""
        ledger = self.open_ledger(create=False)
        rows = ledger.snapshot().servers.values() if ledger is not None else ()
        named = (row for row in rows if row.id == name or (row.name == name and row.vm_state != "soft-delete"))
        return next((row.loads() for row in named), None)

    def _result(self, entry: Arguments, outcome: Result) -> Result:
        results = outcome.get("results", [])
        kept: Result = {key: outcome[key] for key in _KEPT if key in outcome}
        state = results[-1].get("state") if results else None
        stays = outcome.get("failed") or is_running(outcome)
        host = arrived_at(outcome) or (not stays and entry.get("destination")) or entry["host"]
        server = {"name": entry["name"], "id": entry["id"], "host": host, "state": state}
        found: Result = {
            **kept,
            "server": server,
            "steps": [result["kind"] for result in results] or [s["kind"] for s in entry["steps"]],
        }
        if interrupts(found["steps"]):
            found["interrupted"] = True
        if is_host_s_fault(entry, outcome) and nothing_left(outcome):
            found.update(may_try_again(entry))
        if entry.get("without") and not outcome.get("failed"):
            found["without"] = entry["without"]
        told = {key: value for result in results for key, value in result.get("told", {}).items()}
        return {**found, "details": told} if told else found


def is_quick(deeds: t.Sequence[Json]) -> bool:
    """Whether steps wait for nothing, so that several servers may have theirs carried out in one call."""
    return all(deed["kind"] in _QUICK and not _copies_image(deed) and not _goes_on_alone(deed) for deed in deeds)


def _copies_image(deed: Json) -> bool:
    """Whether a disk is made that stands on no image: in pools without overlays it is filled with all of it."""
    if deed["kind"] not in ("create", "evacuate") or not needs_image(deed):
        return False
    disks = (deed.get("record") or {}).get("disks", ())
    return any(disk["role"] == "root" and disk["backing"] is None for disk in disks)


def _goes_on_alone(deed: Json) -> bool:
    """Whether a worker of its host carries it out, which takes one server."""
    return not (deed.get("options") or {}).get("wait", True)


def names_of(record: Record) -> dict[str, str]:
    """What every server must have, as it was applied."""
    return {"server_flavor": record.flavor.name, "server_image": record.image.name}


def catalogs_of(record: Record) -> dict[str, dict[str, Json]]:
    """A server's flavor and image are its own copies: it can be dealt with when the catalogs no longer have them."""
    return {
        "flavors": {record.flavor.name: record.flavor.to_json()},
        "images": {record.image.name: record.image.to_json()},
    }


__all__ = ["LOCK_TIMEOUT", "Carrier", "catalogs_of", "is_quick", "names_of"]
