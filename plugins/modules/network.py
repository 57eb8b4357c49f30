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
  - Writes the files of C(systemd-networkd), or of C(ifupdown), for the described bonds, VLANs and bridges and makes the host
    follow them.
  - Before anything changes, a guard is armed on the host itself. It puts the old network back unless the control node
    reaches the host over a new connection in time and finds that the new network holds.
  - A bridge is never deleted while it keeps its name and guests are on it.
  - In check mode, a host with nothing to change is asked whether everything in O(asserts) holds; see RV(unmet).
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
  backend:
    description:
      - Who configures the network. Changing it is one guarded change like any other.
      - V(ifupdown) needs the packages C(ifupdown), C(ifenslave) for bonds and C(bridge-utils) for bridges.
    type: str
    choices: [networkd, ifupdown]
    default: networkd
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
      - V(mtu) - O(mtu_peers) answer packets of full size.
    type: list
    elements: str
    choices: [members, partner, gateway, mtu]
    default: [members, partner, gateway, mtu]
  mtu_peers:
    description:
      - IP addresses of machines that must answer a packet as large as the mtu of the device that leads to them, sent whole.
        The host's own addresses among them are passed over.
      - Needs the package C(iputils-ping).
    type: list
    elements: str
    default: []
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
unmet:
  description: What of O(asserts) and of the configuration does not hold on a host with nothing to change; also given as warnings.
  returned: in check mode, when nothing would change
  type: list
  elements: str
unsettled:
  description: An earlier change was never confirmed; the action plugin lets the old network come back first.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, file_diff
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import plan, refusals
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.host import Host
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.render import Network
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import State
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import ASSERTS, BACKENDS, check_description
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def diffs(change: plan.Change, state: State) -> list[dict[str, str]]:
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
            "backend": {"type": "str", "choices": list(BACKENDS), "default": "networkd"},
            "replace": {"type": "list", "elements": "path", "default": []},
            "asserts": {"type": "list", "elements": "str", "choices": list(ASSERTS), "default": list(ASSERTS)},
            "mtu_peers": {"type": "list", "elements": "str", "default": []},
            "confirm_seconds": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    wanted = {key: module.params[key] for key in ("backend", "bonds", "vlans", "bridges")}
    asserts, mtu_peers = module.params["asserts"], module.params["mtu_peers"]
    errors = check_description(mtu_peers=mtu_peers, **wanted)
    if errors:
        module.fail_json(msg=f"Network of {module.params['host']}: {'; '.join(errors)}", errors=errors)
    if module.params["confirm_seconds"] < 30:
        module.fail_json(msg=f"confirm_seconds: value {module.params['confirm_seconds']}, allowed 30 or more")
    network = Network.of(module.params["host"], **wanted)

    runner = Runner(module)
    host = Host(runner)
    unsettled = host.step() in ("armed", "restoring")
    if unsettled and not module.check_mode:
        module.exit_json(changed=True, unsettled=True, actions=[])
    state = host.read(network)
    if unsettled:
        state = host.overlay(state)
    replace = module.params["replace"]
    errors = refusals.refusals(network, state, replace, mtu_peers if "mtu" in asserts else [])
    if errors:
        module.fail_json(msg=f"The network of {module.params['host']} is left as it is: {'; '.join(errors)}", errors=errors)
    change = plan.plan(network, state, replace)
    actions = [Action("restore", "network", "an earlier change was not confirmed")] if unsettled else []
    actions += change.actions
    result = outcome(actions) | {"diff": diffs(change, state), "unsettled": unsettled}
    if actions and not module.check_mode:
        record = {"network": {"host": network.host, **wanted}, "asserts": asserts, "mtu_peers": mtu_peers}
        host.arm(change, state, record, module.params["confirm_seconds"])
    elif not actions and module.check_mode:
        result["unmet"] = host.unmet(network, asserts, mtu_peers)
        for line in result["unmet"]:
            module.warn(f"The network of {network.host} is as described but does not hold: {line}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
