# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet's own certificate authority, and a certificate of it for each host: what libvirt needs for TLS.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

Files in one folder of the controller::

    ca-cert.pem  ca-key.pem         the authority; whoever has its key can be any host of the fleet
    <name>/cert.pem  <name>/key.pem a host, as server and as client

Nothing is written where what is there does already.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import ipaddress
import os
import re
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need

__all__ = ["Certificate", "Wanted", "ensure", "read"]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")  # a common name has 64 characters
_DNS = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9_-]{0,62}))*\.?")
_CA_NAME = "Flotilla certificate authority"
_CA_DAYS = 3650
#: A host's clock may be a little behind the controller's.
_LEEWAY = dt.timedelta(hours=1)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A host's certificate as it should be. ``names``: every name and address by which other hosts call it."""

    name: str
    names: tuple[str, ...] = ()
    days: int = 730
    renew_days: int = 60

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"{self.name!r} can't be the name of a certificate: it needs 1 to 64 letters, digits, '.', '_' and '-'"
            )
        if not 0 <= self.renew_days < self.days:
            raise InvalidInput(
                f"the certificate of {self.name!r} would be renewed {self.renew_days} days before its end and lasts "
                f"{self.days} days: it would be renewed at every run; give fewer renew_days"
            )
        for name in self.names:
            if not _is_address(name) and not _DNS.fullmatch(name):
                raise InvalidInput(f"certificate of {self.name!r}: {name!r} is neither a host's name nor an address")

    @property
    def all_names(self) -> tuple[str, ...]:
        """With the name itself, sorted, each once; addresses as certificates have them."""
        return tuple(sorted({_plain(name) for name in (self.name, *self.names)}))


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate as modules return it; ``not_after`` is in UTC."""

    name: str
    names: tuple[str, ...]
    not_after: str
    fingerprint: str
    ca: str
    certificate: str
    key: str

    def to_json(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "names": list(self.names)}


def read(folder: Path) -> list[Certificate]:
    """The hosts' certificates in *folder*, by name; none where there is no such folder."""
    found = []
    for file in sorted(folder.glob("*/cert.pem")):
        certificate = _load_certificate(file)
        if certificate is not None:
            found.append(_shown(file.parent.name, certificate, folder))
    return found


def ensure(
    folder: Path, wanted: Wanted, *, now: dt.datetime, passphrase: str | None = None, check: bool = False
) -> tuple[Certificate | None, str | None]:
    """Have the authority and the host's certificate in *folder*: (the certificate, why a new one is made).

    With *check* nothing is written, and the certificate is None where a new one would be made.
    """
    if check:
        reason = _reason(folder, wanted, now)
        return (_present(folder, wanted) if reason is None else None), reason
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            reason = _reason(folder, wanted, now)
            if reason is not None:
                _make(folder, wanted, now, passphrase)
    except OSError as exc:
        raise FlotillaError(f"certificates can't be written to {str(folder)!r}: {exc.strerror}") from exc
    return _present(folder, wanted), reason


@contextlib.contextmanager
def _locked(folder: Path) -> t.Iterator[None]:
    """Ansible makes the certificates of many hosts at once; the authority is made by the first of them alone."""
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _reason(folder: Path, wanted: Wanted, now: dt.datetime) -> str | None:
    """Why a new certificate is needed; None when the one that is there will do."""
    authority = _load_certificate(folder / "ca-cert.pem")
    if authority is None:
        return "there is no certificate authority yet"
    certificate = _load_certificate(folder / wanted.name / "cert.pem")
    if certificate is None or not (folder / wanted.name / "key.pem").exists():
        return "there is none yet"
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - cryptography's own, ValueError and TypeError all mean the same here
        return "another authority has issued it"
    if _names_of(certificate) != wanted.all_names:
        return f"it is for {', '.join(_names_of(certificate))}"
    ends, last = certificate.not_valid_after_utc, authority.not_valid_after_utc
    # One that ends with its authority would be no younger if it was made anew.
    if ends - now < dt.timedelta(days=wanted.renew_days) and (ends < last or last <= now):
        return f"it ends at {ends:%Y-%m-%d}"
    return None


def _make(folder: Path, wanted: Wanted, now: dt.datetime, passphrase: str | None) -> None:
    key, authority = _authority(folder, now, passphrase)
    own = _new_key()
    x509 = need("cryptography.x509")
    oids = need("cryptography.x509.oid").ExtendedKeyUsageOID
    names = [_general_name(name) for name in wanted.all_names]
    ends = min(now + dt.timedelta(days=wanted.days), authority.not_valid_after_utc)
    builder = (
        _builder(own, wanted.name, now, ends)
        .issuer_name(authority.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([oids.SERVER_AUTH, oids.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    target = folder / wanted.name
    target.mkdir(mode=0o700, exist_ok=True)
    # The certificate goes first and comes last, so that it never stands beside a key that isn't its own.
    (target / "cert.pem").unlink(missing_ok=True)
    _write(target / "key.pem", _key_pem(own, None), mode=0o600)
    _write(target / "cert.pem", _pem(builder.sign(key, _sha256())), mode=0o644)


def _authority(folder: Path, now: dt.datetime, passphrase: str | None) -> tuple[t.Any, t.Any]:
    """The authority's key and certificate, made where there is none. Half an authority is never made anew."""
    key_file, file = folder / "ca-key.pem", folder / "ca-cert.pem"
    certificate = _load_certificate(file)
    if certificate is not None:
        if certificate.not_valid_after_utc <= now:
            raise FlotillaError(
                f"the fleet's certificate authority {str(file)!r} has ended at "
                f"{certificate.not_valid_after_utc:%Y-%m-%d}; move the folder away, and run the role on all hosts"
            )
        return _load_key(key_file, passphrase), certificate
    key = _load_key(key_file, passphrase) if key_file.exists() else _new_key()
    if not key_file.exists():
        _write(key_file, _key_pem(key, passphrase), mode=0o600)
    x509 = need("cryptography.x509")
    builder = (
        _builder(key, _CA_NAME, now, now + dt.timedelta(days=_CA_DAYS))
        .issuer_name(_subject(_CA_NAME))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    made = builder.sign(key, _sha256())
    _write(file, _pem(made), mode=0o644)
    return key, made


def _builder(key: t.Any, name: str, now: dt.datetime, ends: dt.datetime) -> t.Any:
    x509 = need("cryptography.x509")
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LEEWAY)
        .not_valid_after(ends)
    )


def _subject(name: str) -> t.Any:
    x509 = need("cryptography.x509")
    return x509.Name([x509.NameAttribute(need("cryptography.x509.oid").NameOID.COMMON_NAME, name)])


def _key_usage(*, signs_certificates: bool) -> t.Any:
    unused = ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
    return need("cryptography.x509").KeyUsage(
        digital_signature=not signs_certificates,
        key_encipherment=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        **dict.fromkeys(unused, False),
    )


def _new_key() -> t.Any:
    # Elliptic curves of GnuTLS's and OpenSSL's every policy, EL's FUTURE one too.
    ec = need("cryptography.hazmat.primitives.asymmetric.ec")
    return ec.generate_private_key(ec.SECP384R1())


def _sha256() -> t.Any:
    return need("cryptography.hazmat.primitives.hashes").SHA256()


def _pem(certificate: t.Any) -> bytes:
    encoded: bytes = certificate.public_bytes(need("cryptography.hazmat.primitives.serialization").Encoding.PEM)
    return encoded


def _key_pem(key: t.Any, passphrase: str | None) -> bytes:
    forms = need("cryptography.hazmat.primitives.serialization")
    encryption = forms.BestAvailableEncryption(passphrase.encode()) if passphrase else forms.NoEncryption()
    encoded: bytes = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, encryption)
    return encoded


def _load_key(file: Path, passphrase: str | None) -> t.Any:
    forms = need("cryptography.hazmat.primitives.serialization")
    try:
        return forms.load_pem_private_key(file.read_bytes(), passphrase.encode() if passphrase else None)
    except FileNotFoundError as exc:
        raise FlotillaError(
            f"the key {str(file)!r} of the fleet's certificate authority is missing; bring it back from a backup, or "
            "move its folder away, and run the role on all hosts"
        ) from exc
    except (ValueError, TypeError) as exc:  # TypeError: a passphrase is missing, or given and not needed
        raise FlotillaError(
            f"the key {str(file)!r} of the fleet's certificate authority can't be opened; is the passphrase right?"
        ) from exc


def _load_certificate(file: Path) -> t.Any | None:
    try:
        return need("cryptography.x509").load_pem_x509_certificate(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise FlotillaError(f"the certificate {str(file)!r} can't be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise FlotillaError(f"{str(file)!r} is no certificate in PEM; bring it back, or move it away") from exc


def _present(folder: Path, wanted: Wanted) -> Certificate:
    return _shown(wanted.name, _load_certificate(folder / wanted.name / "cert.pem"), folder)


def _shown(name: str, certificate: t.Any, folder: Path) -> Certificate:
    return Certificate(
        name=name,
        names=_names_of(certificate),
        not_after=f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        fingerprint=certificate.fingerprint(_sha256()).hex(),
        ca=str(folder / "ca-cert.pem"),
        certificate=str(folder / name / "cert.pem"),
        key=str(folder / name / "key.pem"),
    )


def _names_of(certificate: t.Any) -> tuple[str, ...]:
    x509 = need("cryptography.x509")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(sorted(str(name.value) for name in names))


def _general_name(name: str) -> t.Any:
    x509 = need("cryptography.x509")
    return x509.IPAddress(ipaddress.ip_address(name)) if _is_address(name) else x509.DNSName(name)


def _plain(name: str) -> str:
    """An address as a certificate gives it back: it has one spelling, and no zone. Other names are as they are."""
    return str(ipaddress.ip_address(ipaddress.ip_address(name).packed)) if _is_address(name) else name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _write(file: Path, content: bytes, *, mode: int) -> None:
    """The old file or the new one is there, whole, at any time."""
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        os.fchmod(opened.fileno(), mode)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(draft, file)
