# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports of another host: reached if it answers at all, be it with a refusal."""

from __future__ import annotations

import errno
import os
import socket
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.ways import (
    host_of_uri,
    last_migration_port,
    unreached,
)

if t.TYPE_CHECKING:
    from pathlib import Path


def test_who_listens_and_who_refuses_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert unreached("127.0.0.1", port) is None
    assert unreached("127.0.0.1", port) is None  # nobody listens any more


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (socket.timeout("timed out"), "no answer within 3 s"),
        (OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH)), "No route to host"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
    ],
)
def test_what_a_firewall_does_is_said(monkeypatch: pytest.MonkeyPatch, error: OSError, why: str) -> None:
    def create(*_address: t.Any, **_more: t.Any) -> t.NoReturn:
        raise error

    monkeypatch.setattr(socket, "create_connection", create)
    assert unreached("kvm2", 49152) == why


@pytest.mark.parametrize(
    ("conf", "port"),
    [
        (None, 49215),
        ("#migration_port_max = 60000\n", 49215),
        ("migration_port_min = 5\nmigration_port_max = 50000\n", 50000),
    ],
)
def test_the_port_is_the_last_that_libvirt_is_set_to(tmp_path: Path, conf: str | None, port: int) -> None:
    file = tmp_path / "qemu.conf"
    if conf is not None:
        file.write_text(conf)
    assert last_migration_port(file) == port


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("qemu+tls://kvm2.example.org/system", "kvm2.example.org"),
        ("qemu+ssh://ops@[2001:db8::2]:22/system", "2001:db8::2"),
        ("qemu:///system", None),
    ],
)
def test_the_host_of_an_address(uri: str, host: str | None) -> None:
    assert host_of_uri(uri) == host
