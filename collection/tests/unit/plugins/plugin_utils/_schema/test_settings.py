# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings and their defaults."""

from __future__ import annotations

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import (
    compute_settings,
    count_of,
    fleet_settings,
)


def test_compute_defaults_are_novas() -> None:
    settings = compute_settings({})

    assert (settings.vcpus_ratio, settings.memory_ratio, settings.disk_ratio) == (4.0, 1.0, 1.0)
    assert (settings.vcpus_reserved, settings.memory_reserved, settings.disk_reserved) == (0, 512, 0)
    assert (settings.uri, settings.migration_uri, settings.state) == ("qemu:///system", None, "enabled")
    assert (settings.zone, settings.pools, settings.default_pool) == (None, None, None)
    assert (settings.traits, settings.networks, settings.state_dir) == ((), {}, "/var/lib/flotilla")


def test_compute_settings_as_written() -> None:
    settings = compute_settings(
        {
            "compute_allocation_ratio": {"memory": 2},
            "compute_reserved": {"memory": "4GiB", "disk": "1TiB"},
            "compute_availability_zone": "east",
            "compute_pools": ["fast"],
            "compute_traits": ["CUSTOM_SSD"],
            "compute_state": None,
        }
    )

    assert (settings.vcpus_ratio, settings.memory_ratio) == (4.0, 2.0)
    assert isinstance(settings.memory_ratio, float)
    assert (settings.vcpus_reserved, settings.memory_reserved, settings.disk_reserved) == (0, 4096, 1024)
    assert (settings.zone, settings.pools, settings.traits) == ("east", ("fast",), ("CUSTOM_SSD",))
    assert settings.state == "enabled"


def test_fleet_defaults() -> None:
    settings = fleet_settings({})

    assert (settings.name, settings.survey_max_age, settings.reclaim, settings.timeout) == ("default", 600, 24, 30)
    assert (settings.prune, settings.prune_max, settings.prune_confirm, settings.host_slots) == (False, 5, None, 10)
    assert (settings.allow, settings.servers, settings.assume_absent, settings.drain) == (frozenset(), (), (), None)
    assert (settings.strict, settings.take_over, settings.ledger, settings.scheduler) == (False, False, None, {})


def test_fleet_settings_from_extra_variables() -> None:
    settings = fleet_settings(
        {
            "fleet_strict": "yes",
            "fleet_timeout": "5",
            "fleet_allow": "restart, delete",
            "fleet_servers": "web1,db*",
            "fleet_max_failures": "3",
            "fleet_prune": None,
        }
    )

    assert (settings.strict, settings.timeout, settings.prune) == (True, 5, False)
    assert settings.allow == frozenset({"restart", "delete"})
    assert settings.servers == ("web1", "db*")
    assert settings.max_failures == "3"


def test_secrets_are_not_in_the_repr() -> None:
    settings = fleet_settings({"fleet_ledger": "postgresql://u:pl4nted@db/x", "fleet_secret_key": "pl4nted" * 3})

    assert settings.ledger == "postgresql://u:pl4nted@db/x"
    assert "pl4nted" not in repr(settings)


@pytest.mark.parametrize(
    ("limit", "total", "expected"),
    [(3, 10, 3), ("3", 10, 3), ("20%", 10, 2), ("10%", 5, 1), ("0%", 5, 0), ("50%", 0, 0), ("100%", 7, 7), (0, 7, 0)],
)
def test_count_of(limit: int | str, total: int, expected: int) -> None:
    assert count_of(limit, total) == expected
