# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an action is given: options each of their type, and secrets that go no further than they must."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils import _acting
from ansible_collections.flotilla.compute.plugins.plugin_utils._asked import Given, given

INVENTORY = {"server_admin_password": "1nventory", "server_user_data": "#inventory"}


class Acted(_acting.Acting):
    """As the action plugin is one."""

    def perform(self, args: t.Any) -> t.Any:
        raise NotImplementedError


def test_secrets_come_into_no_plan() -> None:
    asked = given("rebuild", {"image": "other", "password": "s3cret", "user_data": "#x"})
    assert asked.secrets == {"password": "s3cret", "user_data": "#x"}
    assert "s3cret" not in str(asked.options)
    assert set(asked.options) == {"image", "user_data"}
    assert given("set_password", "password=s3cret user=ops") == Given({"user": "ops"}, {"password": "s3cret"})
    with pytest.raises(InvalidInput, match="takes no option password"):
        given("rescue", {"password": "s3cret"})


@pytest.mark.parametrize(
    ("action", "options", "says"),
    [
        (
            "snapshot",
            {"name": "two\nlines"},
            r"name: found 'two\nlines', allowed is text of 1 to 255 characters on one",
        ),
        ("backup", {"name": "x" * 256, "backup_type": "daily", "rotation": 1}, "name: found 'xxx"),
        ("backup", {"backup_type": " ", "rotation": 1}, "backup_type: found ' ', allowed is text of 1 to 255"),
        ("lock", {"reason": "a\tb"}, r"reason: found 'a\tb', allowed is text of 1 to 255"),
        ("set_password", {"user": "ops\n", "password": "s3cret"}, r"user: found 'ops\n', allowed is text of 1"),
        ("rebuild", {"metadata": {"k" * 256: "v"}}, "metadata.kkk"),
        ("rebuild", {"metadata": {"role": ["web"]}}, "metadata.role: found ['web'], allowed is"),
        ("rebuild", {"description": "x" * 256}, "description: found 'xxx"),
    ],
)
def test_what_inventory_would_not_take_no_action_does(action: str, options: dict[str, t.Any], says: str) -> None:
    """A snapshot becomes an image that inventory is to name, a rebuild changes what it declares."""
    with pytest.raises(InvalidInput) as refused:
        given(action, options)
    assert str(refused.value).startswith(f"an option of the action {action} can't be taken: {says}")
    assert "\n" not in str(refused.value)


def test_what_is_left_empty_is_not_given() -> None:
    assert given("lock", {"reason": ""}).options == {"reason": ""}


@pytest.mark.parametrize(
    ("action", "secrets", "password"),
    [
        ("rebuild", {"password": "s3cret"}, "s3cret"),
        ("rebuild", {}, "1nventory"),
        ("set_password", {"password": "s3cret"}, "1nventory"),
        ("start", {}, "1nventory"),
    ],
)
def test_a_rebuilt_server_is_told_the_password_that_it_was_asked_for_with(
    action: str, secrets: dict[str, str], password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acting: t.Any = object.__new__(Acted)
    acting._secrets, acting._action = secrets, action
    monkeypatch.setattr(_acting.Acting, "_from_inventory", lambda _self, _server, variable: INVENTORY[variable])
    assert acting.own("web1", "server_admin_password") == password
    assert acting.user_data_of("web1") == "#inventory"
