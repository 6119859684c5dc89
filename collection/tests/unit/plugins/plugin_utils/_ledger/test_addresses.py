# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import AddressRow, Wish
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._addresses import AddressBook, AddressError

POOL = (("192.0.2.10", "192.0.2.12"), ("192.0.2.20", "192.0.2.20"))


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        ([], "192.0.2.10"),
        (["192.0.2.11"], "192.0.2.10"),
        (["192.0.2.9", "192.0.2.10", "192.0.2.12"], "192.0.2.11"),
        (["192.0.2.10", "192.0.2.11", "192.0.2.12"], "192.0.2.20"),
    ],
)
def test_the_lowest_free_address_of_the_pools_is_given(taken: list[str], given: str) -> None:
    book = AddressBook([AddressRow("lan", address, "other") for address in taken], {})
    assert book.take("id-1", "web1", [Wish("lan", pools=POOL)]) == (given,)
    assert book.new() == [{"network": "lan", "address": given, "server_id": "id-1"}]


def test_all_addresses_are_given_once_then_none() -> None:
    book = AddressBook([], {})
    given = [book.take(f"id-{number}", f"web{number}", [Wish("lan", pools=POOL)])[0] for number in range(4)]
    assert given == ["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.20"]
    with pytest.raises(AddressError, match="no free address left"):
        book.take("id-5", "web5", [Wish("lan", pools=POOL)])
    assert book.take("id-5", "web5", [Wish("dmz", pools=POOL)]) == ("192.0.2.10",)


def test_a_large_pool_is_not_walked() -> None:
    book = AddressBook([AddressRow("lan", "2001:db8::1", "other")], {})
    wish = Wish("lan", pools=[("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")])
    assert book.take("id-1", "web1", [wish]) == ("2001:db8::2",)


def test_what_a_server_has_it_keeps_and_an_address_outside_the_pools_it_does_not() -> None:
    rows = [AddressRow("lan", "192.0.2.12", "id-1"), AddressRow("lan", "192.0.2.99", "id-2")]
    book = AddressBook(rows, {})
    assert book.take("id-1", "web1", [Wish("lan", pools=POOL)]) == ("192.0.2.12",)
    assert book.take("id-2", "web2", [Wish("lan", pools=POOL)]) == ("192.0.2.10",)


def test_one_spelling_of_an_address_is_as_good_as_another() -> None:
    book = AddressBook([AddressRow("lan", "2001:db8::a", "id-1")], {"id-1": "web1"})
    with pytest.raises(AddressError, match="taken by server 'web1'"):
        book.take("id-2", "web2", [Wish("lan", fixed="2001:0DB8::000A")])


def test_a_fixed_address_is_not_given_from_the_pool_before() -> None:
    wishes = [Wish("lan", pools=POOL), Wish("lan", fixed="192.0.2.10")]
    assert AddressBook([], {}).take("id-1", "web1", wishes) == ("192.0.2.11", "192.0.2.10")


def test_one_address_asked_for_twice_is_refused() -> None:
    wish = Wish("lan", fixed="192.0.2.10")
    with pytest.raises(AddressError, match="asked for twice"):
        AddressBook([], {}).take("id-1", "web1", [wish, wish])


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (Wish("lan", fixed="192.0.2.256"), "no IP address"),
        (Wish("lan", pools=[("192.0.2.20", "192.0.2.10")]), "no range"),
        (Wish("lan", pools=[("192.0.2.20", "2001:db8::1")]), "no range"),
    ],
)
def test_nonsense_is_a_sentence(wish: Wish, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        AddressBook([], {}).take("id-1", "web1", [wish])
