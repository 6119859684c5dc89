# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SSH keypairs: made, read and fingerprinted, with Nova's rules for their names.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A private key passes through here once, from ``generate`` to ``write_private``; nothing else ever holds it.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import os
import re
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need

__all__ = [
    "KeyType",
    "PublicKey",
    "check_certificate",
    "check_name",
    "describe",
    "generate",
    "parse_public",
    "public_half",
    "write_private",
]

KeyType = t.Literal["ed25519", "rsa"]

_NAME = re.compile(r"[-_ a-zA-Z0-9@.]{1,255}")  # Nova's, with the @ and . of microversion 2.92
_RSA_BITS = 3072  # what ssh-keygen makes by default; Nova's 2048 were of 2010


@dataclasses.dataclass(frozen=True)
class PublicKey:
    """A public key in OpenSSH's form. ``data`` is its base64 part."""

    type: str
    data: str
    comment: str = ""

    @property
    def line(self) -> str:
        return " ".join(part for part in (self.type, self.data, self.comment) if part)

    def same_as(self, other: PublicKey) -> bool:
        """Whether it is the same key, whatever its comment."""
        return (self.type, self.data) == (other.type, other.data)

    @property
    def fingerprint(self) -> str:
        """MD5 in hex with colons and no prefix: what Nova's API shows."""
        digest = hashlib.md5(base64.b64decode(self.data), usedforsecurity=False).hexdigest()
        return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))

    @property
    def fingerprint_sha256(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def describe(name: str, key: PublicKey) -> dict[str, str]:
    """A keypair as modules return it."""
    return {
        "name": name,
        "type": "ssh",
        "public_key": key.line,
        "fingerprint": key.fingerprint,
        "fingerprint_sha256": key.fingerprint_sha256,
    }


def check_name(name: str) -> None:
    """Nova's rule for a keypair's name. It also becomes a file's name, so that . and .. are refused."""
    if not _NAME.fullmatch(name) or name != name.strip() or name in (".", ".."):
        raise InvalidInput(
            f"keypair name {name!r} can't be used: it needs 1 to 255 of letters, digits, space and - _ . @, "
            "with no space at its ends; choose another"
        )


def parse_public(text: str, *, name: str) -> PublicKey:
    """The public key in *text*, one line as in authorized_keys without options; *name* is for the message."""
    if "PRIVATE KEY" in text:
        # Never quoted: this is the one mistake whose value must not be shown.
        raise InvalidInput(f"keypair {name!r}: public_key holds a private key; give the content of the .pub file")
    lines = [line for line in text.splitlines() if line.strip()]
    parts = lines[0].split(None, 2) if len(lines) == 1 else []
    if len(parts) < 2 or not _is_key(parts[0], parts[1]):
        raise InvalidInput(
            f"keypair {name!r}: Keypair data is invalid: failed to generate fingerprint; "
            f"public_key must be one line such as 'ssh-ed25519 AAAA... comment', found {_shortened(text)!r}"
        )
    return PublicKey(parts[0], parts[1], parts[2].strip() if len(parts) > 2 else "")


def check_certificate(text: str, *, name: str) -> None:
    """InvalidInput unless *text* is one certificate in PEM, which Nova's keypairs of type x509 are."""
    if "PRIVATE KEY" in text:
        raise InvalidInput(f"keypair {name!r}: public_key holds a private key; give the certificate alone")
    try:
        need("cryptography.x509").load_pem_x509_certificate(text.encode())
    except ValueError as exc:
        raise InvalidInput(
            f"keypair {name!r}: Keypair data is invalid: failed to generate X509 fingerprint; public_key of type x509 "
            f"must be a certificate in PEM, found {_shortened(text)!r}"
        ) from exc


def generate(key_type: KeyType, *, comment: str) -> tuple[bytes, PublicKey]:
    """A new key: the private half in OpenSSH's format without passphrase, and the public one."""
    serialization = need("cryptography.hazmat.primitives.serialization")
    private = _new_private_key(key_type)
    private_bytes = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return private_bytes, _public(private, comment=comment)


def public_half(path: Path, *, comment: str) -> PublicKey:
    """The public half of the private key that is at *path* already, as after a run that was killed halfway."""
    serialization = need("cryptography.hazmat.primitives.serialization")
    try:
        private = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except OSError as exc:
        raise FlotillaError(f"the private key {str(path)!r} can't be read: {exc.strerror}") from exc
    except (ValueError, TypeError) as exc:  # TypeError: it needs a passphrase
        raise Conflict(
            f"{str(path)!r}, where the private key would go, is no OpenSSH private key without a passphrase; it is not "
            "touched: move it away, give another private_key_path, or import its public half as public_key"
        ) from exc
    return _public(private, comment=comment)


def write_private(path: Path, content: bytes) -> None:
    """Put a private key at *path*, mode 0600, whole or not at all; a file that is there is never replaced."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes it 0600; link fails where rename would replace a key that somebody logs in with.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            Path(temporary).unlink()
    except FileExistsError as exc:
        raise Conflict(f"there is a file {str(path)!r} already; a private key never replaces one: run again") from exc
    except OSError as exc:
        raise FlotillaError(f"the private key can't be written to {str(path)!r}: {exc.strerror}") from exc


def _public(private: t.Any, *, comment: str) -> PublicKey:
    serialization = need("cryptography.hazmat.primitives.serialization")
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    kind, data = public.decode("ascii").split()
    return PublicKey(kind, data, comment)


def _new_private_key(key_type: KeyType) -> t.Any:
    if key_type == "rsa":
        return need("cryptography.hazmat.primitives.asymmetric.rsa").generate_private_key(65537, _RSA_BITS)
    return need("cryptography.hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey.generate()


def _is_key(kind: str, data: str) -> bool:
    """Whether *data* is a key of type *kind*: each key begins with its own type as a length and a name (RFC 4253)."""
    try:
        blob = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    named = len(kind).to_bytes(4, "big") + kind.encode("utf-8")
    if not blob.startswith(named):
        return False
    return kind.startswith("sk-") or _loads(f"{kind} {data}")


def _loads(line: str) -> bool:
    """Whether the key's own numbers hold together. Security keys (sk-*) are not known to the library."""
    serialization = need("cryptography.hazmat.primitives.serialization")
    exceptions = need("cryptography.exceptions")
    try:
        serialization.load_ssh_public_key(line.encode("utf-8"))
    except (ValueError, exceptions.UnsupportedAlgorithm):
        return False
    return True


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."
