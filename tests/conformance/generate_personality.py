#!/usr/bin/env python3
# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks Nova's own code for the metadata of the servers in personality_kinds.py: drive and service, file by file.

    python3 -m venv VENV && VENV/bin/pip install nova==34.0.0 'SQLAlchemy<2.1'
    VENV/bin/python tests/conformance/generate_personality.py > tests/conformance/personality.json

Contents that several versions share are written once. Of a random_seed its length is kept.
"""

from __future__ import annotations

import base64
import datetime
import json
import logging
import sys
import tempfile
import typing as t
from unittest import mock

import nova.conf  # type: ignore[import-not-found,unused-ignore]
from nova import context, objects, utils
from nova.api.metadata import base  # type: ignore[import-not-found,unused-ignore]
from nova.network import model  # type: ignore[import-not-found,unused-ignore]
from personality_kinds import KINDS, PLAIN  # type: ignore[import-not-found,unused-ignore]

Json = dict[str, t.Any]
CONF = nova.conf.CONF

BUSES = {"pci": "PCIDeviceBus", "scsi": "SCSIDeviceBus", "ide": "IDEDeviceBus", "usb": "USBDeviceBus"}
DEVICES = {"nic": "NetworkInterfaceMetadata", "disk": "DiskMetadata", "share": "ShareMetadata"}


def subnet(given: Json) -> t.Any:
    mode = given["mode"]
    meta: Json = {}
    if mode == "dhcp":
        meta["dhcp_server"] = given["gateway"]
    elif mode is not None:
        meta["ipv6_address_mode"] = mode
    return model.Subnet(
        cidr=given["cidr"],
        gateway=model.IP(given["gateway"], type="gateway") if given["gateway"] else None,
        ips=[model.FixedIP(address=given["address"])],
        dns=[model.IP(address, type="dns") for address in given["dns"]],
        routes=[
            model.Route(cidr=route["destination"], gateway=model.IP(route["gateway"])) for route in given["routes"]
        ],
        **meta,
    )


def network_info(ports: list[Json]) -> t.Any:
    return model.NetworkInfo(
        [
            model.VIF(
                id=f"{port['network']}-{port['mac']}",
                address=port["mac"],
                network=model.Network(
                    id=port["network"], subnets=[subnet(one) for one in port["subnets"]], mtu=port["mtu"]
                ),
            )
            for port in ports
        ]
    )


def device(given: Json) -> t.Any:
    known = getattr(objects, DEVICES[given["type"]])
    values = {key: value for key, value in given.items() if key not in ("type", "bus", "address")}
    if given["bus"] != "none":
        values["bus"] = getattr(objects, BUSES[given["bus"]])(address=given["address"])
    return known(**values)


def block_devices(disks: dict[str, str]) -> list[t.Any]:
    found = []
    for role, name in disks.items():
        values: Json = {"device_name": f"/dev/{name}", "source_type": "blank", "destination_type": "local"}
        if role == "root":
            values["source_type"] = "image"
        elif role == "swap":
            values["guest_format"] = "swap"
        elif role.startswith("volume"):
            values.update(source_type="volume", destination_type="volume")
        found.append(objects.BlockDeviceMapping(**{"guest_format": None, **values}))
    return found


def instance(of: Json) -> t.Any:
    ctxt = context.get_admin_context()
    uuid, key = of["uuid"], of["key"]
    ids = objects.EC2Ids(instance_id=f"i-{uuid[:8]}", ami_id=f"ami-{of['image'][:8]}", kernel_id=None, ramdisk_id=None)
    pairs = [objects.KeyPair(name=key["name"], type=key["type"], public_key=key["data"])] if key else []
    cells = [objects.InstanceNUMACell(id=0, cpuset=set(), pcpuset=set(of["pinned"]), memory=512)]
    info = network_info(of["ports"])
    made = objects.Instance(
        ctxt,
        uuid=uuid,
        display_name=of["name"],
        hostname=utils.sanitize_hostname(of["name"], f"Server-{uuid}"),
        launch_index=of["launch_index"],
        availability_zone=of["zone"],
        project_id=of["project"],
        key_name=key["name"] if key else None,
        key_data=key["data"] if key else None,
        user_data=of["user_data"],
        metadata=of["metadata"],
        system_metadata={},
        reservation_id=f"r-{uuid[-8:]}",
        root_device_name=f"/dev/{of['disks']['root']}",
        default_ephemeral_device=None,
        default_swap_device=None,
        flavor=objects.Flavor(name=of["flavor"], flavorid="1", memory_mb=512, vcpus=1, root_gb=10),
    )
    made.ec2_ids = ids
    made.keypairs = objects.KeyPairList(objects=pairs)
    made.device_metadata = (
        objects.InstanceDeviceMetadata(devices=[device(one) for one in of["devices"]]) if of["devices"] else None
    )
    made.numa_topology = objects.InstanceNUMATopology(cells=cells) if of["pinned"] else None
    made.info_cache = objects.InstanceInfoCache(ctxt, instance_uuid=uuid, network_info=info)
    return made


def without_seed(path: str, data: bytes) -> bytes:
    if not path.endswith("/meta_data.json"):
        return data
    document = json.loads(data)
    if "random_seed" in document:
        document["random_seed"] = len(base64.b64decode(document["random_seed"]))
    return json.dumps(document).encode()


def trees(of: Json) -> tuple[dict[str, bytes], Json]:
    """The files of the drive, and what the service answers to the paths that it lists."""
    CONF.set_override("dhcp_domain", of["dhcp_domain"], group="api")
    CONF.set_override("vendordata_providers", ["StaticJSON", "DynamicJSON"], group="api")
    CONF.set_override("vendordata_dynamic_targets", [f"{name}@http://{name}" for name in of["dynamic"]], group="api")
    asked = mock.patch.object(
        base.vendordata_dynamic.DynamicVendorData, "_do_request", lambda _self, name, _url: of["dynamic"][name]
    )
    groups = mock.patch.object(
        base.security_group_api,
        "get_instance_security_groups",
        return_value=[{"name": name} for name in of["security_groups"]],
    )
    disks = mock.patch.object(objects.Instance, "get_bdms", return_value=block_devices(of["disks"]))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as static, asked, groups, disks:
        json.dump(of["vendor_data"], static)
        static.flush()
        CONF.set_override("vendordata_jsonfile_path", static.name, group="api")
        made = instance(of)
        content = [(path, base64.b64decode(data)) for path, data in sorted(of["files"].items())]
        extra = {"admin_pass": of["admin_pass"]} if of["admin_pass"] else None
        drive = base.InstanceMetadata(made, content=content, extra_md=extra)
        files = dict(drive.metadata_for_config_drive())
        service = base.InstanceMetadata(made, address="192.0.2.99")
        return {path: as_bytes(data) for path, data in files.items()}, answers(service)


def answers(service: t.Any) -> Json:
    """Path -> type and text: every path that a client finds who begins at the top."""
    found: Json = {}
    waiting = ["", "openstack", "ec2"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        data = service.lookup(f"/{path}")
        body = b"" if callable(data) else as_bytes(base.ec2_md_print(data))
        found[path] = {"type": service.get_mimetype(), "body": body}
        if isinstance(data, (dict, list)) and not path.endswith("security-groups"):
            for line in body.decode().split("\n") if body else ():
                name = line.partition("=")[0] if path.endswith("public-keys") else line.rstrip("/")
                waiting.append(f"{path}/{name}" if path else name)
    return found


def as_bytes(data: t.Any) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


class Contents:
    """Contents by number, each once."""

    def __init__(self) -> None:
        self.kept: dict[bytes, int] = {}

    def number(self, path: str, data: bytes) -> int:
        return self.kept.setdefault(without_seed(path, data), len(self.kept))

    def texts(self) -> list[str]:
        return [base64.b64encode(data).decode("ascii") for data in self.kept]


def kind(given: Json) -> Json:
    of = {**PLAIN, **given}
    contents = Contents()
    files, found = trees(of)
    return {
        "given": given,
        "drive": {path: contents.number(path, data) for path, data in sorted(files.items())},
        "service": {
            path: [answer["type"], contents.number(path, answer["body"])] for path, answer in sorted(found.items())
        },
        "contents": contents.texts(),
    }


def main() -> None:
    logging.disable(logging.CRITICAL)
    CONF([], project="nova", default_config_files=[])
    objects.register_all()
    found = {
        "nova": "34.0.0",
        "today": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "kinds": {name: kind(given) for name, given in KINDS.items()},
    }
    json.dump(found, sys.stdout, indent=0, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
