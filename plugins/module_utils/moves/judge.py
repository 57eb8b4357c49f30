# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What became of a move, by what both hosts have: one pure function over a table.

The order of a move (Xen 4.17 to 4.22, tools/xl/xl_migrate.c): the target builds NAME--incoming, paused; the source suspends the guest,
renames it to NAME--migratedaway and says GO; the target renames its copy to NAME and lets it run; the source destroys its own. So a copy
at the target has run only if it has the guest's name and is not paused with no CPU time, and one at the source may run again only as
long as none at the target has. xl's return code does not enter: it is 1 in all cases but one.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.listing import Copy
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import INCOMING, LEFT, NAMELESS

STAYED, ARRIVED, COME_BACK, CLEAR, UNDEFINED = "stayed", "arrived", "come_back", "clear", "undefined"
SOURCE, TARGET = "source", "target"

_TABLE: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("here", "none"): (STAYED, ()),
    ("here", "waiting"): (CLEAR, ("clear",)),
    ("suspended", "none"): (COME_BACK, ("resume",)),
    ("suspended", "waiting"): (COME_BACK, ("clear", "resume")),
    ("away", "none"): (COME_BACK, ("rename", "resume")),
    ("away", "waiting"): (COME_BACK, ("clear", "rename", "resume")),
    ("away, running", "none"): (COME_BACK, ("rename",)),
    ("away, running", "waiting"): (COME_BACK, ("clear", "rename")),
    ("away", "renamed"): (COME_BACK, ("clear", "rename", "resume")),
    ("away, running", "renamed"): (COME_BACK, ("clear", "rename")),
    ("away", "there"): (ARRIVED, ("remove",)),
    ("none", "there"): (ARRIVED, ()),
}
"""(state at the source, at the target) -> the verdict and the steps, in order; all that is not here is undefined."""

_LAST = ("The only copy left is one at the target that never ran; its memory may not be whole. Destroy it there (xl destroy, by its"
         " number), then start the guest anew with site.yml.")
_WAYS_OUT = {
    ("none", "none"): "Neither host has it: it ended by itself, or both lost it. Look at its disks, then start it with site.yml.",
    ("none", "waiting"): _LAST,
    ("none", "renamed"): _LAST,
}
_TWO = ("Two copies may have run since the hand-over. Pause both (xl pause, by number), find out which one has served the guest's users"
        " and written to its disks, and end the other with xl destroy; never let both run. The one that stays must have the guest's own"
        " name (xl rename).")
_ODD = ("This is no state that a move leaves. Find out who else works on this guest; then let one copy stay, with the guest's own name,"
        " and end the others with xl destroy.")


@dataclass(frozen=True)
class Step:
    """One act of a verdict. side: source or target; verb: destroy, rename, resume; first: whether it comes before those of the source."""

    side: str
    verb: str
    copy: Copy
    name: str = ""

    @property
    def first(self) -> bool:
        return self.side == TARGET


@dataclass(frozen=True)
class Verdict:
    """kind: one of the words above; steps: in order; way_out: what a person can do about an undefined state."""

    kind: str
    steps: tuple[Step, ...] = ()
    way_out: str = ""


def judge(source: Iterable[Copy], target: Iterable[Copy], guest: str, uuid: str) -> Verdict:
    """What became of the move of a guest, from the copies of it that both hosts have (see `copies_of`)."""
    here, there = _alive(source), _alive(target)
    at = (_at_source(here, guest, uuid), _at_target(there, guest, uuid))
    if at not in _TABLE:
        return Verdict(UNDEFINED, way_out=_WAYS_OUT.get(at) or (_TWO if here and there else _ODD))
    kind, verbs = _TABLE[at]
    return Verdict(kind, tuple(_step(verb, here, there, guest) for verb in verbs))


def copies_of(domains: Iterable[Copy], guest: str, uuid: str) -> list[Copy]:
    """The domains of a host that are a guest, or under its name: its own, on its way in or out, and not yet named."""
    return [copy for copy in domains if copy.guest == guest or (copy.name == NAMELESS and copy.uuid == uuid)]


def in_doubt(copies: Iterable[Copy], guest: str) -> bool:
    """Whether a move of the guest has left something behind."""
    return any(copy.name != guest or copy.suspended for copy in _alive(copies))


def _alive(copies: Iterable[Copy]) -> list[Copy]:
    """A dying domain never runs again."""
    return [copy for copy in copies if copy.state != "dying"]


def _at_source(copies: Sequence[Copy], guest: str, uuid: str) -> str:
    if len(copies) != 1:
        return "several" if copies else "none"
    copy = copies[0]
    if copy.uuid != uuid:
        return "odd"
    if copy.name == guest:
        return "suspended" if copy.suspended else "here"
    if copy.name == guest + LEFT and copy.state != "crashed":
        return "away, running" if copy.state == "running" else "away"
    return "odd"


def _at_target(copies: Sequence[Copy], guest: str, uuid: str) -> str:
    if len(copies) != 1:
        return "several" if copies else "none"
    copy = copies[0]
    if copy.uuid != uuid:
        return "odd"
    if copy.never_ran and copy.name in (guest, guest + INCOMING, NAMELESS):
        return "renamed" if copy.name == guest else "waiting"
    return "there" if copy.name == guest and not copy.suspended else "odd"


def _step(verb: str, here: Sequence[Copy], there: Sequence[Copy], guest: str) -> Step:
    if verb == "clear":
        return Step(TARGET, "destroy", there[0])
    if verb == "remove":
        return Step(SOURCE, "destroy", here[0])
    return Step(SOURCE, verb, here[0], guest)


def data(step: Step, guest: str) -> dict[str, Any]:
    """A step as the module xl_move_settle takes it."""
    copy = step.copy
    return {"guest": guest, "verb": step.verb, "domid": copy.domid, "uuid": copy.uuid, "name": copy.name, "new_name": step.name,
            "never_ran": step.side == TARGET, "first": step.first}
