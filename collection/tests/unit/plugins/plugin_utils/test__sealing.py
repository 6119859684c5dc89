# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ledger keeps encrypted: only the same key of the same fleet opens it, and only if it is whole."""

from __future__ import annotations

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._sealing import seal, unseal

pytest.importorskip("cryptography.fernet")

KEY = "a key of 16 characters"
WHAT = {"user_data": {"users": ["ann", "bob"], "text": "größer"}, "admin_password": "hunter2"}


def test_the_key_of_the_fleet_opens_it_and_no_other() -> None:
    token = seal(KEY, "fleet", WHAT)
    assert unseal(KEY, "fleet", token) == WHAT
    assert unseal(KEY + "!", "fleet", token) is None
    assert unseal(KEY, "another", token) is None
    assert unseal(KEY, "fleet", token[:-8] + "AAAAAAA=") is None


def test_it_says_nothing_of_what_is_in_it() -> None:
    first, second = seal(KEY, "fleet", WHAT), seal(KEY, "fleet", WHAT)
    assert first != second
    assert "hunter2" not in first
