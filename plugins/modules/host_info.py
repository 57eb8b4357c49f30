#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: The state of a Xen host as it runs
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Tells what the modules that configure a host leave alone - arrays of anybody with the serials of their disks, links and partners of
    bonds, versions, CPU features for guests, CPUs and memory, what waits for a reboot, and guards of network changes that were left
    behind.
  - What cannot be asked is returned by name and does not fail the module.
  - Changes nothing.
extends_documentation_fragment: xenfold.consolidation.attributes
options: {}
seealso:
  - module: xenfold.consolidation.audit_report
"""

EXAMPLES = r"""
- name: Ask the host
  xenfold.consolidation.host_info:
  register: there
"""

RETURN = r"""
arrays:
  description:
    - The md arrays that the kernel knows. The state of a member is V(active), V(failed), V(spare), V(journal) or V(replacement).
    - C(container) tells those that only hold the metadata of firmware RAID (IMSM, DDF) and are never active.
  returned: always
  type: list
  elements: dict
  sample:
    - kernel_device: md127
      name: guests
      uuid: "758596a3:ce955891:9306cea6:a43b1171"
      state: active
      level: raid10
      slots: 4
      working: 4
      sync: null
      container: false
      members: [{device: sdb, serial: WD-1, state: active}]
bonds:
  description: The bonds that the kernel has. O(ignore:partner) is null in modes other than 802.3ad, and zeros while nobody answers.
  returned: always
  type: list
  elements: dict
  sample:
    - name: bond0
      mode: IEEE 802.3ad Dynamic link aggregation
      ports: 2
      partner: "e2:dc:09:af:12:43"
      members: [{name: eth1, link: true, aggregated: true}]
versions:
  description: What runs. Unknown versions are left out.
  returned: always
  type: dict
  sample: {xen: 4.17.7 (build 151b373fd64b), kernel: 6.1.0-28-amd64 (Debian 6.1.119-1), distribution: "12.11", microcode: "0x2b000603"}
cpu:
  description: What guests of the types pvh and hvm are offered by default - C(vendor) of the CPUs, and C(hvm), the set of features in the
    words of C(xen-cpuid). Empty on a host without Xen, and when it could not be asked.
  returned: always
  type: dict
  sample: {vendor: AuthenticAMD, hvm: "178bfbff:76d83203:2c500800:..."}
capacity:
  description: CPUs and memory as Xen counts them, what of it is free, and what its guests have. Empty on a host without Xen, and when it
    could not be asked.
  returned: always
  type: dict
  sample:
    cpus: 32
    total_memory_mib: 261989
    free_memory_mib: 201034
    dom0_vcpus: 4
    guests: [{name: web01, memory_mib: 8192, vcpus: 4}]
reboot:
  description: What runs in another version than the next boot brings.
  returned: always
  type: list
  elements: dict
  sample: [{item: kernel, found: 6.1.0-27-amd64, wanted: 6.1.0-28-amd64}]
guard:
  description: The guard of a network change - where it stands, and what of it is still there.
  returned: always
  type: dict
  sample: {step: confirmed, units: [], boot_unit: false}
unasked:
  description: What could not be asked, and why.
  returned: always
  type: list
  elements: dict
  sample: [{what: serials of disks, why: lsblk is not installed}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.host_state.read import HostState
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, **HostState(Runner(module)).read())


if __name__ == "__main__":
    main()
