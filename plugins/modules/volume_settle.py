#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: volume_settle
short_description: Make, rename and remove volumes of guests that move with their disks
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Carries out steps that filters of moves have decided on, after it has looked once more at names and tags of each volume. A step that is
    done already is none; one whose volume is not as it was judged ends it, before anything is done.
  - A volume that is being filled, C(NAME.coming), and one that a guest has left behind, C(NAME.moved), have names from which no guest
    starts.
  - Removes nothing but what is tagged as left behind by the guest, as being filled for it or as complete, by a step that says which.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  steps:
    description: The steps, in order.
    type: list
    elements: dict
    required: true
    suboptions:
      verb:
        description:
          - C(make) makes a volume that is to be filled, C(refill) takes one that was complete for one to be filled again, C(take) gives it
            its own name, C(demote) takes that back.
          - C(give) keeps a volume of a guest that has gone under another name, C(back) gives it its own again, C(remove) removes it.
        type: str
        required: true
      guest:
        description: Name of the guest.
        type: str
        required: true
      volume_group:
        description: Volume group.
        type: str
        required: true
      name:
        description: Own name of the volume.
        type: str
        required: true
      peer:
        description: The host at the other end of the move.
        type: str
        required: true
      size_bytes:
        description: Size, for C(make).
        type: int
      date:
        description: When it was given away, for C(give), as V(20261129T164305Z).
        type: str
        default: ""
      which:
        description: Which volume of the name goes, for C(remove).
        type: str
        choices: [moved, filling, complete]
        default: moved
      first:
        description: Whether it comes before the steps of the other host; does nothing here.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Make a volume that xen01 is to fill
  xenfold.consolidation.volume_settle:
    steps:
      - {verb: make, guest: web01, volume_group: vg_guests, name: web01-root, peer: xen01, size_bytes: 21474836480}
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: success
  type: list
  elements: dict
  sample: [{verb: create, target: volume vg_guests/web01-root.coming, detail: "20 GiB, to be filled by xen01"}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm.volumes import rows
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import volumes
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

STEP_SPEC = {
    "verb": {"type": "str", "required": True},
    "guest": {"type": "str", "required": True},
    "volume_group": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "peer": {"type": "str", "required": True},
    "size_bytes": {"type": "int"},
    "date": {"type": "str", "default": ""},
    "which": {"type": "str", "choices": ["moved", "filling", "complete"], "default": "moved"},
    "first": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={"steps": {"type": "list", "elements": "dict", "required": True, "options": STEP_SPEC}},
        supports_check_mode=True,
    )
    steps = module.params["steps"]
    errors = [line for step in steps for line in volumes.check_step(step)]
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    runner = Runner(module)
    try:
        planned = volumes.plan(steps, volumes.parse(rows(runner.read(volumes.REPORT).out, "lv"))) if steps else []
    except volumes.StepError as error:
        module.fail_json(msg=str(error))
    if not module.check_mode:
        for _action, commands in planned:
            for command in commands:
                runner.change(command)
    module.exit_json(**outcome([action for action, _commands in planned]))


if __name__ == "__main__":
    main()
