# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CPU features: names against what Xen 4.20 prints, sets as xen-cpuid prints them, lines as xl takes them.

xen-4.20-names.txt is what Debian 13's xen-cpuid printed for all bits. The two others were composed in the form of its source, with the
features of a Broadwell and of an Ice Lake server.
"""
from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu import features
from hypothesis import given
from hypothesis import strategies as st

PRINTED = Path(__file__).with_name("printed")
ALL = {name for word in features.WORDS for name in word.names if name != "-"}


def printed(name: str) -> str:
    return (PRINTED / name).read_text()


def test_names_are_those_of_xen() -> None:
    rows = re.findall(r"^  \[(\d+)\] .{24} ?(.*)$", printed("xen-4.20-names.txt"), re.MULTILINE)
    assert len(rows) == len(features.WORDS)
    for index, (number, names) in enumerate(rows):
        assert int(number) == index
        wanted = ["-" if name.startswith("<") else name for name in names.split()]
        ours = [*features.WORDS[index].names, *["-"] * 32][:32]
        # AMD's CPUs repeat bits of the first word in the third.
        differing = {wanted[bit] for bit in range(32) if wanted[bit] != ours[bit]}
        assert differing <= (set(features.WORDS[0].names) if index == 2 else set())


def test_no_name_stands_for_two_bits() -> None:
    assert len(ALL) == sum(name != "-" for word in features.WORDS for name in word.names)


def test_words_that_xl_can_change_are_named_as_in_xen() -> None:
    heads = re.findall(r"CPUID 0x(\w{8})(?::(\d))?\.(e[abcd]x)|MSR", printed("xen-4.20-names.txt"))
    for word, (leaf, subleaf, register) in zip(features.WORDS, heads, strict=True):
        if word.leaf:
            assert (word.leaf, word.register) == (f"{int(leaf, 16):#x}" + (f",{subleaf}" if subleaf else ""), register)


@pytest.mark.parametrize(("name", "keys"), [
    ("xen-4.17-info.txt", ["HVM Default", "Host", "PV Default", "Raw"]), ("xen-4.20-detail.txt", ["HVM Default", "HVM Max", "Host", "Raw"]),
])
def test_sets_are_read_from_the_dynamic_part_alone(name: str, keys: list[str]) -> None:
    sets = features.parse_sets(printed(name))
    assert sorted(sets) == keys
    assert "ffffffff" not in sets["HVM Default"]
    found = set(features.names_of(features.parse_words(sets["HVM Default"])))
    assert {"sse2", "avx2", "arch-caps", "adx"} <= found
    assert ({"avx512f", "xsaves", "rdcl-no"} <= found) is ("4.20" in name)


@pytest.mark.parametrize("text", [
    "", "nonsense\n", "Dynamic sets:\n", "HVM Default    ffffffff\n", "Dynamic sets:\nHVM featureset not supported by Xen\n",
])
def test_what_is_no_answer_has_no_sets(text: str) -> None:
    assert features.parse_sets(text) == {}


@pytest.mark.parametrize("text", ["", "ffff", "ffffffff:", "FFFFFFFF", "ffffffff ffffffff", None, 5, ":".join(["00000001"] * 20)])
def test_words_that_are_none_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="allowed"):
        features.parse_words(text)  # type: ignore[arg-type]


def test_missing_words_are_zero_and_further_ones_may_be() -> None:
    assert features.parse_words("00000001") == (1, *[0] * 18)
    assert features.parse_words(":".join(["00000001"] + ["00000000"] * 25)) == (1, *[0] * 18)


@pytest.mark.parametrize("name", ["avx512", "AVX2", "", "7b0", "7b0.32", "7b0.x", "x.1", "-"])
def test_names_that_do_not_exist_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name!r}, allowed names of CPU features"):
        features.words_of([name])


@given(st.lists(st.integers(0, 2**32 - 1), min_size=19, max_size=19).map(tuple))
def test_names_and_words_are_the_same_thing(words: tuple[int, ...]) -> None:
    assert features.words_of(features.names_of(words)) == words
    assert features.parse_words(features.text_of(words)) == words


@given(st.lists(st.sets(st.sampled_from(sorted(ALL))).map(features.words_of), min_size=1, max_size=4))
def test_common_is_in_every_set_and_merged_has_every_one(sets: list[features.Words]) -> None:
    names = [set(features.names_of(words)) for words in sets]
    assert set(features.names_of(features.common(sets))) == set.intersection(*names)
    assert set(features.names_of(features.merged(sets))) == set.union(*names)
    assert set(features.names_of(features.without(sets[0], sets[-1]))) == names[0] - names[-1]


def test_what_is_no_feature_is_not_compared() -> None:
    assert features.names_of(features.compared(features.words_of(["apic", "htt", "osxsave", "avx", "no-fpu-sel", "ospke"]))) == ["avx"]


@pytest.mark.parametrize(("names", "lines"), [
    ([], []),
    (["avx512f"], ["0x7,0:ebx=xxxxxxxxxxxxxxx0xxxxxxxxxxxxxxxx"]),
    # Bit 0 is the last one. One line a leaf, whatever the registers.
    (["sse3", "fpu", "pbe"], ["0x1:edx=0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0,ecx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0"]),
    (["pku", "fsrm", "fsgsbase"], [
        "0x7,0:ebx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0,ecx=xxxxxxxxxxxxxxxxxxxxxxxxxxxx0xxx,edx=xxxxxxxxxxxxxxxxxxxxxxxxxxx0xxxx"]),
    (["xsaves", "clzero"], ["0xd,1:eax=xxxxxxxxxxxxxxxxxxxxxxxxxxxx0xxx", "0x80000008:ebx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0"]),
    # Xen takes away what needs xsave with it; the leaf may not be there.
    (["xsave", "xsaves"], ["0x1:ecx=xxxxx0xxxxxxxxxxxxxxxxxxxxxxxxxx"]),
])
def test_lines_for_xl(names: list[str], lines: list[str]) -> None:
    assert features.cpuid_lines(features.words_of(names)) == lines


@given(st.sets(st.sampled_from(sorted(ALL))))
def test_lines_are_as_xl_reads_them_and_hide_what_can_be(names: set[str]) -> None:
    """Read back as libxl_cpuid_parse_config_xend does."""
    can = features.can_be_hidden(features.words_of(names - {"xsave"}))
    hidden = set()
    for line in features.cpuid_lines(can):
        leaf, _, registers = line.partition(":")
        for register in registers.split(","):
            name, _, string = register.partition("=")
            index = next(index for index, word in enumerate(features.WORDS) if (word.leaf, word.register) == (leaf, name))
            assert len(string) == 32 and set(string) <= {"x", "0"}
            hidden |= {(index, 31 - place) for place, letter in enumerate(string) if letter == "0"}
    assert hidden == {(index, bit) for index, word in enumerate(can) for bit in range(32) if word >> bit & 1}
    stuck = set(features.names_of(features.without(features.words_of(names - {"xsave"}), can)))
    assert stuck <= {name for word in features.WORDS if not word.leaf for name in word.names}
