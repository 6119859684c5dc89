# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an evacuation is asked for, and whether it makes sense: the hosts that are named, and those that don't answer.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import listed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Situation
    from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import Compute


@dataclasses.dataclass(frozen=True)
class Lost:
    """What is asked for. ``hosts`` are dead, ``named`` all that were named; ``server``: the only one (name or id);
    ``to``: the host to go to.

    ``on_shared_storage``: auto, true or false, what the caller knows of the disks; ``target_state``: declared, started
    or stopped; ``password``: whether a new one is given; ``by_word``: that the hosts are dead is a person's word, no
    fence's; ``unattended``: nobody but a watcher has asked for it. ``begun``: server id -> hosts where unfinished moves
    of it may have left a guest. ``wait``: until each server is built.
    """

    hosts: tuple[str, ...]
    server: str | None = None
    to: str | None = None
    on_shared_storage: str = "auto"
    accept_data_loss: bool = False
    target_state: str = "declared"
    password: bool = False
    by_word: bool = False
    wait: bool = True
    unattended: bool = False
    named: tuple[str, ...] = ()
    begun: t.Mapping[str, t.Collection[str]] = dataclasses.field(default_factory=dict)


def check_hosts(given: Situation, lost: Lost) -> None:
    rows = given.snapshot.hosts if given.snapshot is not None else {}
    for host in lost.hosts:
        compute = given.by_name.get(host)
        if compute is None and host not in rows:
            known = ", ".join(sorted({*given.by_name, *rows})) or "none"
            raise InvalidInput(f"Compute host {host} not found. There are: {known}")
        if compute is not None and compute.up:
            raise Refused(
                f"Compute service of {host} is still in use. It answers, so its servers are not dead: "
                "the playbook drain empties a host that runs"
            )
    _check_quorum(given, lost)
    if lost.to is None:
        return
    if lost.to in lost.hosts:
        raise Refused(f"The target host can't be the same one. {lost.to} is the host that is evacuated")
    if lost.to not in given.by_name:
        raise InvalidInput(f"Compute host {lost.to} not found. There are: {', '.join(sorted(given.by_name))}")
    if not given.by_name[lost.to].up:
        raise Refused(f"{lost.to} is down, too: {given.by_name[lost.to].why}")


def _check_quorum(given: Situation, lost: Lost) -> None:
    """Who doesn't see most of the fleet may have a fault of his own, and would have hosts fenced that live.

    Half is not most. Hosts that a person has named are known to be silent, those that are out of service may be;
    what a watcher has named is one silent host more.
    """
    named = set() if lost.unattended else {*lost.hosts, *lost.named}
    others = [compute for compute in given.computes if compute.name not in named]
    counted = [compute for compute in others if compute.up or _in_service(given, compute)]
    silent = sorted(compute.name for compute in counted if not compute.up)
    if lost.by_word or not silent or 2 * len(silent) < len(counted):
        return
    of = "hosts that are in service" if lost.unattended else "other hosts that are in service"
    those = ",".join(dict.fromkeys((*lost.hosts, *silent)))
    raise Refused(
        f"{len(silent)} of the {len(counted)} {of} don't answer ({listed(silent)}), so most of the fleet is not seen: "
        "the fault may be this controller's own, its network or its load, and then live hosts would be fenced. Look at "
        f"that; those that are really dead are evacuated together, -e fleet_host={those}"
    )


def _in_service(given: Situation, compute: Compute) -> bool:
    row = given.snapshot.hosts.get(compute.name) if given.snapshot is not None else None
    state, _reason = compute.service((row.service_state, row.service_reason) if row is not None else None)
    return state == "enabled"


__all__ = ["Lost", "check_hosts"]
