# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""URLs with secrets in them, and without.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations


def without_credentials(url: str) -> tuple[str, str | None]:
    """The URL without ``user:password@``, and that as it is quoted there. What is no URL may hold one, too."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    if not at:
        return url, None
    return f"{scheme}{separator}{host}{slash}{path}", credentials


def shown(url: str) -> str:
    """*url* for a message: without user, password, query and fragment, which may hold a signature or a token."""
    bare, _credentials = without_credentials(url)
    return bare.partition("#")[0].partition("?")[0]


__all__ = ["shown", "without_credentials"]
