# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""URLs with secrets in them, and without.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import typing as t

from .errors import InvalidInput


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


def port_number(value: t.Any, what: str) -> int:
    """*value* as a port to connect to; InvalidInput says of *what* it is none."""
    try:
        port = int(str(value))
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise InvalidInput(f"{what} is {value!r}, allowed is a port from 1 to 65535")
    return port


__all__ = ["port_number", "shown", "without_credentials"]
