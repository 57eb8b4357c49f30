# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CPU features as Xen counts them: words of 32 bits, their names, and how xl is told to hide one.

A featureset is a tuple of words in the order of Xen's cpufeatureset.h, which only ever grows at its end (Xen 4.17 has 18 words, 4.20
has 19). Names are those that `xen-cpuid detail` of 4.20 prints. Sources: tools/misc/xen-cpuid.c, tools/libs/light/libxl_cpuid.c,
xl.cfg(5).
"""
from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Words = tuple[int, ...]


@dataclass(frozen=True)
class Word:
    """One word of a featureset. abbreviation: as `xen-cpuid` heads its column; leaf: as xl.cfg(5) writes it, "" for one that guests of
    every host do not have; register: of that leaf; names: of the bits from 0 on, - for one without."""

    abbreviation: str
    leaf: str
    register: str
    names: tuple[str, ...]


def _word(abbreviation: str, leaf: str, register: str, names: str) -> Word:
    return Word(abbreviation, leaf, register, tuple(names.split()))


WORDS = (
    _word("1d", "0x1", "edx", "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 - clflush - ds acpi mmx fxsr sse"
                              " sse2 ss htt tm1 - pbe"),
    _word("1c", "0x1", "ecx", "sse3 pclmulqdq dtes64 monitor dscpl vmx smx eist tm2 ssse3 - sdbg fma cx16 xtpr pdcm - pcid dca sse4-1"
                              " sse4-2 x2apic movbe popcnt tsc-deadline aesni xsave osxsave avx f16c rdrand hypervisor"),
    # Its other bits repeat those of 1d on AMD's CPUs.
    _word("e1d", "0x80000001", "edx", "- - - - - - - - - - - syscall - - - - - - - - nx - mmxext - - ffxsr page1gb rdtscp - lm 3dnowext"
                                      " 3dnow"),
    _word("e1c", "0x80000001", "ecx", "lahf-lm cmp-legacy svm extapic cr8-legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit"
                                      " wdt - lwp fma4 - - nodeid-msr - tbm topoext - - - dbext - - monitorx addr-msk-ext"),
    _word("Da1", "0xd,1", "eax", "xsaveopt xsavec xgetbv1 xsaves xfd"),
    _word("7b0", "0x7,0", "ebx", "fsgsbase tsc-adjust sgx bmi1 hle avx2 fdp-excp-only smep bmi2 erms invpcid rtm pqm no-fpu-sel mpx pqe"
                                 " avx512f avx512dq rdseed adx smap avx512-ifma - clflushopt clwb proc-trace avx512pf avx512er avx512cd"
                                 " sha avx512bw avx512vl"),
    _word("7c0", "0x7,0", "ecx", "prefetchwt1 avx512-vbmi umip pku ospke waitpkg avx512-vbmi2 cet-ss gfni vaes vpclmulqdq avx512-vnni"
                                 " avx512-bitalg tme avx512-vpopcntdq - la57 - - - - - rdpid - bld cldemote - movdiri movdir64b enqcmd"
                                 " sgx-lc pks"),
    _word("e7d", "0x80000007", "edx", "- - - - - - - hw-pstate itsc cpb efro"),
    _word("e8b", "0x80000008", "ebx", "clzero - rstr-fp-err-ptrs - - - - - - wbnoinvd - - ibpb - ibrs amd-stibp ibrs-always stibp-always"
                                      " ibrs-fast ibrs-same-mode no-lmsl - - amd-ppin amd-ssbd virt-ssbd ssb-no - psfd btc-no ibpb-ret"),
    _word("7d0", "0x7,0", "edx", "- sgx-keys avx512-4vnniw avx512-4fmaps fsrm uintr - - avx512-vp2intersect srbds-ctrl md-clear"
                                 " rtm-always-abort - tsx-force-abort serialize hybrid tsxldtrk - pconfig arch-lbr cet-ibt - amx-bf16"
                                 " avx512-fp16 amx-tile amx-int8 ibrsb stibp l1d-flush arch-caps core-caps ssbd"),
    _word("7a1", "", "eax", "sha512 sm3 sm4 - avx-vnni avx512-bf16 - cmpccxadd - - fzrm fsrs fsrcs - - - - fred - wrmsrns - amx-fp16 -"
                            " avx-ifma"),
    _word("e21a", "", "eax", "no-nest-bp fs-gs-ns lfence-dispatch - - verw-clear nscb - auto-ibrs - amd-fsrs amd-fsrc - - - - -"
                             " cpuid-user-dis epsf fsrsc amd-prefetchi - - - - - - sbpb ibpb-brtype srso-no srso-us-no srso-msr-fix"),
    _word("7b1", "", "ebx", "intel-ppin"),
    _word("7d2", "", "edx", "intel-psfd ipred-ctrl rrsba-ctrl ddp-ctrl bhi-ctrl mcdt-no"),
    _word("7c1", "", "ecx", ""),
    _word("7d1", "", "edx", "- - - - avx-vnni-int8 avx-ne-convert - - amx-complex - avx-vnni-int16 - - - prefetchi - - - cet-sss"),
    _word("m10Al", "", "eax", "rdcl-no eibrs rsba skip-l1dfl intel-ssb-no mds-no if-pschange-mc-no tsx-ctrl taa-no mcu-ctrl misc-pkg-ctrl"
                              " energy-filtering doitm sbdr-ssdp-no fbsdp-no psdp-no - fb-clear fb-clear-ctrl rrsba bhi-no xapic-status"
                              " - ovrclk-status pbrsb-no gds-ctrl gds-no rfds-no rfds-clear"),
    _word("m10Ah", "", "edx", "pb-opt-ctrl - - - - - - - - - - - - - - - - - - - - - - - - - - - - - its-no"),
    _word("e21c", "", "ecx", "- tsa-sq-no tsa-l1-no"),
)
MSR_WORDS = (16, 17)
"""The register IA32_ARCH_CAPABILITIES, which guests see with the feature `arch-caps` alone."""

_BITS = {name: (index, bit) for index, word in enumerate(WORDS) for bit, name in enumerate(word.names) if name != "-"}
# They tell of the APIC, of the topology, of what the guest's own system has turned on, of the hypervisor, and of what an x87 unit does not
# do. Xen sets them by itself, whatever xl says ('!' in cpufeatureset.h); nobody loses an instruction with them.
_NO_FEATURES = ("apic", "htt", "x2apic", "osxsave", "hypervisor", "cmp-legacy", "fdp-excp-only", "no-fpu-sel", "ospke", "rtm-always-abort")


def parse_words(text: str) -> Words:
    """A featureset as `xen-cpuid` prints it; words that are missing at the end are 0. Raises ValueError."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9a-f]{8}(:[0-9a-f]{8})*", text):
        raise ValueError(f"{text!r}, allowed words of eight hexadecimal digits with ':' between them")
    words = tuple(int(word, 16) for word in text.split(":"))
    if any(words[len(WORDS):]):
        raise ValueError(f"{text!r}, allowed features of Xen 4.17 to 4.20, {len(WORDS)} words at most")
    return (words + (0,) * len(WORDS))[:len(WORDS)]


def text_of(words: Words) -> str:
    """A featureset as `xen-cpuid` prints it."""
    return ":".join(f"{word:08x}" for word in words)


def parse_sets(output: str) -> dict[str, str]:
    """Name -> featureset of what the running Xen offers, from the output of `xen-cpuid`, with or without `detail`.

    The sets that stand before them are what Xen was built for; Xen 4.17 calls the default set of guests HVM, later ones HVM Default.
    """
    _, _, dynamic = output.partition("Dynamic sets:")
    found = re.findall(r"^(\S.*?)\s+([0-9a-f]{8}(?::[0-9a-f]{8})*)\s*$", dynamic, re.MULTILINE)
    return {f"{name} Default" if name in ("HVM", "PV") else name: words for name, words in found}


def compared(words: Words) -> Words:
    """A featureset without the bits that are no features of a CPU."""
    return without(words, _UNCOMPARED)


def common(sets: Iterable[Words]) -> Words:
    """What all of them have; at least one is given."""
    return tuple(functools.reduce(operator.and_, column) for column in zip(*sets, strict=True))


def merged(sets: Iterable[Words]) -> Words:
    """What any of them has; at least one is given."""
    return tuple(functools.reduce(operator.or_, column) for column in zip(*sets, strict=True))


def without(words: Words, others: Words) -> Words:
    """What of the first the second has not."""
    return tuple(one & ~two for one, two in zip(words, others, strict=True))


def names_of(words: Words) -> list[str]:
    """The names of a featureset's bits in Xen's order; a bit without one as `7c0.5`, by word and number."""
    return [_name(index, bit) for index, word in enumerate(words) for bit in range(32) if word >> bit & 1]


def _name(index: int, bit: int) -> str:
    names = WORDS[index].names
    return names[bit] if bit < len(names) and names[bit] != "-" else f"{WORDS[index].abbreviation}.{bit}"


def words_of(names: Iterable[str]) -> Words:
    """The featureset of all words with these names in it. Raises ValueError for one that does not exist."""
    words = [0] * len(WORDS)
    for name in names:
        index, bit = _place(name)
        words[index] |= 1 << bit
    return tuple(words)


def _place(name: Any) -> tuple[int, int]:
    """Word and bit of a name, which may be anything that a person wrote."""
    if isinstance(name, str) and name in _BITS:
        return _BITS[name]
    abbreviation, _, bit = str(name).partition(".")
    index = next((index for index, word in enumerate(WORDS) if word.abbreviation == abbreviation), None)
    if index is None or not bit.isdecimal() or int(bit) > 31:
        raise ValueError(f"{name!r}, allowed names of CPU features as 'xen-cpuid detail' prints them")
    return index, int(bit)


def can_be_hidden(words: Words) -> Words:
    """Of a featureset of all words what xl can hide from guests on every host of a pool.

    Those words are left out that not every CPU has: libxc refuses a guest that names a leaf which its host does not have, and a guest
    that was moved starts anew on any host (xg_cpuid_x86.c, "Missing leaf").
    """
    return tuple(word if WORDS[index].leaf else 0 for index, word in enumerate(words))


def cpuid_lines(hidden: Words) -> list[str]:
    """The list `cpuid` of an xl.cfg that hides these features and leaves the others as they are; [] without any.

    hidden: of all words, such as can be hidden. With `xsave` its own leaf goes too: CPUs without it may not have the leaf.
    """
    registers: dict[str, list[str]] = {}
    leafless = words_of(["xsave"])[1] & hidden[1]
    for word, bits in zip(WORDS, hidden, strict=True):
        if bits and not (leafless and word.abbreviation == "Da1"):
            string = "".join("0" if bits >> bit & 1 else "x" for bit in range(31, -1, -1))
            registers.setdefault(word.leaf, []).append(f"{word.register}={string}")
    return [f"{leaf}:{','.join(texts)}" for leaf, texts in registers.items()]


_UNCOMPARED = words_of(_NO_FEATURES)
