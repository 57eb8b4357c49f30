#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: xl_move_settle
short_description: Put in order what a move left on a host
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Carries out the steps of a verdict (P(xenfold.consolidation.moves_judged#filter)), and removes links and configurations of guests that
    have moved away.
  - Looks at each domain once more, and does nothing with one that is not what it was judged to be.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  steps:
    description: Steps, in order.
    type: list
    elements: dict
    default: []
    suboptions:
      guest:
        description: Name of the guest.
        type: str
        required: true
      verb:
        description: V(destroy) ends a domain, V(rename) gives it its name back, V(resume) lets it run again.
        type: str
        required: true
      domid:
        description: Number of the domain.
        type: int
        required: true
      uuid:
        description: UUID that it must have.
        type: str
        required: true
      name:
        description: Name that it must have.
        type: str
        required: true
      new_name:
        description: Name that it gets.
        type: str
        default: ""
      never_ran:
        description: Whether it must be one that never ran.
        type: bool
        required: true
      first:
        description: Whether it comes before what is to be done on other hosts.
        type: bool
        default: false
  forget:
    description: Guests that run elsewhere now, whose links and configurations go from this host.
    type: list
    elements: str
    default: []
  wait_seconds:
    description: How long a domain may take to be gone, or to run.
    type: int
    default: 60
  config_dir:
    description: Directory of the configurations, as C(NAME.cfg).
    type: str
    default: /etc/xen/guests
  autostart_dir:
    description: Directory of the autostart links, as C(NN-NAME).
    type: str
    default: /etc/xen/auto
"""

EXAMPLES = r"""
- name: Destroy what is left of a guest that has moved
  xenfold.consolidation.xl_move_settle:
    steps:
      - {guest: web01, verb: destroy, domid: 3, uuid: da50373d-2b50-512e-9b50-b7b4cc11831f, name: web01--migratedaway, never_ran: false}
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import names, settle, units
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

STEP_SPEC = {
    "guest": {"type": "str", "required": True},
    "verb": {"type": "str", "required": True},
    "domid": {"type": "int", "required": True},
    "uuid": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "new_name": {"type": "str", "default": ""},
    "never_ran": {"type": "bool", "required": True},
    "first": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "steps": {"type": "list", "elements": "dict", "default": [], "options": STEP_SPEC},
            "forget": {"type": "list", "elements": "str", "default": []},
            "wait_seconds": {"type": "int", "default": 60},
            "config_dir": {"type": "str", "default": "/etc/xen/guests"},
            "autostart_dir": {"type": "str", "default": "/etc/xen/auto"},
        },
        supports_check_mode=True,
    )
    options = module.params
    guests = [*options["forget"], *(step["guest"] for step in options["steps"])]
    errors = settle.check(options["steps"]) + [line for guest in guests for line in names.check("guest", guest)]
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    places = units.Places(config_dir=options["config_dir"], autostart_dir=options["autostart_dir"])
    forget = settle.forgotten(options["forget"], places)
    result = outcome(settle.actions(options["steps"], forget))
    if not module.check_mode:
        try:
            settle.carry_out(Runner(module), options["steps"], forget, options["wait_seconds"])
        except (ValueError, settle.SettleError) as error:
            module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
