# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From validated inventory data to values: flavors, images, networks, groups, aggregates, and servers as declared.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Everything here is pure and expects data in which validate() has found no mistake.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import ipaddress
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import PciAlias
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Image, Json, Server
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import digest
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.hardware import pci_aliases
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import ComputeSettings, compute_settings
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.sizes import gib, mib

__all__ = [
    "DEFAULT_POOL",
    "DEFAULT_ZONE",
    "Aggregate",
    "Catalogs",
    "ImageSource",
    "Network",
    "ServerGroup",
    "Subnet",
    "aggregate",
    "catalogs",
    "declared",
    "default_zone",
    "flavor",
    "image",
    "image_source",
    "matching",
    "network",
    "port",
    "server_group",
    "zone_of",
]

Data = t.Mapping[str, Json]

DEFAULT_POOL = "local"
DEFAULT_ZONE = "nova"  # Nova's default_availability_zone

#: Server variables that go into Server.spec as they are.
_AS_WRITTEN = {
    "server_autostart": "autostart",
    "server_availability_zone": "availability_zone",
    "server_config_drive": "config_drive",
    "server_config_drive_format": "config_drive_format",
    "server_description": "description",
    "server_group": "group",
    "server_host": "host",
    "server_locked": "locked",
    "server_pool": "pool",
    "server_priority": "priority",
    "server_resize": "resize",
    "server_project": "project",
    "server_scheduler_hints": "hints",
    "server_security_groups": "security_groups",
    "server_shutdown_timeout": "shutdown_timeout",
    "server_tags": "tags",
    "server_volumes": "volumes",
}


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """Where an image comes from: a URL that compute hosts fetch, a file on the controller, or, for a snapshot, a pool
    of a host. The others are None."""

    url: str | None
    file: str | None
    pool: str | None = None
    host: str | None = None


@dataclasses.dataclass(frozen=True)
class Subnet:
    """The addresses of a network, or some of them. ``mode`` is Neutron's ipv6_address_mode; ``dhcp`` for addresses that
    are claimed, and that the metadata service's DHCP tells."""

    cidr: str | None
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    pools: tuple[tuple[str, str], ...] = ()
    dhcp: bool = False
    routes: tuple[t.Mapping[str, str], ...] = ()
    mode: str | None = None

    @property
    def family(self) -> int:
        return 4 if self.cidr is None else ipaddress.ip_network(self.cidr).version

    @property
    def derived(self) -> bool:
        """Whether guests make their address of the port's MAC themselves."""
        return self.mode in ("slaac", "dhcpv6-stateless")

    def has(self, address: str) -> bool:
        return self.cidr is not None and ipaddress.ip_address(address) in ipaddress.ip_network(self.cidr)


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the catalog. ``kind`` is bridge or network (a libvirt network), ``source`` its name on the hosts.

    ``pools`` are pairs of first and last address, in the order written; none means the whole cidr but the gateway.
    ``further`` are the subnets beside the one that the network itself describes. ``metadata_service``: its bridge has
    one on every host.
    """

    name: str
    kind: str
    source: str
    cidr: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    pools: tuple[tuple[str, str], ...] = ()
    dhcp: bool = True
    mtu: int | None = None
    routes: tuple[t.Mapping[str, str], ...] = ()
    mode: str | None = None
    further: tuple[Subnet, ...] = ()
    metadata_service: bool = False

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """All of them: the network's own first."""
        own = Subnet(self.cidr, self.gateway, self.dns, self.pools, self.dhcp, self.routes, self.mode)
        return (own, *self.further) if self.cidr is not None or self.dhcp or not self.further else self.further


@dataclasses.dataclass(frozen=True)
class ServerGroup:
    name: str
    policy: str
    max_server_per_host: int = 1


@dataclasses.dataclass(frozen=True)
class Aggregate:
    """A host aggregate; ``hosts`` are names of compute hosts, patterns are resolved."""

    name: str
    hosts: tuple[str, ...]
    metadata: t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Catalogs:
    """Everything that servers refer to, from inventory and ledger together; ``zones`` by compute host."""

    flavors: t.Mapping[str, Flavor]
    images: t.Mapping[str, Image]
    image_sources: t.Mapping[str, ImageSource]
    keypairs: t.Mapping[str, str]
    networks: t.Mapping[str, Network]
    groups: t.Mapping[str, ServerGroup]
    aggregates: t.Mapping[str, Aggregate]
    computes: t.Mapping[str, ComputeSettings]
    zones: t.Mapping[str, str]
    pci_aliases: tuple[PciAlias, ...] = ()


def flavor(name: str, data: Data) -> Flavor:
    return Flavor(
        name=name,
        vcpus=data["vcpus"],
        ram=mib(data["ram"]),
        disk=gib(data["disk"]),
        ephemeral=gib(data.get("ephemeral", 0)),
        swap=mib(data.get("swap", 0)),
        extra_specs=_texts(data.get("extra_specs")),
    )


def image(name: str, data: Data) -> Image:
    return Image(
        name=name,
        format=data["format"],
        checksum=data["checksum"],
        min_disk=gib(data.get("min_disk", 0)),
        min_ram=mib(data.get("min_ram", 0)),
        properties=_texts(data.get("properties")),
    )


def image_source(data: Data) -> ImageSource:
    snapshot = data.get("snapshot") or {}
    return ImageSource(data.get("url"), data.get("file"), snapshot.get("pool"), snapshot.get("host"))


def network(name: str, data: Data) -> Network:
    bridge = data.get("bridge")
    service = bool(data.get("metadata_service", False))
    further = tuple(_subnet(one, told=service) for one in data.get("subnets", ()))
    own = _subnet({"dhcp": "cidr" not in data and not further, **data}, told=service)
    return Network(
        name=name,
        kind="bridge" if bridge else "network",
        source=bridge or data["libvirt_network"],
        mtu=data.get("mtu"),
        further=further,
        cidr=own.cidr,
        gateway=own.gateway,
        dns=own.dns,
        pools=own.pools,
        dhcp=own.dhcp,
        routes=own.routes,
        mode=own.mode,
        metadata_service=service,
    )


def _subnet(data: Data, *, told: bool = False) -> Subnet:
    """``told``: where guests ask by DHCP, they are told addresses that are claimed for them."""
    cidr = data.get("cidr")
    claimed = told and cidr is not None and data.get("dhcp", False)
    return Subnet(
        cidr=cidr and str(ipaddress.ip_network(cidr)),
        gateway=_address(data.get("gateway")),
        dns=tuple(str(ipaddress.ip_address(server)) for server in data.get("dns", ())),
        pools=tuple(
            (str(_address(pool["start"])), str(_address(pool["end"]))) for pool in data.get("allocation_pools", ())
        ),
        dhcp=data.get("dhcp", False) and not claimed,
        routes=tuple(
            {
                "destination": str(ipaddress.ip_network(route["destination"])),
                "gateway": str(_address(route["gateway"])),
            }
            for route in data.get("routes", ())
        ),
        mode="dhcp" if claimed else data.get("ipv6_address_mode"),
    )


def server_group(name: str, data: Data) -> ServerGroup:
    return ServerGroup(name, data["policy"], (data.get("rules") or {}).get("max_server_per_host", 1))


def aggregate(name: str, data: Data, computes: t.Collection[str]) -> Aggregate:
    hosts = {host for pattern in data.get("hosts", ()) for host in matching(pattern, computes)}
    return Aggregate(name, tuple(sorted(hosts)), _texts(data.get("metadata")))


def matching(pattern: str, names: t.Iterable[str]) -> list[str]:
    """The names that a shell pattern means. A plain name means itself, whatever brackets it has in it."""
    return [name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)]


def default_zone(fleet: Data) -> str:
    """The zone of hosts that nothing gives one."""
    return str((fleet.get("fleet_scheduler") or {}).get("default_availability_zone", DEFAULT_ZONE))


def zone_of(host: str, own: str | None, aggregates: t.Iterable[Aggregate], default: str) -> str:
    """The host's availability zone: an aggregate's, else its own (compute_availability_zone), else the default."""
    given = (one.metadata.get("availability_zone") for one in aggregates if host in one.hosts)
    return next((zone for zone in given if zone), None) or own or default


def catalogs(
    fleet: Data, computes: t.Mapping[str, Data], ledger: t.Mapping[str, t.Mapping[str, Json]] | None = None
) -> Catalogs:
    """The catalogs of a validated inventory. A name is in inventory or in the ledger, never in both."""

    def entries(kind: str) -> dict[str, Data]:
        return {**(ledger or {}).get(kind, {}), **(fleet.get(f"fleet_{kind}") or {})}

    settings = {host: compute_settings(values) for host, values in computes.items()}
    aggregates = {name: aggregate(name, data, settings) for name, data in entries("aggregates").items()}
    return Catalogs(
        flavors={name: flavor(name, data) for name, data in entries("flavors").items()},
        images={name: image(name, data) for name, data in entries("images").items()},
        image_sources={name: image_source(data) for name, data in entries("images").items()},
        keypairs={name: data["public_key"].strip() for name, data in entries("keypairs").items()},
        networks={name: network(name, data) for name, data in entries("networks").items()},
        groups={name: server_group(name, data) for name, data in entries("server_groups").items()},
        aggregates=aggregates,
        computes=settings,
        zones={
            host: zone_of(host, one.zone, aggregates.values(), default_zone(fleet)) for host, one in settings.items()
        },
        pci_aliases=pci_aliases(fleet),
    )


def declared(name: str, data: Data, known: Catalogs) -> Server:
    """The server as its variables declare it. A variable that is null counts as not written."""
    written = {key: value for key, value in data.items() if value is not None}
    chosen_flavor = known.flavors[written["server_flavor"]]
    chosen_image = known.images[written["server_image"]]
    ports = [_served(port(item), known.networks) for item in written.get("server_networks", ())]
    spec: dict[str, Json] = {"flavor": chosen_flavor.to_json(), "image": chosen_image.to_json()}
    spec.update({key: written[variable] for variable, key in _AS_WRITTEN.items() if variable in written})
    if "server_networks" in written:
        spec["networks"] = ports
    if "server_resize_max" in written:
        most = written["server_resize_max"]
        spec["resize_max"] = {**most, "ram": mib(most["ram"])} if "ram" in most else dict(most)
    rescue = written.get("server_rescue", False)
    if rescue is not False:
        spec["rescue"] = (chosen_image if rescue is True else known.images[rescue]).to_json()
    if "server_key_name" in written:
        names = written["server_key_name"]
        keys = [
            {"name": key, "public_key": known.keypairs[key]} for key in ([names] if isinstance(names, str) else names)
        ]
        spec["key_name"] = keys[0] if len(keys) == 1 else keys
    if "server_metadata" in written:
        spec["metadata"] = _texts(written["server_metadata"])
    if "server_user_data" in written:
        spec["user_data"] = {"sha256": digest(written["server_user_data"])}
    if written.get("server_personality"):
        spec["personality"] = {
            path: hashlib.sha256(content.encode()).hexdigest()
            for path, content in sorted(written["server_personality"].items())
        }
    return Server(
        name=name,
        state=written.get("server_state", "active"),
        flavor=chosen_flavor,
        image=chosen_image,
        spec=spec,
        id=_lower(written.get("server_id")),
        pool=written.get("server_pool", DEFAULT_POOL),
        networks=tuple(item["network"] for item in ports),
    )


def port(item: Json) -> dict[str, Json]:
    """An entry of server_networks as a mapping: ``network``, and what else is asked for, such as ``fixed_ip``."""
    if isinstance(item, str):
        return {"network": item}
    asked = {
        **item,
        "fixed_ip": _address(item.get("fixed_ip")),
        "mac": _lower(item.get("mac")),
        "fixed_ips": [str(_address(address)) for address in item.get("fixed_ips", ())] or None,
    }
    return {key: value for key, value in asked.items() if value is not None}


def _served(item: dict[str, Json], networks: t.Mapping[str, Network]) -> dict[str, Json]:
    """The port, with the word that it is served by its network's metadata service: part of what was applied, for an
    interface that isn't prepared for it can't reach it. What bonds and VLANs of the guest's own send has other forms
    than the port's filter lets pass."""
    known = networks.get(item["network"])
    served = known is not None and known.metadata_service and not item.get("vlan") and not item.get("bond")
    return {**item, "metadata_service": True} if served else item


def _address(text: str | None) -> str | None:
    """The address in its one canonical form, so that equal ones compare equal."""
    return None if text is None else str(ipaddress.ip_address(text))


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _texts(values: t.Mapping[str, Json] | None) -> dict[str, str]:
    """Metadata and extra specs are text in Nova; YAML's true and 1 become ``true`` and ``1``."""
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in (values or {}).items()}
