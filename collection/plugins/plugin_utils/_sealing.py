# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""User data and the like as the ledger keeps it: encrypted with fleet_secret_key, for servers that must be built again
without their inventory.

Note that this plugin util is **PRIVATE** to the collection.

The ledger's tokens are Fernet's, of the package cryptography. Its key is derived from fleet_secret_key, which people
may have thought up themselves, with the fleet's id as salt: slowly, and once in a process.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Json
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need

__all__ = ["seal", "unseal"]

# RFC 7914's for interactive use: 16 MiB, a twentieth of a second.
_COST: t.Final = {"n": 2**14, "r": 8, "p": 1}


def seal(secret_key: str, fleet_id: str, what: t.Mapping[str, Json]) -> str:
    """A token that nobody can read or change without the key."""
    text = json.dumps(what, sort_keys=True)
    token: bytes = _cipher(secret_key, fleet_id).encrypt(text.encode())
    return token.decode()


def unseal(secret_key: str, fleet_id: str, token: str) -> dict[str, Json] | None:
    """What was sealed; None for a token of another key."""
    try:
        found = json.loads(_cipher(secret_key, fleet_id).decrypt(token.encode()))
    except need("cryptography.fernet").InvalidToken:
        return None
    return t.cast("dict[str, Json]", found)


@functools.lru_cache(maxsize=1)
def _cipher(secret_key: str, fleet_id: str) -> t.Any:
    key = hashlib.scrypt(secret_key.encode(), salt=fleet_id.encode(), dklen=32, **_COST)
    return need("cryptography.fernet").Fernet(base64.urlsafe_b64encode(key))
