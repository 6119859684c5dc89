# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""README.md from top to bottom, as a new user goes through it: every command and task in it is run, in its order.

`make readme`, which CI runs behind `make demo`: on the hosts that the demo has left up. What is the reader's own there
is made here: a folder with the settings and an inventory, where the collection is installed as README says, and a
domain that was made by hand. What the commands have printed is left in .cache/artifacts/readme.txt.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PRINTED = ROOT / ".cache/artifacts/readme.txt"
LAB = ROOT / "tests/lab/lab"
#: Commands that are not run here, and where they are, or why not.
ELSEWHERE = {
    "make demo": ".ci/run",
    "make test": ".ci/run",
    "make lint": ".ci/run",
    "make readme": ".ci/run",
    "make lab-down": ".ci/run",
    "make soak": "it takes hours",
    "make bench": "it takes hours",
    "tools/docs": "tests/toolchain/test_docs.py",
}
YOURS = "your/inventory"
_TIMEOUT = 300
_LINE = re.compile(r"^ {4,}((?:make|pip|ansible-[a-z]+|extensions/\S+) .*?)(?:\s+# .*)?$")
_INLINE = re.compile(r"`((?:ansible-playbook|make|playbooks/|tools/)[^`]*)`")
_TASK = re.compile(r"^    - flotilla\.compute\.\w+: .*\n(?:      .*\n)*", re.MULTILINE)
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TRACES = ("Traceback (most recent call last)", "Unexpected Exception", "MODULE FAILURE")

BY_HAND = """
if virsh -q domstate mail >/dev/null 2>&1; then exit; fi
qemu-img create -q -f qcow2 /var/lib/libvirt/pools/local/mail.qcow2 64M
virsh -q pool-refresh local
cat >/tmp/mail.xml <<'XML'
<domain type='qemu'><name>mail</name>
  <memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/pools/local/mail.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <interface type='bridge'><mac address='52:54:00:ad:0b:7e'/><source bridge='br0'/><model type='virtio'/></interface>
  </devices>
</domain>
XML
virsh -q define /tmp/mail.xml
virsh -q start mail
"""


@dataclasses.dataclass(frozen=True)
class Step:
    """``text``: a command, or with ``is_task`` a task for a playbook. ``at``: where in README it begins."""

    text: str
    at: int
    is_task: bool = False


def steps(text: str) -> list[Step]:
    """README's commands and tasks in their order, each once."""
    bare = _FENCED.sub(lambda found: " " * len(found[0]), text)
    found, place = [], 0
    for line in bare.splitlines(keepends=True):
        command = _LINE.match(line.rstrip("\n"))
        if command:
            found.append(Step(command[1], place))
        place += len(line)
    blocks = {step.text for step in found}
    for inline in _INLINE.finditer(bare):
        words = " ".join(inline[1].split())
        if words.startswith("playbooks/") and ".yml" in words:
            words = f"ansible-playbook -i inventories/lab {words}"
        if words.startswith("ansible-playbook playbooks/"):
            words = words.replace("ansible-playbook ", "ansible-playbook -i inventories/lab ", 1)
        if (words not in blocks and " " in words) or words in ELSEWHERE:
            found.append(Step(words, inline.start()))
    found += [Step(textwrap.dedent(task[0]), task.start(), is_task=True) for task in _TASK.finditer(bare)]
    first = {step.text: step for step in sorted(found, key=lambda step: -step.at)}
    return sorted(first.values(), key=lambda step: step.at)


def inventory(text: str) -> tuple[str, str]:
    """The inventory that README shows, and the variables that go with it."""
    hosts, variables = (block for kind, block in _FENCED.findall(text)[:2])
    return hosts, variables


class Reader:
    """Somebody who has a checkout, the demo's hosts, and a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._home = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        self._environment = {
            **inherited,
            "PATH": f"{ROOT}/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ANSIBLE_NOCOLOR": "1",
        }
        self._make_folder()

    def _make_folder(self) -> None:
        """The settings of ansible.cfg, and the lab's inventory with fence agents, as a site would have them."""
        settings = (
            (ROOT / "ansible.cfg").read_text().replace("collections_path = .dev", "collections_path = collections")
        )
        (self._home / "ansible.cfg").write_text(settings)
        own = self._home / YOURS
        own.mkdir(parents=True)
        for source in (ROOT / "inventories/lab").iterdir():
            (own / source.name).symlink_to(source)
        agent = self._home / "fence_lab"
        lab = os.environ.get("FLOTILLA_LAB", "lab")
        agent.write_text(f"#!/bin/sh\nFLOTILLA_LAB={lab} exec {LAB} power\n")
        agent.chmod(0o755)
        fence = {"agent": str(agent), "plug": "{{ inventory_hostname }}"}
        (own / "03-fences.yml").write_text(yaml.safe_dump({"computes": {"vars": {"compute_fence": fence}}}))

    def go(self, step: Step) -> str:
        """What a step has printed. AssertionError if it has not ended well."""
        if step.is_task:
            return self._task(step.text)
        words = step.text.replace("https://your.git.example/flotilla.git", f"file://{ROOT}")
        if words.startswith("pip install"):
            # With all of it there, nothing is installed; what isn't there is not fetched, but told.
            words = words.replace("pip install", "uv pip install --dry-run --offline")
        if words.startswith("extensions/"):
            return self._watch(words)
        if "flotilla.compute.adopt" in words:
            self._domain_by_hand()
        own = YOURS in words or words.startswith("ansible-galaxy")
        said = self._run(words, self._home if own else ROOT)
        for name in re.findall(r"fleet_report=(\S+)", words):
            (ROOT / name).replace(PRINTED.with_name(name))
        return said

    def _run(self, words: str, folder: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
        assert done.returncode == 0, f"exit code {done.returncode}:\n{done.stdout}"
        assert not any(trace in done.stdout for trace in _TRACES), done.stdout
        return done.stdout

    def _task(self, text: str) -> str:
        """A task, behind a survey; what it locks is unlocked again, as its reader would on Friday."""
        play = {"hosts": "localhost", "gather_facts": False, "tasks": yaml.safe_load(text)}
        playbook = self._home / "task.yml"
        playbook.write_text(yaml.safe_dump([{"ansible.builtin.import_playbook": "flotilla.compute.survey"}, play]))
        said = self._run(f"ansible-playbook -i inventories/lab {playbook}", ROOT)
        if "action: lock" in text:
            action = "playbooks/action.yml -e fleet_server=web1 -e fleet_action=unlock"
            said += self._run(f"ansible-playbook -i inventories/lab {action}", ROOT)
        return said

    def _watch(self, words: str) -> str:
        """The watcher runs until it is ended: here once it has begun to look."""
        program, *arguments = shlex.split(words)
        installed = self._home / "collections/ansible_collections/flotilla/compute" / program
        # What a shell has begun in the background ignores Ctrl-C, and so would its children.
        command = ["env", "--default-signal=INT", sys.executable, str(installed), *arguments]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=self._home, env=self._environment, text=True, **pipe) as watcher:  # type: ignore[call-overload]
            said = str(watcher.stdout.readline())
            watcher.send_signal(signal.SIGINT)
            said += str(watcher.communicate(timeout=_TIMEOUT)[0])
        assert watcher.returncode == 130, said
        return said

    def _domain_by_hand(self) -> None:
        """A domain that another tool has made on kvm1."""
        self._run(f"{LAB} exec kvm1 sh -e <<'END'\n{BY_HAND}END", ROOT)


def main() -> int:
    PRINTED.parent.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder, PRINTED.open("w") as record:
        reader = Reader(Path(folder))
        for step in steps(README.read_text()):
            if step.text in ELSEWHERE:
                continue
            began, words = time.monotonic(), " ".join(step.text.split())
            try:
                said, verdict = reader.go(step), "ok"
            except (AssertionError, subprocess.TimeoutExpired) as exc:
                said, verdict, failed = str(exc), "FAILED", failed + 1
                print(said)
            record.write(f"$ {words}\n{said}\n")
            print(f"readme: {verdict:6} {time.monotonic() - began:4.0f} s  {words}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
