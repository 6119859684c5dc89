# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The door to libvirt: opening it, and its errors as sentences.

Note that this module util is **PRIVATE** to the collection.

Only this folder imports libvirt, and only here: its neighbours take ``libvirt`` from this file. Its binding has no
types, so everything that it gives is ``Any`` (``Connection``, ``Domain`` … say what is meant).
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import traceback
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError

LIBVIRT_IMPORT_ERROR: str | None = None
try:
    import libvirt
except ImportError:
    LIBVIRT_IMPORT_ERROR = traceback.format_exc()
    libvirt = None

DEFAULT_URI = "qemu:///system"
#: Seconds between two signs of life, and how many may be missing.
_KEEPALIVE = (5, 3)
#: What `missing_required_lib` is asked for when LIBVIRT_IMPORT_ERROR is set.
LIBVIRT_PACKAGE = "libvirt (Debian: python3-libvirt, Fedora and EL: python3-libvirt, SUSE: python3-libvirt-python)"

Connection = t.Any
Domain = t.Any
Pool = t.Any
Volume = t.Any
Network = t.Any

#: What an operator can do about an error that libvirt explains too little: libvirt's code -> what to do.
_ADVICE = {
    "VIR_ERR_NO_CONNECT": "check compute_libvirt_uri, and that the driver's package is installed",
    "VIR_ERR_AUTH_FAILED": "run as root (become: true) or as a member of the group libvirt",
    "VIR_ERR_AUTH_CANCELLED": "run as root (become: true) or as a member of the group libvirt",
    "VIR_ERR_AUTH_UNAVAILABLE": "run as root (become: true) or as a member of the group libvirt",
    "VIR_ERR_ACCESS_DENIED": "run as root (become: true) or as a member of the group libvirt",
    "VIR_ERR_OPERATION_TIMEOUT": "another job holds it: look at `virsh domjobinfo`, then run again",
}
_NOT_FOUND = (
    "VIR_ERR_NO_DOMAIN",
    "VIR_ERR_NO_DOMAIN_METADATA",
    "VIR_ERR_NO_NETWORK",
    "VIR_ERR_NO_NODE_DEVICE",
    "VIR_ERR_NO_NWFILTER",
    "VIR_ERR_NO_STORAGE_POOL",
    "VIR_ERR_NO_STORAGE_VOL",
)


def connect(uri: str, *, readonly: bool = False) -> Connection:
    """An open connection; the caller closes it (or uses ``opened``)."""
    # Without a handler libvirt prints every error to stderr, those that are caught too.
    libvirt.registerErrorHandler(_silent, None)
    try:
        return libvirt.openReadOnly(uri) if readonly else libvirt.open(uri)
    except libvirt.libvirtError as exc:
        text = f"libvirt can't be reached at {uri!r}: {message_of(exc)}"
        raise FlotillaError(f"{text}; {_advice(exc) or 'is its daemon running on this host?'}") from exc


def reached(uri: str) -> Connection:
    """A connection to another host, which is given up when that host falls silent instead of waited for for ever.

    Its keep-alives need libvirt's event loop at work in this process.
    """
    run_events()
    conn = connect(uri)
    try:
        conn.setKeepAlive(*_KEEPALIVE)
    except libvirt.libvirtError as exc:
        if not is_error(exc, "VIR_ERR_NO_SUPPORT"):  # no connection over a network
            raise
    return conn


def run_events() -> None:
    """Libvirt's event loop, once for the life of this process. Only connections that are opened after it take part."""
    _run_events(os.getpid())


@functools.cache
def _run_events(_process: int) -> None:
    """A process that was forked has the loop of its parent, and no thread in which it runs."""
    libvirt.virEventRegisterDefaultImpl()

    def loop() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=loop, daemon=True).start()


@contextlib.contextmanager
def opened(uri: str, *, readonly: bool = False) -> t.Iterator[Connection]:
    """A connection for one ``with``; a libvirt error that nobody in it has put into words comes out as a sentence."""
    conn = connect(uri, readonly=readonly)
    try:
        yield conn
    except libvirt.libvirtError as exc:
        raise libvirt_error(exc, "work with libvirt at", repr(uri)) from exc
    finally:
        with contextlib.suppress(libvirt.libvirtError):
            conn.close()


def libvirt_error(exc: Exception, doing: str, what: str) -> FlotillaError:
    """A libvirtError as a sentence: ``libvirt_error(exc, "start", "server 'web1'")``."""
    advice = _advice(exc)
    return FlotillaError(f"can't {doing} {what}: {message_of(exc)}" + (f"; {advice}" if advice else ""))


def message_of(exc: Exception) -> str:
    """What libvirt says, on one line and without a full stop."""
    return " ".join(str(exc).split()).rstrip(".")


def found(lookup: t.Callable[..., t.Any], *args: t.Any) -> t.Any | None:
    """What a lookup finds, None when there is no such thing: ``found(conn.lookupByUUIDString, server_id)``."""
    try:
        return lookup(*args)
    except libvirt.libvirtError as exc:
        if is_error(exc, *_NOT_FOUND):
            return None
        raise


def supported(call: t.Callable[..., t.Any], *args: t.Any) -> t.Any | None:
    """What a call gives, None when the driver or the host has no such thing (the test driver lacks some)."""
    try:
        return call(*args)
    except libvirt.libvirtError as exc:
        if is_error(exc, "VIR_ERR_NO_SUPPORT", "VIR_ERR_CONFIG_UNSUPPORTED", "VIR_ERR_ARGUMENT_UNSUPPORTED"):
            return None
        raise


def is_error(exc: Exception, *names: str) -> bool:
    """Whether a libvirtError has one of these codes; a name that this libvirt doesn't know yet matches nothing."""
    code = getattr(exc, "get_error_code", lambda: None)()
    return code is not None and any(getattr(libvirt, name, None) == code for name in names)


def is_migrated(state: int, reason: int) -> bool:
    """Whether libvirt says that a domain is off because it went to another host. (A restart of libvirtd forgets it.)"""
    return (state, reason) == (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)


def _advice(exc: Exception) -> str | None:
    return next((advice for name, advice in _ADVICE.items() if is_error(exc, name)), None)


def _silent(_context: t.Any, _error: t.Any) -> None:
    return


__all__ = [
    "DEFAULT_URI",
    "LIBVIRT_IMPORT_ERROR",
    "LIBVIRT_PACKAGE",
    "Connection",
    "Domain",
    "Network",
    "Pool",
    "Volume",
    "connect",
    "found",
    "is_error",
    "is_migrated",
    "libvirt",
    "libvirt_error",
    "message_of",
    "opened",
    "reached",
    "run_events",
    "supported",
]
