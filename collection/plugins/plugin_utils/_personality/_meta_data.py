# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""meta_data.json, as Nova writes it for each of its versions (nova.api.metadata.base).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.bus_address import is_told, placeholder
from ansible_collections.flotilla.compute.plugins.module_utils._core.hostname import MAX_LENGTH, hostname_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record

__all__ = ["DEFAULT_ZONE", "Key", "Personality", "content_paths", "devices_of", "hostname", "key_of", "meta_data"]

DEFAULT_ZONE = "nova"  # the zone that Nova gives a host without one
_SEED_LENGTH = 512  # bytes, Nova's
_SHORTEST_SECRET = 16

Document = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Key:
    """A keypair's public half: ``type`` is ssh or x509, ``data`` the line or the certificate."""

    name: str
    data: str
    type: str = "ssh"


@dataclasses.dataclass(frozen=True)
class Personality:
    """Everything that a server is told about itself, beside what its record has.

    ``secret`` makes the guest's random seed: it must be drawn at random once per fleet or server, and kept, since the
    same secret gives the same drive and whoever knows it knows the seed. ``vendor_data`` is the static document,
    ``dynamic_vendor_data`` the answers by target's name. ``files`` are injected ones, by path in the guest;
    ``admin_password`` is in the drive alone, never at the metadata service. ``devices`` are as ``devices_of`` gives
    them. ``dhcp_domain`` is put behind the hostname.
    """

    record: Record
    secret: bytes = dataclasses.field(repr=False)
    keys: t.Sequence[Key] = ()
    user_data: bytes | None = dataclasses.field(default=None, repr=False)
    vendor_data: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    dynamic_vendor_data: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    availability_zone: str = DEFAULT_ZONE
    project_id: str | None = None
    launch_index: int = 0
    dhcp_domain: str = ""
    files: t.Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False)
    admin_password: str | None = dataclasses.field(default=None, repr=False)
    devices: t.Sequence[t.Mapping[str, t.Any]] = ()

    def __post_init__(self) -> None:
        if len(self.secret) < _SHORTEST_SECRET:
            raise ValueError(f"the secret of a guest's random seed needs {_SHORTEST_SECRET} bytes or more")


def key_of(name: str, data: str) -> Key:
    """The keypair of that public half: a certificate is of the type x509."""
    return Key(name, data, "x509" if data.startswith("-----BEGIN CERTIFICATE") else "ssh")


def devices_of(record: Record) -> list[Document]:
    """The devices that the guest is told of: ports with a tag or a VLAN (nova's libvirt driver:
    _build_device_metadata). Where on the bus libvirt puts them is not known before the domain is defined: the host
    writes it in the place of a placeholder."""
    found: list[Document] = []
    for nic in record.nics:
        if is_told(nic):
            place = placeholder(record.id, nic.mac)
            device: Document = {"type": "nic", "bus": "pci", "address": place, "mac": nic.mac, "vf_trusted": False}
            device.update({"tags": [nic.tag]} if nic.tag else {})
            device.update({"vlan": nic.vlan} if nic.vlan else {})
            found.append(device)
    return found


def hostname(of: Personality) -> str:
    """The name that the guest gives itself, with the domain if there is one."""
    # Nova's fallback is Server-<uuid>, which no sanitizing follows.
    name = hostname_of(of.record.name, fallback=f"Server-{of.record.id}"[:MAX_LENGTH])
    return f"{name}.{of.dhcp_domain}" if of.dhcp_domain else name


def content_paths(of: Personality) -> dict[str, str]:
    """Injected file -> its name under content/."""
    return {path: f"{index:04}" for index, path in enumerate(of.files)}


def meta_data(of: Personality, version: str = "2025-04-04", *, drive: bool = True) -> Document:
    """meta_data.json of *version*. Keys that have no value are left out where Nova does it.

    ``drive`` is false for the metadata service, which gives away neither injected files nor the password.
    """
    record = of.record
    document: Document = {
        "uuid": record.id,
        "name": record.name,
        "hostname": hostname(of),
        "launch_index": of.launch_index,
        "availability_zone": of.availability_zone,
    }
    metadata = record.spec.get("metadata")
    if metadata:
        document["meta"] = dict(metadata)
    if drive and of.files:
        document["files"] = [
            {"path": path, "content_path": f"/content/{name}"} for path, name in content_paths(of).items()
        ]
    if drive and of.admin_password:
        document["admin_pass"] = of.admin_password
    if of.keys:
        document["public_keys"] = {key.name: key.data for key in of.keys}
        document["keys"] = [{"name": key.name, "type": key.type, "data": key.data} for key in of.keys]
    return {**document, **_of_version(of, version)}


def _of_version(of: Personality, version: str) -> Document:
    """What later versions have added."""
    added: list[tuple[str, str, t.Callable[[], t.Any]]] = [
        ("2013-04-04", "random_seed", lambda: base64.b64encode(_random_seed(of.secret, of.record.id)).decode("ascii")),
        ("2015-10-15", "project_id", lambda: of.project_id),
        ("2016-06-30", "devices", lambda: _devices(of.devices, version)),
        ("2020-10-14", "dedicated_cpus", lambda: _dedicated_cpus(of.record)),
    ]
    return {key: value() for since, key, value in added if version >= since}


def _devices(devices: t.Sequence[t.Mapping[str, t.Any]], version: str) -> list[Document]:
    """The devices that *version* knows, without what it does not know of them."""
    found = []
    for device in devices:
        kept = dict(device)
        if version < "2017-02-22":
            kept.pop("vlan", None)
        if version < "2018-08-27":
            kept.pop("vf_trusted", None)
        bare = kept["type"] == "nic" and not kept.keys() & {"tags", "vlan", "vf_trusted"}
        if not bare and (kept["type"] != "share" or version >= "2025-04-04"):
            found.append(kept)
    return found


def _dedicated_cpus(record: Record) -> list[int]:
    """The vCPUs that have a core of their own."""
    return sorted(vcpu for cell in (record.fit.cells if record.fit else ()) for vcpu in cell.pinning)


def _random_seed(secret: bytes, server_id: str) -> bytes:
    """Bytes that nobody can tell without *secret*, and the same each time the drive is made again."""
    blocks = (
        hmac.new(secret, f"random_seed/{server_id}/{index}".encode(), hashlib.sha512).digest()
        for index in range(_SEED_LENGTH // hashlib.sha512().digest_size)
    )
    return b"".join(blocks)
