# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may start a guest that moves with its disks: one pure function over what both hosts have.

The order of such a move: the target's volumes are made, being filled; the guest is shut down; they are marked complete; the source renames
its own, one by one; the target renames its own, one by one. A guest starts from disks under their own names alone, so the source cannot
from its first rename on, and the target can from its last: the hand-over is the source's first rename, and there is no moment at which both
can. A target whose volumes are being filled while the source's are renamed has been told to go back, and takes no part.
"""
from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volumes import Held

NONE, OWN, GIVING, GIVEN, ODD = "none", "own", "giving", "given", "odd"
"""The source's disks: none; all under their names; some renamed; all renamed; anything else."""
FILLING, COMPLETE, TAKING = "filling", "complete", "taking"
"""The target's: some not equal yet; all complete; some renamed. Also NONE, OWN and ODD."""
STAYS, ARRIVED, START, FORWARD, BACK, UNDEFINED = "stays", "arrived", "start", "forward", "back", "undefined"
"""It is with the source and runs; it is with the target and runs; it is with the source, where it is to start; it is with the target, whose
disks are to be taken and where it is to start; it is with the source, whose disks are to get their names again; only a person may tell."""

_COMING = (NONE, FILLING, COMPLETE)
_TABLE: dict[tuple[str, bool, str, bool], str] = {
    **{(OWN, True, target, False): STAYS for target in (*_COMING, ODD)},
    **{(OWN, False, target, False): START for target in _COMING},
    # A domain that has the disks open goes on, whatever they are called; it is for them to be called after it.
    **{(source, True, target, False): BACK for source in (GIVING, GIVEN) for target in _COMING},
    **{(source, False, FILLING, False): BACK for source in (GIVING, GIVEN)},
    **{(source, False, target, False): FORWARD for source in (GIVING, GIVEN) for target in (COMPLETE, TAKING, OWN)},
    **{(source, False, OWN, True): ARRIVED for source in (NONE, GIVING, GIVEN)},
}
"""(disks of the source, whether it has a domain, disks of the target, whether it has one) -> the verdict; all else is undefined."""

_TWO = "Both hosts have a domain of it. Pause both (xl pause), find out which one serves its users, and end the other with xl destroy"
_DISKS = ("Its disks are not as a move leaves them. Nothing of them is lost: xenfold removes none by itself. See which host has the"
          " newest with lvs -o lv_name,lv_tags on all hosts (xenfold.moved=GUEST:TARGET:DATE: handed over to that host then), give them"
          " their names with lvrename on one host alone, and start it there")


@dataclass(frozen=True)
class Verdict:
    """kind: one of the words above; way_out: what a person can do about an undefined state."""

    kind: str
    way_out: str = ""


def judge(source: str, source_runs: bool, target: str, target_runs: bool) -> Verdict:
    """source, target: words of `at_source` and `at_target`; *_runs: whether the host has a domain of the guest, in any state."""
    kind = _TABLE.get((source, source_runs, target, target_runs), UNDEFINED)
    return Verdict(kind, "" if kind != UNDEFINED else _TWO if source_runs and target_runs else _DISKS)


def may_start(source: str, target: str) -> list[str]:
    """Where the guest could be started, by the names of the disks alone: source, target."""
    return [side for side, word in (("source", source), ("target", target)) if word == OWN]


def at_source(there: Held) -> str:
    """A host that the guest leaves, or has left."""
    own, moved = set(there.own), set(there.moved)
    if there.strange:
        return ODD
    if not own and not moved:
        return NONE
    if own == set(there.disks):
        # What an earlier move has left beside them does not matter.
        return OWN
    if own | moved != set(there.disks) or own & moved:
        return ODD
    return GIVING if own else GIVEN


def at_target(there: Held) -> str:
    """A host that the guest goes to. Its own leavings of an earlier move do not matter."""
    own, filling, complete = set(there.own), set(there.filling), set(there.complete)
    if any(not name.endswith(".moved") for name in there.strange):
        return ODD
    if not (own | filling | complete):
        return NONE
    if own == set(there.disks) and not filling and not complete:
        return OWN
    if own & (filling | complete):
        return ODD
    if own:
        # Taken in part, or told to go back in part.
        return TAKING if own | complete == set(there.disks) else FILLING if filling else ODD
    return COMPLETE if complete == set(there.disks) else FILLING
