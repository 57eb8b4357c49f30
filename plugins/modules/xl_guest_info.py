#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: xl_guest_info
short_description: Which guests a Xen host has, and which Xen
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Lists the guests that run on the host, are on their way to it, or start with it.
  - A host on which Xen does not run yet has no running guests; links in O(autostart_dir) count there, too.
  - With O(details) also which domains there are in any state, their disks, and which configurations and links are stored.
  - Changes nothing.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  autostart_dir:
    description: Directory of the autostart links, as C(NN-NAME).
    type: str
    default: /etc/xen/auto
  config_dir:
    description: Directory of the stored configurations, as C(NAME.cfg).
    type: str
    default: /etc/xen/guests
  details:
    description: Whether RV(domains), RV(links) and RV(stored) are returned, which takes one more command where guests are.
    type: bool
    default: false
seealso:
  - module: xenfold.consolidation.xl_guest
"""

EXAMPLES = r"""
- name: Ask what runs here
  xenfold.consolidation.xl_guest_info:
  register: there

- name: Ask for everything that has to do with guests
  xenfold.consolidation.xl_guest_info:
    details: true
  register: there
"""

RETURN = r"""
guests:
  description: The guests by name - V(running) and the other states of xl for those that are there, V(autostart) for one that only
    starts with the host. One that is on its way to or from another host stands under its own name.
  returned: success
  type: dict
  sample: {db01: running, web01: autostart}
configured:
  description: Guests whose configurations are stored in O(config_dir), whether they run or not.
  returned: success
  type: list
  elements: str
  sample: [db01, web01]
arriving:
  description: Those of RV(volumes) that guests have just brought along, and from which they have not been seen to run.
  returned: success
  type: list
  elements: str
  sample: []
volumes:
  description: All logical volumes of the host, as group/name.
  returned: success
  type: list
  elements: str
  sample: [vg_guests/db01-data]
guarded:
  description: Guests of which the autostart guard of this host asks other hosts; see M(xenfold.consolidation.migration).
  returned: success
  type: list
  elements: str
  sample: [db01]
xen_version:
  description: Version of the Xen that runs, empty where none does.
  returned: success
  type: str
  sample: 4.17.7
domains:
  description:
    - All domains but dom0, in the order of their numbers. C(name) is empty for one that has none (yet), and ends in C(--incoming) or
      C(--migratedaway) for one that moves.
    - C(uuid) and C(disks) are empty where xl does not show the domain's configuration.
  returned: when O(details)
  type: list
  elements: dict
  sample:
    - {name: web01, domid: 3, state: running, memory_mib: 4096, vcpus: 2, uuid: 6e0b3f6f-6f4c-54d0-8a4c-0d4d9a1f2b11,
       disks: [/dev/vg_guests/web01-root]}
links:
  description: Targets of the links in O(autostart_dir), by name.
  returned: when O(details)
  type: dict
  sample: {50-web01: /etc/xen/guests/web01.cfg}
stored:
  description: The configurations in O(config_dir), by guest, with the devices and files of their disks.
  returned: when O(details)
  type: dict
  sample: {web01: {disks: [/dev/vg_guests/web01-root]}}
resources:
  description: The replicated disks of this host by the names of their resources, as M(xenfold.consolidation.drbd_resources) returns them.
  returned: when O(details)
  type: dict
  sample: {}
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import state as drbd
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import tags
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import guard
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_receive import SUFFIX, is_arrival_tag
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import DOM0, NAMELESS, Domain, disks_of_config, disks_of_text


def described(domains: Mapping[str, Domain], configs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All domains but dom0, with what xl shows of their configurations."""
    return [
        {
            "name": "" if domain.name == NAMELESS else domain.name, "domid": domain.domid, "state": domain.state,
            "memory_mib": domain.memory_mib, "vcpus": domain.vcpus,
            "uuid": str(configs.get(domain.name, {}).get("c_info", {}).get("uuid", "")).lower(),
            "disks": disks_of_config(configs.get(domain.name, {})),
        }
        for domain in sorted(domains.values(), key=lambda domain: domain.domid) if domain.name != DOM0
    ]


def stored(directory: str, guests: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Guest -> {disks}, of the configurations in a directory; one that cannot be read has none."""
    found = {}
    for name in guests:
        try:
            text = Path(directory, name + xl_host.SUFFIX).read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        found[name] = {"disks": disks_of_text(text)}
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "autostart_dir": {"type": "str", "default": "/etc/xen/auto"},
            "config_dir": {"type": "str", "default": "/etc/xen/guests"},
            "details": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options, runner = module.params, Runner(module)
    xl = Xl(runner)
    result: dict[str, Any] = {"changed": False}
    try:
        xen = xl_host.xen_runs()
        domains = xl.domains() if xen else {}
        links, _entries = xl_host.read_links(options["autostart_dir"])
        there = tags.read(runner)
        result |= {"configured": xl_host.configured(options["config_dir"]), "volumes": sorted(there),
                   "arriving": sorted(name for name, volume in there.items()
                                      if not name.endswith(SUFFIX) and any(map(is_arrival_tag, volume.tags))),
                   "guarded": sorted(guard.settings()["guests"])}
        if options["details"]:
            configs = xl.configs() if set(domains) - {DOM0} else {}
            result |= {"domains": described(domains, configs), "links": dict(sorted(links.items())),
                       "stored": stored(options["config_dir"], result["configured"]), "resources": drbd.read(runner).data()}
    except ValueError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result, guests=xl_host.guests_there(domains, links), xen_version=xl_host.xen_version() if xen else "")


if __name__ == "__main__":
    main()
