# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the schemas can't say of servers: their names and ids, and that what they refer to exists and fits.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import collections
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.hostname import hostname_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import GIB
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.catalog import flavor, image, matching
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.hosts import zones
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.inventory import Review
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.mistakes import (
    Clauses,
    Path,
    listed,
    nearest,
    shown,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.sizes import mib

__all__ = ["NAME_BYTES", "check_names", "check_servers"]

#: A domain's name becomes a file's name (at most 255 bytes) in libvirt: ``<name>.log``, and with ``.deleted-`` and 8
#: digits of the id before ``.log`` once it is deleted softly.
NAME_BYTES = 255 - len(".deleted-01234567") - len(".log")

_DELETED = re.compile(r".*\.deleted-[0-9a-f]{8}", re.DOTALL)

#: Server variable -> (the catalog it refers to, what an entry of it is).
_REFERENCES = {
    "server_flavor": ("fleet_flavors", "a flavor"),
    "server_group": ("fleet_server_groups", "a server group"),
    "server_image": ("fleet_images", "an image"),
    "server_key_name": ("fleet_keypairs", "a keypair"),
    "server_networks": ("fleet_networks", "a network"),
    "server_rescue": ("fleet_images", "an image"),
    "server_security_groups": ("fleet_security_groups", "a security group"),
    "server_volumes": ("fleet_volumes", "a volume"),
}


#: Catalogs that modules write into, too.
_IN_LEDGER = ("fleet_flavors", "fleet_images", "fleet_keypairs", "fleet_server_groups")


def check_names(review: Review) -> None:
    computes, servers = review.inventory.computes, review.inventory.servers
    for name in servers:
        rule = _name_rule(name)
        if rule is not None:
            review.add("inventory_hostname", hosts=(name,), found=shown(name), allowed=rule)
        if name in computes:
            reason = "is in the groups computes and servers, allowed is one of them"
            review.add("inventory_hostname", hosts=(name,), reason=reason)
    alike: dict[str, set[str]] = collections.defaultdict(set)
    for name in (*computes, *servers):
        alike[name.casefold()].add(name)
    for names in alike.values():
        if len(names) > 1:
            reason = "names that differ only in case, which DNS and people take for one; rename all but one"
            review.add("inventory_hostname", hosts=sorted(names), reason=reason)


def check_servers(review: Review) -> None:
    _references(review)
    _ids(review)
    _fit(review)
    _growth(review)
    _places(review)
    _selection(review)


def _name_rule(name: str) -> str | None:
    """The rule for server names that this one breaks: it becomes a domain's name and, by Nova's rule, a hostname."""
    if not name.isprintable() or "/" in name or name != name.strip():
        return "a name of printable characters without '/' and without space at its ends"
    if name.startswith("-"):
        return "a name that does not begin with '-', which commands take for an option"
    if len(name.encode()) > NAME_BYTES:
        return f"a name of at most {NAME_BYTES} bytes"
    if _DELETED.fullmatch(name):
        return "a name that does not end like that of a deleted server (.deleted- and 8 digits)"
    if not hostname_of(name, fallback=""):
        return "a name with a letter or digit in it, because Nova's rule for hostnames leaves nothing of this one"
    return None


def _references(review: Review) -> None:
    for variable, (catalog, what) in _REFERENCES.items():
        names = review.names(catalog)
        if names is None:
            continue
        ledger = " or of the ledger" if catalog in _IN_LEDGER else ""
        allowed = f"{what} of {catalog}{ledger} ({listed(sorted(names))})"
        for host, data in review.servers.items():
            for path, name in _named(data.get(variable)):
                if name not in names:
                    clauses: Clauses = {"found": shown(name), "allowed": allowed, "hint": nearest(name, names)}
                    review.add(variable, path, hosts=(host,), **clauses)


def _named(value: t.Any) -> t.Iterator[tuple[Path, str]]:
    """The names in a variable that refers to a catalog, each with its path."""
    if isinstance(value, str):
        yield (), value
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield ((index,), item) if isinstance(item, str) else ((index, "network"), item["network"])


def _ids(review: Review) -> None:
    hosts: dict[str, list[str]] = collections.defaultdict(list)
    for host, data in review.servers.items():
        if "server_id" in data:
            hosts[data["server_id"].lower()].append(host)
    for server_id, names in hosts.items():
        if len(names) > 1:
            reason = f"{len(names)} servers have the id {server_id}, allowed is one"
            review.add("server_id", hosts=sorted(names), reason=reason)


def _fit(review: Review) -> None:
    """Flavors that are too small for the image, in Nova's words."""
    pairs: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for host, data in review.servers.items():
        if "server_flavor" in data and "server_image" in data:
            pairs[data["server_flavor"], data["server_image"]].append(host)
    flavors, images = review.entries("fleet_flavors"), review.entries("fleet_images")
    for (flavor_name, image_name), hosts in pairs.items():
        if flavor_name not in flavors or image_name not in images:
            continue
        wanted, size = image(image_name, images[image_name]), flavor(flavor_name, flavors[flavor_name])
        pair = f"flavor {flavor_name!r} with image {image_name!r}"
        if wanted.min_ram > size.ram:
            reason = (
                f"{pair}: Flavor's memory is too small for requested image. "
                f"It has {size.ram} MiB, the image needs {wanted.min_ram} MiB"
            )
            review.add("server_flavor", hosts=hosts, reason=reason)
        if size.disk and wanted.min_disk > size.disk:  # 0: the image's own size
            reason = (
                f"{pair}: Flavor's disk is smaller than the minimum size specified in image metadata. "
                f"Flavor disk is {size.disk * GIB} bytes, minimum size is {wanted.min_disk * GIB} bytes"
            )
            review.add("server_flavor", hosts=hosts, reason=reason)


def _growth(review: Review) -> None:
    """Room to grow is given to servers that are to grow, and holds at least their flavor."""
    flavors = review.entries("fleet_flavors")
    for host, data in review.servers.items():
        most, wanted = data.get("server_resize_max"), str(data.get("server_flavor"))
        if most is None:
            continue
        if data.get("server_resize") != "live":
            review.add("server_resize_max", hosts=(host,), reason="is only for servers with server_resize: live")
        size = flavor(wanted, flavors[wanted]) if wanted in flavors else None
        for key, has in (("vcpus", most.get("vcpus")), ("ram", mib(most["ram"]) if "ram" in most else None)):
            needs = getattr(size, key, 0)
            if has is not None and has < needs:
                reason = f"{key} is {has}, flavor {wanted!r} has {needs}; room to grow holds at least the flavor"
                review.add("server_resize_max", (key,), hosts=(host,), reason=reason)


def _places(review: Review) -> None:
    """Hosts and zones that servers are pinned to."""
    computes = review.inventory.computes
    known = zones(review)
    names = sorted({zone for some in known.values() for zone in some}) if known is not None else []
    for host, data in review.servers.items():
        pinned, zone = data.get("server_host"), data.get("server_availability_zone")
        if computes and pinned is not None and pinned not in computes:
            allowed = f"a compute host ({listed(sorted(computes))})"
            hint = nearest(pinned, computes)
            review.add("server_host", hosts=(host,), found=shown(pinned), allowed=allowed, hint=hint)
        if known is None or zone is None:
            continue
        if zone not in names:
            allowed = f"a zone that a compute host is in ({listed(names)})"
            hint = nearest(zone, names)
            review.add("server_availability_zone", hosts=(host,), found=shown(zone), allowed=allowed, hint=hint)
        elif pinned in known and zone not in known[pinned]:
            reason = f'Host "{pinned}" is not in the availability zone "{zone}"'  # Nova's words
            review.add("server_host", hosts=(host,), reason=reason)


def _selection(review: Review) -> None:
    servers = review.inventory.servers
    for index, pattern in enumerate(review.fleet.get("fleet_servers", ())):
        if servers and not matching(pattern, servers):
            allowed = "a server of inventory or a pattern that matches one"
            review.add("fleet_servers", (index,), found=shown(pattern), allowed=allowed, hint=nearest(pattern, servers))
    explained = review.fleet.get("fleet_explain")
    if servers and explained is not None and explained not in servers:
        allowed = "a server of inventory"
        review.add("fleet_explain", found=shown(explained), allowed=allowed, hint=nearest(explained, servers))
