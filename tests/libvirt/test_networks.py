# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import (
    Conflict,
    FlotillaError,
    InvalidInput,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import LibvirtNetwork, desired_network
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import networks
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import connect, opened
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.networks import ensure, facts, remove


def test_a_network_is_made_once_and_removed_once(conn: t.Any) -> None:
    desired = desired_network("fresh", forward="isolated", cidr="192.0.2.0/24")
    first = ensure(conn, desired)
    assert first.changed
    assert first.before is None
    assert first.after is not None
    assert first.after["address"] == "192.0.2.1/24"
    assert facts(conn)["fresh"]["active"] is True
    assert not ensure(conn, desired).changed
    assert remove(conn, "fresh").changed
    assert "fresh" not in facts(conn)
    assert not remove(conn, "fresh").changed


def test_check_touches_nothing(conn: t.Any) -> None:
    before = facts(conn)
    change = ensure(conn, desired_network("fresh", forward="isolated"), check=True)
    assert change.changed
    assert change.after is not None
    assert change.after["name"] == "fresh"
    assert remove(conn, "lan", check=True).changed
    assert facts(conn) == before


def test_a_network_that_is_off_is_started(conn: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "bridges", lambda: ["br0"])
    conn.networkLookupByName("lan").destroy()
    desired = desired_network("lan", forward="bridge", bridge="br0")
    assert ensure(conn, desired).changed
    assert facts(conn)["lan"]["active"] is True
    assert not ensure(conn, desired).changed


def test_a_network_in_use_is_neither_changed_nor_removed(conn: t.Any) -> None:
    before = facts(conn)
    with pytest.raises(Conflict, match=r"can't be changed \(address\): it would cut off web1; .* nothing was changed"):
        ensure(conn, desired_network("inside", forward="isolated", cidr="198.51.100.0/24"))
    with pytest.raises(Conflict, match="can't be removed: it would cut off web1"):
        remove(conn, "inside")
    conn.lookupByName("web1").destroy()
    with pytest.raises(Conflict, match="web1"):
        remove(conn, "inside")
    assert facts(conn) == before


def test_the_autostart_of_a_network_in_use_can_change(conn: t.Any) -> None:
    desired = desired_network("inside", forward="isolated", cidr="192.0.2.0/24")
    assert ensure(conn, desired).changed
    assert facts(conn)["inside"]["autostart"] is True


def test_a_bridge_must_be_there(conn: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "bridges", lambda: ["br0"])
    with pytest.raises(InvalidInput, match="no Linux bridge 'br9' for network 'new'; make it, or name one of: br0"):
        ensure(conn, desired_network("new", forward="bridge", bridge="br9"))
    assert ensure(conn, desired_network("new", forward="bridge", bridge="br0")).changed


def test_what_libvirt_refuses_is_a_sentence(conn: t.Any) -> None:
    with pytest.raises(FlotillaError, match="can't bring up network 'a/b': "):
        ensure(conn, LibvirtNetwork("a/b", "isolated"))


def test_a_libvirt_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(
        FlotillaError, match=r"can't be reached at 'qemu\+unix://.*is its daemon running on this host\?"
    ):
        connect("qemu+unix:///system?socket=/nowhere/libvirt-sock")


def test_no_libvirt_error_leaves_a_connection(host_uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(FlotillaError, match=r"can't work with libvirt at 'test://.*: Domain not found"),
        opened(host_uri) as conn,
    ):
        conn.lookupByName("nobody")
    assert capfd.readouterr().err == ""
