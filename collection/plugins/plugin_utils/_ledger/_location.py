# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a ledger is: its URL, the default one, and how it is spoken of without its password.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import typing as t
import urllib.parse
from pathlib import Path

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError, InvalidInput
from ansible_collections.flotilla.compute.plugins.plugin_utils._deps import need

if t.TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = [
    "default_url",
    "name_of",
    "network_file_system",
    "parse_url",
    "prepare_file",
    "refuse_file_in_awx",
    "shown",
    "state_dir",
]

_FORMS = "sqlite:////folder/fleet.db or postgresql://user@host/database"
_POSTGRESQL = ("postgres", "postgresql", "postgresql+psycopg")
# File systems whose locks SQLite can't rely on, as /proc/mounts names them.
_NETWORK = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gfs2", "glusterfs"),
        *("gpfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"),
    )
)


def state_dir(folder: str | None = None, *, env: t.Mapping[str, str] | None = None) -> str:
    """Where the controller keeps what is the fleet's: *folder*, else flotilla in the user's state directory."""
    if folder:
        return str(Path(folder).expanduser().absolute())
    env = os.environ if env is None else env
    base = env.get("XDG_STATE_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".local" / "state")
    return str(Path(base) / "flotilla")


def default_url(fleet_name: str, folder: str | None = None, *, env: t.Mapping[str, str] | None = None) -> str:
    """FLOTILLA_LEDGER, else an SQLite file named after the fleet in its state directory."""
    env = os.environ if env is None else env
    if env.get("FLOTILLA_LEDGER"):
        return env["FLOTILLA_LEDGER"]
    if not fleet_name or "/" in fleet_name or fleet_name.startswith("."):
        raise InvalidInput(
            f"fleet_name {fleet_name!r} can't name the ledger's file: use letters, digits and '-', or set fleet_ledger"
        )
    return f"sqlite:///{urllib.parse.quote(state_dir(folder, env=env))}/{urllib.parse.quote(fleet_name)}.db"


def parse_url(text: str) -> sa.URL:
    """The URL with the driver that is used here and, for SQLite, an absolute path."""
    url: sa.URL
    if text.startswith("sqlite:///"):
        return _file_url(text)
    try:
        url = need("sqlalchemy").make_url(text)
    except Exception:  # noqa: BLE001  # whatever it is, its text may hold the password
        raise InvalidInput(f"fleet_ledger is no database URL; write {_FORMS}") from None
    if url.drivername in _POSTGRESQL:
        return url.set(drivername="postgresql+psycopg")
    raise InvalidInput(f"fleet_ledger: a ledger can't be kept in {url.drivername!r}; write {_FORMS}")


def _file_url(text: str) -> sa.URL:
    """Percent signs are read here: SQLAlchemy 2.0 takes them as they are, 2.1 decodes them."""
    path, _mark, options = text.removeprefix("sqlite:///").partition("?")
    if not path or path == ":memory:" or options:
        raise InvalidInput(f"fleet_ledger {text!r} names no file; write sqlite:////folder/fleet.db")
    file = Path(urllib.parse.unquote(path)).expanduser().absolute()
    url: sa.URL = need("sqlalchemy").URL.create("sqlite", database=str(file))
    return url


#: What AWX sets for a job, and for an update of an inventory source; one name alone other programs use, too.
_AWX = (frozenset({"AWX_HOST", "JOB_ID"}), frozenset({"AWX_PRIVATE_DATA_DIR", "INVENTORY_UPDATE_ID"}))


def refuse_file_in_awx(url: sa.URL, *, env: t.Mapping[str, str] | None = None) -> None:
    """A file that a job of AWX makes ends with the job's container, and with it what was promised to whom."""
    env = os.environ if env is None else env
    if url.drivername == "sqlite" and any(names <= env.keys() for names in _AWX):
        raise InvalidInput(
            f"the ledger {shown(url)} is an SQLite file, which ends with the container of this AWX job; set "
            "fleet_ledger to a PostgreSQL database, or give the job template a credential of the type 'Flotilla ledger'"
        )


def shown(url: sa.URL) -> str:
    """The URL for people: no password, nor the parameters, which may hold one."""
    return url.set(query={}).render_as_string(hide_password=True).replace("+psycopg", "", 1)


def name_of(text: str) -> str:
    """What messages call the ledger at this URL."""
    return shown(parse_url(text))


def prepare_file(path: Path) -> None:
    """Make the ledger's file, for its owner alone, if it isn't there; refuse places where locks don't hold."""
    kind = network_file_system(path)
    if kind:
        raise FlotillaError(
            f"the ledger {str(path)!r} is on a network file system ({kind}), where SQLite's locks don't hold; "
            "set fleet_ledger to a file on a local disk or to a PostgreSQL database"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise FlotillaError(
            f"the ledger {str(path)!r} can't be made: {exc.strerror}; make its folder writable or set fleet_ledger"
        ) from exc


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that *path* is on, as far as it can be seen."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    real = path.parent.resolve() / path.name
    found = (0, "")
    for line in mounts.splitlines():
        _device, mounted, kind, *_options = line.split(" ")
        point = Path(mounted.replace("\\040", " "))
        if real.is_relative_to(point) and len(point.parts) >= found[0]:
            found = (len(point.parts), kind)
    return found[1] if found[1] in _NETWORK else None
