# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What disks need at the other end of a move: what they stand on, and room, on libvirt's own test driver."""

from __future__ import annotations

import dataclasses
import typing as t

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Refused
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB, Disk, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import End
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import (
    Far,
    backing,
    images_to_bring,
    room,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage


@pytest.fixture
def here(conn: t.Any) -> Storage:
    return Storage(conn)


@pytest.fixture
def far(host_uri: str) -> Far:
    conn = libvirt.open(host_uri)
    return Far(End("kvm2"), conn, Storage(conn))


def overlay(record: Record) -> Disk:
    return dataclasses.replace(record.root, backing=record.image.volume)


def forget(storage: Storage, *names: str) -> None:
    for name in names:
        volume = storage.pool("local").find(name)
        assert volume is not None
        volume.delete(0)


def test_an_image_that_is_at_either_end_will_do(here: Storage, far: Far, record: Record) -> None:
    disks, image = [overlay(record)], record.image
    assert list(backing(here, far, disks, image)) == []
    assert images_to_bring(here, far, disks, image) == {}
    forget(far.storage, f"{image.volume}.ok")  # it is not complete there
    assert list(backing(here, far, disks, image)) == []
    # The test driver's allocation is what it was told, or the capacity.
    assert images_to_bring(here, far, disks, image) == {"local": 5000}
    forget(here, image.volume)
    (said,) = backing(here, far, disks, image)
    assert said == f"its image 'debian' ({image.volume}) is in pool 'local' of neither host"
    assert images_to_bring(here, far, disks, image) == {}


def test_a_disk_that_stands_on_nothing_needs_no_image(here: Storage, far: Far, record: Record) -> None:
    forget(here, record.image.volume)
    forget(far.storage, record.image.volume, f"{record.image.volume}.ok")
    disks = [dataclasses.replace(record.root, backing=None)]
    assert list(backing(here, far, disks, record.image)) == []


def test_a_disk_on_another_image_than_its_server_s_is_told(here: Storage, far: Far, record: Record) -> None:
    disks = [dataclasses.replace(record.root, backing="image-of-my-cat")]
    (said,) = backing(here, far, disks, record.image)
    assert said == (
        f"its disk '{record.id}-root' stands on 'image-of-my-cat', which is not its image {record.image.volume!r}"
    )


def test_room_is_for_the_disks_and_for_the_image_under_them(far: Far) -> None:
    free = int(far.pool("local").handle.info()[3])
    assert list(room(far, {"local": free}, {})) == []
    (said,) = room(far, {"local": free + 1}, {})
    assert said.startswith(f"its disks take {(free + 1) / GIB:.3g} GiB, and pool 'local' there has ")
    assert list(room(far, {"local": free - 10}, {"local": 10})) == []
    (said,) = room(far, {"local": free - 10}, {"local": 11})
    assert said.startswith("its disks, with the image under them, take ")
    (said,) = room(far, {}, {"local": free + 1})
    assert "pool 'local' there" in said


def test_a_pool_that_the_other_host_lacks_is_named_with_the_host(far: Far) -> None:
    with pytest.raises(Refused, match="on kvm2 this host has no storage pool 'nvme'"):
        far.pool("nvme")
