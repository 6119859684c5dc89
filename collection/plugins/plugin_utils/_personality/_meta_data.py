# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""meta_data.json, as Nova writes it for its newest version that a server here has the facts for.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.hostname import hostname_of

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record

__all__ = ["DEFAULT_ZONE", "Personality", "meta_data"]

DEFAULT_ZONE = "nova"  # the zone that Nova gives a host without one
_SEED_LENGTH = 512  # bytes, Nova's
_SHORTEST_SECRET = 16


@dataclasses.dataclass(frozen=True)
class Personality:
    """What a config drive is made of beside the server's record.

    ``secret`` makes the guest's random seed: it must be drawn at random once per fleet or server, and kept, since the
    same secret gives the same drive and whoever knows it knows the seed. ``public_key`` is a line of OpenSSH's form.
    """

    record: Record
    secret: bytes = dataclasses.field(repr=False)
    key_name: str | None = None
    public_key: str | None = None
    user_data: bytes | None = dataclasses.field(default=None, repr=False)
    vendor_data: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    availability_zone: str = DEFAULT_ZONE
    project_id: str | None = None
    launch_index: int = 0

    def __post_init__(self) -> None:
        if len(self.secret) < _SHORTEST_SECRET:
            raise ValueError(f"the secret of a guest's random seed needs {_SHORTEST_SECRET} bytes or more")


def meta_data(of: Personality) -> dict[str, t.Any]:
    """meta_data.json: keys that have no value are left out, as in Nova."""
    record = of.record
    document: dict[str, t.Any] = {
        "uuid": record.id,
        "name": record.name,
        "hostname": hostname_of(record.name, fallback=f"server-{record.id}"),
        "launch_index": of.launch_index,
        "availability_zone": of.availability_zone,
        "random_seed": base64.b64encode(_random_seed(of.secret, record.id)).decode("ascii"),
        "devices": [],
    }
    metadata = record.spec.get("metadata")
    if metadata:
        document["meta"] = dict(metadata)
    if of.public_key:
        key_name = of.key_name or "default"
        document["public_keys"] = {key_name: of.public_key}
        document["keys"] = [{"name": key_name, "type": "ssh", "data": of.public_key}]
    if of.project_id:
        document["project_id"] = of.project_id
    return document


def _random_seed(secret: bytes, server_id: str) -> bytes:
    """Bytes that nobody can tell without *secret*, and the same each time the drive is made again."""
    blocks = (
        hmac.new(secret, f"random_seed/{server_id}/{index}".encode(), hashlib.sha512).digest()
        for index in range(_SEED_LENGTH // hashlib.sha512().digest_size)
    )
    return b"".join(blocks)
