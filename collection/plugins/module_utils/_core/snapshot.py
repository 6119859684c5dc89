# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of servers' disks: images whose origin is a server.

Note that this module util is **PRIVATE** to the collection.

The bytes are an image like any other, ``image-<sha256>`` with its ``.ok`` beside it. What is known of them beside that
is in a small volume of the same pool, ``snapshot-<id>``: it outlives the server and the ledger.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import InvalidInput, InvalidRecord
from .model import GIB, Image, Json, Record

PREFIX = "snapshot-"
#: The type of what a server is shelved as: no image of the fleet, and the server's alone.
SHELVED = "shelved"
#: Properties that are the base image's own and say nothing of a copy of its disk (nova/compute/utils.py and Nova's
#: default of non_inheritable_image_properties), and those that are written anew.
_NOT_INHERITED = frozenset(
    "backup_type base_image_ref bittorrent boot_roles cache_in_nova cinder_encryption_key_deletion_policy "
    "cinder_encryption_key_id image_type img_signature img_signature_certificate_uuid img_signature_hash_method "
    "img_signature_key_type instance_uuid owner_id user_id".split()
)
_YES = ("yes", "true", "1", "on")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One disk of a server as it was at a moment.

    ``image`` is what it is in the catalog; its checksum is empty until the copy is there. ``image_type`` is
    snapshot, backup or shelved, ``backup_type`` any word (daily, weekly …). ``base`` is the checksum of the server's
    own image.
    ``virtual_size`` is that of the disk, ``size`` what the image takes, in bytes. ``created_at`` is ISO 8601 in UTC.
    ``consistency`` says in words whether the guest's file systems were frozen.
    ``complete`` is written last of all.
    """

    id: str
    fleet_id: str
    server_id: str
    server_name: str
    image: Image
    pool: str
    created_at: str
    role: str = "root"
    image_type: str = "snapshot"
    backup_type: str | None = None
    base: str | None = None
    pool_id: str | None = None
    host_id: str | None = None
    virtual_size: int = 0
    size: int = 0
    consistency: str = ""
    complete: bool = False

    @property
    def name(self) -> str:
        return self.image.name

    @property
    def sidecar(self) -> str:
        """The volume that this is kept in."""
        return PREFIX + self.id

    def to_json(self) -> dict[str, Json]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "image": self.image.to_json()}

    @classmethod
    def from_json(cls, data: Json) -> Snapshot:
        if not isinstance(data, dict):
            raise InvalidRecord(f"a snapshot should be a mapping, found {type(data).__name__}")
        try:
            return cls(**{**data, "image": Image.from_json(data["image"])})
        except (TypeError, KeyError) as exc:
            raise InvalidRecord(f"a snapshot can't be read: {exc}; use the newer collection") from exc


def snapshot_of(
    record: Record,
    name: str,
    *,
    snapshot_id: str,
    pool: str,
    created_at: str,
    role: str = "root",
    backup_type: str | None = None,
    shelved: bool = False,
) -> Snapshot:
    """The snapshot that is to be made of a server's disk, with the properties that Nova gives it; a backup if it has a
    type. *shelved*: for a server that is shelved as it, which Nova calls a snapshot, too."""
    image_type = "snapshot" if backup_type is None else "backup"
    kept = {key: value for key, value in record.image.properties.items() if key not in _NOT_INHERITED}
    properties = {
        **kept,
        "base_image_ref": record.image.checksum,
        "image_type": image_type,
        "instance_uuid": record.id,
        **({} if backup_type is None else {"backup_type": backup_type}),
    }
    return Snapshot(
        id=snapshot_id,
        fleet_id=record.fleet_id,
        server_id=record.id,
        server_name=record.name,
        image=Image(name, "qcow2", "", record.image.min_disk, record.image.min_ram, properties),
        pool=pool,
        created_at=created_at,
        role=role,
        image_type=SHELVED if shelved else image_type,
        backup_type=backup_type,
        base=record.image.checksum,
    )


def with_disk(snapshot: Snapshot, *, fmt: str, checksum: str, virtual_size: int, size: int) -> Snapshot:
    """The snapshot with what its disk turned out to be. A flavor for it needs at least as big a disk."""
    image = snapshot.image
    min_disk = max(image.min_disk, -(-virtual_size // GIB))
    image = dataclasses.replace(image, format=fmt, checksum=checksum, min_disk=min_disk)
    return dataclasses.replace(snapshot, image=image, virtual_size=virtual_size, size=size)


def surplus(backups: t.Iterable[Snapshot], new: Snapshot, rotation: int) -> list[Snapshot]:
    """The backups of the same server and type as *new*, itself among them, that are too many: the oldest first.

    *rotation* is how many are kept. With 0 the one just made goes too, as in Nova.
    """
    if rotation < 0:
        raise InvalidInput(f"rotation is {rotation}; it is how many backups are kept, 0 or more")
    mine = {
        backup.id: backup
        for backup in (*backups, new)
        if backup.image_type == "backup"
        and backup.complete
        and (backup.fleet_id, backup.server_id, backup.backup_type) == (new.fleet_id, new.server_id, new.backup_type)
    }
    # The one just made is the newest, whatever the clocks of those that made the others said.
    newest_first = sorted(mine.values(), key=lambda backup: (backup.id == new.id, backup.created_at), reverse=True)
    return newest_first[rotation:][::-1]


@dataclasses.dataclass(frozen=True)
class Quiesce:
    """Whether a guest's file systems are frozen at the moment of a snapshot; ``required``: or there is none."""

    wanted: bool
    required: bool

    @classmethod
    def of(cls, properties: t.Mapping[str, str]) -> Quiesce:
        """By the image's properties, as Nova reads them."""
        agent = properties.get("hw_qemu_guest_agent", "no").lower() in _YES
        return cls(agent, properties.get("os_require_quiesce", "no").lower() in _YES)


__all__ = ["PREFIX", "SHELVED", "Quiesce", "Snapshot", "snapshot_of", "surplus", "with_disk"]
