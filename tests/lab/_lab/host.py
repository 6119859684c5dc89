# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host's life: start, stop, what runs in it, commands inside."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import typing as t
from pathlib import Path
from xml.etree import ElementTree

from . import net, process
from .errors import LabError
from .layout import LIBVIRT_TCP_PORT, PRIVATE_FILES, PRIVATE_FOLDERS, ROOT, SSH_PORT, Host
from .run import run, succeeds

HOST_INIT = Path(__file__).with_name("host-init")
READY_TIMEOUT = 60.0
POLL_INTERVAL = 0.02
HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def start(host: Host) -> None:
    """Cables in, namespaces made, daemons on their way; `wait_until_ready` sees them arrive. Guests are not started."""
    net.plug(host)
    command = [
        *("ip", "netns", "exec", host.namespace),
        *("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
        *("/bin/sh", str(HOST_INIT), host.name, str(ROOT), str(host.lab.shared_pool), str(host.tree), str(host.etc)),
        *PRIVATE_FOLDERS,
        *PRIVATE_FILES,
    ]
    with open(host.log, "ab") as log:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": HOST_PATH, "HOME": "/root", "LANG": "C.UTF-8"},
            start_new_session=True,
        )
    process.write_pid_file(host.pid_file, started.pid)


def stop(host: Host) -> None:
    """Pulls the plug: no goodbye to the network, then every process of the host killed at once."""
    net.pull(host)
    first = first_process(host)
    if first is not None:
        process.kill(first)
    clear_namespace(host.namespace)
    host.pid_file.unlink(missing_ok=True)


def clear_namespace(namespace: str) -> None:
    """Kills what still runs in a network namespace, by pid, and removes it."""
    if namespace not in os.listdir("/run/netns"):
        return
    while pids := net.pids_in(namespace):
        for pid in pids:
            process.kill(pid)
    net.remove_namespace(namespace)


def first_process(host: Host) -> int | None:
    """The machine's pid of the host's first process; None when the host is off."""
    parent = process.read_pid_file(host.pid_file)
    return None if parent is None else process.only_child(parent)


def is_on(host: Host) -> bool:
    return first_process(host) is not None


def is_cut(host: Host) -> bool:
    return host.cut_file.exists()


def cut(host: Host) -> None:
    host.cut_file.touch()
    if is_on(host):
        net.set_ports(host, "down")


def join(host: Host) -> None:
    host.cut_file.unlink(missing_ok=True)
    if is_on(host):
        net.set_ports(host, "up")


def inside(host: Host, path: str) -> Path:
    """A path in the host as the machine sees it, also below what only the host has mounted (/run)."""
    return Path(f"/proc/{_first_process_or_fail(host)}/root{path}")


def enter_command(host: Host, *command: str) -> list[str]:
    """The command line that runs a command in the host."""
    first = str(_first_process_or_fail(host))
    clean = ("env", "-i", "-C", "/root", f"PATH={HOST_PATH}", "HOME=/root", "USER=root", "LANG=C.UTF-8")
    term = (f"TERM={os.environ.get('TERM', 'dumb')}",)
    return ["nsenter", "-t", first, "--mount", "--uts", "--net", "--pid", *clean, *term, *command]


def daemon_runs(host: Host, name: t.Literal["libvirtd", "sshd"]) -> bool:
    return _daemon_pid(host, name) is not None


def crash_libvirtd(host: Host) -> None:
    """Kills libvirtd alone, as a bug or the kernel's memory killer would; guests run on."""
    pid = _daemon_pid(host, "libvirtd")
    if pid is None:
        raise LabError(f"libvirtd on {host.name} is not running: `lab restart {host.name}` starts it.")
    run(*enter_command(host, "kill", "-KILL", str(pid)))
    _wait(lambda: not daemon_runs(host, "libvirtd"), f"libvirtd on {host.name} to be gone")


def restart_libvirtd(host: Host) -> None:
    """What a service manager does after a crash: starts libvirtd again; it finds the running guests by itself."""
    if daemon_runs(host, "libvirtd"):
        crash_libvirtd(host)
    run(*enter_command(host, "libvirtd", "--daemon", "--listen", "--pid-file", "/run/libvirtd.pid"))
    wait_until_ready(host)


def guest_pids(host: Host) -> dict[str, int]:
    """The host's running guests and the pids of their QEMU processes, as the host numbers them."""
    if not is_on(host):
        return {}
    files = inside(host, "/run/libvirt/qemu").glob("*.pid")
    pids = {file.stem: int(file.read_text()) for file in files if file.stem != "driver"}
    return {name: pid for name, pid in sorted(pids.items()) if inside(host, f"/proc/{pid}").exists()}


def console(host: Host, guest: str) -> str:
    """What a guest, by name or UUID, wrote to its serial console since its last start. The host may be off."""
    for file in sorted(host.path("/etc/libvirt/qemu").glob("*.xml")):
        domain = ElementTree.parse(file).getroot()
        if guest in (domain.findtext("name"), domain.findtext("uuid")):
            return _console_log(host, guest, domain)
    raise LabError(f"{host.name} has no guest {guest!r} defined; `lab exec {host.name} virsh list --all` shows them.")


def _console_log(host: Host, guest: str, domain: ElementTree.Element) -> str:
    log = domain.find("./devices/serial/log")
    if log is None:
        raise LabError(f"Guest {guest!r} on {host.name} doesn't log its serial console: its <serial> has no <log>.")
    file = host.path(log.get("file", ""))
    if not file.exists():
        raise LabError(f"Guest {guest!r} on {host.name} has written no {log.get('file')} yet: was it ever started?")
    return file.read_text(errors="replace").replace("\r\n", "\n")


def wait_until_ready(host: Host) -> None:
    """libvirt answers with its pools, sshd listens, and the network leads to both, unless the host is cut off."""
    try:
        _wait_for_daemons(host)
    except LabError as error:
        raise LabError(f"{error} {_last_words(host)}") from None


def _wait_for_daemons(host: Host) -> None:
    # Until the host has its own /run, what is seen there is the machine's.
    _wait(lambda: _alive(host) and inside(host, "/run/lab-host").exists(), f"{host.name} to have its file systems")
    _wait(lambda: _alive(host) and inside(host, "/run/libvirt/libvirt-sock").exists(), f"libvirtd on {host.name}")
    uri = f"qemu+unix:///system?socket={inside(host, '/run/libvirt/libvirt-sock')}"
    _wait(lambda: _alive(host) and succeeds("virsh", "-c", uri, "pool-info", "shared"), f"libvirtd on {host.name}")
    _wait(lambda: _alive(host) and daemon_runs(host, "sshd"), f"sshd on {host.name}")
    if is_cut(host):
        return
    _wait(lambda: _alive(host) and _listens(host.address, LIBVIRT_TCP_PORT), f"libvirtd on {host.address}")
    _wait(lambda: _alive(host) and _listens(host.address, SSH_PORT), f"sshd on {host.address}")


def _alive(host: Host) -> bool:
    """True, or the end of the wait: a host whose first process ended never gets ready."""
    if process.read_pid_file(host.pid_file) is None:
        raise LabError(f"{host.name} ended while it started.")
    return is_on(host)


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _daemon_pid(host: Host, name: str) -> int | None:
    """The pid of a daemon as the host numbers it; None when it is not running."""
    try:
        pid = int(inside(host, f"/run/{name}.pid").read_text())
        comm = inside(host, f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if comm == name else None


def _first_process_or_fail(host: Host) -> int:
    first = first_process(host)
    if first is None:
        raise LabError(f"{host.name} is off: `lab power on {host.name}` starts it.")
    return first


def _wait(reached: t.Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while not reached():
        if time.monotonic() > deadline:
            raise LabError(f"Waited {READY_TIMEOUT:g} s in vain for {what}.")
        time.sleep(POLL_INTERVAL)


def _last_words(host: Host) -> str:
    """The ends of the host's logs: they go away with a lab that failed to start."""
    logs = (host.log, host.path("/var/log/libvirt/libvirtd.log"))
    said = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()[-3:]]
    return f"Its logs end with: {' | '.join(said)}" if said else "Its logs are empty."
