# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deletion of volumes: the one place that does it, and the rules that it keeps.

Note that this module util is **PRIVATE** to the collection.

A volume is deleted only if its name carries the server's id, it is in the very pool that the record says (by the pool's
id), and no other domain of this host names it, as a disk or in a backing chain. In doubt it is left, and said so.
"""

from __future__ import annotations

import os
import re
import struct
import threading
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import read_domain
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    Connection,
    Volume,
    found,
    libvirt,
    libvirt_error,
)

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Pool

#: What Flotilla names its volumes after the server's id. Anything else that carries the id is somebody else's idea.
_OURS = re.compile(r"-((root|ephemeral[0-9]+|rescue)(\.copying)?|swap|config|record|replaced|shelved|snapshot)")
_QCOW2 = struct.Struct(">4sIQI")
_FILENAME = re.compile(r'"(?:file\.)?filename"\s*:\s*"([^"]+)"')
#: Chains deeper than this are a loop.
_DEEPEST = 64


class References:
    """Which files the domains of a host stand on. Read once a call, and only if something is to be deleted.

    ``local``: it is this host, whose files can be looked at; of another's, its libvirt says what volumes stand on.
    """

    def __init__(self, conn: Connection, *, local: bool = True) -> None:
        self._conn = conn
        self._local = local
        self._users: dict[str, dict[str, str]] | None = None
        #: Servers that are worked on at once share what is read: whoever comes second waits until it is whole.
        self._reading = threading.Lock()

    def renewed(self) -> References:
        """To be read anew: domains have been defined since."""
        return References(self._conn, local=self._local)

    def user_of(self, path: str, *, but: str) -> str | None:
        """The name of a domain, other than that of id ``but``, that names this file.

        Two ways to one file (a link, another mount) end in the same name, and a volume's name is unique: so the last
        part of the path is compared, too.
        """
        users = self._read()
        for key in (os.path.realpath(path), os.path.basename(path)):
            for domain_id, name in users.get(key, {}).items():
                if domain_id != but:
                    return name
        return None

    def _read(self) -> dict[str, dict[str, str]]:
        with self._reading:
            if self._users is None:
                users: dict[str, dict[str, str]] = {}
                for domain in self._conn.listAllDomains(0):
                    self._add(domain, users)
                self._users = users
            return self._users

    def _add(self, domain: t.Any, users: dict[str, dict[str, str]]) -> None:
        """A running domain is asked for both of its configurations: what it holds now, and what it will."""
        both = found(domain.isActive) and found(domain.isPersistent)
        for flag in (0, libvirt.VIR_DOMAIN_XML_INACTIVE) if both else (0,):
            xml = found(domain.XMLDesc, flag)
            if xml is None:  # undefined since it was listed
                continue
            facts = read_domain(xml)
            for file in facts.files:
                for path in _chain(file.path, file.format, _backing_file if self._local else self._backing_volume):
                    for key in (os.path.realpath(path), os.path.basename(path)):
                        users.setdefault(key, {})[facts.id] = facts.name

    def _backing_volume(self, path: str) -> str | None:
        volume = found(self._conn.storageVolLookupByPath, path)
        return None if volume is None else ET.fromstring(volume.XMLDesc(0)).findtext("backingStore/path")  # noqa: S314


def check_deletable(pool: Pool, name: str, *, server_id: str, references: References) -> Volume | None:
    """The volume, if it is there and may go; Conflict if it isn't the server's, or somebody else stands on it."""
    if not is_ours(name, server_id):
        raise Conflict(
            f"volume {name!r} in pool {pool.name!r} isn't named as one of server {server_id}: it is left there"
        )
    volume = pool.find(name)
    user = None if volume is None else references.user_of(volume.path(), but=server_id)
    if user is not None:
        raise Conflict(
            f"volume {name!r} in pool {pool.name!r} is used by domain {user!r}, as a disk or under one: "
            "it is left there"
        )
    return volume


def delete_volume(pool: Pool, name: str, *, server_id: str, references: References) -> bool:
    """Delete one volume of a server, if it may go. False if it is not there."""
    volume = check_deletable(pool, name, server_id=server_id, references=references)
    if volume is None:
        return False
    try:
        volume.delete(0)
    except libvirt.libvirtError as exc:
        raise libvirt_error(exc, "delete", f"volume {name!r} in pool {pool.name!r}") from exc
    return True


def volumes_of(pool: Pool, server_id: str) -> list[str]:
    """The volumes in a pool that Flotilla made for a server."""
    return sorted(name for name in pool.names() if is_ours(name, server_id))


def is_ours(name: str, server_id: str) -> bool:
    """Whether Flotilla made a volume for a server, by its name. Those of an adopted server others have made."""
    return name.startswith(server_id) and _OURS.fullmatch(name[len(server_id) :]) is not None


def _chain(path: str, fmt: str | None, backing_of: t.Callable[[str], str | None]) -> t.Iterator[str]:
    """A disk's file, and those that it stands on, by their headers: libvirt shows the chain of a running guest only."""
    for _depth in range(_DEEPEST):
        yield path
        # A raw disk's content is the guest's own: what looks like a header in it is none.
        backing = None if fmt == "raw" else backing_of(path)
        if backing is None:
            return
        path, fmt = os.path.join(os.path.dirname(path), backing), None


def _backing_file(path: str) -> str | None:
    """The backing file that a qcow2 header names. A file that can't be read here names none that is here."""
    try:
        with open(path, "rb") as file:
            head = file.read(_QCOW2.size)
            if len(head) < _QCOW2.size:
                return None
            magic, _version, offset, length = _QCOW2.unpack(head)
            if magic != b"QFI\xfb" or offset == 0 or length > 1023:
                return None
            file.seek(offset)
            return _path_in(file.read(length).decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return None


def _path_in(backing: str) -> str:
    """The path in QEMU's ways to name a file: plain, ``file:PATH``, or ``json:{... "filename": PATH ...}``."""
    if backing.startswith("json:"):
        named = _FILENAME.search(backing)
        return backing if named is None else named.group(1)
    return backing.removeprefix("file:")


__all__ = ["References", "check_deletable", "delete_volume", "is_ours", "volumes_of"]
