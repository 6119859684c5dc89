# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage pools, defined and removed by libvirt's own code."""

from __future__ import annotations

import typing as t
import uuid

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._core.pool_xml import desired_pool
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import images, marker, pools
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pool_definitions import (
    ensure,
    facts,
    remove,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage

KINDS = [
    ("dir", {"path": "/fresh"}),
    ("logical", {"volume_group": "guests"}),
    ("rbd", {"rbd_pool": "vms", "monitors": ["mon1", "mon2:6789"]}),
]


@pytest.mark.parametrize(("kind", "said"), KINDS)
def test_a_pool_is_made_once_and_removed_once(conn: t.Any, kind: str, said: dict[str, t.Any]) -> None:
    desired = desired_pool("fresh", kind, **said)
    first = ensure(conn, desired)
    assert first.changed
    assert first.before is None
    assert facts(conn)["fresh"] == {**desired.to_json(), "active": True}
    assert not ensure(conn, desired).changed
    assert remove(conn, "fresh").changed
    assert "fresh" not in facts(conn)
    assert not remove(conn, "fresh").changed


def test_check_touches_nothing_and_foretells(conn: t.Any) -> None:
    before = facts(conn)
    desired = desired_pool("fresh", "dir", path="/fresh")
    foretold = ensure(conn, desired, check=True)
    assert foretold.changed
    assert facts(conn) == before
    assert ensure(conn, desired).after == foretold.after


def test_a_pool_that_is_off_is_started(conn: t.Any) -> None:
    desired = desired_pool("fresh", "dir", path="/fresh")
    ensure(conn, desired)
    conn.storagePoolLookupByName("fresh").destroy()
    assert ensure(conn, desired).changed
    assert facts(conn)["fresh"]["active"] is True


def test_a_pool_is_never_moved(conn: t.Any) -> None:
    ensure(conn, desired_pool("fresh", "dir", path="/fresh"))
    with pytest.raises(Conflict, match="defined otherwise on this host: path '/fresh' instead of '/elsewhere'"):
        ensure(conn, desired_pool("fresh", "dir", path="/elsewhere"))
    assert facts(conn)["fresh"]["path"] == "/fresh"


def test_a_pool_in_use_is_not_removed(conn: t.Any) -> None:
    before = facts(conn)
    with pytest.raises(Conflict, match=r"pool 'local' can't be removed: disks of web1.* lie in it"):
        remove(conn, "local")
    assert facts(conn) == before


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/fresh", "type='file'><source file='/fresh/x'/>"),
        ("/a&b", "type='file'><source file='/a&amp;b/x'/>"),
        ("/fresh", "type='volume'><source pool='fresh' volume='x'/>"),
    ],
)
def test_a_pool_that_is_off_and_has_guests_is_not_removed_either(conn: t.Any, path: str, source: str) -> None:
    ensure(conn, desired_pool("fresh", "dir", path=path))
    disk = f"<disk {source}<target dev='vda'/></disk>"
    xml = f"<os><type>hvm</type></os><devices>{disk}</devices>"
    conn.defineXML(f"<domain type='test'><name>mail</name><memory>65536</memory>{xml}</domain>")
    conn.storagePoolLookupByName("fresh").destroy()
    with pytest.raises(Conflict, match=r"pool 'fresh' can't be removed: disks of mail lie in it"):
        remove(conn, "fresh")
    assert "fresh" in facts(conn)


def test_a_place_is_one_however_it_is_written(conn: t.Any) -> None:
    """Libvirt writes paths in its own way."""
    said: dict[str, t.Any] = {"host": "nfs", "export": "/export//guests/", "path": "/srv//fresh/"}
    assert ensure(conn, desired_pool("fresh", "netfs", **said), check=True).changed
    assert ensure(conn, desired_pool("fresh", "netfs", **said)).changed
    assert not ensure(conn, desired_pool("fresh", "netfs", **said)).changed


def test_a_folder_that_is_only_looked_into_is_no_pool(conn: t.Any) -> None:
    """Nobody makes a marker in it, or a volume, or takes it for a pool that is gone a moment later."""
    before = pools.pools(conn), facts(conn), images.pool_names(conn)
    name = f"{pools.PASSING}{uuid.uuid4()}"
    made = conn.storagePoolCreateXML(f"<pool type='dir'><name>{name}</name><target><path>/x</path></target></pool>", 0)
    assert name in {pool.name() for pool in conn.listAllStoragePools()}
    assert (pools.pools(conn), facts(conn), images.pool_names(conn)) == before
    assert name not in {pool.name for pool in Storage(conn).active_pools()}
    assert name not in marker._unmarked(conn, None)
    made.destroy()
