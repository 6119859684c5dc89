# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a pool of two hosts is one: what each host's libvirt knows of it may be old."""

from __future__ import annotations

import dataclasses
import types
import typing as t

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
    Refused,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import End
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ends import (
    is_shared,
    must_lead_to,
    shared,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import Far
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.prechecks import _layout
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.streams import copy_disk

A, B = "2f1b3c4d-0000-4000-8000-00000000b001", "2f1b3c4d-0000-4000-8000-00000000b002"


class Handle:
    """A pool as one host's libvirt knows it: what is there now is seen when it is refreshed."""

    def __init__(self, known: set[str], there: set[str]) -> None:
        self.known, self.there = known, there

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return True

    def listVolumes(self) -> list[str]:  # noqa: N802 - libvirt's name
        return sorted(f"flotilla-pool-{mark}" for mark in self.known)

    def refresh(self, _flags: int) -> None:
        self.known = set(self.there)


def end(known: set[str], there: set[str]) -> t.Any:
    conn: t.Any = types.SimpleNamespace(storagePoolLookupByName=lambda _name: Handle(known, there))
    return types.SimpleNamespace(storage=Storage(conn))


@pytest.mark.parametrize(
    ("here", "there", "one"),
    [
        (({A}, {A}), ({A}, {A}), True),
        (({A}, {A}), ({B}, {B}), False),
        # Both have marked it at once, and neither's libvirt has looked since.
        (({A}, {A, B}), ({B}, {A, B}), True),
        (({A}, {A, B}), (set(), {A, B}), True),
    ],
)
def test_a_pool_is_one_by_what_is_in_it_now(
    here: tuple[set[str], set[str]], there: tuple[set[str], set[str]], one: bool
) -> None:
    assert shared(end(*here), end(*there), "local") is one
    assert shared(end(*there), end(*here), "local") is one


def test_a_uri_that_leads_to_another_host_is_not_worked_on(conn: t.Any) -> None:
    must_lead_to(conn, "kvm2", "qemu+tls://kvm2/system", conn.getHostname())
    must_lead_to(conn, "kvm2", "qemu+tls://kvm2/system", None)
    with pytest.raises(Conflict, match=r"of kvm2 leads to '.+', and kvm2 calls itself 'kvm2\.lan'"):
        must_lead_to(conn, "kvm2", "qemu+tls://kvm2/system", "kvm2.lan")


@pytest.mark.parametrize("backing", [None, "image-" + "ab" * 32])
def test_a_disk_that_stands_on_what_its_record_does_not_name_is_not_copied(
    conn: t.Any, record: Record, backing: str | None
) -> None:
    """There would be nothing under it on the other host, or something else of the same name."""
    pool = Storage(conn).pool("local")
    pool.make("mail.qcow2", 1024, "qcow2", backing=("/pools/local/image-of-my-cat", "qcow2"))
    disk = dataclasses.replace(record.root, volume="mail.qcow2", backing=backing)
    here = types.SimpleNamespace(storage=Storage(conn))
    with pytest.raises(Conflict, match=r"'mail\.qcow2' stands on '/pools/local/image-of-my-cat'"):
        copy_disk(t.cast(t.Any, here), t.cast(t.Any, here), disk, record.image)


@pytest.mark.parametrize(
    ("role", "volume", "why"),
    [
        ("root", "somebody-elses.qcow2", r"its disk 'somebody-elses\.qcow2' in pool 'local' was made by others"),
        ("ephemeral0", None, "stands on '/pools/local/image-of-my-cat', which its server's record doesn't name"),
    ],
)
def test_a_running_guest_is_not_copied_without_what_is_under_its_disk(
    conn: t.Any, record: Record, role: str, volume: str | None, why: str
) -> None:
    """Nor a disk that nobody may delete afterwards: its move would never end."""
    storage, name = Storage(conn), volume or f"{record.id}-{role}"
    if volume is None:
        storage.pool("local").make(name, 1024, "qcow2", backing=("/pools/local/image-of-my-cat", "qcow2"))
    disk = dataclasses.replace(record.root, role=role, volume=name)
    job: t.Any = types.SimpleNamespace(
        record=types.SimpleNamespace(disks=(disk,)),
        host=types.SimpleNamespace(storage=storage),
        order=types.SimpleNamespace(server_id=record.id),
    )
    far = Far(End("kvm2"), conn, storage)
    with pytest.raises(FlotillaError, match=why):
        _layout(job, far, Wish(), lambda *_pools: False)


class Shelf:
    """A pool as one end sees it: the *files* in it, and those that its libvirt knows of."""

    def __init__(self, mark: str, files: set[str]) -> None:
        self.id, self.name, self.files, self.known = mark, "local", files, set(files)

    def markers(self, _wanted: str | None = None) -> list[str]:
        return [self.id]

    def refresh(self) -> None:
        self.known = set(self.files)

    def make(self, name: str, _capacity: int, _format: str) -> None:
        assert name not in self.files
        self.files.add(name)
        self.known.add(name)

    def find(self, name: str, *, look_again: bool = True) -> t.Any:
        if look_again:
            self.refresh()

        def delete(_flags: int) -> None:
            self.known.discard(name)
            self.files.discard(name)

        return types.SimpleNamespace(delete=delete) if name in self.known else None


@pytest.mark.parametrize("left", [None, "here", "there"])
@pytest.mark.parametrize("one", [True, False])
def test_a_pool_is_shared_if_one_end_sees_what_the_other_makes_now(one: bool, left: str | None) -> None:
    """Nothing that a worker which was killed has left says that it is: the disk would not be copied."""
    files: dict[str, set[str]] = {"here": set(), "there": set()}
    if left is not None:
        files[left].add(f"flotilla-probe-{A}")
    if one:
        files = dict.fromkeys(files, files["here"] | files["there"])
    here, there = (t.cast(t.Any, Shelf(A if one else end, files[end])) for end in ("here", "there"))
    assert is_shared(here, there, A) is one
    assert not files["here"] | files["there"]


@pytest.mark.parametrize("one", [True, False])
def test_a_pool_whose_marks_say_otherwise_is_not_judged(one: bool) -> None:
    files: set[str] = set()
    here, there = t.cast(t.Any, Shelf(A, files)), t.cast(t.Any, Shelf(B, files) if one else Shelf(A, set()))
    with pytest.raises(Conflict, match="nothing is moved; is it mounted on both"):
        is_shared(here, there, A)


@pytest.mark.parametrize(
    ("device", "copied", "config"), [("cdrom", ["root"], ["config"]), ("disk", ["root", "config"], [])]
)
def test_a_config_drive_that_a_guest_may_write_to_is_copied_while_it_runs(
    conn: t.Any, host_uri: str, record: Record, device: str, copied: list[str], config: list[str]
) -> None:
    """Libvirt refuses to move a guest whose local disk it neither copies nor knows for one that is only read."""
    here, there = Storage(conn), Storage(libvirt.open(host_uri))
    disks = [
        dataclasses.replace(record.root, role=role, volume=f"{record.id}-{role}", format="raw", target=target)
        for role, target in (("root", "vda"), ("config", "vdb"))
    ]
    disks[1] = dataclasses.replace(disks[1], device=device)
    for disk in disks:
        if here.pool("local").find(disk.volume) is None:
            here.pool("local").make(disk.volume, 1024, "raw")
        left = there.pool("local").find(disk.volume)
        if left is not None:
            left.delete(0)
    job: t.Any = types.SimpleNamespace(
        record=types.SimpleNamespace(disks=tuple(disks)),
        host=types.SimpleNamespace(storage=here),
        order=types.SimpleNamespace(server_id=record.id),
    )
    far = Far(End("kvm2"), conn, there)
    layout = _layout(job, far, Wish(), lambda *_pools: False)
    assert ([disk.role for disk in layout.copied], [disk.role for disk in layout.config]) == (copied, config)


@pytest.mark.parametrize(
    ("block", "one", "said"),
    [
        (True, True, "is not on local storage: Block migration can not be used with shared storage."),
        (
            False,
            False,
            "is not on shared storage: Shared storage live-migration requires either shared",
        ),
    ],
)
def test_block_migration_is_refused_in_nova_s_words(record: Record, block: bool, one: bool, said: str) -> None:
    pools: t.Any = types.SimpleNamespace(pool=lambda name: types.SimpleNamespace(name=name))
    job: t.Any = types.SimpleNamespace(
        record=record, host=types.SimpleNamespace(storage=pools), order=types.SimpleNamespace(server_id=record.id)
    )
    far = Far(End("kvm2"), None, pools)
    with pytest.raises(Refused, match=f"^{record.id} {said}"):
        _layout(job, far, Wish(block_migration=block), lambda *_pools: one)


def test_a_pool_without_a_mark_is_not_judged() -> None:
    with pytest.raises(InvalidInput, match="has no marker volume"):
        shared(end({A}, {A}), end(set(), set()), "local")


def test_a_mark_is_looked_for_again_after_the_pool_was_refreshed_for_something_else() -> None:
    seen = end({A}, {A, B})
    pool = seen.storage.pool("local")
    assert pool.markers() == [A]
    pool.refresh_once()
    assert pool.markers(B) == [A, B]
