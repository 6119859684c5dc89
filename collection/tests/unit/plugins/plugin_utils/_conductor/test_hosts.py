# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compute hosts as a plan sees them."""

from __future__ import annotations

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._conductor.hosts import surveyed
from ansible_collections.flotilla.compute.plugins.plugin_utils._schema.settings import compute_settings

SSH = (
    "Task failed: Data could not be sent to remote host '10.213.0.12'. Make sure this host can be reached over ssh: "
    "mux_client_request_session: read from master failed: Broken pipe\r\n"
    "ssh: connect to host 10.213.0.12 port 22: Connection timed out\r\n"
)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (SSH, "ssh: connect to host 10.213.0.12 port 22: Connection timed out"),
        ("libvirtd does not answer:\nit is off", "libvirtd does not answer: it is off"),
        (None, "it was not surveyed in this run"),
        ("x" * 1000, "x" * 297 + "..."),
    ],
)
def test_a_host_that_gave_no_survey_is_down_for_a_reason_on_one_line(said: str | None, why: str) -> None:
    (compute,) = surveyed({"kvm2": compute_settings({})}, {"kvm2": {"msg": said} if said else {}})
    assert (compute.up, compute.why) == (False, why)
