# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""
DOCUMENTATION:
module: watch
short_description: Events of compute hosts that don't answer any more
description:
  - Watches the hosts of the group computes of an Ansible inventory by SSH and by libvirt's port. Its events are
    flotilla.kind missed, back, evacuate, ask, left, blind and sees, with flotilla.host, reason and at.
options:
  inventory: {description: The inventory, or a list of them., required: true}
  interval: {description: Seconds from one beat to the next., default: 10}
  timeout: {description: Seconds in which a host answers., default: 5}
  misses: {description: Beats in a row without an answer by any path after which a host is to be evacuated., default: 3}
  max_unreachable: {description: Share of the fleet that may be out of reach at once., default: 0.2}
  ansible_options: {description: Options of ansible that lead it to the ledger (vault passwords)., default: []}
  max_hosts: {description: Hosts that are evacuated within the window., default: 2}
  window: {description: Seconds., default: 3600}
"""

from __future__ import annotations

import asyncio
import functools
import sys
import typing as t
from pathlib import Path

# ansible-rulebook runs this file by its path, with no loader of collections: the folder that has ansible_collections.
sys.path.insert(0, str(Path(__file__).absolute().parents[7]))

from ansible_collections.flotilla.compute.plugins.plugin_utils._watch import (
    options_of,
    out_of_service,
    targets_of,
    watch,
)


async def main(queue: asyncio.Queue[t.Any], args: dict[str, t.Any]) -> None:
    """The contract of ansible-rulebook's event sources."""
    words = [str(word) for word in args.get("ansible_options") or ()]
    options = options_of({name: value for name, value in args.items() if name != "ansible_options"})
    targets = await asyncio.to_thread(targets_of, options.inventory)
    asks = functools.partial(out_of_service, options.inventory, words=words)
    async for decision in watch(targets, options, asks=asks):
        await queue.put({"flotilla": decision.to_json()})
