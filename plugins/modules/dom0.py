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
  - On request it keeps the time by chrony, holds Xen's packages at their version and has a packet filter for what comes in to dom0.
  - Refuses before anything is changed when the host would not come back as asked (RV(obstacles)), when it would come back with a Xen
    that keeps guests of the pool from moving, or when the packet filter would lock out the SSH connection over which this runs.
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
  guest_logs:
    description: Whether guests' consoles are logged to C(/var/log/xen/console), and rotated.
    type: bool
    default: true
  time:
    description: V(chrony) installs and runs chrony; V(none) leaves the time alone.
    type: str
    choices: [none, chrony]
    default: none
  ntp_servers:
    description: Names or addresses that chrony prefers. Empty leaves it to the servers in the distribution's C(chrony.conf). Only
      with O(time=chrony), and where C(chrony.conf) reads C(/etc/chrony/sources.d).
    type: list
    elements: str
    default: []
  hold:
    description: Whether Xen's packages are held at their version. Without a value holds are left alone.
    type: bool
  firewall:
    description: The packet filter for what comes in to dom0 itself, a table of nftables of its own. Guests' traffic does not pass it.
    type: dict
    default: {}
    suboptions:
      enabled:
        description: Whether there is one. V(false) removes it.
        type: bool
        default: false
      ssh_from:
        description: Networks that may open SSH; that of the control node must be among them.
        type: list
        elements: str
        default: []
      migration_from:
        description: Networks of hosts that move guests here, which C(xl migrate) does by SSH; V(pool) stands for O(pool_addresses).
        type: list
        elements: str
        default: []
      ssh_port:
        description: Where sshd listens.
        type: int
        default: 22
      allow:
        description: Further ways in, each with C(protocol) (tcp, udp), C(ports) (numbers or ranges such as 7790-7799) and C(from)
          (networks).
        type: list
        elements: dict
        default: []
  pool_addresses:
    description: Addresses of the other hosts of the pool, as P(xenfold.consolidation.pool_addresses#filter) gives them.
    type: list
    elements: str
    default: []
  weight:
    description: Weight of dom0 in Xen's scheduler credit2, 1 to 65535, set at once and, by a unit of systemd, when the host starts. Without
      a value dom0 has Xen's own, 256, where this module gave it another one before.
    type: int
  pool_xen_versions:
    description: Version of Xen by name of the other hosts of the pool, as far as they told it. A Xen that is installed here, or waits
      for the next boot, must be of the same minor version as theirs, since guests could not move.
    type: dict
    default: {}
  allow_version_skew:
    description: Consent to another minor version of Xen than in O(pool_xen_versions).
    type: bool
    default: false
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
obstacles:
  description: Why the host would not come back as asked, when that is so; nothing was changed then.
  returned: on refusal
  type: list
  elements: str
  sample: [GRUB_DISABLE_SUBMENU is set]
xen_version:
  description: Version of the running Xen, empty without it.
  returned: always
  type: str
  sample: "4.17.7"
guests:
  description: Names of the guests that run on the host.
  returned: always
  type: list
  elements: str
  sample: [web01]
"""

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import carry_out, firewall, plan, render, state, versions
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import differing, file_diff, read_texts
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def settings_of(params: dict[str, Any]) -> render.Settings:
    """The settings in the module's options."""
    options: dict[str, Any] = dict(params)
    words: dict[str, Any] = {key: tuple(options.pop(key)) for key in ("xen_options", "linux_options", "ntp_servers")}
    wall, pool = options.pop("firewall") or {}, tuple(options.pop("pool_addresses"))
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in wall.items() if value is not None}
    return render.Settings(**options, **words, firewall=firewall.Firewall(**given, pool_addresses=pool))


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
            "guest_logs": {"type": "bool", "default": True},
            "time": {"type": "str", "choices": ["none", "chrony"], "default": "none"},
            "ntp_servers": {"type": "list", "elements": "str", "default": []},
            "hold": {"type": "bool"},
            "firewall": {"type": "dict", "default": {}, "options": {
                "enabled": {"type": "bool", "default": False},
                "ssh_from": {"type": "list", "elements": "str", "default": []},
                "migration_from": {"type": "list", "elements": "str", "default": []},
                "ssh_port": {"type": "int", "default": 22},
                "allow": {"type": "list", "elements": "dict", "default": []},
            }},
            "pool_addresses": {"type": "list", "elements": "str", "default": []},
            "weight": {"type": "int"},
            "pool_xen_versions": {"type": "dict", "default": {}},
            "allow_version_skew": {"type": "bool", "default": False},
            "packages": {"type": "list", "elements": "str", "default": ["xen-system-amd64", "grub-xen-host", "bridge-utils", "rsync"]},
            "prove": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    named, prove = options.pop("packages"), options.pop("prove")
    settings = settings_of(options)
    errors = render.check(settings)
    if errors:
        module.fail_json(msg="dom0: " + "; ".join(errors))

    runner = Runner(module)
    packages = settings.packages(named)
    host = state.read(runner, packages, settings=settings)
    kernel_comes = any(name.startswith("linux-image") and "cloud" not in name for name in host.missing_packages)
    obstacles = state.obstacles(host, kernel_comes, settings)
    if settings.pool_xen_versions and not settings.allow_version_skew and not obstacles:
        coming = state.coming_xen(runner, host, fresh=not module.check_mode)
        skew = versions.skew(host.xen_version, coming, settings.pool_xen_versions)
        obstacles += [f"{skew}."] if skew else []
    if obstacles:
        module.fail_json(msg="Nothing was changed on this host: " + " ".join(obstacles), obstacles=obstacles)
    texts = read_texts(render.owned_paths(settings))
    steps = plan.steps(settings, host, texts)
    reasons = plan.reboot_reasons(settings, host, texts[render.GRUB_DROP_IN])
    actions = steps.actions()
    result = outcome(actions) | {"reboot_reasons": reasons, "guests": list(host.guests), "xen_version": host.xen_version}
    result["diff"] = [file_diff(file, texts) for file in differing(steps.files(), texts)] + (
        [{"prepared": "".join(f"{action.line()}\n" for action in actions if action.verb != "write")}] if actions else []
    )
    if prove and (reasons or actions):
        missing = reasons + [action.line() for action in actions]
        module.fail_json(msg=f"Xen does not run as asked: {'; '.join(missing)}", **result)
    if actions and not module.check_mode:
        menu_time = state.menu_time()
        carry_out.apply(runner, steps)
        after = state.read(runner, packages, settings=settings)
        if after.unfinished_packages:
            module.fail_json(msg="an interrupted installation: dpkg --configure -a does not finish it; do that by hand, then run this"
                             " again", **result)
        # Finished packages may have made the menu before the drop-in was written.
        made = steps.update_grub or (not steps.finish_packages and state.menu_time() != menu_time)
        if not steps.update_grub and ((after.menu_is_old and not made) or not plan.menu_is_right(after.grub_cfg, settings)):
            runner.change(["update-grub"])
            after = state.read(runner, packages, settings=settings)
            made = True
        if after.menu_is_old and made:
            carry_out.date_drop_in()
            after = replace(after, menu_is_old=False)
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
