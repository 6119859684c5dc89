# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""EXAMPLES say what modules take: every task in them against the argument spec that it is run with."""

from __future__ import annotations

import importlib
import typing as t

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from tests.support import examples

_BASE = "ansible_collections.flotilla.compute.plugins"
_CONSTRAINTS = ("mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")
#: What a template gives is not known here: a value of the right type stands for it.
_ANY: dict[str, t.Any] = {"dict": {}, "list": [], "int": 1, "float": 1.0, "bool": True}


class _Taken(Exception):
    """Ends a module's main() where it says what it takes."""


def _of_module(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """What the module gives to AnsibleModule."""
    module = importlib.import_module(f"{_BASE}.modules.{name}")
    given: dict[str, t.Any] = {}

    def take(**keywords: t.Any) -> t.NoReturn:
        given.update(keywords)
        raise _Taken

    monkeypatch.setattr(module, "AnsibleModule", take)
    with pytest.raises(_Taken):
        module.main()
    return given


def _taken(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """argument_spec and constraints that a user's task meets first: the action plugin's, else the module's."""
    try:
        action = importlib.import_module(f"{_BASE}.action.{name}").ActionModule
    except ModuleNotFoundError:
        return _of_module(name, monkeypatch)
    if not action.argument_spec and "_arguments" in vars(action):
        return _of_module(name, monkeypatch)  # it leaves them to the module
    return {"argument_spec": action.argument_spec, **action.constraints}


def _errors(name: str, arguments: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    taken = _taken(name, monkeypatch)
    spec: dict[str, dict[str, t.Any]] = taken["argument_spec"]
    known = {
        option: _ANY.get(spec.get(option, {}).get("type", "str"), value) if "{{" in str(value) else value
        for option, value in arguments.items()
    }
    constraints = {key: taken[key] for key in _CONSTRAINTS if taken.get(key)}
    found: list[str] = ArgumentSpecValidator(spec, **constraints).validate(known).error_messages
    return found


@pytest.mark.parametrize("name", examples.names())
def test_a_modules_examples_are_what_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = examples.tasks_of(examples.example(name))
    own = [found for task in tasks if (found := examples.own(task)) is not None]
    assert name in dict(own), f"no example of {name} calls it"
    for called, arguments in own:
        assert _errors(called, arguments, monkeypatch) == [], f"{called}: {arguments}"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("flavor", {"name": "m1.small", "vcpus": 1, "ram": 1, "dsk": 1}),
        ("flavor", {"name": "m1.small"}),
        ("network", {"name": "lan", "forward": "bridged"}),
        ("image", {"name": "tick", "checksum": "sha256:00", "format": ["raw"], "size": 1}),
        ("compute", {"reason": "no state"}),
    ],
)
def test_a_wrong_example_would_be_seen(name: str, wrong: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert _errors(name, wrong, monkeypatch)


@pytest.mark.parametrize("kind", ["modules", "lookup"])
def test_tasks_in_examples_have_names_and_full_module_names(kind: str) -> None:
    keywords = {"delegate_to", "loop", "name", "register", "when"}
    for name in examples.names(kind):
        for task in examples.tasks_of(examples.example(name, kind)):
            called = [key for key in task if key not in keywords]
            assert task["name"][0].isupper(), name
            assert len(called) == 1, f"{name}: {called}"
            assert called[0].count(".") == 2, f"{name}: {called}"


def test_examples_of_the_inventory_are_of_its_options() -> None:
    (name,) = examples.names("inventory")
    text = examples.text_of(name, "inventory")
    module = importlib.import_module(f"{_BASE}.inventory.{name}")
    options = set(yaml.safe_load(module.DOCUMENTATION)["options"])
    of_fragments = {"keyed_groups", "groups", "compose", "cache", "cache_plugin", "cache_connection"}
    sources = list(yaml.safe_load_all(text))
    assert len(sources) > 1
    for source in sources:
        assert set(source) - {"plugin"} <= options | of_fragments
        assert source["plugin"] == f"{examples.PREFIX}{name}"
