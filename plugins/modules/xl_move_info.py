#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: xl_move_info
short_description: What a Xen host tells of its guests before and after moves
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Lists the domains with their UUIDs and CPU times from one listing, the moves that work on them, and what decides whether a guest can
    move here.
  - A host on which Xen does not run has no domains. Changes nothing.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  needs:
    description: Disks, files and bridges to look for, as C(disk /dev/vg0/web01-root), C(file PATH) and C(bridge NAME).
    type: list
    elements: str
    default: []
  peers:
    description: Hosts to which guests are to be sent; each is called once over SSH, and answers without creating anything.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the host.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Port of its SSH server.
        type: int
        default: 22
  volumes:
    description: Whether to tell of volumes, too, and of moves of guests with their disks.
    type: bool
    default: false
  volume_peers:
    description: Hosts to which guests are to be sent with their disks, each as in O(peers).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the host.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Port of its SSH server.
        type: int
        default: 22
  quiet_seconds:
    description: How long to wait for moves on this host to end before it is looked at.
    type: int
    default: 0
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
seealso:
  - module: xenfold.consolidation.xl_move
"""

EXAMPLES = r"""
- name: Ask what runs and moves here
  xenfold.consolidation.xl_move_info:
    needs: [disk /dev/mapper/shared-web01, bridge xenbr0]
  register: told
"""

RETURN = r"""
xen:
  description: Whether Xen runs.
  returned: success
  type: bool
xen_version:
  description: Its version, empty without.
  returned: success
  type: str
  sample: 4.17.7
free_mib:
  description: Free memory in MiB.
  returned: success
  type: int
virt_caps:
  description: What Xen can do, as C(xl info) tells it.
  returned: success
  type: list
  elements: str
domains:
  description: Each domain but dom0 with name, domid, uuid, state, flags, seconds and memory_mib.
  returned: success
  type: list
  elements: dict
sizes:
  description: By guest its type, memory_mib, maxmem_mib, maxvcpus, PCI devices and whether it has virtual NUMA nodes, as it runs.
  returned: success
  type: dict
guests:
  description: Guests and their states, as M(xenfold.consolidation.xl_guest_info) returns them.
  returned: success
  type: dict
keeps:
  description: Guests with an autostart link or a stored configuration.
  returned: success
  type: list
  elements: str
moving:
  description: Guests that leave right now.
  returned: success
  type: list
  elements: str
receiving:
  description: Process ids of the receivers that work right now.
  returned: success
  type: list
  elements: int
missing:
  description: Those of O(needs) that are not there.
  returned: success
  type: list
  elements: str
deaf:
  description: Those of O(peers) to which nothing can be sent, with the reason.
  returned: success
  type: dict
volumes:
  description: Each logical volume with volume_group, name, size_bytes and tags.
  returned: when O(volumes)
  type: list
  elements: dict
groups:
  description: By volume group its free_bytes and extent_bytes.
  returned: when O(volumes)
  type: dict
stored:
  description: Guests with a stored configuration.
  returned: when O(volumes)
  type: list
  elements: str
held:
  description: Guests with a stored configuration, perhaps, that did not start with this host since another one had them, or may have had.
  returned: when O(volumes)
  type: list
  elements: str
journals:
  description: By guest what is written of its last move with its disks from this host - stage, phase, from, to, step and run.
  returned: when O(volumes)
  type: dict
resources:
  description: The replicated disks of this host by the names of their resources, as M(xenfold.consolidation.drbd_resources) returns them.
  returned: when O(volumes)
  type: dict
deaf_volumes:
  description: Those of O(volume_peers) on which no volumes can be filled, with the reason.
  returned: when O(volumes)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import facts, names, trust, units
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

PEER_SPEC = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 22},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "needs": {"type": "list", "elements": "str", "default": []},
            "peers": {"type": "list", "elements": "dict", "default": [], "options": PEER_SPEC},
            "volumes": {"type": "bool", "default": False},
            "volume_peers": {"type": "list", "elements": "dict", "default": [], "options": PEER_SPEC},
            "quiet_seconds": {"type": "int", "default": 0},
            "key_dir": {"type": "str", "default": trust.KEY_DIR, "no_log": False},
            "state_dir": {"type": "str", "default": units.STATE_DIR},
            "config_dir": {"type": "str", "default": "/etc/xen/guests"},
            "autostart_dir": {"type": "str", "default": "/etc/xen/auto"},
        },
        supports_check_mode=True,
    )
    options = module.params
    errors = [line for peer in [*options["peers"], *options["volume_peers"]] for line in (
        *names.check("host", peer["name"]), *names.check_address("address", peer["address"]), *names.check_port("port", peer["port"]))]
    errors += [f"needs: value {need!r}, allowed disk, file or bridge, and its path or name" for need in options["needs"] if " " not in need]
    if errors:
        module.fail_json(msg="; ".join(errors), errors=errors)
    runner = Runner(module)
    try:
        told = facts.read(runner, options["config_dir"], options["autostart_dir"], options["needs"], options["peers"], options["key_dir"],
                          options["quiet_seconds"])
        if options["volumes"]:
            places = units.Places(options["key_dir"], options["state_dir"], options["config_dir"], options["autostart_dir"])
            told |= facts.read_volumes(runner, places, options["volume_peers"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
