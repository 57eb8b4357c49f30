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
    some of its members is left as it is; a warning names the disks and what to do. Level and number of members are not changed.
  - Writes the arrays into C(mdadm.conf) by UUID and brings the initramfs images up to date, also after a run that was cut off.
  - Installs the package C(mdadm) where it is missing.
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

import platform
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    BrokenBlock,
    WantedFile,
    file_diff,
    read_texts,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import host as md_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import ARRAY_SPEC, WIPE_SPEC, check_storage, check_wipe


def plan_arrays(module: AnsibleModule, runner: Runner, arrays: list[dict[str, Any]]) -> md.Plan:
    """Look at every disk and plan; ends the module before any change when one may not be used."""
    known = md.known_arrays(runner.read(["mdadm", "--detail", "--scan"]).out) if runner.tool("mdadm") else {}
    consents = frozenset(item["serial"] for item in module.params["wipe"])
    plan = md.plan(module.params["host"], platform.node(), arrays, md_host.find_disks(runner, arrays), known, consents)
    if plan.errors:
        module.fail_json(msg="No disk was changed. " + ". ".join(plan.errors), errors=plan.errors)
    return plan


def configuration(module: AnsibleModule, uuids: dict[str, str]) -> tuple[WantedFile, dict[str, str | None]]:
    """mdadm.conf as it must be, and as it is; ends the module when the marks of our block there are not one pair."""
    texts = read_texts([md.CONFIGURATION])
    try:
        text = md.configuration(texts[md.CONFIGURATION] or "", uuids)
    except BrokenBlock as error:
        module.fail_json(msg=f"No disk was changed. {md.CONFIGURATION}: {error}", errors=[f"{md.CONFIGURATION}: {error}"])
    return WantedFile(md.CONFIGURATION, text), texts


def warn_of_lacking(module: AnsibleModule, arrays: list[dict[str, Any]], found: list[dict[str, Any]], plan: md.Plan) -> None:
    """Say of each array that runs without some of its members what is wrong with it. One made just now is still being filled."""
    made = {step.device for step in plan.steps if step.action.verb == "create"}
    for array, now in zip(arrays, found, strict=True):
        if array["name"] in plan.lacking:
            module.warn(plan.lacking[array["name"]])
        elif now["missing_members"] and now["device"] not in made:
            module.warn(md.lacks_unseen(array["name"], now["missing_members"], now["resync"], array["members"]))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "arrays": {"type": "list", "elements": "dict", "required": True, "options": ARRAY_SPEC},
            "host": {"type": "str", "required": True},
            "wipe": {"type": "list", "elements": "dict", "default": [], "options": WIPE_SPEC},
        },
        supports_check_mode=True,
    )
    arrays = module.params["arrays"]
    errors = check_storage(arrays, []) + check_wipe(module.params["wipe"], arrays)
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    if not arrays:
        module.exit_json(**outcome([]), arrays=[])

    runner = Runner(module)
    absent = packages.missing(runner, ["mdadm"])
    plan = plan_arrays(module, runner, arrays)
    actions = [Action("install", f"package {name}") for name in absent]
    conf, texts = configuration(module, plan.uuids)
    if absent and not module.check_mode:
        packages.install(runner, absent)
        # mdadm sees more than blkid does, and its package may have started arrays.
        plan = plan_arrays(module, runner, arrays)
        conf, texts = configuration(module, plan.uuids)
    write = texts[conf.path] != conf.content
    refresh = runner.tool("update-initramfs") and (write or bool(md_host.old_images(Path("/boot"), Path(conf.path))))
    # The file comes first: the UUIDs are known, and an array gets its name from it whenever it appears.
    actions += [Action("write", f"file {conf.path}")] if write else []
    actions += [step.action for step in plan.steps]
    actions += [Action("update", "initramfs", "so that the arrays come up under their names")] if refresh else []
    result = outcome(actions)
    result["diff"] = [result["diff"], *([file_diff(conf, texts)] if write else [])]
    if not module.check_mode:
        if write:
            write_atomically(conf)
        try:
            md_host.carry_out(runner, plan.steps)
        except OSError as error:
            module.fail_json(msg=f"A device is in use or gone since it was looked at, and was not wiped: {error}")
        if refresh:
            runner.change(["update-initramfs", "-u", "-k", "all"])
    found = md_host.describe(arrays, plan.uuids)
    lost = [array["device"] for array in found if array["state"] == "absent"]
    if lost and not module.check_mode:
        module.fail_json(msg=f"{', '.join(lost)} did not appear; see mdadm --detail --scan and the kernel's log", arrays=found)
    warn_of_lacking(module, arrays, found, plan)
    module.exit_json(**result, arrays=found)


if __name__ == "__main__":
    main()
