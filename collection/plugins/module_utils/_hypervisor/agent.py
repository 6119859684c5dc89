# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guest agent: whether it is there and answers.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Domain,
    is_error,
    libvirt,
)

#: The guest's agent is not there, or doesn't answer.
SILENT: t.Final = ("VIR_ERR_AGENT_UNRESPONSIVE", "VIR_ERR_AGENT_UNSYNCED", "VIR_ERR_AGENT_COMMAND_TIMEOUT")
#: The domain has no channel for one, or its driver knows of none.
_NONE: t.Final = ("VIR_ERR_ARGUMENT_UNSUPPORTED", "VIR_ERR_CONFIG_UNSUPPORTED", "VIR_ERR_NO_SUPPORT")


def answers(domain: Domain) -> bool:
    """Whether the agent of a running guest answers. libvirtError where the domain has no channel for one."""
    try:
        domain.getTime(0)
    except libvirt.libvirtError as exc:
        if is_error(exc, *SILENT):
            return False
        raise
    return True


def state(domain: Domain) -> bool | None:
    """As answers(); None for a guest that doesn't run or has no channel for an agent."""
    try:
        return answers(domain)
    except libvirt.libvirtError as exc:
        if is_error(exc, *_NONE, "VIR_ERR_OPERATION_INVALID"):
            return None
        raise


__all__ = ["SILENT", "answers", "state"]
