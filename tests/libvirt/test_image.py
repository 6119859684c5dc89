# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module image shows of a URL."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.flotilla.compute.plugins.modules import image


@pytest.mark.parametrize(
    ("url", "shown", "secrets"),
    [
        ("http://127.0.0.1:1/tick.qcow2", "http://127.0.0.1:1/tick.qcow2", []),
        ("http://me:geheim@127.0.0.1:1/tick.qcow2", "http://127.0.0.1:1/tick.qcow2", ["me:", "geheim"]),
        ("http://127.0.0.1:1/tick.qcow2?sig=geheim", "http://127.0.0.1:1/tick.qcow2", ["sig", "geheim"]),
    ],
)
def test_a_url_is_shown_without_its_secrets(
    url: str, shown: str, secrets: list[str], host_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: dict[str, t.Any] = {
        "name": "tick",
        "url": url,
        "checksum": "sha256:" + "0" * 64,
        "uri": host_uri,
        "state_dir": str(tmp_path / "state"),
    }
    with patch_module_args(arguments), pytest.raises(SystemExit):
        image.main()
    out = capsys.readouterr().out
    result = json.loads(out)
    assert result["msg"].startswith(f"{shown} can't be fetched: ")
    assert [secret for secret in secrets if secret in out] == []
    assert (result["invocation"]["module_args"]["url"] == url) is (not secrets)
