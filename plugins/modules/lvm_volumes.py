#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: lvm_volumes
short_description: Make the volume groups and volumes of a host, all in one call
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Creates volume groups and volumes, extends groups and grows volumes. Never removes and never shrinks.
  - In check mode it plans against what will be there, also on a host whose arrays or whose LVM do not exist yet.
  - Keeps LVM of the host out of the volumes by C(lvmlocal.conf), since they hold guests' disks.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  volume_groups:
    description: The volume groups of the host.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      devices:
        description: Devices that it lies on, C(/dev/md/NAME) or names under C(/dev/disk/by-id).
        type: list
        elements: str
        required: true
  volumes:
    description: The volumes. Those of the host that are not listed are left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      volume_group:
        description: The volume group.
        type: str
        required: true
      size_gib:
        description: Size in GiB, rounded up to whole extents.
        type: float
        required: true
"""

EXAMPLES = r"""
- name: Make the volumes of the guests
  xenfold.consolidation.lvm_volumes:
    volume_groups:
      - {name: vg_guests, devices: [/dev/md/guests]}
    volumes:
      - {name: web01-root, volume_group: vg_guests, size_gib: 20}
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample: [{verb: create, target: volume vg_guests/web01-root, detail: 20 GiB}]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, file_diff, read_texts, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import (
    VOLUME_GROUP_SPEC,
    VOLUME_SPEC,
    check_storage,
    check_volumes,
)

_REPORT = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o"]


def read(runner: Runner) -> lvm.Present:
    """Ask LVM; a host without it has nothing."""
    if not runner.tool("vgs"):
        return lvm.Present({}, {}, {})
    groups = lvm.rows(runner.read(["vgs", *_REPORT, "vg_name,vg_free,vg_extent_size"]).out, "vg")
    physical = lvm.rows(runner.read(["pvs", *_REPORT, "pv_name,vg_name"]).out, "pv")
    volumes = lvm.rows(runner.read(["lvs", *_REPORT, "vg_name,lv_name,lv_size"]).out, "lv")
    return lvm.Present(
        {row["vg_name"]: (int(row["vg_free"]), int(row["vg_extent_size"])) for row in groups},
        {os.path.realpath(row["pv_name"]): row["vg_name"] for row in physical},
        {f"{row['vg_name']}/{row['lv_name']}": int(row["lv_size"]) for row in volumes},
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "volume_groups": {"type": "list", "elements": "dict", "default": [], "options": VOLUME_GROUP_SPEC},
            "volumes": {"type": "list", "elements": "dict", "default": [], "options": VOLUME_SPEC},
        },
        supports_check_mode=True,
    )
    groups, volumes = module.params["volume_groups"], module.params["volumes"]
    arrays = [{"name": device.removeprefix("/dev/md/"), "level": 0, "members": []}
              for group in groups for device in group["devices"] if device.startswith("/dev/md/")]
    errors = [error for error in check_storage(arrays, groups) if not error.startswith("array ")] + check_volumes(volumes)
    if errors:
        module.fail_json(msg="; ".join(errors))

    runner = Runner(module)
    absent = packages.missing(runner, ["lvm2"])
    present = read(runner)
    wanted = sorted({device for group in groups for device in group["devices"]})
    devices = {device: os.path.realpath(device) if os.path.exists(device) else None for device in wanted}
    strange = sorted({real for real in devices.values() if real and real not in present.owners})
    uses = {path: disk.uses for path, disk in (look.look(runner, strange) if strange else {}).items()}
    plan = lvm.plan(groups, volumes, present, devices, uses)
    missing = [device for device in wanted if devices[device] is None]
    if missing and not module.check_mode:
        plan.errors += [f"volume groups: device {device} does not exist on this host" for device in missing]
    if plan.errors:
        module.fail_json(msg="Nothing was changed. " + ". ".join(plan.errors), errors=plan.errors)

    texts = read_texts([lvm.FILTER_FILE])
    rules = WantedFile(lvm.FILTER_FILE, lvm.filter_text(texts[lvm.FILTER_FILE] or "", [group["name"] for group in groups]))
    write = bool(groups) and texts[rules.path] != rules.content
    actions = [Action("install", f"package {name}") for name in absent]
    actions += ([Action("write", f"file {rules.path}")] if write else []) + plan.actions
    result = outcome(actions)
    result["diff"] = [result["diff"], *([file_diff(rules, texts)] if write else [])]
    if not module.check_mode:
        if absent:
            packages.install(runner, absent)
            if write:
                # The package has brought a file of its own, which is kept around our block.
                text = read_texts([rules.path])[rules.path] or ""
                rules = WantedFile(rules.path, lvm.filter_text(text, [group["name"] for group in groups]))
        if write:
            write_atomically(rules)
        for command in plan.commands:
            runner.change(command)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
