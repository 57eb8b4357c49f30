#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: network_guard
short_description: Confirm or take back a change of a host's network
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The second half of M(xenfold.consolidation.network), run over a new connection. Also of use by hand, on a host where a
    run ended in the middle of a change.
  - Fails when V(confirmed) or V(restored) is asked for and does not come about; RV(step) says why. Without any change that could
    be confirmed or restored there is nothing to do.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  state:
    description:
      - V(checked) waits until the change is made and the new network holds, as was recorded when the guard was armed.
      - V(confirmed) keeps the new network and disarms the guard. Whoever asks for it over a connection that was opened after
        the change has proven that the host can be reached. Fails when the guard has acted already.
      - V(restored) lets the guard act at once and waits until the old network is back. Fails when that takes too
        long and when the change was confirmed.
    type: str
    choices: [checked, confirmed, restored]
    required: true
  wait_seconds:
    description: How long to wait for it.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Take back a change that nobody confirmed
  xenfold.consolidation.network_guard:
    state: restored
"""

RETURN = r"""
step:
  description: Where the guard stands - V(confirmed), V(restored), V(restoring), V(armed), or null when nothing was ever armed.
  returned: always, also on failure
  type: str
unmet:
  description: What of the new network does not hold.
  returned: with state=checked, while the guard is armed
  type: list
  elements: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import guard
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.host import Host
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.render import Network
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


def unmet(host: Host, record: dict[str, Any]) -> list[str]:
    """What keeps the recorded change from being confirmed."""
    if not host.applied():
        return ["the change has not come to its end on the host"]
    network = Network.of(**record["network"])
    lines = host.unmet(network, record["asserts"], record.get("mtu_peers", []))
    if lines and network.backend == "networkd":
        lines += host.networkd_says([item["name"] for _kind, item in network.devices()])
    return lines


def wait_until_met(host: Host, wait_seconds: int) -> list[str]:
    """What is still unmet after at most `wait_seconds`, or when the guard is about to act by itself."""
    record = host.recorded()
    deadline = min(time.monotonic() + wait_seconds, record["armed_at"] + record["confirm_seconds"] - 5)
    while True:
        lines = unmet(host, record)
        if not lines or time.monotonic() >= deadline:
            return lines
        time.sleep(1)


def failure(wanted: str, step: str | None, wait_seconds: int, directory: str) -> str:
    """Why what was asked for did not come about; empty when it did, or when nothing was ever armed."""
    if wanted == "checked" or step in (wanted, None):
        return ""
    if wanted == "confirmed":
        return (f"state: value 'confirmed' came too late: the guard is at '{step}', "
                + ("the old network is back" if step == "restored" else "the old network is coming back")
                + "; allowed while the guard is at 'armed'. Make the change anew")
    if step == "confirmed":
        return ("state: value 'restored' came too late: the change was confirmed and the guard is gone; allowed while the guard is at"
                f" 'armed' or 'restoring'. The old files are in {directory}/saved")
    return (f"state: value 'restored' did not come about within {wait_seconds} seconds (wait_seconds): the guard is at '{step}'; look at"
            f" the host's console, and journalctl -u {guard.RESTORE_UNIT}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["checked", "confirmed", "restored"], "required": True},
            "wait_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    host = Host(Runner(module))
    wanted = module.params["state"]
    step = host.step()
    open_steps = {"checked": (), "confirmed": ("armed",), "restored": ("armed", "restoring")}[wanted]
    actions = [Action("confirm" if wanted == "confirmed" else "restore", "network")] if step in open_steps else []
    lines: list[str] = []
    if wanted == "checked" and step == "armed":
        lines = wait_until_met(host, module.params["wait_seconds"])
        step = host.step()
    elif actions and module.check_mode:
        step = wanted
    elif actions and wanted == "confirmed":
        if not host.confirm():
            actions = []
        step = host.step()
    elif actions:
        host.restore()
        deadline = time.monotonic() + module.params["wait_seconds"]
        while step in open_steps and time.monotonic() < deadline:
            time.sleep(1)
            step = host.step()
    result = outcome(actions) | {"step": step, "unmet": lines}
    why = failure(wanted, step, module.params["wait_seconds"], guard.DIRECTORY)
    if why:
        # Whoever asks for a state is told by the step, too: the action plugin goes by that.
        module.fail_json(msg=why, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
