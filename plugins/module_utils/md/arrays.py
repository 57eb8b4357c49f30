# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From wanted arrays and what the disks hold to the steps that make them; pure, and refusing what could cost data."""
from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import grow as growing
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.members import (
    SPACE,
    devices_of,
    kind_error,
    never_started,
    too_small,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.model import (
    TAKES,
    Live,
    Plan,
    Running,
    Step,
    may_be_written,
    wakes,
    why_frozen,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import LEVELS, grow_words, policy_of, speeds_of

# A disk sold as 2 TB has 1863 GiB; less than this share of what the inventory says is another disk.
SIZE_SHARE = 0.93


def array_uuid(host: str, name: str) -> str:
    """The UUID of an array of that host, in mdadm's form: known before the array is made, so no run can take another for it."""
    digits = uuid.uuid5(SPACE, f"{host}/{name}").hex
    return ":".join(digits[start:start + 8] for start in range(0, 32, 8))


def known_arrays(scan: str) -> dict[str, Running]:
    """UUID -> array, from `mdadm --detail --scan`."""
    found = {}
    for line in scan.splitlines():
        match = re.match(r"(INACTIVE-)?ARRAY (\S+) .*UUID=([0-9a-f:]+)", line)
        if match:
            found[match.group(3)] = Running(match.group(2), not match.group(1))
    return found


def plan(
    host: str, homehost: str, arrays: Sequence[Mapping[str, Any]], disks: Mapping[str, Disk | None],
    known: Mapping[str, Running], consents: frozenset[str], live: Mapping[str, Live] | None = None,
    grow: frozenset[str] = frozenset(), carriers: Mapping[str, Sequence[str]] | None = None,
) -> Plan:
    """Plan all arrays of a host before the first change.

    host: name in the inventory; homehost: name that the machine has itself; disks: member id -> what was found there
    (None: no such disk); known: UUID -> array of the kernel; consents: serials of disks whose data may be lost;
    live: UUID -> what the kernel tells of an array that runs; grow: names of arrays that may be grown; carriers: UUID -> devices of the
    host that carry its superblock, named by the inventory or not.
    """
    result = Plan()
    for array in arrays:
        wanted = array.get("uuid") or array_uuid(host, array["name"])
        result.uuids[array["name"]] = wanted
        running = known.get(wanted)
        now = (live or {}).get(wanted) if running and running.active else None
        found = devices_of(array, wanted, disks, now)
        errors = _told(array, wanted, found, now, result) + _name_taken(array, wanted, known)
        if errors:
            pass
        elif now and now.reshaping:
            result.steps += _name(array, known[wanted])
        elif now and growing.wants_members(array, now):
            errors, members = _members(array, found)
            result.steps += [] if errors else _name(array, known[wanted])
            errors = errors or growing.plan_members(array, now, members, consents, array["name"] in grow, result)
        else:
            errors = _plan_array(host, homehost, array, wanted, found, known, now, consents, array["name"] in grow,
                                 (carriers or {}).get(wanted, ()), result)
        result.errors += [f"array '{array['name']}': {error}" for error in errors]
    if len(set(result.uuids.values())) < len(result.uuids):
        result.errors.append("arrays: uuid: two arrays have the same; allowed is one of its own for each, or none to derive it")
    return result


def _told(array: Mapping[str, Any], wanted: str, found: Mapping[str, Disk | None], now: Live | None, result: Plan) -> list[str]:
    """What is said of an array whatever is done to it; returns errors."""
    owned = [disk for disk in found.values() if disk and disk.md.get("MD_UUID") == wanted]
    wrong, every = kind_error(array, [bool(disk.on) for disk in owned])
    if wrong and not every:
        result.notes.append(f"array '{array['name']}': {wrong}; so are only some of its disks, and it stays as it is")
    frozen = why_frozen(now) if now else ""
    if frozen:
        result.notes.append(f"array '{array['name']}': no synchronisation begins. {frozen}")
    if now and now.reshaping:
        result.notes.append(growing.note_reshape(array, now))
    return [wrong] if every else []


def _name_taken(array: Mapping[str, Any], wanted: str, known: Mapping[str, Running]) -> list[str]:
    """Why no command may name the array's device: it is another one."""
    device = f"/dev/md/{array['name']}"
    others = [value for value, running in known.items() if running.device == device and value != wanted]
    return [f"{device} is another array, with the UUID {others[0]}; stop that one, or give this one another name"] if others else []


def _plan_array(
    host: str, homehost: str, array: Mapping[str, Any], wanted: str, found: Mapping[str, Disk | None], known: Mapping[str, Running],
    now: Live | None, consents: frozenset[str], may_grow: bool, carriers: Sequence[str], result: Plan,
) -> list[str]:
    """Plan one array whose number of members stays as it is; returns errors. found: id -> device."""
    running = known.get(wanted)
    gone = _gone(array, wanted, found, now) if running and running.active else []
    errors, members = _members({**array, "members": [member for member in array["members"] if member not in gone]}, found)
    if gone and not members and not errors:
        errors = [f"it runs as {known[wanted].device} on other disks than the inventory names"]
    returned = _returned(array, gone, found, now)
    if gone and not errors:
        # Nothing is made or assembled of an array that works, so what it lacks is told and keeps nobody from the rest.
        result.lacking[array["name"]] = _lacks(host, array, found, gone, returned)
    if now:
        _note_failed_spares(array, found, now, result.notes)
    spares: list[Disk] = []
    if not gone:
        wrong, spares = _spares(array, wanted, found, running, result.notes)
        errors += wrong
    made = False
    if not errors:
        outcome = _decide(array, wanted, members, spares, known, consents, homehost, carriers)
        if isinstance(outcome, Step):
            result.steps.append(outcome)
            made = outcome.action.verb == "create"
            _note_carriers(array, outcome, members, spares, result.notes)
        else:
            errors = list(outcome)
    if not errors and not made:
        _add_returned(array, returned, now, result)
        errors += _add_spares(array, wanted, spares, now, consents, result)
        if now and not gone and not now.missing and not growing.plan_size(array, now, may_grow, result):
            _set_options(array, now, result)
    return errors


def _note_carriers(array: Mapping[str, Any], step: Step, members: Sequence[Disk], spares: Sequence[Disk], notes: list[str]) -> None:
    """Tell of devices that are assembled with the others although the inventory does not name them."""
    named = {disk.path for disk in [*members, *spares]}
    others = [word for word in step.commands[-1] if word.startswith("/dev/") and word not in {*named, step.device}]
    if step.action.verb == "assemble" and others:
        notes.append(f"array '{array['name']}': {', '.join(others)} carries its superblock, and the inventory does not name it; mdadm takes"
                     " it if it is up to date")


def _gone(
    array: Mapping[str, Any], wanted: str, disks: Mapping[str, Disk | None], now: Live | None,
) -> list[Mapping[str, Any]]:
    """The members whose disk is not there or does not belong to the array. A disk that was replaced keeps its superblock; an array
    that is whole without it tells."""
    found = {member["id"]: disks.get(member["id"]) for member in array["members"]}
    there = now.there() if now and not now.missing else []
    return [member for member in array["members"]
            if (disk := found[member["id"]]) is None or disk.md.get("MD_UUID") != wanted or (there and disk.path not in there)]


def _returned(
    array: Mapping[str, Any], gone: Sequence[Mapping[str, Any]], disks: Mapping[str, Disk | None], now: Live | None,
) -> list[Disk]:
    """Empty disks of gone members, of the inventory's serial and size: adding them only adds redundancy. A consent counts for nothing
    here. No more than the places that no disk fills yet, so none ends as a spare that nobody asked for."""
    if not now or now.state not in TAKES:
        return []
    filling = [member for member in now.members if member.attached and not member.states & {"in_sync", "faulty", "replacement"}]
    found = []
    for member in gone:
        wrong, there = _members({**array, "members": [member]}, disks)
        found += [disk for disk in there if not wrong and not disk.uses and disk.size_bytes >= now.least_bytes]
    return found[:max(0, now.missing - len(filling))]


def _add_returned(array: Mapping[str, Any], returned: Sequence[Disk], now: Live | None, result: Plan) -> None:
    device = f"/dev/md/{array['name']}"
    for disk in returned:
        first = wakes(device, now) if disk is returned[0] else []
        command = ("mdadm", "--manage", device, "--add", disk.path)
        action = Action("add", f"disk {disk.serial} to array {device}", f"as {disk.path}, which is empty")
        result.steps.append(Step(action, device, (*first, command), (disk,) if disk.first_written() else ()))


def _lacks(
    host: str, array: Mapping[str, Any], disks: Mapping[str, Disk | None], gone: Sequence[Mapping[str, Any]], returned: Sequence[Disk],
) -> str:
    lines, device = [], f"/dev/md/{array['name']}"
    rest = [member for member in gone if disks.get(member["id"]) not in returned]
    for member in gone:
        disk = disks.get(member["id"])
        state = f"/dev/disk/by-id/{member['id']} does not exist"
        if disk:
            state = f"{disk.whole()}, with the serial {disk.serial or 'none'}, is there and holds {'; '.join(disk.uses) or 'nothing'}"
            state += "; it is added, and the kernel fills it" if disk in returned else ""
        lines.append(f"disk {member['id']} (serial {member['serial']}): {state}")
    told = (f"array '{array['name']}': {device} runs without {len(gone)} of the {len(array['members'])} disks that the inventory names."
            f" {'. '.join(lines)}")
    if not rest:
        return f"{told}. Until then it lacks redundancy"
    return (f"{told}. Nothing {'else ' if returned else ''}is written to it. Replace the disk (docs/hosts.md): ansible-playbook"
            f" playbooks/replace_disk.yml -e host={host} -e serial={rest[0]['serial']} -e new_serial=NEW; then write its id and serial"
            " into storage_arrays")


def moved_on(array: Mapping[str, Any], strangers: Sequence[tuple[str, str]], lacking: str) -> str:
    """What to say instead of `lacking` when the array is whole, on other disks than the inventory names.

    strangers: (kernel device, serial) of the disks of the array that the inventory does not name.
    """
    device = f"/dev/md/{array['name']}"
    if not strangers:
        return lacking
    named = ", ".join(f"{path} (serial {serial or 'none'})" for path, serial in strangers)
    return (f"array '{array['name']}': {device} is whole, but on {named}, which the inventory does not name; what it names instead:"
            f" {lacking.split('inventory names. ', 1)[-1].split('. Nothing ', 1)[0]}. Nothing is written to it. Write the disk"
            " that is there into storage_arrays, in the place of the other: its name under /dev/disk/by-id as id, and its serial")


def _spares(
    array: Mapping[str, Any], wanted: str, disks: Mapping[str, Disk | None], running: Running | None, notes: list[str],
) -> tuple[list[str], list[Disk]]:
    """Errors of the hot spares, and those that are there. An array that exists works without one that is not there."""
    listed = array.get("spares") or []
    owned = any(disk is not None and disk.md.get("MD_UUID") == wanted for disk in (disks.get(item["id"]) for item in array["members"]))
    if running or owned:
        for item in listed:
            if disks.get(item["id"]) is None:
                notes.append(f"array '{array['name']}': spare {item['id']} (serial {item['serial']}) is not there:"
                             f" /dev/disk/by-id/{item['id']} does not exist. The array works without it")
        listed = [item for item in listed if disks.get(item["id"]) is not None]
    return _members({**array, "members": listed}, disks)


def _add_spares(
    array: Mapping[str, Any], wanted: str, spares: Sequence[Disk], now: Live | None, consents: frozenset[str], result: Plan,
) -> list[str]:
    """Add the spares that the array does not have yet; returns errors. One that it had and lost is only told: it works without."""
    device, errors = f"/dev/md/{array['name']}", []
    for disk in spares:
        # Without the kernel's list, the superblock tells; with it, a superblock without a place there is data like any other.
        if disk.md.get("MD_UUID") == wanted and (not now or not now.members or disk.path in now.there()):
            continue
        refused = may_be_written(disk, consents)
        if refused and disk.md.get("MD_UUID") == wanted:
            result.notes.append(f"array '{array['name']}': spare {disk.path} (serial {disk.serial}) carries the array's superblock, but the"
                                f" array does not count it any more: it failed or was removed. The array works without it. {refused}")
            continue
        if now and disk.size_bytes < now.least_bytes:
            told = f"{disk.size_bytes / 2**30:.2f} GiB; {device} needs {now.least_bytes / 2**30:.2f} GiB or more"
            refused = refused or f"spare {disk.whole()} (serial {disk.serial}) has room for {told}"
        if refused:
            errors.append(refused)
            continue
        detail = f"serial {disk.serial}" + (", wiped by consent" if disk.uses else "")
        command = ("mdadm", "--manage", device, "--add", disk.path)
        wipe = (disk,) if disk.first_written() else ()
        result.steps.append(Step(Action("add", f"spare of array {device}", detail), device, (command,), wipe))
    return errors


def _note_failed_spares(array: Mapping[str, Any], disks: Mapping[str, Disk | None], now: Live, notes: list[str]) -> None:
    failed = {member.path for member in now.members if member.attached and "faulty" in member.states}
    for item in array.get("spares") or []:
        disk = disks.get(item["id"])
        if disk and disk.path in failed:
            notes.append(f"array '{array['name']}': spare {item['id']} (serial {disk.serial}) has failed: the array counts {disk.path} as"
                         " faulty, and it stands in for no member. Replace it: playbooks/replace_disk.yml (docs/hosts.md)")


def _set_options(array: Mapping[str, Any], now: Live, result: Plan) -> None:
    """What can be changed of an array that runs: bitmap or PPL, limits of synchronisation."""
    device, wanted = f"/dev/md/{array['name']}", policy_of(array)
    words = {"bitmap": "an internal bitmap", "resync": "no bitmap", "ppl": "a partial parity log"}
    if now.policy in words and wanted in words and now.policy != wanted:
        # The kernel takes frozen for busy (md.c, update_array_info).
        wait = growing.waits_for(now) or ("once its synchronisation is no longer frozen" if now.frozen else "")
        if wait:
            result.notes.append(f"array '{array['name']}': {device} gets {words[wanted]} in a later run, {wait}: mdadm cannot do that"
                                " meanwhile")
        else:
            commands = {"bitmap": [("--bitmap=none",)], "ppl": [("--consistency-policy=resync",)], "resync": []}[now.policy]
            commands += {"bitmap": [("--bitmap=internal",)], "ppl": [("--consistency-policy=ppl",)], "resync": []}[wanted]
            result.steps.append(Step(Action("set", f"array {device}", f"{words[wanted]} instead of {words[now.policy]}"), device,
                                     tuple(("mdadm", "--grow", device, *command) for command in commands)))
    other = {file: text for file, text in speeds_of(array).items() if file in now.speeds and now.speeds[file] != f"{text} (local)"}
    if other:
        detail = ", ".join(f"{file} {text} KiB/s instead of {now.speeds[file]}" for file, text in other.items())
        result.steps.append(Step(Action("set", f"array {device}", detail), device, (), attributes=tuple(other.items())))


def lacks_unseen(name: str, missing: int, rebuild: Mapping[str, Any] | None, members: Sequence[Mapping[str, Any]]) -> str:
    """What to say of a running array that lacks members although every disk of the inventory carries its superblock."""
    device = f"/dev/md/{name}"
    named = ", ".join(f"{member['id']} (serial {member['serial']})" for member in members)
    if rebuild and rebuild["action"] == "recover":
        return (f"array '{name}': {device} lacks {missing} of its members and is being rebuilt ({rebuild['percent']} %): wait."
                f" Disks: {named}")
    return (f"array '{name}': {device} lacks {missing} of its members although all its disks are there: {named}. Nothing is written to it."
            f" See which is 'removed' or 'faulty' (mdadm --detail {device}) and why (the kernel's log), and put it back by hand"
            f" (mdadm --manage {device} --re-add DISK)")


def _members(array: Mapping[str, Any], disks: Mapping[str, Disk | None]) -> tuple[list[str], list[Disk]]:
    errors: list[str] = []
    found: list[Disk] = []
    for member in array["members"]:
        disk = disks.get(member["id"])
        if disk is None:
            errors.append(f"disk {member['id']} (serial {member['serial']}) is not there: /dev/disk/by-id/{member['id']} does not exist")
            continue
        if disk.serial != member["serial"]:
            errors.append(f"disk {member['id']} has the serial {disk.serial or 'none'}; the inventory says {member['serial']}")
        size, has_bytes = member.get("size_gib"), disk.on_bytes or disk.size_bytes
        if size and has_bytes < size * 2**30 * SIZE_SHARE:
            has = f"{has_bytes / 2**30:.2f} GiB"
            errors.append(f"disk {member['id']} (serial {member['serial']}) has {has}; the inventory says {size:g}")
        small = too_small(array, disk)
        errors += [small] if small else []
        found.append(disk)
    return errors, found


def _decide(
    array: Mapping[str, Any], wanted: str, disks: Sequence[Disk], spares: Sequence[Disk], known: Mapping[str, Running],
    consents: frozenset[str], homehost: str, carriers: Sequence[str],
) -> list[str] | Step:
    """The one step that the array needs, or errors; an empty list when nothing is to do."""
    cut_off = never_started(array, wanted, [*disks, *spares], known.get(wanted), carriers)
    if cut_off:
        # An array that waits holds its disks.
        first = (("mdadm", "--stop", known[wanted].device),) if wanted in known else ()
        return _new(array, wanted, [cut_off.get(disk.path, disk) for disk in disks], [cut_off.get(disk.path, disk) for disk in spares],
                    consents, homehost, first)
    owned = [disk for disk in disks if disk.md.get("MD_UUID") == wanted]
    if len(owned) == len(disks):
        own = [disk for disk in spares if disk.md.get("MD_UUID") == wanted]
        return _existing(array, wanted, disks, own, known.get(wanted), carriers)
    if owned:
        strange = [f"{disk.whole()} (serial {disk.serial}) holds {'; '.join(disk.uses) or 'nothing'}"
                   for disk in disks if disk not in owned]
        part = f"{len(owned)} of its {len(disks)} disks belong to it, but {', '.join(strange)}"
        by = "playbooks/replace_disk.yml (docs/hosts.md)"
        return [f"it is degraded or foreign, and is not touched: {part}. A disk of an array that runs is replaced by {by}"]
    if wanted in known:
        return [f"it waits as {known[wanted].device} for other disks than the inventory names"]
    return _new(array, wanted, disks, spares, consents, homehost)


def _existing(
    array: Mapping[str, Any], wanted: str, disks: Sequence[Disk], spares: Sequence[Disk], running: Running | None,
    carriers: Sequence[str],
) -> list[str] | Step:
    device = f"/dev/md/{array['name']}"
    # Read by blkid, on a host without mdadm, a superblock shows neither; mdadm is asked again once it is installed.
    level, count = (disks[0].md.get(key) for key in ("MD_LEVEL", "MD_DEVICES"))
    if level and level.removeprefix("raid") != str(array["level"]):
        return [wrong_level(level.removeprefix("raid"), array["level"])]
    if count and int(count) > len(array["members"]):
        return [f"it exists with {count} members; the inventory says {len(array['members'])}, and an array is never shrunk"]
    if count and int(count) < len(array["members"]):
        told = f"it exists with {count} members; the inventory says {len(array['members'])}"
        return [f"{told}. It is grown by consent, while it runs: {grow_words(array['name'])}"]
    if (not running or not running.active) and (stale := _stale(disks)):
        return [f"it does not run, and {stale}"]
    if not running or not running.active:
        why = "the kernel waits for disks that are there" if running else "it exists on its disks but does not run"
        # A disk that the inventory does not name may be the one that took the place of another.
        paths = dict.fromkeys([*(disk.path for disk in [*disks, *spares]), *carriers])
        command = ("mdadm", "--assemble", device, f"--uuid={wanted}", *paths)
        # An array that waits holds its disks; mdadm would skip them as busy.
        first = (("mdadm", "--stop", running.device),) if running else ()
        return Step(Action("assemble", f"array {device}", why), device, (*first, command))
    named = _name(array, running)
    return named[0] if named else []


def _name(array: Mapping[str, Any], running: Running) -> list[Step]:
    """What gives a running array its name, when it has another one."""
    device = f"/dev/md/{array['name']}"
    # Makes mdadm read its names from mdadm.conf again; udev then sets the link, also while the array is in use.
    command = ("mdadm", "--incremental", "--rebuild-map")
    return [] if running.device == device else [Step(Action("name", f"array {device}", f"it runs as {running.device}"), device, (command,))]


def wrong_level(has: str, wanted: int) -> str:
    """Why an array does not get another level."""
    told = f"it exists with level {has}; the inventory says {wanted}, and a level is not changed"
    if (has, wanted) == ("5", 6):
        # Grow.c, analyse_change and reshape_array: as many data disks after it as before, so each stripe is written over itself.
        told += (": mdadm would write every stripe over itself, and unless all disks have room to move their data, that hangs on a backup"
                 " file outside of the array")
    return told


def _stale(disks: Sequence[Disk]) -> str:
    """Which disks fell behind the others, as one that left the array does; empty when there is none.

    mdadm --assemble leaves out what is more than one event behind (Assemble.c), and starts the array without it.
    """
    events = [(disk, int(count)) for disk in disks if (count := disk.md.get("MD_EVENTS", "")).isdigit()]
    newest = max((count for _disk, count in events), default=0)
    behind = [f"{disk.path} (serial {disk.serial}) counts {count} events, others {newest}" for disk, count in events if count + 1 < newest]
    if not behind:
        return ""
    return (f"{'; '.join(behind)}: it left the array, which went on without it. Nothing is assembled. Start the array by hand without that"
            " disk (mdadm --assemble --run, with the others), and replace it: playbooks/replace_disk.yml (docs/hosts.md)")


def _new(
    array: Mapping[str, Any], wanted: str, disks: Sequence[Disk], spares: Sequence[Disk], consents: frozenset[str], homehost: str,
    first: tuple[tuple[str, ...], ...] = (),
) -> list[str] | Step:
    device = f"/dev/md/{array['name']}"
    full = [disk for disk in [*disks, *spares] if disk.uses]
    errors = [refused for disk in full if (refused := may_be_written(disk, consents))]
    if errors:
        return errors
    level = array["level"]
    create = ["mdadm", "--create", device, f"--level={level}", f"--raid-devices={len(disks)}", "--metadata=1.2",
              f"--name={array['name']}", f"--homehost={homehost}", f"--uuid={wanted}"]
    chunk_kib = 0 if level == 1 else array.get("chunk_kib") or 512
    if chunk_kib:
        create.append(f"--chunk={chunk_kib}")
    if level == 10:
        create.append("--layout=n2")
    if LEVELS[level][1]:
        create.append({"bitmap": "--bitmap=internal", "resync": "--bitmap=none", "ppl": "--consistency-policy=ppl"}[policy_of(array)])
    if spares:
        create.append(f"--spare-devices={len(spares)}")
    # --run answers mdadm's questions (a level 1 array cannot be booted from, and the like). It is given only here, after every
    # member has passed the empty test or has its own consent in this very run.
    create += ["--run", *(disk.path for disk in [*disks, *spares])]
    detail = f"level {level} on " + ", ".join(disk.serial for disk in disks)
    detail += ", spare " + ", ".join(disk.serial for disk in spares) if spares else ""
    detail += ", wiping " + ", ".join(disk.serial for disk in full) + " by consent" if full else ""
    again = [disk.serial for disk in [*disks, *spares] if disk.clear]
    detail += ", begun again after a run that was cut off: " + ", ".join(again) if again else ""
    detail += f", on partitions with a margin of {array['margin_mib']} MiB" if array.get("margin_mib") else ""
    return Step(Action("create", f"array {device}", detail), device, (tuple(create),), (*disks, *spares), tuple(speeds_of(array).items()),
                first, 1024 * chunk_kib)
