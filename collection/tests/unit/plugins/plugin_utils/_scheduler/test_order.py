# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A batch's order is that of counting all possible hosts of all servers after every choice, only faster."""

from __future__ import annotations

import dataclasses
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.filters.registry import FILTERS
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.model import (
    MEMORY_MB,
    VCPU,
    Request,
    ServerGroup,
)
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.order import FewestFirst, kinds
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.select import Scheduler
from ansible_collections.flotilla.compute.plugins.plugin_utils._scheduler.settings import Settings
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.builders import host, request
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.examples import examples
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._scheduler.test_laws import (
    BATCHES,
    CLUSTERS,
    PLAIN_BATCHES,
    PLAIN_CLUSTERS,
    SETTINGS,
)


def counted_by_hand(scheduler: Scheduler, waiting: list[Request]) -> Request:
    """The rule, without any thought of cost."""

    def urgency(request: Request) -> tuple[t.Any, ...]:
        try:
            size = [-request.resources.get(resource, 0) for resource in (MEMORY_MB, VCPU)]
        except InvalidInput:
            return (True, 0, [0, 0], request.name)
        try:
            hosts = int(scheduler.possible(request).sum())
        except InvalidInput:
            hosts = 0
        return (not hosts, hosts, size, request.name)

    return min(waiting, key=urgency)


COUNTED = st.builds(
    Settings,
    enabled_filters=st.lists(
        st.sampled_from(sorted(set(FILTERS) - {"MetricsFilter", "AllHostsFilter"})), unique=True, max_size=8
    ),
    max_instances_per_host=st.integers(1, 6),
    max_io_ops_per_host=st.integers(1, 10),
)


@examples(200)
@given(
    st.one_of(
        st.tuples(CLUSTERS, BATCHES, st.one_of(SETTINGS, COUNTED)), st.tuples(PLAIN_CLUSTERS, PLAIN_BATCHES, COUNTED)
    )
)
def test_the_order_is_that_of_counting_everything_anew(given_all: t.Any) -> None:
    cluster, batch, options = given_all
    scheduler = Scheduler(cluster, dataclasses.replace(options, batch="auto"))
    waiting = list(batch)
    order = FewestFirst(scheduler.table, scheduler.filters, batch)
    for chosen in order:
        assert chosen == counted_by_hand(scheduler, waiting)
        waiting.remove(chosen)
        try:
            rows = scheduler.possible(chosen).nonzero()[0].tolist()
        except InvalidInput:
            continue
        if rows:
            scheduler.table.consume(rows[-1], chosen)
            order.count(rows[-1], chosen)
    assert not waiting


def test_alike_servers_are_one_kind() -> None:
    scheduler = Scheduler([host()])
    spread = ServerGroup("spread", "anti-affinity")
    batch = [request(f"web{n}", id=f"id-{n}") for n in range(3)] + [request(f"db{n}", group=spread) for n in range(2)]
    found = kinds(scheduler.table, scheduler.filters, batch)
    assert [[server.name for server in kind.requests] for kind in found] == [["web0", "web1", "web2"], ["db0", "db1"]]


def test_a_server_that_a_hint_names_is_a_kind_by_itself() -> None:
    scheduler = Scheduler([host()])
    batch = [request("web0"), request("web1"), request("web2", hints={"different_host": ["web1"]})]
    found = kinds(scheduler.table, scheduler.filters, batch)
    assert [[server.name for server in kind.requests] for kind in found] == [["web0"], ["web1"], ["web2"]]
