# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps that only somebody's action takes, never a reconcile run: reboots, an NMI, a password.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput, Refused
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import agent, domains
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    is_error,
    libvirt,
    message_of,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.handlers import (
    Handler,
    Outcome,
    must_be_whole,
    must_stand_on_its_own,
    redefine,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Job

_SOFT_REBOOT_TIMEOUT = 120.0


def _reboot(job: Job) -> Outcome:
    """Down by the power button and up again, as Nova does it; a guest that doesn't go down in time is power cycled."""
    options = job.order.options
    if not options.get("wait", True):
        job.domain.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)
        return True, "asked to reboot"
    timeout = float(options.get("timeout", _SOFT_REBOOT_TIMEOUT))
    if domains.shut_down(job.domain, timeout=timeout):
        job.domain.create()
        return True, "rebooted"
    _power_cycle(job)
    return True, f"rebooted hard: it did not shut down within {timeout:g} s"


def _hard_reboot(job: Job) -> Outcome:
    """The repair of a broken guest: off, its XML made anew from its record, on."""
    if job.done and job.domain.isActive():
        return False, "an earlier run did it"
    _power_cycle(job)
    return True, "rebooted hard, its domain made anew from its record"


def _power_cycle(job: Job) -> None:
    must_be_whole(job)
    record = job.target if job.order.record is not None else job.host.settle(job.record)
    domains.must_not_be_elsewhere(job.domain)
    # Before it is off: a guest that can't come back is left running.
    for disk in record.disks:
        job.host.storage.existing(disk)
    must_stand_on_its_own(job, record)
    domains.kill(job.domain)
    if job.domain.hasManagedSaveImage():
        job.domain.managedSaveRemove()  # a saved memory would bring the broken guest back
    redefine(job, record)
    domains.start(job.domain)


def _inject_nmi(job: Job) -> Outcome:
    job.domain.injectNMI(0)
    return True, "NMI injected"


def _set_password(job: Job) -> Outcome:
    """By the guest agent, in Nova's words where it isn't there. Every time anew: nobody can read what is set."""
    user = job.order.options.get("user", "root")
    password = job.host.secrets.get(job.order.server_id, {}).get("password")
    if not password:
        raise InvalidInput(
            f"a new password for server {job.order.name!r} came without one; give it as the option password"
        )
    try:
        with agent.limited(job.domain):
            job.domain.setUserPassword(user, password, 0)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_ARGUMENT_UNSUPPORTED", "VIR_ERR_CONFIG_UNSUPPORTED"):
            raise Refused("QEMU guest agent is not enabled") from exc
        if is_error(exc, *agent.SILENT):
            raise Refused(
                f"Failed to set admin password on {job.order.server_id} because its guest agent does not answer; "
                "is qemu-guest-agent running in the guest?"
            ) from exc
        raise FlotillaError(f"Failed to set admin password on {job.order.server_id} because {message_of(exc)}") from exc
    return True, f"password of {user} set"


def _wait_agent(job: Job) -> Outcome:
    """The guest is healthy when its agent answers. It changes nothing."""
    within = job.order.timeout
    if not domains.became(lambda: _agent_answers(job), within=within):
        raise FlotillaError(f"it is not healthy: its guest agent did not answer within {within:g} s")
    return False, "its guest agent answers"


def _agent_answers(job: Job) -> bool:
    if not job.domain.isActive():
        raise FlotillaError("it is not healthy: it is off again")
    return agent.answers(job.domain)


HANDLERS: t.Final[t.Mapping[str, Handler]] = {
    "hard_reboot": _hard_reboot,
    "inject_nmi": _inject_nmi,
    "reboot": _reboot,
    "set_password": _set_password,
    "wait_agent": _wait_agent,
}

__all__ = ["HANDLERS"]
