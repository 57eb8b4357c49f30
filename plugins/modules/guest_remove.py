#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: guest_remove
short_description: Take guests off a Xen host, and keep their volumes for a while
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Stops the guests of O(remove), takes away their autostart links and configurations, and gives their volumes the name C(NAME.removed)
    with a tag that says the day.
  - Removes the volumes of guests of O(purge) for good that were put aside O(keep_days) ago or longer. Refuses earlier, and while anything
    has one in use, one has a snapshot, or a guest of that name runs.
  - A guest's volumes are those of its stored configuration or its running domain whose names begin with the guest's name and C(-), its
    replicated ones, and the seeds of its first boot, C(NAME-seed-) and eight hexadecimal digits, which may hold passwords. No other is
    touched, nor one that another guest has, too, or that is called like a disk of another guest of O(planned).
  - Names of O(planned) are refused. Names that the host knows nothing of are left to other hosts.
  - A guest that does not shut down in O(stop_seconds) is left running, and told in RV(pending), unless O(force) names it.
  - A guest that is on another host, too, is left as it is; so are all while a host could not be asked.
  - What a run that was cut off has left is finished by the next.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  remove:
    description: Guests that are to go.
    type: list
    elements: str
    default: []
  purge:
    description: Guests that were removed, whose volumes are removed for good.
    type: list
    elements: str
    default: []
  force:
    description: Guests of O(remove) that are destroyed when they do not shut down, or cannot be asked to.
    type: list
    elements: str
    default: []
  planned:
    description: Guests that the estate has, which are neither removed nor purged.
    type: list
    elements: str
    default: []
  keep_days:
    description: How many days volumes are kept that were put aside, 0 to 36500.
    type: int
    default: 14
  elsewhere:
    description: What the other hosts have, as host -> guests -> state, as M(xenfold.consolidation.xl_guest_info) returns it.
    type: dict
    default: {}
  unasked:
    description: Hosts that could not be asked.
    type: list
    elements: str
    default: []
  config_dir:
    description: Directory of the configurations, as C(NAME.cfg).
    type: str
    default: /etc/xen/guests
  autostart_dir:
    description: Directory of the autostart links, as C(NN-NAME).
    type: str
    default: /etc/xen/auto
  stop_seconds:
    description: How long a guest may take to shut down.
    type: int
    default: 300
  wait_seconds:
    description: How long to wait until a guest that has shut down is gone.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Take a guest off this host
  xenfold.consolidation.guest_remove:
    remove: [old01]
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample:
    - {verb: stop, target: guest old01, detail: "domain 7, running"}
    - {verb: rename, target: volume vg_guests/old01-root, detail: to vg_guests/old01-root.removed}
pending:
  description: Guests that were left as they are, and what that needs.
  returned: always
  type: list
  elements: dict
  sample: [{guest: old01, key: state, running: paused, wanted: removed, needs: a decision, by: remove_force}]
"""

import datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.removal import apply, plan
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.plan import Others
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import GuestError

_MOST_DAYS = 36500


def today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def check(options: dict[str, Any]) -> list[str]:
    errors = plan.check_names(options, options["planned"])
    errors += [f"{key}: value {options[key]}, allowed {least} or more" for key, least in
               (("stop_seconds", 1), ("wait_seconds", 0)) if options[key] < least]
    if not 0 <= options["keep_days"] <= _MOST_DAYS:
        errors.append(f"keep_days: value {options['keep_days']}, allowed 0 to {_MOST_DAYS}")
    return errors + [f"elsewhere: {host}: value {there!r}, allowed a mapping of guests to their states"
                     for host, there in options["elsewhere"].items() if not isinstance(there, dict)]


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "remove": names, "purge": names, "force": names, "planned": names, "unasked": names,
            "keep_days": {"type": "int", "default": 14},
            "elsewhere": {"type": "dict", "default": {}},
            "config_dir": {"type": "str", "default": "/etc/xen/guests"},
            "autostart_dir": {"type": "str", "default": "/etc/xen/auto"},
            "stop_seconds": {"type": "int", "default": 300},
            "wait_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options = module.params
    errors = check(options)
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    runner = Runner(module)
    xl, day = Xl(runner), today()
    result: dict[str, Any] = {}
    try:
        host = apply.read(runner, xl, options["config_dir"], options["autostart_dir"])
        others = Others.of(options["elsewhere"], options["unasked"])
        steps = plan.steps(options["remove"], options["purge"], options["force"], host, others, day, options["keep_days"],
                           options["planned"])
        result = outcome(steps.actions())
        if steps.errors:
            module.fail_json(msg="No guest was removed: " + "; ".join(steps.errors), errors=steps.errors, **(result | {"changed": False}))
        pending = list(steps.pending)
        if not module.check_mode:
            left = apply.carry_out(runner, xl, steps, day, options["force"], options["stop_seconds"], options["wait_seconds"])
            result = outcome(steps.actions({entry.guest for entry in left}))
            pending += left
        result["pending"] = [entry.data() for entry in pending]
        for entry in pending:
            module.warn(entry.line())
    except (ValueError, GuestError, OSError) as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
