# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest as people have them: Debian with its own cloud-init, on a disk that syslinux boots.

Nothing in it knows the lab: it is told by cloud-init's datasources alone who it is. Built once and kept in the cache,
named by its inputs. Nothing is mounted and no loop device is used, as for the lab's own image.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import subprocess
import tempfile
import typing as t
from pathlib import Path

from tests.support.fleet import Fleet
from tests.support.login import Login, new_key

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "debian"
MBR_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
SUITE = "bookworm"
#: isc-dhcp-client: cloud-init asks by it for an address to ask the metadata service from. net-tools: ifupdown sets
#: cloud-init's routes by its `route`. zstd: an initrd that is unpacked quickly.
#: qemu-guest-agent: udev starts it where the machine has its channel.
#: dnsmasq-base, nftables, nginx and python3-libvirt: a guest can play a compute host with the metadata service.
PACKAGES = (
    "cloud-init",
    "dnsmasq-base",
    "ifupdown",
    "init",
    "iproute2",
    "isc-dhcp-client",
    "linux-image-cloud-amd64",
    "net-tools",
    "netbase",
    "nftables",
    "nginx",
    "openssh-server",
    "python3-libvirt",
    "qemu-guest-agent",
    "sudo",
    "udev",
    "zstd",
)
_SECTOR = 512
_BOOT = (2048, 128 * 2048)  # begin and length in sectors: FAT with kernel, initrd and syslinux
_ROOT_BEGIN = _BOOT[0] + _BOOT[1]
#: Those that cost seconds under emulation are off, as in the lab's own image.
_KERNEL_ARGUMENTS = (
    "console=ttyS0,115200 root=/dev/vda2 ro quiet net.ifnames=0 fsck.mode=skip no_timer_check acpi=noirq nokaslr "
    "mitigations=off tsc=reliable 8250.nr_uarts=1 random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1"
)
_BOOT_CONFIG = (
    f"DEFAULT debian\nPROMPT 0\nLABEL debian\n  LINUX vmlinuz\n  INITRD initrd\n  APPEND {_KERNEL_ARGUMENTS}\n"
)
#: As in Debian's own images for clouds: without the locale cloud-init would have one made, without a name server's
#: address it waits for none.
_FILES = {
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/fstab": "/dev/vda2 / ext4 errors=remount-ro 0 0\n",
    "etc/hostname": "localhost\n",
    "etc/machine-id": "",
    "etc/network/interfaces": "auto lo\niface lo inet loopback\nsource /etc/network/interfaces.d/*\n",
    "etc/resolv.conf": "",
}


#: Under emulation a first boot takes a minute or two, more where others are at work.
BOOTS_WITHIN = 900


class Variant(t.NamedTuple):
    """What an image has beside PACKAGES; ``offers``: what else apt can install in it without a network, from
    /srv/packages. ``mib``: the size of the root file system."""

    packages: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    mib: int = 1024

    @property
    def root(self) -> tuple[int, int]:
        return (_ROOT_BEGIN, self.mib * 2048)


PLAIN = Variant()


def declare(fleet: Fleet, name: str, folder: Path, *, variant: Variant = PLAIN, **variables: t.Any) -> Login:
    """A server of this image with a fixed address in the network lan, and how to log in to it as the user debian."""
    image = build(variant)
    checksum = image.with_suffix(".sha256").read_text().split()[0]
    fleet.all["fleet_images"]["debian"] = {"file": str(image), "format": "qcow2", "checksum": f"sha256:{checksum}"}
    fleet.all["fleet_flavors"]["debian"] = {"vcpus": 1, "ram": 512, "disk": 2}
    fleet.all["fleet_keypairs"] = {"ops": {"public_key": new_key(folder)}}
    address = f"{fleet.all['fleet_networks']['lan']['cidr'].rpartition('.')[0]}.31"
    port = {"network": "lan", "fixed_ip": address}
    fleet.declare(name, host="kvm1", image="debian", flavor="debian", key_name="ops", networks=[port], **variables)
    return Login(folder, address)


def build(variant: Variant = PLAIN) -> Path:
    """The image, a qcow2 file with its checksum beside it (.sha256)."""
    CACHE.mkdir(parents=True, exist_ok=True)
    inputs = hashlib.sha256(Path(__file__).read_bytes() + repr(variant).encode()).hexdigest()[:12]
    image = CACHE / f"guest-{inputs}.qcow2"
    with open(CACHE / "guest.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            _build(image, variant)
    return image


def _build(image: Path, variant: Variant) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building.") as name:
        folder = Path(name)
        folder.chmod(0o755)  # apt works as a user of its own
        root, disk, fresh = folder / "root", folder / "disk.raw", folder / image.name
        settings = folder / "apt.conf"
        settings.write_text(_apt_settings())
        include = ",".join((*PACKAGES, *variant.packages))
        system = ["--mode=root", "--variant=minbase", f"--include={include}", f"--aptopt={settings}"]
        if variant.offers:
            fetch = f"apt-get --yes --download-only install {' '.join(variant.offers)}"
            system += [f'--customize-hook=APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" {fetch}']
            system += [
                '--customize-hook=mkdir "$1/srv/packages"; mv "$1"/var/cache/apt/archives/*.deb "$1/srv/packages"'
            ]
        _run("mmdebstrap", *system, SUITE, str(root))
        if variant.offers:
            _offer(root, "srv/packages")
        for path, content in _FILES.items():
            (root / path).write_text(content)
        for key in (root / "etc/ssh").glob("ssh_host_*"):
            key.unlink()  # each guest makes its own
        (root / "etc/systemd/system/multi-user.target.wants/nginx.service").unlink()
        _make_disk(disk, root, variant.root)
        _run("qemu-img", "convert", "-c", "-O", "qcow2", str(disk), str(fresh))
        digest = hashlib.sha256(fresh.read_bytes()).hexdigest()
        image.with_suffix(".sha256").write_text(f"{digest}  {image.name}\n")
        os.replace(fresh, image)


def _offer(root: Path, folder: str) -> None:
    """Packages in a folder as the only ones that apt knows of."""
    entries = []
    for file in sorted((root / folder).glob("*.deb")):
        data = file.read_bytes()
        said = _run("dpkg-deb", "--field", str(file))
        digest = hashlib.sha256(data).hexdigest()
        entries.append(f"{said}Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {digest}\n")
    (root / folder / "Packages").write_text("\n".join(entries))
    for source in (root / "etc/apt").glob("sources.list*/*"):
        source.unlink()
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:/{folder} ./\n")


def _apt_settings() -> str:
    """How this machine gets packages: proxies, and what its mirrors need."""
    lines = _run("apt-config", "dump").splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("Acquire::"))


def _make_disk(disk: Path, root: Path, system: tuple[int, int]) -> None:
    far = b"\xfe\xff\xff"
    entries = [(0x80, 0x0E, _BOOT), (0, 0x83, system)]
    with open(disk, "wb") as file:
        file.truncate(sum(system) * _SECTOR)
        file.write(MBR_CODE.read_bytes()[:440].ljust(446, b"\0"))
        file.writelines(struct.pack("<B3sB3sII", active, far, kind, far, *place) for active, kind, place in entries)
        file.write(bytes(32) + b"\x55\xaa")
    partition = f"{disk}@@{_BOOT[0] * _SECTOR}"
    _run("mformat", "-i", partition, "-T", str(_BOOT[1]), "-h", "64", "-s", "32", "-H", str(_BOOT[0]), "::")
    config = disk.with_name("syslinux.cfg")
    config.write_text(_BOOT_CONFIG)
    (kernel,), (initrd,) = root.glob("boot/vmlinuz-*"), root.glob("boot/initrd.img-*")
    for source, target in ((kernel, "vmlinuz"), (initrd, "initrd"), (config, "syslinux.cfg")):
        _run("mcopy", "-i", partition, str(source), f"::{target}")
    _run("syslinux", "--install", "--offset", str(_BOOT[0] * _SECTOR), str(disk))
    content = ("-d", str(root), "-E", f"offset={system[0] * _SECTOR}")
    _run("mkfs.ext4", "-q", "-F", *content, str(disk), f"{system[1] // 2}k")


def _run(*command: str) -> str:
    env = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
    return done.stdout
