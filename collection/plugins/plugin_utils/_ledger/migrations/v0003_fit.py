# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Claims on a host's dedicated cores, NUMA cells, huge pages and PCI devices."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    import sqlalchemy as sa
    from alembic import op

    op.add_column("claims", sa.Column("fit", sa.JSON))
