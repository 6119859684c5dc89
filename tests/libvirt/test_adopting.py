# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A record is written into a domain of others while it runs, once, and never over a server of somebody's."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.adopting import _addresses, adopt, described
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.domains import record_of

FOREIGN = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a03"


def test_a_running_domain_is_given_a_record(conn: t.Any, record: Record, tmp_path: Path) -> None:
    domain = conn.lookupByUUIDString(FOREIGN)
    assert domain.isActive()
    mine = dataclasses.replace(record, id=FOREIGN, name="foreign")
    before = domain.ID()
    assert adopt(conn, mine, state_dir=str(tmp_path), run_id="run") is True
    assert (record_of(domain), domain.ID()) == (mine, before)
    assert adopt(conn, mine, state_dir=str(tmp_path), run_id="run") is False
    with pytest.raises(Conflict, match="is a server of fleet"):
        adopt(conn, dataclasses.replace(mine, generation=9), state_dir=str(tmp_path), run_id="run")
    assert record_of(domain) == mine


@pytest.mark.parametrize("change", [{"name": "renamed"}, {"id": "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1aff"}])
def test_a_domain_that_is_another_by_now_is_left_alone(
    conn: t.Any, record: Record, tmp_path: Path, change: dict[str, t.Any]
) -> None:
    other = dataclasses.replace(dataclasses.replace(record, id=FOREIGN, name="foreign"), **change)
    with pytest.raises(Conflict, match="plan again"):
        adopt(conn, other, state_dir=str(tmp_path), run_id="run")
    assert record_of(conn.lookupByUUIDString(FOREIGN)) is None


def test_a_copy_that_bears_anothers_record_may_be_adopted(conn: t.Any, record: Record, tmp_path: Path) -> None:
    clone = conn.lookupByName("web1-clone")
    mine = dataclasses.replace(record, id=clone.UUIDString(), name="web1-clone")
    assert adopt(conn, mine, state_dir=str(tmp_path), run_id="run")
    assert record_of(clone) == mine


def test_what_a_domain_stands_on(conn: t.Any, record: Record) -> None:
    nowhere = "6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1aff"
    found = described(conn, [record.id, FOREIGN, nowhere])
    assert set(found) == {record.id, FOREIGN}
    (root,) = found[record.id]["disks"]
    assert (root["pool"], root["volume"], root["size"]) == ("local", f"{record.id}-root", 1024**3)
    (block,) = found[FOREIGN]["disks"]
    assert (block["target"], block["pool"], block["volume"], block["size"]) == ("vda", "fast", "foreign", 0)


def test_an_agent_that_does_not_answer_is_not_waited_for_long() -> None:
    """Libvirt itself waits for ever for one that has begun to speak."""
    waits: list[int] = []

    class Running:
        def isActive(self) -> bool:  # noqa: N802 - libvirt's name
            return True

        def agentSetResponseTimeout(self, seconds: int, _flags: int) -> None:  # noqa: N802 - libvirt's name
            waits.append(seconds)

        def interfaceAddresses(self, source: int, _flags: int) -> t.Any:  # noqa: N802 - libvirt's name
            assert waits
            assert waits[-1] > 0, "for ever"
            if source == libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
                raise libvirt.libvirtError("silent")
            return {"vnet0": {"hwaddr": "52:54:00:00:00:0A", "addrs": [{"addr": f"192.0.2.{source}"}]}}

    found = _addresses(Running())
    assert set(found) == {"52:54:00:00:00:0a"}
    assert len(found["52:54:00:00:00:0a"]) == 2
    assert waits[-1] == libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK
