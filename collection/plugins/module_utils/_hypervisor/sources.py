# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an image comes from: a URL or a file on this host, read from front to end.

Note that this module util is **PRIVATE** to the collection.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.urls import shown, without_credentials

if t.TYPE_CHECKING:
    import http.client

#: Seconds of silence after which a server counts as gone. Less than half of images.LEASE: who fetches gives up first.
SILENCE = 30


class Reader(t.Protocol):
    """A source while it is open. ``size`` in bytes; ``read`` gives b"" at the end."""

    size: int

    def read(self, length: int) -> bytes: ...


def open_url(url: str) -> t.ContextManager[Reader]:
    """An http(s) URL, or a file:// one, which is a file of this host."""
    from urllib.parse import unquote, urlsplit  # here, since no other module call on a host needs it

    try:
        parts = urlsplit(url)
    except ValueError:
        # The cause names the host as it stands there, with the password before it.
        raise InvalidInput(f"url {shown(url)!r} can't be read: its host is none") from None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return open_file(unquote(parts.path))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"url {shown(url)!r} can't be fetched: it must begin with http://, https:// or file:///")
    return _open_http(url)


@contextlib.contextmanager
def open_file(path: str) -> t.Iterator[Reader]:
    try:
        file = pathlib.Path(path).open("rb")  # noqa: SIM115  # closed below; opening alone may fail here
    except OSError as exc:
        raise FlotillaError(f"the file {path!r} can't be read on this host: {exc.strerror}") from exc
    with file:
        yield _Reader(file, size=os.fstat(file.fileno()).st_size, what=repr(path))


@contextlib.contextmanager
def _open_http(url: str) -> t.Iterator[Reader]:
    response = _request(url)
    with contextlib.closing(response):
        length = response.headers.get("Content-Length")
        if length is None or not length.isdigit():
            raise FlotillaError(
                f"{shown(url)}: the server doesn't say how long the image is (no Content-Length); "
                "serve it as a plain file, or give the file itself"
            )
        yield _Reader(response, size=int(length), what=shown(url))


def _request(url: str) -> http.client.HTTPResponse:
    import urllib.error
    import urllib.request
    from urllib.parse import unquote

    # No handler for ftp and file: a server may redirect, but not to this host's own files.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    bare, credentials = without_credentials(url)
    headers = {"User-Agent": "flotilla.compute", "Accept-Encoding": "identity"}
    request = urllib.request.Request(bare, headers=headers)  # noqa: S310  # open_url has looked at the scheme
    if credentials:
        # Unredirected: another server that this one points to is not given the password.
        request.add_unredirected_header(
            "Authorization", "Basic " + base64.b64encode(unquote(credentials).encode()).decode()
        )
    try:
        return t.cast("http.client.HTTPResponse", opener.open(request, timeout=SILENCE))
    except urllib.error.HTTPError as exc:
        exc.close()
        raise FlotillaError(f"{shown(url)} can't be fetched: HTTP {exc.code} {exc.reason}") from exc
    except urllib.error.URLError as exc:
        raise FlotillaError(f"{shown(url)} can't be fetched: {_reason(exc.reason)}") from exc
    except (OSError, ValueError, _http_exception()) as exc:
        raise FlotillaError(f"{shown(url)} can't be fetched: {_reason(exc)}") from exc


class _Reader:
    """A file or an HTTP response whose errors are sentences, and whose end is its end."""

    def __init__(self, source: t.Any, *, size: int, what: str) -> None:
        self.size = size
        self._source = source
        self._what = what
        self._left = size

    def read(self, length: int) -> bytes:
        """Up to *length* bytes; fewer only at the end."""
        parts = []
        while length > 0 and self._left > 0:
            part = self._read(min(length, self._left))
            if not part:
                raise FlotillaError(f"{self._what} ended {self._left} bytes before its size of {self.size}; run again")
            parts.append(part)
            length -= len(part)
            self._left -= len(part)
        return b"".join(parts)

    def _read(self, length: int) -> bytes:
        try:
            return t.cast(bytes, self._source.read(length))
        except (OSError, _http_exception()) as exc:
            raise FlotillaError(
                f"{self._what} broke off with {self._left} of {self.size} bytes to go: {_reason(exc)}; run again"
            ) from exc


def _http_exception() -> type[Exception]:
    import http.client

    return http.client.HTTPException


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer for {SILENCE} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


__all__ = ["SILENCE", "Reader", "open_file", "open_url"]
