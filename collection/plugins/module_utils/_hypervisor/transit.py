# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What libvirt says of a domain that is on its way from one host to another.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    found,
    is_error,
    libvirt,
)

#: What libvirt says of the job of a guest that comes from another host; earlier releases call it an invalid operation.
_COMING = "VIR_ERR_OPERATION_UNSUPPORTED"


def is_post_copy(domain: Domain) -> bool:
    """Whether part of the guest's memory is on another host already (also when that stands still)."""
    reasons = (libvirt.VIR_DOMAIN_PAUSED_POSTCOPY, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
    state, reason = domain.state()[:2]
    return state == libvirt.VIR_DOMAIN_PAUSED and reason in reasons


def is_broken_post_copy(domain: Domain) -> bool:
    """Whether a migration in post-copy lost its link, as the end that is asked knows: it can only be resumed."""
    broken = (
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED),
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED),
    )
    return tuple(domain.state()[:2]) in broken


def is_waiting_for_memory(domain: Domain) -> bool:
    """Whether libvirt has it paused for a migration, be it the end that it comes from or the one that it goes to."""
    state, reason = domain.state()[:2]
    waiting = (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
    return state == libvirt.VIR_DOMAIN_PAUSED and reason in waiting


def may_be_handed_over(domain: Domain) -> bool:
    """Whether a guest whose migration failed stood still for its end: all of its memory may be at the destination, and
    it may run there. Libvirt lets one go on for this reason when its destination doesn't answer at the very end
    (qemuMigrationSrcRestoreDomainState), and for this reason alone; one that was paused anyway shows nothing."""
    state = found(domain.state)
    if state is None:
        return False
    let_go_on = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED)
    return state[0] == libvirt.VIR_DOMAIN_PAUSED or tuple(state[:2]) == let_go_on


def is_arriving(domain: Domain) -> bool:
    """Whether it is a guest that another host still has: its memory is on the way here, and it has not run here yet."""
    if not is_waiting_for_memory(domain):
        return False
    try:
        stats = found(domain.jobStats)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_OPERATION_INVALID", _COMING):
            # QEMU's driver: "migration statistics are available only on the source host".
            return is_waiting_for_memory(domain)
        if is_error(exc, "VIR_ERR_NO_SUPPORT"):
            return False
        raise
    return stats is not None and stats.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN


def is_to_go_on(domain: Domain, *, halted: bool, paused: bool) -> bool:
    """Whether a guest that was not moved stands still for its move alone, and nobody else has paused it.

    *halted* and *paused* are what its mark says (`Move`): surveys, which ask for other things here, read no marks.
    """
    stopped = halted or (is_waiting_for_memory(domain) and not has_job(domain))
    return stopped and not paused


def has_job(domain: Domain) -> bool:
    """Whether libvirt has a job at work on a domain."""
    try:
        info = found(domain.jobInfo)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_OPERATION_INVALID"):  # it doesn't run any more
            return False
        if is_error(exc, _COMING):
            return True
        raise
    return info is not None and info[0] in (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)


def is_being_moved(domain: Domain) -> bool:
    """Whether libvirt's job is a migration away from here: no end of a backup or a dump is waited for."""
    if not has_job(domain):
        return False
    with contextlib.suppress(libvirt.libvirtError):
        outwards = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
        return bool(domain.jobStats().get("operation", outwards) == outwards)
    return True


__all__ = [
    "has_job",
    "is_arriving",
    "is_being_moved",
    "is_broken_post_copy",
    "is_post_copy",
    "is_to_go_on",
    "is_waiting_for_memory",
    "may_be_handed_over",
]
