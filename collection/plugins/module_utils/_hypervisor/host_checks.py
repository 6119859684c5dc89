# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a compute host works on this machine, and what is missing: one row a thing, each with what would mend it.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import typing as t
import urllib.parse
import xml.etree.ElementTree as ET

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import (
    LIBVIRT_IMPORT_ERROR,
    Connection,
    opened,
)
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.host_state import has_kvm
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pool_definitions import facts as pool_facts

TLS_PORT = 16514
_TCP_PORT = 16509
#: A host that doesn't answer is told as such, soon.
_PATIENCE = 5.0
#: And for a program of the host's own, which loads modules and may wait for them.
_ANSWERS = 30.0
_VALIDATED = re.compile(r"\s*QEMU: Checking (?:for|if) (.+?)\s+: (PASS|FAIL|WARN|NOTE)(?: \((.*)\))?")
#: What virt-host-validate says that is no business of every compute host, and what is looked at more closely below.
_PASSED_OVER = ("hardware virtualization", "device /dev/kvm", "secure guest support", "device assignment IOMMU")
_GUESTS_FILES = ("/etc/default/libvirt-guests", "/etc/sysconfig/libvirt-guests")
_CA, _CERT, _KEY = "/etc/pki/CA/cacert.pem", "/etc/pki/libvirt/clientcert.pem", "/etc/pki/libvirt/private/clientkey.pem"


@dataclasses.dataclass(frozen=True)
class Check:
    """One row. ``result``: ok; warning: it works, and less well; missing: it doesn't."""

    name: str
    result: str
    found: str
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What there should be; ``bridges``: name -> the interface on it, if any; ``peers``: host -> URI of its libvirt."""

    uri: str
    emulation: bool = False
    tls: bool = True
    pools: tuple[str, ...] = ()
    bridges: t.Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    peers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


def checks(wanted: Wanted) -> list[Check]:
    """Every row, in the order in which one thing stands on another."""
    found = [_virtualisation(wanted), *_validated(), _binding()]
    if not LIBVIRT_IMPORT_ERROR:
        found.extend(_libvirt(wanted))
    found.extend(_bridge(name, interface) for name, interface in wanted.bridges.items())
    if wanted.tls:
        found.append(_tls())
    found.extend(_plain_tcp())
    found.append(_libvirt_guests())
    found.append(_clock())
    return found


def _virtualisation(wanted: Wanted) -> Check:
    if has_kvm():
        return Check("KVM", "ok", "/dev/kvm")
    if wanted.emulation:
        return Check("KVM", "warning", "none: guests are emulated", "switch virtualisation on in the firmware")
    return Check("KVM", "missing", "no /dev/kvm", "switch virtualisation on in the firmware, load kvm_intel or kvm_amd")


def _validated() -> t.Iterator[Check]:
    """What libvirt's own virt-host-validate says."""
    if shutil.which("virt-host-validate") is None:
        yield Check("virt-host-validate", "missing", "not installed", "install libvirt's client programs")
        return
    done = _asked("virt-host-validate", "qemu")
    if done is None:
        yield Check("virt-host-validate", "warning", f"no answer within {_ANSWERS:g} s", "run it by hand")
        return
    for match in map(_VALIDATED.match, done.stdout.splitlines()):
        if match is None or match.group(1).startswith(_PASSED_OVER):
            continue
        name, verdict, advice = match.group(1), match.group(2), match.group(3) or ""
        result = {"PASS": "ok", "FAIL": "missing"}.get(verdict, "warning")
        yield Check(name[:1].upper() + name[1:], result, verdict.lower(), advice)


def _binding() -> Check:
    if LIBVIRT_IMPORT_ERROR:
        return Check("python3-libvirt", "missing", "can't be imported", "install it for the Python that Ansible uses")
    return Check("python3-libvirt", "ok", "imported")


def _libvirt(wanted: Wanted) -> t.Iterator[Check]:
    try:
        with opened(wanted.uri) as conn:
            yield Check("libvirt", "ok", f"{_version(conn.getLibVersion())}, {_hypervisor(conn)}")
            yield _autostart(conn)
            yield from _pools(conn, wanted.pools)
            for peer, uri in wanted.peers.items():
                yield _peer(conn, peer, uri)
    except FlotillaError as exc:
        yield Check("libvirt", "missing", str(exc), "start its daemon")


def _hypervisor(conn: Connection) -> str:
    return f"{conn.getType()} {_version(conn.getVersion())}"


def _version(number: int) -> str:
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"


def _autostart(conn: Connection) -> Check:
    names = sorted(domain.name() for domain in conn.listAllDomains() if domain.isPersistent() and domain.autostart())
    if names:
        shown = ", ".join(names[:3]) + (" …" if names[3:] else "")
        return Check("Guests started at boot", "warning", shown, "virsh autostart --disable those of the fleet")
    return Check("Guests started at boot", "ok", "none by libvirt")


def _pools(conn: Connection, names: t.Iterable[str]) -> t.Iterator[Check]:
    present = pool_facts(conn)
    for name in names:
        pool = present.get(name)
        if pool is None:
            yield Check(f"Pool {name}", "missing", "not defined", "run the role")
        elif not pool["active"]:
            yield Check(f"Pool {name}", "missing", "not active", f"virsh pool-start {name}")
        elif not pool["autostart"]:
            yield Check(f"Pool {name}", "warning", "active, not after a reboot", f"virsh pool-autostart {name}")
        else:
            yield Check(f"Pool {name}", "ok", f"{pool['type']} {pool.get('path', '')}".strip())
    if not names and not any(pool["active"] for pool in present.values()):
        yield Check("Pools", "missing", "none is active", "declare compute_host_pools, and run the role")


def _peer(conn: Connection, name: str, uri: str) -> Check:
    """Whether guests could be moved to another host: its libvirt answers, and is another one."""
    title = f"Way to {name}"
    parts = urllib.parse.urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    default = {"tls": TLS_PORT, "": TLS_PORT, "tcp": _TCP_PORT, "ssh": 22}.get(transport)
    try:
        if parts.hostname and default:
            socket.create_connection((parts.hostname, parts.port or default), timeout=_PATIENCE).close()
        with opened(uri, readonly=True) as other:
            if _host_uuid(other) == _host_uuid(conn):
                return Check(title, "missing", "it has this host's UUID", "set compute_host_uuid_source: machine-id")
            return Check(title, "ok", f"{uri} answers as {other.getHostname()}")
    except OSError as exc:
        return Check(title, "missing", f"{uri}: {exc.strerror or exc}", "run the role there; open its firewall")
    except FlotillaError as exc:
        return Check(title, "missing", str(exc), "run the role on both")


def _host_uuid(conn: Connection) -> str | None:
    return ET.fromstring(conn.getCapabilities()).findtext("host/uuid")  # noqa: S314 - libvirt wrote it


def _bridge(name: str, interface: str | None) -> Check:
    folder = pathlib.Path("/sys/class/net", name)
    if not folder.exists():
        return Check(f"Bridge {name}", "missing", "no such interface", "run the role, or reboot where it said so")
    # A bridge of Open vSwitch has a port of its own name, and no folder of the kernel's bridges.
    kind = "Linux" if (folder / "bridge").is_dir() else "Open vSwitch"
    if kind == "Linux" and interface and not (folder / "brif" / interface).exists():
        return Check(f"Bridge {name}", "missing", f"{interface} is not on it", "run the role")
    flags = int((folder / "flags").read_text(encoding="ascii"), 16)
    if not flags & 1:
        return Check(f"Bridge {name}", "missing", "down", f"ip link set {name} up")
    return Check(f"Bridge {name}", "ok", f"{kind}{f', {interface}' if interface else ''}")


def _tls() -> Check:
    """A handshake with this host's own libvirt, as another host would make it."""
    absent = [path for path in (_CA, _CERT, _KEY) if not pathlib.Path(path).exists()]
    if absent:
        return Check("TLS", "missing", f"no {absent[0]}", "run the role")
    try:
        context = ssl.create_default_context(cafile=_CA)
        context.load_cert_chain(_CERT, _KEY)
        context.check_hostname = False  # this end is called by whatever address; `Way to` looks at names
        address = _listening(TLS_PORT) or "127.0.0.1"
        plain = socket.create_connection((address, TLS_PORT), timeout=_PATIENCE)
        with plain, context.wrap_socket(plain) as wrapped:
            ends = (wrapped.getpeercert() or {}).get("notAfter", "")
    except ssl.SSLError as exc:
        return Check("TLS", "missing", str(exc.reason or exc), "run the role; look at the clock")
    except OSError as exc:
        return Check("TLS", "missing", f"port {TLS_PORT}: {exc.strerror or exc}", "run the role; start the socket")
    return Check("TLS", "ok", f"port {TLS_PORT}, certificate until {ends}")


def _plain_tcp() -> t.Iterator[Check]:
    if _listening(_TCP_PORT):
        text = f"port {_TCP_PORT} is open"
        yield Check("Unencrypted libvirt", "warning", text, "who reaches it may own the host: switch listen_tcp off")


def _listening(port: int) -> str | None:
    """The address at which this host can be called on a port; None when nobody listens there."""
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = pathlib.Path(file).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for words in (line.split() for line in lines):
            address, _colon, number = words[1].partition(":")
            if words[3] == "0A" and int(number, 16) == port:
                return _callable(address)
    return None


def _callable(kernels: str) -> str:
    """An address as the kernel's tables have it, four bytes at a time in the machine's order; any one is this host."""
    words = [int(kernels[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(kernels), 8)]
    address = ipaddress.ip_address(b"".join(words))
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address)


def _libvirt_guests() -> Check:
    """A host that returns starts nothing before it has been reconciled."""
    title = "libvirt-guests"
    for path in map(pathlib.Path, _GUESTS_FILES):
        if path.exists():
            values = re.findall(r"^\s*ON_BOOT=[\"']?(\w*)", path.read_text(encoding="utf-8"), re.MULTILINE)
            if values and values[-1] == "ignore":
                return Check(title, "ok", "starts nothing at boot")
            return Check(title, "missing", "may start guests at boot", f"run the role, or set ON_BOOT=ignore in {path}")
    if any(pathlib.Path(folder, "libvirt-guests.service").exists() for folder in _UNITS):
        return Check(title, "missing", "starts guests at boot, its default", "run the role")
    return Check(title, "ok", "not installed")


_UNITS = ("/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system")


def _clock() -> Check:
    """Certificates, leases and logs of many hosts need one time."""
    if pathlib.Path("/run/systemd/timesync/synchronized").exists():
        return Check("Clock", "ok", "synchronised by systemd-timesyncd")
    if shutil.which("chronyc") is None:
        return Check("Clock", "warning", "nothing that keeps it is known", "install chrony")
    done = _asked("chronyc", "-c", "tracking")
    if done is None:
        return Check("Clock", "warning", f"chronyc gave no answer within {_ANSWERS:g} s", "look at the service chronyd")
    fields = done.stdout.strip().split(",")
    if done.returncode == 0 and len(fields) > 4 and fields[0] not in ("00000000", "7F7F0101"):
        return Check("Clock", "ok", f"chrony, {float(fields[4]) * 1000:.1f} ms off {fields[1]}")
    return Check("Clock", "warning", "chrony has no source yet", "look at chronyc sources")


def _asked(*command: str) -> subprocess.CompletedProcess[str] | None:
    """What a program says; None for one that doesn't come to an end."""
    try:
        # run_command has no time limit, and is not there outside of a module
        # pylint: disable=ansible-bad-function
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ANSWERS)
    except subprocess.TimeoutExpired:
        return None


__all__ = ["TLS_PORT", "Check", "Wanted", "checks"]
