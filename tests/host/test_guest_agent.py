# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian's guest agent in the lab's guest: what it is asked in earnest, tests of the answers are in tests/libvirt."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from tests.host.guests import HostUnderTest, console_of, create, host, nothing_stays, ok, ok_results, step, virsh
from tests.host.partition import check_file_system, with_partition
from tests.host.test_saving import PLAIN, of, snapshot_step
from tests.support.lab_hosts import until

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Image, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.snapshot import Snapshot

__all__ = ["host", "nothing_stays"]  # fixtures

PACKAGE = "qemu-guest-agent"
LIBRARIES = Path("lib/x86_64-linux-gnu")
#: What PAM needs to set a password, and no more.
FILES = {
    "etc/pam.d/chpasswd": "password required pam_unix.so sha512\n",
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "passwd: files\nshadow: files\ngroup: files\n",
    "etc/login.defs": "",
}

#: Starts the agent in the second partition, and says each second what root's password is stored as.
_RUNS = """#!/bin/sh
# flotilla-guest: run
PATH=/bin
busybox mkdir /root
mount -t ext4 /dev/vda2 /root
mount -t devtmpfs dev /root/dev
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t tmpfs run /root/run
for port in /sys/class/virtio-ports/*; do
    [ "$(cat $port/name)" != org.qemu.guest_agent.0 ] || channel=/dev/${port##*/}
done
PATH=/sbin busybox chroot /root /sbin/qemu-ga -m virtio-serial -p "$channel" -t /run &
while :; do
    echo "shadow $(cat /root/etc/shadow)"
    sleep 1
done
"""


@pytest.fixture(scope="module")
def agent_image(host: HostUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The guest's image with Debian's agent, and chpasswd, which the agent calls."""
    downloaded, root = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("root")
    downloaded.chmod(0o777)  # apt downloads as a user of its own
    subprocess.run(["apt-get", "-q", "download", PACKAGE], check=True, cwd=downloaded, capture_output=True)
    (package,) = downloaded.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", str(package), str(downloaded / "x")], check=True)
    for folder in ("sbin", "lib64", "dev", "proc", "sys", "run", "tmp", "etc/pam.d", str(LIBRARIES / "security")):
        (root / folder).mkdir(parents=True)
    programs = {
        downloaded / "x/usr/sbin/qemu-ga": root / "sbin/qemu-ga",
        Path("/usr/sbin/chpasswd"): root / "sbin/chpasswd",
        Path("/usr/sbin/hwclock"): root / "sbin/hwclock",  # without, the agent sets no clock
        "/" / LIBRARIES / "security/pam_unix.so": root / LIBRARIES / "security/pam_unix.so",
    }
    for source, target in programs.items():
        _copy(source, target)
        for library in re.findall(r"=> (/\S+)", _ran("ldd", str(source))):
            _copy(Path(library), root / LIBRARIES / Path(library).name)
    _copy(Path("/lib64/ld-linux-x86-64.so.2"), root / "lib64/ld-linux-x86-64.so.2")
    for name, content in FILES.items():
        (root / name).write_text(content)
    return with_partition(host, "agent", root)


def _copy(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes())
    target.chmod(0o755)


def _ran(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def record(host: HostUnderTest, agent_image: Image) -> Record:
    """A server whose agent answers."""
    fresh = host.new("web1", flavor=PLAIN)
    root = dataclasses.replace(fresh.root, backing=agent_image.volume)
    disks = tuple(root if disk.role == "root" else disk for disk in fresh.disks)
    record = dataclasses.replace(fresh, image=agent_image, disks=disks)
    steps = (create(record), step("start", record, 1), step("wait_agent", record, 1, timeout=120))
    done = ok_results(host.run(*steps, record=record, user_data=_RUNS))
    assert (done[-1]["changed"], done[-1]["message"]) == (False, "its guest agent answers")
    return Record.from_json(done[0]["record"])


@pytest.mark.soak
def test_a_guest_says_its_name_and_addresses(host: HostUnderTest, record: Record) -> None:
    (server,) = host.ask("look", with_agent=True)["servers"]
    assert server["agent"] is True
    assert server["guest"] == {"hostname": "web1", "addresses": ["10.214.9.21"]}


@pytest.mark.soak
def test_a_password_is_set_by_the_guests_own_chpasswd(host: HostUnderTest, record: Record) -> None:
    host.console(record, r"shadow root:\*:")
    wanted = "correct horse: battery"
    setting = step("set_password", record, 1, options={"user": "root"})
    done = host.run(setting, secrets={record.id: {"password": wanted}})
    assert ok(done) == [("set_password", True, "running")]
    assert wanted not in str(done)
    salt, kept = host.console(record, r"shadow root:\$6\$([^$]+)\$([^:]+):").groups()
    assert _ran("openssl", "passwd", "-6", "-salt", salt, wanted).strip() == f"$6${salt}${kept}"
    unknown = host.run(step("set_password", record, 1, options={"user": "nobody-at-all"}), secrets={record.id: _ANY})
    assert "Failed to set admin password on" in str(unknown[-1]["message"])


_ANY: t.Final = {"password": "any"}


@pytest.mark.soak
@pytest.mark.parametrize(("down", "up"), [("pause", "unpause"), ("suspend", "resume")])
def test_a_guest_that_stood_still_is_told_the_time(host: HostUnderTest, record: Record, down: str, up: str) -> None:
    def slow_by() -> float:
        """Seconds, by what its agent says."""
        return time.time() - int(re.findall(r"\d+", virsh("domtime", record.id))[-1])

    assert abs(slow_by()) < 10
    ok(host.run(step(down, record, 1)))
    since = time.time()
    until(lambda: time.time() > since + 20, "the guest to have stood still")
    ok(host.run(step(up, record, 1)))
    assert abs(slow_by()) < 10


@pytest.mark.soak
def test_file_systems_are_frozen_for_a_snapshot_and_thawed(host: HostUnderTest, record: Record) -> None:
    strict = dataclasses.replace(record.image, properties={**record.image.properties, "os_require_quiesce": "yes"})
    second = dataclasses.replace(record, generation=2, image=strict)
    ok(host.run(step("update", record, 1, to=second)))
    done = ok_results(host.run(snapshot_step(second, of(second, "frozen"))))
    assert done[0]["told"]["consistency"] == "file systems frozen"
    check_file_system(host, Snapshot.from_json(done[0]["told"]["snapshot"]))
    # It writes again: the agent itself answers, and so does a file system that is written to.
    done = host.run(step("set_password", second, 2, options={"user": "root"}), secrets={record.id: _ANY})
    assert ok(done) == [("set_password", True, "running")]
    host.console(record, r"shadow root:\$6\$")
    assert "frozen" not in console_of(record.id)
    host.ask("remove_snapshots")
