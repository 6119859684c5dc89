# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images in the pools of real hosts: brought in once, looked at first, complete or not there."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import typing as t
from pathlib import Path

import pytest
from tests.support.lab_names import lab_name

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
LAB_NAME = lab_name("images")
CODE = Path("/var/lib/flotilla-lab") / LAB_NAME / "code"
STATE = "/var/lib/flotilla"
MIB = 1024**2


def lab(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        [str(ROOT / "tests/lab/lab"), *arguments],
        env={**os.environ, "FLOTILLA_LAB": LAB_NAME},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def controller() -> Iterator[str]:
    """A lab with a pool that both hosts share; the controller's address in it."""
    lab("down", check=False)
    lab("up", "--hosts", "2", "--shared")
    # The checkout may lie in a folder that hosts have of their own (/root, /tmp): they get a copy of the code.
    ours, ansible = "ansible_collections/flotilla/compute/plugins", Path(sysconfig.get_path("purelib")) / "ansible"
    for part in ("module_utils", "modules"):
        shutil.copytree(ROOT / "collection/plugins" / part, CODE / ours / part)
    for part in ("module_utils", "_vendor"):
        shutil.copytree(ansible / part, CODE / "ansible" / part)
    for file in (ansible / "__init__.py", ansible / "release.py"):
        shutil.copy(file, CODE / "ansible")
    shutil.copy(ROOT / "tests/host/run_image.py", CODE)
    network: str = json.loads(lab("status", "--json"))["host_network"]
    yield network.partition("/")[0].rpartition(".")[0] + ".1"
    lab("down")


@pytest.fixture
def pool(controller: str) -> Iterator[Callable[[str], set[str]]]:
    """The volumes of a pool on kvm1; none are there before and after a test."""

    def volumes(name: str = "local", host: str = "kvm1") -> set[str]:
        lab("exec", host, "virsh", "pool-refresh", name)
        lines = lab("exec", host, "virsh", "vol-list", name).splitlines()[2:]
        return {line.split()[0] for line in lines if line.strip()}

    yield volumes
    for name in ("local", "shared"):
        for volume in volumes(name):
            lab("exec", "kvm1", "virsh", "vol-delete", "--pool", name, volume)
    for host in ("kvm1", "kvm2"):
        assert lab("exec", host, "sh", "-c", f"ls -A {STATE}/images 2>/dev/null || true") == ""


@dataclasses.dataclass
class Site:
    """A web server that holds back the rest of ``/slow`` until ``gate`` is set, and counts what it is asked for."""

    url: str
    folder: Path
    gate: threading.Event
    asked: list[str]
    held: threading.Event

    def image(self, name: str, content: bytes, *, format: str = "raw", path: str = "") -> dict[str, t.Any]:  # noqa: A002
        (self.folder / name).write_bytes(content)
        checksum = "sha256:" + hashlib.sha256(content).hexdigest()
        return {"name": name, "url": f"{self.url}/{path}{name}", "checksum": checksum, "format": format}


@pytest.fixture
def site(controller: str, tmp_path: Path) -> Iterator[Site]:
    gate, held, asked = threading.Event(), threading.Event(), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            kind, _slash, name = self.path.lstrip("/").rpartition("/")
            if kind == "redirect-to-file":
                self.send_response(302)
                self.send_header("Location", "file:///etc/passwd")
                self.end_headers()
                return
            content = (tmp_path / name).read_bytes() if (tmp_path / name).is_file() else None
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            if kind != "no-length":
                self.send_header("Content-Length", str(len(content) + (1000 if kind == "short" else 0)))
            self.end_headers()
            half = len(content) // 2
            self.wfile.write(content[:half])
            if kind == "slow":
                held.set()
                gate.wait(60)
            self.wfile.write(content[half:])

        def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer((controller, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Site(f"http://{controller}:{server.server_port}", tmp_path, gate, asked, held)
    gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


def start(host: str = "kvm1", **arguments: t.Any) -> subprocess.Popen[str]:
    command = [
        "env",
        f"PYTHONPATH={CODE}",
        "/usr/bin/python3",
        f"{CODE}/run_image.py",
        json.dumps(arguments),
    ]
    return subprocess.Popen(
        [str(ROOT / "tests/lab/lab"), "exec", host, *command],
        env={**os.environ, "FLOTILLA_LAB": LAB_NAME},
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> dict[str, t.Any]:
    out, _err = process.communicate(timeout=120)
    return t.cast("dict[str, t.Any]", json.loads(out.splitlines()[-1]))


def image(host: str = "kvm1", **arguments: t.Any) -> dict[str, t.Any]:
    return end(start(host, **arguments))


def until(reached: Callable[[], t.Any], what: str, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.05)


def names(arguments: dict[str, t.Any]) -> set[str]:
    volume = "image-" + arguments["checksum"].partition(":")[2]
    return {volume, f"{volume}.ok"}


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def qcow2(tmp_path: Path) -> bytes:
    qemu_img("create", "-f", "qcow2", tmp_path / "made.qcow2", "1G")
    return (tmp_path / "made.qcow2").read_bytes()


def test_an_image_is_brought_in_once(site: Site, pool: Callable[..., set[str]], qcow2: bytes) -> None:
    wanted = site.image("debian", qcow2, format="qcow2")
    assert image(**wanted, check_mode=True) == {"changed": True}
    assert site.asked == []

    first = image(**wanted)
    assert first["changed"] is True
    assert first["image"]["virtual_size"] == 1024**3
    assert first["image"]["complete"] is True
    assert pool() == names(wanted)
    volume = "image-" + wanted["checksum"].partition(":")[2]
    stored = lab("exec", "kvm1", "sha256sum", f"/var/lib/libvirt/pools/local/{volume}")
    assert stored.split()[0] == wanted["checksum"].partition(":")[2]

    second = image(**wanted)
    assert (second["changed"], second["image"]) == (False, first["image"])
    assert site.asked == ["/debian"]


def test_a_raw_image_keeps_its_size(site: Site, pool: Callable[..., set[str]]) -> None:
    wanted = site.image("disk", os.urandom(3 * MIB + 512))
    assert image(**wanted)["image"]["virtual_size"] == 3 * MIB + 512
    assert pool() == names(wanted)


def test_two_at_a_time_fetch_once(site: Site, pool: Callable[..., set[str]]) -> None:
    wanted = site.image("disk", os.urandom(8 * MIB), path="slow/")
    first = start(**wanted)
    assert site.held.wait(30)
    second = start(**wanted)
    site.gate.set()
    assert sorted(end(process)["changed"] for process in (first, second)) == [False, True]
    assert site.asked == ["/slow/disk"]
    assert pool() == names(wanted)


def test_two_hosts_that_share_a_pool_fetch_once(site: Site, pool: Callable[..., set[str]]) -> None:
    wanted = {**site.image("disk", os.urandom(8 * MIB), path="slow/"), "pool": "shared"}
    first = start("kvm1", **wanted)
    assert site.held.wait(30)
    until(lambda: pool("shared"), "the volume of kvm1")
    second = start("kvm2", **wanted)
    lock = f"{STATE}/locks/image-{wanted['checksum'].partition(':')[2]}"
    until(lambda: lab("exec", "kvm2", "sh", "-c", f"ls {lock} 2>/dev/null || true"), "kvm2 to begin")
    site.gate.set()
    assert end(first)["changed"] is True
    assert end(second)["changed"] is False
    assert site.asked == ["/slow/disk"]
    assert pool("shared") == pool("shared", "kvm2") == names(wanted)


def test_what_a_dead_host_began_in_a_shared_pool_is_done_again(site: Site, pool: Callable[..., set[str]]) -> None:
    wanted = {**site.image("disk", os.urandom(MIB)), "pool": "shared"}
    volume = "image-" + wanted["checksum"].partition(":")[2]
    lab("exec", "kvm1", "virsh", "vol-create-as", "shared", volume, str(MIB), "--allocation", "0")
    begin = time.monotonic()
    assert image("kvm2", **wanted, lease=2)["changed"] is True
    assert time.monotonic() - begin >= 2
    assert pool("shared") == names(wanted)


def test_a_fetch_that_was_killed_is_done_again_at_once(site: Site, pool: Callable[..., set[str]]) -> None:
    wanted = site.image("disk", os.urandom(16 * MIB), path="slow/")
    process = start(**wanted)
    assert process.stdout
    pid = process.stdout.readline().strip()
    assert site.held.wait(30)
    until(lambda: pool(), "the volume")
    lab("exec", "kvm1", "kill", "-9", pid)
    process.communicate(timeout=30)
    assert pool() == names(wanted) - {max(names(wanted), key=len)}, "half of an image must not be marked complete"

    site.gate.set()
    begin = time.monotonic()
    again = image(**wanted)
    assert again["changed"] is True
    assert time.monotonic() - begin < 20, "what this host has left needs no waiting"
    assert pool() == names(wanted)


def test_a_volume_without_its_mark_is_not_taken_for_an_image(site: Site, pool: Callable[..., set[str]]) -> None:
    wanted = site.image("disk", os.urandom(MIB))
    image(**wanted)
    mark = max(names(wanted), key=len)
    lab("exec", "kvm1", "virsh", "vol-delete", "--pool", "local", mark)
    assert image(**wanted, lease=1)["changed"] is True
    assert pool() == names(wanted)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nothing/", "can't be fetched: HTTP 404"),
        ("no-length/disk", "doesn't say how long the image is"),
        ("short/disk", "bytes before its size of"),
        ("redirect-to-file/disk", "can't be fetched"),
    ],
)
def test_a_source_that_fails_leaves_nothing(
    site: Site, pool: Callable[..., set[str]], path: str, sentence: str
) -> None:
    wanted = site.image("disk", os.urandom(MIB))
    result = image(**{**wanted, "url": f"{site.url}/{path}"})
    assert result["failed"]
    assert sentence in result["msg"]
    assert pool() == set()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://user:hunter2@{controller}:1/disk?token=hunter2", "Connection refused"),
        ("ftp://user:hunter2@{controller}/disk", "must begin with http://"),
        ("file:///no/such/file", "No such file or directory"),
        ("http://", "must begin with http://"),
    ],
)
def test_a_url_that_fails_is_told_without_its_password(
    controller: str, pool: Callable[..., set[str]], url: str, sentence: str
) -> None:
    result = image(name="x", checksum="sha256:" + "0" * 64, url=url.format(controller=controller))
    assert sentence in result["msg"]
    assert "hunter2" not in result["msg"]
    assert pool() == set()


def test_another_checksum_is_refused(site: Site, pool: Callable[..., set[str]]) -> None:
    wanted = {**site.image("disk", os.urandom(MIB)), "checksum": "sha256:" + "0" * 64}
    result = image(**wanted)
    assert f"its checksum should be {wanted['checksum']}, the file has sha256:" in result["msg"]
    assert pool() == set()


@pytest.mark.parametrize(
    ("declared", "options", "sentence"),
    [
        ("qcow2", ("-f", "qcow2", "-b", "/etc/passwd", "-F", "raw"), "has a backing file"),
        ("qcow2", ("-f", "qcow2", "-o", "data_file={folder}/data"), "keeps its data in an external file"),
        ("raw", ("-f", "qcow2", "-b", "/etc/passwd", "-F", "raw"), "declared as 'raw', but the file is 'qcow2'"),
        ("raw", ("-f", "vmdk", "-o", "subformat=monolithicFlat"), "declared as 'raw', but the file is 'vmdk'"),
        ("qcow2", ("-f", "raw"), "declared as 'qcow2', but the file is 'raw'"),
        ("qcow2", ("-f", "vdi"), "declared as 'qcow2', but the file is 'vdi'"),
    ],
)
def test_a_hostile_image_is_refused(
    site: Site, pool: Callable[..., set[str]], tmp_path: Path, declared: str, options: tuple[str, ...], sentence: str
) -> None:
    file = tmp_path / "hostile"
    qemu_img("create", *(option.format(folder=tmp_path) for option in options), file, "1M")
    result = image(**site.image("image", file.read_bytes(), format=declared))
    assert sentence in result["msg"]
    assert pool() == set()


@pytest.fixture
def small_pool() -> Iterator[str]:
    """A pool of 8 MiB on kvm1."""
    folder = "/var/lib/libvirt/pools/small"
    lab("exec", "kvm1", "sh", "-c", f"mkdir -p {folder} && mount -t tmpfs -o size=8m tmpfs {folder}")
    lab("exec", "kvm1", "virsh", "pool-create-as", "small", "dir", "--target", folder)
    yield "small"
    lab("exec", "kvm1", "virsh", "pool-destroy", "small")
    lab("exec", "kvm1", "sh", "-c", f"umount {folder} && rmdir {folder}")


def test_a_pool_without_room_is_refused_before_anything_is_written(site: Site, pool: object, small_pool: str) -> None:
    result = image(**site.image("disk", os.urandom(9 * MIB)), pool=small_pool)
    assert "needs 9 MiB, and pool 'small' has 8 MiB free" in result["msg"]


def test_a_pool_that_fills_up_meanwhile_is_left_without_the_image(
    site: Site, pool: Callable[..., set[str]], small_pool: str
) -> None:
    process = start(**site.image("disk", os.urandom(6 * MIB), path="slow/"), pool=small_pool)
    assert site.held.wait(30)
    lab("exec", "kvm1", "sh", "-c", "dd if=/dev/zero of=/var/lib/libvirt/pools/small/other bs=64k 2>/dev/null || true")
    site.gate.set()
    result = end(process)
    assert "No space left on device" in result["msg"]
    assert "image 'disk' into pool 'small'" in result["msg"]
    assert pool(small_pool) == {"other"}


def test_an_image_that_something_stands_on_is_not_removed(
    site: Site, pool: Callable[..., set[str]], qcow2: bytes
) -> None:
    wanted = site.image("debian", qcow2, format="qcow2")
    volume = image(**wanted)["image"]["volume"]
    backing = ("--backing-vol", volume, "--backing-vol-format", "qcow2", "--format", "qcow2")
    lab("exec", "kvm1", "virsh", "vol-create-as", "local", "web1-root", "1G", *backing)
    refused = image(**wanted, state="absent")
    assert "in use in pool 'local' by volume 'web1-root'" in refused["msg"]

    domain = """<domain type='qemu'><name>web1</name><memory>65536</memory><os><type>hvm</type></os><devices>
    <disk type='file'><driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/pools/local/web1-root'/>
    <target dev='vda'/></disk></devices></domain>"""
    lab("exec", "kvm1", "sh", "-c", f'echo "{domain}" >/tmp/web1.xml && virsh define /tmp/web1.xml && rm /tmp/web1.xml')
    assert "domain 'web1', volume 'web1-root'" in image(**wanted, state="absent")["msg"]
    assert pool() == names(wanted) | {"web1-root"}

    lab("exec", "kvm1", "virsh", "undefine", "web1")
    lab("exec", "kvm1", "virsh", "vol-delete", "--pool", "local", "web1-root")
    assert image(**wanted, state="absent", check_mode=True) == {"changed": True}
    assert image(**wanted, state="absent") == {"changed": True}
    assert image(**wanted, state="absent") == {"changed": False}
    assert pool() == set()


def test_an_unknown_pool_is_named_with_those_that_are_there(controller: str) -> None:
    result = image(name="x", checksum="sha256:" + "0" * 64, url="http://example.org/x", pool="lokal")
    assert result["msg"] == "this host has no storage pool 'lokal' (it has: local, shared)"


def test_a_file_of_the_controller_is_sent_once_and_not_left_on_the_host(
    controller: str, pool: Callable[..., set[str]], qcow2: bytes, tmp_path: Path
) -> None:
    (tmp_path / "image.qcow2").write_bytes(qcow2)
    (tmp_path / "inventory.yml").write_text(lab("inventory"))
    checksum = "sha256:" + hashlib.sha256(qcow2).hexdigest()

    def play(**changes: str) -> subprocess.CompletedProcess[str]:
        arguments = {"name": "x", "src": f"{tmp_path}/image.qcow2", "checksum": checksum, **changes}
        playbook = [{"hosts": "kvm1", "gather_facts": False, "tasks": [{"flotilla.compute.image": arguments}]}]
        (tmp_path / "play.yml").write_text(json.dumps(playbook))
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.yml", "play.yml"]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    refused = play(format="raw")
    assert refused.returncode != 0
    assert "declared as 'raw', but the file is 'qcow2'" in refused.stdout + refused.stderr
    assert "changed=1" in play().stdout
    assert "changed=0" in play().stdout
    assert pool() == names({"checksum": checksum})
    assert lab("exec", "kvm1", "sh", "-c", "find ~/.ansible/tmp -name image 2>/dev/null || true") == ""
