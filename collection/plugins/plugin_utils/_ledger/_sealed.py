# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What servers need to be built again without their inventory: kept as the caller has encrypted it.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

It is in no snapshot: few runs need it, and of few servers.
"""

from __future__ import annotations

from ansible_collections.flotilla.compute.plugins.plugin_utils._ledger._part import Part

__all__ = ["Sealed"]


class Sealed(Part):
    """Tokens by server id. They go with their server."""

    def seal(self, server_id: str, token: str | None) -> None:
        """Keep it in place of what was kept; None forgets that. One for a server that is no more is nobody's."""
        with self._database.write() as tx:
            sealed, servers = tx.tables.sealed, tx.tables.servers
            tx.run(sealed.delete().where(sealed.c.server_id == server_id))
            if token is not None and tx.first(servers.select().where(servers.c.id == server_id)) is not None:
                tx.run(sealed.insert().values(server_id=server_id, token=token, updated=tx.now))

    def sealed(self, server_id: str) -> str | None:
        with self._database.read() as tx:
            sealed = tx.tables.sealed
            row = tx.first(sealed.select().where(sealed.c.server_id == server_id))
            return None if row is None else str(row.token)
