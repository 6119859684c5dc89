# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resource classes and traits: their names, their amounts, and that flavors and images mean those that hosts have.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import load
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.extra_specs import problem
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import nearest, shown
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import MEASURED

__all__ = ["check_resources", "check_traits", "check_wishes"]

_CUSTOM = "CUSTOM_"
_WISH = re.compile(r"(resources|trait)[a-zA-Z0-9_-]{0,64}:(CUSTOM_.+)", re.ASCII)
#: What the variables of a host say of a measured resource class elsewhere.
_ELSEWHERE = {"reserved": "compute_reserved", "allocation_ratio": "compute_allocation_ratio"}
#: The name after CUSTOM_ must be rather like another to be a slip of the pen: CUSTOM_GPU is no CUSTOM_FPGA.
_ALIKE = 0.75

Data = t.Mapping[str, t.Any]


def check_resources(review: Review, host: str, data: Data) -> None:
    """``compute_resources`` of a host."""
    for name, given in data.get("compute_resources", {}).items():
        if name not in MEASURED and not _is_own(name):
            _unknown_class(review, host, name)
            continue
        entry = {"total": given} if isinstance(given, int) else given
        for key, reason in _measured(name, entry) if name in MEASURED else _own(entry):
            path = (name, key) if key and not isinstance(given, int) else (name,)
            review.add("compute_resources", path, hosts=(host,), reason=reason)


def _unknown_class(review: Review, host: str, name: str) -> None:
    standard = name in load("extra_specs")["resources"].split()
    allowed = f"a class of your own, which begins with {_CUSTOM}, or {', '.join(MEASURED)}"
    reason = (
        f"found {shown(name)}, a class of Placement's that no host here has" if standard else f"found {shown(name)}"
    )
    hint = None if standard else nearest(name, MEASURED) or f"{_CUSTOM}{name}"
    review.add("compute_resources", (name,), hosts=(host,), reason=f"{reason}, allowed is {allowed}", hint=hint)


def _measured(name: str, entry: Data) -> t.Iterator[tuple[str, str]]:
    if "total" in entry:
        yield "total", f"how much {name} a host has is measured; leave it out"
    for key, variable in _ELSEWHERE.items():
        if key in entry:
            yield key, f"is {variable}'s to say for {name}; put it there"
    yield from _units(entry)


def _own(entry: Data) -> t.Iterator[tuple[str, str]]:
    total = entry.get("total")
    if total is None:
        yield "", "total is missing: how many of it the host has"
        return
    if entry.get("reserved", 0) > total:
        yield "reserved", f"found {entry['reserved']}, allowed is at most the total, {total}"
    if entry.get("min_unit", 1) > total:
        yield "min_unit", f"found {entry['min_unit']}, allowed is at most the total, {total}"
    yield from _units(entry)


def _units(entry: Data) -> t.Iterator[tuple[str, str]]:
    least, most = entry.get("min_unit", 1), entry.get("max_unit")
    if most is not None and most < least:
        yield "max_unit", f"found {most}, allowed is at least min_unit, {least}"
    step = entry.get("step_size", 1)
    if most is not None and most < step:
        yield "step_size", f"found {step}, allowed is at most max_unit, {most}: no amount would do"


def _is_own(name: str) -> bool:
    return name.startswith(_CUSTOM) and len(name) > len(_CUSTOM)


def check_traits(review: Review, host: str, data: Data) -> None:
    """``compute_traits`` of a host: names of os-traits, or of the site's own."""
    known = load("extra_specs")["traits"].split()
    for index, name in enumerate(data.get("compute_traits", ())):
        if name == "COMPUTE_STATUS_DISABLED":
            reason = f"{name} is a host's whose compute_state is not enabled; set that instead"
            review.add("compute_traits", (index,), hosts=(host,), reason=reason)
        elif name not in known and not _is_own(name):
            allowed = f"a trait of os-traits, or one of your own, which begins with {_CUSTOM}"
            hint = nearest(name, known)
            review.add("compute_traits", (index,), hosts=(host,), found=shown(name), allowed=allowed, hint=hint)


def check_wishes(review: Review) -> None:
    """What flavors and images ask for by names of the site's own, where such a name looks like a host's misspelt one.

    One that is like none is left to the scheduler: the host that has it may just not be there now.
    """
    for name, entry in review.fleet.get("fleet_images", {}).items():
        for key, value in entry.get("properties", {}).items():
            clauses = problem(key, value) if key.startswith("trait") and ":" in key else None
            if clauses is not None:
                review.add("fleet_images", (name, "properties", key), **clauses)
    hosts = list(review.inventory.computes)
    if not hosts or any(review.spoilt(variable, hosts) for variable in ("compute_resources", "compute_traits")):
        return
    own = {
        "resources": {name for data in review.computes.values() for name in data.get("compute_resources", {})},
        "trait": {name for data in review.computes.values() for name in data.get("compute_traits", ())},
    }
    for catalog, section in (("fleet_flavors", "extra_specs"), ("fleet_images", "properties")):
        for name, entry in review.fleet.get(catalog, {}).items():
            for key in entry.get(section, {}):
                _wish(review, (catalog, name, section, key), own)


def _wish(review: Review, where: tuple[str, str, str, str], own: t.Mapping[str, t.Collection[str]]) -> None:
    catalog, *path = where
    match = _WISH.fullmatch(where[-1])
    if match is None or match[2] in own[match[1]]:
        return
    names = {one.removeprefix(_CUSTOM): one for one in own[match[1]] if one.startswith(_CUSTOM)}
    like = difflib.get_close_matches(match[2].removeprefix(_CUSTOM), names, n=1, cutoff=_ALIKE)
    if like:
        what = "resource class" if match[1] == "resources" else "trait"
        variable = "compute_resources" if match[1] == "resources" else "compute_traits"
        reason = f"no compute host has the {what} {match[2]} ({variable})"
        review.add(catalog, tuple(path), reason=reason, hint=names[like[0]])
