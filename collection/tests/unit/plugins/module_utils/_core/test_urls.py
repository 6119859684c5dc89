# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What messages say of a URL has no secret in it, whatever the URL is like."""

from __future__ import annotations

import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.urls import shown, without_credentials
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.sources import open_url


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://images.example.org/x.qcow2", "https://images.example.org/x.qcow2"),
        ("https://ops:s3cret@images.example.org/x?sig=s3cret#s3cret", "https://images.example.org/x"),
        ("https://images.example.org#s3cret?a/b@c", "https://images.example.org"),
        ("https://ops:s3@cret@h/x@y", "https://h/x@y"),
        ("ops:s3cret@images.example.org/x", "images.example.org/x"),
        ("http://[s3cret@h/", "http://h/"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, text: str) -> None:
    assert shown(url) == text


def test_the_credentials_are_those_before_the_host() -> None:
    assert without_credentials("https://ops:a%40b@h/x") == ("https://h/x", "ops:a%40b")
    assert without_credentials("https://h/x@y") == ("https://h/x@y", None)


@pytest.mark.parametrize("url", ["http://ops:s3cret@h\u2100/x", "http://ops:s3cret@[h/x", "ops:s3cret@h/x"])
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_url(url)
    assert "s3cret" not in str(caught.value)
