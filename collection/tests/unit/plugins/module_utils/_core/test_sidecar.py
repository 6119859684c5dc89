# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record beside its disk: read back whole, or known as half written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidRecord
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Disk, Flavor, Hardware, Image, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.sidecar import BLOCK, pack_sidecar, read_sidecar


def record(description: str = "") -> Record:
    flavor, image = Flavor("m", 1, 512, 1), Image("i", "raw", "sha256:00")
    root = Disk("root", "local", "id-root", "raw", 1, "vda", "virtio")
    return Record("id", "web1", "fleet", 1, {"description": description}, flavor, image, (root,), (), Hardware())


@given(st.text())
def test_read_back(description: str) -> None:
    packed = pack_sidecar(record(description))
    assert len(packed) % BLOCK == 0
    assert read_sidecar(packed) == record(description)
    assert read_sidecar(packed + bytes(BLOCK)) == record(description)


@pytest.mark.parametrize("written", [0, 1, 20, 90, 200, 500])
def test_half_written_is_known_as_such(written: int) -> None:
    packed = pack_sidecar(record())
    with pytest.raises(InvalidRecord, match=r"never written|half written|doesn't begin as one"):
        read_sidecar(packed[:written] + bytes(len(packed) - written))


def test_half_overwritten_is_known_as_such() -> None:
    old, new = pack_sidecar(record("old")), pack_sidecar(record("new"))
    with pytest.raises(InvalidRecord, match="half written"):
        read_sidecar(new[:100] + old[100:])
