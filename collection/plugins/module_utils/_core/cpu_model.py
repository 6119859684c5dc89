# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CPU that guests see where the fleet gives one model to all, so that they can move everywhere.

Note that this module util is **PRIVATE** to the collection.

It is frozen into a server's hardware when the server is made: ``{"model": NAME, "features": {NAME: require|disable}}``,
as libvirt names them. Without it a guest has the newest CPU that its first host can give (host-model).
"""

from __future__ import annotations

import typing as t

from .model import Json

if t.TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_FEATURES = "features"


def lacking(model: Json, cpu: t.Mapping[str, Json]) -> str:
    """What a host's CPU, as its survey has it, has not of a model; empty if it has all, or libvirt can't tell.

    The host was asked for the fleet's own. Of another, that a server was made with, its survey says which models work
    there whole; one of which features are switched off may do all the same.
    """
    asked = cpu.get("asked") or {}
    if asked.get("model") == model:
        return str(asked["lacks"])
    models = cpu.get("models")
    if models and model["model"] not in models and "disable" not in features_of(model).values():
        return f"no CPU {model['model']} works there"
    had = cpu.get(_FEATURES) or ()
    missing = [name for name, policy in sorted(features_of(model).items()) if policy == "require" and name not in had]
    return f"its CPU lacks {', '.join(missing)}" if had and missing else ""


def features_of(model: Json) -> dict[str, str]:
    return dict(model.get(_FEATURES) or {})


def write_cpu(cpu: Element, model: Json) -> None:
    """The model into a domain's ``<cpu>``: just that, or the guest doesn't start."""
    cpu.set("mode", "custom")
    cpu.set("match", "exact")
    cpu.set("check", "partial")
    name = cpu.makeelement("model", {"fallback": "forbid"})
    name.text = str(model["model"])
    cpu.append(name)
    for feature, policy in sorted(features_of(model).items()):
        cpu.append(cpu.makeelement("feature", {"policy": policy, "name": feature}))


def read_cpu(cpu: Element) -> dict[str, Json]:
    """The model that libvirt has written."""
    features = {feature.get("name", ""): feature.get("policy", "require") for feature in cpu.iterfind("feature")}
    return {"model": cpu.findtext("model"), _FEATURES: features}


__all__ = ["features_of", "lacking", "read_cpu", "write_cpu"]
