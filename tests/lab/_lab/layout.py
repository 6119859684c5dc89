# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, addresses and folders of a lab: pure, everything else is derived from here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import LabError

ROOT = Path("/var/lib/flotilla-lab")
CACHE = ROOT / "cache"
DEFAULT_LAB = "lab"
MAX_HOSTS = 99
LIBVIRT_TCP_PORT = 16509
SSH_PORT = 22

# What each host has for itself. The host's own tree (Host.tree) mirrors these paths; they are bound over the machine's.
PRIVATE_FOLDERS = (
    "/etc/libvirt",
    "/etc/ssh",
    "/root",
    "/tmp",
    "/usr/local/sbin",
    "/var/cache/libvirt",
    "/var/lib/flotilla",
    "/var/lib/libvirt",
    "/var/log/libvirt",
    "/var/tmp",
)
PRIVATE_FILES = ("/etc/group", "/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/passwd", "/etc/shadow")
POOLS = "/var/lib/libvirt/pools"
LOCAL_POOL = f"{POOLS}/local"
SHARED_POOL = f"{POOLS}/shared"


@dataclass(frozen=True)
class Lab:
    """A lab by its name and number; the number is the third byte of its two networks."""

    name: str
    number: int

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    @property
    def shared_pool(self) -> Path:
        """The one folder behind the pool `shared` of every host."""
        return self.folder / "shared"

    @property
    def ssh(self) -> Path:
        """The controller's side of SSH: key, known_hosts, config."""
        return self.folder / "ssh"

    @property
    def switch(self) -> str:
        """The network namespace that holds the lab's bridges, out of reach of the machine's packet filters."""
        return f"{self.name}-net"

    @property
    def host_link(self) -> str:
        """The controller's link into the network of the hosts."""
        return f"{self.name}-hosts"

    @property
    def guest_link(self) -> str:
        """The controller's link into the network of the guests."""
        return f"{self.name}-guests"

    @property
    def host_network(self) -> str:
        return f"10.213.{self.number}"

    @property
    def guest_network(self) -> str:
        return f"10.214.{self.number}"

    def hosts(self, count: int) -> list[Host]:
        return [Host(self, index) for index in range(1, count + 1)]


@dataclass(frozen=True)
class Host:
    """One compute host of a lab."""

    lab: Lab
    index: int

    @property
    def name(self) -> str:
        return f"kvm{self.index}"

    @property
    def address(self) -> str:
        return f"{self.lab.host_network}.{10 + self.index}"

    @property
    def mac(self) -> str:
        """Kept over a power cycle as by real hardware, or the neighbours' caches point nowhere for half a minute."""
        return f"02:00:0a:d5:{self.lab.number:02x}:{10 + self.index:02x}"

    @property
    def namespace(self) -> str:
        return f"{self.lab.name}-{self.name}"

    @property
    def guest_port(self) -> str:
        """The port of this host's br0 in the lab's switch; the one of its own link bears the host's name."""
        return f"{self.name}-guests"

    @cached_property
    def folder(self) -> Path:
        return self.lab.folder / "hosts" / self.name

    @property
    def tree(self) -> Path:
        """What is bound over the machine's files in this host, under the same paths."""
        return self.folder / "tree"

    @property
    def etc(self) -> Path:
        """What the host changes in /etc beside its own folders there (``upper``), and overlayfs's workplace."""
        return self.folder / "etc"

    def path(self, inside: str) -> Path:
        """Where a private path of the host lies on the machine."""
        return self.tree / inside.lstrip("/")

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def cut_file(self) -> Path:
        """There while the host is cut off the network, so that a power cycle does not join it again."""
        return self.folder / "cut"

    @property
    def log(self) -> Path:
        return self.folder / "host.log"


def lab_name() -> str:
    """The lab that the environment names. The name is part of link names, which have 15 characters."""
    name = os.environ.get("FLOTILLA_LAB") or DEFAULT_LAB
    if not re.fullmatch(r"[a-z][a-z0-9]{0,7}", name) or name == CACHE.name:
        raise LabError(
            f"FLOTILLA_LAB is {name!r}, which is no name for a lab: use 1 to 8 lower case letters and digits, "
            f"a letter first, and not {CACHE.name!r}."
        )
    return name
