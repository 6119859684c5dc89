# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet's own certificates: what is made, what is kept, what is made anew."""

from __future__ import annotations

import datetime as dt
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._certificates import Certificate, Wanted, ensure, read

pytest.importorskip("cryptography")
from cryptography import x509

NOW = dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.timezone.utc)
KVM1 = Wanted("kvm1", ("192.0.2.11", "kvm1.example.org"))


def made(folder: Path, wanted: Wanted = KVM1, *, now: dt.datetime = NOW, **more: t.Any) -> Certificate:
    certificate, reason = ensure(folder, wanted, now=now, **more)
    assert certificate is not None
    assert reason is not None, "nothing was made"
    return certificate


def kept(folder: Path, wanted: Wanted = KVM1, *, now: dt.datetime = NOW) -> Certificate:
    before = {file: file.read_bytes() for file in folder.rglob("*.pem")}
    certificate, reason = ensure(folder, wanted, now=now)
    assert certificate is not None
    assert reason is None
    assert {file: file.read_bytes() for file in folder.rglob("*.pem")} == before
    return certificate


def loaded(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def test_a_host_gets_a_certificate_of_the_fleets_own_authority_once(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    first = made(folder)
    assert first.names == ("192.0.2.11", "kvm1", "kvm1.example.org")
    assert first.not_after == "2028-11-21T08:00:00Z"
    certificate = loaded(first.certificate)
    certificate.verify_directly_issued_by(loaded(first.ca))
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in alternative.get_values_for_type(x509.IPAddress)] == ["192.0.2.11"]
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {use._name for use in uses} == {"serverAuth", "clientAuth"}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert kept(folder) == first
    assert read(folder) == [first]


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    first = made(folder)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "ca-key.pem", Path(first.key))]
    assert modes == [0o700, 0o600, 0o600]


def test_two_hosts_share_one_authority(tmp_path: Path) -> None:
    one, two = made(tmp_path), made(tmp_path, Wanted("kvm2"))
    assert loaded(one.ca) == loaded(two.ca)
    assert one.fingerprint != two.fingerprint
    kept(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "now", "reason"),
    [
        (Wanted("kvm1", ("192.0.2.12",)), NOW, "it is for 192.0.2.11, kvm1, kvm1.example.org"),
        (KVM1, NOW + dt.timedelta(days=671), "it ends at 2028-11-21"),
    ],
)
def test_a_certificate_is_made_anew_when_it_no_longer_fits(
    tmp_path: Path, wanted: Wanted, now: dt.datetime, reason: str
) -> None:
    first = made(tmp_path)
    second, why = ensure(tmp_path, wanted, now=now)
    assert second is not None
    assert why == reason
    assert second.fingerprint != first.fingerprint
    assert kept(tmp_path, wanted, now=now) == second


@pytest.mark.parametrize("name", ["2001:0DB8::0b", "fe80::1%eth0"])
def test_an_address_is_one_however_it_is_written(tmp_path: Path, name: str) -> None:
    wanted = Wanted("kvm1", (name, name.lower()))
    made(tmp_path, wanted)
    kept(tmp_path, wanted)


def test_an_authority_near_its_end_is_told_once_it_has_ended_and_not_before(tmp_path: Path) -> None:
    """No certificate outlives it: a new one would end as soon."""
    made(tmp_path)
    last_year = NOW + dt.timedelta(days=3650 - 300)
    made(tmp_path, now=last_year)
    kept(tmp_path, now=NOW + dt.timedelta(days=3650 - 30))
    with pytest.raises(FlotillaError, match=r"authority .* has ended at 2036-11-19"):
        ensure(tmp_path, KVM1, now=NOW + dt.timedelta(days=3651))


def test_a_certificate_of_another_authority_is_made_anew(tmp_path: Path) -> None:
    made(tmp_path)
    for name in ("ca-cert.pem", "ca-key.pem"):
        (tmp_path / name).unlink()
    made(tmp_path)
    (tmp_path / "kvm1" / "cert.pem").write_bytes((tmp_path / "ca-cert.pem").read_bytes())
    assert made(tmp_path).names == KVM1.all_names


def test_check_mode_writes_nothing_and_foretells(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    assert ensure(folder, KVM1, now=NOW, check=True) == (None, "there is no certificate authority yet")
    assert not folder.exists()
    first = made(folder)
    assert ensure(folder, KVM1, now=NOW, check=True) == (first, None)


def test_a_passphrase_guards_the_authoritys_key(tmp_path: Path) -> None:
    made(tmp_path, passphrase="of the vault")
    assert b"ENCRYPTED" in (tmp_path / "ca-key.pem").read_bytes()
    with pytest.raises(FlotillaError, match="can't be opened; is the passphrase right"):
        ensure(tmp_path, Wanted("kvm2"), now=NOW, passphrase="another")
    made(tmp_path, Wanted("kvm2"), passphrase="of the vault")


def test_an_authority_without_its_key_is_not_replaced(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "ca-key.pem").unlink()
    with pytest.raises(FlotillaError, match="is missing; bring it back from a backup"):
        ensure(tmp_path, Wanted("kvm2"), now=NOW)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "../kvm1"}, "can't be the name of a certificate"),
        ({"name": "kvm1", "names": ("kvm 1",)}, "'kvm 1' is neither a host's name nor an address"),
        ({"name": "kvm1", "days": 30}, "it would be renewed at every run"),
    ],
)
def test_what_can_not_be_certified_is_refused(fields: dict[str, t.Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Wanted(**fields)
