# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of libvirt's own test driver: real libvirt code, no host."""

from __future__ import annotations

import itertools
import json
import typing as t
from pathlib import Path
from xml.sax.saxutils import escape

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    GIB,
    Disk,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.guests import run_steps

ID = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a01"

_names = itertools.count()


@pytest.fixture
def record() -> Record:
    return Record(
        id=ID,
        name="web1",
        fleet_id="6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1c01",
        generation=4,
        spec={"metadata": {"note": "a <b> & 'c' ü"}},
        flavor=Flavor("m1.small", 2, 512, 1),
        image=Image("debian", "qcow2", "sha256:" + "ab" * 32),
        disks=(Disk("root", "local", f"{ID}-root", "qcow2", GIB, "vda", "virtio"),),
        nics=(Nic("inside", "network", "inside", "52:54:00:00:00:01"),),
        hardware=Hardware(),
    )


@pytest.fixture
def host_uri(tmp_path: Path, record: Record) -> str:
    """A driver reads its file at each opening; connections by one path share nothing."""
    text = (Path(__file__).parent / "host.xml").read_text(encoding="utf-8")
    path = tmp_path / f"host{next(_names)}.xml"
    path.write_text(text.replace("@RECORD@", escape(record.dumps())), encoding="utf-8")
    return f"test://{path}"


@pytest.fixture
def conn(host_uri: str) -> t.Iterator[t.Any]:
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    connection = libvirt.open(host_uri)
    yield connection
    connection.close()


@pytest.fixture
def state_dir(tmp_path: Path, record: Record) -> str:
    folder = tmp_path / "state"
    folder.mkdir()
    marker = {
        "host_id": "h1",
        "fleet_id": record.fleet_id,
        "ledger_id": "l1",
        "service": {"state": "enabled", "reason": None},
    }
    (folder / "host.json").write_text(json.dumps(marker))
    return str(folder)


@pytest.fixture
def run(conn: t.Any, state_dir: str, record: Record) -> t.Callable[..., list[dict[str, t.Any]]]:
    """Steps by kind, each as the plan of the record's own generation has it."""

    def run_kinds(*kinds: str, steps: t.Any = None, **step: t.Any) -> list[dict[str, t.Any]]:
        base = {"server_id": record.id, "name": record.name, "expects": record.generation, "record": None, "timeout": 0}
        steps = steps or [{"kind": kind, **base, **step} for kind in kinds]
        return run_steps(conn, steps, state_dir=state_dir, run_id="r1", fleet_id=record.fleet_id)

    return run_kinds
