# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Linux machine is, before it is a compute host: read from its files alone, libvirt may be missing yet.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import typing as t

_ROOT = pathlib.Path("/")
_WANTS = ("multi-user.target.wants/libvirtd.service", "sockets.target.wants/libvirtd.socket")

Facts = dict[str, t.Any]


def host_state(root: pathlib.Path = _ROOT) -> Facts:
    """How guests can run, what manages services, network and firewall, and which interfaces SSH comes in by."""
    return {
        "kvm": has_kvm(root),
        "machine_id": _text(root / "etc/machine-id"),
        "smbios_uuid": smbios_uuid(root),
        "systemd": (root / "run/systemd/system").is_dir(),
        "modular_daemons": has_modular_daemons(root),
        "network_backend": network_backend(root),
        "ssh_interfaces": ssh_interfaces(),
        "bridged": sorted(path.name for path in (root / "sys/class/net").glob("*/brif/*")),
    }


def has_kvm(root: pathlib.Path = _ROOT) -> bool:
    """Whether QEMU can use KVM: the device is there and may be written to."""
    device = root / "dev/kvm"
    return device.exists() and os.access(device, os.R_OK | os.W_OK)


def smbios_uuid(root: pathlib.Path = _ROOT) -> str | None:
    """The UUID of the machine's mainboard; None where there is none, or one that libvirt knows as made up."""
    uuid = (_text(root / "sys/class/dmi/id/product_uuid") or "").lower()
    return uuid if len(set(uuid) - {"-"}) > 1 else None


def has_modular_daemons(root: pathlib.Path = _ROOT) -> bool:
    """Whether virtqemud and its like do the work: they are there, and nobody has libvirtd started."""
    present = all((root / "usr/sbin" / name).exists() for name in ("virtqemud", "virtproxyd"))
    return present and not any((root / "etc/systemd/system" / name).is_symlink() for name in _WANTS)


def network_backend(root: pathlib.Path = _ROOT) -> str:
    """What sets up the machine's network at boot; ``none`` where it is nothing that is known."""
    netplan = root / "etc/netplan"
    if netplan.is_dir() and any(netplan.glob("*.yaml")) and _has("netplan", root):
        return "netplan"
    if (root / "run/NetworkManager").is_dir():
        return "networkmanager"
    links = root / "run/systemd/netif/links"
    if links.is_dir() and any(links.iterdir()):
        return "networkd"
    if (root / "etc/network/interfaces").exists() and _has("ifup", root):
        return "ifupdown"
    return "none"


def ssh_interfaces() -> list[str]:
    """The interface whose address this session came in by, and all that it stands on (a bond's links, a VLAN's parent).

    Without a session, as when a task runs on the machine itself, that of the default route.
    """
    address = _ssh_address()
    first = _interface_of(address) if address else None
    first = first or _default_interface()
    return sorted(_with_lower(first)) if first else []


def _ssh_address() -> str | None:
    """The machine's own address in SSH_CONNECTION of this process or an ancestor's: sudo doesn't hand it on."""
    pid = os.getpid()
    while pid > 1:
        try:
            environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            parent = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
        except OSError:
            return None
        for entry in environment:
            name, _equals, value = entry.partition(b"=")
            if name == b"SSH_CONNECTION" and len(value.split()) == 4:
                return value.split()[2].decode("ascii", "replace")
        pid = int(parent)
    return None


def _interface_of(address: str) -> str | None:
    program = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")  # a session's PATH may lack the first two
    if program is None:
        return None
    # run_command is not there outside of a module
    # pylint: disable=ansible-bad-function
    done = subprocess.run([program, "-o", "address", "show"], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) > 3 and words[3].partition("/")[0] == address:
            return words[1].partition("@")[0]
    return None


def _default_interface() -> str | None:
    lines = (_text(pathlib.Path("/proc/net/route")) or "").splitlines()[1:]
    found = (line.split() for line in lines)
    return next((words[0] for words in found if len(words) > 7 and words[1] == words[7] == "00000000"), None)


def _with_lower(name: str) -> t.Iterator[str]:
    yield name
    for link in pathlib.Path("/sys/class/net", name).glob("lower_*"):
        yield from _with_lower(link.name[len("lower_") :])


def _has(program: str, root: pathlib.Path) -> bool:
    path = os.pathsep.join(str(root / folder) for folder in ("usr/sbin", "usr/bin", "sbin", "bin"))
    return shutil.which(program, path=path) is not None


def _text(path: pathlib.Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


__all__ = ["has_kvm", "has_modular_daemons", "host_state", "network_backend", "smbios_uuid", "ssh_interfaces"]
