# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a host that are in no pool, looked for and removed by its libvirt alone."""

from __future__ import annotations

import concurrent.futures
import typing as t

import pytest
from tests.support.lab_hosts import Lab, running_lab
from tests.support.lab_names import lab_name

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.connection import opened
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.host_files import is_there, remove
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.pools import PASSING

FOLDER = "/var/lib/libvirt/qemu/nvram"


@pytest.fixture(scope="module")
def one() -> t.Iterator[Lab]:
    with running_lab(lab_name("files"), hosts=1) as made:
        yield made


def pools(lab: Lab) -> set[str]:
    return set(lab.virsh("kvm1", "pool-list", "--all", "--name").split())


def test_a_file_is_found_and_removed_by_its_path(one: Lab) -> None:
    before = pools(one)
    one.tree("kvm1", FOLDER).mkdir(exist_ok=True)
    for name, text in (("a", "what is in it"), ("b", ""), ("ab", "")):
        one.tree("kvm1", f"{FOLDER}/{name}").write_text(text)
    with opened(one.uri("kvm1")) as conn:
        assert (is_there(conn, f"{FOLDER}/a"), is_there(conn, f"{FOLDER}/c")) == (True, False)
        assert (is_there(conn, "/nowhere/a"), remove(conn, "/nowhere/a")) == (False, False)
        assert [remove(conn, f"{FOLDER}/{name}", if_empty=True) for name in "abc"] == [False, True, False]
        assert {file.name for file in one.tree("kvm1", FOLDER).iterdir()} == {"a", "ab"}
        assert [remove(conn, f"{FOLDER}/a") for _turn in range(2)] == [True, False]
        with pytest.raises(FlotillaError, match="can't look into folder '/etc/hostname' of kvm1: "):
            is_there(conn, "/etc/hostname/a")
    assert pools(one) == before


def test_others_look_into_the_same_folder_at_once(one: Lab) -> None:
    """One of them whose maker was killed is there still; it goes with whoever looks next."""
    before = pools(one)
    files = [f"{FOLDER}/file{number}" for number in range(24)]
    one.tree("kvm1", FOLDER).mkdir(exist_ok=True)

    def removed(mine: t.Sequence[str]) -> bool:
        with opened(one.uri("kvm1")) as conn:
            return all(is_there(conn, file) and remove(conn, file) and not is_there(conn, file) for file in mine)

    for _round in range(6):  # it is when they begin that one takes the pool away from under another's feet
        for file in files:
            one.tree("kvm1", file).write_text("")
        one.virsh("kvm1", "pool-create-as", f"{PASSING}left", "dir", "--target", FOLDER)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            assert list(pool.map(removed, (files[number::4] for number in range(4)))) == [True] * 4
        assert pools(one) == before


def test_somebody_s_own_pool_over_the_folder_is_used_and_stays(one: Lab) -> None:
    one.virsh("kvm1", "pool-define-as", "nvram", "dir", "--target", FOLDER)
    for state in ("inactive", "active"):
        if state == "active":
            one.virsh("kvm1", "pool-start", "nvram")
        one.tree("kvm1", f"{FOLDER}/late").write_text("")  # since libvirt last looked
        with opened(one.uri("kvm1")) as conn:
            assert (is_there(conn, f"{FOLDER}/late"), remove(conn, f"{FOLDER}/late")) == (True, True)
        assert state in one.virsh("kvm1", "pool-list", "--all")
    one.virsh("kvm1", "pool-destroy", "nvram")
    one.virsh("kvm1", "pool-undefine", "nvram")
