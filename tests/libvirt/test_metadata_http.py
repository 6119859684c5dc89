# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metadata service over HTTP: nginx as the role configures it, over trees as steps write them."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import jinja2
import pytest
from tests.conformance.personality_kinds import KINDS, PLAIN
from tests.support.personality import personality

from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Address, Nic, Record
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.metadata_tree import Trees
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._tree import packed_service, service_tree

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/usr/sbin/nginx").exists(), reason="nginx in a namespace of its own needs root"
)

TEMPLATE = Path(__file__).parents[2] / "collection/roles/metadata_service/templates/nginx.conf.j2"
TODAY = "2026-01-01"
#: Who asks, each from an address of its own: all forms of answers that there are, in text, JSON and bytes.
GUESTS = {"192.0.2.10": "everything", "192.0.2.11": "user data: binary", "192.0.2.12": "metadata of any text"}
STRANGER = "192.0.2.66"

#: Starts the service where nobody else hears it, and asks it: of each question the status, the type and the body.
STARTS = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/flotilla-metadata
ip link set lo up
for address in "$@"; do ip address add "$address/32" dev lo; done
nginx -c "$CONFIGURATION"
exec "$PYTHON" -c "$ASKS"
"""
ASKS = """
import base64, http.client, json, sys
service, questions = json.load(sys.stdin)
connections, answers = {}, []
for address, method, path in questions:
    if address not in connections:
        connections[address] = http.client.HTTPConnection(service, timeout=10, source_address=(address, 0))
    connections[address].request(method, path)
    answer = connections[address].getresponse()
    body = base64.b64encode(answer.read()).decode()
    answers.append([answer.status, answer.headers["Content-Type"], body])
json.dump(answers, sys.stdout)
"""


class Answered(t.NamedTuple):
    status: int
    type: str | None
    body: bytes


Question = tuple[str, str, str]  # the address that asks, the method, the path
Ask = t.Callable[[t.Sequence[Question]], list[Answered]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder on which the role has been."""
    for folder in ("metadata/br0", "metadata-dhcp/br0"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def ask(conn: t.Any, state: Path, record: Record) -> Ask:
    """The service of a bridge with the three guests."""
    trees = Trees(conn, str(state))
    for index, (address, kind) in enumerate(GUESTS.items()):
        nic = Nic("lan", "bridge", "br0", f"52:54:00:00:00:1{index}", metadata_service=True)
        nics = (dataclasses.replace(nic, addresses=(Address(address, 24),)),)
        guest = dataclasses.replace(record, id=f"5f0c1d8e-0f4e-4c0e-9d6b-6a1d3b0a7c2{index}", nics=nics)
        assert trees.write(guest, packed_service(personality({**PLAIN, **KINDS[kind]}), today=TODAY))
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["comment"] = "# {}".format
    given = {"__metadata_service_user": "root", "__metadata_service_root": state / "metadata"}
    configuration = state / "nginx.conf"
    template = environment.from_string(TEMPLATE.read_text())
    configuration.write_text(template.render(item={"bridge": "br0"}, ansible_managed="a test's", **given))

    def asked(questions: t.Sequence[Question]) -> list[Answered]:
        service = "169.254.169.254"
        apart = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        variables = {"CONFIGURATION": str(configuration), "PYTHON": sys.executable, "ASKS": ASKS}
        done = subprocess.run(
            [*apart, "sh", "-c", STARTS, "sh", service, STRANGER, *GUESTS],
            input=json.dumps([service, questions]),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return [Answered(status, kind, base64.b64decode(body)) for status, kind, body in told]

    return asked


def test_each_guest_is_answered_in_nova_s_words_and_types(ask: Ask) -> None:
    types = {"text/plain": "text/plain; charset=UTF-8", "application/json": "application/json"}
    questions: list[Question] = []
    expected = []
    for address, kind in GUESTS.items():
        answers = service_tree(personality({**PLAIN, **KINDS[kind]}), today=TODAY)
        for path, answer in answers.items():
            for form in (f"/{path}", f"/{path}/"):
                questions.append((address, "GET", form))
                expected.append(Answered(200, types[answer.content_type], answer.body))
    for question, told, wanted in zip(questions, ask(questions), expected, strict=True):
        assert told == wanted, question


def test_nobody_else_and_nothing_else_is_answered(ask: Ask) -> None:
    guest = next(iter(GUESTS))
    refused = (
        (guest, "GET", "/openstack/2011-01-01"),
        (guest, "GET", "/openstack/latest/meta_data.json/more"),
        (guest, "GET", "/openstack/latest/=.txt"),
        (guest, "GET", "/.made_of"),
        (guest, "GET", "/..%2f192.0.2.11/openstack/latest/user_data"),
        (guest, "GET", "/%2e%2e/192.0.2.11/openstack/latest/user_data"),
        (STRANGER, "GET", "/"),
        (STRANGER, "GET", "/openstack/latest/meta_data.json"),
    )
    found = ask(refused)
    assert [(question, told.status) for question, told in zip(refused, found)] == [
        (question, 400 if ".." in question[2] or "%2e%2e" in question[2] else 404) for question in refused
    ]
    assert not any(b"\x80" in told.body for told in found)


def test_who_tells_the_service_something_is_told_that_it_keeps_nothing(ask: Ask) -> None:
    guest = next(iter(GUESTS))
    path = "/openstack/latest/password"
    posted, put, read, head = ask([(guest, method, path) for method in ("POST", "PUT", "GET", "HEAD")])
    assert posted == put
    assert (posted.status, posted.type) == (405, "text/plain; charset=UTF-8")
    assert posted.body.startswith(b"This metadata service keeps nothing")
    assert read == head == Answered(200, "text/plain; charset=UTF-8", b"")
