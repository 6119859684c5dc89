# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts of several NUMA cells and with PCI devices, as libvirt's own code tells them; no machine of the tests has any.

Node devices and domains go through libvirt's parser in its test driver. The capabilities of a host of two sockets are
a text in libvirt's form: its test driver makes up cells of one thread a core alone.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import libvirt
import pytest

from ansible_collections.flotilla.compute.plugins.module_utils._core.domain_xml import HostFacts, Source, domain_xml
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    DEDICATED,
    MIXED,
    TYPE_VF,
    Fit,
    FitCell,
    FittedDevice,
    PciDevice,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.guest_xml import guest_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import pci
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.machine import machine_facts

# -- NUMA cells


def cpu(number: int, socket: int, core: int, siblings: str) -> str:
    return f"<cpu id='{number}' socket_id='{socket}' die_id='0' core_id='{core}' siblings='{siblings}'/>"


#: Two sockets of two cores of two threads; of the second socket's second core one thread is offline.
CELLS = f"""<topology><cells num='2'>
  <cell id='0'><memory unit='KiB'>8388608</memory>
    <pages unit='KiB' size='4'>1572864</pages><pages unit='KiB' size='2048'>1024</pages>
    <distances><sibling id='0' value='10'/><sibling id='1' value='21'/></distances>
    <cpus num='4'>{cpu(0, 0, 0, "0,4")}{cpu(1, 0, 1, "1,5")}{cpu(4, 0, 0, "0,4")}{cpu(5, 0, 1, "1,5")}</cpus></cell>
  <cell id='1'><memory unit='KiB'>4194304</memory>
    <pages unit='KiB' size='4'>1048576</pages><pages unit='KiB' size='2048'>0</pages>
    <cpus num='4'>{cpu(2, 1, 0, "2,6")}{cpu(3, 1, 1, "3")}{cpu(6, 1, 0, "2,6")}<cpu id='7'/></cpus></cell>
</cells></topology>"""


class _TwoSockets:
    """The test driver with another host's topology and free pages."""

    def __init__(self, conn: t.Any) -> None:
        self._conn = conn

    def __getattr__(self, name: str) -> t.Any:
        return getattr(self._conn, name)

    def getCapabilities(self) -> str:  # noqa: N802 - libvirt's name
        before, _topology, after = self._conn.getCapabilities().partition("</host>")
        return f"{before}{CELLS}</host>{after}"

    def getFreePages(self, sizes: list[int], start: int, count: int, _flags: int = 0) -> t.Any:  # noqa: N802
        assert (sizes, start, count) == ([2048], 0, 2)
        return {0: {2048: 1000}, 1: {2048: 0}}


def test_cells_have_their_online_cpus_threads_pages_and_socket(conn: t.Any) -> None:
    first, second = machine_facts(_TwoSockets(conn))["numa"][-2:]
    assert first == {
        "id": 0,
        "memory_mib": 8192,
        "cpus": [0, 1, 4, 5],
        "siblings": [[0, 4], [1, 5]],
        "socket": 0,
        "pages": [
            {"size_kib": 4, "count": 1572864, "free": None},
            {"size_kib": 2048, "count": 1024, "free": 1000},
        ],
    }
    assert (second["cpus"], second["siblings"], second["socket"]) == ([2, 3, 6], [[2, 6]], 1)


def test_the_cells_that_libvirts_own_driver_makes_up() -> None:
    default = libvirt.open("test:///default")
    first, second = machine_facts(default)["numa"]
    default.close()
    assert [(cell["id"], cell["memory_mib"], cell["cpus"]) for cell in (first, second)] == [
        (0, 2048, list(range(8))),
        (1, 4096, list(range(8, 16))),
    ]


# -- PCI devices


def device(address: str, product: str, more: str = "", *, vendor: str = "0x8086", kind: str = "0x020000") -> str:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    place = "".join(
        f"<{name}>{int(part, 16)}</{name}>"
        for name, part in (("domain", domain), ("bus", bus), ("slot", slot), ("function", function))
    )
    name = "pci_" + address.replace(":", "_").replace(".", "_")
    ids = f"<product id='{product}'>x</product><vendor id='{vendor}'>y</vendor>"
    capability = f"<capability type='pci'><class>{kind}</class>{place}{ids}{more}</capability>"
    return f"<device><name>{name}</name>{capability}</device>"


PF = "<address domain='0x0000' bus='0x3b' slot='0x00' function='0x0'/>"
DEVICES = "".join(
    (
        device("0000:00:00.0", "0x0d57", kind="0x060000"),
        device("0000:3b:02.7", "0x154c", f"<capability type='phys_function'>{PF}</capability><numa node='1'/>"),
        device("0000:3b:00.0", "0x1583", "<capability type='virt_functions' maxCount='7'/><numa node='1'/>"),
        device("0001:af:00.0", "0x1eb8", vendor="0x10de", kind="0x030200"),
    )
)


@pytest.fixture
def with_devices(tmp_path: Path) -> t.Iterator[t.Any]:
    text = (Path(__file__).parent / "host.xml").read_text(encoding="utf-8").replace("@RECORD@", "")
    path = tmp_path / "devices.xml"
    path.write_text(text.replace("</node>", f"{DEVICES}</node>"), encoding="utf-8")
    conn = libvirt.open(f"test://{path}")
    yield conn
    conn.close()


def test_devices_are_told_with_what_they_are_of_and_where_and_bridges_are_not(with_devices: t.Any) -> None:
    physical, virtual, card = pci.devices(with_devices)
    common = {"vendor_id": "8086", "class": "0x020000", "numa_node": 1}
    assert physical == {
        "address": "0000:3b:00.0", "product_id": "1583", "dev_type": "type-PF", "parent": None, **common
    }  # fmt: skip
    assert virtual == {
        "address": "0000:3b:02.7", "product_id": "154c", "dev_type": "type-VF", "parent": "0000:3b:00.0", **common
    }  # fmt: skip
    assert (card["address"], card["vendor_id"], card["dev_type"], card["numa_node"]) == (
        "0001:af:00.0", "10de", "type-PCI", None
    )  # fmt: skip


def test_a_host_whose_libvirt_knows_no_node_devices_has_none() -> None:
    class Without:
        def listAllDevices(self, _flags: int) -> t.Any:  # noqa: N802 - libvirt's name
            raise _unsupported()

    assert pci.devices(Without()) == []


def _unsupported() -> libvirt.libvirtError:
    error = libvirt.libvirtError("this function is not supported by the connection driver")
    error.err = (libvirt.VIR_ERR_NO_SUPPORT, 0, "", 2, "", None, None, -1, -1)
    return error


# -- domains


def test_libvirt_takes_a_server_on_two_cells_with_pages_and_devices_and_tells_it_back(
    conn: t.Any, record: Record
) -> None:
    nic = PciDevice("0000:3b:02.7", "8086", "154c", TYPE_VF, numa_node=1, parent="0000:3b:00.0")
    fit = Fit(
        cells=(
            FitCell(0, 1, (0, 1), 1024, 2048, {0: 9, 1: 11}, cpu_policy=DEDICATED),
            FitCell(1, 0, (2, 3), 1024, 2048, {2: 3}, (0, 1), cpu_policy=MIXED),
        ),
        emulator_cpus=(0, 1, 3, 9, 11),
        pci=(FittedDevice("nic", nic), FittedDevice("gpu", PciDevice("0001:af:00.0", "10de", "1eb8"))),
    )
    db1 = dataclasses.replace(
        record, id="6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a09", name="db1", flavor=Flavor("big", 4, 2048, 1), fit=fit
    )
    sources = {(disk.pool, disk.volume): Source("/pools/local/db1") for disk in db1.disks}
    domain = conn.defineXML(domain_xml(db1, HostFacts("test", sources)))
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    options: dict[str, t.Any] = {"state": "shutoff", "persistent": True, "autostart": False, "managed_save": False}
    guest = guest_of(xml, **options, locations={})
    assert guest.tuning == Tuning.of(fit)
    assert guest.record == db1
    assert "<topology sockets='4' dies='1' cores='1' threads='1'/>" in xml
    assert xml.count("memAccess='shared'") == 2


def test_libvirt_takes_a_server_that_floats_over_some_cpus(conn: t.Any, record: Record) -> None:
    web9 = dataclasses.replace(record, id="6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a09", name="web9", fit=Fit(cpus=(0, 2, 3)))
    sources = {(disk.pool, disk.volume): Source("/pools/local/web9") for disk in web9.disks}
    xml = conn.defineXML(domain_xml(web9, HostFacts("test", sources))).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert "<vcpu placement='static' cpuset='0,2-3'>2</vcpu>" in xml
