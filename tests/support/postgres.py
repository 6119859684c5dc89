# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of the tests' own, from Debian's package: a private folder, a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import psycopg

USER = "flotilla"
_DEADLINE = 30.0


@dataclasses.dataclass(frozen=True)
class PostgreSQL:
    port: int
    password: str
    _numbers: t.Iterator[int] = dataclasses.field(default_factory=itertools.count, repr=False)

    def url(self, database: str, password: str | None = None) -> str:
        return f"postgresql://{USER}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"fleet{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextlib.contextmanager
def running_postgresql() -> t.Iterator[PostgreSQL]:
    """Run the server for the block. PostgreSQL refuses to be root: then it is Debian's user postgres."""
    folder = Path(tempfile.mkdtemp(prefix="flotilla-postgresql-"))
    server = None
    try:
        made = PostgreSQL(_free_port(), secrets.token_hex(12))
        _make_cluster(folder, made.password)
        server = _start(folder, made.port)
        _wait(made, server, folder)
        yield made
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # "fast shutdown": connections are cut, the data is whole
            server.wait(_DEADLINE)
        shutil.rmtree(folder)


def _make_cluster(folder: Path, password: str) -> None:
    (folder / "password").write_text(password, encoding="ascii")
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        for path in (folder, folder / "password"):
            os.chown(path, account.pw_uid, account.pw_gid)
    options = [
        "--auth=scram-sha-256",
        f"--username={USER}",
        f"--pwfile={folder}/password",
        "--no-sync",
        "--locale=C.UTF-8",
    ]
    command = [*_as_server(), _program("initdb"), f"--pgdata={folder}/data", *options]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
    options = itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in settings.items())
    command = [*_as_server(), _program("postgres"), "-D", str(folder / "data"), *options]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def _wait(made: PostgreSQL, server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not _answers(made):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL doesn't start: {(folder / 'log').read_text()}")
        time.sleep(0.05)


def _answers(made: PostgreSQL) -> bool:
    try:
        psycopg.connect(made.url("postgres"), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _as_server() -> list[str]:
    """The server goes when the tests are killed; and as root, it is another user."""
    user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *user, "--pdeathsig=INT", "--"]


def _program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError(f"PostgreSQL's {name} is missing: apt-get install postgresql")
    return str(found[-1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
