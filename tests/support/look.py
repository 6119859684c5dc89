# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on the lab's hosts, read past Flotilla with libvirt alone; and all of it wiped away, for the next test.

A program of its own: Debian's libvirt bindings belong to /usr/bin/python3, the tests have another Python.
Its argument is JSON: {"deed": "look" or "wipe", "uris": {host: libvirt URI}, "keep": [pools and networks that stay]}.
"""

from __future__ import annotations

import concurrent.futures
import json
import sys
import typing as t
from xml.etree import ElementTree

import libvirt

STATES = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTOFF: "shutoff",
}
RECORD = "{urn:flotilla:compute:server:1}server"


def look(connection: libvirt.virConnect, _keep: list[str]) -> dict[str, t.Any]:
    return {
        "domains": [_domain(domain) for domain in connection.listAllDomains()],
        "pools": {pool.name(): _volumes(pool) for pool in connection.listAllStoragePools() if pool.isActive()},
        "networks": sorted(network.name() for network in connection.listAllNetworks()),
    }


def _domain(domain: libvirt.virDomain) -> dict[str, t.Any]:
    inactive = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
    xml = domain.XMLDesc(inactive if domain.isPersistent() else 0)
    text = ElementTree.fromstring(xml).findtext(f"./metadata/{RECORD}")
    record = json.loads(text) if text else None
    return {
        "name": domain.name(),
        "id": domain.UUIDString(),
        "state": STATES.get(domain.state()[0], "other"),
        "persistent": bool(domain.isPersistent()),
        "autostart": bool(domain.isPersistent() and domain.autostart()),
        "saved": bool(domain.isPersistent() and domain.hasManagedSaveImage()),
        "xml": xml,
        "live_xml": domain.XMLDesc(0) if domain.isActive() else None,
        # A copy of ours, under another UUID, is not ours.
        "record": record if record and record["id"] == domain.UUIDString() else None,
    }


def _volumes(pool: libvirt.virStoragePool) -> dict[str, dict[str, int]]:
    pool.refresh()
    return {
        volume.name(): {"capacity": volume.info()[1], "allocation": volume.info()[2]}
        for volume in pool.listAllVolumes()
    }


def wipe(connection: libvirt.virConnect, keep: list[str]) -> None:
    """Domains, and the pools and networks that a test has made. Files are the caller's."""
    for domain in connection.listAllDomains():
        if domain.isActive():
            domain.destroy()
        if domain.isPersistent():
            everything = (
                libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
            )
            domain.undefineFlags(everything)
    for each in [*connection.listAllStoragePools(), *connection.listAllNetworks()]:
        if each.name() in keep:
            continue
        if each.isActive():
            each.destroy()
        each.undefine()


def _at(deed: t.Callable[[libvirt.virConnect, list[str]], t.Any], uri: str, keep: list[str]) -> t.Any:
    connection = libvirt.open(uri)
    try:
        return deed(connection, keep)
    finally:
        connection.close()


def main() -> None:
    asked = json.loads(sys.argv[1])
    deed = {"look": look, "wipe": wipe}[asked["deed"]]
    libvirt.registerErrorHandler(lambda *_: None, None)  # what goes wrong is raised, too
    with concurrent.futures.ThreadPoolExecutor() as threads:
        answers = {host: threads.submit(_at, deed, uri, asked["keep"]) for host, uri in asked["uris"].items()}
        json.dump({host: answer.result() for host, answer in answers.items()}, sys.stdout)


if __name__ == "__main__":
    main()
