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
  - An array is created only on disks that hold nothing; other disks are refused and named, unless O(wipe) names their serial.
  - An array whose disks all carry its UUID is assembled when it does not run, and left alone otherwise. A set of which only a part
    belongs to the array is refused.
  - Writes the arrays into C(mdadm.conf) by UUID and brings the initramfs up to date.
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
uuids:
  description: UUID of each array.
  returned: always
  type: dict
  sample: {guests: "01234567:89abcdef:01234567:89abcdef"}
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, file_diff, read_texts, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import ARRAY_SPEC, check_storage

_BY_ID = "/dev/disk/by-id"


def initramfs_is_old() -> bool:
    """Whether an initramfs was made before mdadm.conf was written: a run was cut off between the two."""
    written = Path(md.CONFIGURATION)
    return written.exists() and any(
        image.stat().st_mtime < written.stat().st_mtime for image in Path("/boot").glob("initrd.img-*")
    )


def find_disks(runner: Runner, arrays: list[dict]) -> dict[str, look.Disk | None]:
    """Member id -> its disk, None where there is no such disk."""
    ids = [member["id"] for array in arrays for member in array["members"]]
    paths = {name: os.path.realpath(f"{_BY_ID}/{name}") for name in ids if os.path.exists(f"{_BY_ID}/{name}")}
    disks = look.look(runner, sorted(set(paths.values()))) if paths else {}
    return {name: disks.get(paths.get(name, "")) for name in ids}


def main() -> None:
    consent = {"serial": {"type": "str", "required": True}, "confirm": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "arrays": {"type": "list", "elements": "dict", "required": True, "options": ARRAY_SPEC},
            "host": {"type": "str", "required": True},
            "wipe": {"type": "list", "elements": "dict", "default": [], "options": consent},
        },
        supports_check_mode=True,
    )
    arrays, wipe = module.params["arrays"], module.params["wipe"]
    errors = check_storage(arrays, [])
    errors += [f"wipe: serial {item['serial']}: confirm is {item['confirm']!r}; allowed is the same serial again"
               for item in wipe if item["serial"] != item["confirm"]]
    if errors:
        module.fail_json(msg="; ".join(errors))

    runner = Runner(module)
    absent = packages.missing(runner, ["mdadm"])
    running = md.running_arrays(runner.read(["mdadm", "--detail", "--scan"]).out) if runner.tool("mdadm") else {}
    disks = find_disks(runner, arrays)
    plan = md.plan(module.params["host"], arrays, disks, running, {item["serial"]: item["confirm"] for item in wipe})
    if plan.errors:
        module.fail_json(msg="Nothing was changed. " + ". ".join(plan.errors), errors=plan.errors)

    texts = read_texts([md.CONFIGURATION])
    old = texts[md.CONFIGURATION] or ""
    conf = WantedFile(md.CONFIGURATION, md.configuration(old, plan.uuids) if arrays else old)
    write = bool(arrays) and conf.content != old
    refresh = bool(arrays) and (write or initramfs_is_old())
    actions = [Action("install", f"package {name}") for name in absent] + [step.action for step in plan.steps]
    actions += [Action("write", f"file {conf.path}")] if write else []
    actions += [Action("update", "initramfs", "so that the arrays come up under their names")] if refresh else []
    result = outcome(actions) | {"uuids": plan.uuids}
    result["diff"] = [result["diff"], *([file_diff(conf, texts)] if write else [])]
    if not module.check_mode:
        if absent:
            packages.install(runner, absent)
            if write:
                # The package has brought a file of its own, which is kept around our block.
                conf = WantedFile(conf.path, md.configuration(read_texts([conf.path])[conf.path] or "", plan.uuids))
        for step in plan.steps:
            for command in step.commands:
                runner.change(command)
        if plan.steps:
            runner.change(["udevadm", "settle"])
        if write:
            write_atomically(conf)
        if refresh:
            runner.change(["update-initramfs", "-u"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
