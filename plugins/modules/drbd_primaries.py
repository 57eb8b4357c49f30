#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: drbd_primaries
short_description: Let both copies of replicated disks be written while their guests move live, and one alone else
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - While a guest moves, the source has its disks until the moment in which the target has them. For that DRBD has to be told, on both
    hosts, that both copies may be primary. This module tells it for the resources of O(allow), and takes it back for all others of
    M(xenfold.consolidation.drbd_resources).
  - Nothing is allowed for a resource whose copies are not both up to date and connected, and nothing taken back from one of which both are
    primary now, which is told.
  - The file of a resource says that one copy alone is written, so a start of the host takes it back as well.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  allow:
    description: Names of resources.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Let db01 move
  xenfold.consolidation.drbd_primaries:
    allow: [db01-root]

- name: Its move is over
  xenfold.consolidation.drbd_primaries:
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: success
  type: list
  elements: dict
  sample: [{verb: allow, target: resource db01-root, detail: two primaries}]
both:
  description: Resources of which both copies are primary, so that it was not taken back.
  returned: success
  type: list
  elements: str
  sample: []
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import plan, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

_CLOSING_SECONDS = 20
_SAYS = {"allow": "yes", "forbid": "no"}


def main() -> None:
    module = AnsibleModule(argument_spec={"allow": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True)
    runner = Runner(module)
    found = state.read(runner)
    end = time.monotonic() + _CLOSING_SECONDS
    # The host that a guest has left closes its disk a moment after the guest works elsewhere.
    while plan.forbid(found, module.params["allow"])[1] and not module.check_mode and time.monotonic() < end:
        time.sleep(1)
        found = state.read(runner)
    allowed, errors = plan.allow(module.params["allow"], found)
    if errors:
        module.fail_json(msg="No disk may be written by two hosts: " + "; ".join(errors), errors=errors)
    taken, both = plan.forbid(found, module.params["allow"])
    actions = [Action(verb, f"resource {name}", "two primaries") for verb, listed in (("allow", allowed), ("forbid", taken))
               for name in listed]
    if not module.check_mode:
        for action in actions:
            name = action.target.removeprefix("resource ")
            runner.change(["drbdadm", "net-options", f"--allow-two-primaries={_SAYS[action.verb]}", name])
    for name in both:
        module.warn(f"resource {name}: both copies are primary, so it stays as it is")
    module.exit_json(**outcome(actions), both=both)


if __name__ == "__main__":
    main()
