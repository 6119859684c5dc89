# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether another host's ports are reached from here, before anything is sent to them.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import socket
import urllib.parse

_QEMU_CONF = pathlib.Path("/etc/libvirt/qemu.conf")
#: The last of the ports that libvirt gives to migrations (qemu.conf, migration_port_max).
_LAST_MIGRATION_PORT = 49215
_SET = re.compile(r"^\s*migration_port_max\s*=\s*(\d+)", re.MULTILINE)
_WITHIN = 3.0


def host_of_uri(uri: str) -> str | None:
    """The host that a libvirt URI leads to; None for this one."""
    return urllib.parse.urlsplit(uri).hostname


def last_migration_port(conf: pathlib.Path = _QEMU_CONF) -> int:
    """The last port that migrations may get, as this host has it: one fleet has one setting.

    The one to try: libvirt gives the lowest that is free, and QEMU takes whoever connects first for the source of its
    guest. A try of such a port breaks the migration of another guest that is about to begin.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        said = _SET.findall(conf.read_text(encoding="utf-8"))
        return int(said[-1]) if said else _LAST_MIGRATION_PORT
    return _LAST_MIGRATION_PORT


def unreached(host: str, port: int, within: float = _WITHIN) -> str | None:
    """Why a port of another host is not reached from here; None if it is. Nobody needs to listen there: a host that
    refuses the connection has been reached, and a firewall lets it wait or calls it unreachable."""
    try:
        with socket.create_connection((host, port), timeout=within):
            return None
    except ConnectionRefusedError:
        return None
    except socket.timeout:  # TimeoutError from Python 3.10 on
        return f"no answer within {within:g} s"
    except OSError as exc:
        return exc.strerror or str(exc)


__all__ = ["host_of_uri", "last_migration_port", "unreached"]
