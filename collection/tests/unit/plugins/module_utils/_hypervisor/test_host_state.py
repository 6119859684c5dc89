# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine is and what works on it, as its files tell."""

from __future__ import annotations

import subprocess
import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import host_checks
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.host_state import (
    has_modular_daemons,
    network_backend,
    smbios_uuid,
)


def program(root: Path, path: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)


def test_what_sets_up_the_network_is_seen(tmp_path: Path) -> None:
    assert network_backend(tmp_path) == "none"
    (tmp_path / "etc/network").mkdir(parents=True)
    (tmp_path / "etc/network/interfaces").touch()
    assert network_backend(tmp_path) == "none", "a file without ifupdown sets nothing up"
    program(tmp_path, "usr/sbin/ifup")
    assert network_backend(tmp_path) == "ifupdown"
    (tmp_path / "run/systemd/netif/links").mkdir(parents=True)
    assert network_backend(tmp_path) == "ifupdown"
    (tmp_path / "run/systemd/netif/links/2").touch()
    assert network_backend(tmp_path) == "networkd"
    (tmp_path / "run/NetworkManager").mkdir()
    assert network_backend(tmp_path) == "networkmanager"
    (tmp_path / "etc/netplan").mkdir()
    (tmp_path / "etc/netplan/50-cloud-init.yaml").touch()
    program(tmp_path, "usr/sbin/netplan")
    assert network_backend(tmp_path) == "netplan", "netplan writes for the others"


def test_modular_daemons_do_the_work_unless_libvirtd_is_started(tmp_path: Path) -> None:
    assert not has_modular_daemons(tmp_path)
    program(tmp_path, "usr/sbin/virtqemud")
    program(tmp_path, "usr/sbin/virtproxyd")
    assert has_modular_daemons(tmp_path)
    wants = tmp_path / "etc/systemd/system/sockets.target.wants"
    wants.mkdir(parents=True)
    (wants / "libvirtd.socket").symlink_to("/usr/lib/systemd/system/libvirtd.socket")
    assert not has_modular_daemons(tmp_path)


@pytest.mark.parametrize(
    ("text", "uuid"),
    [
        ("4C4C4544-0051-3510-8052-B4C04F4E3732\n", "4c4c4544-0051-3510-8052-b4c04f4e3732"),
        ("00000000-0000-0000-0000-000000000000\n", None),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n", None),
        (None, None),
    ],
)
def test_a_mainboards_uuid_that_is_made_up_is_none(tmp_path: Path, text: str | None, uuid: str | None) -> None:
    if text is not None:
        (tmp_path / "sys/class/dmi/id").mkdir(parents=True)
        (tmp_path / "sys/class/dmi/id/product_uuid").write_text(text)
    assert smbios_uuid(tmp_path) == uuid


@pytest.mark.parametrize(
    ("kernels", "address"),
    [
        ("0B00D50A", "10.213.0.11"),
        ("00000000", "127.0.0.1"),
        ("00000000" * 4, "::1"),
        ("B80D0120" + "00000000" * 2 + "01000000", "2001:db8::1"),
    ],
)
def test_addresses_are_read_as_the_kernel_writes_them(kernels: str, address: str) -> None:
    assert host_checks._callable(kernels) == address


@pytest.mark.parametrize(
    ("content", "result"),
    [
        ("ON_BOOT=ignore\nON_SHUTDOWN=shutdown\n", "ok"),
        ("ON_BOOT=start\nON_BOOT='ignore'\n", "ok"),
        ("#ON_BOOT=ignore\n", "missing"),
        ("ON_BOOT=start\n", "missing"),
    ],
)
def test_a_host_that_may_start_guests_at_boot_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, result: str
) -> None:
    file = tmp_path / "libvirt-guests"
    file.write_text(content)
    monkeypatch.setattr(host_checks, "_GUESTS_FILES", (str(file),))
    assert host_checks._libvirt_guests().result == result


def test_what_libvirt_itself_says_becomes_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "  QEMU: Checking for hardware virtualization                                 : FAIL (none)\n"
        "  QEMU: Checking if device /dev/vhost-net exists                             : WARN (Load 'vhost_net')\n"
        "  QEMU: Checking if device /dev/net/tun exists                               : PASS\n"
        "  QEMU: Checking for cgroup 'cpu' controller support                         : FAIL (Enable 'cpu')\n"
    )

    class Done:
        stdout = said

    def answer(*_arguments: t.Any, **_keywords: t.Any) -> Done:
        return Done()

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("subprocess.run", answer)
    rows = [(row.name, row.result, row.mend) for row in host_checks._validated()]
    assert rows == [
        ("Device /dev/vhost-net exists", "warning", "Load 'vhost_net'"),
        ("Device /dev/net/tun exists", "ok", ""),
        ("Cgroup 'cpu' controller support", "missing", "Enable 'cpu'"),
    ]


def test_a_program_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(command: t.Sequence[str], *, timeout: float, **_keywords: t.Any) -> t.NoReturn:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    nothing: t.Any = types.SimpleNamespace(exists=lambda: False)
    monkeypatch.setattr(host_checks, "pathlib", types.SimpleNamespace(Path=lambda _path: nothing))
    monkeypatch.setattr("subprocess.run", never)
    rows = [*host_checks._validated(), host_checks._clock()]
    assert [(row.name, row.result) for row in rows] == [("virt-host-validate", "warning"), ("Clock", "warning")]
    assert all("no answer within 30 s" in row.found for row in rows)
