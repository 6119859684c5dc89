# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import Conflict, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils import _keys as keys

pytest.importorskip("cryptography")

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6g4bLMvR1sCQaUnvqT8Yw7Kq8xzO2QkBsCq4y0x0Sf"


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(ED25519 + " ops@example.org\n")
    key = keys.parse_public(ED25519, name="ops")
    for kind, expected in (("md5", "MD5:" + key.fingerprint), ("sha256", key.fingerprint_sha256)):
        command = ["ssh-keygen", "-l", "-E", kind, "-f", str(tmp_path / "key.pub")]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told.split()[1] == expected


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_generated_key_is_one_for_openssh(tmp_path: Path, kind: keys.KeyType) -> None:
    private, public = keys.generate(kind, comment="build@fleet")
    keys.write_private(tmp_path / "deep" / "key", private)
    told = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(tmp_path / "deep" / "key")], capture_output=True, text=True, check=True
    )
    assert told.stdout.split()[:2] == [public.type, public.data]
    assert public.line.endswith(" build@fleet")
    assert keys.parse_public(public.line, name="build") == public
    assert keys.public_half(tmp_path / "deep" / "key", comment="build@fleet") == public


def test_two_keys_differ() -> None:
    assert keys.generate("ed25519", comment="a")[1].data != keys.generate("ed25519", comment="a")[1].data


def test_a_private_key_is_for_its_owner_alone_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "key"
    keys.write_private(path, b"content")
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]


def test_a_private_key_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("mine")
    with pytest.raises(Conflict, match="a private key never replaces one"):
        keys.write_private(path, b"new")
    assert path.read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_a_private_key_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict):
        keys.write_private(tmp_path / "key", b"new")
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_private_key_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("mine")
    with pytest.raises(Conflict, match="is no OpenSSH private key"):
        keys.public_half(tmp_path / "key", comment="")


@pytest.mark.parametrize(
    "text",
    [ED25519, f"{ED25519} a comment of words", f"  {ED25519}\n", f"\n{ED25519} x\n\n"],
)
def test_public_keys_are_read(text: str) -> None:
    key = keys.parse_public(text, name="ops")
    assert f"{key.type} {key.data}" == ED25519
    assert key.line == " ".join(text.split())


def test_the_comment_makes_no_other_key() -> None:
    one, other = (keys.parse_public(f"{ED25519} {comment}", name="ops") for comment in ("a", "b"))
    assert one != other
    assert one.same_as(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 !!!!",
        ED25519.replace("ssh-ed25519 ", "ssh-rsa "),
        ED25519[:-8],
        f"{ED25519}\n{ED25519}",
        f'command="x" {ED25519}',
        "ssh-rsa " + "\u00e4" * 20,
    ],
)
def test_what_is_no_public_key_is_refused_in_novas_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="keypair 'ops': Keypair data is invalid: failed to generate fingerprint"):
        keys.parse_public(text, name="ops")


def test_a_private_key_given_as_public_is_refused_and_not_shown() -> None:
    private = keys.generate("ed25519", comment="x")[0].decode()
    with pytest.raises(InvalidInput, match="holds a private key") as refusal:
        keys.parse_public(private, name="ops")
    assert private.splitlines()[1][:20] not in str(refusal.value)


def test_a_security_key_is_taken() -> None:
    import base64

    def field(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    kind = "sk-ssh-ed25519@openssh.com"
    blob = field(kind.encode()) + field(bytes(32)) + field(b"ssh:")
    key = keys.parse_public(f"{kind} {base64.b64encode(blob).decode()} yubikey", name="ops")
    assert key.type == kind


@pytest.mark.parametrize("name", ["ops", "Ops key_1", "a@b.example", "x" * 255, "..."])
def test_names_by_novas_rule(name: str) -> None:
    keys.check_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "\u00e9", "x" * 256, ".", "..", " ops", "ops ", "a;b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="can't be used"):
        keys.check_name(name)


def test_a_described_keypair_has_all_and_no_more() -> None:
    described: dict[str, t.Any] = keys.describe("ops", keys.parse_public(ED25519, name="ops"))
    assert set(described) == {"name", "type", "public_key", "fingerprint", "fingerprint_sha256"}
