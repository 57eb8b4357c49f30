# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: copies_of
short_description: The hosts that have copies of replicated disks
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - For every guest with replicated disks (C(drbd_minor)) the two hosts that the estate names for it, C(current) and C(replica), with the
    addresses at which they reach each other, which are those for moves (P(xenfold.consolidation.move_peers#filter)).
positional: problem, guests, hosts, found, placement
options:
  _input:
    description: The variables of all hosts, as in C(hostvars).
    type: dict
    required: true
  problem:
    description: The problem of the module M(xenfold.consolidation.estate), as the inventory has it.
    type: dict
    required: true
  guests:
    description: The guests of the same module, by name.
    type: dict
    required: true
  hosts:
    description: Names of the hosts of the estate, as in C(groups['xen_hosts']).
    type: list
    elements: str
    required: true
  found:
    description: What the hosts have, as host -> guests -> state. A guest that is on a host without a copy of its disks is refused.
    type: dict
    default: {}
  placement:
    description: Workload -> host, of the plan. Where a guest is, else where it is planned, counts as the host that has its disks first.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show who has copies
  ansible.builtin.debug:
    msg: "{{ hostvars | xenfold.consolidation.copies_of(estate.problem, estate.guests, groups.xen_hosts) }}"
"""

RETURN = r"""
_value:
  description: Guest -> the host that had its disks first, and both hosts with their addresses.
  type: dict
  sample: {db01: {first: xen01, hosts: {xen01: 10.9.0.1, xen02: 10.9.0.2}}}
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import replicated
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import peers
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.refusals import of_pool, operation


def _copies_of(variables: Any, problem: Any, guests: Any, hosts: Any, found: Any = None, placement: Any = None) -> dict[str, Any]:
    copies: dict[str, Any] = {}
    with operation("copies_of"):
        for workload in problem["workloads"]:
            name = workload["name"]
            if name not in guests or not replicated(guests[name]):
                continue
            pair = [workload.get(key) for key in ("current", "replica")]
            if None in pair or pair[0] == pair[1] or not set(pair) <= set(hosts):
                raise AnsibleFilterError(f"copies_of: workload {name!r}: current and replica: value {pair[0]} and {pair[1]}, allowed two"
                                         " hosts of the estate for replicated disks")
            homes = sorted(host for host, there in (found or {}).items() if name in there)
            strange = [host for host in homes if host not in pair]
            if strange:
                raise AnsibleFilterError(f"copies_of: workload {name!r}: current and replica: value {pair[0]} and {pair[1]}, allowed"
                                         f" {strange[0]} as one of the two, where it is (docs/guests.md, Replicated disks)")
            home = homes[0] if homes else (placement or {}).get(name)
            copies[name] = {"first": home if home in pair else pair[0],
                            "hosts": {one: _address(variables, other, one) for one, other in (pair, pair[::-1])}}
    return copies


def _address(variables: Any, host: str, peer: str) -> str:
    """The address of the peer for the host."""
    return str(of_pool("copies_of", peers.peers_of, variables, host, [peer], every_pool=True)[0]["address"])


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"copies_of": _copies_of}
