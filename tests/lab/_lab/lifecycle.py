# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab as a whole: up, down, power of a host."""

from __future__ import annotations

import contextlib
import shutil
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from . import daemons, disks, host, image, needs, net, process, state
from .errors import LabError
from .layout import MAX_HOSTS, ROOT, Host, Lab, lab_name
from .run import run


def up(count: int) -> str:
    """Starts a lab of so many hosts, or finds it there; a sentence about it."""
    name = lab_name()
    if not 1 <= count <= MAX_HOSTS:
        raise LabError(f"--hosts is {count}: a lab has 1 to {MAX_HOSTS} hosts.")
    needs.check_all()
    image.build()
    began = time.monotonic()
    with state.lock():
        known = state.read(name)
        if known is not None and known.ready and not known.is_stale:
            return _already_up(name, known, count)
        _clean(name)
        lab = Lab(name, state.free_number(name))
        with _undone_on_failure(name):
            _start(lab, count)
    return f"Lab {name!r} is up: {_names(lab.hosts(count))}, in {time.monotonic() - began:.1f} s."


def down() -> str:
    """Ends the lab with all that belongs to it, also what a half-done `up` or an earlier life of the machine left."""
    needs.check_root()
    name = lab_name()
    with state.lock():
        found = _clean(name)
    return f"Lab {name!r} is down." if found else f"Lab {name!r} is not up; nothing to do."


def power_on(one: Host) -> None:
    """Daemons start, guests don't. A host that is on stays as it is."""
    with state.lock():
        if host.is_on(one):
            return
        host.stop(one)
        host.start(one)
        host.wait_until_ready(one)


def power_off(one: Host) -> None:
    """The host and every process in it gone at once, and seen to be gone."""
    with state.lock():
        host.stop(one)


def _already_up(name: str, known: state.State, count: int) -> str:
    hosts = Lab(name, known.number).hosts(known.hosts)
    if known.hosts != count:
        raise LabError(f"Lab {name!r} is up with {known.hosts} hosts, not {count}: take it down first (`lab down`).")
    off = [each for each in hosts if not host.is_on(each)]
    remark = f" ({_names(off)} powered off)" if off else ""
    return f"Lab {name!r} is already up: {_names(hosts)}{remark}."


def _start(lab: Lab, count: int) -> None:
    hosts = lab.hosts(count)
    fresh = state.State(number=lab.number, hosts=count, boot_id=state.boot_id())
    state.write(lab.name, fresh)
    state.make_mount_points()
    net.make_switch(lab)
    daemons.write_controller_files(lab, hosts)
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda each: _start_host(each, hosts), hosts))
    _learn_capabilities(hosts[0])
    state.write(lab.name, replace(fresh, ready=True))


def _start_host(one: Host, hosts: t.Sequence[Host]) -> None:
    daemons.write_host_files(one, hosts)
    host.start(one)
    host.wait_until_ready(one)


def _learn_capabilities(one: Host) -> None:
    if daemons.CAPABILITIES_CACHE.is_dir():
        return
    run(*host.enter_command(one, "virsh", "-c", "qemu:///system", "capabilities"))
    daemons.keep_capabilities(one)


@contextlib.contextmanager
def _undone_on_failure(name: str) -> t.Iterator[None]:
    try:
        yield
    except BaseException:
        _clean(name)
        raise


def _clean(name: str) -> bool:
    """Removes all of a lab by the names and pid files that it has; whether there was any of it."""
    folder = ROOT / name
    namespaces = net.namespaces(name)
    for pid_file in folder.glob("hosts/*/pid"):
        parent = process.read_pid_file(pid_file)
        first = process.only_child(parent) if parent else None
        if first:
            process.kill(first)
    for namespace in namespaces:
        host.clear_namespace(namespace)
    net.remove_links(name)
    found = folder.exists() or bool(namespaces)
    disks.unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
    state.remove_mount_points()
    return found


def _names(hosts: t.Sequence[Host]) -> str:
    return ", ".join(each.name for each in hosts)
