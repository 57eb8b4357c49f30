#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: package_update
short_description: Bring the packages of a Debian host up to date, and remember that it has to reboot
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Installs the newest versions of what is installed, new kernels with it, as C(apt-get upgrade --with-new-pkgs) does. Never removes a
    package, and leaves held ones and configuration files that were changed as they are.
  - Writes C(/run/reboot-required) before the first package changes, so that a run that is cut off is not forgotten. The reboot removes it.
  - Finishes what a run that was cut off has left half-way, first. What somebody else's apt works on right now is not that.
  - Does not reboot.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  update:
    description: Whether packages are updated. V(false) only reads anew which versions there are, and returns what would be done.
    type: bool
    default: true
seealso:
  - module: xenfold.consolidation.dom0
"""

EXAMPLES = r"""
- name: See what is old
  xenfold.consolidation.package_update:
    update: false
  register: old

- name: Bring packages up to date
  xenfold.consolidation.package_update:
"""

RETURN = r"""
actions:
  description: What was or would be done, in order. In check mode it is as the host knew versions before.
  returned: always
  type: list
  elements: dict
  sample: [{verb: update, target: package openssl, detail: 3.0.15-1~deb12u1 -> 3.0.16-1~deb12u1}]
kept_back:
  description: Packages with a newer version that stay as they are, held or because others would have to go.
  returned: always
  type: list
  elements: str
  sample: [xen-utils-4.17]
reboot_required:
  description: Whether an update, this one or an earlier one, waits for a reboot, or was cut off and is to be finished.
  returned: always
  type: bool
  sample: true
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def main() -> None:
    module = AnsibleModule(argument_spec={"update": {"type": "bool", "default": True}}, supports_check_mode=True)
    runner, mark = Runner(module), Path(packages.REBOOT_MARK)
    if not module.check_mode:
        # Without the mode a mirror that does not answer is a warning, and what is known from before passes for the newest.
        runner.change([*packages.ENVIRONMENT, "apt-get", "-q", "-y", "-o", "APT::Update::Error-Mode=any", "update"])
    simulate = [packages.UPGRADE[0], "--simulate", *packages.UPGRADE[1:]]
    said = runner.read(simulate, ok=(0, packages.BROKEN))
    broken = said.rc == packages.BROKEN
    # Packages that wait for their configuration alone are no broken ones to apt.
    cut_off = broken or (packages.interrupted(packages.states(runner)) and not packages.at_work())
    if cut_off and module.params["update"] and not module.check_mode:
        mark.touch()
        packages.finish(runner, broken)
        said = runner.read(simulate)
        if left := packages.unfinished(packages.states(runner)):
            module.fail_json(msg=f"{', '.join(left)}: left half-way by an update that was cut off, and dpkg --configure -a does not finish"
                                 " it; do that by hand, then run this again")
    newer = packages.updates(said.out)
    finished = [Action("finish", "packages", "an interrupted installation")] if cut_off and module.params["update"] else []
    result = outcome([*finished, *newer]) | {"kept_back": packages.kept_back(said.out)}
    if not module.params["update"]:
        result |= {"changed": False, "diff": {"before": "", "after": ""}}
    elif newer and not module.check_mode:
        mark.touch()
        runner.change([*packages.ENVIRONMENT, *packages.UPGRADE])
    module.exit_json(**result, reboot_required=mark.exists() or cut_off)


if __name__ == "__main__":
    main()
