# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that empty a host, and who told a run to stop."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    import sqlalchemy as sa
    from alembic import op

    op.add_column("runs", sa.Column("host", sa.Text))
    op.add_column("runs", sa.Column("stop", sa.Text))
