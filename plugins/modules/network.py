#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: network
short_description: Bonds, VLANs and bridges of a Xen host, with a guarded change
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Writes the files of C(systemd-networkd) for the described bonds, VLANs and bridges and makes the host follow them.
  - Before anything changes, a guard is armed on the host itself. It puts the old network back unless the control node
    reaches the host over a new connection in time and finds that the new network holds.
  - A bridge is never deleted while it keeps its name, so guests stay connected.
  - The control node's half is an action plugin of the same name; without it nobody would confirm the change.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  host:
    description: Name of the host in the inventory. Hardware addresses that are not given follow from it.
    type: str
    required: true
  bonds:
    description: Bonds, see the role P(xenfold.consolidation.network#role).
    type: list
    elements: raw
    default: []
  vlans:
    description: VLANs on bonds.
    type: list
    elements: raw
    default: []
  bridges:
    description: Bridges.
    type: list
    elements: raw
    default: []
  replace:
    description:
      - Files of other configurations that may be removed, because they configure the same interfaces.
      - Files in C(/etc/systemd/network), C(/etc/network/interfaces) and files in C(/etc/network/interfaces.d).
    type: list
    elements: path
    default: []
  asserts:
    description:
      - What must hold beside the configuration itself before a change is confirmed.
      - V(members) - every member of every bond has link and is in the aggregate.
      - V(partner) - 802.3ad bonds have a partner.
      - V(gateway) - gateways answer.
    type: list
    elements: str
    choices: [members, partner, gateway]
    default: [members, partner, gateway]
  confirm_seconds:
    description: Within this time the change must be confirmed, else the old network comes back; 30 or more.
    type: int
    default: 90
seealso:
  - module: xenfold.consolidation.network_guard
"""

EXAMPLES = r"""
- name: Bond two cards and put a bridge on the bond
  xenfold.consolidation.network:
    host: "{{ inventory_hostname }}"
    bonds:
      - name: bond0
        mode: 802.3ad
        members: [{mac: "52:54:00:00:01:01"}, {mac: "52:54:00:00:01:02"}]
    bridges:
      - {name: xenbr0, port: bond0, addresses: [10.9.0.1/24], gateway: 10.9.0.254}
"""

RETURN = r"""
actions:
  description: What was or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample: [{verb: create, target: bond bond0, detail: ""}]
confirmed:
  description: Whether the change was found to hold and is kept.
  returned: when something changed outside check mode
  type: bool
unsettled:
  description: An earlier change was never confirmed; the action plugin lets the old network come back first.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, file_diff
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import plan
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.host import Host
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.render import Network
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import check_network
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def diffs(change: plan.Change, state: plan.State) -> list[dict[str, str]]:
    """One entry for each file, and one with what happens beside the files."""
    files = list(change.write) + [WantedFile(path, "") for path in change.remove]
    rest = "".join(f"{action.line()}\n" for action in change.actions if not action.target.startswith("file "))
    return [file_diff(file, state.files) for file in files] + ([{"prepared": rest}] if rest else [])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "bonds": {"type": "list", "elements": "raw", "default": []},
            "vlans": {"type": "list", "elements": "raw", "default": []},
            "bridges": {"type": "list", "elements": "raw", "default": []},
            "replace": {"type": "list", "elements": "path", "default": []},
            "asserts": {"type": "list", "elements": "str", "choices": ["members", "partner", "gateway"],
                        "default": ["members", "partner", "gateway"]},
            "confirm_seconds": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    wanted = {key: module.params[key] for key in ("bonds", "vlans", "bridges")}
    errors = check_network(*wanted.values())
    if errors:
        module.fail_json(msg=f"Network of {module.params['host']}: {'; '.join(errors)}", errors=errors)
    if module.params["confirm_seconds"] < 30:
        module.fail_json(msg=f"confirm_seconds: value {module.params['confirm_seconds']}, allowed 30 or more")
    network = Network.of(module.params["host"], *wanted.values())

    runner = Runner(module)
    host = Host(runner)
    unsettled = host.step() in ("armed", "restoring")
    if unsettled and not module.check_mode:
        module.exit_json(changed=True, unsettled=True, actions=[])
    state = host.read(network)
    if unsettled:
        state = host.overlay(state)
    replace = module.params["replace"]
    errors = plan.refusals(network, state, replace)
    if errors:
        module.fail_json(msg=f"The network of {module.params['host']} is left as it is: {'; '.join(errors)}", errors=errors)
    change = plan.plan(network, state, replace)
    actions = [Action("restore", "network", "an earlier change was not confirmed")] if unsettled else []
    actions += change.actions
    result = outcome(actions) | {"diff": diffs(change, state), "unsettled": unsettled}
    if actions and not module.check_mode:
        record = {"network": {"host": network.host, **wanted}, "asserts": module.params["asserts"]}
        host.arm(change, state, record, module.params["confirm_seconds"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
