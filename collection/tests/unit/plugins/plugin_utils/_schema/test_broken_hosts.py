# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables of compute hosts and servers of the wrong shape: a table of broken ones with the sentence for each."""

from __future__ import annotations

import base64
import random
import typing as t

import pytest

from ansible_collections.flotilla.compute.plugins.plugin_utils._personality._user_data import encoded_length, packed

if t.TYPE_CHECKING:
    from ansible_collections.flotilla.compute.tests.unit.plugins.plugin_utils._schema.conftest import Example

#: What no compression makes small enough.
NOISE = base64.b64encode(random.Random(1).randbytes(60000)).decode("ascii")

# What was meant, how it is broken, and all that the validator says of it.
BROKEN: list[tuple[str, t.Callable[[Example], object], str]] = [
    (
        "allocation ratio of zero",
        lambda e: e.kvm1.update(compute_allocation_ratio={"vcpus": 0}),
        "compute_allocation_ratio.vcpus (host kvm1): found 0, allowed is a number above 0.",
    ),
    (
        "allocation ratio misspelt",
        lambda e: e.kvm1.update(compute_allocation_ratio={"vcpu": 4}),
        (
            "compute_allocation_ratio.vcpu (host kvm1): 'vcpu' is not known here, allowed are disk, memory, "
            "vcpus; did you mean 'vcpus'?"
        ),
    ),
    (
        "less than nothing reserved",
        lambda e: e.kvm1.update(compute_reserved={"vcpus": -1}),
        "compute_reserved.vcpus (host kvm1): found -1, allowed is a number of at least 0.",
    ),
    (
        "reserved memory not whole",
        lambda e: e.kvm1.update(compute_reserved={"memory": "0.5GiB"}),
        (
            "compute_reserved.memory (host kvm1): found '0.5GiB', allowed is a whole number of MiB, or text "
            "such as 512MiB or 8GiB."
        ),
    ),
    (
        "fence agent not named",
        lambda e: e.kvm1.update(compute_fence={"ip": "192.0.2.9"}),
        "compute_fence.agent (host kvm1): is missing, it must be text such as 'fence_ipmilan'.",
    ),
    (
        "fence option of no use, whose value is not shown",
        lambda e: e.kvm1.update(compute_fence=[{"agent": "fence_ipmilan", "password": ["s3cret"]}]),
        (
            "compute_fence[0].password (host kvm1): found a value that is not shown, allowed is text on one line, "
            "a whole number, true or false."
        ),
    ),
    (
        "fence password of two lines",
        lambda e: e.kvm1.update(compute_fence=[[{"agent": "fence_ipmilan", "password": "s3\ncret"}]]),
        (
            "compute_fence[0][0].password (host kvm1): found a value that is not shown, allowed is text on one line, "
            "a whole number, true or false."
        ),
    ),
    (
        "fence agent with an action of its own",
        lambda e: e.kvm1.update(compute_fence={"agent": "fence_ipmilan", "action": "reboot"}),
        (
            "compute_fence.action (host kvm1): is not an option to give: what is to be done is said when it is to be "
            "done."
        ),
    ),
    (
        "two hosts with one plug",
        lambda e: [host.update(compute_fence={"agent": "fence_apc", "plug": "4"}) for host in e.computes.values()],
        (
            "compute_fence (hosts kvm1, kvm2): kvm1, kvm2 have fence_apc with the same options, so that one would be "
            "powered off for another; allowed are options that differ, such as ip or plug."
        ),
    ),
    (
        "compute state unknown",
        lambda e: e.kvm1.update(compute_state="disable"),
        (
            "compute_state (host kvm1): found 'disable', allowed is one of enabled, disabled, maintenance; "
            "did you mean 'disabled'?"
        ),
    ),
    (
        "libvirt uri that is none",
        lambda e: e.kvm1.update(compute_libvirt_uri="localhost"),
        ("compute_libvirt_uri (host kvm1): found 'localhost', allowed is a libvirt URI such as qemu:///system."),
    ),
    (
        "trait in small letters",
        lambda e: e.kvm1.update(compute_traits=["ssd"]),
        (
            "compute_traits[0] (host kvm1): found 'ssd', allowed is a trait's name: capital letters, digits "
            "and '_', such as CUSTOM_SSD."
        ),
    ),
    (
        "fence options as text",
        lambda e: e.kvm1.update(compute_fence="fence_ipmilan -p hunter2"),
        (
            "compute_fence (host kvm1): found a value that is not shown, allowed is a mapping such as "
            "{agent: fence_ipmilan, ip: 192.0.2.9}, or a list of such."
        ),
    ),
    (
        "server without flavor",
        lambda e: e.web1.pop("server_flavor"),
        "server_flavor (host web1): is missing, it must be the name of a flavor.",
    ),
    (
        "server state unknown",
        lambda e: e.web1.update(server_state="activ"),
        (
            "server_state (host web1): found 'activ', allowed is one of active, stopped, paused, suspended, "
            "shelved, absent; did you mean 'active'?"
        ),
    ),
    (
        "server id not a UUID",
        lambda e: e.web1.update(server_id="web1"),
        ("server_id (host web1): found 'web1', allowed is a UUID such as 6f2c1a54-6a3f-4c55-9f0e-8b6c1c0f6c11."),
    ),
    (
        "server id that is a number",
        lambda e: e.web1.update(server_id=17),
        "server_id (host web1): found 17, allowed is text.",
    ),
    (
        "networks as text",
        lambda e: e.web1.update(server_networks="lan"),
        "server_networks (host web1): found 'lan', allowed is a list.",
    ),
    (
        "network entry without network",
        lambda e: e.web1.update(server_networks=[{"fixed_ip": "192.0.2.10"}]),
        "server_networks[0].network (host web1): is missing, it must be text such as 'lan'.",
    ),
    (
        "network entry misspelt",
        lambda e: e.web1.update(server_networks=[{"network": "lan", "fixedip": "192.0.2.10"}]),
        (
            "server_networks[0].fixedip (host web1): 'fixedip' is not known here, allowed are bond, bond_mode, "
            "fixed_ip, fixed_ips, mac, network, tag, vlan; did you mean 'fixed_ip'?"
        ),
    ),
    (
        "fixed address malformed",
        lambda e: e.web1["server_networks"][0].update(fixed_ip="192.0.2.300"),
        "server_networks[0].fixed_ip (host web1): found '192.0.2.300', allowed is an IP address.",
    ),
    (
        "MAC malformed",
        lambda e: e.web1["server_networks"][0].update(mac="52-54-00-00-00-0a"),
        (
            "server_networks[0].mac (host web1): found '52-54-00-00-00-0a', allowed is a MAC address such as "
            "52:54:00:12:34:56."
        ),
    ),
    (
        "MAC of a multicast group",
        lambda e: e.web1["server_networks"][0].update(mac="53:54:00:00:00:0a"),
        (
            "server_networks[0].mac (host web1): found '53:54:00:00:00:0a', allowed is a unicast MAC "
            "address: the first of its bytes is even."
        ),
    ),
    (
        "metadata with a list",
        lambda e: e.web1.update(server_metadata={"roles": ["web"]}),
        "server_metadata.roles (host web1): found ['web'], allowed is text or a number or true or false.",
    ),
    (
        "metadata value too long",
        lambda e: e.web1.update(server_metadata={"role": "x" * 256}),
        (
            "server_metadata.role (host web1): found "
            "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…, allowed is "
            "text of at most 255 characters."
        ),
    ),
    (
        "metadata key too long",
        lambda e: e.web1.update(server_metadata={"k" * 256: "x"}),
        (
            f"server_metadata.{'k' * 79}… (host web1): found '{'k' * 78}… as a name, allowed is text of at most 255 "
            "characters."
        ),
    ),
    (
        "metadata too many",
        lambda e: e.web1.update(server_metadata={str(n): "x" for n in range(129)}),
        (
            "server_metadata (host web1): found {'0': 'x', '1': 'x', '2': 'x', '3': 'x', '4': 'x', '5': 'x', "
            "'6': 'x', '7': 'x'…, allowed is at most 128 entries."
        ),
    ),
    (
        "text that is not UTF-8",
        lambda e: e.web1.update(server_description="caf\udce9"),
        ("server_description (host web1): found 'caf\\udce9', allowed is text that can be encoded as UTF-8."),
    ),
    (
        "tag with a comma",
        lambda e: e.web1.update(server_tags=["a,b"]),
        "server_tags[0] (host web1): found 'a,b', allowed is 1 to 60 characters without ',' and '/'.",
    ),
    (
        "tag twice",
        lambda e: e.web1.update(server_tags=["a", "a"]),
        "server_tags (host web1): found ['a', 'a'], allowed is a list in which nothing stands twice.",
    ),
    (
        "user data too large",
        lambda e: e.web1.update(server_user_data=NOISE),
        (
            "server_user_data (host web1): User data too large. User data must be no larger than 65535 bytes "
            f"once base64 encoded. Your data is {encoded_length(packed(NOISE.encode()))} bytes (compressed)."
        ),
    ),
    (
        "user data that is a number",
        lambda e: e.web1.update(server_user_data=7),
        (
            "server_user_data (host web1): found a value that is not shown, allowed is text, the mapping of a "
            "#cloud-config, or a list of such parts."
        ),
    ),
    (
        "config drive of a kind",
        lambda e: e.web1.update(server_config_drive="yes"),
        "server_config_drive (host web1): found 'yes', allowed is one of true, false, auto.",
    ),
    (
        "shutdown timeout that is text",
        lambda e: e.web1.update(server_shutdown_timeout="60"),
        "server_shutdown_timeout (host web1): found '60', allowed is a whole number.",
    ),
    (
        "locked by a word",
        lambda e: e.web1.update(server_locked="yes"),
        "server_locked (host web1): found 'yes', allowed is true or false.",
    ),
    (
        "admin password that is a number",
        lambda e: e.web1.update(server_admin_password=12345678),
        ("server_admin_password (host web1): found a value that is not shown, allowed is text that is not empty."),
    ),
]


@pytest.mark.parametrize(("change", "sentence"), [pytest.param(*rest, id=name) for name, *rest in BROKEN])
def test_is_told(example: Example, change: t.Callable[[Example], object], sentence: str) -> None:
    change(example)

    assert example.mistaken() == [sentence]
