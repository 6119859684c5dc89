# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps that concern what the metadata service of a host tells, and nothing else of a server.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import (
    BRING,
    FORGET,
    is_here,
    ports,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.metadata_tree import Trees


def _bring(job: Job) -> tuple[bool, str]:
    """The tree of a server that is about to come from another host: it is served from its first moment here."""
    packed = job.host.trees.get(job.order.server_id)
    if packed is None:
        raise InvalidInput(f"the step {job.order.kind!r} of server {job.order.name!r} came without the metadata")
    trees, there = Trees(job.host.conn, job.host.state_dir), job.present is not None
    changed = trees.write(job.order.target, packed, there=there)
    return changed, "its metadata is here" if changed else "its metadata was here"


def _forget(job: Job) -> tuple[bool, str]:
    """Unless it has come since it was seen that it isn't here."""
    if job.present is not None and is_here(job.present.record) and ports(job.present.record):
        return False, "it is here"
    changed = Trees(job.host.conn, job.host.state_dir).remove(job.order.server_id)
    return changed, "its metadata is taken away" if changed else "its metadata was gone"


HANDLERS: t.Final[t.Mapping[str, t.Callable[[Job], tuple[bool, str]]]] = {BRING: _bring, FORGET: _forget}

__all__ = ["HANDLERS"]
