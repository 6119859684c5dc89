# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is looked at on both hosts before a live migration, by libvirt's own test driver."""

from __future__ import annotations

import dataclasses
import types
import typing as t
import xml.etree.ElementTree as ET

import libvirt
import pytest
from tests.libvirt.test_landing import error

from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import Fit, FitCell, FittedDevice, PciDevice
from ansible_collections.flotilla.compute.plugins.module_utils._core.live import Wish
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Nic, Record
from ansible_collections.flotilla.compute.plugins.module_utils._core.move import End
from ansible_collections.flotilla.compute.plugins.module_utils._core.moved_xml import variables_of
from ansible_collections.flotilla.compute.plugins.module_utils._core.network_xml import desired_network
from ansible_collections.flotilla.compute.plugins.module_utils._core.tuning import Tuning
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor import prechecks
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.job import Order
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.looks import Far
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.networks import ensure
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.prechecks import _LOOKS
from ansible_collections.flotilla.compute.plugins.module_utils._hypervisor.storage import Storage


def networks(conn: t.Any, record: Record, source: str, **options: t.Any) -> list[str]:
    """What stands against a move to the host of *conn* with a port in its libvirt network."""
    nic = Nic("lan", "network", source, "52:54:00:00:00:01")
    job: t.Any = types.SimpleNamespace(order=Order("live_migrate", record.id, record.name, options=options))
    target = dataclasses.replace(record, nics=(nic,))
    return list(dict(_LOOKS)["networks"](job, target, Far(End("kvm2"), conn, Storage(conn)), Wish()))


@pytest.mark.parametrize("forward", ["isolated", "nat", "route"])
def test_a_network_of_each_host_s_own_takes_leave(conn: t.Any, record: Record, forward: str) -> None:
    ensure(conn, desired_network("own", forward=forward, cidr="192.0.2.0/24"))
    (said,) = networks(conn, record, "own")
    assert "the libvirt network 'own' is one of each host's own: its peers would not find it there" in said
    assert networks(conn, record, "own", host_network=True) == []


def test_a_network_that_is_not_there_is_told_with_leave_too(conn: t.Any, record: Record) -> None:
    (said,) = networks(conn, record, "nowhere", host_network=True)
    assert "the libvirt network 'nowhere' of network 'lan' is not active there" in said


def test_a_filter_of_a_port_must_be_there(record: Record) -> None:
    xml = """<domain><devices>
      <interface type='bridge'><filterref filter='clean-traffic'/></interface>
      <interface type='bridge'><filterref filter='flotilla-metadata'/></interface>
      <interface type='bridge'/>
    </devices></domain>"""

    def lookup(name: str) -> object:
        if name != "clean-traffic":
            raise error(libvirt.VIR_ERR_NO_NWFILTER)
        return object()

    job: t.Any = types.SimpleNamespace(domain=types.SimpleNamespace(XMLDesc=lambda _flags: xml))
    far: t.Any = types.SimpleNamespace(conn=types.SimpleNamespace(nwfilterLookupByName=lookup))
    said = list(dict(_LOOKS)["filters"](job, record, far, Wish()))
    assert said == ["the filter 'flotilla-metadata' of its ports is not there"]


def test_a_bridge_must_be_there(record: Record) -> None:
    nic = Nic("lan", "bridge", "br0", "52:54:00:00:00:01")
    target = dataclasses.replace(record, nics=(nic,))

    def said(*bridges: str) -> list[str]:
        job: t.Any = types.SimpleNamespace(order=Order("live_migrate", record.id, record.name))
        far: t.Any = types.SimpleNamespace(bridges=bridges, conn=None)
        return list(dict(_LOOKS)["networks"](job, target, far, Wish()))

    assert said("br1") == ["there is no bridge 'br0' for network 'lan' there"]
    assert said("br0", "br1") == []


def test_a_name_that_another_domain_has_there(conn: t.Any, record: Record) -> None:
    far = Far(End("kvm2"), conn, Storage(conn))

    def said(name: str) -> list[str]:
        job: t.Any = types.SimpleNamespace(domain=types.SimpleNamespace(name=lambda: name))
        return list(dict(_LOOKS)["name"](job, record, far, Wish()))

    (against,) = said("foreign")
    assert "another domain there (6b1f4a52-6b8e-4c0e-9d35-1f6c0d6f1a03) has the name 'foreign'" in against
    assert said("nobody") == []


@pytest.mark.parametrize(
    ("qemu", "its_libvirt", "against"),
    [
        (7_002_017, 9_000_000, []),
        (8_000_000, 9_000_001, []),
        (7_002_016, 9_000_000, ["(QEMU is 7.2.17 here and 7.2.16 there)"]),
        (7_002_017, 8_010_000, ["(libvirt is 9.0.0 here and 8.10.0 there)"]),
        (6_002_000, 8_010_000, ["(QEMU is 7.2.17 here and 6.2.0 there)", "(libvirt is 9.0.0 here and 8.10.0 there)"]),
    ],
)
def test_a_guest_does_not_go_to_an_older_hypervisor(
    record: Record, qemu: int, its_libvirt: int, against: list[str]
) -> None:
    """In Nova's words; a newer one is well."""

    def at(qemu: int, libvirt: int) -> t.Any:
        return types.SimpleNamespace(getVersion=lambda: qemu, getLibVersion=lambda: libvirt)

    job: t.Any = types.SimpleNamespace(host=types.SimpleNamespace(conn=at(7_002_017, 9_000_000)))
    far: t.Any = types.SimpleNamespace(conn=at(qemu, its_libvirt))
    said = list(dict(_LOOKS)["versions"](job, record, far, Wish()))
    words = "The instance requires a newer hypervisor version than has been provided. "
    assert said == [words + versions for versions in against]


RUNS = """<domain type='kvm'><os><type arch='x86_64' machine='pc-i440fx-9.2'>hvm</type></os>
  <cpu mode='custom'><model>Skylake-Server</model><feature policy='require' name='avx512f'/></cpu>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>"""


def machine(record: Record, there: t.Any) -> list[str]:
    """What stands against a move of a guest that runs as RUNS says to a host whose libvirt is *there*."""
    here = types.SimpleNamespace(getDomainCapabilities=lambda *_of: "<domainCapabilities/>")
    job: t.Any = types.SimpleNamespace(
        domain=types.SimpleNamespace(XMLDesc=lambda _flags: RUNS), host=types.SimpleNamespace(conn=here)
    )
    return list(dict(_LOOKS)["machine and CPU"](job, record, Far(End("kvm2"), there, t.cast(t.Any, None)), Wish()))


def raising(code: int, message: str) -> t.Callable[..., t.Any]:
    def call(*_args: t.Any) -> t.Any:
        exc = libvirt.libvirtError(message)
        exc.err = (code, 0, message, 2, None, None, None, 0, 0)
        raise exc

    return call


def test_its_machine_must_be_known_there(record: Record) -> None:
    refuses = raising(libvirt.VIR_ERR_INVALID_ARG, "the machine 'pc-i440fx-9.2' is not supported by emulator")
    (said,) = machine(record, types.SimpleNamespace(getDomainCapabilities=refuses))
    assert said.startswith("its machine 'pc-i440fx-9.2' with kvm and /usr/bin/qemu-system-x86_64 can't be there: ")
    assert "is not supported by emulator" in said


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        (
            libvirt.VIR_ERR_CPU_INCOMPATIBLE,
            "the CPU is incompatible with host CPU: Host CPU does not provide required features: avx512f, mpx",
            ["Unacceptable CPU info: CPU doesn't have compatibility. (kvm2 lacks avx512f, mpx)"],
        ),
        (libvirt.VIR_ERR_NO_SUPPORT, "this function is not supported by the connection driver", []),
    ],
)
def test_the_features_that_its_cpu_has_and_the_other_lacks_are_named(
    record: Record, code: int, message: str, said: list[str]
) -> None:
    """Where libvirt can't compare CPUs, the migration itself tells."""
    asked: list[t.Any] = []

    def compare(*given: t.Any) -> None:
        asked.append(given)
        raising(code, message)()

    there = types.SimpleNamespace(
        getDomainCapabilities=lambda *_of: "<domainCapabilities/>", compareHypervisorCPU=compare
    )
    assert machine(record, there) == said
    ((emulator, arch, machine_there, kind, cpu, flags),) = asked
    assert (emulator, arch, machine_there, kind) == ("/usr/bin/qemu-system-x86_64", "x86_64", "pc-i440fx-9.2", "kvm")
    assert "avx512f" in cpu
    assert flags == libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE


def test_a_port_that_a_firewall_keeps_shut_is_named(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[t.Any] = []
    why = ["no answer within 3 s"]

    def unreached(host: str, port: int) -> str | None:
        tried.append((host, port))
        return why[0] if why else None

    monkeypatch.setattr(prechecks, "unreached", unreached)
    monkeypatch.setattr(prechecks, "last_migration_port", lambda: 49215)
    far: t.Any = types.SimpleNamespace(end=End("kvm2", "qemu+tls://kvm2.lan/system"))
    (said,) = dict(_LOOKS)["ports"](t.cast(t.Any, None), record, far, Wish())
    assert "port 49215 of kvm2.lan, the last of those" in said
    assert "(no answer within 3 s): open compute_host_migration_ports in the firewall of kvm2" in said
    why.clear()
    assert list(dict(_LOOKS)["ports"](t.cast(t.Any, None), record, far, Wish())) == []
    assert tried == [("kvm2.lan", 49215)] * 2


@pytest.mark.parametrize(
    ("kind", "against"),
    [(libvirt.VIR_DOMAIN_JOB_NONE, 0), (libvirt.VIR_DOMAIN_JOB_BOUNDED, 1), (libvirt.VIR_DOMAIN_JOB_UNBOUNDED, 1)],
)
def test_a_domain_with_a_job_at_work_is_not_moved(record: Record, kind: int, against: int) -> None:
    job: t.Any = types.SimpleNamespace(domain=types.SimpleNamespace(jobInfo=lambda: [kind]))
    said = list(dict(_LOOKS)["job"](job, record, t.cast(t.Any, None), Wish()))
    assert ["another job is at work on its domain" in one for one in said] == [True] * against


def lies(fit: Fit | None) -> str:
    """The domain of a guest that runs with this fit."""
    root = ET.fromstring("<domain><vcpu>2</vcpu><cpu/><devices/></domain>")
    Tuning.of(fit).write(root)
    return ET.tostring(root, encoding="unicode")


def pages(*cells: int, size: int | None = 2048, core: int = 0) -> Fit:
    """A guest of a cell of 1 GiB on each of these cells of its host."""
    return Fit(tuple(FitCell(n, cell, (n,), 1024, size, pinning={n: core + n}) for n, cell in enumerate(cells)))


GPU = FittedDevice("gpu", PciDevice("0000:3b:00.0", "10de", "1eb8"))


@pytest.mark.parametrize(
    ("had", "gets", "against"),
    [
        (None, None, ""),
        (None, Fit(cpus=(0, 1)), ""),
        (Fit(cpus=(0, 1)), Fit(cpus=(2, 99)), "it would be given CPU 99 there, which is not online"),
        (pages(0), pages(1), ""),
        (
            pages(0, 1, size=None),
            pages(1, 0, size=None, core=30),
            "it would be given CPU 30-31 there, which is not online",
        ),
        (pages(0), pages(0), "its memory takes 512 pages of 2048 KiB on cell 0 there, and 511 are free"),
        (
            pages(0),
            pages(0, size=None),
            "its NUMA cells as it runs (vCPU 0 with 1024 MiB in pages of 2048 KiB) are not ",
        ),
        (
            pages(0),
            pages(0, 1),
            "those that it would have there (vCPU 0 with 1024 MiB in pages of 2048 KiB; vCPU 1 with ",
        ),
        (None, pages(1), "its NUMA cells as it runs (none) are not those that it would have there"),
        (pages(0), None, "are not those that it would have there (none), and a guest keeps its own as long as it runs"),
        (None, Fit(pci=(GPU,)), "it is to have PCI devices (0000:3b:00.0), which a guest that runs can't be given"),
    ],
)
def test_what_it_is_to_have_there_must_be_there(
    had: Fit | None, gets: Fit | None, against: str, record: Record
) -> None:
    here, target = (dataclasses.replace(record, fit=fit) for fit in (had, gets))
    job: t.Any = types.SimpleNamespace(domain=types.SimpleNamespace(XMLDesc=lambda _flags: lies(had)), record=here)
    far: t.Any = types.SimpleNamespace(
        conn=types.SimpleNamespace(
            getCPUMap=lambda _flags: (5, [True, True, True, True, False], 4),
            getFreePages=lambda sizes, cell, _cells, _flags: {cell: {sizes[0]: 511 + cell}},
        )
    )
    said = list(dict(_LOOKS)["cores and cells"](job, target, far, Wish()))
    assert len(said) == bool(against)
    assert against in "".join(said)


def test_variables_of_another_domain_s_firmware_are_not_written_over(record: Record) -> None:
    def domain(name: str, nvram: str) -> t.Any:
        return types.SimpleNamespace(XMLDesc=lambda _flags: f"<domain><os>{nvram}</os></domain>", name=lambda: name)

    def said(own: str, *others: t.Any) -> list[str]:
        job: t.Any = types.SimpleNamespace(domain=domain("web1", own))
        far: t.Any = types.SimpleNamespace(conn=types.SimpleNamespace(listAllDomains=lambda _flags: list(others)))
        return list(dict(_LOOKS)["firmware"](job, record, far, Wish()))

    file, other = "/nvram/web1_VARS.fd", "/nvram/web2_VARS.fd"
    its = f"<nvram template='/usr/share/OVMF/OVMF_VARS.fd'>{file}</nvram>"
    newer = f"<nvram type='file'><source file='{file}'/></nvram>"
    elsewhere = [domain("web2", f"<nvram>{other}</nvram>"), domain("bios", "")]
    assert said(its, *elsewhere) == said("", domain("b", its)) == []
    for taken in (its, newer):
        (against,) = said(its, *elsewhere, domain("b", taken))
        assert f"go to {file}, where domain 'b' there has its own" in against


def test_the_variables_of_a_firmware_that_libvirt_chooses_have_a_file_of_the_domain_s_name() -> None:
    """As libvirt 9.0 tells it of a domain that is off."""
    chosen = "<domain><name>web1</name><os firmware='efi'><type>hvm</type></os></domain>"
    assert variables_of(chosen) == "/var/lib/libvirt/qemu/nvram/web1_VARS.fd"
    assert variables_of(chosen.replace("<type>", "<nvram>/nvram/web1.fd</nvram><type>")) == "/nvram/web1.fd"
    assert variables_of(chosen.replace("efi", "bios")) is None
