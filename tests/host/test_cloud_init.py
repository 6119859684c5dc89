# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of servers as cloud-init's own code reads them: from a config drive, over HTTP, and as NoCloud."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.conformance.personality_kinds import KINDS, PLAIN
from tests.host.test_config_drive import unpacked  # noqa: F401  # a fixture
from tests.support.personality import personality

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Key, Personality
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._nocloud import nocloud
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import Answer, service_tree, tree

Json = dict[str, t.Any]

#: Enough to have every form of network, key and user data; the others differ from these in a name.
SOME = (
    "plain",
    "name of Latin letters",
    "domain of a site",
    "ssh key",
    "user data: cloud-config",
    "user data: parts",
    "user data: empty",
    "IPv4 with routes",
    "IPv6 with routes",
    "two ports",
    "three ports, one name server",
    "static and SLAAC",
)

#: Each line of input is one server: its folder, its address at the service, the MACs of its ports.
READ = r"""
import json, sys
from cloudinit import helpers, settings, sources
from cloudinit.net import network_state
from cloudinit.sources import DataSourceNoCloud
from cloudinit.sources.helpers import openstack

def shown(metadata, user_data, network):
    data = user_data if isinstance(user_data, bytes) else (user_data or "").encode()
    found = {"user_data": data.hex(), "id": metadata["instance-id"], "hostname": metadata["local-hostname"]}
    keys = sources.normalize_pubkey_data(metadata.get("public-keys") or metadata.get("public_keys"))
    return {**found, "keys": keys, "network": ports(network)}

def ports(network):
    if not network or not network.get("config"):
        return []
    state = network_state.parse_net_config_data(network)
    found = []
    for one in state.iter_interfaces():
        subnets = []
        for subnet in one["subnets"]:
            routes = [[route["network"], route.get("prefix"), route["gateway"]] for route in subnet.get("routes", [])]
            kind = subnet["type"].replace("static6", "static")
            subnets.append([kind, subnet.get("address"), subnet.get("prefix"), sorted(routes)])
        found.append([one["type"], one["mac_address"], one.get("mtu"), subnets])
    return [sorted(found), sorted(state.dns_nameservers)]

def of_openstack(reader, macs):
    read = reader.read_v2()
    network = openstack.convert_net_json(read["networkdata"], known_macs=macs) if read.get("networkdata") else None
    return shown(read["metadata"], read["userdata"], network)

def of_nocloud(folder):
    paths = helpers.Paths({"cloud_dir": folder, "run_dir": folder})
    source = DataSourceNoCloud.DataSourceNoCloud(settings.CFG_BUILTIN, None, paths)
    assert source.get_data(), folder
    return shown(source.metadata, source.userdata_raw, source.network_config)

for line in sys.stdin:
    folder, url, macs = json.loads(line)
    macs = {mac: f"eth{index}" for index, mac in enumerate(macs)}
    print(json.dumps({
        "drive": of_openstack(openstack.ConfigDriveReader(f"{folder}/drive"), macs),
        "service": of_openstack(openstack.MetadataReader(url, retries=0), macs),
        "nocloud": of_nocloud(folder),
    }))
"""


class Service(http.server.BaseHTTPRequestHandler):
    """Many servers' answers, each below a number."""

    def __init__(self, answers: list[dict[str, Answer]], *args: t.Any, **kwargs: t.Any) -> None:
        self.answers = answers
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        number, _slash, path = self.path.strip("/").partition("/")
        answer = self.answers[int(number)].get(path)
        self.send_response(404 if answer is None else 200)
        self.end_headers()
        self.wfile.write(b"" if answer is None else answer.body)

    def log_message(self, *_args: t.Any) -> None:
        pass


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[str, list[dict[str, Answer]]]]:
    answers: list[dict[str, Answer]] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Service, answers))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


@pytest.fixture(scope="module")
def read(
    unpacked: Path,  # noqa: F811
    services: tuple[str, list[dict[str, Answer]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Callable[[list[Personality]], list[Json]]:
    url, answers = services

    def all_of(servers: list[Personality]) -> list[Json]:
        lines = []
        for of in servers:
            folder = tmp_path_factory.mktemp("server")
            _write(folder / "drive", tree(of))
            _write(folder / "seed" / "nocloud", nocloud(of))
            answers.append(service_tree(of, today="2026-01-01"))
            macs = [nic.mac for nic in of.record.nics]
            lines.append(json.dumps([str(folder), f"{url}/{len(answers) - 1}", macs]))
        modules = {**os.environ, "PYTHONPATH": str(unpacked / "usr/lib/python3/dist-packages")}
        command = [sys.executable, "-c", READ]
        told = subprocess.run(command, input="\n".join(lines), env=modules, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        return [json.loads(line) for line in told.stdout.splitlines()]

    return all_of


def _check(kinds: t.Collection[str], read: t.Callable[[list[Personality]], list[Json]]) -> None:
    servers = {name: personality({**PLAIN, **KINDS[name]}) for name in kinds}
    for (name, of), found in zip(servers.items(), read(list(servers.values()))):
        assert found["drive"] == found["service"] == found["nocloud"], name
        assert found["drive"]["id"] == of.record.id
        assert bytes.fromhex(found["drive"]["user_data"]) == (of.user_data or b"")
        assert found["drive"]["keys"] == [key.data for key in of.keys]
        ports = [port for port in (found["drive"]["network"] or [[]])[0] if port[0] == "physical"]
        assert [port[1] for port in ports] == sorted(nic.mac for nic in of.record.nics)


def test_cloud_init_reads_the_same_from_drive_service_and_nocloud(
    read: t.Callable[[list[Personality]], list[Json]],
) -> None:
    _check(SOME, read)


@pytest.mark.soak
def test_cloud_init_reads_every_kind(read: t.Callable[[list[Personality]], list[Json]]) -> None:
    # cloud-init takes a certificate for one more line of authorized_keys: those guests are not its own.
    _check([name for name in KINDS if (KINDS[name].get("key") or {}).get("type") != "x509"], read)


def test_bonds_and_vlans_are_what_they_are_everywhere(read: t.Callable[[list[Personality]], list[Json]]) -> None:

    two = personality({**PLAIN, **KINDS["two ports"]})
    three = personality({**PLAIN, **KINDS["three ports, one name server"]})
    first, second = two.record.nics
    last = three.record.nics[2]
    bond = [dataclasses.replace(nic, bond="bond0", bond_mode="802.3ad") for nic in (first, second)]
    nics = [*bond, dataclasses.replace(last, vlan=42)]
    of = dataclasses.replace(two, record=dataclasses.replace(two.record, nics=nics), keys=[Key("ops", "ssh-rsa AAAA")])
    (found,) = read([of])
    kinds = sorted(port[0] for port in found["drive"]["network"][0])
    assert kinds == ["bond", "physical", "physical", "physical", "vlan"]
    assert [sorted(port[0] for port in found[way]["network"][0]) for way in ("service", "nocloud")] == [kinds, kinds]
