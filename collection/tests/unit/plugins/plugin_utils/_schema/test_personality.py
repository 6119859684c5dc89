# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""User data in inventory: what cloud-init would say of it is said before anything is touched."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.personality import doubts
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.validate import validate

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example

GOOD: list[t.Any] = [
    "#!/bin/sh\nexit 0\n",
    "",
    "#cloud-config\n",
    "#cloud-config\npackages: [nginx]\n",
    {"packages": ["nginx", ["libc6", "2.36"]], "users": ["default", {"name": "ops", "sudo": "ALL=(ALL) NOPASSWD:ALL"}]},
    {"write_files": [{"path": "/etc/motd", "content": "hello", "permissions": "0644"}], "runcmd": ["ls", ["ls", "-l"]]},
    {"ssh_pwauth": True, "chpasswd": {"expire": False, "users": [{"name": "a", "password": "b", "type": "text"}]}},
    [{"packages": ["nginx"]}, "#!/bin/sh\n", {"content": "x", "type": "text/plain"}],
]

BAD: list[tuple[t.Any, str]] = [
    ({"packages": {"pl4nted": 1}}, "server_user_data.packages (host web1): allowed is a list."),
    (
        {"write_files": [{"content": "pl4nted"}]},
        "server_user_data.write_files[0].path (host web1): is missing, cloud-init needs it.",
    ),
    ({"package_update": "pl4nted"}, "server_user_data.package_update (host web1): allowed is true or false."),
    (
        ["#!/bin/sh\n", {"package_update": "pl4nted"}],
        "server_user_data[1].package_update (host web1): allowed is true or false.",
    ),
    (
        [{"content": {"package_update": "pl4nted"}}],
        "server_user_data[0].content.package_update (host web1): allowed is true or false.",
    ),
    (
        "#cloud-config\npackage_update: pl4nted\n",
        "server_user_data.package_update (host web1): allowed is true or false.",
    ),
    (
        "#cloud-config\na: b: pl4nted\n",
        (
            "server_user_data (host web1): begins with #cloud-config and is broken YAML at line 2, column 5: mapping "
            "values are not allowed here."
        ),
    ),
    (
        "#cloud-config\n- pl4nted\n",
        "server_user_data (host web1): begins with #cloud-config and is no mapping in YAML, which cloud-init needs.",
    ),
    (
        [{"content": 7}],
        "server_user_data[0].content (host web1): allowed is text or the mapping of a #cloud-config.",
    ),
    (
        [{"content": "x", "type": "text/plain\nX-Header: pl4nted"}],
        "server_user_data[0].type (host web1): allowed is a MIME type such as text/x-shellscript.",
    ),
    (
        [{"content": "x", "filename": "a\r\npl4nted"}],
        "server_user_data[0].filename (host web1): allowed is text of printable ASCII.",
    ),
]

DOUBTFUL: list[tuple[t.Any, str]] = [
    (
        {"pakages": ["nginx"]},
        "server_user_data.pakages (host web1): is no key that cloud-init knows here; did you mean 'packages'?",
    ),
    (
        "#cloud-config\nwrite_file: []\n",
        "server_user_data.write_file (host web1): is no key that cloud-init knows here; did you mean 'write_files'?",
    ),
    (
        {"write_files": [{"path": "/a", "contents": "pl4nted"}]},
        (
            "server_user_data.write_files[0].contents (host web1): is no key that cloud-init knows here; did you mean "
            "'content'?"
        ),
    ),
]


@pytest.mark.parametrize("value", GOOD)
def test_what_cloud_init_takes_is_taken(example: Example, value: t.Any) -> None:
    example.web1["server_user_data"] = value
    assert example.mistaken() == []
    assert doubts({"web1": example.web1}) == []


@pytest.mark.parametrize(("value", "sentence"), BAD)
def test_what_is_wrong_is_told_with_its_path_and_without_its_value(
    example: Example, value: t.Any, sentence: str
) -> None:
    example.web1["server_user_data"] = value
    assert [str(mistake) for mistake in validate(example.input())] == [sentence]
    assert "pl4nted" not in sentence


@pytest.mark.parametrize(("value", "sentence"), DOUBTFUL)
def test_a_key_that_is_not_known_is_a_doubt_with_the_nearest_name(
    example: Example, value: t.Any, sentence: str
) -> None:
    example.web1["server_user_data"] = value
    assert validate(example.input()) == []
    assert [str(doubt) for doubt in doubts({"web1": example.web1})] == [sentence]


def test_a_group_s_doubt_is_told_once(example: Example) -> None:
    servers: dict[str, t.Any] = {name: {"server_user_data": {"pakages": []}} for name in ("web1", "web2")}
    (doubt,) = doubts(servers)
    assert doubt.hosts == ("web1", "web2")


@pytest.mark.parametrize("value", GOOD)
def test_vendor_data_that_cloud_init_takes_is_taken(example: Example, value: t.Any) -> None:
    example.fleet["fleet_vendor_data"] = {"cloud-init": value, "other": {"packages": 1}}
    assert example.mistaken() == []
    assert doubts({}, example.fleet["fleet_vendor_data"]) == []


@pytest.mark.parametrize(("value", "sentence"), BAD)
def test_vendor_data_for_cloud_init_is_looked_at_as_user_data_is(example: Example, value: t.Any, sentence: str) -> None:
    example.fleet["fleet_vendor_data"] = {"cloud-init": value}
    expected = sentence.replace("server_user_data", "fleet_vendor_data.cloud-init").replace(" (host web1)", "")
    assert [str(mistake) for mistake in validate(example.input())] == [expected]


def test_a_key_of_vendor_data_that_is_not_known_is_a_doubt(example: Example) -> None:
    example.fleet["fleet_vendor_data"] = {"cloud-init": {"pakages": ["nginx"]}}
    assert validate(example.input()) == []
    (doubt,) = doubts({}, example.fleet["fleet_vendor_data"])
    assert str(doubt) == (
        "fleet_vendor_data.cloud-init.pakages: is no key that cloud-init knows here; did you mean 'packages'?"
    )


def test_several_keypairs_must_all_be_known(example: Example) -> None:
    example.web1["server_key_name"] = ["ops", "opps"]
    (mistake,) = validate(example.input())
    assert str(mistake).startswith("server_key_name[1] (host web1): found 'opps', allowed is a keypair")
    assert mistake.hint == "ops"


def test_a_certificate_must_be_one(example: Example) -> None:
    example.fleet["fleet_keypairs"]["win"] = {"public_key": "ssh-ed25519 AAAA", "type": "x509"}
    (mistake,) = validate(example.input())
    assert "failed to generate X509 fingerprint" in str(mistake)


@pytest.mark.parametrize(
    "files", [{"etc/motd": "x"}, {f"/{index}": "" for index in range(6)}, {"/a": "x" * 10241}, {"/a": 1}]
)
def test_injected_files_keep_to_nova_s_quota(example: Example, files: dict[str, t.Any]) -> None:
    example.web1["server_personality"] = files
    assert len(validate(example.input())) == 1
