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

from .model import Image, Json, Record
from .step import Step

MARK: t.Final = "rebuilding"


def begun(record: Record, target: Record) -> Record:
    """The record of before, saying that its root disk goes for that of *target*."""
    return dataclasses.replace(record, marks={**record.marks, MARK: {"spec": dict(target.spec)}})


def cut_off(record: Record) -> bool:
    return MARK in record.marks


def rebuild_again(record: Record) -> Step:
    return Step("rebuild", "a rebuild of it was cut off", spec=_wanted(record))


def rebuilt(record: Record) -> Record:
    """The record after that step, as far as a plan looks at it."""
    spec = _wanted(record)
    marks = {key: value for key, value in record.marks.items() if key != MARK}
    return dataclasses.replace(record, spec=spec, image=Image.from_json(spec["image"]), marks=marks)


def _wanted(record: Record) -> dict[str, Json]:
    mark = record.marks[MARK]
    spec = mark.get("spec") if isinstance(mark, dict) else None
    # A record comes from a domain's metadata, which anybody on the host can write.
    return dict(spec) if isinstance(spec, dict) and "image" in spec else dict(record.spec)


__all__ = ["MARK", "begun", "cut_off", "rebuild_again", "rebuilt"]
