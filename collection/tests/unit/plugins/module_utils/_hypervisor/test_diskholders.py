# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who has a disk's file open: this very process, for one."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.diskholders import holders_of


def test_a_process_that_has_the_file_open_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"data")
    link = tmp_path / "other-name"
    link.symlink_to(disk)
    assert holders_of(str(disk)) == []
    with disk.open("rb"):
        (held,) = holders_of(str(link))
        assert held.startswith(f"process {os.getpid()} (")
    assert holders_of(str(tmp_path / "none")) == []
