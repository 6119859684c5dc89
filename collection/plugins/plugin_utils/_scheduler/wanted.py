# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The NUMA topology that a flavor and an image ask for (Nova: virt/hardware.py, numa_get_constraints).

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

A wish has two spellings: ``hw:cpu_policy`` in extra specs, ``hw_cpu_policy`` in image properties. Which of them wins,
and which pairs contradict each other, is Nova's rule for each wish. Whatever is wrong is a sentence (InvalidInput).
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.flotilla.compute.plugins.module_utils._core.cpu_set import format_cpus, parse_cpus
from ansible_collections.flotilla.compute.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.flotilla.compute.plugins.module_utils._core.fit import (
    DEDICATED,
    ISOLATE,
    MIXED,
    PREFER,
    REQUIRE,
    SHARE,
    SHARED,
    Fit,
)
from ansible_collections.flotilla.compute.plugins.module_utils._core.model import Flavor

ANY = "any"
LARGE = "large"
SMALL = "small"

CPU_POLICIES = (DEDICATED, MIXED, SHARED)
THREAD_POLICIES = (PREFER, ISOLATE, REQUIRE)
EMULATOR_POLICIES = (ISOLATE, SHARE)
PCI_POLICIES = ("legacy", "preferred", "required", "socket")

Properties = t.Mapping[str, t.Any]

# Nova's own word for the threads of a core, as a trait that is asked for.
_THREADS = re.compile(r"trait([1-9][0-9]*)?:HW_CPU_HYPERTHREADING")
_CORES = re.compile(r"resources([1-9][0-9]*)?:(VCPU|PCPU)")
_TRUE = ("1", "t", "true", "on", "y", "yes")
_SIZE = re.compile(r"([0-9]*\.?[0-9]+)([KMGT]i?)?(b|bit|B)")
_KIB = {"": 1 / 1024, "K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}


@dataclasses.dataclass(frozen=True)
class WantedCell:
    """A guest's NUMA cell: its vCPUs that share the host's CPUs, those with a core of their own, its memory in MiB.

    ``page_size`` in KiB is that of a guest which runs, and keeps it; None leaves it to the topology's.
    """

    id: int
    shared: tuple[int, ...]
    dedicated: tuple[int, ...]
    memory: int
    page_size: int | None = None

    @property
    def vcpus(self) -> tuple[int, ...]:
        return tuple(sorted(self.shared + self.dedicated))


@dataclasses.dataclass(frozen=True)
class WantedTopology:
    """``page_size`` is KiB, or small, large, any; None leaves it to the host."""

    cells: tuple[WantedCell, ...]
    cpu_policy: str = SHARED
    thread_policy: str | None = None
    page_size: int | str | None = None
    emulator_policy: str | None = None

    @property
    def reserved(self) -> int:
        """Dedicated cores for the emulator's threads."""
        return 1 if self.emulator_policy == ISOLATE else 0

    def running(self, fit: Fit) -> WantedTopology:
        """The same for a guest that has this *fit*, and goes on running: its pages stay as large as they are (Nova:
        LiveMigrationClaim)."""
        sizes = {cell.id: cell.page_size for cell in fit.cells}
        cells = tuple(dataclasses.replace(cell, page_size=sizes.get(cell.id)) for cell in self.cells)
        return dataclasses.replace(self, cells=cells)


def wanted_topology(flavor: Flavor, image_properties: Properties) -> WantedTopology | None:
    """What is asked for; None for a server that may float over the whole host, as most do."""
    wishes = _Wishes(flavor, image_properties)
    if not wishes.any():
        return None
    return _topology(wishes)


def pci_numa_policy(flavor: Flavor, image_properties: Properties) -> str | None:
    """How near PCI devices must be to the guest's cells, where flavor or image say so."""
    return _Wishes(flavor, image_properties).equal("pci_numa_affinity_policy", PCI_POLICIES)


class _Wishes:
    """The spellings of each wish, with the sentence that names the one that is wrong."""

    def __init__(self, flavor: Flavor, properties: Properties) -> None:
        self.flavor = flavor
        self.properties = properties

    def any(self) -> bool:
        """A quick look, so that requests without any cost next to nothing."""
        specs = self.flavor.extra_specs
        return any(key.startswith(("hw:", "resources", "trait")) for key in specs) or any(
            key.startswith(("hw_cpu_", "hw_numa_", "hw_mem_page_size", "trait:")) for key in self.properties
        )

    def spec(self, name: str) -> str | None:
        """An extra spec; empty text is none at all, as in Nova."""
        value = self.flavor.extra_specs.get(f"hw:{name}")
        return None if value is None else str(value) or None

    def property(self, name: str) -> str | None:
        value = self.properties.get(f"hw_{name}")
        return None if value is None else str(value) or None

    def wrong_spec(self, name: str, why: str) -> InvalidInput:
        return InvalidInput(f"flavor {self.flavor.name!r}: extra spec 'hw:{name}' {why}")

    def wrong_property(self, name: str, why: str) -> InvalidInput:
        return InvalidInput(f"image property 'hw_{name}' {why}")

    def wrong(self, why: str) -> InvalidInput:
        return InvalidInput(f"flavor {self.flavor.name!r}: {why}")

    def contradiction(self, name: str) -> InvalidInput:
        return self.wrong(
            f"its extra spec 'hw:{name}' is {self.spec(name)!r}, which image property 'hw_{name}' "
            f"{self.property(name)!r} may not change; leave it out of the image, or use another flavor"
        )

    def chosen(self, name: str, known: t.Sequence[str]) -> tuple[str | None, str | None]:
        """Both spellings of a wish whose values are known by name."""
        spec, prop = self.spec(name), self.property(name)
        why = f"should be one of {', '.join(known)}, found "
        if spec is not None and spec not in known:
            raise self.wrong_spec(name, why + repr(spec))
        if prop is not None and prop not in known:
            raise self.wrong_property(name, why + repr(prop))
        return spec, prop

    def equal(self, name: str, known: t.Sequence[str]) -> str | None:
        """A wish whose two spellings must be equal if both are there."""
        spec, prop = self.chosen(name, known)
        if spec and prop and spec != prop:
            raise self.contradiction(name)
        return spec or prop


def _topology(wishes: _Wishes) -> WantedTopology | None:
    if (wishes.spec("cpu_realtime") or "").strip().lower() in _TRUE:
        raise wishes.wrong_spec("cpu_realtime", "asks for real-time vCPUs, which Flotilla can't give; remove it")
    cpu_policy = _with_resources(wishes, _cpu_policy(wishes))
    thread_policy = _thread_policy(wishes)
    (emulator_policy, _none) = wishes.chosen("emulator_threads_policy", EMULATOR_POLICIES)
    dedicated = _dedicated(wishes, cpu_policy)
    if cpu_policy in (SHARED, None):
        _refuse_without_dedicated(wishes, thread_policy, emulator_policy)
    nodes, page_size = _nodes(wishes), _page_size(wishes)
    if not (nodes or page_size or cpu_policy in (DEDICATED, MIXED)):
        _refuse_cells(wishes, 0)
        return None
    cells = _cells(wishes, nodes or 1, dedicated)
    return WantedTopology(cells, cpu_policy or SHARED, thread_policy, page_size, emulator_policy)


def _cpu_policy(wishes: _Wishes) -> str | None:
    """The image may add to a flavor that says nothing, or ask for less than it; never for more."""
    spec, prop = wishes.chosen("cpu_policy", CPU_POLICIES)
    more = {SHARED: (MIXED, DEDICATED), MIXED: (DEDICATED,)}
    if spec is not None and prop in more.get(spec, ()):
        raise wishes.contradiction("cpu_policy")
    return spec or prop


def _thread_policy(wishes: _Wishes) -> str | None:
    """The flavor's wins; a flavor's prefer bears any of the image. The trait of threads is another way to ask."""
    spec, prop = wishes.chosen("cpu_thread_policy", THREAD_POLICIES)
    if spec not in (None, PREFER) and prop and prop != spec:
        raise wishes.contradiction("cpu_thread_policy")
    policy = spec or prop
    trait = next((value for key, value in wishes.flavor.extra_specs.items() if _THREADS.fullmatch(key)), None)
    if trait is None and wishes.properties.get("trait:HW_CPU_HYPERTHREADING") == "required":
        trait = "required"
    if policy and trait:
        raise wishes.wrong(
            f"the trait HW_CPU_HYPERTHREADING ({trait}) and 'hw:cpu_thread_policy' ({policy}) can't be asked for "
            "together; use one of them"
        )
    return {"forbidden": ISOLATE, "required": REQUIRE}.get(str(trait), policy)


def _with_resources(wishes: _Wishes, policy: str | None) -> str | None:
    """``resources:PCPU`` asks for the policy dedicated, ``resources:VCPU`` for shared."""
    asked = {"VCPU": 0, "PCPU": 0}
    for key, value in wishes.flavor.extra_specs.items():
        match = _CORES.fullmatch(key)
        # What is no number is told where resources are read.
        if match and str(value).isdecimal():
            asked[match[2]] += int(value)
    vcpus, pcpus = asked["VCPU"], asked["PCPU"]
    if policy and (vcpus or pcpus):
        raise wishes.wrong(
            f"'hw:cpu_policy' ({policy}) and 'resources:VCPU' or 'resources:PCPU' can't be asked for together; "
            "use one of them"
        )
    if vcpus and pcpus:
        raise wishes.wrong("'resources:VCPU' and 'resources:PCPU' can't be asked for together; use one of them")
    needed = wishes.flavor.vcpus + (wishes.spec("emulator_threads_policy") == ISOLATE)
    if pcpus and pcpus != needed:
        raise wishes.wrong(
            f"'resources:PCPU' should be {needed}, one for each vCPU (and one for policy isolate's "
            f"emulator threads), found {pcpus}"
        )
    if pcpus:
        return DEDICATED
    return SHARED if vcpus else policy


def _dedicated(wishes: _Wishes, policy: str | None) -> frozenset[int]:
    """The guest's vCPUs that get a core of their own."""
    everything = frozenset(range(wishes.flavor.vcpus))
    mask = wishes.spec("cpu_dedicated_mask")
    if mask is None:
        if policy == MIXED:
            raise wishes.wrong("CPU policy mixed needs the extra spec 'hw:cpu_dedicated_mask', such as 0-1")
        return everything if policy == DEDICATED else frozenset()
    if policy != MIXED:
        raise wishes.wrong_spec("cpu_dedicated_mask", f"needs 'hw:cpu_policy' mixed, found {policy or 'none'}")
    text = f"0-{len(everything) - 1},{mask}" if mask.strip().startswith("^") and everything else mask
    vcpus = _vcpus(wishes, "cpu_dedicated_mask", text)
    if not vcpus or not vcpus < everything:
        raise wishes.wrong_spec(
            "cpu_dedicated_mask",
            f"should name some of the vCPUs {_range(everything)}, and leave some to be shared, found {mask!r}",
        )
    return vcpus


def _refuse_without_dedicated(wishes: _Wishes, thread_policy: str | None, emulator_policy: str | None) -> None:
    if thread_policy:
        raise wishes.wrong(f"CPU thread policy {thread_policy} needs 'hw:cpu_policy' dedicated or mixed")
    if emulator_policy == ISOLATE:
        raise wishes.wrong_spec("emulator_threads_policy", "isolate needs 'hw:cpu_policy' dedicated or mixed")


def _nodes(wishes: _Wishes) -> int | None:
    spec, prop = wishes.spec("numa_nodes"), wishes.property("numa_nodes")
    for nodes, wrong in ((spec, wishes.wrong_spec), (prop, wishes.wrong_property)):
        if nodes is not None and not (nodes.isdecimal() and int(nodes)):
            raise wrong("numa_nodes", f"should be a whole number from 1, found {nodes!r}")
    if spec and prop:
        raise wishes.contradiction("numa_nodes")
    return int(spec or prop or 0) or None


def _page_size(wishes: _Wishes) -> int | str | None:
    """The image may name a size only where the flavor leaves it open (large, any)."""
    spec, prop = wishes.spec("mem_page_size"), wishes.property("mem_page_size")
    if spec is None:
        if prop is not None:
            raise wishes.wrong_property(
                "mem_page_size", f"is {prop!r}, which a flavor must allow by extra spec 'hw:mem_page_size' large or any"
            )
        return None
    size = _kib(spec)
    if size is None:
        raise wishes.wrong_spec("mem_page_size", _NO_SIZE + repr(spec))
    if prop is None:
        return size
    if size not in (ANY, LARGE):
        raise wishes.contradiction("mem_page_size")
    asked = _kib(prop)
    if asked is None:
        raise wishes.wrong_property("mem_page_size", _NO_SIZE + repr(prop))
    return asked


_NO_SIZE = "should be small, large, any, or a size such as 2048 (KiB), 2MB or 1GB, found "


def _kib(text: str) -> int | str | None:
    """A page size; None if that is none. Units are those of 1024, with or without an i (oslo.utils: IEC)."""
    if text in (ANY, LARGE, SMALL):
        return text
    if text.isdecimal():
        return int(text) or None
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    size = float(match[1]) * _KIB[(match[2] or "")[:1]] / (1 if match[3] == "B" else 8)
    return int(size) if size >= 1 and size == int(size) else None


def _cells(wishes: _Wishes, nodes: int, dedicated: frozenset[int]) -> tuple[WantedCell, ...]:
    _refuse_cells(wishes, nodes)
    cpus, memory = _mapping(wishes, "numa_cpus"), _mapping(wishes, "numa_mem")
    if not cpus and not memory:
        return _even_cells(wishes, nodes, dedicated)
    if len(cpus) != nodes or len(memory) != nodes:
        raise wishes.wrong(
            f"'hw:numa_cpus.N' and 'hw:numa_mem.N' should be given for each of its {nodes} NUMA nodes, from 0 on, "
            f"or for none; found them for {len(cpus)} and {len(memory)}"
        )
    return _given_cells(wishes, cpus, memory, dedicated)


def _refuse_cells(wishes: _Wishes, nodes: int) -> None:
    """What names a NUMA node that the guest hasn't is not passed over (Nova does so)."""
    for key in (*wishes.flavor.extra_specs, *wishes.properties):
        match = re.fullmatch(r"hw[:_]numa_(?:cpus|mem)\.(.*)", key)
        if match and not (match[1].isdecimal() and int(match[1]) < nodes):
            raise wishes.wrong(
                f"{key!r} is about a NUMA node that isn't asked for: 'hw:numa_nodes' is {nodes or 'none'}"
            )


def _mapping(wishes: _Wishes, name: str) -> dict[str, str]:
    """``hw:numa_cpus.0``, ``.1`` … up to the first that is missing; of the flavor or of the image, not of both."""
    specs = dict(_numbered(wishes.flavor.extra_specs, f"hw:{name}."))
    properties = dict(_numbered(wishes.properties, f"hw_{name}."))
    if specs and properties:
        raise wishes.wrong(
            f"{next(iter(properties))!r} of the image may not change {next(iter(specs))!r} of the flavor"
        )
    return specs or properties


def _numbered(values: Properties, prefix: str) -> t.Iterator[tuple[str, str]]:
    number = 0
    while f"{prefix}{number}" in values:
        yield f"{prefix}{number}", str(values[f"{prefix}{number}"])
        number += 1


def _even_cells(wishes: _Wishes, nodes: int, dedicated: frozenset[int]) -> tuple[WantedCell, ...]:
    vcpus, memory = wishes.flavor.vcpus, wishes.flavor.ram
    if vcpus % nodes or memory % nodes:
        raise wishes.wrong(
            f"its {vcpus} vCPUs and {memory} MiB can't be divided evenly among {nodes} NUMA nodes; "
            "say what each has by 'hw:numa_cpus.N' and 'hw:numa_mem.N'"
        )
    size = vcpus // nodes
    return tuple(
        _cell(node, frozenset(range(node * size, (node + 1) * size)), dedicated, memory // nodes)
        for node in range(nodes)
    )


def _given_cells(
    wishes: _Wishes, cpus: t.Mapping[str, str], memory: t.Mapping[str, str], dedicated: frozenset[int]
) -> tuple[WantedCell, ...]:
    everything = frozenset(range(wishes.flavor.vcpus))
    seen: set[int] = set()
    cells = []
    for node, (key, text) in enumerate(cpus.items()):
        vcpus = _parsed(wishes, key, text)
        if not vcpus <= everything:
            raise wishes.wrong(f"{key!r} is {text!r}, the vCPUs are {_range(everything)}")
        if vcpus & seen:
            raise wishes.wrong(f"{key!r} names vCPU {min(vcpus & seen)}, which is on another NUMA node already")
        seen |= vcpus
        cells.append(_cell(node, vcpus, dedicated, _memory(wishes, list(memory.items())[node])))
    if seen != everything:
        raise wishes.wrong(f"no 'hw:numa_cpus.N' names vCPU {format_cpus(everything - seen)}")
    total = sum(cell.memory for cell in cells)
    if total != wishes.flavor.ram:
        raise wishes.wrong(f"'hw:numa_mem.N' should make {wishes.flavor.ram} MiB together, found {total}")
    return tuple(cells)


def _cell(node: int, vcpus: frozenset[int], dedicated: frozenset[int], memory: int) -> WantedCell:
    return WantedCell(node, tuple(sorted(vcpus - dedicated)), tuple(sorted(vcpus & dedicated)), memory)


def _memory(wishes: _Wishes, given: tuple[str, str]) -> int:
    key, text = given
    if not text.isdecimal():
        raise wishes.wrong(f"{key!r} should be a number of MiB, found {text!r}")
    return int(text)


def _vcpus(wishes: _Wishes, name: str, text: str) -> frozenset[int]:
    return _parsed(wishes, f"hw:{name}", text)


def _parsed(wishes: _Wishes, key: str, text: str) -> frozenset[int]:
    try:
        return frozenset(parse_cpus(text))
    except InvalidInput as exc:
        raise wishes.wrong(f"{key!r}: {exc}") from exc


def _range(vcpus: t.Iterable[int]) -> str:
    return format_cpus(vcpus) or "none"


__all__ = [
    "ANY",
    "LARGE",
    "PCI_POLICIES",
    "SMALL",
    "WantedCell",
    "WantedTopology",
    "pci_numa_policy",
    "wanted_topology",
]
