#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: drbd_resources
short_description: Replicate the disks of guests between two hosts, all in one call
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Makes a resource of DRBD 8.4 of every disk with C(drbd_minor) of the guests, on this host and one other. The copies are the volumes of
    the disk on both; what DRBD has to remember lies on a volume of its own, C(NAME.drbd). The volumes have to be there.
  - Both hosts are made in one run, as neither copy counts before both have answered and said that they never had data. The volume of the
    host C(first) is then what the other one becomes a copy of, while the guest works already.
  - Refuses to overwrite a volume with something on it (that blkid knows, or in its first 4 KiB), to replicate a volume that a guest has
    open, and to exchange the volumes of a disk that works.
  - Guests whose disks are not in order are named in RV(held) with the reason, and are not to be started here. Copies that have parted are
    joined again only when DRBD does so without losing anything.
  - A resource whose volumes have grown on both hosts becomes as large. None is removed; M(xenfold.consolidation.guest_remove) does that.
  - The unit C(xenfold-drbd.service) brings the resources up when the host starts, before its guests.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  host:
    description: Name of this host in O(copies).
    type: str
    required: true
  guests:
    description: Guests of which this host has a copy, as M(xenfold.consolidation.xl_guest) takes them. Those without replicated disks count
      for nothing.
    type: list
    elements: dict
    required: true
  copies:
    description: >-
      Guest -> C(hosts), the two hosts with their addresses, and C(first), the one of them that had the disks first; from
      P(xenfold.consolidation.copies_of#filter).
    type: dict
    required: true
  asked:
    description: Hosts that answer, so that a guest does not start with a copy while that of one of them is not heard.
    type: list
    elements: str
    default: []
  new:
    description: Volumes, as C(GROUP/NAME), that this run has made. What an image has filled them with is no data that must not be lost.
    type: list
    elements: str
    default: []
  wait_seconds:
    description: How long the first host of a new disk waits for the other one.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Replicate the disks of db01
  xenfold.consolidation.drbd_resources:
    host: xen01
    guests:
      - {name: db01, memory_mib: 4096, disks: [{name: root, size_gib: 20, volume_group: vg_guests, drbd_minor: 1}]}
    copies:
      db01: {first: xen01, hosts: {xen01: 10.9.0.1, xen02: 10.9.0.2}}
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample:
    - {verb: write, target: file /etc/drbd.d/xenfold-db01-root.res, detail: ""}
    - {verb: create, target: metadata of resource db01-root, detail: on /dev/vg_guests/db01-root.drbd}
    - {verb: start, target: resource db01-root, detail: "with xen02 at 10.9.0.2, port 11001"}
held:
  description: Guest -> why it must not be started here as its disks are, of those that are to run and do not run here.
  returned: success
  type: dict
  sample: {}
resources:
  description: >-
    The resources of this host that are from here: guest, minor, volumes, state and whether both copies may be written now.
  returned: success
  type: dict
  sample:
    db01-root: {guest: db01, minor: 1, volumes: [vg_guests/db01-root, vg_guests/db01-root.drbd], connection: SyncSource, role: Primary,
      peer_role: Secondary, disk: UpToDate, peer_disk: Inconsistent, synced_percent: 12.5, two_primaries: false}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages, systemd
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import host as drbd_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import plan as drbd
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import resources, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, file_diff, read_texts, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import refuse_bad_guests
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import lock
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def checked(options: dict[str, Any]) -> list[resources.Resource]:
    """The resources that are wanted. Raises ValueError."""
    refuse_bad_guests(options["guests"])
    found, errors = resources.of_guests(options["guests"], options["copies"], options["host"], set(options["new"]))
    errors += [f"wait_seconds: value {options['wait_seconds']}, allowed 0 or more"] if options["wait_seconds"] < 0 else []
    if errors:
        raise ValueError("; ".join(errors))
    return found


def _unit(runner: Runner) -> tuple[list[WantedFile], dict[str, str | None], list[Action]]:
    """The unit as it must be, what is there, and whether it has to be enabled and started."""
    wanted = WantedFile(drbd.UNIT_FILE, drbd.UNIT_TEXT)
    texts = read_texts([wanted.path])
    shown = systemd.show(runner, "ActiveState,UnitFileState", drbd.UNIT)[0]
    actions = [Action("enable", f"service {drbd.UNIT}")] if shown.get("UnitFileState") != "enabled" else []
    actions += [Action("start", f"service {drbd.UNIT}")] if shown.get("ActiveState") != "active" else []
    return [wanted] if texts[wanted.path] != wanted.content else [], texts, actions


def _held(
    wanted: list[resources.Resource], host: str, found: state.Found, asked: list[str], fresh: set[str], check: bool,
) -> tuple[dict[str, str], list[str]]:
    """Guests that are not to be started, and what is told of those that run. fresh: names of resources that never had data."""
    held: dict[str, list[str]] = {}
    told = []
    runs = {resource.guest for resource in wanted if found.state(resource.minor).role == state.PRIMARY}
    for resource in wanted:
        there = found.state(resource.minor)
        if not there.up and check:
            continue
        why = drbd.why_held(resource, host, there, asked, resource.name in fresh)
        if why and resource.guest not in runs:
            held.setdefault(resource.guest, []).append(why)
        elif why and there.connection == state.STANDALONE:
            told.append(f"guest {resource.guest!r}: {why}; it goes on with the copy of this host")
    return {guest: "; ".join(lines) for guest, lines in held.items()}, told


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "guests": {"type": "list", "elements": "dict", "required": True},
            "copies": {"type": "dict", "required": True},
            "asked": names, "new": names,
            "wait_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    options, runner = module.params, Runner(module)
    try:
        wanted = checked(options)
    except ValueError as error:
        module.fail_json(msg=str(error))
    if not wanted:
        module.exit_json(**outcome([]), held={}, resources=state.read(runner).data())
    absent = packages.missing(runner, [drbd.PACKAGE])
    if absent and not module.check_mode:
        packages.install(runner, absent)
    found = state.read(runner)
    plan = drbd.plan(wanted, options["host"], found, drbd_host.look(runner, wanted, found))
    if plan.errors:
        module.fail_json(msg="Nothing was replicated: " + "; ".join(plan.errors), errors=plan.errors)
    files, texts, unit = _unit(runner)
    # A move that nobody carries out any more has left it.
    taken = [] if lock.read(lock.PATH) else drbd.forbid(found, ())[0]
    actions = [Action("install", f"package {name}") for name in absent] + [Action("write", f"file {file.path}") for file in files]
    actions += [*plan.actions, *(Action("forbid", f"resource {name}", "two primaries") for name in taken), *unit]
    result = outcome(actions)
    rest = "".join(f"{action.line()}\n" for action in actions if action.verb != "write")
    shown = [file_diff(file, {**texts, **found.texts}) for file in [*files, *plan.files]]
    result["diff"] = shown + ([{"prepared": rest}] if rest else [])
    if not module.check_mode:
        for file in files:
            write_atomically(file)
        if files:
            runner.change(["systemctl", "daemon-reload"])
        waiting = drbd_host.carry_out(runner, plan, options["wait_seconds"])
        for name in sorted(name for verb, name in waiting if verb == "grow"):
            module.warn(f"resource {name}: stays as large as it is, since the volume of the other host has not grown; run this for both")
        done = [action for action in actions if (action.verb, action.target.removeprefix("resource ")) not in waiting]
        result |= {"changed": bool(done), "actions": [action.data() for action in done]}
        for name in taken:
            runner.change(["drbdadm", "net-options", "--allow-two-primaries=no", name])
        for action in unit:
            # Without waiting: it would wait for copies that the other host has yet to bring up.
            runner.change(["systemctl", *(["--no-block"] if action.verb == "start" else []), action.verb, drbd.UNIT])
        found = state.read(runner)
    bare = [resource for resource in wanted if found.state(resource.minor).disk in state.NO_DATA]
    local = drbd_host.look(runner, bare, found)
    fresh = {resource.name for resource in bare if drbd.never_written(found.state(resource.minor), local[resource.name])}
    held, told = _held(wanted, options["host"], found, options["asked"], fresh, module.check_mode)
    # One that is only to be defined is not started in any case.
    for guest in options["guests"]:
        if guest.get("state") == "defined":
            held.pop(guest["name"], None)
    for line in [*told, *(f"guest {guest!r}: is not started: {why}" for guest, why in held.items())]:
        module.warn(line)
    module.exit_json(**result, held=held, resources=found.data())


if __name__ == "__main__":
    main()
