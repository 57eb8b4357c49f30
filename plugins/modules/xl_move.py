#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: xl_move
short_description: Move guests from this host to others, live or with their disks
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Begins each move as a unit of systemd of its own, C(xenfold-move-GUEST), with a journal and a log in O(state_dir), and waits for all.
    They go on when the controller is gone; a later call waits for what is under way instead of beginning it again.
  - When xl says that a guest has arrived, its autostart link and its stored configuration go from this host at once.
  - A guest with O(moves[].volumes) moves with them - they are copied while it runs, it is shut down, what differs is copied, all is
    compared, and the volumes here get the names under which they are kept, C(NAME.moved). Whatever fails before that starts it here again.
    It is shut down only while a controller waits for it.
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
      volumes:
        description: Volumes of a guest that moves with its disks, which M(xenfold.consolidation.volume_settle) has made there.
        type: list
        elements: dict
        default: []
        suboptions:
          volume_group:
            description: Volume group, here and there.
            type: str
            required: true
          name:
            description: Name.
            type: str
            required: true
          size_bytes:
            description: Size in bytes.
            type: int
            required: true
          fresh:
            description: Whether the one there was made just now, so that there is nothing to compare with.
            type: bool
            default: false
      mibps:
        description: Most MiB of disks that are read in a second while the guest runs; 0 for no limit. While it is down there is none.
        type: int
        default: 0
      shutdown_seconds:
        description: How long it may take to shut down; then it is left running, and its move fails.
        type: int
        default: 300
  looked:
    description: RV(looks) of the call before. With it, the call ends as soon as there is something new to tell of copies.
    type: dict
  consents:
    description:
      - Guests that may be shut down to move with their disks, as a list or a text, V(all) for all; without it all that are under way.
      - While one is under way that it does not name, this call gives no sign of life, so that none is shut down or handed over.
    type: raw
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
looks:
  description: How far the copies of disks are that are under way, by guest, in steps of ten percent of each pass.
  returned: success
  type: dict
  sample: {web01: first 3}
progress:
  description: The same in bytes - pass, done_bytes, total_bytes, sent_bytes.
  returned: success
  type: dict
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

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import names, offline, processes, trust, units, volumes
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

MOVE_SPEC = {
    "step": {"type": "int", "required": True},
    "guest": {"type": "str", "required": True},
    "uuid": {"type": "str", "required": True},
    "to": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 22},
    "volumes": {"type": "list", "elements": "dict", "default": [], "options": {
        "volume_group": {"type": "str", "required": True}, "name": {"type": "str", "required": True},
        "size_bytes": {"type": "int", "required": True}, "fresh": {"type": "bool", "default": False}}},
    "mibps": {"type": "int", "default": 0},
    "shutdown_seconds": {"type": "int", "default": 300},
}


def check_volumes(move: dict[str, Any]) -> list[str]:
    """What is wrong with the part of a move that is about disks."""
    errors = [line for volume in move["volumes"] for line in volumes.check_step(
        {**volume, "verb": "make", "guest": move["guest"], "peer": move["to"]})]
    for key, least in (("mibps", 0), ("shutdown_seconds", 1)):
        if move[key] < least:
            errors.append(f"move of {move['guest']!r}: {key}: value {move[key]}, allowed {least} or more")
    return errors


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "moves": {"type": "list", "elements": "dict", "default": [], "options": MOVE_SPEC},
            "looked": {"type": "dict"},
            "consents": {"type": "raw"},
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
    errors += [line for move in moves for line in (*names.check_move(move), *check_volumes(move))]
    if options["at_once"] < 1:
        errors.append(f"at_once: value {options['at_once']}, allowed 1 or more")
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    places = units.Places(options["key_dir"], options["state_dir"], options["config_dir"], options["autostart_dir"])
    moving, _receiving = processes.look()
    journals = {guest: units.read_journal(places, guest) for guest in {*moving, *(move["guest"] for move in moves)}}
    try:
        found = units.plan(moves, options["run"], options["host"], places, moving, journals)
    except ValueError as error:
        module.fail_json(msg=str(error))
    under_way = found.wait
    if not module.check_mode:
        silent = any(journal and journal.get("kind") == units.OFFLINE and not offline.allows(options["consents"], guest)
                     for guest, journal in journals.items() if guest in moving) if options["consents"] is not None else False

        watch = processes.Watch()

        def alive(guests: Sequence[str]) -> list[str]:
            if not silent:
                units.sign_of_life(places)
            return watch.under_way(guests)

        if not silent:
            units.sign_of_life(places)
        under_way = units.carry_out(
            Runner(module), found, places, options["at_once"], options["wait_seconds"], alive, options["looked"])
    result = outcome(found.actions())
    # A call that only waits on belongs to the change that an earlier one has begun.
    result["changed"] = result["changed"] or bool(found.over) or any(
        (journals.get(guest) or {}).get("run") == options["run"] for guest in found.wait)
    guests = sorted({*found.over, *found.wait, *(journal["guest"] for journal in found.start)} - set(under_way))
    module.exit_json(**result, moves=[] if module.check_mode else [units.told(places, guest) for guest in guests], under_way=under_way,
                     looks=units.looks(places, under_way), progress={guest: units.progress(places, guest) for guest in under_way})


if __name__ == "__main__":
    main()
