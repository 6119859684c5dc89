# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rebuild that has begun: what a server's record says while its old root disk is given up and no new one is whole.

Note that this module util is **PRIVATE** to the collection.

The mark ``rebuilding`` is {"spec": the record's to be}. From then on there is only the way forward, whoever asked for
the rebuild: an action may have, and inventory know nothing of it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .model import Image, Json, Record, Spec
from .step import Step

MARK: t.Final = "rebuilding"
_CUT_OFF: t.Final = "a rebuild of it was cut off"
#: What records and plans have digests of alone.
_DIGESTS: t.Final = ("personality", "user_data")


def begun(record: Record, target: Record) -> Record:
    """The record of before, saying that its root disk goes for that of *target*."""
    return dataclasses.replace(record, marks={**record.marks, MARK: {"spec": dict(target.spec)}})


def cut_off(record: Record) -> bool:
    return MARK in record.marks


def rebuild_again(record: Record, desired: Spec) -> Step:
    """What it was asked for is carried out, as far as somebody still knows it: of user data and files the record has
    digests alone. Where an action had brought others than inventory has, the server gets inventory's."""
    spec = _wanted(record)
    lost = [key for key in _DIGESTS if key in spec and spec[key] != desired.get(key)]
    if not lost:
        return Step("rebuild", _CUT_OFF, spec=spec)
    kept = {key: value for key, value in spec.items() if key not in lost}
    kept.update({key: desired[key] for key in lost if key in desired})
    what = " and ".join(key.replace("_", " ").replace("personality", "files") for key in lost)
    return Step("rebuild", f"{_CUT_OFF}; with the {what} of inventory, for what it was asked for is gone", spec=kept)


def rebuilt(record: Record, step: Step) -> Record:
    """The record after that step, as far as a plan looks at it."""
    spec = dict(step.spec or {})
    marks = {key: value for key, value in record.marks.items() if key != MARK}
    return dataclasses.replace(record, spec=spec, image=Image.from_json(spec["image"]), marks=marks)


def _wanted(record: Record) -> dict[str, Json]:
    mark = record.marks[MARK]
    spec = mark.get("spec") if isinstance(mark, dict) else None
    # A record comes from a domain's metadata, which anybody on the host can write.
    return dict(spec) if isinstance(spec, dict) and "image" in spec else dict(record.spec)


__all__ = ["MARK", "begun", "cut_off", "rebuild_again", "rebuilt"]
