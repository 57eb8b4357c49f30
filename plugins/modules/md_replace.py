#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: md_replace
short_description: Put a new disk in the place of another in an md array that runs
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - A disk that still works is replaced while it stays a member, so that redundancy is kept throughout; then it is removed. A disk that
    has failed, or is gone from the host, is removed first.
  - A disk that works is never taken out of an array that lacks members already.
  - The new disk must be provably empty, or O(wipe) names its serial; a disk in use is never wiped. It must be large enough and belong
    to nothing. Else it is refused and named, and nothing is changed.
  - A disk that is gone is removed by its kernel name. Where several are gone, each is removed and named.
  - Goes on from wherever an earlier run or the kernel left the array; the kernel fills the new disk in any case.
  - The inventory is not changed; RV(inventory) says what to write there.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  host:
    description: Name of the host in the inventory; the arrays' UUIDs follow from it.
    type: str
    required: true
  arrays:
    description: The arrays of the host, as M(xenfold.consolidation.md_array) takes them.
    type: list
    elements: dict
    required: true
  serial:
    description: Serial number of the disk that goes.
    type: str
    required: true
  new_serial:
    description: Serial number of the disk that comes.
    type: str
    required: true
  new_id:
    description: Name of the disk that comes, under C(/dev/disk/by-id). By default it is looked up by O(new_serial).
    type: str
  wipe:
    description: Disks whose data may be lost. Only the entry of O(new_serial) counts here.
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
  wait_seconds:
    description: How long to wait for the kernel to fill the new disk.
    type: int
    default: 0
  until_percent:
    description: Wait no longer than until so many percent are filled.
    type: float
    default: 100
"""

EXAMPLES = r"""
- name: Replace a disk
  xenfold.consolidation.md_replace:
    host: "{{ inventory_hostname }}"
    arrays: "{{ storage_arrays }}"
    serial: WD-2
    new_serial: WD-9
    wait_seconds: 600
"""

RETURN = r"""
actions:
  description: What was done, in order; in check mode all that would be done.
  returned: success
  type: list
  elements: dict
  sample: [{verb: add, target: disk WD-9 to array /dev/md/guests, detail: as /dev/sdf}]
array:
  description: Name of the array.
  returned: success
  type: str
  sample: guests
done:
  description: Whether the new disk is in its place and holds everything.
  returned: success
  type: bool
percent:
  description: How many percent of the new disk are filled.
  returned: success
  type: float
  sample: 43.2
whole:
  description: Whether the array has all its members.
  returned: success
  type: bool
inventory:
  description: What a person has to write into the inventory, line by line; empty when it says so already.
  returned: success
  type: list
  elements: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look, partition
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import host as md_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import members, replace
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.model import Live, why_frozen
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import ARRAY_SPEC, WIPE_SPEC, check_storage

POLL_SECONDS = 2
# The kernel begins within a moment; an array that is frozen or whose disk was refused never does.
IDLE_POLLS = 15


def find_running(module: AnsibleModule, runner: Runner) -> tuple[dict[str, Any], Live]:
    """The array of the request and what the kernel tells of it; ends the module when there is none."""
    arrays, host = module.params["arrays"], module.params["host"]
    errors = check_storage(arrays, [])
    consent = [item for item in module.params["wipe"] if item["serial"] == module.params["new_serial"]]
    errors += [f"wipe: serial {item['serial']}: confirm: value {item['confirm']!r}, allowed the same serial again"
               for item in consent if item["confirm"] != item["serial"]]
    array: dict[str, Any] = {}
    if not errors:
        found, errors = replace.find_array(arrays, module.params["serial"], module.params["new_serial"])
        array = dict(found or {})
    if errors:
        module.fail_json(msg="No disk was changed. " + ". ".join(errors), errors=errors)
    known = md.known_arrays(runner.read(["mdadm", "--detail", "--scan"]).out) if runner.tool("mdadm") else {}
    running = known.get(array.get("uuid") or md.array_uuid(host, array["name"]))
    device = f"/dev/md/{array['name']}"
    if not running or not running.active or running.device != device:
        state = f"it runs as {running.device}" if running and running.active else f"it does not run on {host}"
        module.fail_json(msg=f"No disk was changed. array '{array['name']}': {state}; allowed is an array that runs as {device}."
                             " playbooks/provision.yml assembles and names it")
    return array, md_host.read_live(device) or Live(device)


def find_new(module: AnsibleModule, listing: dict[str, Any]) -> tuple[str, str]:
    """Kernel device and name under /dev/disk/by-id of the new disk; ends the module when it is not there just once."""
    serial, given = module.params["new_serial"], module.params["new_id"]
    disks = {path: str(entry.get("serial") or "") for path, entry in listing.items() if entry.get("type") == "disk"}
    found = sorted(path for path, value in disks.items() if value == serial)
    if len(found) != 1:
        there = ", ".join(sorted({value for value in disks.values() if value})) or "none"
        why = f"{', '.join(found)} have it, allowed one disk" if found else f"no disk of this host has it; there are {there}"
        module.fail_json(msg=f"No disk was changed. new_serial: value {serial!r}: {why}")
    names = look.ids_of(found[0])
    if given and given not in names:
        module.fail_json(msg=f"No disk was changed. new_id: value {given!r}, allowed a name of {found[0]}, the disk with the serial"
                             f" {serial}: {', '.join(names) or 'it has none'}")
    if not names:
        module.fail_json(msg=f"No disk was changed. {found[0]} (serial {serial}) has no name under {look.BY_ID}")
    telling = [name for name in names if serial in name] or names
    return found[0], given or telling[0]


def device_of_new(
    module: AnsibleModule, runner: Runner, array: dict[str, Any], live: Live, listing: dict[str, Any], path: str,
) -> look.Disk:
    """What the array is to have of the new disk; ends the module when that is no choice."""
    of_members = [listing[member.path]["type"] == "part" for member in live.members if member.attached and member.path in listing]
    wrong, every = members.kind_error(array, of_members)
    if wrong and every:
        module.fail_json(msg=f"No disk was changed. array '{array['name']}': {wrong}")
    wanted = array.get("uuid") or md.array_uuid(module.params["host"], array["name"])
    device = members.device_of(array, wanted, look.look(runner, [path])[path], live.least_bytes)
    if device.cut and not runner.tool(partition.TOOL):
        module.fail_json(msg=f"No disk was changed. array '{array['name']}': the package {partition.PACKAGE} is missing, which brings"
                             f" {partition.TOOL}; playbooks/provision.yml installs it")
    return members.without_superblock(array, wanted, device)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "arrays": {"type": "list", "elements": "dict", "required": True, "options": ARRAY_SPEC},
            "serial": {"type": "str", "required": True},
            "new_serial": {"type": "str", "required": True},
            "new_id": {"type": "str"},
            "wipe": {"type": "list", "elements": "dict", "default": [], "options": WIPE_SPEC},
            "wait_seconds": {"type": "int", "default": 0},
            "until_percent": {"type": "float", "default": 100.0},
        },
        supports_check_mode=True,
    )
    serial, new_serial, runner = module.params["serial"], module.params["new_serial"], Runner(module)
    array, live = find_running(module, runner)
    listing = look.listing(runner, live.there())
    serials = {path: str(entry.get("serial") or "") for path, entry in listing.items()}
    path, name = find_new(module, dict(listing))
    consents = frozenset(item["serial"] for item in module.params["wipe"])
    joined = replace.member_with(live, serials, new_serial)
    empty = None if joined else device_of_new(module, runner, array, live, dict(listing), path)
    if empty:
        # A partition that is yet to be made is in no listing.
        serials[empty.path] = new_serial
    done: list[Action] = []
    idle, end = 0, time.monotonic() + module.params["wait_seconds"]
    while True:
        fresh = replace.member_with(live, serials, new_serial)
        plan = replace.plan(array, live, serials, serial, new_serial, None if fresh else empty, consents)
        again = [step.action.line() for step in plan.steps if step.action in done]
        if plan.errors or again:
            told = plan.errors or [f"'{again[0]}' had no effect; see mdadm --detail /dev/md/{array['name']} and the kernel's log"]
            begin = "" if done else "No disk was changed. "
            module.fail_json(msg=f"{begin}array '{array['name']}': " + ". ".join(told), errors=told, actions=[a.data() for a in done])
        percent = replace.percent_of(live, plan.done)
        if module.check_mode:
            done = [step.action for step in [*plan.steps, *plan.later]]
            break
        if plan.steps:
            try:
                md_host.carry_out(runner, plan.steps)
            except OSError as error:
                module.fail_json(msg=f"A device is in use or gone since it was looked at, and was not wiped: {error}")
            done += [step.action for step in plan.steps]
        elif plan.done or time.monotonic() >= end or percent >= module.params["until_percent"]:
            break
        else:
            idle = 0 if live.sync else idle + 1
            if idle > IDLE_POLLS:
                told = [f"the kernel does not begin to fill {path} (serial {new_serial})",
                        why_frozen(live) or f"See mdadm --detail /dev/md/{array['name']} and the kernel's log"]
                module.fail_json(msg=f"array '{array['name']}': " + ". ".join(told), actions=[a.data() for a in done])
            time.sleep(POLL_SECONDS)
        live = md_host.read_live(live.kernel) or live
    if idle and not plan.done and (told_frozen := why_frozen(live)):
        module.warn(f"array '{array['name']}': {told_frozen}")
    if plan.done and live.missing:
        module.warn(f"array '{array['name']}': the new disk holds everything, but /dev/md/{array['name']} lacks {live.missing} of its"
                    " members still: replace the next disk")
    size = round(int(listing[path].get("size") or 0) / 2**30, 2)
    new = {"id": name, "serial": new_serial, "size_gib": size}
    lines = replace.inventory_lines(module.params["host"], array, serial, new, live, serials)
    module.exit_json(**outcome(done), array=array["name"], done=plan.done, percent=percent, whole=not live.missing, inventory=lines)


if __name__ == "__main__":
    main()
