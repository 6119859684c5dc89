# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A storage pool as it should be, to and from libvirt's XML.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import typing as t
import xml.etree.ElementTree as ET

from .errors import InvalidInput

#: Type of a pool -> what must be said of it.
NEEDS: dict[str, tuple[str, ...]] = {
    "dir": ("path",),
    "fs": ("path", "device"),
    "netfs": ("path", "host", "export"),
    "logical": ("volume_group",),
    "rbd": ("rbd_pool", "monitors"),
}
#: … and what may be said beside that.
MAY: dict[str, tuple[str, ...]] = {"rbd": ("user", "secret")}


@dataclasses.dataclass(frozen=True)
class StoragePool:
    """What Flotilla says of a pool; keys that its type has no use for are None, and ``monitors`` empty."""

    name: str
    type: str
    path: str | None = None
    device: str | None = None
    host: str | None = None
    export: str | None = None
    volume_group: str | None = None
    rbd_pool: str | None = None
    monitors: tuple[str, ...] = ()
    user: str | None = None
    secret: str | None = None
    autostart: bool = True

    def to_json(self) -> dict[str, t.Any]:
        """As a module returns it: what is said of it, and no more."""
        said = {key: value for key, value in dataclasses.asdict(self).items() if value not in (None, ())}
        return {**said, "monitors": list(self.monitors)} if self.monitors else said


def desired_pool(name: str, type_: str, *, autostart: bool = True, **said: t.Any) -> StoragePool:
    """The pool that a user's words mean; what is missing, or has no use for the type, is refused."""
    given = {key: value for key, value in said.items() if value not in (None, (), [])}
    missing = [key for key in NEEDS[type_] if key not in given]
    if missing:
        raise InvalidInput(f"pool {name!r} of type {type_!r} needs {' and '.join(missing)}; say it as well")
    excess = sorted(set(given) - set(NEEDS[type_]) - set(MAY.get(type_, ())))
    if excess:
        raise InvalidInput(f"pool {name!r} of type {type_!r} has no use for {' and '.join(excess)}; leave it out")
    if ("user" in given) != ("secret" in given):
        raise InvalidInput(f"pool {name!r}: user and secret go together; give both or none")
    path = given.get("path")
    if path is not None and (not path.startswith("/") or path.rstrip("/") == ""):
        raise InvalidInput(f"pool {name!r} has the path {path!r}, which is no folder of its own; give an absolute path")
    for key in ("path", "export"):
        if key in given:
            given[key] = _tidy(given[key])
    given["monitors"] = tuple(given.get("monitors", ()))
    return StoragePool(name, type_, autostart=autostart, **given)


def _tidy(path: str) -> str:
    """A path as libvirt writes it down: one slash between its parts, none at its end."""
    lead = "//" if path.startswith("//") and not path.startswith("///") else "/" if path.startswith("/") else ""
    return lead + "/".join(part for part in path.split("/") if part)


def pool_xml(pool: StoragePool, *, uuid: str | None = None) -> str:
    """The pool's definition; ``uuid`` of the one that it replaces."""
    root = ET.Element("pool", type=pool.type)
    ET.SubElement(root, "name").text = pool.name
    if uuid is not None:
        ET.SubElement(root, "uuid").text = uuid
    if pool.type != "dir":
        _add_source(ET.SubElement(root, "source"), pool)
    path = f"/dev/{pool.volume_group}" if pool.type == "logical" else pool.path
    if path is not None:
        ET.SubElement(ET.SubElement(root, "target"), "path").text = path
    return ET.tostring(root, encoding="unicode")


def pool_of(xml: str, *, autostart: bool) -> StoragePool:
    """What a pool's XML says, of what Flotilla speaks of."""
    root = ET.fromstring(xml)  # noqa: S314 - libvirt wrote it
    kind, name = root.get("type", ""), root.findtext("name", "")
    source, path = root.find("source"), root.findtext("target/path")
    if source is None or kind == "dir":
        return StoragePool(name, kind, path=path, autostart=autostart)
    hosts = tuple(_host_text(host) for host in source.iterfind("host"))
    auth = source.find("auth")
    secret = None if auth is None else auth.find("secret")
    device, folder = source.find("device"), source.find("dir")
    return StoragePool(
        name,
        kind,
        path=None if kind in ("logical", "rbd") else path,
        device=device.get("path") if device is not None and kind == "fs" else None,
        host=hosts[0] if hosts and kind == "netfs" else None,
        export=folder.get("path") if folder is not None and kind == "netfs" else None,
        volume_group=source.findtext("name", name) if kind == "logical" else None,
        rbd_pool=source.findtext("name") if kind == "rbd" else None,
        monitors=hosts if kind == "rbd" else (),
        user=None if auth is None else auth.get("username"),
        secret=None if secret is None else secret.get("uuid"),
        autostart=autostart,
    )


def pool_differences(desired: StoragePool, found: StoragePool) -> dict[str, tuple[t.Any, t.Any]]:
    """Key -> (found, desired)."""
    before, after = dataclasses.asdict(found), dataclasses.asdict(desired)
    return {key: (before[key], value) for key, value in after.items() if before[key] != value}


def _add_source(source: ET.Element, pool: StoragePool) -> None:
    if pool.device is not None:
        ET.SubElement(source, "device", path=pool.device)
    for monitor in pool.monitors:
        name, port = _split(monitor)
        host = ET.SubElement(source, "host", name=name)
        if port:
            host.set("port", port)
    if pool.host is not None:
        ET.SubElement(source, "host", name=pool.host)
    if pool.export is not None:
        ET.SubElement(source, "dir", path=pool.export)
    if pool.volume_group is not None or pool.rbd_pool is not None:
        ET.SubElement(source, "name").text = pool.volume_group or pool.rbd_pool
    if pool.type == "logical":
        ET.SubElement(source, "format", type="lvm2")
    if pool.user is not None:
        auth = ET.SubElement(source, "auth", type="ceph", username=pool.user)
        ET.SubElement(auth, "secret", uuid=pool.secret or "")


def _split(monitor: str) -> tuple[str, str]:
    """Host and port of ``host``, ``host:6789``, ``[2001:db8::1]:6789`` or ``2001:db8::1``."""
    if monitor.startswith("["):
        name, _colon, port = monitor[1:].partition("]")
        return name, port.lstrip(":")
    if monitor.count(":") == 1:
        name, _colon, port = monitor.partition(":")
        return name, port
    return monitor, ""


def _host_text(host: ET.Element) -> str:
    name, port = host.get("name", ""), host.get("port")
    if port is None:
        return name
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


__all__ = ["MAY", "NEEDS", "StoragePool", "desired_pool", "pool_differences", "pool_of", "pool_xml"]
