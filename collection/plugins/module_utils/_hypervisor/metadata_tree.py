# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this host's metadata service answers to its guests: a tree of files for each, written, moved and taken away.

Note that this module util is **PRIVATE** to the collection.

The role metadata_service makes the folder and, in it, one for each bridge that has the service:

    <state_dir>/metadata/.trees/<server id>.<digest>/   the answers of a server, each a file; and what they were made of
    <state_dir>/metadata/<bridge>/<address>             a link to the tree of whoever has the address on that bridge
    <state_dir>/metadata-dhcp/<bridge>/<server id>      the same for DHCP: lines ``MAC,address``

A tree is written aside and renamed, a link is exchanged by rename: at any moment a guest reads one whole tree, and who
is killed has left at most what the next step takes away. Trees hold user data: root and nginx's group alone read them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.bus_address import is_told, located
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.metadata_service import (
    BRIDGE,
    DHCP_FOLDER,
    FOLDER,
    Port,
    fingerprint,
    is_here,
    ports,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import Connection, found
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ports import bus_addresses

_TREES = ".trees"
_MADE_OF = ".made_of"
#: An answer is a file in a folder of its path, since a path can be an answer and have others below it.
_FILES = {"text/plain": "=.txt", "application/json": "=.json"}
#: No record's fingerprint: what stands for it until the server's domain is there.
_UNPLACED = "-"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FOLDER_MODE = 0o750
_FILE_MODE = 0o640
#: Where the role's programs have their pids, and what it calls the namespace of a bridge and the interface in it.
_PIDS = pathlib.Path("/run/flotilla-metadata")
_NAMESPACE = "flotilla-{}"
_INTERFACE = "service"
_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class _Answers(t.NamedTuple):
    """``tree``: name -> what is in the folder of that name, or the number of the file's body. ``made_of``: the
    fingerprint of the record that they are the answers of."""

    bodies: list[bytes]
    tree: dict[str, t.Any]
    made_of: str

    @property
    def digest(self) -> str:
        parts = (json.dumps(self.tree, sort_keys=True).encode("ascii"), *self.bodies)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class Trees:
    """The trees of this host. ``conn`` tells which bridge a libvirt network has."""

    def __init__(self, conn: Connection, state_dir: str) -> None:
        self._conn = conn
        self._root = pathlib.Path(state_dir, FOLDER)
        self._dhcp = pathlib.Path(state_dir, DHCP_FOLDER)

    def bridges(self) -> list[str]:
        """The bridges that have the service."""
        if not self._root.is_dir():
            return []
        return sorted(path.name for path in self._root.iterdir() if BRIDGE.fullmatch(path.name) and path.is_dir())

    def bridge_of(self, port: Port) -> str | None:
        if port.kind == "bridge":
            return port.source
        network = found(self._conn.networkLookupByName, port.source)
        return None if network is None else str(network.bridgeName())

    def check(self, record: Record) -> None:
        """Refuse a server that has a port on a bridge without the service, before anything of it is made."""
        self._places(record)

    def is_current(self, record: Record) -> bool:
        """Whether the server is told what its record says, at all of its addresses."""
        try:
            places = self._places(record)
        except InvalidInput:
            return True  # where nothing can be written nothing is old
        trees = {self._linked(self._root / bridge / address) for bridge, address, _mac in places}
        name = trees.pop() if len(trees) == 1 else None
        if name is None or not name.startswith(record.id) or self._leases(record.id) != _lines(places):
            return False
        tree = self._root / _TREES / name
        made_of = (_read(tree / _MADE_OF) or "").partition(" ")[0]
        return made_of == fingerprint(record) and _is_whole(tree)

    def write(self, record: Record, packed: bytes, *, there: bool = True) -> bool:
        """Serve the server as its record and the answers say; whether that changed anything. ``there``: it has come,
        so that its domain says where its devices are; else what is to say so is old as soon as it is there."""
        answers, places = self._answers(packed, record), self._places(record)
        if not there and any(map(is_told, record.nics)):
            answers = answers._replace(made_of=_UNPLACED)
        name = f"{record.id}.{answers.digest[:16]}"
        links = {self._root / bridge / address for bridge, address, _mac in places}
        tree = self._root / _TREES / name
        if (
            {self._linked(link) for link in links} == {name}
            and self.is_current(record)
            and not self._left(record.id, links, tree)
        ):
            return False
        try:
            self._write_tree(tree, answers)
            for link in sorted(links):
                self._link(link, name)
            gone = self._given(record.id) - set(places) | self._take_over(record.id, places)
            self._write_leases(record.id, places)
            self._clear(record.id, links, tree)
        except OSError as exc:
            raise FlotillaError(
                f"the metadata of server {record.name!r} can't be written to {str(self._root)!r}: {exc}"
            ) from exc
        self._tell_dhcp({bridge for bridge, *_more in (*gone, *places)}, gone)
        return True

    def remove(self, server_id: str) -> bool:
        """Serve the server no longer; whether it was."""
        gone = self._given(server_id)
        try:
            for folder in self._dhcp.iterdir() if self._dhcp.is_dir() else ():
                for name in (server_id, f".{server_id}"):
                    (folder / name).unlink(missing_ok=True)
            changed = self._clear(server_id, set(), None)
        except OSError as exc:
            raise FlotillaError(
                f"the metadata of server {server_id} can't be removed from {str(self._root)!r}: {exc}"
            ) from exc
        self._tell_dhcp({bridge for bridge, *_more in gone}, gone)
        return changed or bool(gone)

    def servers(self) -> list[str]:
        """The ids of the servers of which anything is here, half written or whole."""
        folders = [self._root / _TREES, *(self._dhcp / bridge for bridge in self.bridges())]
        names = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
        return sorted({name.lstrip(".").partition(".")[0] for name in names})

    def _answers(self, packed: bytes, record: Record) -> _Answers:
        """With what only the server's domain says: where its devices are on the bus."""
        answers, places = _unpacked(packed), bus_addresses(self._conn, record.id)
        return answers._replace(bodies=[located(body, record, places) for body in answers.bodies])

    # -- where --------------------------------------------------------------------------------------------------

    def _places(self, record: Record) -> list[tuple[str, str, str]]:
        """Bridge, address and MAC of each served port."""
        bridges, places = self.bridges(), []
        for port in ports(record):
            bridge = self.bridge_of(port)
            if bridge not in bridges:
                raise InvalidInput(
                    f"server {record.name!r} is to have its metadata on {port.kind} {port.source!r}, for which this "
                    "host has no metadata service; the role metadata_service makes it"
                )
            places.append((str(bridge), port.address, port.mac))
        return places

    def _linked(self, link: pathlib.Path) -> str | None:
        """The name of the tree that a link leads to."""
        try:
            return os.path.basename(os.readlink(link))
        except OSError:
            return None

    def _left(self, server_id: str, links: t.Collection[pathlib.Path], tree: pathlib.Path) -> bool:
        """Whether something of the server is there beside *links* and *tree*."""
        return any(path not in links and path != tree for path in self._owned(server_id))

    def _owned(self, server_id: str) -> t.Iterator[pathlib.Path]:
        for bridge in self.bridges():
            for link in sorted((self._root / bridge).iterdir()):
                if (self._linked(link) or "").startswith(f"{server_id}."):
                    yield link
        trees = self._root / _TREES
        for path in sorted(trees.iterdir()) if trees.is_dir() else ():
            if path.name.lstrip(".").startswith(f"{server_id}."):
                yield path

    # -- written and taken away ---------------------------------------------------------------------------------

    def _write_tree(self, tree: pathlib.Path, answers: _Answers) -> None:
        group = self._root.stat().st_gid
        tree.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        _give(tree.parent, _FOLDER_MODE, group)
        aside = tree.parent / f".{tree.name}"  # nobody else writes it: steps hold the server's lock
        shutil.rmtree(aside, ignore_errors=True)
        size = _write_folder(aside, answers.tree, answers.bodies, group, {})
        _write(aside / _MADE_OF, f"{answers.made_of} {size}".encode("ascii"), group)
        if _is_whole(tree):
            # The same answers, but of another record: only what they were made of differs.
            os.replace(aside / _MADE_OF, tree / _MADE_OF)
            shutil.rmtree(aside)
            return
        shutil.rmtree(tree, ignore_errors=True)
        aside.rename(tree)

    def _link(self, link: pathlib.Path, name: str) -> None:
        aside = link.with_name(f".{link.name}")
        aside.unlink(missing_ok=True)
        aside.symlink_to(f"../{_TREES}/{name}")
        aside.rename(link)

    def _clear(self, server_id: str, links: t.Collection[pathlib.Path], tree: pathlib.Path | None) -> bool:
        """Take away all of the server but *links* and *tree*: links first, so that none leads nowhere."""
        gone = [path for path in self._owned(server_id) if path not in links and path != tree]
        for path in gone:
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)
        return bool(gone)

    # -- DHCP ---------------------------------------------------------------------------------------------------

    def _leases(self, server_id: str) -> dict[str, str]:
        """Bridge -> what DHCP is told of the server on it."""
        folders = sorted(self._dhcp.iterdir()) if self._dhcp.is_dir() else []
        texts = {folder.name: _read(folder / server_id) for folder in folders}
        return {bridge: text for bridge, text in texts.items() if text is not None}

    def _given(self, server_id: str) -> set[tuple[str, str, str]]:
        """Bridge, address and MAC of each port that DHCP knows of the server."""
        given = set()
        for bridge, text in self._leases(server_id).items():
            for line in text.splitlines():
                mac, _comma, address = line.partition(",")
                given.add((bridge, address, mac))
        return given

    def _take_over(self, server_id: str, places: t.Collection[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        """Have DHCP forget who else was to have these addresses: one of a server that never came, or that has gone with
        its host, would be refused to their owner. What it forgets, as ``_given`` has it."""
        wanted = {(bridge, address) for bridge, address, _mac in places}
        folders = [self._dhcp / bridge for bridge in sorted({bridge for bridge, _address in wanted})]
        names = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}
        gone: set[tuple[str, str, str]] = set()
        for other in sorted(name for name in names if name != server_id and not name.startswith(".")):
            given = self._given(other)
            lost = {place for place in given if place[:2] in wanted}
            if lost:
                self._write_leases(other, sorted(given - lost))
                gone |= lost
        return gone

    def _write_leases(self, server_id: str, places: t.Collection[tuple[str, str, str]]) -> None:
        wanted = _lines(places)
        for bridge in sorted(set(self._leases(server_id)) - set(wanted)):
            (self._dhcp / bridge / server_id).unlink(missing_ok=True)
        for bridge, text in wanted.items():
            folder = self._dhcp / bridge
            if _read(folder / server_id) != text:
                aside = folder / f".{server_id}"
                aside.unlink(missing_ok=True)
                _write(aside, text.encode("ascii"), folder.stat().st_gid, mode=0o644)
                aside.rename(folder / server_id)

    def _tell_dhcp(self, bridges: t.Collection[str], gone: t.Collection[tuple[str, str, str]]) -> None:
        """Have dnsmasq read its folder again, and forget what it has given to a port that is no more: an address is
        refused to its next owner as long as its lease lasts. One that doesn't run has nothing to forget."""
        for bridge in sorted(bridges):
            with contextlib.suppress(OSError, ValueError):
                pid = int((_PIDS / f"{bridge}.dnsmasq.pid").read_text(encoding="ascii"))
                if pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "dnsmasq":
                    os.kill(pid, signal.SIGHUP)
        for bridge, address, mac in sorted(gone):
            if pathlib.Path("/run/netns", _NAMESPACE.format(bridge)).exists():
                release = ["dhcp_release", _INTERFACE, address, mac]
                command = ["ip", "netns", "exec", _NAMESPACE.format(bridge), *release]
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    # run_command has no time limit
                    # pylint: disable=ansible-bad-function
                    subprocess.run(command, env=_PATH, capture_output=True, check=False, timeout=10)


def settle(trees: Trees, server_id: str, record: Record | None, packed: bytes | None) -> bool:
    """After a step: the tree of a server that is here as the step's run has brought it, of one that isn't none.

    ``record`` is the one in its domain, None where it has none here. Whether anything changed.
    """
    if record is None or not is_here(record) or not ports(record):
        return trees.remove(server_id)
    return packed is not None and trees.write(record, packed)


def facts(trees: Trees, records: t.Iterable[Record]) -> dict[str, t.Any]:
    """For a survey: the bridges that have the service, and ids of servers: ``old`` are those whose trees are missing or
    old, ``left`` those of which there is something, though they are not here, or not served."""
    bridges = trees.bridges()
    served = [record for record in records if ports(record) and is_here(record)] if bridges else []
    left = set(trees.servers()) - {record.id for record in served} if bridges else set()
    old = sorted(record.id for record in served if not trees.is_current(record))
    return {"bridges": bridges, "old": old, "left": sorted(left)}


def _lines(places: t.Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """What DHCP is told, by bridge. A MAC that has several addresses there is given the first."""
    told: dict[str, dict[str, str]] = {}
    for bridge, address, mac in places:
        told.setdefault(bridge, {}).setdefault(mac, address)
    return {bridge: "".join(f"{mac},{address}\n" for mac, address in its.items()) for bridge, its in told.items()}


def _unpacked(packed: bytes) -> _Answers:
    """{"bodies": [base64], "answers": {path: [its body, content type]}, "made_of"}; refused where it isn't that."""
    try:
        data = json.loads(packed)
        bodies = [base64.b64decode(body, validate=True) for body in data["bodies"]]
        tree: dict[str, t.Any] = {}
        for path, (number, kind) in data["answers"].items():
            segments = [segment for segment in path.split("/") if segment]
            if not all(map(_SEGMENT.fullmatch, segments)) or number not in range(len(bodies)):
                raise ValueError(f"no answer can be {path!r}")
            folder = tree
            for segment in segments:
                folder = folder.setdefault(segment, {})
            folder[_FILES[kind]] = number
        if not _FINGERPRINT.fullmatch(data["made_of"]):
            raise ValueError("no record has such a fingerprint")
    except (binascii.Error, KeyError, TypeError, ValueError, AttributeError) as exc:
        raise InvalidInput(f"a server's metadata can't be unpacked ({exc!r}): was it cut short on its way?") from exc
    return _Answers(bodies, tree, data["made_of"])


def _write_folder(
    folder: pathlib.Path,
    content: t.Mapping[str, t.Any],
    bodies: t.Sequence[bytes],
    group: int,
    first: dict[str, pathlib.Path],
) -> int:
    """Write what is in a folder; how many bytes that were. Of all folders of equal content, of which versions of the
    metadata have many, the first is written and the others are links to it."""
    _make(folder, group)
    size = 0
    for name, below in sorted(content.items()):
        path = folder / name
        if isinstance(below, int):
            _write(path, bodies[below], group)
            size += len(bodies[below])
            continue
        key = json.dumps(below, sort_keys=True)
        if key in first:
            path.symlink_to(os.path.relpath(first[key], folder))
        else:
            first[key] = path
            size += _write_folder(path, below, bodies, group, first)
    return size


def _make(folder: pathlib.Path, group: int) -> None:
    folder.mkdir(mode=_FOLDER_MODE)
    _give(folder, _FOLDER_MODE, group)


def _give(path: pathlib.Path, mode: int, group: int) -> None:
    now = path.stat()
    if now.st_gid != group:
        os.chown(path, -1, group)
    if now.st_mode & 0o7777 != mode:
        os.chmod(path, mode)


def _write(file: pathlib.Path, data: bytes, group: int, *, mode: int = _FILE_MODE) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as stream:
        os.fchown(stream.fileno(), -1, group)
        os.fchmod(stream.fileno(), mode)
        stream.write(data)


def _is_whole(tree: pathlib.Path) -> bool:
    """Whether its answers have the bytes that were written: after a power cut files may be there and have none."""
    files = [os.path.join(at, name) for at, _below, names in os.walk(tree) for name in names if "=" in name]
    try:
        sizes = [os.path.getsize(file) for file in files]
    except FileNotFoundError:
        return False  # a step takes it away while a survey looks
    return (_read(tree / _MADE_OF) or "").partition(" ")[2] == str(sum(sizes))


def _read(file: pathlib.Path) -> str | None:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


__all__ = ["Trees", "facts", "settle"]
