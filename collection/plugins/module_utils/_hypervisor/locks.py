# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One step at a time on a server of this host: locks that end with their holder.

Note that this module util is **PRIVATE** to the collection.

A lock is an flock on ``<state_dir>/locks/<name>``, so that a killed module leaves none behind, and a module that
outlives its killed run still holds its own. The file says who: {"run_id", "step", "since"}.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import re
import time
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InProgress

_FOLDER = "locks"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SERVER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: ``held`` takes each lock for an instant to look at it: who finds a lock taken looks again before believing it.
_GLANCE = 0.3
_POLL = 0.05


@contextlib.contextmanager
def server_lock(state_dir: str, server_id: str, *, run_id: str, step: str, wait: float = 0) -> t.Iterator[None]:
    """Hold a server's lock; InProgress when another still holds it after ``wait`` seconds."""
    with named_lock(state_dir, server_id, run_id=run_id, step=step, wait=wait, what=f"server {server_id}"):
        yield


@contextlib.contextmanager
def named_lock(
    state_dir: str, name: str, *, run_id: str, step: str, wait: float = 0, what: str | None = None
) -> t.Iterator[None]:
    """Hold a lock of this host; ``what`` is how messages call it (an image, the host's marker)."""
    path = _path(state_dir, name)
    fd = _acquire(path, wait=wait, what=what or name)
    try:
        _write(fd, {"run_id": run_id, "step": step, "since": _now()})
        yield
    finally:
        # Removed while it is held: who waits for it sees that its file is no longer the one at the path.
        path.unlink(missing_ok=True)
        os.close(fd)


def held(state_dir: str) -> list[dict[str, str]]:
    """The locks of servers that are held right now: [{"server_id", "run_id", "step", "since"}]."""
    try:
        paths = sorted(pathlib.Path(state_dir, _FOLDER).iterdir())
    except FileNotFoundError:
        return []
    looks = ((path.name, _look(path)) for path in paths if _SERVER_ID.fullmatch(path.name))
    return [{"server_id": name, **holder} for name, holder in looks if holder is not None]


def _acquire(path: pathlib.Path, *, wait: float, what: str) -> int:
    deadline = time.monotonic() + max(wait, _GLANCE)
    while True:
        fd = _try(path)
        if fd is not None:
            return fd
        if time.monotonic() >= deadline:
            raise InProgress(_sentence(what, path, waited=wait))
        time.sleep(_POLL)


def _try(path: pathlib.Path) -> int | None:
    """The lock's descriptor, None when another holds it or has just removed the file that was locked."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(fd, path):
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _is_at(fd: int, path: pathlib.Path) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def _look(path: pathlib.Path) -> dict[str, str] | None:
    """Who holds a lock, None when nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    finally:
        os.close(fd)
    return None


def _read(fd: int) -> dict[str, str]:
    """What a lock's file says; a holder that has not yet written it is a holder all the same."""
    try:
        data = json.loads(os.pread(fd, 4096, 0))
        return {key: str(data[key]) for key in ("run_id", "step", "since")}
    except (ValueError, KeyError, TypeError):
        return {"run_id": "", "step": "", "since": ""}


def _write(fd: int, data: t.Mapping[str, str]) -> None:
    """Who holds the lock; on a full disk nobody learns it, and the lock holds all the same."""
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(data).encode("ascii"), 0)


def _sentence(what: str, path: pathlib.Path, *, waited: float) -> str:
    holder = _look(path) or {"run_id": "", "step": "", "since": ""}
    who = f"run {holder['run_id']}" if holder["run_id"] else "another run"
    doing = f" (step {holder['step']}, since {holder['since']})" if holder["step"] else ""
    patience = f" and still was after {waited:g} s" if waited else ""
    return f"{what} is being worked on by {who}{doing}{patience}; wait for that to end, then run again"


def _path(state_dir: str, name: str) -> pathlib.Path:
    if not _NAME.fullmatch(name):
        raise FlotillaError(f"{name!r} can't name a lock: letters, digits, '-' and '_' only")
    folder = pathlib.Path(state_dir, _FOLDER)
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise FlotillaError(
            f"the folder {str(folder)!r} can't be made: {exc.strerror}; check compute_state_dir"
        ) from exc
    return folder / name


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


__all__ = ["held", "named_lock", "server_lock"]
