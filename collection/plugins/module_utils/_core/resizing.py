# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nova's actions resize, confirm_resize and revert_resize as steps.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from .errors import Conflict, InvalidInput
from .growing import grow_step, obstacle
from .model import Flavor, Guest, Json, Record, Server
from .moving import cold_steps
from .resize import check_flavor, resize_of
from .saving import named
from .states import route
from .steps import Step, confirm_step, resize_step, revert_steps


def resize(
    options: t.Mapping[str, Json], record: Record, guest: Guest | None, flavors: t.Mapping[str, Flavor]
) -> list[Step]:
    """Another flavor, on the host that the server is on, or on the one that is asked for."""
    if not options.get("flavor"):
        raise InvalidInput("a resize needs the option flavor: the name of the server's new flavor")
    flavor = named(str(options["flavor"]), flavors, "flavor")
    check_flavor(record, flavor)
    state = "shutoff" if guest is None else guest.state
    data = flavor.to_json()
    if options.get("host"):
        spec = {**record.spec, "flavor": data}
        return cold_steps(record, state, f"asked for, to flavor {flavor.name}", host=str(options["host"]), spec=spec)
    spec, why = {**record.spec, "flavor": data}, ""
    if record.spec.get("resize") == "live" and state == "running":
        why = obstacle(record, flavor)
        if not why:
            return [grow_step(data, "asked for", spec)]
    down = [Step(kind, "for the next step") for kind in route(state, "stopped")]
    up = [Step("start", "it ran before")] if state == "running" else []
    asked = f"asked for; not while it runs: {why}" if why else "asked for"
    return [*down, resize_step(data, asked, spec, state), *up]


def confirm(record: Record) -> list[Step]:
    """From now on there is no way back."""
    its = resize_of(record)
    if its is not None and its.undoing:
        raise Conflict(f"the revert of {record.name}'s resize was cut off: revert it again to the end")
    return [confirm_step(record, "asked for")]


def revert(record: Record, guest: Guest | None) -> list[Step]:
    return revert_steps(record, guest, "asked for")


def outlook(desired: Server, record: Record, run: str) -> str:
    """What *run* makes of a server that was resized, by what inventory says of its flavor."""
    wanted, flavor = desired.spec["flavor"], record.spec["flavor"]
    if wanted == flavor:
        return ""
    return (
        f"inventory declares flavor {wanted['name']}: {run} goes back to it; "
        f"set server_flavor: {flavor['name']} to keep the new one"
    )


__all__ = ["confirm", "outlook", "resize", "revert"]
