# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hostname that a guest is given, made from its server's name by Nova's rule (nova.utils.sanitize_hostname).

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import re

MAX_LENGTH = 63  # of a DNS label


def hostname_of(name: str, *, fallback: str | None = None) -> str:
    """*name* as a hostname: ``Web_1 (test)`` is ``web-1-test``. Where nothing is left, *fallback*."""
    latin = name.encode("latin-1", "ignore").decode("latin-1")[:MAX_LENGTH]
    hostname = re.sub(r"[ _.]", "-", latin)
    hostname = re.sub(r"[^\w.-]+", "", hostname)
    return hostname.lower().strip(".-") or fallback or ""


__all__ = ["MAX_LENGTH", "hostname_of"]
