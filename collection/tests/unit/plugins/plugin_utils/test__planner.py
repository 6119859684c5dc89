# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What says where the ledger is may be broken itself: a mistake among the others, not the end of looking for them."""

from __future__ import annotations

import dataclasses
import random
import types
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.plugins.loader import action_loader
from ansible.template import Templar, trust_as_template

FLAVOUR = "- server_flavour (host web1): no variable has this name; did you mean 'server_flavor'?"


@dataclasses.dataclass
class HostVars:
    hosts: dict[str, dict[str, t.Any]]

    def raw_get(self, name: str) -> dict[str, t.Any]:
        return self.hosts[name]


def validated(fleet: dict[str, t.Any], server: dict[str, t.Any]) -> dict[str, t.Any]:
    """What module plan gives in check mode for an inventory of one host and one server."""
    hosts = HostVars({"kvm1": {}, "web1": server})
    variables = {**fleet, "hostvars": hosts, "groups": {"computes": ["kvm1"], "servers": ["web1"]}}
    task = Task()
    task.args = {"kind": "validate"}
    task.check_mode = True
    plugin = action_loader.get(
        "flotilla.compute.plan",
        task=task,
        connection=types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None)),
        play_context=None,
        loader=DataLoader(),
        templar=Templar(loader=DataLoader(), variables=variables),
        shared_loader_obj=None,
    )
    result: dict[str, t.Any] = plugin.run(task_vars=variables)
    return result


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"fleet_name": "a/b"}, "- fleet_name: found 'a/b', allowed is 1 to 63 letters"),
        ({"fleet_state_dir": ["/var"]}, "- fleet_state_dir: found ['/var'], allowed is "),
        ({"fleet_ledger": trust_as_template("{{ vault_ledger }}")}, "- fleet_ledger: its template can't be resolved: "),
        ({"fleet_ledger": {"t0ps3cret": "sqlite:////t0ps3cret.db"}}, "- fleet_ledger: found a value that is not shown"),
    ],
)
def test_a_ledger_that_can_not_be_found_is_told_with_all_other_mistakes(
    broken: dict[str, t.Any], said: str, tmp_path: Path
) -> None:
    result = validated({"fleet_state_dir": str(tmp_path / "state"), **broken}, {"server_flavour": "tiny"})
    assert result["failed"]
    assert said in result["msg"]
    assert FLAVOUR in result["msg"]
    assert "t0ps3cret" not in result["msg"]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "- server_user_data (host web1): its template can't be resolved: "),
        (b"t0ps3cret \xff\n", "- server_user_data (host web1): has something in it that is no text in UTF-8"),
        (
            b"#cloud-config\nt0ps3cret: [\n",
            "- server_user_data (host web1): begins with #cloud-config and is broken YAML",
        ),
        (random.Random(7).randbytes(50_000).hex().encode(), "- server_user_data (host web1): User data too large."),
    ],
    ids=["missing", "not UTF-8", "broken YAML", "too large"],
)
def test_a_file_of_user_data_that_can_not_be_taken_is_told_with_its_variable(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "user-data"
    if content is not None:
        file.write_bytes(content)
    template = trust_as_template(f"{{{{ lookup('ansible.builtin.file', '{file}') }}}}")
    result = validated({"fleet_state_dir": str(tmp_path / "state")}, {"server_user_data": template})
    assert result["failed"]
    assert said in result["msg"]
    assert content is not None or str(file) in result["msg"]
    assert "t0ps3cret" not in result["msg"]
    assert not (tmp_path / "state").exists()
