# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`lab power` as a fence agent: options on standard input, as fence_ipmilan and its kin take them."""

from __future__ import annotations

import typing as t

from . import host, lifecycle, state
from .errors import LabError
from .layout import Host

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_OFF = 2

METADATA = """\
<?xml version="1.0" ?>
<resource-agent name="fence_lab" shortdesc="Fence agent for the hosts of a Flotilla lab">
  <longdesc>Switches a host of a lab on and off: the host's processes are killed at once, as by a power cut.</longdesc>
  <parameters>
    <parameter name="action" required="1">
      <content type="string" default="reboot"/>
      <shortdesc lang="en">Fencing action</shortdesc>
    </parameter>
    <parameter name="plug" required="1" obsoletes="port">
      <content type="string"/>
      <shortdesc lang="en">Name of the host, kvm1 and so on</shortdesc>
    </parameter>
  </parameters>
  <actions>
    <action name="on" automatic="0"/>
    <action name="off"/>
    <action name="reboot"/>
    <action name="status"/>
    <action name="list"/>
    <action name="monitor"/>
    <action name="metadata"/>
  </actions>
</resource-agent>
"""


def parse_options(lines: t.Iterable[str]) -> dict[str, str]:
    """The protocol's key=value lines; blank ones and comments don't count."""
    pairs = (line.strip().partition("=") for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def fence(lines: t.Iterable[str]) -> tuple[int, str]:
    """Carries one request out: exit code and what to print."""
    options = parse_options(lines)
    action = options.get("action", "reboot")
    if action == "metadata":
        return EXIT_OK, METADATA
    if action == "list":
        return EXIT_OK, "".join(f"{each.name},\n" for each in state.running()[1])
    if action == "monitor":
        state.running()
        return EXIT_OK, ""
    plug = options.get("plug") or options.get("port")
    if not plug:
        raise LabError(f"Action {action!r} needs the host: a line plug=kvm1 on standard input.")
    return act(action, state.running_host(plug))


def act(action: str, one: Host) -> tuple[int, str]:
    """One action on one host."""
    if action == "status":
        return (EXIT_OK, "Status: ON\n") if host.is_on(one) else (EXIT_OFF, "Status: OFF\n")
    if action not in ("on", "off", "reboot"):
        raise LabError(f"Action {action!r} is none of on, off, reboot, status, list, monitor, metadata.")
    if action in ("off", "reboot"):
        lifecycle.power_off(one)
    if action in ("on", "reboot"):
        lifecycle.power_on(one)
    return _confirmed(action, one)


def _confirmed(action: str, one: Host) -> tuple[int, str]:
    """Success is said only of what was read back."""
    if host.is_on(one) != (action != "off"):
        raise LabError(f"{one.name} was told to be {action}, but its power says otherwise.")
    return EXIT_OK, {"on": "Success: Powered ON\n", "off": "Success: Powered OFF\n"}.get(action, "Success: Rebooted\n")
