# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mark on a disk of a server, where no guest of the lab writes: it is there as long as what else was written is."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from tests.support.lab_hosts import Lab

_WHAT = "-P 90 600M 64k"


def write_mark(lab: Lab, host: str, pool: str, volume: str) -> None:
    """The guest must be off."""
    said = _io(lab, host, pool, volume, f"write {_WHAT}")
    assert "wrote 65536" in said, said


def lost_mark(lab: Lab, host: str, pool: str, volume: str) -> str:
    """What is found where the mark should be; empty where it is. The guest may run."""
    said = _io(lab, host, pool, volume, f"read {_WHAT}", "-r", "-U")
    return "" if "read 65536" in said and "failed" not in said else said


def _io(lab: Lab, host: str, pool: str, volume: str, command: str, *options: str) -> str:
    path = f"/var/lib/libvirt/pools/{pool}/{volume}"
    found = lab("exec", host, "qemu-io", *options, "-f", "qcow2", "-c", command, path)
    return str(found.stdout + found.stderr)


__all__ = ["lost_mark", "write_mark"]
