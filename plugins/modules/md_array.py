#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: md_array
short_description: Make the md arrays of a host from disks that are provably empty
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes all arrays of a host. Every disk is checked before the first change.
  - An array is created only on disks that hold nothing; other disks are refused and named, unless O(wipe) names their serial. A disk in
    use is never wiped.
  - An array whose disks all carry its UUID is assembled when it does not run, gets its name back when it runs as C(md127), and is left
    alone otherwise. A set of which only a part belongs to the array is neither created nor assembled. An array that runs without
    some of its members is left as it is, and a warning names the disks and what to do. Only a disk that the inventory names, with its
    serial and size, and that holds nothing is added to it again. The level is not changed.
  - A set of which a part has the superblock of an array that was never started, as a run that was cut off leaves it, is made again.
  - A set of which a disk fell behind the others is not assembled. Disks with the array's superblock that the inventory does not name are
    assembled with the others.
  - With O(grow), an array gets the members that the inventory names beyond those that it has, or uses all of its disks when they are all
    larger than it needs. The kernel moves the data in the background; until that is over nothing else is done to the array. It is never
    made smaller.
  - The first 256 MiB and the last MiB of every disk of a new array are zeroed, so that nothing of before shows in it.
  - Bitmap, partial parity log, hot spares and limits of synchronisation are changed while the array works and lacks no
    member. A spare that failed or was removed is a warning.
  - Writes the arrays into C(mdadm.conf) by UUID and brings the initramfs images up to date, also after a run that was cut off.
  - Gives the monthly scrub a time that follows from O(host), by mdadm's own timers, so that hosts do not all scrub at once.
  - Installs the package C(mdadm) where it is missing, and C(fdisk) for arrays with a margin.
  - Does not wait for the first synchronisation.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  arrays:
    description: The arrays of the host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name; the device is C(/dev/md/NAME).
        type: str
        required: true
      level:
        description: RAID level.
        type: int
        required: true
        choices: [0, 1, 5, 6, 10]
      members:
        description: The disks.
        type: list
        elements: dict
        required: true
        suboptions:
          id:
            description: Name under C(/dev/disk/by-id).
            type: str
            required: true
          serial:
            description: Serial number that the disk must have.
            type: str
            required: true
          size_gib:
            description: Size that the disk must have, in GiB.
            type: float
          iops:
            description: For the planner; not used here.
            type: float
      chunk_kib:
        description: Chunk size in KiB.
        type: int
        default: 512
      uuid:
        description: UUID in mdadm's form. By default it follows from O(host) and the name.
        type: str
      bitmap:
        description:
          - Write-intent bitmap, by which a disk that was away for a moment is resynchronised in seconds. Changed live.
          - By default C(internal) for levels with redundancy, unless O(arrays[].consistency_policy) takes its place.
        type: str
        choices: [internal, none]
      consistency_policy:
        description: C(ppl), a partial parity log, closes the write hole of level 5 and takes the bitmap's place. Changed live.
        type: str
        choices: [ppl]
      spares:
        description: Hot spares, by the same keys as members. Added live, each under the same test as a member.
        type: list
        elements: dict
        suboptions:
          id:
            description: Name under C(/dev/disk/by-id).
            type: str
            required: true
          serial:
            description: Serial number that the disk must have.
            type: str
            required: true
          size_gib:
            description: Size that the disk must have, in GiB.
            type: float
          iops:
            description: For the planner; not used here.
            type: float
      spare_group:
        description: Arrays of one group lend each other their spares, by C(mdadm --monitor).
        type: str
      resync_min_kibps:
        description: Speed of synchronisation, in KiB/s of each disk, below which it does not give way to the guests. By default that
          of the kernel.
        type: int
      resync_max_kibps:
        description: Speed that it does not exceed. By default that of the kernel.
        type: int
      margin_mib:
        description:
          - Makes the array of partitions, one on each disk, from 1 MiB to the disk's end less this many MiB, so that a replacement may be
            that much smaller. By default of whole disks. An array that exists is not moved from the one to the other.
        type: int
  host:
    description: Name of the host in the inventory; the arrays' UUIDs follow from it.
    type: str
    required: true
  wipe:
    description: Disks whose data may be lost.
    type: list
    elements: dict
    default: []
    suboptions:
      serial:
        description: Serial number of the disk.
        type: str
        required: true
      confirm:
        description: The same serial number again.
        type: str
        required: true
  grow:
    description: Arrays that may be grown.
    type: list
    elements: dict
    default: []
    suboptions:
      array:
        description: Name of the array.
        type: str
        required: true
      confirm:
        description: The same name again.
        type: str
        required: true
  scrub:
    description: When the arrays are scrubbed. What is not given follows from O(host).
    type: dict
    default: {}
    suboptions:
      day:
        description: Day of the month, 1 to 28.
        type: int
      hour:
        description: Hour of the day, 0 to 23. A scrub pauses after six hours and goes on at that hour of the next day.
        type: int
  mail_to:
    description: Who gets mail from C(mdadm --monitor) when a disk fails. Empty or not given leaves what C(mdadm.conf) says,
      or brings it back.
    type: str
  event_program:
    description: Program that C(mdadm --monitor) runs with each event, array and disk as arguments. Empty or not given leaves what
      C(mdadm.conf) says, or brings it back.
    type: str
"""

EXAMPLES = r"""
- name: Make the arrays
  xenfold.consolidation.md_array:
    host: "{{ inventory_hostname }}"
    arrays:
      - name: guests
        level: 10
        members:
          - {id: ata-WDC_1, serial: WD-1}
          - {id: ata-WDC_2, serial: WD-2}
          - {id: ata-WDC_3, serial: WD-3}
          - {id: ata-WDC_4, serial: WD-4}
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample: [{verb: create, target: array /dev/md/guests, detail: "level 10 on WD-1, WD-2, WD-3, WD-4"}]
arrays:
  description: The arrays after the run; in check mode as they are, O(ignore:state) V(absent) where there is none.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name., type: str}
    device: {description: Stable device., type: str}
    kernel_device: {description: The device of this boot; none while there is no array., type: str}
    uuid: {description: UUID in mdadm's form., type: str}
    state: {description: State that the kernel shows., type: str}
    missing_members: {description: How many members the array lacks., type: int}
    members: {description: Serials of the members., type: list, elements: str}
    resync: {description: What synchronisation runs and how many percent are done; none when there is none., type: dict}
  sample:
    - name: guests
      device: /dev/md/guests
      kernel_device: /dev/md127
      uuid: "758596a3:ce955891:9306cea6:a43b1171"
      state: clean
      missing_members: 0
      members: [WD-1, WD-2, WD-3, WD-4]
      resync: {action: resync, percent: 14.4}
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look, partition
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    BrokenBlock,
    WantedFile,
    differing,
    file_diff,
    lost,
    read_texts,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import configuration as md_conf
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import host as md_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import watch
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.model import Plan
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import (
    ARRAY_SPEC,
    GROW_SPEC,
    LEVELS,
    SCRUB_SPEC,
    WIPE_SPEC,
    check_grow,
    check_storage,
    check_watch,
    check_wipe,
    disks_of,
    speeds_of,
)


def plan_arrays(module: AnsibleModule, runner: Runner, arrays: list[dict[str, Any]]) -> Plan:
    """Look at every disk and plan; ends the module before any change when one may not be used."""
    known = md.known_arrays(runner.read(["mdadm", "--detail", "--scan"]).out) if runner.tool("mdadm") else {}
    consents = frozenset(item["serial"] for item in module.params["wipe"])
    grow = frozenset(item["array"] for item in module.params["grow"])
    disks, carriers = md_host.find_disks(runner, arrays)
    plan = md.plan(module.params["host"], platform.node(), arrays, disks, known, consents, md_host.read_all(known), grow, carriers)
    if plan.errors:
        module.fail_json(msg="No disk was changed. " + ". ".join(plan.errors), errors=plan.errors)
    return plan


def wanted_files(
    module: AnsibleModule, runner: Runner, uuids: dict[str, str], scrub: bool,
) -> tuple[list[WantedFile], dict[str, str | None]]:
    """The files that differ from what they must be, and what they are; ends the module when the marks of our block in mdadm.conf are
    not one pair."""
    params, arrays = module.params, module.params["arrays"]
    texts = read_texts([md_conf.CONFIGURATION, md_conf.RULES, watch.DEFAULTS])
    groups = {array["name"]: array["spare_group"] for array in arrays if array.get("spare_group")}
    before = texts[md_conf.CONFIGURATION] or ""
    if lost(texts[md_conf.CONFIGURATION]):
        before = md_conf.made_by_package(runner.read([md_conf.MAKER], ok=()).out if runner.tool(md_conf.MAKER) else "")
    try:
        text = md_conf.mdadm_conf(before, uuids, groups, params["mail_to"], params["event_program"])
    except BrokenBlock as error:
        module.fail_json(msg=f"No disk was changed. {md_conf.CONFIGURATION}: {error}", errors=[f"{md_conf.CONFIGURATION}: {error}"])
    files = [WantedFile(md_conf.CONFIGURATION, text)]
    if texts[md_conf.RULES] is not None or any(speeds_of(array) for array in arrays):
        files.append(WantedFile(md_conf.RULES, md_conf.speed_rules(arrays, uuids)))
    if scrub:
        timed = watch.scrub_files(params["host"], params["scrub"], texts[watch.DEFAULTS])
        texts |= read_texts([file.path for file in timed])
        files += timed
    return differing(files, texts), texts


def strangers(runner: Runner, device: str, disks: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(kernel device, serial) of the array's disks that the inventory does not name; none while it lacks members."""
    live = md_host.read_live(device)
    if not live or live.missing or not live.members:
        return []
    listing = look.listing(runner, live.there())
    named = {real for disk in disks if (real := look.resolve(f"{look.BY_ID}/{disk['id']}"))}
    named |= {partition.path_of(real) for real in named}
    return [(path, str((listing.get(path) or {}).get("serial") or "")) for path in live.there() if path not in named]


def warn_of_lacking(
    module: AnsibleModule, runner: Runner, arrays: list[dict[str, Any]], found: list[dict[str, Any]], plan: Plan,
) -> None:
    """Say of each array that runs without some of its members what is wrong with it. One made or grown just now is still being filled."""
    made = {step.device for step in plan.steps if step.action.verb in ("create", "grow")}
    for note in plan.notes:
        module.warn(note)
    for array, now in zip(arrays, found, strict=True):
        if array["name"] in plan.lacking:
            lacking = plan.lacking[array["name"]]
            others = [] if now["missing_members"] else strangers(runner, now["device"], disks_of(array))
            module.warn(md.moved_on(array, others, lacking))
        elif now["missing_members"] and now["device"] not in made:
            module.warn(md.lacks_unseen(array["name"], now["missing_members"], now["resync"], array["members"]))


def plan_watch(
    module: AnsibleModule, units: dict[str, dict[str, str]], files: list[WantedFile], told: bool,
) -> list[tuple[Action, list[str]]]:
    """Timers and monitor: actions with their commands. units: empty while mdadm is not installed; told: whether our block in mdadm.conf
    named until now whom the monitor tells."""
    timed = any(file.path in map(watch.drop_in, watch.TIMERS) for file in files)
    found = [(Action("update", "timers of the scrub", " ".join(command[1:])), command) for command in watch.timer_commands(units, timed)]
    conf = Path(md_conf.CONFIGURATION)
    rewritten = any(file.path == md_conf.CONFIGURATION for file in files) or not conf.exists()
    tells = module.params["mail_to"] or module.params["event_program"]
    old = rewritten if not tells else rewritten or watch.monitor_is_old(units.get(watch.MONITOR, {}), conf.stat().st_mtime)
    if old and (tells or told):
        action = Action("restart", f"service {watch.MONITOR}", "it reads mdadm.conf once")
        found.append((action, ["systemctl", "restart", watch.MONITOR]))
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "arrays": {"type": "list", "elements": "dict", "required": True, "options": ARRAY_SPEC},
            "host": {"type": "str", "required": True},
            "wipe": {"type": "list", "elements": "dict", "default": [], "options": WIPE_SPEC},
            "grow": {"type": "list", "elements": "dict", "default": [], "options": GROW_SPEC},
            "scrub": {"type": "dict", "default": {}, "options": SCRUB_SPEC},
            "mail_to": {"type": "str"},
            "event_program": {"type": "str"},
        },
        supports_check_mode=True,
    )
    arrays, program = module.params["arrays"], module.params["event_program"]
    errors = check_storage(arrays, []) + check_wipe(module.params["wipe"], arrays) + check_grow(module.params["grow"], arrays)
    errors += check_watch(module.params["scrub"], module.params["mail_to"], program)
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    if not arrays:
        module.exit_json(**outcome([]), arrays=[])

    runner = Runner(module)
    needs = ["mdadm", *([partition.PACKAGE] if any(array.get("margin_mib") for array in arrays) else [])]
    absent = packages.missing(runner, needs)
    plan = plan_arrays(module, runner, arrays)
    actions = [Action("install", f"package {name}") for name in absent]
    # Only arrays with redundancy are scrubbed and watched.
    watched = runner.tool("systemctl") and any(LEVELS[array["level"]][1] for array in arrays)
    files, texts = wanted_files(module, runner, plan.uuids, watched)
    if absent and not module.check_mode:
        packages.install(runner, absent)
        # mdadm sees more than blkid does, and its package may have started arrays.
        plan = plan_arrays(module, runner, arrays)
        files, texts = wanted_files(module, runner, plan.uuids, watched)
    comes = module.check_mode and "mdadm" in absent
    units = watch.unit_states(runner) if watched and not comes else {}
    watching = plan_watch(module, units, files, md_conf.block_tells(texts[md_conf.CONFIGURATION] or "")) if watched else []
    write = any(file.path == md_conf.CONFIGURATION for file in files)
    refresh = runner.tool("update-initramfs") and (write or bool(md_host.old_images(Path("/boot"), Path(md_conf.CONFIGURATION))))
    # The files come first: the UUIDs are known, and an array gets its name from mdadm.conf whenever it appears.
    actions += [Action("write", f"file {file.path}") for file in files]
    if comes and watched:
        # The package brings this file, with a cron job of its own switched on.
        actions.append(Action("write", f"file {watch.DEFAULTS}"))
    actions += [step.action for step in plan.steps]
    actions += [Action("update", "initramfs", "so that the arrays come up under their names")] if refresh else []
    actions += [action for action, _command in watching]
    result = outcome(actions)
    result["diff"] = [result["diff"], *(file_diff(file, texts) for file in files)]
    if program and not os.access(program, os.X_OK):
        module.warn(f"event_program: value {program!r}, allowed a program that this host has: nobody is told of events until it is there")
    if not module.check_mode:
        for file in files:
            write_atomically(file)
        try:
            md_host.carry_out(runner, plan.steps)
        except OSError as error:
            module.fail_json(msg=f"A device is in use or gone since it was looked at, and was not wiped: {error}")
        if refresh:
            runner.change(["update-initramfs", "-u", "-k", "all"])
        for _action, command in watching:
            runner.change(command)
    found = md_host.describe(arrays, plan.uuids)
    absent_arrays = [array["device"] for array in found if array["state"] == "absent"]
    if absent_arrays and not module.check_mode:
        module.fail_json(msg=f"{', '.join(absent_arrays)} did not appear; see mdadm --detail --scan and the kernel's log", arrays=found)
    warn_of_lacking(module, runner, arrays, found, plan)
    module.exit_json(**result, arrays=found)


if __name__ == "__main__":
    main()
