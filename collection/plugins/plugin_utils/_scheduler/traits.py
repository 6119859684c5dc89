# Copyright: (c) 2026, Flotilla contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The traits of a compute host: what its CPU shows, its state, and what inventory adds.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.

The names are those of os-traits. The table of CPU features is Nova's (nova/virt/libvirt/utils.py), with libvirt's own
names where Nova's are QEMU's (``pni`` is ``sse3``), and with the features that os-traits names beside Nova's.
"""

from __future__ import annotations

import typing as t

DISABLED = "COMPUTE_STATUS_DISABLED"
_HYPERTHREADING = "HW_CPU_HYPERTHREADING"

#: CPU feature by libvirt's name -> its traits.
CPU_TRAITS: dict[str, tuple[str, ...]] = {
    feature: tuple(f"HW_CPU_X86_{name}" for name in names.split())
    for feature, names in {
        "3dnow": "3DNOW",
        "abm": "ABM",
        "aes": "AESNI",
        "amd-no-ssb": "AMD_NO_SSB",
        "amd-ssbd": "AMD_SSBD",
        "amx-bf16": "AMXBF16",
        "amx-int8": "AMXINT8",
        "amx-tile": "AMXTILE",
        "avx": "AVX",
        "avx2": "AVX2",
        "avx512-vpopcntdq": "AVX512VPOPCNTDQ",
        "avx512bitalg": "AVX512BITALG",
        "avx512bw": "AVX512BW",
        "avx512cd": "AVX512CD",
        "avx512dq": "AVX512DQ",
        "avx512er": "AVX512ER",
        "avx512f": "AVX512F",
        "avx512ifma": "AVX512IFMA",
        "avx512pf": "AVX512PF",
        "avx512vbmi": "AVX512VBMI",
        "avx512vbmi2": "AVX512VBMI2",
        "avx512vl": "AVX512VL",
        "avx512vnni": "AVX512VNNI",
        "bmi1": "BMI",
        "bmi2": "BMI2",
        "f16c": "F16C",
        "fma": "FMA3",
        "fma4": "FMA4",
        "gfni": "AVX512GFNI",
        "ibpb": "AMD_IBPB",
        "md-clear": "INTEL_MD_CLEAR",
        "mmx": "MMX",
        "mpx": "MPX",
        "pcid": "INTEL_PCID",
        "pclmuldq": "CLMUL",
        "pclmulqdq": "CLMUL",
        "pdpe1gb": "PDPE1GB",
        "pni": "SSE3",
        "rtm": "TSX",
        "sgx": "SGX",
        "sha-ni": "SHA",
        "spec-ctrl": "INTEL_SPEC_CTRL",
        "ssbd": "INTEL_SSBD",
        "sse": "SSE",
        "sse2": "SSE2",
        "sse3": "SSE3",
        "sse4.1": "SSE41",
        "sse4.2": "SSE42",
        "sse4a": "SSE4A",
        "ssse3": "SSSE3",
        "stibp": "STIBP",
        "svm": "SVM AMD_SVM",
        "tbm": "TBM",
        "vaes": "AVX512VAES",
        "virt-ssbd": "AMD_VIRT_SSBD",
        "vmx": "VMX INTEL_VMX",
        "vpclmulqdq": "AVX512VPCLMULQDQ",
        "xop": "XOP",
    }.items()
}

#: Architecture by libvirt's name -> its traits.
ARCH_TRAITS: dict[str, tuple[str, ...]] = {
    arch: (f"HW_ARCH_{arch.upper()}", f"COMPUTE_ARCH_{arch.upper()}")
    for arch in ("aarch64", "mipsel", "ppc64le", "s390x", "x86_64")
} | {"i686": ("HW_ARCH_I686",)}


def host_traits(cpu: t.Mapping[str, t.Any], *, enabled: bool, added: t.Collection[str] = ()) -> frozenset[str]:
    """The traits of a host. *cpu* as in its survey (arch, topology, features), empty if it has none; *added* by
    inventory."""
    found = set(added)
    if cpu:
        found.add("COMPUTE_NODE")
        found.update(ARCH_TRAITS.get(cpu.get("arch", ""), ()))
        for feature in cpu.get("features", ()):
            found.update(CPU_TRAITS.get(feature, ()))
        if cpu.get("topology", {}).get("threads", 1) > 1:
            found.add(_HYPERTHREADING)
    if not enabled:
        found.add(DISABLED)
    return frozenset(found)


__all__ = ["ARCH_TRAITS", "CPU_TRAITS", "DISABLED", "host_traits"]
