# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of servers of tests/conformance/personality_kinds.py as Flotilla has them."""

from __future__ import annotations

import base64
import ipaddress
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Address,
    Disk,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Key, Personality

Json = dict[str, t.Any]


def personality(of: Json) -> Personality:
    """The server of one kind as Flotilla has it."""
    spec = {"metadata": of["metadata"], "security_groups": of["security_groups"]}
    pinning = {vcpu: vcpu for vcpu in of["pinned"]}
    record = Record(
        id=of["uuid"],
        name=of["name"],
        fleet_id="fleet",
        generation=1,
        spec=spec,
        flavor=Flavor(of["flavor"], 1, 512, 10),
        image=Image("image", "qcow2", f"sha256:{of['image']}"),
        disks=[Disk(role, "local", role, "raw", 1, name, "virtio") for role, name in of["disks"].items()],
        nics=[_nic(port) for port in of["ports"]],
        hardware=Hardware(),
        fit=Fit(cells=(FitCell(0, 0, tuple(pinning), 512, pinning=pinning),)) if pinning else None,
    )
    return Personality(
        record=record,
        secret=b"a test's own secret",
        keys=[Key(**of["key"])] if of["key"] else [],
        user_data=None if of["user_data"] is None else base64.b64decode(of["user_data"]),
        vendor_data=of["vendor_data"],
        dynamic_vendor_data=of["dynamic"],
        availability_zone=of["zone"],
        project_id=of["project"],
        launch_index=of["launch_index"],
        dhcp_domain=of["dhcp_domain"],
        files={path: base64.b64decode(data) for path, data in sorted(of["files"].items())},
        admin_password=of["admin_pass"],
        devices=of["devices"],
    )


def _nic(port: Json) -> Nic:
    return Nic(
        port["network"],
        "bridge",
        "br0",
        port["mac"],
        mtu=port["mtu"],
        addresses=[
            Address(
                subnet["address"],
                ipaddress.ip_network(subnet["cidr"]).prefixlen,
                gateway=subnet["gateway"],
                dns=subnet["dns"],
                routes=subnet["routes"],
                mode=subnet["mode"],
            )
            for subnet in port["subnets"]
        ],
    )
