# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves of guests with their disks, as a plan and all hosts together show them: consents, what stands against them, what is to be done with
volumes, and what became of them. Pure: from what every host told (`Found`, see progress), with its volumes, groups and journals.
"""
from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import names_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import judge, owner, volumes
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.listing import Copy
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volumes import Held
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.host import needs_of

Found = Mapping[str, Mapping[str, Any]]
Guests = Mapping[str, Mapping[str, Any]]
Move = Mapping[str, Any]

OFFLINE = "offline"
ALL = "all"
DOWN, BACK, GIVEN = "down", "back", "given"
"""Stages of a journal: in the first two the guest was shut down for its move, and is to start again wherever its disks are."""
KEEP_DAYS = 7
_DATE = "%Y%m%dT%H%M%SZ"


def names_in(option: str, value: Any, guests: Iterable[str], everyone: bool = True) -> list[str]:
    """The guests that a consent names: a list, or a text as `-e` gives it; `all` for all. Raises ValueError for one that is not known."""
    known, words = set(guests), words_of(value)
    if everyone and words == [ALL]:
        return sorted(known)
    strange = sorted(set(words) - known)
    if strange:
        allowed = f"{'all, or ' if everyone else ''}a list of guests of the estate"
        raise ValueError("; ".join(f"{option}: value {word!r}, allowed {allowed}" for word in strange))
    return sorted(set(words))


def words_of(value: Any) -> list[str]:
    """The names in a list, or in a text as `-e` gives it."""
    if isinstance(value, str):
        return [word for word in re.split(r"[\s,\[\]'\"]+", value) if word]
    return [str(word) for word in value] if isinstance(value, Sequence) else [str(value)]


def allows(value: Any, guest: str) -> bool:
    """Whether a consent names a guest; who else is named in it was looked at where all guests are known."""
    words = words_of(value)
    return words == [ALL] or guest in words


def needs(step: Move, guests: Guests) -> list[str]:
    """What the guest of an offline step needs of the target, without the volumes that it brings."""
    definition = normalise(guests[step["workload"]])
    brought = {f"disk /dev/{group}/{name}" for group, name in volumes.disks_of(definition)}
    return [need for need in needs_of(definition) if need not in brought]


def unconsented(steps: Iterable[Move], consents: Iterable[str]) -> list[str]:
    """One line for each offline step that nobody has consented to."""
    allowed = set(consents)
    return [f"step {step['step']}: {step['workload']} goes offline from {step['from']} to {step['to']}, with about"
            f" {step.get('downtime_seconds', 0):g} s of downtime if nothing of its disks could be copied before; by consent:"
            f" -e moves_offline={step['workload']} (a list of guests, or all)"
            for step in steps if step["method"] == OFFLINE and step["workload"] not in allowed]


def held(found: Found, host: str, definition: Mapping[str, Any]) -> Held:
    return volumes.held(found.get(host, {}).get("volumes", ()), definition["name"], volumes.disks_of(definition))


def _of_no_disk(told: Mapping[str, Any], definition: Mapping[str, Any]) -> list[str]:
    """group/name of the volumes of a host that are tagged as coming in for a guest, for a disk that it does not have any more."""
    known = {(group, name + volumes.SUFFIX) for group, name in volumes.disks_of(definition)}
    return ["/".join(volume) for volume in volumes.tagged(told, definition["name"], (volumes.SUFFIX,)) if volume not in known]


def problems(move: Move, definition: Mapping[str, Any], found: Found) -> list[str]:
    """What stands against an offline move beyond what stands against any, one line each."""
    source, target, guest = move["from"], move["to"], definition["name"]
    lines = []
    if names := names_of([definition]):
        told = ", ".join(names)
        return [f"its disks are replicated ({told}) and move live, to their replica alone (docs/guests.md, Replicated disks)"]
    if not volumes.disks_of(definition):
        lines.append("it has no volumes to copy; shut it down, bring its disks, remove its configuration here, write where it goes into"
                     " the inventory (current), and let site.yml start it")
    for disk in definition["disks"]:
        if disk["backend"]:
            lines.append(f"its disk {disk['vdev']} is served by {disk['backend']}, and only volumes of the host itself are copied")
        elif disk["path"] and disk["access"] == "rw":
            lines.append(f"its disk {disk['vdev']} ({disk['path']}) is no volume, and is not copied; make it a volume (volume_group)")
    if definition["on_poweroff"] != "destroy":
        lines.append(f"on_poweroff: value {definition['on_poweroff']!r}, allowed destroy for a guest that is to move offline")
    if guest not in found[source].get("stored", ()):
        lines.append(f"{source} has no stored configuration of it, by which it could start again there; site.yml writes it")
    here, there = held(found, source, definition), held(found, target, definition)
    absent = [f"{group}/{name}" for group, name in here.disks if (group, name) not in here.own]
    if absent:
        lines.append(f"{source} has no volume {', no '.join(absent)}")
    if here.moved:
        left = ", ".join(f"{group}/{name}.moved" for group, name in sorted(here.moved))
        lines.append(f"{source} has {left} of an earlier move yet; -e moves_forget={guest} removes it by and by")
    if here.strange or there.strange:
        lines.append(f"volumes have its names without being tagged as its: {', '.join(here.strange + there.strange)}")
    if there.own:
        own = ", ".join(f"{group}/{name}" for group, name in sorted(there.own))
        lines.append(f"{target} has {own} already, and nothing is written over it; rename or remove it there (lvrename, lvremove)")
    coming = {**there.filling, **there.complete}
    if coming and there.peer != source:
        lines.append(f"{target} is being filled by {there.peer} with it; remove {', '.join(_full(coming))} there (lvremove)")
    for host in sorted(set(found) - {source, target}):
        other = held(found, host, definition)
        if old := [*_full(other.filling), *_full(other.complete)]:
            lines.append(f"{host} has {', '.join(old)} of an earlier move, which could be taken for the newest; -e moves_forget={guest}"
                         " removes it")
    if old := _of_no_disk(found[target], definition):
        lines.append(f"{target} has {', '.join(old)} of a disk that it has no more; remove it there (lvremove)")
    for disk, volume in sorted(coming.items()):
        if disk in here.own and here.own[disk]["size_bytes"] != volume["size_bytes"]:
            lines.append(f"{target} has {disk[0]}/{volume['name']} of another size, of an earlier run; remove it there (lvremove)")
    if target in found[source].get("deaf_volumes", {}):
        lines.append(f"{source} cannot send volumes to {target}: {found[source]['deaf_volumes'][target]}")
    return lines


def _full(there: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    return [f"{volume['volume_group']}/{volume['name']}" for _disk, volume in sorted(there.items())]


def room(host: str, moves: Iterable[Move], found: Found, guests: Guests) -> list[str]:
    """Whether the volume groups of a host take all that comes in a wave, one line a group."""
    wanted: dict[str, dict[str, int]] = {}
    lines = []
    for move in moves:
        definition = normalise(guests[move["workload"]])
        here, there = held(found, move["from"], definition), held(found, host, definition)
        for (group, name), volume in sorted(here.own.items()):
            if (group, name) not in {**there.filling, **there.complete, **there.own}:
                wanted.setdefault(group, {})[name] = volume["size_bytes"]
    for group, sizes in sorted(wanted.items()):
        told = found[host].get("groups", {}).get(group)
        if told is None:
            lines.append(f"host {host!r}: there is no volume group {group}, for {', '.join(sorted(sizes))}")
            continue
        odd = [name for name, size in sorted(sizes.items()) if size % told["extent_bytes"]]
        if odd:
            lines.append(f"host {host!r}: volume group {group} has extents of {told['extent_bytes']} bytes, so {', '.join(odd)} cannot have"
                         " the same size there")
        need = sum(sizes.values())
        if need > told["free_bytes"]:
            each = ", ".join(f"{name} {size / 2**30:.2f}" for name, size in sorted(sizes.items()))
            lines.append(f"host {host!r}: volume group {group} has {told['free_bytes'] / 2**30:.2f} GiB free, and what comes needs"
                         f" {need / 2**30:.2f} GiB ({each})")
    return lines


def prepared(moves: Iterable[Move], found: Found, guests: Guests) -> dict[str, list[dict[str, Any]]]:
    """Host -> the steps by which its volumes are ready to be filled."""
    steps: dict[str, list[dict[str, Any]]] = {}
    for move in moves:
        definition = normalise(guests[move["workload"]])
        here, there = held(found, move["from"], definition), held(found, move["to"], definition)
        for disk, volume in sorted(here.own.items()):
            if disk not in there.filling:
                verb = "refill" if disk in there.complete else "make"
                steps.setdefault(move["to"], []).append(_step(verb, definition, disk, move["from"], size_bytes=volume["size_bytes"]))
    return steps


def sent(move: Move, found: Found, guests: Guests) -> list[dict[str, Any]]:
    """The volumes of an offline move, as the module xl_move takes them. fresh: of those that are made for it just now."""
    definition = normalise(guests[move["workload"]])
    here, there = held(found, move["from"], definition), held(found, move["to"], definition)
    return [{"volume_group": group, "name": name, "size_bytes": volume["size_bytes"],
             "fresh": (group, name) not in there.filling and (group, name) not in there.complete}
            for (group, name), volume in sorted(here.own.items())]


def _step(verb: str, definition: Mapping[str, Any], disk: tuple[str, str], peer: str, **more: Any) -> dict[str, Any]:
    return {"verb": verb, "guest": definition["name"], "volume_group": disk[0], "name": disk[1], "peer": peer, **more}


def judged(found: Found, guests: Guests, silent: Iterable[str], moved: Sequence[Move] = ()) -> dict[str, Any]:
    """What became of guests that moved with their disks, or are to.

    moved: offline moves of a wave that has just ended. Returns `verdicts` (guest, source, target, kind, text), `volumes` (host -> steps for
    the module volume_settle, `first` before the others), `leave` (host -> guests that have left it for good), `start` (guests that run
    nowhere, with the host that may start them), `handed_over` (those of them that go forward, as moves for `returned`), `kept` (host ->
    steps for when those have started), `problems`, `waits` (guest -> why it is left until a host tells).
    """
    silent = sorted(silent)
    ways = {move["workload"]: (move["from"], move["to"]) for move in moved}
    told = _nothing()
    for guest, definition in ((name, normalise(value)) for name, value in sorted(guests.items())):
        if not volumes.disks_of(definition):
            continue
        here = {host: held(found, host, definition) for host in sorted(found)}
        way = ways.get(guest) or _way(guest, here, found)
        if way is None or any(guest in answer["moving"] for answer in found.values()):
            continue
        _judge(definition, way, here, found, silent, told, guest in ways)
    return told


def _nothing() -> dict[str, Any]:
    return {"verdicts": [], "volumes": {}, "leave": {}, "start": [], "handed_over": [], "kept": {}, "problems": [], "waits": {}}


def _judge(
    definition: Mapping[str, Any], way: tuple[str, str], here: Mapping[str, Held], found: Found, silent: Sequence[str],
    told: dict[str, Any], asked: bool,
) -> None:
    guest, (source, target) = definition["name"], way
    runs = {host: copies for host, answer in sorted(found.items())
            if (copies := judge.copies_of(map(Copy.of, answer["domains"]), guest, definition["uuid"]))}
    nothing = Held(volumes.disks_of(definition))
    at = owner.at_source(here.get(source, nothing)), owner.at_target(here.get(target, nothing))
    if set(runs) - {source, target}:
        # It has gone on since, as it is wherever it runs.
        return
    arriving = bool(_marked(here.get(target, nothing)))
    verdict = owner.judge(at[0], source in runs, at[1], target in runs)
    kind = verdict.kind
    journal = found.get(source, {}).get("journals", {}).get(guest, {})
    # Only a way back from a hand-over leads from `given` to disks that are with the source, and are being filled on the target.
    given_back = journal.get("stage") == GIVEN and journal.get("to") == target and at == (owner.OWN, owner.FILLING)
    stopped = journal.get("stage") in (DOWN, BACK) or given_back
    # Somebody else may have shut it down, long after a move or without any.
    handed_over = asked or at[0] == owner.GIVING or at[1] in (owner.COMPLETE, owner.TAKING) or arriving
    state, why = _state(guest, at, way, runs, found), ""
    away = [host for host in way if host not in found]
    if kind == owner.UNDEFINED and away:
        why = f"{' and '.join(away)} told nothing, and may run it or have the newest of its disks. Do not start it before that is known"
    elif kind == owner.UNDEFINED:
        why = verdict.way_out
    elif kind in (owner.START, owner.FORWARD, owner.BACK) and silent:
        why = f"{', '.join(silent)} could not be asked whether it runs there; it is started only when every host has told"
    known = {owner.START: stopped, owner.FORWARD: handed_over, owner.UNDEFINED: stopped or handed_over}
    if not known.get(kind, True):
        why, kind = "", owner.UNDEFINED
    elif why:
        text = f"{state}. Nothing was done with it: {why}"
        if away and not asked:
            # All others go on without a guest that waits for a host that is dead, or left out of this run.
            told["waits"][guest] = text
        else:
            told["problems"].append(text)
        kind = owner.UNDEFINED
    else:
        _carry_out(kind, definition, way, here, found, told)
    if asked or kind not in (owner.STAYS, owner.ARRIVED, owner.UNDEFINED):
        told["verdicts"].append({"guest": guest, "source": source, "target": target, "kind": kind, "text": state})


def _marked(there: Held) -> list[tuple[str, str]]:
    """Disks under their own names from which the guest has not been seen to run since they came."""
    return [disk for disk, volume in sorted(there.own.items()) if volumes.arrival_tags(volume)]


def _carry_out(
    kind: str, definition: Mapping[str, Any], way: tuple[str, str], here: Mapping[str, Held], found: Found, told: dict[str, Any],
) -> None:
    """What a verdict asks for. The side that loses the guest is first: at no moment both could start it."""
    guest, (source, target) = definition["name"], way
    runs = any(domain["name"] == guest for answer in found.values() for domain in answer["domains"])
    nothing = Held(volumes.disks_of(definition))
    own, coming = here.get(source, nothing), here.get(target, nothing)

    def steps(host: str, verb: str, disks: Iterable[tuple[str, str]], peer: str, first: bool, place: str = "volumes", **more: Any) -> None:
        for disk in sorted(disks):
            told[place].setdefault(host, []).append({**_step(verb, definition, disk, peer, **more), "first": first})

    def leaves(host: str) -> None:
        if guest in found.get(host, {}).get("keeps", ()):
            told["leave"].setdefault(host, []).append(guest)

    if kind in (owner.FORWARD, owner.ARRIVED):
        steps(source, "give", own.own, target, True, date=own.since)
        steps(target, "take", coming.complete, source, False)
        leaves(source)
    if kind == owner.ARRIVED:
        steps(target, "keep", _marked(coming), source, False)
    if kind == owner.BACK:
        steps(target, "demote", [*coming.own, *coming.complete], source, True)
        steps(source, "back", own.moved, target, False)
        # What it was given there before its start failed. The source does not start what starts with another host.
        leaves(target)
    if kind == owner.FORWARD:
        steps(target, "keep", coming.disks, source, False, place="kept")
        told["start"].append({"workload": guest, "to": target})
        told["handed_over"].append({"workload": guest, "from": source, "to": target})
    if kind in (owner.START, owner.BACK) and not runs:
        told["start"].append({"workload": guest, "to": source})


def _way(guest: str, here: Mapping[str, Held], found: Found) -> tuple[str, str] | None:
    """Source and target of a move, by the tags of volumes, the latest first; by the source's journal where nothing is tagged."""
    for host, there in here.items():
        marks = [tag for disk in _marked(there) for tag in volumes.arrival_tags(there.own[disk])]
        peer = there.peer if there.filling or there.complete else marks[0].rpartition(":")[2] if marks else ""
        if peer and not _superseded(peer, host, here):
            return peer, host
    left = sorted((there.since, host, there.to) for host, there in here.items() if there.moved)
    if left:
        return left[-1][1], left[-1][2]
    for host, answer in sorted(found.items()):
        journal = answer.get("journals", {}).get(guest, {})
        if journal.get("stage") in (DOWN, BACK) and journal.get("to"):
            return host, journal["to"]
    return None


def _superseded(peer: str, host: str, here: Mapping[str, Held]) -> bool:
    """Whether what has come in from a peer is of a move that was given up: it has handed the guest over to another host since, or has
    nothing of it any more, which is whole elsewhere."""
    source = here.get(peer)
    if source is None or owner.at_source(source) == owner.OWN:
        return False
    if source.moved:
        return source.to != host
    return not source.own and any(owner.at_source(there) == owner.OWN for other, there in here.items() if other not in (peer, host))


def _state(
    guest: str, at: tuple[str, str], way: tuple[str, str], runs: Mapping[str, Sequence[Copy]], found: Found,
) -> str:
    words = {owner.NONE: "no disks", owner.OWN: "its disks", owner.GIVING: "disks that are renamed in part",
             owner.GIVEN: "disks that were handed over", owner.FILLING: "disks that are not filled",
             owner.COMPLETE: "disks that are complete", owner.TAKING: "complete disks that are renamed in part",
             owner.ODD: "disks that do not belong together"}
    parts = [f"on {host} what nobody could ask" if host not in found else
             f"on {host} {words[word]} and {', '.join(copy.told() for copy in runs[host]) if host in runs else 'no domain'}"
             for host, word in zip(way, at, strict=True)]
    return f"guest {guest!r}: {', '.join(parts)}"


def returned(moves: Iterable[Move], found: Found, guests: Guests, silent: Iterable[str]) -> dict[str, Any]:
    """What takes guests back that were handed over and could not be started: as `judged`, for those that certainly run nowhere."""
    told = _nothing()
    silent = sorted(silent)
    for move in moves:
        definition = normalise(guests[move["workload"]])
        here, there = held(found, move["from"], definition), held(found, move["to"], definition)
        runs = [host for host, answer in found.items()
                if judge.copies_of(map(Copy.of, answer["domains"]), definition["name"], definition["uuid"])]
        at = owner.at_source(here), owner.at_target(there)
        if runs == [move["to"]]:
            # It has started beside one that has not.
            told["volumes"].setdefault(move["to"], []).extend(
                {**_step("keep", definition, disk, move["from"]), "first": False} for disk in _marked(there))
        # Where it has run since, its newest data is there.
        unused = at[1] == owner.COMPLETE or (at[1] in (owner.TAKING, owner.OWN) and set(_marked(there)) == set(there.own))
        if runs or at[0] not in (owner.GIVING, owner.GIVEN) or not unused:
            continue
        state = _state(definition["name"], at, (move["from"], move["to"]), {}, found)
        if silent:
            told["problems"].append(f"{state}. Nothing was done with it: {', '.join(silent)} could not be asked whether it runs there")
            continue
        way = move["from"], move["to"]
        _carry_out(owner.BACK, definition, way, {way[0]: here, way[1]: there}, found, told)
        told["verdicts"].append({"guest": definition["name"], "source": way[0], "target": way[1], "kind": owner.BACK, "text": state})
    return told


def forgotten(
    wanted: Sequence[str], found: Found, guests: Guests, keep_days: float, now: datetime.datetime,
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Host -> steps that remove what guests have left behind; and what stands against it, one line each. now: in UTC."""
    steps: dict[str, list[dict[str, Any]]] = {}
    lines = []
    for guest in wanted:
        definition = normalise(guests[guest])
        home = [host for host, answer in sorted(found.items())
                if any(domain["name"] == guest and domain["state"] == "running" for domain in answer["domains"])]
        for host in sorted(found):
            there = held(found, host, definition)
            # Beside a guest that has come back lies what it left behind when it went.
            coming = {**there.filling, **there.complete} if home and host not in home else {}
            if not there.moved and not coming:
                continue
            title = f"moves_forget: {guest}: {host} keeps {', '.join(_full(there.moved) or _full(coming))}"
            moving = [other for other, answer in sorted(found.items()) if guest in answer["moving"]]
            if len(home) != 1 or moving:
                why = f"it moves right now from {', '.join(moving)}" if moving else (
                    f"it does not run on exactly one host ({', '.join(home) or 'on none'})")
                lines.append(f"{title}, and {why}")
                continue
            if set(held(found, home[0], definition).own) != set(there.disks):
                lines.append(f"{title}, and {home[0]}, where it runs, does not have all of its disks")
                continue
            age = _age_days(there.since, now) if there.moved else keep_days
            if age < keep_days:
                lines.append(f"{title} since {there.since}, {age:.1f} days, allowed after {keep_days:g} days (moves_keep_days)")
                continue
            for which, place in (("moved", there.moved), *((("filling", there.filling), ("complete", there.complete)) if coming else ())):
                steps.setdefault(host, []).extend(_step("remove", definition, disk, home[0], which=which) for disk in sorted(place))
    return steps, lines


def _age_days(since: str, now: datetime.datetime) -> float:
    try:
        return (now - datetime.datetime.strptime(since, _DATE).replace(tzinfo=datetime.UTC)).total_seconds() / 86400
    except ValueError:
        # A tag that cannot be read is as young as can be.
        return 0.0
