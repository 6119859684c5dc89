# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a flavor and an image ask of a host: amounts of resource classes, and traits (Nova: scheduler/utils.py).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Here a host is one resource provider. So numbered request groups (``resources1:``, ``trait1:``) all ask the host itself:
their amounts are added up, their traits hold together, and groups that are to be isolated from each other can't be.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor

VCPU = "VCPU"
PCPU = "PCPU"
MEMORY_MB = "MEMORY_MB"
DISK_GB = "DISK_GB"

Texts = t.Mapping[str, t.Any]

_GROUP = re.compile(r"(resources|trait)([a-zA-Z0-9_-]{0,64}):(.*)", re.ASCII)


def amounts_of(flavor: Flavor) -> dict[str, int]:
    """Amounts by resource class, none of them 0; ``resources:CLASS`` in extra specs overrides the flavor's."""
    amounts = {VCPU: flavor.vcpus, MEMORY_MB: flavor.ram, DISK_GB: flavor.disk_gb}
    if not flavor.extra_specs:
        return {resource: amount for resource, amount in amounts.items() if amount}
    asked = list(_asked(flavor.extra_specs, "resources"))
    _refuse_isolation(flavor, {group for _key, group, _resource, _value in asked if group})
    for key, group, resource, value in sorted(asked, key=lambda one: one[1] != ""):
        amount = _amount(flavor, key, value)
        amounts[resource] = amounts.get(resource, 0) + amount if group else amount
    return {resource: amount for resource, amount in amounts.items() if amount}


def traits_of(flavor: Flavor, image_properties: Texts) -> dict[str, str]:
    """Trait -> required or forbidden, from the flavor's extra specs and the image's properties."""
    wishes: dict[str, str] = {}
    for source in (image_properties, flavor.extra_specs):
        for _key, _group, trait, wish in _asked(source, "trait"):
            if wishes.setdefault(trait, str(wish)) != str(wish):
                raise InvalidInput(
                    f"flavor {flavor.name!r} and its image conflict: trait {trait} is both required and forbidden"
                )
    return wishes


def _asked(texts: Texts, what: str) -> t.Iterator[tuple[str, str, str, t.Any]]:
    """The key, the request group ("" for none), the name and the value of each extra spec of a kind."""
    for key, value in texts.items():
        match = _GROUP.fullmatch(key)
        if match is not None and match[1] == what:
            yield key, match[2], match[3], value


def _refuse_isolation(flavor: Flavor, groups: t.Collection[str]) -> None:
    if len(groups) < 2:
        return
    policy = flavor.extra_specs.get("group_policy")
    if policy == "none":
        return
    why = (
        "group_policy isolate wants a resource provider for each, and a host is one"
        if policy
        else "Placement then wants group_policy"
    )
    raise InvalidInput(
        f"flavor {flavor.name!r} has {len(groups)} request groups ({', '.join(sorted(groups))}); {why}; "
        "set extra spec group_policy to none"
    )


def _amount(flavor: Flavor, key: str, value: t.Any) -> int:
    if not str(value).isdecimal():
        raise InvalidInput(f"flavor {flavor.name!r}: extra spec {key!r} should be a whole number, found {value!r}")
    return int(value)


__all__ = ["DISK_GB", "MEMORY_MB", "PCPU", "VCPU", "amounts_of", "traits_of"]
