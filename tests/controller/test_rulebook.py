# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rulebook under the real ansible-rulebook: a host falls silent, and the playbook is called for it and no other.

What the playbook does is tested elsewhere: here a copy of the collection has one in its place that writes down what it
was called with.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EDA = ROOT / ".cache" / "bench" / "eda" / "bin"
INTERVAL, MISSES = 2.0, 3
PLAYBOOK = """\
- name: Look at the inventory
  ansible.builtin.import_playbook: flotilla.compute.survey
  vars:
    fleet_read_only: true

- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Write down which host it is
      ansible.builtin.copy:
        content: "{{ fleet_host }}"
        dest: "%s"
        mode: "0600"
"""


class Host:
    """An SSH daemon, as far as a watcher sees one."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.beats = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _address = self._socket.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"SSH-2.0-test\r\n")
                self.beats += 1

    def die(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def until(fact: t.Callable[[], bool], process: subprocess.Popen[bytes], what: str, timeout: float = 240) -> float:
    deadline = time.monotonic() + timeout
    while not fact():
        assert process.poll() is None, "ansible-rulebook has ended"
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}"
        time.sleep(0.05)
    return time.monotonic()


@pytest.mark.soak  # ansible-rulebook, which `make soak` installs
def test_a_host_that_falls_silent_is_given_to_the_playbook(tmp_path: Path) -> None:
    collection = tmp_path / "ansible_collections" / "flotilla" / "compute"
    shutil.copytree(ROOT / "collection", collection)
    called = tmp_path / "called"
    (collection / "playbooks" / "evacuate.yml").write_text(PLAYBOOK % called)
    hosts = [Host() for _ in range(3)]
    variables = {f"kvm{n}": {"ansible_host": "127.0.0.1", "ansible_port": host.port} for n, host in enumerate(hosts, 1)}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"computes": {"hosts": variables}}))
    given = {"watch_inventory": str(inventory), "watch_interval": INTERVAL, "watch_timeout": 1, "watch_misses": MISSES}
    (tmp_path / "vars.yml").write_text(json.dumps(given))
    environment = {
        **os.environ,
        # The playbook runs with the controller's packages, as it does for everybody.
        "PATH": f"{ROOT}/.venv/bin:{EDA}:/usr/sbin:/usr/bin:/sbin:/bin",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "JAVA_HOME": str(Path(shutil.which("java", path="/usr/bin") or "/usr/bin/java").resolve().parents[1]),
    }
    command: list[str | Path] = [EDA / "ansible-rulebook", "-r", "flotilla.compute.evacuate", "-i", inventory]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--vars", tmp_path / "vars.yml", "--print-events"],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            until(lambda: all(host.beats for host in hosts), process, "the first round of beats")
            hosts[1].die()
            died = time.monotonic()
            noticed = until(lambda: b"'kind': 'evacuate'" in log.read_bytes(), process, "the event")
            until(called.exists, process, "the playbook's end")
            until(lambda: called.read_text() == "kvm2", process, "what it writes")
        finally:
            process.terminate()
            process.wait(60)
    # Three beats from the next round on, and what it takes to say so.
    assert noticed - died < (MISSES + 1) * INTERVAL + 5
    assert b"'kind': 'ask'" not in log.read_bytes()
