# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is looked at on both hosts before a live migration, by libvirt's own test driver."""

from __future__ import annotations

import dataclasses
import types
import typing as t

import libvirt
import pytest
from tests.libvirt.test_landing import error

from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Nic, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import End
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import desired_network
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Order
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.networks import ensure
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.prechecks import _LOOKS, Far
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage


def networks(conn: t.Any, record: Record, source: str, **options: t.Any) -> list[str]:
    """What stands against a move to the host of *conn* with a port in its libvirt network."""
    nic = Nic("lan", "network", source, "52:54:00:00:00:01")
    job: t.Any = types.SimpleNamespace(order=Order("live_migrate", record.id, record.name, options=options))
    target = dataclasses.replace(record, nics=(nic,))
    return list(dict(_LOOKS)["networks"](job, target, Far(End("kvm2"), conn, Storage(conn)), Wish()))


@pytest.mark.parametrize("forward", ["isolated", "nat", "route"])
def test_a_network_of_each_host_s_own_takes_leave(conn: t.Any, record: Record, forward: str) -> None:
    ensure(conn, desired_network("own", forward=forward, cidr="192.0.2.0/24"))
    (said,) = networks(conn, record, "own")
    assert "the libvirt network 'own' is one of each host's own: its peers would not find it there" in said
    assert networks(conn, record, "own", host_network=True) == []


def test_a_network_that_is_not_there_is_told_with_leave_too(conn: t.Any, record: Record) -> None:
    (said,) = networks(conn, record, "nowhere", host_network=True)
    assert "the libvirt network 'nowhere' of network 'lan' is not active there" in said


def test_a_filter_of_a_port_must_be_there(record: Record) -> None:
    xml = """<domain><devices>
      <interface type='bridge'><filterref filter='clean-traffic'/></interface>
      <interface type='bridge'><filterref filter='flotilla-metadata'/></interface>
      <interface type='bridge'/>
    </devices></domain>"""

    def lookup(name: str) -> object:
        if name != "clean-traffic":
            raise error(libvirt.VIR_ERR_NO_NWFILTER)
        return object()

    job: t.Any = types.SimpleNamespace(domain=types.SimpleNamespace(XMLDesc=lambda _flags: xml))
    far: t.Any = types.SimpleNamespace(conn=types.SimpleNamespace(nwfilterLookupByName=lookup))
    said = list(dict(_LOOKS)["filters"](job, record, far, Wish()))
    assert said == ["the filter 'flotilla-metadata' of its ports is not there"]
