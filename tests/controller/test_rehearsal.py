# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rehearsal with no host in reach: the playbook plan, an inventory, and a ledger that an earlier run has filled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.remembered import KEY, memory_of
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import HostSeen, Ledger, ServerSeen
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_reconcile import (
    COMPUTE,
    FLEET,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._conductor.test_rehearsal import running

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Six servers on three hosts, at an address that never answers (TEST-NET-1)."""
    _declared, computes = running(6)
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    ledger = Ledger.open(url, create=True)
    assert ledger is not None
    ours = {guest.id for compute in computes for guest in compute.guests}
    ledger.adopt(
        "office",
        "F",
        hosts=[HostSeen(one.name, one.host_id, summary={KEY: memory_of(one, ours)}) for one in computes],
        servers=[
            ServerSeen.of(guest.record, host=one.name, vm_state="active", power_state=1)
            for one in computes
            for guest in one.guests
            if guest.record is not None
        ],
    )
    host = {**COMPUTE, "ansible_host": "192.0.2.1"}
    servers = {"vars": {"server_flavor": "small", "server_image": "tick", "server_networks": ["lan"]}}
    hosts = {"computes": {"hosts": dict.fromkeys(("kvm1", "kvm2", "kvm3"), host)}, "servers": servers}
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(yaml.safe_dump({**FLEET, "fleet_ledger": url}))
    (tmp_path / "hosts.yml").write_text(json.dumps(hosts))
    return tmp_path / "hosts.yml"


def plan(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", str(inventory), str(ROOT / "playbooks" / "plan.yml"), *arguments]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        command, cwd=inventory.parent, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("lose", "code", "said"),
    [
        ("every", 0, ["  kvm1  2 servers: 2 find a place, 0 find none, 0 lose data", "  kvm3  2 servers: 2 find"]),
        ("kvm1,kvm2,kvm3", 2, ["0 find a place, 6 find none", "could not take the loss of kvm1 and kvm2 and kvm3"]),
        ("kvm9", 2, ["fleet_lose: the group computes has no host 'kvm9'; did you mean 'kvm"]),
    ],
)
def test_a_fleet_is_rehearsed_without_its_hosts(inventory: Path, lose: str, code: int, said: t.Sequence[str]) -> None:
    done = plan(inventory, "-e", f"fleet_lose={lose}")
    assert done.returncode == code, done.stdout + done.stderr
    assert "UNREACHABLE" not in done.stdout
    assert not [text for text in said if text not in done.stdout], done.stdout
