# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import json
import pickle
import typing as t

import pytest
import yaml
from ansible._internal._datatag._tags import Origin
from ansible._internal._templating._engine import TemplateEngine, TemplateOptions
from ansible._internal._templating._lazy_containers import _AnsibleLazyTemplateMixin
from ansible._internal._templating._utils import TemplateContext
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString, VaultLib, VaultSecret, VaultSecretsContext
from ansible.template import trust_as_template

from ansible_collections.flotilla.compute.plugins.plugin_utils._plain import plain


def types_in(value: t.Any) -> set[type]:
    found = {type(value)}
    if isinstance(value, dict):
        for key, item in value.items():
            found |= types_in(key) | types_in(item)
    elif isinstance(value, list):
        for item in value:
            found |= types_in(item)
    return found


def tagged(value: t.Any) -> t.Any:
    return Origin(description="a test").tag(value)


def lazy(value: t.Any, **variables: t.Any) -> t.Any:
    """*value* as a lookup gets its options: containers that template their items when these are read."""
    engine = TemplateEngine(loader=DataLoader(), variables=variables)
    with TemplateContext(template_value=value, templar=engine, options=TemplateOptions.DEFAULT):
        return _AnsibleLazyTemplateMixin._try_create(value)


SERVER = {"name": "web1", "vcpus": 2, "ratio": 1.5, "auto": True, "group": None, "networks": ["lan", {"name": "dmz"}]}


def test_lazy_containers_become_plain_all_through() -> None:
    value = lazy({**SERVER, "flavor": trust_as_template("m1.{{ size }}")}, size="small")
    assert type(value).__name__ == "_AnsibleLazyTemplateDict"

    result = plain(value)

    assert result == {**SERVER, "flavor": "m1.small"}
    assert types_in(result) == {dict, list, str, int, float, bool, type(None)}


def test_tagged_containers_and_scalars_become_plain() -> None:
    names = tagged([tagged("a")])
    value = tagged({tagged("name"): tagged("web1"), "vcpus": tagged(2), "ratio": tagged(1.5), "list": names})
    assert types_in(value).isdisjoint({dict, list, int, float})

    result = plain(value)

    assert result == {"name": "web1", "vcpus": 2, "ratio": 1.5, "list": ["a"]}
    assert types_in(result) == {dict, list, str, int, float}


def test_what_refuses_lazy_containers_takes_plain_ones() -> None:
    holder = dataclasses.make_dataclass("holder", [("spec", dict)])
    result = plain(lazy(SERVER))

    assert dataclasses.asdict(holder(result)) == {"spec": SERVER}
    assert pickle.loads(pickle.dumps(result)) == SERVER
    assert yaml.safe_load(yaml.safe_dump(result)) == SERVER
    assert json.loads(json.dumps(result)) == SERVER


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (("a", 1), ["a", 1]),
        ({"only"}, ["only"]),
        (b"\x00raw", b"\x00raw"),
        (tagged(b"raw"), b"raw"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
        (tagged(datetime.datetime(2026, 1, 31, 12, 30)), "2026-01-31T12:30:00"),  # YAML's own are naive
        ("", ""),
        ({}, {}),
        ([], []),
        (True, True),
        (None, None),
    ],
)
def test_values_keep_their_meaning(value: t.Any, expected: t.Any) -> None:
    assert plain(value) == expected
    assert types_in(plain(value)) == types_in(expected)


def test_vaulted_string_is_its_clear_text() -> None:
    secrets = [("default", VaultSecret(b"of a test"))]
    VaultSecretsContext.initialize(VaultSecretsContext(secrets))
    vaulted = EncryptedString(ciphertext=VaultLib(secrets).encrypt("pässword").decode())

    result = plain({"user_data": vaulted})

    assert result == {"user_data": "pässword"}
    assert types_in(result) == {dict, str}


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError, match="object is no data"):
        plain({"name": object()})
