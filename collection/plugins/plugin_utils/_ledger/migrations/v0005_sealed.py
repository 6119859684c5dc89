# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What servers need to be built again without their inventory, encrypted."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "sealed",
        sa.Column("server_id", sa.Text, primary_key=True),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("updated", sa.Double, nullable=False),
    )
