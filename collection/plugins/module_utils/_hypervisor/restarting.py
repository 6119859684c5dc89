# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest that was stopped for a step which then failed: it runs again, for nothing of it has changed.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.rebuilding import cut_off
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import leaving, resize_of
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import found, libvirt

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Host, Order

Results = t.Sequence[t.Mapping[str, Json]]


def running_again(host: Host, orders: t.Sequence[Order], results: Results) -> dict[str, Json]:
    """What to add to the last of the *results*, which failed, once the guest runs again; nothing where it doesn't.

    Only a guest that these very steps have stopped, and that was to be started after them, is started: with the record
    that it had, on the disks that it had.
    """
    failed = orders[len(results) - 1]
    stopped = any(result["kind"] == "stop" and result["changed"] for result in results[:-1])
    if not stopped or "at" in failed.options or all(order.kind != "start" for order in orders[len(results) :]):
        return {}
    with contextlib.suppress(FlotillaError, libvirt.libvirtError):
        domain = found(host.conn.lookupByUUIDString, failed.server_id)
        record = None if domain is None else domains.record_of(domain)
        if domain is None or record is None or record.generation != failed.expects:
            return {}
        # One that runs already its step itself has started.
        if domain.isActive() or (_is_whole(host, record) and domains.start(domain)):
            state = domains.state_of(domain)
            return {"message": f"{results[-1]['message']}; it runs again as before", "state": state}
    return {}


def _is_whole(host: Host, record: Record) -> bool:
    """Whether it is neither on its way nor half-way back, and no disk with its data has just been made anew."""
    its = resize_of(record)
    made = {name for _pool, name in host.storage.made_for(record.id)}
    data = {disk.volume for disk in record.disks if disk.role not in ("config", "swap")}
    whole = not (its and its.undoing) and not cut_off(record)
    return leaving(record) is None and whole and not made & data


__all__ = ["running_again"]
