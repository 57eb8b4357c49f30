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
  - Changes nothing.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  autostart_dir:
    description: Directory of the autostart links, as C(NN-NAME).
    type: str
    default: /etc/xen/auto
seealso:
  - module: xenfold.consolidation.xl_guest
"""

EXAMPLES = r"""
- name: Ask what runs here
  xenfold.consolidation.xl_guest_info:
  register: there
"""

RETURN = r"""
guests:
  description: The guests by name - V(running) and the other states of xl for those that are there, V(autostart) for one that only
    starts with the host. One that is on its way to or from another host stands under its own name.
  returned: success
  type: dict
  sample: {db01: running, web01: autostart}
xen_version:
  description: Version of the Xen that runs, empty where none does.
  returned: success
  type: str
  sample: 4.17.7
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl


def main() -> None:
    module = AnsibleModule(argument_spec={"autostart_dir": {"type": "str", "default": "/etc/xen/auto"}}, supports_check_mode=True)
    try:
        xen = xl_host.xen_runs()
        domains = Xl(Runner(module)).domains() if xen else {}
    except ValueError as error:
        module.fail_json(msg=str(error))
    links, _entries = xl_host.read_links(module.params["autostart_dir"])
    module.exit_json(changed=False, guests=xl_host.guests_there(domains, links), xen_version=xl_host.xen_version() if xen else "")


if __name__ == "__main__":
    main()
