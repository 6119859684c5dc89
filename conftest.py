# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookups, actions and inventory plugins are found through Ansible's own loader; the pure core needs none of it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import hypothesis
import pytest

# The runs that tests start have the collection's code compiled by the one before, as operators' runs have.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A law holds however slowly its inputs are made: two workers, and the hosts of their labs, share two cores.
hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")

# Each of them does what other tests sample, as often as there are samples.
SOAK_TIMEOUT = 4 * 3600

#: Folders of tests on real hosts, and of what takes as long; the longest first.
SLOW = ("molecule", "e2e", "host", "tutorial", "bench", "toolchain")

try:
    from ansible.plugins.loader import init_plugin_loader
except ImportError:  # the pure core is tested with no Ansible installed
    pass
else:
    init_plugin_loader([str(Path(__file__).parent / ".dev")])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("soak") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SOAK_TIMEOUT))
    items[:] = dealt(items)


def dealt(items: list[pytest.Item]) -> list[pytest.Item]:
    """In the order in which two workers are done with them at the same time.

    pytest-xdist gives each worker one half of the list, and who is done first takes of what the other has at its end.
    So each half begins with tests that take long, the longest first, and ends with quick ones.
    """
    last = len(SLOW)
    places = {item: SLOW.index(name) if (name := item.path.parent.name) in SLOW else last for item in items}
    modules = [
        list(module)
        for _path, module in itertools.groupby(sorted(items, key=places.__getitem__), key=lambda item: item.path)
    ]
    slow = [module for module in modules if places[module[0]] < last]
    quick = list(itertools.chain.from_iterable(modules[len(slow) :]))
    first, second = (list(itertools.chain.from_iterable(slow[begin::2])) for begin in (0, 1))
    share = max(0, len(items) // 2 - len(first))
    return [*first, *quick[:share], *second, *quick[share:]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Runs in which something was broken on purpose are counted where everybody sees them, and so is how long it took
    what somebody waits for."""
    for section in ("fault runs", "times"):
        told = [
            text
            for report in terminalreporter.getreports("passed")
            for name, text in getattr(report, "user_properties", ())
            if name == section and report.when == "call"
        ]
        if told:
            terminalreporter.section(section)
            terminalreporter.write_line("\n".join(sorted(map(str, told))))
