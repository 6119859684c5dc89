# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the fleet out of Ansible's inventory: the variables with our prefixes, templated, plain.

Note that this plugin util is **PRIVATE** to the collection.

A fleet has thousands of servers and each read of ``hostvars`` builds all of a host's variables anew: every host is read
once, only our own variables are templated, and only those that hold a template.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.errors import AnsibleError

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._plain import plain

PREFIXES = {"fleet": "fleet_", "computes": "compute_", "servers": "server_"}

Variables = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class BadTemplate:
    """A variable whose template can't be resolved, with Ansible's own words."""

    host: str
    variable: str
    error: str


@dataclasses.dataclass(frozen=True)
class RawInventory:
    """What inventory says, as it is written: ``fleet`` variables, and those of each compute host and server in
    order."""

    fleet: Variables
    computes: dict[str, Variables]
    servers: dict[str, Variables]
    bad: tuple[BadTemplate, ...] = ()


class HostVars(t.Protocol):
    """The part of Ansible's hostvars that is used here."""

    def raw_get(self, host_name: str) -> Variables: ...


class Templar(t.Protocol):
    """The part of Ansible's templar that is used here."""

    def template(self, variable: t.Any) -> t.Any: ...

    def copy_with_new_env(self, *, available_variables: Variables) -> Templar: ...


def read_inventory(task_vars: Variables, templar: Templar, *, servers: bool = True) -> RawInventory:
    """Read the groups ``computes`` and ``servers``, and the fleet's variables as *task_vars* (those of localhost)
    have them."""
    bad: list[BadTemplate] = []
    hostvars: HostVars = task_vars["hostvars"]
    groups: dict[str, list[str]] = task_vars["groups"]

    def read(host: str, prefix: str) -> Variables:
        variables = hostvars.raw_get(host)
        return _ours(host, variables, prefix, templar, {**variables, "hostvars": hostvars}, bad)

    fleet = _ours("localhost", task_vars, PREFIXES["fleet"], templar, task_vars, bad)
    computes = {str(host): read(host, PREFIXES["computes"]) for host in groups.get("computes", [])}
    wanted = groups.get("servers", []) if servers else []
    declared = {str(host): read(host, PREFIXES["servers"]) for host in wanted}
    return RawInventory(fleet, computes, declared, tuple(bad))


def read_host(task_vars: Variables, templar: Templar, host: str, prefix: str) -> Variables:
    """The variables of one host that begin with *prefix*. InvalidInput where a template can't be resolved."""
    bad: list[BadTemplate] = []
    hostvars: HostVars = task_vars["hostvars"]
    variables = hostvars.raw_get(host)
    found = _ours(host, variables, prefix, templar, {**variables, "hostvars": hostvars}, bad)
    if bad:
        raise InvalidInput(f"{bad[0].variable} of {host}: its template can't be resolved: {bad[0].error}")
    return found


def _ours(
    host: str, variables: Variables, prefix: str, templar: Templar, context: Variables, bad: list[BadTemplate]
) -> Variables:
    found: Variables = {}
    own: Templar | None = None
    for key, value in variables.items():
        if not key.startswith(prefix):
            continue
        try:
            if _may_be_template(value):
                own = own or templar.copy_with_new_env(available_variables=context)
                value = own.template(value)
            found[str(key)] = plain(value)
        except (AnsibleError, TypeError) as exc:
            bad.append(BadTemplate(host, str(key), _first_line(exc)))
    return found


def _may_be_template(value: t.Any) -> bool:
    """Asking Ansible costs ten times as much as looking for the brackets, and most values have none."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value or "{#" in value
    if isinstance(value, t.Mapping):
        return any(_may_be_template(item) for item in value.values()) or any(_may_be_template(key) for key in value)
    if isinstance(value, (list, tuple)):
        return any(_may_be_template(item) for item in value)
    return False


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0]


__all__ = ["BadTemplate", "RawInventory", "read_host", "read_inventory"]
