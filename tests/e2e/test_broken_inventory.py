# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Broken inventories: a sentence that names the variable, no traceback, no host touched, not even a ledger made."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from tests.support.fleet import Fleet

VAULT = """\
$ANSIBLE_VAULT;1.1;AES256
33363965326261303234626463623963633531343539616138316433353830356566396130353436
3562643163366231316662386565383735653432386435610a306664636137376132643732393835
63383038383730306639353234326630666539346233376330303938323639306661313032396437
6233623766633136310a633866373936313836386564386439633932613061636561316632336239
3861
"""


def _break_scheduling(fleet: Fleet) -> None:
    fleet.declare("web1", scheduler_hints={"query": '["~", 1]', "same_hots": "web2"})
    fleet.declare("web2", scheduler_hints={"query": '[">=", "$free_ram_mb", 1'})
    racks = {"hosts": ["kvm9"], "metadata": {"ram_weight_multiplier": "much"}}
    fleet.all["fleet_aggregates"] = {"racks": racks}
    fleet.all["fleet_scheduler"] = {"enabled_filters": ["JsonFilter"], "isolated_images": ["tock"]}


# What is broken, how, and what the run says of it.
BROKEN: dict[str, tuple[t.Callable[[Fleet], object], tuple[str, ...]]] = {
    "flavor unknown": (
        lambda fleet: fleet.declare("web1", flavor="tinny"),
        ("server_flavor", "web1", "'tinny'", "did you mean 'tiny'?"),
    ),
    "variable misspelt": (
        lambda fleet: fleet.servers["web1"].update(server_flavour="tiny"),
        ("server_flavour", "web1", "did you mean 'server_flavor'?"),
    ),
    "size of the wrong unit": (
        lambda fleet: fleet.all["fleet_flavors"]["tiny"].update(ram="128 bananas"),
        ("fleet_flavors.tiny.ram", "'128 bananas'"),
    ),
    "image without a checksum": (
        lambda fleet: fleet.all["fleet_images"]["tick"].pop("checksum"),
        ("fleet_images.tick", "checksum"),
    ),
    "server named like a host": (
        lambda fleet: fleet.declare("kvm1", state="stopped"),
        ("kvm1",),
    ),
    "address out of its network": (
        lambda fleet: fleet.declare("web1", networks=[{"network": "lan", "fixed_ip": "192.0.2.7"}]),
        ("server_networks[0].fixed_ip", "web1", "192.0.2.7"),
    ),
    "two servers with one address": (
        lambda fleet: fleet.declare("web1", "web2", networks=[{"network": "lan", "fixed_ip": _address(fleet)}]),
        ("web1", "web2"),
    ),
    "a list for a mapping": (
        lambda fleet: fleet.all.update(fleet_flavors=["tiny"]),
        ("fleet_flavors",),
    ),
    "variable undefined": (
        lambda fleet: fleet.declare("web1", description="{{ no_such_variable }}"),
        ("server_description", "web1", "no_such_variable"),
    ),
    "template that doesn't parse": (
        lambda fleet: fleet.declare("web1", description="{{ 1 + }}"),
        ("server_description", "web1"),
    ),
    "template that refers to itself": (
        lambda fleet: fleet.declare("web1", description="{{ server_description }}"),
        ("server_description", "web1"),
    ),
    "filter unknown": (
        lambda fleet: fleet.all.update(fleet_reclaim="{{ 24 | no_such_filter }}"),
        ("fleet_reclaim", "no_such_filter"),
    ),
    "division by nought": (
        lambda fleet: fleet.all.update(fleet_reclaim="{{ 24 // 0 }}"),
        ("fleet_reclaim",),
    ),
    "state of a host misspelt": (
        lambda fleet: fleet.computes["kvm2"].update(compute_state="enabeld"),
        ("compute_state", "kvm2", "'enabeld'", "did you mean 'enabled'?"),
    ),
    "ledger URL of no known kind": (
        lambda fleet: fleet.all.update(fleet_ledger="mysql://flotilla:tops3cret@db/fleet"),
        ("fleet_ledger",),
    ),
    "what the scheduler reads": (
        _break_scheduling,
        (
            "5 mistakes",
            "server_scheduler_hints.same_hots (host web1)",
            "server_scheduler_hints.query (host web2): is not JSON",
            "fleet_aggregates.racks.hosts[0]: found 'kvm9'",
            "fleet_aggregates.racks.metadata.ram_weight_multiplier: found 'much', allowed is a number",
            "fleet_scheduler.isolated_images[0]: found 'tock'",
        ),
    ),
    "everything at once": (
        lambda fleet: fleet.declare(
            "web1", flavor="tinny", image="tock", key_name="nobody", group="nowhere", state="runing"
        ),
        ("5 mistakes", "'tinny'", "'tock'", "'nobody'", "'nowhere'", "'runing'"),
    ),
}

# Kinds that differ from another one in words alone are for the long run.
ALIKE = (
    "size of the wrong unit",
    "a list for a mapping",
    "template that doesn't parse",
    "filter unknown",
    "division by nought",
    "state of a host misspelt",
)

# Files that aren't what they should be, and what the run says.
BROKEN_FILES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "YAML broken": ("03-servers.yml", "servers:\n  hosts:\n    web1: {server_flavor: tiny\n", ("03-servers.yml",)),
    "YAML broken in group_vars": ("group_vars/all.yml", "fleet_name: [\n", ("YAML parsing failed",)),
    "vault without a password": (
        "group_vars/servers.yml",
        f"server_user_data: !vault |\n{''.join(f'  {line}' for line in VAULT.splitlines(keepends=True))}",
        ("vault",),
    ),
    "a file that is no inventory": ("04-more.yml", "- just\n- text\n", ("04-more.yml",)),
}


def _address(fleet: Fleet) -> str:
    return str(fleet.lab.facts["guest_network"]).replace("0/24", "50")


def refused(fleet: Fleet, words: t.Iterable[str]) -> None:
    run = fleet.run(write=False).failed()
    assert [word for word in words if word not in run.stdout] == [], str(run)
    assert "tops3cret" not in run.stdout
    assert fleet.look().domains == []
    assert not any(fleet.lab.tree(host, "/var/lib/flotilla/host.json").exists() for host in fleet.lab.hosts)
    assert list(Path(fleet.folder).glob("fleet.db*")) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.soak] if name in ALIKE else []) for name in BROKEN]
)
def test_a_broken_inventory_is_refused_in_words(fleet: Fleet, name: str) -> None:
    break_it, words = BROKEN[name]
    fleet.declare("web1", "web2", state="stopped")
    break_it(fleet)
    fleet.write()
    refused(fleet, words)


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_is_refused_in_words(fleet: Fleet, name: str) -> None:
    path, content, words = BROKEN_FILES[name]
    fleet.declare("web1", state="stopped")
    (fleet.write() / path).write_text(content)
    refused(fleet, words)


def test_an_inventory_without_hosts_or_without_servers_says_so(fleet: Fleet) -> None:
    fleet.declare("web1", state="stopped")
    fleet.write()
    for file in ("01-lab.yml", "02-computes.yml"):
        (fleet.inventory / file).unlink()
    run = fleet.run(write=False).failed()
    assert "computes" in run.stdout
    fleet.servers = {}
    run = fleet.run().civil()  # hosts alone are a fleet that has no servers yet
    assert fleet.look().domains == []
