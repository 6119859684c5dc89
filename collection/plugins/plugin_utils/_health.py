# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between one interrupted server and the next: whether the run may go on, and whether the last is well again.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import socket
import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.rolling import named, too_many

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

TIMEOUT = 300
#: Seconds between two tries; a closed port answers at once.
_PAUSE = 1.0
_CONNECT = 5.0

Entry = t.Mapping[str, t.Any]


def check_turn(ledger: Ledger, entry: Entry, planned: t.Callable[[], t.Mapping[str, Entry]]) -> None:
    """Refused if so many servers of this run have failed that it begins no more (fleet_max_failures), or that no other
    of the server's group may be down (fleet_max_disrupted). *planned* gives the run's entries by name."""
    most, turn = entry.get("max_failures"), entry.get("turn")
    failed = ledger.failed(entry["run_id"]) if most is not None or turn else set()
    if most is not None and len(failed) >= most:
        raise Refused(
            f"not begun: fleet_max_failures is {most}, and failed have {named(failed)}; mend the cause and run again"
        )
    if not failed or not turn:
        return
    entries = planned()
    groups = {name: (entries.get(name, {}).get("turn") or {}).get("group") for name in failed}
    reason = too_many(turn, [name for name, group in groups.items() if group == turn["group"]])
    if reason:
        raise Refused(reason)


def wait_port(record: t.Mapping[str, Json], port: int, timeout: float) -> None:
    """Wait until the port of the server's first fixed address takes a connection from here."""
    addresses = [address["address"] for nic in record["nics"] for address in nic["addresses"]]
    if not addresses:
        raise FlotillaError(
            f"server_health asks for port {port} and the server has no fixed address; use agent or tasks instead"
        )
    deadline = time.monotonic() + timeout
    while True:
        try:
            with socket.create_connection((addresses[0], port), min(_CONNECT, timeout)):
                return
        except OSError as exc:
            if time.monotonic() + _PAUSE > deadline:
                raise FlotillaError(
                    f"it is not healthy: port {port} of {addresses[0]} did not answer within {timeout:g} s ({exc})"
                ) from exc
        time.sleep(_PAUSE)


__all__ = ["TIMEOUT", "check_turn", "wait_port"]
