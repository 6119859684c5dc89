# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the lab needs of the machine; all of it is looked at before anything is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .errors import NeedError

# Debian package -> a file of it whose absence shows that it is not installed.
PACKAGES = {
    "busybox-static": "/bin/busybox",
    "dnsmasq-base": "/usr/sbin/dnsmasq",
    "dnsmasq-utils": "/usr/bin/dhcp_release",
    "e2fsprogs": "/sbin/mkfs.ext4",
    "iproute2": "/sbin/ip",
    "iptables": "/usr/sbin/ebtables-nft",  # what nwfilter calls as `ebtables`
    "libvirt-clients": "/usr/bin/virsh",
    "libvirt-daemon": "/usr/sbin/libvirtd",
    "libvirt-daemon-config-nwfilter": "/usr/share/libvirt/nwfilter/clean-traffic.xml",
    "libvirt-daemon-driver-qemu": "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
    "mtools": "/usr/bin/mformat",
    "nftables": "/usr/sbin/nft",
    "nginx": "/usr/sbin/nginx",
    "openssh-client": "/usr/bin/ssh-keygen",
    "openssh-server": "/usr/sbin/sshd",
    "ovmf": "/usr/share/OVMF/OVMF_CODE_4M.fd",  # what qemu-system-x86 only recommends
    "python3-libvirt": "/usr/lib/python3/dist-packages/libvirt.py",
    "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
    "qemu-utils": "/usr/bin/qemu-img",
    "syslinux": "/usr/bin/syslinux",
    "syslinux-common": "/usr/lib/syslinux/mbr/mbr.bin",
}

# Tried in namespaces that end with the command: the machine's own links and mounts are not touched.
KERNEL_TRIAL = (
    "mount -t tmpfs tmpfs /run && mkdir -p /run/upper /run/work && "
    "mount -t overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work overlay /etc"
)
LINKS_TRIAL = "ip link add name v0 type veth peer name v1 && ip link add name br0 type bridge"


def check_root() -> None:
    if os.geteuid() != 0:
        raise NeedError("The lab makes namespaces, links and mounts, so it must be run as root.")


def check_all() -> None:
    """Raises one sentence about the first thing that is missing."""
    check_root()
    missing = [package for package, file in PACKAGES.items() if not Path(file).exists()]
    if missing:
        raise NeedError(f"Debian packages are missing: {' '.join(missing)}. `tests/lab/install` installs them.")
    check_kernel()


def check_kernel() -> None:
    """What no package brings. Asked before any is installed, too: links are left out while `ip` is not there."""
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    script = f"{LINKS_TRIAL} && {KERNEL_TRIAL}" if shutil.which("ip") else KERNEL_TRIAL
    trial = [unshare, "--net", "--mount", "--uts", "--pid", "--fork", "/bin/sh", "-c", script]
    done = subprocess.run(trial, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"code {done.returncode}"
        raise NeedError(
            "This kernel, or the container around it, doesn't let the lab make namespaces with veth links, bridges and "
            f"mounts of their own ({said}): run it on a machine or virtual machine where root may."
        )
    if not Path("/dev/loop-control").exists():
        raise NeedError("/dev/loop-control is missing, which the hosts' disks need: load the kernel's `loop` module.")
    if not Path("/dev/net/tun").exists():
        raise NeedError("/dev/net/tun is missing, which QEMU needs for network cards: load the kernel's `tun` module.")
