# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server will be when its planned steps are done: its flavor and image, and what they ask of a host.

Note that this plugin util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Flavor, Image, Record, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.moving import MOVES
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.draft import Draft

#: Steps after which a server may take more than before, or another place.
GROWS = frozenset({"create", "grow", "reconfigure", "rebuild", "resize", "revert_resize", "unshelve"}) | MOVES


def images_for(draft: Draft) -> t.Iterator[Image]:
    """The images that a server's steps need in its pool."""
    for step in draft.plan.steps:
        if step.kind in ("create", "rebuild") and step.spec is not None:
            yield Image.from_json(step.spec["image"])
        if step.kind == "rescue":
            yield Image.from_json(step.marks["rescue"]["image"])
        if step.kind == "evacuate" and step.options.get("rebuild") and draft.record is not None:
            yield draft.record.image


def spec_of(draft: Draft) -> t.Mapping[str, t.Any]:
    """The server as declared, else as it was applied."""
    if draft.server is not None:
        return draft.server.spec
    return draft.record.spec if draft.record is not None else {}


def flavor_after(draft: Draft) -> Flavor:
    """The flavor that the server will have when its steps are done."""
    specs = [step.spec for step in draft.plan.steps if step.kind in GROWS and step.spec is not None]
    if specs:
        return Flavor.from_json(specs[-1]["flavor"])
    if draft.record is not None:
        return draft.record.flavor
    # Of what was left half built nobody knows the size; its claim only holds the name and the id.
    return draft.server.flavor if draft.server is not None else Flavor("unknown", vcpus=0, ram=0, disk=0)


def image_after(draft: Draft) -> Image:
    """The image that the server will have when its steps are done."""
    if draft.record is None:
        return t.cast(Server, draft.server).image
    asked = [step.spec["image"] for step in draft.plan.steps if step.kind == "rebuild" and step.spec is not None]
    return Image.from_json(asked[-1]) if asked else draft.record.image


#: Image properties that ask for a NUMA topology, or say how near devices must be.
_TOPOLOGY = ("hw_cpu_", "hw_emulator_", "hw_mem_page_size", "hw_numa_", "hw_pci_")


def fits_otherwise(record: Record, flavor: Flavor, image: Image) -> bool:
    """Whether a server that doesn't grow may still have to lie otherwise on its host, or not to be there at all."""

    def asked(of: Image) -> dict[str, str]:
        return {key: value for key, value in of.properties.items() if key.startswith(_TOPOLOGY)}

    if (flavor.extra_specs, asked(image)) != (record.flavor.extra_specs, asked(record.image)):
        return True
    shape = (flavor.vcpus, flavor.ram) != (record.flavor.vcpus, record.flavor.ram)
    return shape and record.fit is not None and bool(record.fit.cells)


def flavor_text(draft: Draft) -> str:
    flavor = flavor_after(draft)
    disk = flavor.disk_gb or sum(disk.size for disk in (draft.record.disks if draft.record else ())) // GIB
    return f"{flavor.name}: {flavor.vcpus} vCPU, {flavor.ram} MiB, {disk} GiB"


__all__ = ["GROWS", "fits_otherwise", "flavor_after", "flavor_text", "image_after", "images_for", "spec_of"]
