#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: iscsi_targets
short_description: Reach the disks of iSCSI targets, now and whenever the host starts
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Brings open-iscsi, and logs in to targets with disks of guests that all hosts of a pool reach. They get the same names on every host,
    which RV(devices) tells and C(disks[].path) of a guest takes.
  - A rule for udev keeps LVM and md of the host out of these disks, which are guests' as whole ones.
  - Each run looks for new disks of the targets that are reached.
  - A host whose own name was lost, as by a power cut soon after the installation of open-iscsi, gets a new one, with a warning.
  - Nothing is discovered, and no session is closed; targets that others have added are left alone. A session that works keeps the name and
    password that it was opened with.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  targets:
    description: The targets.
    type: list
    elements: dict
    required: true
    suboptions:
      portal:
        description: Address of the target, with the port where that is not 3260.
        type: str
        required: true
      target:
        description: Its name.
        type: str
        required: true
      username:
        description: Name for CHAP; without it, none is asked for.
        type: str
      password:
        description: Password for CHAP, 12 to 16 characters.
        type: str
"""

EXAMPLES = r"""
- name: Reach the store of the pool
  xenfold.consolidation.iscsi_targets:
    targets:
      - {portal: 10.0.9.5, target: "iqn.2026-11.example.storage:guests"}
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample: [{verb: log in, target: "target iqn.2026-11.example.storage:guests", detail: "at 10.0.9.5:3260"}]
devices:
  description: Target -> its disks by their stable names; empty in check mode for one that is yet to be reached.
  returned: success
  type: dict
  sample: {"iqn.2026-11.example.storage:guests": ["/dev/disk/by-path/ip-10.0.9.5:3260-iscsi-iqn.2026-11.example.storage:guests-lun-1"]}
"""

import glob
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    WantedFile,
    differing,
    file_diff,
    lost,
    read_texts,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.iscsi import targets as iscsi
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

WAIT_SECONDS = 30
"""How long the disks of a target may take to come after the login."""
_LOOK_SECONDS = 1.0
_PARTITION = re.compile(r"-part[0-9]+$")


def read(runner: Runner, targets: list[dict[str, str]]) -> iscsi.Plan:
    """What differs from what open-iscsi has."""
    answers = (0, iscsi.NOTHING)
    sessions = iscsi.parse_sessions(runner.read(["iscsiadm", "-m", "session"], ok=answers).out)
    # -S shows passwords, which are compared here and told nowhere.
    records = {(iscsi.portal_of(wanted), wanted["target"]): iscsi.parse_record(runner.read(iscsi.node(wanted, "-S"), ok=answers).out)
               for wanted in targets}
    return iscsi.plan(targets, records, sessions)


def devices_of(targets: list[dict[str, str]], wait_seconds: int) -> dict[str, list[str]]:
    """Target -> disks; one whose disks have not come when the time is up has none."""
    end = time.monotonic() + wait_seconds
    while True:
        found = {wanted["target"]: sorted(path for path in glob.glob(glob.escape(iscsi.device_prefix(wanted)) + "*")
                                          if not _PARTITION.search(path)) for wanted in targets}
        if all(found.values()) or time.monotonic() >= end:
            return found
        time.sleep(_LOOK_SECONDS)


def give_name(module: AnsibleModule, runner: Runner) -> None:
    """A name in the place of one that was lost."""
    name = runner.read(iscsi.NEW_NAME).out.strip()
    # It has given up, as the service could not start; it refuses where that runs. Before the name, by which the next run sees that this is
    # done.
    runner.change(["systemctl", "restart", "iscsid.socket"], ok=())
    write_atomically(WantedFile(iscsi.INITIATOR_FILE, f"InitiatorName={name}\n", 0o600))
    module.warn(f"{iscsi.INITIATOR_FILE}: it was empty, and this host has the new name {name}; a target that lets hosts in by their names"
                " has to know it")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "targets": {"type": "list", "elements": "dict", "required": True, "options": iscsi.TARGET_SPEC},
        },
        supports_check_mode=True,
    )
    targets = module.params["targets"]
    errors = iscsi.check(targets)
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    if not targets:
        module.exit_json(**outcome([]), devices={})
    runner = Runner(module)
    absent = packages.missing(runner, [iscsi.PACKAGE])
    if absent and not module.check_mode:
        packages.install(runner, absent)
    nameless = lost(read_texts([iscsi.INITIATOR_FILE])[iscsi.INITIATOR_FILE])
    if nameless and not module.check_mode:
        give_name(module, runner)
    # In check mode nothing is there that could be asked.
    plan = read(runner, targets) if runner.tool("iscsiadm") else iscsi.plan(targets, {}, ())
    rules = iscsi.rules_file(targets)
    texts = read_texts([rules.path])
    write = differing([rules], texts)
    named = [Action("write", f"file {iscsi.INITIATOR_FILE}", "with a new name of the host, since it is empty")] if nameless else []
    result = outcome([*(Action("install", f"package {name}") for name in absent), *named,
                      *(Action("write", f"file {rules.path}") for _ in write), *plan.actions])
    result["diff"] = [result["diff"], *(file_diff(file, texts) for file in write)]
    if not module.check_mode:
        for file in write:
            write_atomically(file)
            runner.change(["udevadm", "control", "--reload"])
        for command in plan.commands:
            runner.change(command)
        # Linux sees a disk more of a target only when it is told to look.
        for wanted in [] if plan.commands else targets:
            runner.read(iscsi.node(wanted, "--rescan"))
    found = devices_of(targets, WAIT_SECONDS if plan.commands and not module.check_mode else 0)
    for target in sorted(name for name, disks in found.items() if not disks and not module.check_mode):
        module.warn(f"target {target}: is reached and shows no disks to this host")
    module.exit_json(**result, devices=found)


if __name__ == "__main__":
    main()
