# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cold move that has failed: whether nothing of the server is at its destination, and it is here as it was.

Note that this module util is **PRIVATE** to the collection.

Only then is the move over, and what was claimed for it free. Both ends are asked anew, after all that the failure was
followed by: what one of them doesn't say is not so.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, OutOfReach
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import MARK, leaving
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    found,
    libvirt,
    libvirt_error,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ends import other_end, shared
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Job
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.steering import MoveFailed


@contextlib.contextmanager
def told_if_back(job: Job) -> t.Iterator[None]:
    """What fails in here fails as a MoveFailed of which nothing is left, where that is so."""
    try:
        yield
    except OutOfReach:  # who has just not answered is not waited for again, while the guest may be off
        raise
    except (FlotillaError, libvirt.libvirtError) as exc:
        if not _is_back(job):
            raise
        said = exc if isinstance(exc, FlotillaError) else libvirt_error(exc, "migrate", f"server {job.order.name!r}")
        migration = str(job.order.target.marks[MARK]["migration"])
        raise MoveFailed(str(said), status="failed", migration=migration) from exc


def _is_back(job: Job) -> bool:
    with contextlib.suppress(FlotillaError, libvirt.libvirtError):
        now = domains.record_of(job.host.conn.lookupByUUIDString(job.order.server_id))
        # A move's mark stays in the record until all is gone that the move has made.
        if now is None or now != job.record or leaving(now) is not None:
            return False
        with other_end(job.host, job.order.options.get("peer")) as there:
            return not _has_any(job, there)
    return False


def _has_any(job: Job, there: Host) -> bool:
    """Whether the destination has a domain of the server, or a volume of it in a pool that the hosts don't share
    (as the survey looks for them: plugin_utils/_conductor/runs.py)."""
    if found(there.conn.lookupByUUIDString, job.order.server_id) is not None:
        return True
    for name in sorted({disk.pool for disk in (*job.record.disks, *job.order.target.disks)}):
        if found(there.conn.storagePoolLookupByName, name) is None or shared(job.host, there, name):
            continue
        pool = there.storage.pool(name)
        pool.refresh_once()
        if any(volume.startswith(job.order.server_id) for volume in pool.names()):
            return True
    return False


__all__ = ["told_if_back"]
