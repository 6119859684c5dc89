# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trees of the metadata service: written whole, exchanged at once, taken away with their server."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import typing as t
from pathlib import Path

import pytest
from tests.conformance.personality_kinds import KINDS, PLAIN
from tests.support.personality import personality

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import fingerprint
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Address, Nic, Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.guests import run_steps
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.metadata_tree import Trees, facts, settle
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Personality, devices_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import packed_service, service_tree

TODAY = "2026-01-01"
MAC = "52:54:00:00:00:01"
OTHER_MAC = "52:54:00:00:00:02"
SUFFIX = {"text/plain": "=.txt", "application/json": "=.json"}


@pytest.fixture
def record(record: Record) -> Record:
    return dataclasses.replace(record, nics=(nic("192.0.2.10"),))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder on which the role has been."""
    folder = tmp_path / "flotilla"
    for part in ("metadata", "metadata-dhcp"):
        for bridge in ("br0", "virbr9"):
            (folder / part / bridge).mkdir(parents=True)
    return folder


@pytest.fixture
def trees(conn: t.Any, state: Path) -> Trees:
    return Trees(conn, str(state))


def nic(address: str, *, kind: str = "bridge", source: str = "br0", mac: str = MAC) -> Nic:
    return Nic("lan", kind, source, mac, addresses=(Address(address, 24),), metadata_service=True)


def of(record: Record) -> Personality:
    plain = personality({**PLAIN, **KINDS["user data: cloud-config"]})
    return dataclasses.replace(plain, record=record)


def packed(record: Record) -> bytes:
    return packed_service(of(record), today=TODAY)


def files(folder: Path) -> dict[str, bytes]:
    walked = os.walk(folder, followlinks=True)
    paths = [Path(at, name) for at, _below, names in walked for name in names]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    found.pop(".made_of", None)
    return found


def expected(record: Record) -> dict[str, bytes]:
    answers = service_tree(of(record), today=TODAY)
    return {os.path.join(path, SUFFIX[answer.content_type]): answer.body for path, answer in answers.items()}


def everything(state: Path) -> set[str]:
    return {str(path.relative_to(state)) for path in state.rglob("*") if path.is_symlink() or path.is_file()}


def test_each_answer_is_a_file_that_nginx_finds_by_its_path(trees: Trees, state: Path, record: Record) -> None:
    assert trees.write(record, packed(record))
    assert files(state / "metadata/br0/192.0.2.10") == expected(record)
    assert (state / "metadata-dhcp/br0" / record.id).read_text() == f"{MAC},192.0.2.10\n"
    written = [path for path in (state / "metadata/.trees").rglob("*") if not path.is_symlink()]
    modes = {path.stat().st_mode & 0o777 for path in written}
    assert len(written) < 150  # of more than 400 answers: equal ones are there once
    assert modes == {0o640, 0o750}


def test_a_second_writing_changes_nothing_and_a_change_is_seen_at_once(
    trees: Trees, state: Path, record: Record
) -> None:
    trees.write(record, packed(record))
    before = everything(state)
    assert not trees.write(record, packed(record))
    assert everything(state) == before
    other = dataclasses.replace(record, spec={"metadata": {"role": "db"}})
    assert not trees.is_current(other)
    assert trees.write(other, packed(other), there=False)
    assert trees.is_current(other), "it has no port whose place is told"
    assert files(state / "metadata/br0/192.0.2.10") == expected(other) != expected(record)
    assert [path.name.partition(".")[0] for path in (state / "metadata/.trees").iterdir()] == [record.id]
    # What only the record has to do with it is noted, though no answer is another.
    third = dataclasses.replace(other, disks=())
    assert trees.write(third, json.dumps({**json.loads(packed(other)), "made_of": fingerprint(third)}).encode())
    assert trees.is_current(third)


def test_a_tree_that_a_power_cut_has_emptied_is_written_again(trees: Trees, state: Path, record: Record) -> None:
    trees.write(record, packed(record))
    (state / "metadata/br0/192.0.2.10/openstack/latest/meta_data.json/=.json").write_bytes(b"")
    assert not trees.is_current(record)
    assert facts(trees, [record])["old"] == [record.id]
    assert trees.write(record, packed(record))
    assert trees.is_current(record)
    assert files(state / "metadata/br0/192.0.2.10") == expected(record)


def test_a_tree_that_goes_while_a_survey_looks_is_not_there(
    trees: Trees, state: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.write(record, packed(record))
    real = os.path.getsize

    def gone(path: str) -> int:
        Path(path).unlink(missing_ok=True)
        return real(path)

    monkeypatch.setattr(os.path, "getsize", gone)
    assert facts(trees, [record])["old"] == [record.id]


def test_a_tree_that_was_made_of_another_record_is_old(trees: Trees, state: Path, record: Record) -> None:
    """The run's last step was to write that one and came to nothing, or the run knew no user data."""
    other = dataclasses.replace(record, spec={"metadata": {"role": "db"}})
    assert trees.write(record, packed(other))
    assert files(state / "metadata/br0/192.0.2.10") == expected(other)
    assert facts(trees, [record])["old"] == [record.id]
    assert trees.write(record, packed(record))
    assert facts(trees, [record])["old"] == []


def test_other_addresses_and_other_bridges(trees: Trees, state: Path, record: Record) -> None:
    first = dataclasses.replace(record, nics=(nic("192.0.2.10"), nic("192.0.2.11", mac=OTHER_MAC)))
    trees.write(first, packed(first))
    network = nic("192.0.2.12", kind="network", source="inside")
    second = dataclasses.replace(record, nics=(network,))
    assert trees.write(second, packed(second))
    assert not list((state / "metadata/br0").iterdir())
    assert not list((state / "metadata-dhcp/br0").iterdir())
    assert (state / "metadata-dhcp/virbr9" / record.id).read_text() == f"{MAC},192.0.2.12\n"
    assert files(state / "metadata/virbr9/192.0.2.12") == expected(second)


def test_it_says_where_on_the_bus_libvirt_has_put_the_devices(
    conn: t.Any, trees: Trees, state: Path, record: Record
) -> None:
    record = dataclasses.replace(record, nics=(dataclasses.replace(nic("192.0.2.10"), tag="front"),))
    given = packed_service(dataclasses.replace(of(record), devices=devices_of(record)), today=TODAY)

    def told() -> t.Any:
        assert trees.write(record, given)
        (device,) = json.loads((state / "metadata/br0/192.0.2.10/openstack/latest/meta_data.json/=.json").read_bytes())[
            "devices"
        ]
        return device

    device = {"type": "nic", "bus": "pci", "mac": MAC, "tags": ["front"], "vf_trusted": False}
    # A host that it is on its way to doesn't know: once it is there, that is old.
    assert trees.write(record, given, there=False)
    assert facts(trees, [record])["old"] == [record.id]
    assert told() == {**device, "address": "none"}, "its domain has no such port"
    assert facts(trees, [record])["old"] == []
    domain = conn.lookupByUUIDString(record.id)
    place = "<address type='pci' domain='0x0000' bus='0x00' slot='0x1d' function='0x1'/>"
    port = f"<interface type='bridge'><mac address='{MAC}'/><source bridge='br0'/>{place}</interface>"
    xml = domain.XMLDesc(0).replace("</devices>", f"{port}</devices>")
    domain.destroy()
    domain.undefine()
    conn.defineXML(xml)
    assert told() == {**device, "address": "0000:00:1d.1"}
    assert not trees.write(record, given)


def test_an_address_is_given_to_its_owner_alone(trees: Trees, state: Path, record: Record) -> None:
    """Though the tree of a server that never came, or whose host was off while it was deleted, is still there."""
    late = dataclasses.replace(record, nics=(nic("192.0.2.10"), nic("192.0.2.11", mac=OTHER_MAC)))
    trees.write(late, packed(late))
    owner = dataclasses.replace(
        record, id="6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a99", nics=(nic("192.0.2.10", mac="52:54:00:00:00:99"),)
    )
    assert trees.write(owner, packed(owner))
    assert (state / "metadata-dhcp/br0" / owner.id).read_text() == "52:54:00:00:00:99,192.0.2.10\n"
    assert (state / "metadata-dhcp/br0" / late.id).read_text() == f"{OTHER_MAC},192.0.2.11\n"
    assert files(state / "metadata/br0/192.0.2.10") == expected(owner)
    # The other's end takes nothing of it away.
    assert trees.remove(late.id)
    assert files(state / "metadata/br0/192.0.2.10") == expected(owner)
    assert trees.is_current(owner)


def test_what_goes_takes_nothing_of_another_with_it(trees: Trees, record: Record) -> None:
    other = dataclasses.replace(record, id="6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a99")
    trees.write(record, packed(record))
    trees.write(other, packed(other))  # which has been given the address since
    assert trees.remove(record.id)
    assert trees.servers() == [other.id]
    assert trees.is_current(other)
    assert not trees.remove(record.id)


def test_a_server_that_is_not_here_is_not_served(trees: Trees, record: Record) -> None:
    data = packed(record)
    assert settle(trees, record.id, record, data)
    assert not settle(trees, record.id, record, None)
    assert facts(trees, [record]) == {"bridges": ["br0", "virbr9"], "old": [], "left": []}
    assert settle(trees, record.id, dataclasses.replace(record, marks={"soft_delete": {"at": 1}}), data)
    assert trees.servers() == []
    assert facts(trees, [record])["old"] == [record.id]
    assert settle(trees, record.id, record, data)
    assert settle(trees, record.id, None, data)
    assert trees.servers() == []


def test_what_is_left_of_a_server_that_is_not_here_is_seen_whatever_it_is(
    trees: Trees, state: Path, record: Record
) -> None:
    trees.write(record, packed(record))
    assert facts(trees, [record])["left"] == []
    assert facts(trees, [])["left"] == [record.id]
    # Its network has the service no longer, and it has been restarted since.
    assert facts(trees, [dataclasses.replace(record, nics=())])["left"] == [record.id]
    trees.remove(record.id)
    for part in (f"metadata/.trees/.{record.id}.0123", f"metadata-dhcp/br0/.{record.id}"):
        (state / part).mkdir() if "trees" in part else (state / part).touch()
        assert facts(trees, [])["left"] == [record.id]
        trees.remove(record.id)
        assert facts(trees, [])["left"] == []


def test_a_bridge_without_the_service_is_refused_before_anything_is_made(
    trees: Trees, state: Path, record: Record
) -> None:
    record = dataclasses.replace(record, nics=(nic("192.0.2.10", source="br7"),))
    with pytest.raises(InvalidInput, match=r"on bridge 'br7', for which this host has no metadata service"):
        trees.write(record, packed(record))
    assert everything(state) == set()
    assert facts(trees, [record])["old"] == []


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"bodies": [], "answers": {"a": [0, "text/plain"]}}',
        b'{"bodies": ["AA=="], "answers": {"../a": [0, "text/plain"]}}',
        b'{"bodies": ["AA=="], "answers": {"a/=.txt": [0, "text/plain"]}}',
        b'{"bodies": ["AA=="], "answers": {"a": [0, "text/html"]}}',
        b'{"bodies": ["AA=="], "answers": {"a": [0, "text/plain"]}}',
        b'{"bodies": ["AA=="], "answers": {"a": [0, "text/plain"]}, "made_of": "of sand"}',
    ],
)
def test_what_is_no_tree_is_refused(trees: Trees, state: Path, record: Record, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="can't be unpacked"):
        trees.write(record, data)
    assert everything(state) == set()


class Killed(BaseException):
    """What no handler catches."""


@pytest.mark.parametrize("call", ["mkdir", "fchmod", "replace", "rename", "unlink", "symlink"])
@pytest.mark.parametrize("count", [1, 3])
def test_who_is_killed_anywhere_leaves_a_whole_tree_and_the_next_one_mends_it(
    trees: Trees, state: Path, record: Record, monkeypatch: pytest.MonkeyPatch, call: str, count: int
) -> None:
    old = record
    new = dataclasses.replace(old, nics=(nic("192.0.2.10"), nic("192.0.2.11", mac=OTHER_MAC)), name="web2")
    trees.write(old, packed(old))
    calls, real = 0, getattr(os, call)

    def dying(*args: t.Any, **kwargs: t.Any) -> t.Any:
        nonlocal calls
        calls += 1
        if calls == count:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(os, call, dying)
        trees.write(new, packed(new))
    assert files(state / "metadata/br0/192.0.2.10") in (expected(old), expected(new))
    trees.write(new, packed(new))
    assert trees.is_current(new)
    assert not trees.write(new, packed(new))
    names = {path.name for path in state.rglob("*") if path.name.startswith(".")}
    assert names == {".trees", ".made_of"}


def test_steps_write_the_tree_and_deletion_takes_it_away(conn: t.Any, state: Path, record: Record) -> None:
    (state / "host.json").write_text(
        f'{{"host_id": "h1", "fleet_id": "{record.fleet_id}", "ledger_id": "l", "service": {{"state": "enabled"}}}}'
    )
    trees, given = Trees(conn, str(state)), packed(record)

    def run(
        kind: str, *, bring: bool = True, generation: int | None = record.generation, fails: bool = False
    ) -> dict[str, t.Any]:
        step = {"kind": kind, "server_id": record.id, "name": record.name, "timeout": 0, "expects": generation}
        record_after = record.to_json() if kind == "bring_metadata" else None
        (result,) = run_steps(
            conn,
            [{**step, "record": record_after}],
            state_dir=str(state),
            run_id="r1",
            fleet_id=record.fleet_id,
            trees={record.id: given} if bring else {},
        )
        assert result.get("failed", False) is fails, result["message"]
        return result

    assert run("stop", bring=False)["message"] == "stopped"
    assert trees.servers() == []
    # What a step has done is told, also where the service has been taken from the host since.
    (state / "metadata/br0").rename(state / "aside")
    failed = run("start", fails=True)
    assert failed["message"].startswith("started; server 'web1' is to have its metadata on bridge 'br0', for which")
    assert (failed["changed"], failed["state"]) == (True, "running")
    assert failed["record"]["id"] == record.id
    (state / "aside").rename(state / "metadata/br0")
    run("stop", bring=False)
    assert run("start")["message"] == "started; its metadata is brought up to date"
    assert trees.is_current(record)
    assert run("start") == {**run("start"), "changed": False, "message": "nothing to do"}
    assert run("forget_metadata", generation=None)["message"] == "it is here"
    assert trees.is_current(record)
    domain = conn.lookupByUUIDString(record.id)
    domain.destroy()
    domain.undefine()  # which the driver can't do as the step does
    run("delete")
    assert trees.servers() == []
    assert everything(state) == {"host.json"}
    # It is about to come, whatever of it is here.
    assert run("bring_metadata", generation=None)["changed"]
    assert trees.is_current(record)
    assert not run("bring_metadata", generation=None)["changed"]
    # It never came.
    assert run("forget_metadata", bring=False, generation=None)["changed"]
    assert everything(state) == {"host.json"}
    assert not run("forget_metadata", bring=False, generation=None)["changed"]
