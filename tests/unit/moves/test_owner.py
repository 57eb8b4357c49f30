# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may start a guest that moves with its disks, over every crash point and every state of the volumes of both hosts."""
from __future__ import annotations

import itertools

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import owner, volumes

from tests.unit.moves.samples import COMING, COMPLETE, MOVED, volume

DISKS = [("vg0", "disk01-root"), ("vg0", "disk01-data")]
ROOT, DATA = "disk01-root", "disk01-data"


def held(*there):
    return volumes.held(there, "disk01", DISKS)


def own(*names):
    return [volume(name) for name in names or (ROOT, DATA)]


def coming(tag=COMING, *names):
    return [volume(f"{name}.coming", tag) for name in names or (ROOT, DATA)]


def moved(*names):
    return [volume(f"{name}.moved", MOVED) for name in names or (ROOT, DATA)]


# The order of a move, with the hosts' volumes, and whether each has a domain of the guest.
CRASH_POINTS = [
    ("before anything", own(), True, [], False, "stays"),
    ("between the volumes that are made", own(), True, coming(COMING, ROOT), False, "stays"),
    ("in the first pass", own(), True, coming(), False, "stays"),
    ("in the first pass, and the source was booted without starting it", own(), False, coming(), False, "start"),
    ("it is told to shut down", own(), True, coming(), False, "stays"),
    ("it is down, in the second pass or the comparison", own(), False, coming(), False, "start"),
    ("the source was booted in the second pass and has started it", own(), True, coming(), False, "stays"),
    ("between the marks of the target", own(), False, [*coming(COMPLETE, ROOT), *coming(COMING, DATA)], False, "start"),
    ("the target is complete", own(), False, coming(COMPLETE), False, "start"),
    ("the same, and the guest was started again", own(), True, coming(COMPLETE), False, "stays"),
    ("the source's first tag is there, its rename is not", [volume(ROOT, MOVED), *own(DATA)], False, coming(COMPLETE), False, "start"),
    ("THE HAND-OVER: the source's first rename", [*moved(ROOT), *own(DATA)], False, coming(COMPLETE), False, "forward"),
    ("somebody began to start it before that rename", [*moved(ROOT), *own(DATA)], True, coming(COMPLETE), False, "back"),
    ("the source's last rename", moved(), False, coming(COMPLETE), False, "forward"),
    ("the target's first rename", moved(), False, [*own(ROOT), *coming(COMPLETE, DATA)], False, "forward"),
    ("the target's last rename", moved(), False, [volume(ROOT, COMPLETE), volume(DATA, COMPLETE)], False, "forward"),
    ("the target's tags are gone", moved(), False, own(), False, "forward"),
    ("it was started there", moved(), False, own(), True, "arrived"),
    ("it was started there, before the source's last rename was made up for", [*moved(ROOT), *own(DATA)], False, own(), True, "arrived"),
    ("it did not start there: the first rename back", moved(), False, [*coming(COMING, ROOT), *own(DATA)], False, "back"),
    ("the target's last rename back", moved(), False, coming(), False, "back"),
    ("the source's first rename back", [*own(ROOT), *moved(DATA)], False, coming(), False, "back"),
    ("the source's last rename back", own(), False, coming(), False, "start"),
    ("all is forgotten", [], False, own(), True, "arrived"),
]
UNDEFINED = [
    ("both have a domain", own(), True, own(), True, "end the other with xl destroy"),
    ("both have all disks, and it runs nowhere", own(), False, own(), False, "Nothing of them is lost"),
    ("it runs on the target while the source has its disks, too", own(), False, own(), True, "Nothing of them is lost"),
    ("the target has lost what was handed over", moved(), False, [], False, "Nothing of them is lost"),
    ("the source has lost a disk", own(ROOT), False, coming(COMPLETE), False, "Nothing of them is lost"),
    ("a disk under both names", [*own(ROOT), *moved(ROOT)], False, coming(COMPLETE), False, "Nothing of them is lost"),
    ("neither has any", [], False, [], False, "Nothing of them is lost"),
    ("it runs from disks that are not whole", moved(), False, coming(), True, "Nothing of them is lost"),
    ("volumes of other tags", own(), False, [volume(f"{ROOT}.coming", "xenfold.coming=web01:xen01")], False, "Nothing of them is lost"),
]


def judge(source, source_runs, target, target_runs):
    return owner.judge(owner.at_source(held(*source)), source_runs, owner.at_target(held(*target)), target_runs)


@pytest.mark.parametrize("case", CRASH_POINTS, ids=[case[0] for case in CRASH_POINTS])
def test_crash_points(case):
    assert judge(*case[1:5]).kind == case[5]


@pytest.mark.parametrize("case", UNDEFINED, ids=[case[0] for case in UNDEFINED])
def test_what_only_a_person_may_decide(case):
    verdict = judge(*case[1:5])
    assert verdict.kind == "undefined"
    assert case[5] in verdict.way_out


def test_at_no_crash_point_could_both_hosts_start_it():
    for _name, source, _runs, target, _there, _kind in CRASH_POINTS:
        there = held(*source), held(*target)
        # A host can start it only with all disks under their own names.
        assert not (set(there[0].own) == set(DISKS) and set(there[1].own) == set(DISKS))


def test_over_all_states_nothing_is_started_that_may_run_elsewhere():
    """Every state of two disks on both hosts: what is to start has its disks, or gets them while the other host cannot start it."""
    one = [[], ["own"], ["coming"], ["complete"], ["moved"], ["own", "moved"], ["own", "coming"]]
    make = {"own": own, "moved": moved, "coming": coming, "complete": lambda name: coming(COMPLETE, name)}

    def side(kinds):
        return held(*(entry for name, words in zip((ROOT, DATA), kinds, strict=True) for word in words
                      for entry in (make[word](COMING, name) if word == "coming" else make[word](name))))

    sides = [side(kinds) for kinds in itertools.product(one, repeat=2)]
    seen = set()
    for source, target in itertools.product(sides, sides):
        for runs, there in itertools.product((False, True), repeat=2):
            kind = owner.judge(owner.at_source(source), runs, owner.at_target(target), there).kind
            seen.add(kind)
            if kind in ("start", "forward", "back"):
                assert not there
                assert not runs or kind == "back"
            if kind == "start":
                assert set(source.own) == set(DISKS) and set(target.own) != set(DISKS)
            if kind == "forward":
                # Each of them is equal to the source's, or was and was taken; and the source cannot start it.
                assert set(target.own) | set(target.complete) == set(DISKS) and set(source.own) != set(DISKS)
            if kind == "back":
                assert set(source.own) | set(source.moved) == set(DISKS)
                assert set(target.own) != set(DISKS)
    assert seen == {"stays", "arrived", "start", "forward", "back", "undefined"}


def test_where_it_could_be_started():
    assert owner.may_start("own", "filling") == ["source"]
    assert owner.may_start("given", "own") == ["target"]
    assert owner.may_start("giving", "taking") == []
