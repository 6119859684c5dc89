# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a host is that was being emptied, or filled again, when the run ends before its verdict: by Ctrl-C, above all.

Note that this plugin util is **PRIVATE** to the collection.

Ansible tells no plugin that it was interrupted. But its process, which loads an action before it forks the workers that
run it, ends as Python does; a worker leaves a note for that in the folder that Ansible has for each of its runs.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import typing as t
from pathlib import Path

from ansible import constants
from ansible.utils.display import Display

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError


def _note() -> Path:
    return Path(constants.DEFAULT_LOCAL_TMP) / "flotilla-moves.json"  # type: ignore[attr-defined, unused-ignore]


def begun(kind: str, host: str, ledger: str) -> None:
    """From now on the end of the run says how *host* is. *kind*: drain or undrain; *ledger*: its URL."""
    with contextlib.suppress(OSError):  # it is a help alone
        _note().write_text(json.dumps({"kind": kind, "host": host, "ledger": ledger}), encoding="utf-8")


def over() -> None:
    """The run says it itself."""
    with contextlib.suppress(OSError):
        _note().unlink(missing_ok=True)


def told(note: t.Mapping[str, str]) -> str:
    """The sentence: what was cut short, how the host is, and what to do."""
    from ansible_collections.flotilla.compute.plugins.plugin_utils._drain import state_of
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Ledger

    kind, host = note["kind"], note["host"]
    what = f"The {kind} of {host} was cut short"
    try:
        ledger = Ledger.open(note["ledger"], create=False, readonly=True)
        state = "its ledger is gone" if ledger is None else state_of(host, ledger.snapshot())
    except FlotillaError as exc:
        return f"{what}, and how {host} is can't be told: {exc}"
    other = "undrain" if kind == "drain" else "drain"
    return f"{what}: {state}. Go on with it by the playbook {kind}, or back by {other}: -e fleet_host={host}"


def _tell(pid: int) -> None:
    if os.getpid() != pid:
        return
    with contextlib.suppress(OSError, ValueError):
        note = json.loads(_note().read_text(encoding="utf-8"))
        Display().display(told(note))


atexit.register(_tell, os.getpid())

__all__ = ["begun", "over", "told"]
