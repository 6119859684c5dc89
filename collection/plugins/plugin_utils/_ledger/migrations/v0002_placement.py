# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Claims on resource classes of a site's own, whose quota a claim counts against, and builds that failed on a host."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    import sqlalchemy as sa
    from alembic import op

    op.add_column("claims", sa.Column("resources", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("claims", sa.Column("project", sa.Text))
    op.add_column("hosts", sa.Column("failed_builds", sa.Integer, nullable=False, server_default="0"))
