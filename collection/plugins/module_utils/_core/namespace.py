# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flotilla's own element in a domain's metadata: its namespace, and its text.

Note that this module util is **PRIVATE** to the collection.

``<metadata><flotilla:server xmlns:flotilla="urn:flotilla:compute:server:1">JSON</flotilla:server></metadata>``: the
text is ``Record.dumps()``. The namespace stays: records on hosts are found by it.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from xml.etree.ElementTree import Element

URI = "urn:flotilla:compute:server:1"
PREFIX = "flotilla"
ELEMENT = "server"


def record_text(root: Element) -> str | None:
    """The text of the record in a domain's XML; None when there is no record."""
    element = root.find(f"metadata/{{{URI}}}{ELEMENT}")
    return None if element is None else element.text or ""


__all__ = ["ELEMENT", "PREFIX", "URI", "record_text"]
