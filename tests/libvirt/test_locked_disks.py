# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server of a dead host whose disk is still locked by somebody: by QEMU, virtlockd or sanlock."""

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import domains, evacuation


def started(record: Record, file: Path, monkeypatch: pytest.MonkeyPatch, *, code: int, text: str) -> None:
    """The start of a guest that libvirt refuses with these words."""
    exc = libvirt.libvirtError(text)
    exc.err = (code, 0, text, 0, None, None, None, 0, 0)

    def refuse(_domain: t.Any) -> None:
        raise exc

    monkeypatch.setattr(domains, "start", refuse)
    pool = types.SimpleNamespace(path_of=lambda _volume: str(file))
    job: t.Any = types.SimpleNamespace(
        host=types.SimpleNamespace(storage=types.SimpleNamespace(pool=lambda _name: pool))
    )
    domain: t.Any = None
    evacuation._start(job, domain, record)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (libvirt.VIR_ERR_INTERNAL_ERROR, 'qemu unexpectedly closed the monitor: Failed to get "write" lock'),
        (libvirt.VIR_ERR_RESOURCE_BUSY, "resource busy: Lockspace resource '4f1c' is locked"),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: Failed to acquire lock: error -243"),
    ],
)
def test_it_is_not_started_and_that_is_why(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str
) -> None:
    file = tmp_path / "root"
    file.touch()
    with pytest.raises(Conflict, match="is not started: a disk of it is still locked by somebody else") as said:
        started(record, file, monkeypatch, code=code, text=text)
    assert text in str(said.value)


def test_what_fails_for_another_reason_is_told_as_it_is(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "root"
    file.touch()
    with pytest.raises(libvirt.libvirtError, match="no such machine"):
        started(record, file, monkeypatch, code=libvirt.VIR_ERR_CONFIG_UNSUPPORTED, text="no such machine")
