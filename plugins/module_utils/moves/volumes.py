# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Volumes of guests that move with their disks: their names and tags tell whose they are, and what is done to them step by step. Pure.

NAME is a guest's disk; NAME.coming with the tag xenfold.coming=GUEST:SOURCE is being filled from the source, and with the tag
xenfold.complete=GUEST:SOURCE equal to what the source has; under its own name it keeps that tag until the guest is seen to run from it.
NAME.moved with xenfold.moved=GUEST:TARGET:DATE is what a guest has left behind. A guest starts from NAME alone.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import volume_name
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import names
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_receive import (
    COMPLETE,
    FILLING,
    SUFFIX,
    is_arrival_tag,
    tag_of,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_send import MOVED_SUFFIX, MOVED_TAG

REPORT = ["lvs", *lvm.REPORT, "vg_name,lv_name,lv_size,lv_tags,origin"]
GROUPS = ["vgs", *lvm.REPORT, "vg_name,vg_free,vg_extent_size"]
VERBS = ("make", "refill", "take", "keep", "demote", "give", "back", "remove")
DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_GROUP = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,63}")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,126}")

Volume = Mapping[str, Any]
"""volume_group, name, size_bytes, tags; of a snapshot also origin, the name of the volume that it is of."""


class StepError(ValueError):
    """A step that cannot be done to the volume as it is now."""


def parse(rows: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Rows of REPORT."""
    return [{"volume_group": row["vg_name"], "name": row["lv_name"], "size_bytes": int(row["lv_size"]),
             "tags": [tag for tag in row["lv_tags"].split(",") if tag], **({"origin": row["origin"]} if row["origin"] else {})}
            for row in rows]


def disks_of(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(volume group, name) of the volumes of a guest."""
    return [(disk["volume_group"], volume_name(definition["name"], disk["name"]))
            for disk in definition["disks"] if disk.get("volume_group")]


def told_volumes(told: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The same of all volumes that a host told with xl_move_info."""
    return {(volume["volume_group"], volume["name"]) for volume in told.get("volumes") or ()}


def tagged(told: Mapping[str, Any], guest: str, suffixes: tuple[str, ...]) -> list[tuple[str, str]]:
    """The same of those with one of the suffixes and a tag of the guest's moves, in the order of their names."""
    return sorted((volume["volume_group"], volume["name"]) for volume in told.get("volumes") or ()
                  if volume["name"].endswith(suffixes) and any(f"={guest}:" in tag for tag in volume["tags"]))


@dataclass
class Held:
    """What a host has of a guest's disks, by (group, name): own, filling, complete and moved hold volumes; peer: the source, by the tags
    of those that come in; to, since: target and date, by the tags of those that were left behind; strange: those without a tag of ours;
    snapshots: group/name of a volume of the host -> its snapshots."""

    disks: Sequence[tuple[str, str]]
    own: dict[tuple[str, str], Volume] = field(default_factory=dict)
    filling: dict[tuple[str, str], Volume] = field(default_factory=dict)
    complete: dict[tuple[str, str], Volume] = field(default_factory=dict)
    moved: dict[tuple[str, str], Volume] = field(default_factory=dict)
    peer: str = ""
    to: str = ""
    since: str = ""
    strange: list[str] = field(default_factory=list)
    snapshots: dict[str, list[str]] = field(default_factory=dict)


def held(volumes: Iterable[Volume], guest: str, disks: Sequence[tuple[str, str]]) -> Held:
    """What there is of a guest's disks among the volumes of a host."""
    by_name = {(volume["volume_group"], volume["name"]): volume for volume in volumes}
    found = Held(disks)
    # Asked for each guest: most hosts have many volumes and no snapshot.
    for (group, name), origin in sorted((key, volume["origin"]) for key, volume in by_name.items() if volume.get("origin")):
        found.snapshots.setdefault(f"{group}/{origin}", []).append(f"{group}/{name}")
    for group, name in disks:
        if (group, name) in by_name:
            found.own[group, name] = by_name[group, name]
        coming, left = by_name.get((group, name + SUFFIX)), by_name.get((group, name + MOVED_SUFFIX))
        if coming is not None:
            kind, peer = _tag(coming, (FILLING, COMPLETE), guest)
            place = {FILLING: found.filling, COMPLETE: found.complete}.get(kind)
            if place is None:
                found.strange.append(f"{group}/{name}{SUFFIX}")
            else:
                place[group, name], found.peer = coming, peer
        if left is not None:
            marks = sorted((since, to) for to, _colon, since in (mark.partition(":") for mark in _moved(left, guest)))
            if marks:
                found.moved[group, name] = left
                # A hand-over that failed just before the rename may have left an older one.
                found.since, found.to = marks[-1]
            else:
                found.strange.append(f"{group}/{name}{MOVED_SUFFIX}")
    return found


def _tag(volume: Volume, kinds: Sequence[str], guest: str) -> tuple[str, str]:
    """Kind and the rest of the tag that is ours and the guest's; the first kind counts most."""
    for kind in kinds:
        for tag in volume["tags"]:
            if tag.startswith(f"{kind}={guest}:"):
                return kind, tag.removeprefix(f"{kind}={guest}:")
    return "", ""


def _moved(volume: Volume, guest: str) -> list[str]:
    """What the tags of a volume that the guest has left behind say, as TARGET:DATE."""
    start = f"{MOVED_TAG}={guest}:"
    return [tag.removeprefix(start) for tag in volume["tags"] if tag.startswith(start)]


def check_step(step: Mapping[str, Any]) -> list[str]:
    """What is wrong with a step: verb, guest, volume_group, name (of the guest's disk), peer; size_bytes to make; which to remove."""
    errors = names.check("guest", step.get("guest")) + names.check("host", step.get("peer"))
    if step.get("verb") not in VERBS:
        errors.append(f"verb: value {step.get('verb')!r}, allowed {', '.join(VERBS)}")
    if not isinstance(step.get("volume_group"), str) or not _GROUP.fullmatch(step["volume_group"]):
        errors.append(f"volume_group: value {step.get('volume_group')!r}, allowed the name of a volume group")
    if not isinstance(step.get("name"), str) or not _NAME.fullmatch(step["name"]) or not step["name"].startswith(f"{step.get('guest')}-"):
        errors.append(f"name: value {step.get('name')!r}, allowed the volume of a disk of the guest")
    if step.get("verb") == "make" and not (isinstance(step.get("size_bytes"), int) and step["size_bytes"] > 0):
        errors.append(f"size_bytes: value {step.get('size_bytes')!r}, allowed 1 or more")
    if step.get("verb") == "give" and not DATE.fullmatch(step.get("date") or ""):
        errors.append(f"date: value {step.get('date')!r}, allowed a time as 20261129T164305Z")
    return [f"step for {step.get('guest')!r}: {line}" for line in errors]


def plan(steps: Sequence[Mapping[str, Any]], volumes: Sequence[Volume]) -> list[tuple[Action, list[list[str]]]]:
    """Actions with their commands; none for a step that is done already. Raises StepError for a volume that is not as the step needs it."""
    found = []
    for step in steps:
        there = held(volumes, step["guest"], [(step["volume_group"], step["name"])])
        planned = _PLANS[step["verb"]](step, there)
        if planned:
            found.append(planned)
    return found


Planned = tuple[Action, list[list[str]]] | None


def _key(step: Mapping[str, Any]) -> tuple[str, str]:
    return step["volume_group"], step["name"]


def _refuse(step: Mapping[str, Any], what: str) -> StepError:
    return StepError(f"guest {step['guest']!r}: volume {step['volume_group']}/{step['name']}: cannot {step['verb']} it: {what}. Run this"
                     " again: it looks anew")


def _make(step: Mapping[str, Any], there: Held) -> Planned:
    group, name = _key(step)
    if there.filling:
        return None
    if there.own or there.complete or there.strange:
        raise _refuse(step, "the host has one of this name")
    tag = tag_of(FILLING, step["guest"], step["peer"])
    # -W y wipes what an earlier volume left in these extents.
    command = ["lvcreate", "--yes", "-W", "y", "-L", f"{step['size_bytes']}b", "-n", name + SUFFIX, "--addtag", tag, group]
    detail = f"{step['size_bytes'] / 2**30:g} GiB, to be filled by {step['peer']}"
    return Action("create", f"volume {group}/{name}{SUFFIX}", detail), [command]


def _refill(step: Mapping[str, Any], there: Held) -> Planned:
    group, name = _key(step)
    if there.filling:
        return None
    if not there.complete:
        raise _refuse(step, "it is not complete")
    tags = ["--addtag", tag_of(FILLING, step["guest"], step["peer"]), "--deltag", tag_of(COMPLETE, step["guest"], there.peer)]
    return (Action("tag", f"volume {group}/{name}{SUFFIX}", "as being filled: the guest has run on its source since"),
            [["lvchange", *tags, f"{group}/{name}{SUFFIX}"]])


def _take(step: Mapping[str, Any], there: Held) -> Planned:
    """It keeps its tag, which tells that the guest has not been seen to run from it."""
    group, name = _key(step)
    if there.own:
        if there.filling or there.complete:
            raise _refuse(step, "the host has two of it")
        return None
    if not there.complete:
        raise _refuse(step, "it is not complete")
    return (Action("rename", f"volume {group}/{name}{SUFFIX}", f"to {name}, as {step['guest']} was handed over"),
            [["lvrename", group, name + SUFFIX, name]])


def _drop(tags: Iterable[str]) -> list[str]:
    """Words for lvchange."""
    return [word for tag in tags for word in ("--deltag", tag)]


def arrival_tags(volume: Volume) -> list[str]:
    return [tag for tag in volume["tags"] if is_arrival_tag(tag)]


def _keep(step: Mapping[str, Any], there: Held) -> Planned:
    group, name = _key(step)
    if not there.own:
        raise _refuse(step, "it is not here")
    tags = arrival_tags(there.own[group, name])
    change = ["lvchange", *_drop(tags), f"{group}/{name}"]
    return (Action("tag", f"volume {group}/{name}", "as the guest's own"), [change]) if tags else None


def _demote(step: Mapping[str, Any], there: Held) -> Planned:
    """Back from `take`: the guest could not be started from it."""
    group, name = _key(step)
    if there.filling and not there.own:
        return None
    if there.complete and not there.own:
        return _refill(step, there)
    if not there.own or there.filling or there.complete:
        raise _refuse(step, "the host does not have it, or has two")
    tag = tag_of(FILLING, step["guest"], step["peer"])
    drop = _drop(old for old in arrival_tags(there.own[group, name]) if old != tag)
    return (Action("rename", f"volume {group}/{name}", f"to {name}{SUFFIX}, as {step['guest']} did not start from it"),
            [["lvchange", "--addtag", tag, *drop, f"{group}/{name}"], ["lvrename", group, name, name + SUFFIX]])


def _give(step: Mapping[str, Any], there: Held) -> Planned:
    """The rest of a hand-over that was cut off in the middle. peer: the target; date: as on the first."""
    group, name = _key(step)
    if there.moved:
        return None
    if not there.own:
        raise _refuse(step, "it is not here")
    tag = f"{MOVED_TAG}={step['guest']}:{step['peer']}:{step['date']}"
    return (Action("rename", f"volume {group}/{name}", f"to {name}{MOVED_SUFFIX}, as {step['guest']} was handed over to {step['peer']}"),
            [["lvchange", "--addtag", tag, f"{group}/{name}"], ["lvrename", group, name, name + MOVED_SUFFIX]])


def _back(step: Mapping[str, Any], there: Held) -> Planned:
    group, name = _key(step)
    if there.own:
        return None
    if not there.moved:
        raise _refuse(step, "it is not here")
    drop = _drop(f"{MOVED_TAG}={step['guest']}:{mark}" for mark in _moved(there.moved[group, name], step["guest"]))
    return (Action("rename", f"volume {group}/{name}{MOVED_SUFFIX}", f"to {name}, as {step['guest']} comes back"),
            [["lvrename", group, name + MOVED_SUFFIX, name], ["lvchange", *drop, f"{group}/{name}"]])


def _remove(step: Mapping[str, Any], there: Held) -> Planned:
    """which: moved, filling or complete. The tag is looked at once more; LVM itself refuses one that is in use."""
    group, name = _key(step)
    suffix, place = {"moved": (MOVED_SUFFIX, there.moved), "filling": (SUFFIX, there.filling),
                     "complete": (SUFFIX, there.complete)}[step["which"]]
    if not place:
        return None
    if copies := there.snapshots.get(f"{group}/{name}{suffix}"):
        raise _refuse(step, f"the snapshot {', '.join(copies)} would go with it; remove that first")
    return (Action("remove", f"volume {group}/{name}{suffix}", f"{step['guest']} runs on {step['peer']}"),
            [["lvremove", "--yes", f"{group}/{name}{suffix}"]])


_PLANS = {"make": _make, "refill": _refill, "take": _take, "keep": _keep, "demote": _demote, "give": _give, "back": _back,
          "remove": _remove}
