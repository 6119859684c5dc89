# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refusals of actions as a user gets them: each begins, word for word, as Nova's does; what we know beside comes after.

Nova's texts are those of nova/exception.py and of the raises in nova/compute/api.py and nova/api/openstack/compute.
Those of hosts are tested where these are asked: the guest agent's ("Failed to set admin password on ...") in
tests/host/test_guests.py, a live migration's to its own host in tests/host/test_live.py, that of one which can't be
aborted in tests/libvirt/test_transit.py, evacuation's in test_lost.py, a zone's host in _schema/test_broken_servers.py.
What we have no action or option for has none: volumes and interfaces, and an unshelving's zone or host.
"""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.adopting import NO_BYTES
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._core.resize import MARK, resize_mark
from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.declared import declare
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import RunRow
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_act import World
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
    WEB,
    applied,
    hosts,
    reconcile,
)

NAMES = ("kvm1", "kvm2", "kvm3")
FLAVORS: dict[str, dict[str, t.Any]] = {
    "m1.small": {"vcpus": 1, "ram": 2048, "disk": 20},
    "flat": {"vcpus": 1, "ram": 2048, "disk": 0},
    "short": {"vcpus": 1, "ram": 2048, "disk": 10},
    "poor": {"vcpus": 1, "ram": 512, "disk": 20},
    "vast": {"vcpus": 1, "ram": 10**7, "disk": 20},
}
#: Of which both images want more than there is.
IMAGES = {
    "wide": {"url": "http://example.org/wide", "format": "qcow2", "checksum": "sha256:" + "c" * 64, "min_disk": 40},
    "xen": {
        "url": "http://example.org/xen",
        "format": "qcow2",
        "checksum": "sha256:" + "e" * 64,
        "properties": {"img_hv_type": "xen"},
    },
    "deep": {"url": "http://example.org/deep", "format": "qcow2", "checksum": "sha256:" + "d" * 64, "min_ram": 4096},
}


@pytest.fixture
def world() -> World:
    """web1 runs on kvm1."""
    computes = {name: {**COMPUTE, "compute_migration_uri": f"qemu+tls://{name}/system"} for name in NAMES}
    fleet = {**FLEET, "fleet_flavors": FLAVORS, "fleet_images": {**FLEET["fleet_images"], **IMAGES}}
    declared = declare(fleet, computes, {"web1": {**WEB, "server_flavor": "m1.small", "server_host": "kvm1"}}, {})
    return World(declared, applied(reconcile(declared, hosts(declared))))


def in_state(world: World, state: str, **marks: t.Any) -> World:
    marked = world.with_record(marks=marks)
    return marked._replace(guests={world.host: [dataclasses.replace(marked.guests[world.host][0], state=state)]})


def words(world: World, action: str, **options: t.Any) -> str:
    with pytest.raises(FlotillaError) as refused:
        world.plan(action, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_states_in_which_an_action_is_not_taken(world: World) -> None:
    own = world.record.id
    assert words(in_state(world, "shutoff"), "pause") == (
        f"Cannot 'pause' instance {own} while it is in vm_state stopped"
    )
    assert words(world, "abort_migration") == (
        f"Cannot 'abort live migration' instance {own} while it is in task_state None"
    )
    run = RunRow("other", "Action", "ctl", "", "", 17, "1", "ops", 1.0, 1.0, None, "running")
    row = world.row(run_id=run.id, task_state="powering-off")
    assert words(world, "pause", snapshot=dataclasses.replace(row, runs={run.id: run})).startswith(
        f"Cannot 'pause' instance {own} while it is in task_state powering-off"
    )
    assert words(in_state(world, "running", lock={"by": "ops"}), "stop").startswith(f"Instance {own} is locked")
    gone = world._replace(guests={world.host: []})
    assert words(gone, "stop", snapshot=world.row()).startswith(f"Instance {own} is not ready")


def test_hosts_that_are_not_there(world: World) -> None:
    told = words(world._replace(guests={}), "stop", snapshot=world.row(), surveys={"kvm1": None})
    assert told.startswith("Service is unavailable at this time.")
    moved = resize_mark(world.record, state="running", migration="m", at=1.0)
    mark = {**moved, "from": {"host": "kvm2", "host_id": "id-kvm2"}}
    for action in ("confirm_resize", "revert_resize"):
        told = words(in_state(world, "running", **{MARK: mark}), action, surveys={"kvm2": None})
        assert told.startswith("Service is unavailable at this time.")
    assert words(world, "migrate", to="kvm9", live=False).endswith(
        "Compute host kvm9 not found. There are: kvm1, kvm2, kvm3"
    )
    assert words(world, "migrate", to=world.host, live=False).startswith(
        "Cannot migrate to the host where the server exists."
    )


@pytest.mark.parametrize(
    ("action", "options", "says"),
    [
        ("resize", {"flavor": "m1.small"}, "When resizing, instances must change flavor!"),
        (
            "resize",
            {"flavor": "flat"},
            "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed.",
        ),
        ("resize", {"flavor": "short"}, "Resize error: Unable to resize disk down."),
        ("rebuild", {"image": "wide"}, "Flavor's disk is too small for requested image."),
        ("rebuild", {"image": "deep"}, "Flavor's memory is too small for requested image."),
        ("set_password", {}, "QEMU guest agent is not enabled"),
    ],
)
def test_what_is_asked_for_and_can_not_be(world: World, action: str, options: dict[str, t.Any], says: str) -> None:
    if action == "set_password":
        world = world.with_record(hardware=dataclasses.replace(world.record.hardware, guest_agent=False))
    assert words(world, action, **options).startswith(says)


def test_a_server_that_can_not_be_rescued(world: World) -> None:
    cut_off = in_state(world, "shutoff", rebuilding={"spec": dict(world.record.spec)})
    adopted = world.with_record(image=dataclasses.replace(world.record.image, checksum=NO_BYTES))
    for its in (cut_off, adopted):
        assert words(its, "rescue").startswith(f"Instance {world.record.id} cannot be rescued: ")


def test_a_rebuild_asks_whether_its_host_is_fit_for_the_image(world: World) -> None:
    (entry,) = world.plan("rebuild", image="xen").servers
    assert (entry.steps, entry.message.startswith("No valid host was found")) == ((), True)
    (entry,) = world.plan("rebuild", image="tick").servers
    assert [step.kind for step in entry.steps] == ["stop", "rebuild", "start"]


def test_where_no_host_takes_it(world: World) -> None:
    """We say which host refuses it and why, where Nova says that there are not enough."""
    (entry,) = world.plan("resize", flavor="vast").servers
    assert entry.message.startswith("No valid host was found")
    assert all(name in entry.message for name in NAMES)


def test_an_image_that_asks_for_more_memory_than_a_new_flavor_has(world: World) -> None:
    image = dataclasses.replace(world.record.image, min_ram=1024)
    told = words(world.with_record(image=image), "resize", flavor="poor")
    assert told.startswith("Flavor's memory is too small for requested image.")
