# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet as inventory declares it, validated, as values.

Note that this plugin util is **PRIVATE** to the collection.

A run reads inventory once, before any host is touched, and carries what it read to the plan as one string: reading a
thousand hosts' variables twice would cost more than the whole plan. Nothing secret is in it: user data is a digest, the
ledger's URL, the secret key and the hosts' fence agents are left out.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Image, Json, Server
from ansible_collections.flotilla.compute.plugins.module_utils._core.packing import pack, unpack
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import (
    Aggregate,
    Catalogs,
    ImageSource,
    Network,
    ServerGroup,
    catalogs,
    declared,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.documents import is_secret
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import (
    ComputeSettings,
    FleetSettings,
    fleet_settings,
)

Variables = t.Mapping[str, Json]


@dataclasses.dataclass(frozen=True)
class Declared:
    """Settings, catalogs and servers. ``raw`` is what they were made from, less what is secret."""

    settings: FleetSettings
    catalogs: Catalogs
    servers: t.Mapping[str, Server]
    raw: Variables = dataclasses.field(repr=False)

    @property
    def computes(self) -> t.Mapping[str, ComputeSettings]:
        return self.catalogs.computes

    @property
    def networks(self) -> t.Mapping[str, Network]:
        return self.catalogs.networks

    @property
    def groups(self) -> t.Mapping[str, ServerGroup]:
        return self.catalogs.groups

    @property
    def aggregates(self) -> t.Mapping[str, Aggregate]:
        return self.catalogs.aggregates

    @property
    def image_sources(self) -> t.Mapping[str, ImageSource]:
        return self.catalogs.image_sources

    def fixed_addresses(self, network: str) -> t.Mapping[str, str]:
        """Address -> server, of the fixed addresses that inventory itself gives out in a network."""
        return self._fixed.get(network, {})

    @functools.cached_property
    def _fixed(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for server in self.servers.values():
            for port in server.spec.get("networks", []):
                for address in (port.get("fixed_ip"), *port.get("fixed_ips", ())):
                    if address:
                        found.setdefault(port["network"], {})[address] = server.name
        return found

    def pack(self) -> str:
        servers = [[s.name, s.state, s.id, s.spec] for s in self.servers.values()]
        return pack({**self.raw, "servers": servers})

    @classmethod
    def unpack(cls, text: str) -> Declared:
        raw = unpack(text)
        servers = {
            name: Server(name, state, Flavor.from_json(spec["flavor"]), Image.from_json(spec["image"]), spec, server_id)
            for name, state, server_id, spec in raw.pop("servers")
        }
        return cls(fleet_settings(raw["fleet"]), catalogs(raw["fleet"], raw["computes"], raw["ledger"]), servers, raw)


def declare(
    fleet: Variables,
    computes: t.Mapping[str, Variables],
    servers: t.Mapping[str, Variables],
    ledger: t.Mapping[str, t.Mapping[str, Json]],
) -> Declared:
    """The values of a validated inventory. ``ledger``: the catalogs that modules have written, by kind and name."""
    known = catalogs(fleet, computes, ledger)
    return Declared(
        settings=fleet_settings(fleet),
        catalogs=known,
        servers={name: _with_state(declared(name, values, known)) for name, values in servers.items()},
        raw={
            "fleet": _told(fleet),
            "computes": {name: _told(variables) for name, variables in computes.items()},
            "ledger": {kind: dict(entries) for kind, entries in ledger.items()},
        },
    )


def _told(variables: Variables) -> dict[str, Json]:
    return {key: value for key, value in variables.items() if not is_secret(key)}


def _with_state(server: Server) -> Server:
    """The declared state is part of what is applied: evacuation must know, without inventory, whether a guest should
    run."""
    return dataclasses.replace(server, spec={**server.spec, "state": server.state})


__all__ = ["Declared", "declare"]
