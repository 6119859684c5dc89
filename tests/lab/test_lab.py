# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: what it starts, what its faults do, and that nothing of it stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from tests.support.lab_names import lab_name

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._drive import iso_of

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAB = Path(__file__).with_name("lab")
CACHE = Path("/var/lib/flotilla-lab/cache")
LOCAL_POOL = "/var/lib/libvirt/pools/local"
SERVER_ID = "5f0c1d8e-0f4e-4c0e-9d6b-6a1d3b0a7c11"
MAC = "52:54:00:00:00:21"

DOMAIN = """\
<domain type='qemu'>
  <name>web1</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os><type machine='{machine}'>hvm</type></os>
  <features><acpi/></features>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='{pool}/root'/><target dev='vda' bus='virtio'/><boot order='1'/>
    </disk>
    <disk type='file' device='{drive}'>
      <driver name='qemu' type='raw'/><source file='{pool}/config'/><target dev='{dev}' bus='{bus}'/><readonly/>
    </disk>
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <interface type='bridge'><source bridge='br0'/><mac address='{mac}'/><model type='virtio'/></interface>
    <serial type='pty'><log file='/var/log/libvirt/qemu/{uuid}.console.log' append='off'/></serial>
  </devices>
</domain>
"""


class LabCommand:
    """`lab` of one name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "FLOTILLA_LAB": self.name}
        return subprocess.run(
            [str(LAB), *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def ok(self, *arguments: str, stdin: str = "") -> str:
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def facts(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(self.ok("status", "--json")))

    def host(self, name: str) -> dict[str, str]:
        return t.cast("dict[str, str]", self.facts()["hosts"][name])

    def virsh(self, host: str, *arguments: str) -> str:
        return self.ok("exec", host, "virsh", "-c", "qemu:///system", *arguments)

    def ssh(self, host: str, *command: str) -> subprocess.CompletedProcess[str]:
        config = f"/var/lib/flotilla-lab/{self.name}/ssh/config"
        options = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=2")
        return subprocess.run(
            ["ssh", "-F", config, *options, host, *command], capture_output=True, text=True, check=False, timeout=30
        )


def traces_of(name: str) -> dict[str, list[str]]:
    """All that a lab of this name leaves on the machine while it is there."""
    folder = f"/var/lib/flotilla-lab/{name}"
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    netns = Path("/run/netns")
    commands = {file: _command_line(file) for file in Path("/proc").glob("[0-9]*/cmdline")}
    return {
        "namespaces": [entry.name for entry in netns.glob(f"{name}-*")] if netns.is_dir() else [],
        "links": [link["ifname"] for link in links if link["ifname"].startswith(f"{name}-")],
        "processes": [command for command in commands.values() if f"{folder}/" in command],
        "mounts": [
            line for line in Path("/proc/self/mounts").read_text().splitlines() if f"{name}-" in line or folder in line
        ],
        "folders": [folder] if os.path.lexists(folder) else [],
    }


def _command_line(file: Path) -> str:
    try:
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def mounts() -> list[str]:
    """What is mounted on the machine; not what labs of other tests mount and unmount meanwhile."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if "/flotilla-lab/" not in line and "/netns/" not in line]


def processes_of(name: str) -> dict[str, str]:
    """Whatever runs in the networks of a lab, daemons and guests too that don't bear its name: its pid and start."""
    spaces = {f"net:[{entry.stat().st_ino}]" for entry in Path("/run/netns").glob(f"{name}-*")}
    found = {}
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):  # the process has gone, or is none of ours to look into
            if os.readlink(link) in spaces:
                found[link.parts[2]] = _start_of(link.parts[2])
    return {pid: start for pid, start in found.items() if start}


def _start_of(pid: str) -> str:
    """When a process began, which tells it from a later one of its number; nothing for one that has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state == "Z" else fields[18]


def alive(processes: dict[str, str]) -> list[str]:
    return [pid for pid, start in processes.items() if _start_of(pid) == start]


def until(reached: Callable[[], bool], what: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not reached():
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabCommand]:
    command = LabCommand(lab_name("labtest"))
    command("down")
    command.ok("up", "--hosts", "2")
    yield command
    command.ok("down")


@pytest.fixture
def whole(lab: LabCommand) -> LabCommand:
    """The lab with all hosts on, joined, their daemons running, whatever the test before did."""
    for host, facts in lab.facts()["hosts"].items():
        if facts["link"] == "cut":
            lab.ok("join", host)
        if facts["power"] == "off":
            lab.ok("power", "on", host)
        elif facts["libvirtd"] != "runs":
            lab.ok("restart", host)
    return lab


@pytest.fixture
def other_name() -> Iterator[str]:
    name = lab_name("other")
    LabCommand(name)("down")
    yield name
    LabCommand(name)("down")


def make_guest(
    lab: LabCommand, *, machine: str = "pc", drive: str = "cdrom", dev: str = "sda", bus: str = "scsi"
) -> None:
    network = lab.facts()["guest_network"].rpartition(".")[0]
    pool = Path(f"/var/lib/flotilla-lab/{lab.name}/hosts/kvm1/tree{LOCAL_POOL}")
    image = (CACHE / "tick.qcow2").resolve()
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, pool / "root", "64M"], check=True
    )
    (pool / "config").write_bytes(iso_of(config_files(network)))
    xml = DOMAIN.format(uuid=SERVER_ID, mac=MAC, pool=LOCAL_POOL, machine=machine, drive=drive, dev=dev, bus=bus)
    lab.ok("exec", "kvm1", "virsh", "-c", "qemu:///system", "define", "/dev/stdin", stdin=xml)


def config_files(network: str) -> dict[str, bytes]:
    meta_data = {"uuid": SERVER_ID, "hostname": "web1", "name": "web1", "meta": {"role": 'a "quoted", {odd} one'}}
    route = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": f"{network}.1"}
    address = {"type": "ipv4", "ip_address": f"{network}.21", "netmask": "255.255.255.0", "routes": [route]}
    address6 = {"type": "ipv6", "ip_address": "fd00::21", "netmask": "ffff:ffff:ffff:ffff::", "routes": []}
    network_data = {
        "links": [{"id": "interface0", "type": "phy", "ethernet_mac_address": MAC, "mtu": 1500}],
        "networks": [
            {"id": "network0", "link": "interface0", **address},
            {"id": "network1", "link": "interface0", **address6},
        ],
        "services": [],
    }
    latest = "openstack/latest"
    return {
        f"{latest}/meta_data.json": json.dumps(meta_data).encode(),
        f"{latest}/network_data.json": json.dumps(network_data).encode(),
    }


@pytest.fixture
def guest(whole: LabCommand) -> Iterator[LabCommand]:
    """A lab in whose kvm1 the guest `web1` runs and ticks."""
    make_guest(whole)
    whole.virsh("kvm1", "start", "web1")
    until(lambda: ticks(whole) > 0, "the guest's first tick")
    yield whole
    if whole.host("kvm1")["power"] == "off":
        whole.ok("power", "on", "kvm1")
    whole("exec", "kvm1", "virsh", "destroy", "web1")
    whole.virsh("kvm1", "undefine", "web1")
    whole.ok("exec", "kvm1", "rm", "-f", f"{LOCAL_POOL}/root", f"{LOCAL_POOL}/config")


def ticks(lab: LabCommand) -> int:
    """Read from the log itself: on two cores a poll by command would slow the very boot that it waits for."""
    log = Path(f"/var/lib/flotilla-lab/{lab.name}/hosts/kvm1/tree/var/log/libvirt/qemu/{SERVER_ID}.console.log")
    return log.read_text().count("\ntick ") if log.exists() else 0


def answers(address: str) -> bool:
    return (
        subprocess.run(["busybox", "ping", "-c", "1", "-W", "1", address], capture_output=True, check=False).returncode
        == 0
    )


def test_up_again_is_a_no_op_and_another_size_is_refused(whole: LabCommand) -> None:
    assert "already up: kvm1, kvm2" in whole.ok("up", "--hosts", "2")
    refused = whole("up", "--hosts", "3")
    assert refused.returncode == 1
    assert "up with 2 hosts, not 3" in refused.stderr


def test_hosts_are_reached_by_ssh_as_the_inventory_says(whole: LabCommand) -> None:
    for host in ("kvm1", "kvm2"):
        assert whole.ssh(host, "hostname").stdout == f"{host}\n"
    assert f"ansible_host: {whole.host('kvm1')['address']}" in whole.ok("inventory")


def test_each_host_has_both_pools_and_an_identity_of_its_own(whole: LabCommand) -> None:
    for host in ("kvm1", "kvm2"):
        for option in ("--autostart", "--persistent"):
            assert whole.virsh(host, "pool-list", option, "--name").split() == ["local", "shared"]
    capabilities = [whole.virsh(host, "capabilities") for host in ("kvm1", "kvm2")]
    uuids = {text.partition("<uuid>")[2].partition("<")[0] for text in capabilities}
    assert len(uuids) == 2
    assert all("<domain type='qemu'/>" in text and "<domain type='kvm'/>" not in text for text in capabilities)


def test_the_shared_pool_is_one_folder_and_the_local_one_is_not(whole: LabCommand) -> None:
    for pool in ("local", "shared"):
        whole.virsh("kvm1", "vol-create-as", pool, "seen", "1M")
        whole.virsh("kvm2", "pool-refresh", pool)
    assert "seen" in whole.virsh("kvm2", "vol-list", "shared")
    assert "seen" not in whole.virsh("kvm2", "vol-list", "local")
    for pool in ("local", "shared"):
        whole.virsh("kvm1", "vol-delete", "seen", pool)


def test_a_host_reaches_the_libvirt_of_another_by_name(whole: LabCommand) -> None:
    assert whole.ok("exec", "kvm1", "virsh", "-c", "qemu+tcp://kvm2/system", "hostname").strip() == "kvm2"


def test_power_speaks_the_fence_protocol(whole: LabCommand) -> None:
    assert whole("power", stdin="action=status\nplug=kvm2\n").returncode == 0
    assert whole("power", stdin="# by a cluster\naction=off\nport=kvm2\n").returncode == 0
    assert whole("power", stdin="action=status\nplug=kvm2\n").returncode == 2
    assert whole.host("kvm2") | {"power": "off", "libvirtd": "-", "sshd": "-"} == whole.host("kvm2")
    assert not answers(whole.host("kvm2")["address"])
    assert whole("power", stdin="action=on\nplug=kvm2\n").returncode == 0
    assert whole("power", stdin="action=status\nplug=kvm2\n").returncode == 0
    assert whole.ok("power", stdin="action=list\n") == "kvm1,\nkvm2,\n"
    assert "<resource-agent" in whole.ok("power", stdin="action=metadata\n")
    assert whole("power", stdin="action=status\nplug=kvm9\n").returncode == 1
    assert whole("power", stdin="action=explode\nplug=kvm2\n").returncode == 1


def test_a_host_that_was_cut_off_runs_on_and_joins_again(whole: LabCommand) -> None:
    address = whole.host("kvm2")["address"]
    whole.ok("cut", "kvm2")
    assert not answers(address)
    assert whole.host("kvm2") | {"power": "on", "link": "cut", "libvirtd": "runs"} == whole.host("kvm2")
    whole.ok("power", "off", "kvm2")
    whole.ok("power", "on", "kvm2")
    assert not answers(address), "a power cycle mended the link"
    whole.ok("join", "kvm2")
    until(lambda: answers(address), "kvm2 to answer")


def test_the_guest_boots_and_says_who_it_is(guest: LabCommand) -> None:
    network = guest.facts()["guest_network"].rpartition(".")[0]
    console = guest.ok("console", "kvm1", "web1")
    assert f"flotilla-guest hostname=web1 address={network}.21/24,fd00::21/64 instance={SERVER_ID}" in console
    assert "flotilla-guest boots=1 vcpus=1 " in console
    assert "disks=vda:67108864 config_drive=sr0" in console
    assert 'flotilla-guest meta role=a \\"quoted\\", {odd} one' in console
    assert answers(f"{network}.21")


def test_the_guest_powers_off_on_the_button_and_counts_its_boots(guest: LabCommand) -> None:
    guest.virsh("kvm1", "shutdown", "web1")
    until(lambda: guest.virsh("kvm1", "domstate", "web1").strip() == "shut off", "the guest to power off")
    guest.virsh("kvm1", "start", "web1")
    until(lambda: ticks(guest) > 0, "the guest's first tick")
    assert "boots=2" in guest.ok("console", "kvm1", "web1")


def test_a_guest_outlives_a_crash_of_libvirtd_and_a_cut(guest: LabCommand) -> None:
    guest.ok("crash", "kvm1")
    assert guest.host("kvm1") | {"power": "on", "libvirtd": "-", "guests": "web1"} == guest.host("kvm1")
    guest.ok("cut", "kvm1")
    before = ticks(guest)
    until(lambda: ticks(guest) > before, "a tick without libvirtd and network")
    guest.ok("join", "kvm1")
    guest.ok("restart", "kvm1")
    assert guest.virsh("kvm1", "domstate", "web1").strip() == "running"


def test_power_off_ends_a_guest_and_power_on_does_not_start_it(guest: LabCommand) -> None:
    guest.ok("power", "off", "kvm1")
    assert guest("power", "status", "kvm1").returncode == 2
    guest.ok("power", "on", "kvm1")
    assert guest.virsh("kvm1", "domstate", "web1").strip() == "shut off"


@pytest.mark.parametrize(
    ("machine", "drive", "dev", "bus", "device"),
    [("q35", "cdrom", "sda", "scsi", "sr0"), ("q35", "disk", "vdb", "virtio", "vdb")],
)
def test_the_guest_finds_its_config_drive(
    whole: LabCommand, machine: str, drive: str, dev: str, bus: str, device: str
) -> None:
    make_guest(whole, machine=machine, drive=drive, dev=dev, bus=bus)
    whole.virsh("kvm1", "start", "web1")
    until(lambda: ticks(whole) > 0, "the guest's first tick")
    console = whole.ok("console", "kvm1", "web1")
    whole.virsh("kvm1", "destroy", "web1")
    whole.virsh("kvm1", "undefine", "web1")
    assert "hostname=web1" in console
    assert f"config_drive={device}" in console


def test_two_labs_do_not_disturb_each_other_and_down_leaves_nothing(whole: LabCommand, other_name: str) -> None:
    other = LabCommand(other_name)
    before = mounts()
    other.ok("up", "--hosts", "1")
    assert all(traces_of(other_name)[kind] for kind in ("namespaces", "links", "processes", "folders"))
    assert other.facts()["host_network"] != whole.facts()["host_network"]
    switched_off = processes_of(other_name)
    other.ok("power", "off", "kvm1")
    assert whole.host("kvm1")["power"] == "on"
    assert len(switched_off) > 2, "libvirtd and sshd run in the host, and its first process"
    assert alive(switched_off) == []
    other.ok("power", "on", "kvm1")
    taken_down = processes_of(other_name)
    other.ok("down")
    assert len(taken_down) > 2
    assert alive(taken_down) == []
    assert not any(traces_of(other_name).values())
    assert mounts() == before
    assert whole.ssh("kvm1", "true").returncode == 0


@pytest.mark.soak  # seconds, which a machine that is at something else as well does not keep
def test_three_hosts_are_up_within_three_seconds(other_name: str) -> None:
    other = LabCommand(other_name)
    other.ok("image")
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        other.ok("up", "--hosts", "3")
        seconds.append(time.monotonic() - began)
        other.ok("down")
    assert min(seconds) < 3, seconds


def test_down_cleans_what_a_killed_up_and_dead_processes_left(other_name: str) -> None:
    other = LabCommand(other_name)
    other.ok("up", "--hosts", "2")
    folder = Path(f"/var/lib/flotilla-lab/{other_name}")
    os.kill(int((folder / "hosts/kvm1/pid").read_text().split()[0]), 9)
    (folder / "hosts/kvm2/pid").unlink()
    (folder / "state.json").write_text("")
    assert "is down" in other.ok("down")
    assert not any(traces_of(other_name).values())


def test_a_lab_of_an_earlier_life_of_the_machine_is_replaced(other_name: str) -> None:
    other = LabCommand(other_name)
    other.ok("up", "--hosts", "1")
    state = Path(f"/var/lib/flotilla-lab/{other_name}/state.json")
    state.write_text(json.dumps({**json.loads(state.read_text()), "boot_id": "another"}))
    assert other("status").returncode == 1
    assert "is up: kvm1, kvm2" in other.ok("up", "--hosts", "2")


def test_without_root_or_with_a_bad_name_one_sentence_and_nothing_changed() -> None:
    nobody = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", str(LAB), "up", "--hosts", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert nobody.returncode == 2
    assert nobody.stderr == "The lab makes namespaces, links and mounts, so it must be run as root.\n"
    bad = LabCommand("Not-A-Name")("up", "--hosts", "1")
    assert bad.returncode == 1
    assert "no name for a lab" in bad.stderr
