# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Levels of pools, and the filters that make and use them."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter import cpu_levels as cpu_levels_filter
from ansible_collections.xenfold.consolidation.plugins.filter import pool_cpuid as pool_cpuid_filter
from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu import features, levels
from hypothesis import given
from hypothesis import strategies as st

cpu_levels = cpu_levels_filter.FilterModule().filters()["cpu_levels"]
pool_cpuid = pool_cpuid_filter.FilterModule().filters()["pool_cpuid"]
BASE = ["sse2", "xsave", "avx", "avx2"]
ALL = sorted(name for word in features.WORDS for name in word.names if name != "-")


def told(*names: str, vendor: str = "GenuineIntel", words: int = 19) -> dict[str, str]:
    return {"vendor": vendor, "hvm": features.text_of(features.words_of([*BASE, *names])[:words])}


def answer(*names: str, pool: str = "a", **more: Any) -> dict[str, Any]:
    return {"pool": pool, "cpu": told(*names, **more), "unasked": []}


def level_of(**hosts: dict[str, str]) -> levels.Level:
    return levels.level_of({name: levels.parse_offer(name, cpu) for name, cpu in hosts.items()})[0]


@pytest.mark.parametrize(("hosts", "has", "hidden"), [
    ({"xen01": told("avx512f")}, ["avx512f"], []),
    ({"xen01": told("avx512f"), "xen02": told("avx512f")}, ["avx512f"], []),
    ({"xen01": told("avx512f", "pku"), "xen02": told("pku"), "xen03": told("pku", "xsaves")}, ["pku"], ["xsaves", "avx512f"]),
    # Fewer words of an older Xen are no other CPU.
    ({"xen01": told("pku", words=18), "xen02": told("pku")}, ["pku"], []),
    # What is no feature of a CPU does not differ.
    ({"xen01": told("htt", "osxsave"), "xen02": told()}, [], []),
    # The register is the same, or guests do not see it.
    ({"xen01": told("arch-caps", "rdcl-no"), "xen02": told("arch-caps", "rdcl-no")}, ["arch-caps", "rdcl-no"], []),
    ({"xen01": told("arch-caps", "rdcl-no"), "xen02": told("arch-caps")}, [], ["arch-caps"]),
    ({"xen01": told("arch-caps", "rsba"), "xen02": told("arch-caps", "rdcl-no")}, [], ["arch-caps"]),
    ({"xen01": told("arch-caps", "rdcl-no"), "xen02": told("rdcl-no")}, [], ["arch-caps"]),
    ({"xen01": told("rdcl-no"), "xen02": told()}, [], []),
])
def test_level(hosts: dict[str, dict[str, str]], has: list[str], hidden: list[str]) -> None:
    level = level_of(**hosts)
    assert set(features.names_of(level.features)) == {*BASE, *has}
    assert features.names_of(level.hidden) == hidden
    for name, cpu in hosts.items():
        offer = levels.parse_offer(name, cpu)
        assert (levels.lacks(level, offer), levels.offers_beyond(level, offer)) == ([], [])


def test_what_cannot_be_hidden_is_told() -> None:
    offers = {name: levels.parse_offer(name, cpu) for name, cpu in
              {"xen01": told("avx512f", "avx512-bf16"), "xen02": told()}.items()}
    level, stuck = levels.level_of(offers)
    assert (features.names_of(level.hidden), stuck) == (["avx512f"], {"xen01": ["avx512-bf16"]})


@given(st.lists(st.sets(st.sampled_from(ALL)), min_size=1, max_size=4))
def test_every_host_offers_the_level_and_it_goes_through_the_inventory(sets: list[set[str]]) -> None:
    offers = {str(number): levels.Offer("AuthenticAMD", features.compared(features.words_of(names))) for number, names in enumerate(sets)}
    level, stuck = levels.level_of(offers)
    assert all(levels.lacks(level, offer) == [] for offer in offers.values())
    for name, offer in offers.items():
        # Nothing is beyond the level but what is told.
        assert levels.offers_beyond(level, offer) == stuck.get(name, [])
    assert levels.parse_level("a", level.data()) == level
    # Whatever a host offers, a guest that starts there has what the level has, and no other feature that can be hidden.
    for offer in offers.values():
        seen = features.without(offer.words, level.hidden)
        assert features.can_be_hidden(seen) == features.can_be_hidden(level.features)


def test_filters_from_answers_to_lines_for_xl() -> None:
    answers = {"xen01": answer("avx512f"), "xen02": answer(), "xen03": answer("pku", pool="", vendor="AuthenticAMD")}
    found = cpu_levels(answers)
    assert found["lines"] == ["pool 'a': 2 hosts; hidden from guests: avx512f", "pool 'default': 1 host; hidden from guests: nothing"]
    assert pool_cpuid(found["levels"], "a") == ["0x7,0:ebx=xxxxxxxxxxxxxxx0xxxxxxxxxxxxxxxx"]
    assert pool_cpuid(found["levels"], "") == pool_cpuid(found["levels"], "default") == pool_cpuid(found["levels"], "b") == []
    assert cpu_levels(answers, found["levels"]) == found
    assert cpu_levels(dict(reversed(answers.items()))) == found


def test_a_level_may_grow() -> None:
    stored = cpu_levels({"xen01": answer("pku"), "xen02": answer()})["levels"]
    assert cpu_levels({"xen01": answer("pku"), "xen02": answer("pku")}, stored)["levels"]["a"]["hidden"] == []


def test_a_host_that_would_shrink_a_level_is_named() -> None:
    stored = cpu_levels({"xen01": answer("avx512f", "pku"), "xen02": answer("avx512f", "pku")})["levels"]
    more = {"xen01": answer("avx512f", "pku"), "xen05": answer()}
    with pytest.raises(AnsibleFilterError, match=r"cpu_levels: host 'xen05' would shrink the level of pool 'a' by avx512f, pku\. Guests"):
        cpu_levels(more, stored)
    assert cpu_levels(more, stored, ["a"])["levels"]["a"]["hidden"] == ["avx512f", "pku"]
    with pytest.raises(AnsibleFilterError, match="would shrink"):
        cpu_levels(more, stored, ["b"])
    with pytest.raises(AnsibleFilterError, match="by CPUs of GenuineIntel: it has AuthenticAMD"):
        cpu_levels({"xen01": answer("avx512f", "pku", vendor="AuthenticAMD")}, stored)


def test_a_host_with_more_in_the_register_of_arch_caps_takes_it_from_the_others() -> None:
    stored = cpu_levels({"xen01": answer("arch-caps", "rdcl-no")})["levels"]
    newer = answer("arch-caps", "rdcl-no", "mds-no")
    both = {"xen01": answer("arch-caps", "rdcl-no"), "xen05": newer}
    with pytest.raises(AnsibleFilterError, match=r"host 'xen05' would shrink the level of pool 'a' by arch-caps, rdcl-no\. Guests"):
        cpu_levels(both, stored)
    assert cpu_levels(both, stored, ["a"])["levels"]["a"]["hidden"] == ["arch-caps"]
    # The same microcode on all hosts is a level that grows.
    assert cpu_levels({"xen01": newer, "xen05": newer}, stored)["levels"]["a"]["hidden"] == []


@given(st.lists(st.sets(st.sampled_from(ALL)), min_size=1, max_size=3), st.lists(st.sets(st.sampled_from(ALL)), min_size=1, max_size=3))
def test_no_level_shrinks_unless_it_is_asked_for(before: list[set[str]], after: list[set[str]]) -> None:
    first, then = ({str(number): {"cpu": {"vendor": "x", "hvm": features.text_of(features.words_of(names))}}
                    for number, names in enumerate(sets)} for sets in (before, after))
    stored = cpu_levels(first)["levels"]
    try:
        found = cpu_levels(then, stored)["levels"]
    except AnsibleFilterError:
        return
    assert features.names_of(features.without(*(levels.parse_levels(level)["default"].features for level in (stored, found)))) == []


@pytest.mark.parametrize(("answers", "stored", "shrink", "says"), [
    ({"xen01": answer(), "xen02": answer(vendor="AuthenticAMD")}, {}, [],
     r"pool 'a': its hosts have CPUs of AuthenticAMD \(xen02\) and GenuineIntel \(xen01\): no guest moves live between them"),
    ({"xen01": {"pool": "a", "cpu": {}, "unasked": [{"what": "CPU features", "why": "no tool"}, {"what": "x", "why": "y"}]}}, {}, [],
     "host 'xen01' did not tell what its CPUs offer to guests: no tool$"),
    ({"xen01": {"pool": "a", "cpu": {}}}, {}, [], "host 'xen01' did not tell what its CPUs offer to guests: Xen does not run there$"),
    ({"xen01": {"cpu": {"vendor": "x", "hvm": "zz"}}}, {}, [], "host 'xen01': CPU features: value 'zz', allowed words"),
    ([], {}, [], "value of type list, allowed what each host told"),
    ({"xen01": 5}, {}, [], "value of type dict, allowed what each host told"),
    ({"xen01": {"cpu": {}, "unasked": 5}}, {}, [], "value that does not hold together"),
    ({}, [], [], r"pool_cpu_levels: value \[\], allowed a mapping of pools to levels"),
    ({}, {}, "a", "shrink: value 'a', allowed a list of names of pools"),
])
def test_bad_input_of_cpu_levels(answers: Any, stored: Any, shrink: Any, says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^cpu_levels: {says}"):
        cpu_levels(answers, stored, shrink)


GOOD = {"vendor": "AuthenticAMD", "features": "00000001", "hidden": []}


@pytest.mark.parametrize(("levels_", "says"), [
    ("text", "pool_cpu_levels: value 'text', allowed a mapping of pools to levels"),
    ({"a": []}, r"pool_cpu_levels.a: value \[\], allowed a mapping of features, hidden, vendor"),
    ({"a": {**GOOD, "hide": []}}, "pool_cpu_levels.a: keys vendor, features, hidden, hide, allowed features, hidden, vendor"),
    ({"a": {}}, "pool_cpu_levels.a: keys none, allowed"),
    ({"a": {**GOOD, "features": 1}}, "pool_cpu_levels.a.features: value 1, allowed words of eight"),
    ({"a": {**GOOD, "vendor": None}}, "pool_cpu_levels.a.vendor: value None, allowed a text"),
    ({"a": {**GOOD, "hidden": "avx"}}, "pool_cpu_levels.a.hidden: value 'avx', allowed a list"),
    ({"a": {**GOOD, "hidden": ["avx3"]}}, "pool_cpu_levels.a.hidden: value 'avx3', allowed names of CPU features"),
    ({"a": {**GOOD, "hidden": [3]}}, "pool_cpu_levels.a.hidden: value 3, allowed names"),
    ({"a": {**GOOD, "hidden": [["avx"]]}}, "pool_cpu_levels.a.hidden: value"),
    ({"a": {**GOOD, "hidden": ["avx512-bf16"]}}, "pool_cpu_levels.a.hidden: value 'avx512-bf16', allowed features that xl can hide"),
])
def test_bad_levels_are_named(levels_: Any, says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"^pool_cpuid: {says}"):
        pool_cpuid(levels_, "a")
