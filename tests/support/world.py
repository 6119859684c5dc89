# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on the hosts, as values to compare; and whether it is what a ledger and a fleet say."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from xml.etree import ElementTree

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Snapshot

_SERVER_VOLUME = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\w+")

_IMAGE = re.compile(r"image-[0-9a-f]{64}")
_SNAPSHOT = re.compile(r"snapshot-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclasses.dataclass(frozen=True)
class Domain:
    """A domain. ``record`` is the JSON of its metadata, None for one that is not ours."""

    name: str
    id: str
    state: str
    persistent: bool
    autostart: bool
    saved: bool
    xml: str
    live_xml: str | None
    record: dict[str, t.Any] | None
    host: str

    @property
    def server(self) -> str:
        """The server's name, which a softly deleted domain no longer bears."""
        return str(self.record["name"]) if self.record else self.name

    def disk(self, role: str) -> tuple[str, str]:
        """Pool and volume of one of its disks."""
        assert self.record is not None
        return next((disk["pool"], disk["volume"]) for disk in self.record["disks"] if disk["role"] == role)

    @property
    def softly_deleted(self) -> bool:
        return self.record is not None and "soft_delete" in self.record["marks"]

    @property
    def spec(self) -> dict[str, t.Any]:
        """What inventory said of it when it was last changed."""
        assert self.record is not None
        return dict(self.record["spec"])

    @property
    def addresses(self) -> list[str]:
        nics = self.record["nics"] if self.record else []
        return [address["address"] for nic in nics for address in nic["addresses"]]

    @property
    def generation(self) -> int | None:
        return self.record["generation"] if self.record else None

    @property
    def memory(self) -> int:
        """MiB."""
        return int(ElementTree.fromstring(self.xml).findtext("memory") or 0) // 1024

    @property
    def bare_xml(self) -> str:
        """Its XML without what changes by itself."""
        return re.sub(r"<(domain) [^>]*>", r"<\1>", self.xml)


@dataclasses.dataclass(frozen=True)
class Host:
    name: str
    domains: tuple[Domain, ...]
    pools: dict[str, dict[str, dict[str, int]]]
    networks: tuple[str, ...]
    marker: dict[str, t.Any] | None

    @classmethod
    def of(cls, name: str, told: dict[str, t.Any], marker: dict[str, t.Any] | None) -> Host:
        domains = tuple(Domain(**domain, host=name) for domain in sorted(told["domains"], key=lambda d: d["name"]))
        return cls(name, domains, told["pools"], tuple(told["networks"]), marker)


@dataclasses.dataclass(frozen=True)
class World:
    """All hosts that are on."""

    hosts: dict[str, Host]

    @property
    def domains(self) -> list[Domain]:
        return [domain for host in self.hosts.values() for domain in host.domains]

    @property
    def servers(self) -> dict[str, Domain]:
        """Our domains by name, but for softly deleted ones; two of one name are a fault."""
        ours = [domain for domain in self.domains if domain.record is not None and not domain.softly_deleted]
        names = sorted(domain.name for domain in ours)
        assert len(set(names)) == len(names), f"a server is there twice: {[(d.name, d.host, d.state) for d in ours]}"
        return {domain.name: domain for domain in ours}

    def server(self, name: str) -> Domain:
        assert name in self.servers, f"{name} is on no host, these are: {self.states}"
        return self.servers[name]

    @property
    def states(self) -> dict[str, str]:
        return {name: domain.state for name, domain in self.servers.items()}

    @property
    def placement(self) -> dict[str, str]:
        return {name: domain.host for name, domain in self.servers.items()}

    def volumes(self, server_id: str) -> set[tuple[str, str]]:
        """Pairs of pool and volume that carry the id, over all hosts."""
        return {
            (pool, volume)
            for host in self.hosts.values()
            for pool, volumes in host.pools.items()
            for volume in volumes
            if volume.startswith(server_id)
        }

    def but(self, *names: str) -> dict[str, tuple[str, str, str, str | None]]:
        """All domains except those named: where, in which state, with which XML. To see that a run left them alone."""
        return {f"{d.host}/{d.name}": (d.id, d.state, d.xml, d.live_xml) for d in self.domains if d.server not in names}


def leftovers(
    world: World, snapshot: Snapshot, declared: t.Mapping[str, str], images: t.Mapping[str, t.Mapping[str, t.Any]]
) -> list[str]:
    """What doesn't fit together, in sentences: hosts against ledger against the *declared* names and their states.
    *images*: the ledger's catalog of them.

    All hosts must be on, and all that is declared carried out. What was deleted softly may wait for its end.
    """
    return [
        *_domains_wrong(world, declared),
        *_volumes_wrong(world),
        *_snapshots_wrong(world, images),
        *_ledger_wrong(world, snapshot),
    ]


def _domains_wrong(world: World, declared: t.Mapping[str, str]) -> t.Iterator[str]:
    wanted = {name: {"active": "running", "stopped": "shutoff", "paused": "paused"}[s] for name, s in declared.items()}
    ours = {f"{d.name} on {d.host}": d for d in world.domains if d.record is not None}
    for what, domain in ours.items():
        if domain.softly_deleted:
            continue
        if domain.name not in wanted:
            yield f"the domain {what} is not declared"
        elif domain.state != wanted[domain.name]:
            yield f"the domain {what} is {domain.state}, declared is {declared[domain.name]}"
        elif not domain.persistent:
            yield f"the domain {what} is transient"
    for name in wanted:
        copies = [what for what, domain in ours.items() if domain.name == name]
        if len(copies) != 1:
            yield f"{name} has {len(copies)} domains: {copies}"


def _volumes_wrong(world: World) -> t.Iterator[str]:
    seen = set()
    for host in world.hosts.values():
        for pool, volumes in host.pools.items():
            for name in volumes:
                match = _SERVER_VOLUME.fullmatch(name)
                if match and not _has_owner(world, host, pool, match[1]):
                    seen.add(f"the volume {name} in pool {pool} of {host.name} belongs to no domain")
                if _IMAGE.fullmatch(name) and f"{name}.ok" not in volumes:
                    seen.add(f"the image {name} in pool {pool} of {host.name} is half made")
    for domain in world.domains:
        for disk in domain.record["disks"] if domain.record else ():
            if disk["volume"] not in world.hosts[domain.host].pools[disk["pool"]]:
                seen.add(f"{domain.name} on {domain.host} lacks its volume {disk['volume']}")
    yield from sorted(seen)


def _snapshots_wrong(world: World, images: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    """No server is shelved: each snapshot is an image of the fleet, and the other way round."""
    known = {image["snapshot"]["id"]: name for name, image in images.items() if "snapshot" in image}
    volumes = {name for host in world.hosts.values() for its in host.pools.values() for name in its}
    found = {match[1] for match in map(_SNAPSHOT.fullmatch, volumes) if match}
    yield from (f"the snapshot {snapshot_id} is in no catalog" for snapshot_id in found - known.keys())
    yield from (f"the snapshot {known[snapshot_id]} is on no host" for snapshot_id in known.keys() - found)


def _has_owner(world: World, host: Host, pool: str, server_id: str) -> bool:
    """A volume of a local pool has its domain on that host, one of the shared pool on any."""
    domains = world.domains if pool == "shared" else host.domains
    return any(domain.id == server_id for domain in domains)


def _ledger_wrong(world: World, snapshot: Snapshot) -> t.Iterator[str]:
    domains = {domain.id: domain for domain in world.domains if domain.record is not None}
    yield from (f"a claim is left: {claim}" for claim in snapshot.claims.values())
    yield from (f"a run is left: {run}" for run in snapshot.runs.values())
    for row in snapshot.servers.values():
        domain = domains.get(row.id)
        if domain is None:
            yield f"the ledger has {row.name} ({row.id}, {row.vm_state}), no host has it"
        elif (row.host, row.generation) != (domain.host, domain.generation):
            known, found = f"{row.host} at {row.generation}", f"{domain.host} at {domain.generation}"
            yield f"the ledger has {row.name} on {known}, it is on {found}"
        if row.task_state or row.run_id:
            yield f"{row.name} is left in task {row.task_state} of run {row.run_id}"
    yield from (f"{d.name} on {d.host} is not in the ledger" for d in domains.values() if d.id not in snapshot.servers)
    given = {(row.server_id, row.address) for row in snapshot.addresses}
    held = {(domain.id, address) for domain in domains.values() for address in domain.addresses}
    yield from (f"the address {address} is given to {owner}, which has it not" for owner, address in given - held)
    yield from (f"the address {address} of {owner} is not in the ledger" for owner, address in held - given)
    if len({address for _, address in held}) != len(held):
        yield f"two servers have one address: {sorted(held)}"
