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
  - A group of the wanted name that lies on devices which O(volume_groups) does not name is not extended.
  - With O(grow), the physical volume on an array that has grown becomes as large as the array.
  - Data of a new physical volume begins at a full stripe of the array below it.
  - A device joins a group only when it is provably empty. Signatures that an earlier volume left are wiped from new volumes only.
  - In check mode it plans against what will be there, also on a host whose arrays or whose LVM do not exist yet. A group
    that is not there and is not in O(volume_groups) is a warning then, since an earlier step of the run may bring it; so is room that
    is missing in a group on an array which O(grow) names.
  - Keeps LVM of the host out of the volumes of O(volume_groups) by C(lvmlocal.conf), since they hold guests' disks, and asks
    C(lvmconfig) whether that holds.
  - Installs the package C(lvm2) where it is missing.
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
  guest_targets:
    description: Names of iSCSI targets whose disks are guests', as whole ones; the host's LVM keeps out of them.
    type: list
    elements: str
    default: []
  grow:
    description: Arrays whose growth a volume group on them may use, as for M(xenfold.consolidation.md_array).
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
volumes:
  description: The volumes of the call, with their stable devices and the size that whole extents give.
  returned: success
  type: list
  elements: dict
  sample: [{name: web01-root, volume_group: vg_guests, device: /dev/vg_guests/web01-root, size_mib: 20480}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    BrokenBlock,
    WantedFile,
    file_diff,
    read_texts,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.iscsi.targets import check_names
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import host as lvm_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import (
    GROW_SPEC,
    VOLUME_GROUP_SPEC,
    VOLUME_SPEC,
    check_grow,
    check_volume_groups,
    check_volumes,
)


def plan_volumes(module: AnsibleModule, runner: Runner, groups: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> lvm.Plan:
    """Read what is there and plan; ends the module before any change when something may not be done."""
    present = lvm_host.read(runner)
    devices = {device: look.resolve(device) for device in sorted({device for group in groups for device in group["devices"]})}
    disks = look.look(runner, (real for real in devices.values() if real and not present.owners.get(real)))
    grow = frozenset(item["array"] for item in module.params["grow"])
    plan = lvm.plan(groups, volumes, present, devices, disks, lvm_host.stripes(disks), grow)
    if module.check_mode:
        for line in plan.not_yet:
            module.warn(f"{line}; the run itself has to bring it")
    else:
        plan.errors += plan.not_yet
        plan.errors += [f"volume groups: device {device} does not exist on this host" for device, real in devices.items() if not real]
    if plan.errors:
        module.fail_json(msg="No volume was changed. " + ". ".join(plan.errors), errors=plan.errors)
    return plan


def plan_filter(module: AnsibleModule, names: list[str], targets: list[str]) -> tuple[WantedFile, lvm.Filter, dict[str, str | None]]:
    """lvmlocal.conf as it must be and as it is; ends the module when it cannot be that."""
    texts = read_texts([lvm.MAIN_FILE, lvm.FILTER_FILE])
    try:
        wanted = lvm.host_filter(texts[lvm.MAIN_FILE] or "", texts[lvm.FILTER_FILE] or "", names, targets)
    except BrokenBlock as error:
        module.fail_json(msg=f"No volume was changed. {lvm.FILTER_FILE}: {error}", errors=[f"{lvm.FILTER_FILE}: {error}"])
    if wanted.errors:
        module.fail_json(msg="No volume was changed. " + ". ".join(wanted.errors), errors=wanted.errors)
    return WantedFile(lvm.FILTER_FILE, wanted.content), wanted, texts


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "volume_groups": {"type": "list", "elements": "dict", "default": [], "options": VOLUME_GROUP_SPEC},
            "volumes": {"type": "list", "elements": "dict", "default": [], "options": VOLUME_SPEC},
            "guest_targets": {"type": "list", "elements": "str", "default": []},
            "grow": {"type": "list", "elements": "dict", "default": [], "options": GROW_SPEC},
        },
        supports_check_mode=True,
    )
    groups, volumes = module.params["volume_groups"], module.params["volumes"]
    errors = check_volume_groups(groups) + check_volumes(volumes) + check_grow(module.params["grow"])
    targets = module.params["guest_targets"]
    errors += [f"guest_targets: {error}" for error in check_names(targets)]
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    if not groups and not volumes and not targets:
        module.exit_json(**outcome([]), volumes=[])

    runner = Runner(module)
    names = [group["name"] for group in groups]
    # Volumes alone need a group, and with it LVM, to be there.
    filters = bool(groups or targets)
    absent = packages.missing(runner, ["lvm2"]) if filters else []
    plan = plan_volumes(module, runner, groups, volumes)
    actions = [Action("install", f"package {name}") for name in absent]
    # A call for volumes alone, as the guests' role makes it, leaves the filter as it is.
    file, wanted, texts = plan_filter(module, names, targets) if filters else (None, None, {})
    if absent and not module.check_mode:
        packages.install(runner, absent)
        # LVM sees more than blkid does, and its package may have found groups.
        plan = plan_volumes(module, runner, groups, volumes)
        file, wanted, texts = plan_filter(module, names, targets)
    write = file if file and texts[file.path] != file.content else None
    actions += ([Action("write", f"file {write.path}")] if write else []) + plan.actions
    result = outcome(actions)
    result["diff"] = [result["diff"], *([file_diff(write, texts)] if write else [])]
    if not module.check_mode:
        if write:
            write_atomically(write)
        if wanted:
            lvm_host.verify_filter(module, runner, wanted.patterns)
        for command in plan.commands:
            runner.change(command)
    for note in plan.notes:
        module.warn(note)
    module.exit_json(**result, volumes=plan.volumes)


if __name__ == "__main__":
    main()
