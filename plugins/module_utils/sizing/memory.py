# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory of guests and hosts as Xen's tools count it, in MiB."""
from __future__ import annotations

import math

XEN_SHARE = 0.012
"""Share of a host's memory that Xen keeps: 32 bytes of frame table and 8 bytes of M2P table per 4 KiB page, rounded up."""
XEN_FIXED_MIB = 200
"""Xen's own heap, text and per-CPU memory, rounded up."""
DEFAULT_GRANT_FRAMES = 64
"""max_grant_frames of a guest that does not say otherwise (xl.cfg(5))."""
_SAFETY_MIB = 8.0
_PER_VCPU_MIB = 0.15


def paging_mib(maxmem_mib: int, maxvcpus: int, guest_type: str, hap: bool = True) -> float:
    """Page-table memory that libxl reserves for a guest.

    Source: Xen 4.17 to 4.22, tools/libs/light/libxl_create.c, libxl__get_required_paging_memory: 256 pages per vCPU, one
    page per MiB for the P2M of a guest that is not PV, and one more per MiB for a guest without hardware paging (a PV
    guest always counts as such).
    """
    pages_per_mib = (guest_type != "pv") + (guest_type == "pv" or not hap)
    return 4 * (256 * maxvcpus + pages_per_mib * maxmem_mib) / 1024


def need_mib(memory_mib: int, maxmem_mib: int, maxvcpus: int, guest_type: str, hap: bool = True) -> int:
    """Free memory that `xl create` asks of the host for a guest.

    Source: libxl_mem.c, libxl__domain_need_memory_calculate: target, paging memory, 2 MiB (PV: 1 MiB), rounded up to 2 MiB.
    """
    slack = 1 if guest_type == "pv" else 2
    return _round_up_to_even(memory_mib + paging_mib(maxmem_mib, maxvcpus, guest_type, hap) + slack)


def footprint_mib(
    memory_mib: int, maxmem_mib: int, maxvcpus: int, guest_type: str, grant_frames: int = DEFAULT_GRANT_FRAMES,
    hap: bool = True, shim: bool = False,
) -> int:
    """Memory that the planner counts for a guest: never less than `need_mib`.

    On top of libxl's formula come Xen's structures per vCPU (0.15 MiB, as XAPI found: CA-423172), the grant table (4 KiB a
    frame) and 8 MiB for what is allocated while the guest runs; for a PV guest inside the PVH shim 23 MiB and a 90th of its
    memory (XAPI, ocaml/xapi-idl/memory/memory.ml).
    """
    beside = _PER_VCPU_MIB * maxvcpus + grant_frames * 4 / 1024 + _SAFETY_MIB
    if shim:
        beside += 23 + maxmem_mib / 90
    return _round_up_to_even(
        memory_mib + paging_mib(maxmem_mib, maxvcpus, guest_type, hap) + (1 if guest_type == "pv" else 2) + beside
    )


def guests_memory_mib(memory_mib: float, dom0_memory_mib: float) -> int:
    """Memory of a host that is left for guests: total less dom0 less Xen's own; never below 0."""
    return max(0, math.floor(memory_mib - dom0_memory_mib - XEN_SHARE * memory_mib - XEN_FIXED_MIB))


def _round_up_to_even(mib: float) -> int:
    return 2 * math.ceil(round(mib / 2, 9))
