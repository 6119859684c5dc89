# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A config drive as its readers see it: xorriso for the disc, cloud-init's own reader for what is on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import (
    Address,
    Flavor,
    Hardware,
    Image,
    Nic,
    Record,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._drive import config_drive
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._meta_data import Key, Personality
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import tree

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "debian"
# Only unpacked: installed, cloud-init would take this machine for a guest.
PACKAGES = ("cloud-init", "python3-configobj", "xorriso", "libisoburn1", "libburn4", "libisofs6", "libjte2")

READ = """
import json, sys
from cloudinit.sources.helpers import openstack
read = openstack.ConfigDriveReader(sys.argv[1]).read_v2()
links = read["networkdata"]["links"]
macs = {link["ethernet_mac_address"]: f"eth{index}" for index, link in enumerate(links)}
read["network"] = openstack.convert_net_json(read["networkdata"], known_macs=macs)
read["metadata"]["random_seed"] = len(read["metadata"]["random_seed"])
print(json.dumps({**read, "userdata": read["userdata"].decode()}))
"""


@pytest.fixture(scope="module")
def unpacked() -> Path:
    """The packages' files, fetched once."""
    folder = CACHE / "readers"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(
            ["apt-get", "download", "-qq", *PACKAGES], cwd=CACHE, capture_output=True, text=True, check=False
        )
        if fetched.returncode:
            pytest.fail(f"Debian's packages can't be fetched: {fetched.stderr.strip()}")
        for package in CACHE.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(CACHE / "unpacking")], check=True)
        (CACHE / "unpacking").rename(folder)
    return folder


@pytest.fixture
def drive() -> Personality:
    record = Record(
        id="5f0c1d8e-0f4e-4c0e-9d6b-6a1d3b0a7c11",
        name="Web_1",
        fleet_id="fleet",
        generation=1,
        spec={"metadata": {"role": "w\u00e9b \U0001f600"}},
        flavor=Flavor("m1.small", 1, 512, 10),
        image=Image("debian-12", "qcow2", "sha256:" + "0" * 64),
        disks=(),
        nics=(
            Nic(
                "lan",
                "bridge",
                "br0",
                "52:54:00:00:00:01",
                mtu=1450,
                addresses=(
                    Address("192.0.2.10", 24, gateway="192.0.2.1", dns=("192.0.2.2",)),
                    Address("2001:db8::10", 64, gateway="2001:db8::1"),
                ),
            ),
            Nic("wan", "bridge", "br1", "52:54:00:00:00:02"),
        ),
        hardware=Hardware(),
    )
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO6g4bLMvR1sCQaUnvqT8Yw7Kq8xzO2QkBsCq4y0x0Sf ops@example.org"
    return Personality(record, b"s" * 32, keys=(Key("ops", key),), user_data=b"#cloud-config\n")


@pytest.fixture
def read(unpacked: Path, drive: Personality, tmp_path: Path) -> dict[str, t.Any]:
    (tmp_path / "drive.iso").write_bytes(config_drive(drive))
    extract = ["-osirrox", "on", "-indev", str(tmp_path / "drive.iso"), "-extract", "/", str(tmp_path / "drive")]
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(unpacked / "usr/lib/x86_64-linux-gnu")}
    done = subprocess.run(
        [str(unpacked / "usr/bin/xorriso"), *extract], env=libraries, capture_output=True, text=True, check=True
    )
    assert "Volume id    : 'config-2'" in done.stderr
    modules = {**os.environ, "PYTHONPATH": str(unpacked / "usr/lib/python3/dist-packages")}
    command = [sys.executable, "-c", READ, str(tmp_path / "drive")]
    told = subprocess.run(command, env=modules, capture_output=True, text=True, check=True).stdout
    return t.cast("dict[str, t.Any]", json.loads(told))


def test_cloud_init_reads_the_drive(read: dict[str, t.Any]) -> None:
    metadata = read["metadata"]
    assert metadata["instance-id"] == "5f0c1d8e-0f4e-4c0e-9d6b-6a1d3b0a7c11"
    assert metadata["local-hostname"] == "web-1"
    assert metadata["meta"] == {"role": "w\u00e9b \U0001f600"}
    assert metadata["public_keys"]["ops"].endswith(" ops@example.org")
    assert metadata["random_seed"] == 512
    assert (read["userdata"], read["vendordata"]) == ("#cloud-config\n", {})


def test_cloud_init_makes_its_network_of_the_drive(read: dict[str, t.Any]) -> None:
    lan, wan, dns = read["network"]["config"]
    assert (lan["name"], lan["mac_address"], lan["mtu"]) == ("eth0", "52:54:00:00:00:01", 1450)
    assert [(subnet["type"], subnet["address"]) for subnet in lan["subnets"]] == [
        ("static", "192.0.2.10"),
        ("static6", "2001:db8::10"),
    ]
    assert [subnet["routes"][0]["gateway"] for subnet in lan["subnets"]] == ["192.0.2.1", "2001:db8::1"]
    assert [subnet["type"] for subnet in wan["subnets"]] == ["dhcp4"]
    assert (dns["type"], dns["address"]) == ("nameserver", "192.0.2.2")


def test_a_drive_of_vfat_is_the_disk_that_nova_makes(drive: Personality, tmp_path: Path) -> None:
    file = tmp_path / "drive"
    file.write_bytes(config_drive(drive, "vfat"))
    assert file.stat().st_size == 64 * 2**20
    assert file.read_bytes() == config_drive(drive, "vfat"), "the same input, and the clock has gone on"
    label = subprocess.run(["blkid", "-o", "export", str(file)], capture_output=True, text=True, check=True).stdout
    assert {"TYPE=vfat", "LABEL=config-2"} <= set(label.split())
    subprocess.run(["fsck.fat", "-n", str(file)], capture_output=True, check=True)
    out = tmp_path / "read"
    out.mkdir()
    subprocess.run(["mcopy", "-s", "-i", str(file), "::*", str(out)], check=True)
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert found == tree(drive)
