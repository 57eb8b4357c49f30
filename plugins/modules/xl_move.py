#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: xl_move
short_description: Move guests live from this host to others
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Begins each move as a unit of systemd of its own, C(xenfold-move-GUEST), with a journal and a log in O(state_dir), and waits for all.
    They go on when the controller is gone; a later call waits for what is under way instead of beginning it again.
  - When xl says that a guest has arrived, its autostart link and its stored configuration go from this host at once.
  - Does not judge a move that failed; M(xenfold.consolidation.xl_move_info) on both hosts tells what became of it.
  - Needs what M(xenfold.consolidation.migration) brings. Moves that are under way here are waited for also when they are not in O(moves).
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  host:
    description: Name of this host.
    type: str
    required: true
  run:
    description: Id of the run. A step that has ended in the same run is not begun again.
    type: str
    required: true
  moves:
    description: Moves of one wave.
    type: list
    elements: dict
    default: []
    suboptions:
      step:
        description: Number of the step in the plan.
        type: int
        required: true
      guest:
        description: Name of the guest.
        type: str
        required: true
      uuid:
        description: Its UUID.
        type: str
        required: true
      to:
        description: Name of the host to which it goes.
        type: str
        required: true
      address:
        description: Address of that host.
        type: str
        required: true
      port:
        description: Port of its SSH server.
        type: int
        default: 22
  at_once:
    description: How many guests may leave at the same time.
    type: int
    default: 2
  wait_seconds:
    description: How long to wait at most. What is under way then is returned in RV(under_way), and another call waits on.
    type: int
    default: 600
  key_dir:
    description: Directory of key and known hosts.
    type: str
    default: /etc/xenfold/migration
  state_dir:
    description: Directory of journals and logs.
    type: str
    default: /var/lib/xenfold/moves
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
- name: Move web01 to xen02
  xenfold.consolidation.xl_move:
    host: xen01
    run: 20261129T164305-1a2b
    moves:
      - {step: 1, guest: web01, uuid: da50373d-2b50-512e-9b50-b7b4cc11831f, to: xen02, address: 10.9.0.2}
"""

RETURN = r"""
moves:
  description: How the moves ended, those of O(moves) and those that were waited for; code is null for one whose unit was killed.
  returned: success
  type: list
  elements: dict
  sample: [{guest: web01, step: 1, to: xen02, code: 0, seconds: 64.2, lines: [Migration successful.]}]
under_way:
  description: Guests whose moves have not ended, or not begun, in the time.
  returned: success
  type: list
  elements: str
actions:
  description: What was or would be begun.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import facts, names, trust, units
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

MOVE_SPEC = {
    "step": {"type": "int", "required": True},
    "guest": {"type": "str", "required": True},
    "uuid": {"type": "str", "required": True},
    "to": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 22},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "moves": {"type": "list", "elements": "dict", "default": [], "options": MOVE_SPEC},
            "at_once": {"type": "int", "default": 2},
            "wait_seconds": {"type": "int", "default": 600},
            "key_dir": {"type": "str", "default": trust.KEY_DIR, "no_log": False},
            "state_dir": {"type": "str", "default": units.STATE_DIR},
            "config_dir": {"type": "str", "default": "/etc/xen/guests"},
            "autostart_dir": {"type": "str", "default": "/etc/xen/auto"},
        },
        supports_check_mode=True,
    )
    options, moves = module.params, module.params["moves"]
    errors = [*names.check("host", options["host"]), *names.check("run", options["run"])]
    errors += [line for move in moves for line in names.check_move(move)]
    if options["at_once"] < 1:
        errors.append(f"at_once: value {options['at_once']}, allowed 1 or more")
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    places = units.Places(options["key_dir"], options["state_dir"], options["config_dir"], options["autostart_dir"])
    moving, _receiving = facts.processes()
    journals = {guest: units.read_journal(places, guest) for guest in {*moving, *(move["guest"] for move in moves)}}
    try:
        found = units.plan(moves, options["run"], options["host"], places, moving, journals)
    except ValueError as error:
        module.fail_json(msg=str(error))
    under_way = found.wait
    if not module.check_mode:
        under_way = units.carry_out(
            Runner(module), found, places, options["at_once"], options["wait_seconds"], lambda: facts.processes()[0])
    result = outcome(found.actions())
    # A call that only waits on belongs to the change that an earlier one has begun.
    result["changed"] = result["changed"] or bool(found.over) or any(
        (journals.get(guest) or {}).get("run") == options["run"] for guest in found.wait)
    guests = sorted({*found.over, *found.wait, *(journal["guest"] for journal in found.start)} - set(under_way))
    module.exit_json(**result, moves=[] if module.check_mode else [units.told(places, guest) for guest in guests], under_way=under_way)


if __name__ == "__main__":
    main()
