# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage pools to and from libvirt's XML, and what is refused."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.pool_xml import (
    desired_pool,
    pool_differences,
    pool_of,
    pool_xml,
)

CEPH = {"rbd_pool": "vms", "monitors": ["mon1", "mon2:6789", "[2001:db8::1]:6789"], "user": "libvirt", "secret": "457e"}
NFS = {"host": "nfs.example.org", "export": "/export/guests", "path": "/srv/shared"}

KINDS = [
    ("dir", {"path": "/srv/guests"}),
    ("fs", {"path": "/srv/disk", "device": "/dev/sdb1"}),
    ("netfs", NFS),
    ("logical", {"volume_group": "guests"}),
    ("rbd", CEPH),
]


@pytest.mark.parametrize(("kind", "said"), KINDS)
def test_what_is_written_is_read_back(kind: str, said: dict[str, t.Any]) -> None:
    pool = desired_pool("p <&> 'ü'", kind, autostart=False, **said)
    assert pool_of(pool_xml(pool), autostart=False) == pool
    assert pool.to_json() == {"name": "p <&> 'ü'", "type": kind, "autostart": False, **said}


def test_a_folder_is_one_folder_with_and_without_a_slash_at_its_end() -> None:
    assert desired_pool("a", "dir", path="/srv/guests/") == desired_pool("a", "dir", path="/srv/guests")


def test_differences_are_told_by_key() -> None:
    one, two = desired_pool("a", "dir", path="/srv/one"), desired_pool("a", "dir", path="/srv/two", autostart=False)
    assert pool_differences(two, one) == {"path": ("/srv/one", "/srv/two"), "autostart": (True, False)}


@pytest.mark.parametrize(
    ("kind", "said", "words"),
    [
        ("dir", {}, "pool 'a' of type 'dir' needs path; say it as well"),
        ("netfs", {"path": "/srv"}, "needs host and export"),
        ("dir", {"path": "/srv", "device": "/dev/sdb"}, "has no use for device; leave it out"),
        ("dir", {"path": "srv"}, "has the path 'srv', which is no folder of its own"),
        ("dir", {"path": "/"}, "has the path '/', which is no folder of its own"),
        ("rbd", {"rbd_pool": "vms", "monitors": ["m"], "user": "u"}, "user and secret go together"),
    ],
)
def test_what_can_not_be_is_refused(kind: str, said: dict[str, t.Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        desired_pool("a", kind, **said)
