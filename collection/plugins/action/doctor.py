# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module doctor: what is wrong between ledger, hosts and inventory, and what only the ledger can mend."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InProgress, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.states import power_state, vm_state
from ansible_collections.flotilla.compute.plugins.plugin_utils._action import Arguments, Result
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import Declared
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.doctor import examine, findings_text
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.findings import Patient
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger, named, preload
from ansible_collections.flotilla.compute.plugins.plugin_utils._planner import Planner

preload()  # once, in the process that forks the workers


class ActionModule(Planner):
    argument_spec: t.ClassVar[dict[str, dict[str, t.Any]]] = {
        "declared": {"type": "str"},
        "action": {"type": "str", "choices": ["examine", "reset_state", "forget_host"], "default": "examine"},
        "server": {"type": "str"},
        "host": {"type": "str"},
    }
    constraints: t.ClassVar[dict[str, t.Any]] = {
        "required_if": [["action", "reset_state", ["server"]], ["action", "forget_host", ["host"]]]
    }

    def perform(self, args: Arguments) -> Result:
        declared = Declared.unpack(args["declared"]) if args["declared"] else self.declare()
        ledger = self.open_ledger(create=False)
        snapshot = ledger.snapshot() if ledger is not None else None
        patient = Patient(declared, self.computes(declared), snapshot)
        if args["action"] == "examine":
            return self._examine(patient)
        if ledger is None:
            raise InvalidInput("this fleet has no ledger, so there is nothing in it to mend")
        if args["action"] == "reset_state":
            return self._reset_state(patient, ledger, args["server"])
        return self._forget_host(patient, ledger, args["host"])

    def _examine(self, patient: Patient) -> Result:
        findings = examine(patient)
        text = findings_text(findings)
        Display().display(text)
        result: Result = {"changed": False, "findings": [one.to_json() for one in findings], "text": text}
        if findings and patient.declared.settings.strict:
            result.update(failed=True, msg=text)
        return result

    def _reset_state(self, patient: Patient, ledger: Ledger, server: str) -> Result:
        row = named(patient.rows.values(), server)
        claims = patient.snapshot.claims.values() if patient.snapshot is not None else ()
        claimed = next((claim.server_id for claim in claims if claim.name == server), server)
        server_id = claimed if row is None else row.id
        host = next((compute.name for compute in patient.computes if server_id in compute.at_work), None)
        if host is not None:
            raise InProgress(f"{server} is not stuck: a step goes on on {host}; run again when it has ended")
        seen = [(guest, record) for _compute, guest, record in patient.ours() if record.id == server_id]
        seen.sort(key=lambda copy: copy[0].active)
        state = (vm_state(seen[-1][0].state, seen[-1][1].marks), power_state(seen[-1][0].state)) if seen else None
        done = ledger.reset_state(
            server_id, nothing_left=self._nothing_left(patient, server_id), seen=state, dry=self.check_mode
        )
        return self._told(server, done)

    def _nothing_left(self, patient: Patient, server_id: str) -> bool:
        """Whether nothing of a server is anywhere; a claim on a host that inventory no longer names counts as gone."""
        claim = patient.snapshot.claims.get(server_id) if patient.snapshot is not None else None
        host = patient.host(claim.host) if claim is not None else None
        seen = claim is None or host is None or host.whole
        return seen and not patient.remains(server_id)

    def _forget_host(self, patient: Patient, ledger: Ledger, host: str) -> Result:
        named = patient.host(host)
        if named is not None and not named.up:
            raise Refused(
                f"{host} is down, so nobody knows what is on it: take it out of group computes first, or evacuate it"
            )
        if named is not None and any(compute is named for compute, _guest, _record in patient.copies()):
            raise Refused(f"{host} still has servers: move or delete them first; the playbook status lists them")
        lost = "data_loss" in patient.declared.settings.allow
        seen = patient.still_seen()
        names = ledger.forget_lost_host(host, servers_too=lost, still_seen=seen, dry=self.check_mode)
        given_up = f"; given up with it: {', '.join(names)}" if names else ""
        kept = sorted(row.name for row in patient.rows.values() if row.host == host and row.id in seen)
        stay = f"; kept, for they or their disks are still seen: {', '.join(kept)}" if kept else ""
        return self._told(host, [f"forgotten by the ledger{given_up}{stay}"])

    def _told(self, what: str, done: t.Sequence[str]) -> Result:
        would = "would be: " if self.check_mode and done else ""
        text = f"{what}: {would}{', '.join(done) or 'nothing to mend'}"
        Display().display(text)
        return {"changed": bool(done), "done": list(done), "text": text}
