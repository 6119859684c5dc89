# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import email
import http.server
import json
import threading
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import FlotillaError
from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._vendor_data import (
    ask,
    ask_all,
    request_of,
    static,
)
from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._personality.test__drive import ID, record

ANSWERS = {"/good": b'{"a": [1]}', "/empty": b"", "/broken": b"{", "/large": b"1" * (1024 * 1024 + 1)}


class _Service(http.server.BaseHTTPRequestHandler):
    asked: t.ClassVar[list[tuple[str, dict[str, str], t.Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(200 if self.path in ANSWERS else 500)
        self.end_headers()
        self.wfile.write(ANSWERS.get(self.path, b""))

    def log_message(self, *_args: t.Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_target_is_asked_as_nova_asks(url: str) -> None:
    request = request_of(record(spec={"metadata": {"role": "web"}, "project": "acme"}), b"#!/bin/sh\n")
    _Service.asked.clear()
    warnings: list[str] = []
    assert ask_all({"one": f"{url}/good", "two": f"{url}/empty"}, request, fatal=True, warn=warnings.append) == {
        "one": {"a": [1]},
        "two": {},
    }
    assert not warnings
    path, headers, body = _Service.asked[0]
    assert path == "/good"
    assert headers["Content-Type"] == headers["Accept"] == "application/json"
    assert headers["User-Agent"] == "openstack-nova-vendordata"
    assert body == {
        "project-id": "acme",
        "instance-id": ID,
        "image-id": "0" * 64,
        "user-data": "IyEvYmluL3NoCg==",
        "hostname": "web-1",
        "metadata": {"role": "web"},
        "boot-roles": "",
    }


@pytest.mark.parametrize("path", ["/broken", "/large", "/missing"])
def test_a_target_that_fails_gives_nothing_or_fails_the_step(url: str, path: str) -> None:
    warnings: list[str] = []
    targets = {"bad": url + path, "good": f"{url}/good"}
    found = ask_all(targets, request_of(record(), None), fatal=False, warn=warnings.append)
    assert found == {"bad": {}, "good": {"a": [1]}}
    assert len(warnings) == 1
    assert "vendor data 'bad'" in warnings[0]
    with pytest.raises(FlotillaError, match="vendor data 'bad'"):
        ask_all(targets, request_of(record(), None), fatal=True, warn=warnings.append)


def test_nobody_at_the_address_counts_as_a_failure() -> None:
    with pytest.raises(FlotillaError, match="gave no answer"):
        ask_all({"gone": "http://127.0.0.1:9/"}, request_of(record(), None), fatal=True, warn=print)


@pytest.mark.parametrize("path", ["/missing", "/broken"])
def test_a_failure_is_told_without_what_the_url_hides(url: str, path: str) -> None:
    secret = f"{url.replace('//', '//user:hunter2@')}{path}?token=hunter3"
    with pytest.raises(FlotillaError) as refused:
        ask("bad", secret, request_of(record(), None))
    assert f"vendor data 'bad': {url}{path}" in str(refused.value)
    assert "hunter" not in f"{refused.value}{refused.value.__cause__}"


def test_static_vendor_data_is_what_cloud_init_takes() -> None:
    assert static({}) == {}
    assert static({"a": 1, "cloud-init": "#!/bin/sh\n"}) == {"a": 1, "cloud-init": "#!/bin/sh\n"}
    assert static({"cloud-init": {"timezone": "UTC"}}) == {"cloud-init": "#cloud-config\ntimezone: UTC\n"}


def test_parts_of_vendor_data_become_what_cloud_init_takes() -> None:
    texts = ["#cloud-config\ntimezone: UTC\n", "#!/bin/sh\n"]
    assert static({"cloud-init": texts}) == {"cloud-init": texts}
    assert static({"cloud-init": [{"timezone": "UTC"}, {"content": texts[1]}]}) == {"cloud-init": texts}
    found = static({"cloud-init": [{"timezone": "UTC"}, {"content": "#!/bin/sh\n", "filename": "hello"}]})
    _whole, *parts = email.message_from_string(found["cloud-init"]).walk()
    assert [(part.get_content_type(), part.get_payload(decode=True)) for part in parts] == [
        ("text/cloud-config", b"#cloud-config\ntimezone: UTC\n"),
        ("text/x-shellscript", b"#!/bin/sh\n"),
    ]
    assert json.loads(json.dumps(found)) == found


def test_the_password_s_hash_is_vendor_data_below_the_user_s_own() -> None:
    alone = static({}, password_hash="$6$x$y")
    assert alone == {"cloud-init": '#cloud-config\nchpasswd:\n  expire: false\npassword: "$6$x$y"\n'}
    both = static({"cloud-init": {"timezone": "UTC"}}, password_hash="$6$x$y")
    assert both == {"cloud-init": ["#cloud-config\ntimezone: UTC\n", alone["cloud-init"]]}
