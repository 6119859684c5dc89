# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a record keeps of a domain while another stands in its place."""

from __future__ import annotations

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.rescue import plain_xml


def test_a_record_keeps_no_password_of_a_console() -> None:
    xml = "<domain><devices><graphics type='vnc' passwd='geheim' listen='127.0.0.1'/></devices></domain>"
    kept = plain_xml(xml)
    assert "geheim" not in kept
    assert 'listen="127.0.0.1"' in kept
