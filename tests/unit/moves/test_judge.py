# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import itertools

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import judge, listing
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.listing import Copy

from tests.unit.moves.samples import CRASHED, DYING, HEADING, PAUSED, POWERED_OFF, RUNNING, SUSPENDED, copy, table, uuid_of

AWAY, INCOMING = "web01--migratedaway", "web01--incoming"
UUID = uuid_of("web01")
OTHER = "11111111-2222-3333-4444-555555555555"
RUNS, FRESH = copy("web01"), copy(INCOMING, PAUSED, 0, 9)
SENT, HELD = copy(AWAY, SUSPENDED), copy("web01", SUSPENDED)
ARRIVED = copy("web01", RUNNING, 0.4, 9)


# Where xl, a host or the network between them ended, in the order of a move; what both hosts have then; what is done.
CRASH_POINTS = [
    ("before the banner: ssh, authorization, another xl", [RUNS], [], "stayed", []),
    ("the target has no memory or no disk for it", [RUNS], [], "stayed", []),
    ("the receiver was killed while it built the domain", [RUNS], [copy("(null)", PAUSED, 0, 9)], "clear", [("target", "destroy")]),
    ("the sender was killed while it sent memory", [RUNS], [FRESH], "clear", [("target", "destroy")]),
    ("the guest did not suspend in a minute", [RUNS], [], "stayed", []),
    ("it did suspend after that minute", [HELD], [], "come_back", [("source", "resume")]),
    ("the sender was killed after it suspended the guest", [HELD], [FRESH], "come_back", [("target", "destroy"), ("source", "resume")]),
    ("the sender was killed after it renamed the guest", [SENT], [FRESH], "come_back",
     [("target", "destroy"), ("source", "rename"), ("source", "resume")]),
    ("the way broke before GO arrived, and the receiver left its copy", [SENT], [FRESH], "come_back",
     [("target", "destroy"), ("source", "rename"), ("source", "resume")]),
    ("the way broke before GO arrived, and the target was booted", [SENT], [], "come_back", [("source", "rename"), ("source", "resume")]),
    ("the receiver was killed after it renamed, before it unpaused", [SENT], [copy("web01", PAUSED, 0, 9)], "come_back",
     [("target", "destroy"), ("source", "rename"), ("source", "resume")]),
    ("the way broke after GO, the guest runs on the target", [SENT], [ARRIVED], "arrived", [("source", "destroy")]),
    ("it ran on the target and crashed there", [SENT], [copy("web01", CRASHED, 3, 9)], "arrived", [("source", "destroy")]),
    ("the sender was killed before it destroyed its copy", [SENT], [ARRIVED], "arrived", [("source", "destroy")]),
    ("the source's copy is dying", [copy(AWAY, DYING)], [ARRIVED], "arrived", []),
    ("all went well", [], [ARRIVED], "arrived", []),
    ("somebody resumed the copy that was renamed", [copy(AWAY)], [], "come_back", [("source", "rename")]),
    ("somebody resumed it while the target has a fresh one", [copy(AWAY)], [FRESH], "come_back",
     [("target", "destroy"), ("source", "rename")]),
    ("somebody paused the copy that was renamed", [copy(AWAY, PAUSED)], [], "come_back", [("source", "rename"), ("source", "resume")]),
    ("the sender failed to rename it back, and resumed it", [copy(AWAY)], [], "come_back", [("source", "rename")]),
]

UNDEFINED = [
    ("both run under their own name", [RUNS], [ARRIVED], "may have run"),
    ("both have run since", [copy(AWAY)], [ARRIVED], "may have run"),
    ("the target's ran before its name came", [SENT], [copy(INCOMING, RUNNING, 0.3, 9)], "may have run"),
    ("the target's ran and was paused", [SENT], [copy(INCOMING, PAUSED, 0.3, 9)], "may have run"),
    ("suspended at the source without its mark, running at the target", [HELD], [ARRIVED], "may have run"),
    ("a fresh copy under the guest's own name, while it runs", [RUNS], [copy("web01", PAUSED, 0, 9)], "may have run"),
    ("two at the source", [RUNS, copy(AWAY, SUSPENDED, domid=4)], [], "no state that a move leaves"),
    ("two at the target", [SENT], [FRESH, copy("web01", domid=10)], "may have run"),
    ("another guest of its name at the source", [copy("web01", uuid=OTHER)], [], "no state that a move leaves"),
    ("another guest of its name at the target", [SENT], [copy("web01", uuid=OTHER, domid=9)], "may have run"),
    ("another guest arrives under its name", [RUNS], [copy(INCOMING, PAUSED, 0, 9, uuid=OTHER)], "may have run"),
    ("the sent copy crashed", [copy(AWAY, CRASHED)], [], "no state that a move leaves"),
    ("none at all", [], [], "Neither host has it"),
    ("the source was booted before the end", [], [FRESH], "never ran; its memory may not be whole"),
    ("the source was booted after GO, before the target let it run", [], [copy("web01", PAUSED, 0, 9)], "never ran"),
]


@pytest.mark.parametrize(("source", "target", "kind", "steps"), [case[1:] for case in CRASH_POINTS], ids=[case[0] for case in CRASH_POINTS])
def test_crash_points(source, target, kind, steps):
    verdict = judge.judge(source, target, "web01", UUID)
    assert (verdict.kind, [(step.side, step.verb) for step in verdict.steps]) == (kind, steps)
    for step in verdict.steps:
        assert step.copy in (source if step.side == "source" else target)
        assert step.first == (step.side == "target")


@pytest.mark.parametrize(("source", "target", "way_out"), [case[1:] for case in UNDEFINED], ids=[case[0] for case in UNDEFINED])
def test_undefined_states_are_left_alone_and_say_what_to_do(source, target, way_out):
    verdict = judge.judge(source, target, "web01", UUID)
    assert (verdict.kind, verdict.steps) == ("undefined", ())
    assert way_out in verdict.way_out


def test_no_state_at_all_lets_two_copies_run_or_takes_the_last_one_that_ran():
    """Over every pair of states: what may run again does so alone, and a copy that has run goes only for one that has run later."""
    names, flags = ("web01", AWAY, INCOMING, "(null)"), (RUNNING, PAUSED, SUSPENDED, POWERED_OFF, CRASHED, DYING)
    some = [copy(name, flag, seconds) for name, flag, seconds in itertools.product(names, flags, (0.0, 5.0))]
    sides: list[list[Copy]] = [[], *([one] for one in some)]
    for source, target in itertools.product(sides, sides):
        verdict = judge.judge(source, target, "web01", UUID)
        gone = [step.copy for step in verdict.steps if step.verb == "destroy" and step.side == "target"]
        assert all(one.never_ran for one in gone)
        if any(step.verb == "resume" for step in verdict.steps) or verdict.kind == "come_back":
            left = [one for one in target if one not in gone and one.state != "dying"]
            assert left == [], (source, target)
        if any(step.verb == "destroy" and step.side == "source" for step in verdict.steps):
            assert [one.name for one in target] == ["web01"]
            assert target[0].state != "dying"
            assert not target[0].never_ran
            assert source[0].name == AWAY
            assert source[0].state != "running"


def test_copies_of_a_guest():
    domains = [RUNS, SENT, FRESH, copy("web011"), copy("(null)", PAUSED, 0, 11), copy("(null)", PAUSED, 0, 12, uuid=OTHER)]
    assert [one.domid for one in judge.copies_of(domains, "web01", UUID)] == [3, 3, 9, 11]
    assert [judge.in_doubt([one], "web01") for one in (RUNS, HELD, SENT, FRESH, copy("web01", PAUSED), copy(AWAY, DYING))] == [
        False, True, True, True, False, False]


def test_the_listing():
    found = listing.parse(table(RUNS, SENT, copy("(null)", PAUSED, 0, 9)))
    assert found == [RUNS, SENT, copy("(null)", PAUSED, 0, 9)]
    assert SENT.told() == "domain 3 (web01--migratedaway, suspended, 7.5 s of CPU time)"
    # A version to come has further columns.
    assert listing.parse(table(RUNS).replace("                -\n", "                - privileged\n")) == [RUNS]


@pytest.mark.parametrize("text", [
    "", "oops\n", HEADING + "web01  3  128  1  -b----  7.5\n", HEADING + "web01  3  128  1  -b----  7.5 no-uuid - -\n",
    HEADING + "web01  3  128\n"])
def test_a_listing_that_is_none(text):
    with pytest.raises(ValueError, match="'xl list"):
        listing.parse(text)
