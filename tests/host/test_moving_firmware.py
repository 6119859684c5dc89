# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cold moves of servers with UEFI whose hosts have its variables in one folder: what is left behind, and
what the guest has, are one file."""

from __future__ import annotations

import dataclasses
import os
import typing as t

import pytest
from tests.host.guests import HostUnderTest, create, host, nothing_stays, ok, step
from tests.host.test_live_firmware import FOLDER, file_at, one_folder
from tests.host.test_moving import SMALL, Pair, delete, migration, pair

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.resizing import revert

__all__ = ["host", "nothing_stays", "one_folder", "pair"]  # fixtures

pytestmark = pytest.mark.soak


def running(first: HostUnderTest) -> Record:
    made = first.new("web1", flavor=SMALL)
    made = dataclasses.replace(
        made,
        spec={"flavor": SMALL.to_json()},
        hardware=dataclasses.replace(made.hardware, firmware="uefi", machine="q35"),
    )
    done = first.run(create(made), step("start", made, 1), record=made)
    ok(done)
    return Record.from_json(done[0]["record"])


def test_they_stay_whichever_copy_goes(one_folder: HostUnderTest, pair: Pair) -> None:
    running(one_folder)
    folder = file_at("kvm1", FOLDER)
    with (folder / "web1_VARS.fd").open("rb") as file:

        def stays() -> bool:
            """One that is gone is made anew with the next start: it must be the very file."""
            return os.fstat(file.fileno()).st_nlink == 1

        pair.do(migration(pair))
        now = pair.where()
        assert (now.host, stays()) == ("kvm2", True)
        pair.do(revert(t.cast(Record, now.record), now.guest))
        assert (pair.where().host, stays()) == ("kvm1", True)
        pair.do(migration(pair, confirmed=True))
        assert (pair.where().host, stays()) == ("kvm2", True)
    delete(pair)
    assert list(folder.iterdir()) == []
