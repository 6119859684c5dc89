# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a run begins no more, and a port that is waited for."""

from __future__ import annotations

import socket
import typing as t
from pathlib import Path

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, Refused
from ansible_collections.flotilla.compute.plugins.plugin_utils._health import check_turn, wait_port
from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger import Claim, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    found = Ledger.open(f"sqlite:///{tmp_path}/fleet.db", create=True)
    assert found is not None
    found.establish("office")
    return found


def failing(ledger: Ledger, *names: str) -> str:
    """A run in which a step has failed on these servers."""
    run = ledger.start_run("Reconcile")
    claimed = ledger.claim(run, [Claim(None, name, "kvm1", 1, 1, 1) for name in (*names, "well")]).won
    for name in (*names, "well"):
        ledger.begin_task(run, claimed[name].server_id, "powering-off", action="stop")
        if name == "well":
            ledger.end_task(run, claimed[name].server_id)
        else:
            ledger.fail(run, claimed[name].server_id, "the host is gone")
    return run


def turn(group: str, limit: int, position: int) -> dict[str, t.Any]:
    return {"turn": {"group": group, "limit": limit, "position": position}}


PLAN = {"web1": turn("web", 2, 0), "web2": turn("web", 2, 1), "db1": turn("db", 1, 0), "new1": {}}


@pytest.mark.parametrize(
    ("failed", "entry", "said"),
    [
        ((), {"max_failures": 1, **turn("web", 1, 0)}, None),
        (("web1",), {}, None),
        (("web1",), {"max_failures": 2}, None),
        (("web1", "new1"), {"max_failures": 2}, "fleet_max_failures is 2, and failed have new1, web1;"),
        (("web1",), turn("web", 2, 0), None),
        (("web1",), turn("web", 2, 1), "lets 2 of server group 'web' be down at once, and not healthy are web1;"),
        (("db1", "new1"), turn("web", 1, 0), None),
        (("db1",), turn("db", 1, 0), "lets 1 of server group 'db' be down at once, and not healthy are db1;"),
    ],
)
def test_failures_stop_what_comes_after_them(
    ledger: Ledger, failed: tuple[str, ...], entry: dict[str, t.Any], said: str | None
) -> None:
    whole = {"run_id": failing(ledger, *failed), **entry}
    if said is None:
        check_turn(ledger, whole, lambda: PLAN)
        return
    with pytest.raises(Refused) as caught:
        check_turn(ledger, whole, lambda: PLAN)
    assert said in str(caught.value)


def test_failures_of_another_run_stop_nobody(ledger: Ledger) -> None:
    run = failing(ledger, "web1")
    ledger.end_run(run, "failed")
    check_turn(ledger, {"run_id": ledger.start_run("Reconcile"), "max_failures": 1}, lambda: PLAN)


def record(*addresses: str) -> dict[str, t.Any]:
    return {"nics": [{"addresses": []}, {"addresses": [{"address": address} for address in addresses]}]}


def test_a_port_that_listens_is_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wait_port(record("127.0.0.1", "192.0.2.1"), server.getsockname()[1], 5)


def test_a_port_that_does_not_is_waited_for_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(FlotillaError, match=rf"^it is not healthy: port {port} of .* did not answer within 0.1 s"):
        wait_port(record("127.0.0.1"), port, 0.1)
    with pytest.raises(FlotillaError, match="no fixed address"):
        wait_port(record(), port, 1)
