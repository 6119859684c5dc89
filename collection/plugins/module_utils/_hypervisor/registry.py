# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every kind of step that a host knows, with what carries it out.

Note that this module util is **PRIVATE** to the collection.

A call has a few kinds of steps, and a module starts anew for each: what carries out the others is not read, which would
take as long as making a server.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.handlers import Handler

    Handlers = t.Mapping[str, Handler]


def _deeds() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import deeds

    return deeds.HANDLERS


def _evacuation() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import evacuation

    return evacuation.HANDLERS


def _growing() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import growing

    return growing.HANDLERS


def _handlers() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import handlers

    return handlers.HANDLERS


def _live() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import live

    return live.HANDLERS


def _metadata_steps() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import metadata_steps

    return metadata_steps.HANDLERS


def _moving() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import moving

    return moving.HANDLERS


def _rescue() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import rescue

    return rescue.HANDLERS


def _resizing() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import resizing

    return resizing.HANDLERS


def _shelving() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import shelving

    return shelving.HANDLERS


def _snapshots() -> Handlers:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import snapshots

    return snapshots.HANDLERS


_KINDS: t.Final[t.Mapping[t.Callable[[], Handlers], tuple[str, ...]]] = {
    _deeds: ("hard_reboot", "inject_nmi", "reboot", "set_password", "wait_agent"),
    _evacuation: ("drop_stale", "evacuate", "reclaim", "undo_evacuation"),
    _growing: ("grow",),
    _handlers: (
        "adopt",
        "create",
        "define",
        "pause",
        "pin",
        "rebuild",
        "reconfigure",
        "restore",
        "resume",
        "soft_delete",
        "start",
        "stop",
        "suspend",
        "undefine",
        "unpause",
        "update",
    ),
    _live: ("abort_migration", "end_move", "live_migrate"),
    _metadata_steps: ("bring_metadata", "forget_metadata"),
    _moving: ("migrate", "undo_migration"),
    _rescue: ("rescue", "unrescue"),
    _resizing: ("confirm_resize", "resize", "revert_resize"),
    _shelving: ("delete", "shelve", "tidy", "unshelve", "update_shelved"),  # its `delete` knows of shelved servers, too
    _snapshots: ("snapshot",),
}
_ROOMS: t.Final[t.Mapping[str, t.Callable[[], Handlers]]] = {
    kind: room for room, kinds in _KINDS.items() for kind in kinds
}
KINDS: t.Final = frozenset(_ROOMS)


def handler_of(kind: str) -> Handler:
    """What carries out steps of a *kind*; KeyError if a host knows no such step."""
    return _ROOMS[kind]()[kind]


__all__ = ["KINDS", "handler_of"]
