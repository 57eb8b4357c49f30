#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: dom0
short_description: Make a Debian host a Xen host and keep its dom0 settings
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Installs Xen, writes the GRUB drop-in, C(xl.conf), the settings of C(xendomains) and of the console daemon, and sees to
    it that the boot menu starts Xen with the wanted command line.
  - Never reboots and never stops a guest. What only a reboot can change is returned in RV(reboot_reasons).
  - Judges by the state of the host alone, so a run that was cut off anywhere is finished by the next one. The boot menu is made anew
    when it does not hold the words of the drop-in as they stand there, when it has another value of O(memory_mib), O(vcpus) or
    O(vcpus_pin), and when it is older than the drop-in.
  - A reboot is asked for when the running Xen or the running kernel lacks a wanted word, when Xen runs with another value of
    O(memory_mib), O(vcpus) or O(vcpus_pin), and when one of them still has a word of O(xen_options) or O(linux_options) that is
    gone. The drop-in keeps those in a comment; one that the boot menu has from elsewhere does not count. Words that the module
    never wrote never count.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  memory_mib:
    description: Memory of dom0 in MiB, fixed at boot; 512 or more.
    type: int
    required: true
  vcpus:
    description: Number of dom0's vCPUs, 1 to 128.
    type: int
    required: true
  vcpus_pin:
    description: Whether dom0's vCPUs are pinned to the CPUs of the same number.
    type: bool
    default: false
  xen_options:
    description: Further words for Xen's command line.
    type: list
    elements: str
    default: []
  linux_options:
    description: Words for the command line of the dom0 kernel, in place of C(GRUB_CMDLINE_LINUX_DEFAULT).
    type: list
    elements: str
    default: []
  xl_options:
    description: Settings of C(xl.conf). Each value is a text, a whole number, or true or false.
    type: dict
    default: {}
  shutdown_wait_seconds:
    description: How long C(xendomains) waits for the guests when the host shuts down, 1 to 86400.
    type: int
    default: 300
  packages:
    description: Packages that make the host a Xen host, installed without recommendations.
    type: list
    elements: str
    default: [xen-system-amd64, grub-xen-host, bridge-utils, rsync]
  prove:
    description: Fail unless Xen runs with everything that is asked for.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Configure dom0
  xenfold.consolidation.dom0:
    memory_mib: 4096
    vcpus: 4
    xen_options: [ucode=scan]
  register: dom0
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample: [{verb: install, target: package xen-system-amd64, detail: ""}]
reboot_reasons:
  description: What is asked for but does not hold before the next reboot; empty when nothing is missing.
  returned: always
  type: list
  elements: str
  sample: [Xen does not run on this host]
guests:
  description: Names of the guests that run on the host.
  returned: always
  type: list
  elements: str
  sample: [web01]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages as debian
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import plan, render, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import file_diff, read_texts, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def apply(runner: Runner, steps: plan.Steps) -> None:
    """Carry out the steps in their order."""
    if steps.finish_packages:
        runner.change([*debian.ENVIRONMENT, "dpkg", "--force-confold", "--configure", "-a"])
    for file in steps.before_packages:
        write_atomically(file)
    if steps.packages:
        debian.install(runner, steps.packages)
    for file in steps.after_packages:
        write_atomically(file)
    os.makedirs(render.CONSOLE_LOGS, exist_ok=True)
    if steps.update_grub:
        runner.change(["update-grub"])
    if steps.restart_xenconsoled:
        runner.change(["start-stop-daemon", "--stop", "--oknodo", "--retry=TERM/30/KILL/5", "--pidfile", "/run/xenconsoled.pid",
                       "--name", "xenconsoled"])
        # The script starts what does not run and leaves the rest alone; xendomains is another service and is not touched.
        # Redirected to systemctl it would do nothing: the unit is active already.
        runner.change(["env", "SYSTEMCTL_SKIP_REDIRECT=1", "/etc/init.d/xen", "start"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "memory_mib": {"type": "int", "required": True},
            "vcpus": {"type": "int", "required": True},
            "vcpus_pin": {"type": "bool", "default": False},
            "xen_options": {"type": "list", "elements": "str", "default": []},
            "linux_options": {"type": "list", "elements": "str", "default": []},
            "xl_options": {"type": "dict", "default": {}},
            "shutdown_wait_seconds": {"type": "int", "default": 300},
            "packages": {"type": "list", "elements": "str", "default": ["xen-system-amd64", "grub-xen-host", "bridge-utils", "rsync"]},
            "prove": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    packages, prove = options.pop("packages"), options.pop("prove")
    words = {key: tuple(options.pop(key)) for key in ("xen_options", "linux_options")}
    settings = render.Settings(**options, **words)
    errors = render.check(settings)
    if errors:
        module.fail_json(msg="dom0: " + "; ".join(errors))

    runner = Runner(module)
    host = state.read(runner, packages)
    kernel_comes = any(name.startswith("linux-image") and "cloud" not in name for name in host.missing_packages)
    obstacles = state.obstacles(host, kernel_comes)
    if obstacles:
        module.fail_json(msg="This host cannot become a Xen host as it is: " + " ".join(obstacles), obstacles=obstacles)
    texts = read_texts([render.GRUB_DROP_IN, *(file.path for file in render.configuration(settings))])
    steps = plan.steps(settings, host, texts)
    reasons = plan.reboot_reasons(settings, host, texts[render.GRUB_DROP_IN])
    actions = steps.actions()
    result = outcome(actions) | {"reboot_reasons": reasons, "guests": list(host.guests)}
    result["diff"] = [file_diff(file, texts) for file in steps.before_packages + steps.after_packages] + (
        [{"prepared": "".join(f"{action.line()}\n" for action in actions if action.verb != "write")}] if actions else []
    )
    if prove and (reasons or actions):
        missing = reasons + [action.line() for action in actions]
        module.fail_json(msg=f"Xen does not run as asked: {'; '.join(missing)}", **result)
    if actions and not module.check_mode:
        apply(runner, steps)
        after = state.read(runner, packages)
        if (after.menu_is_old or not plan.menu_is_right(after.grub_cfg, settings)) and not steps.update_grub:
            runner.change(["update-grub"])
            after = state.read(runner, packages)
        if not plan.menu_is_right(after.grub_cfg, settings):
            # Told before anyone reboots: such a host would come back without Xen.
            module.fail_json(msg=f"{state.GRUB_CFG} does not start Xen by default with"
                             f" {' '.join([*render.xen_words(settings), *settings.linux_options])} and no other value of"
                             f" {', '.join(render.OWN_KEYS)}"
                             " although update-grub ran; look at /etc/default/grub and /etc/default/grub.d", **result)
        result["reboot_reasons"] = plan.reboot_reasons(settings, after, read_texts([render.GRUB_DROP_IN])[render.GRUB_DROP_IN])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
