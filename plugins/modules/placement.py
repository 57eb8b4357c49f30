#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: placement
short_description: Place workloads on as few hosts as possible and order the moves
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Computes a plan from hosts, workloads, rules and a policy, and writes it to a file when it changes.
  - Runs on the control node, needs NumPy there and contacts nobody. Same inputs give the same bytes.
  - Fails with everything that is wrong with its input at once, each with item, key, value and what is allowed.
  - A plan that leaves something out is written beside O(dest), as C(.infeasible.json) for C(.json), and the module fails. The next
    plan that places everything removes that file.
  - What the keys mean, and how the planner works, is in C(docs/planner.md).
extends_documentation_fragment: xenfold.consolidation.attributes
requirements:
  - numpy
  - highspy
options:
  hosts:
    description:
      - Hosts, each with C(name) and C(capacity). C(reserved), by resource, is what no workload gets of it.
      - C(numa_nodes), a list of mappings like C(capacity), one for each NUMA node of a host, makes workloads stay within one node
        where one is as large as they are. Larger ones count on all nodes, in proportion.
    type: list
    elements: dict
  workloads:
    description: Workloads, each with C(name) and C(demand), a number or a series per resource.
    type: list
    elements: dict
  rules:
    description: Rules, each with C(rule) and C(workloads).
    type: list
    elements: dict
  policy:
    description:
      - Objective, headroom, overcommit, failover, max_moves, effort, seed and tradeoff.
      - C(seed), a whole number of at least 0 and at most 1000000000000, chooses among equally good ways of searching. The same
        seed gives the same plan.
    type: dict
  tradeoff:
    description: Whether the plan tells the fewest moves found for each number of hosts, as with C(tradeoff) of the policy.
    type: bool
  src:
    description: A JSON file with hosts, workloads, rules and policy, instead of the options.
    type: path
  dest:
    description: Where the plan is written, as JSON.
    type: path
  keep_when_idle:
    description:
      - Whether a plan that is there already stays when there is nothing to do now. The file then tells what was done last.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Place three workloads on two hosts
  xenfold.consolidation.placement:
    hosts:
      - {name: xen01, capacity: {cpu_cores: 8, memory_mib: 32768}}
      - name: xen02
        capacity: {cpu_cores: 8, memory_mib: 32768}
        numa_nodes: [{cpu_cores: 4, memory_mib: 16384}, {cpu_cores: 4, memory_mib: 16384}]
    workloads:
      - {name: web01, demand: {cpu_cores: 2, memory_mib: 8192}}
      - {name: web02, demand: {cpu_cores: 2, memory_mib: 8192}}
      - {name: db01, demand: {cpu_cores: [1, 1, 4], memory_mib: 16384}, current: xen01}
    rules:
      - {rule: anti_affinity, workloads: [web01, web02]}
    dest: plan.json

- name: Plan what a file describes
  xenfold.consolidation.placement:
    src: problem.json
"""

RETURN = r"""
kept:
  description: Whether O(dest) was left alone by O(keep_when_idle).
  returned: always
  type: bool
plan:
  description: The plan, the same object as in the file.
  returned: success, and failure when the problem is infeasible
  type: dict
  contains:
    schema:
      description: Version of this structure.
      type: int
      sample: 1
    status:
      description: V(optimal), V(feasible), V(nothing_to_do) or V(infeasible).
      type: str
    inputs_sha256:
      description: SHA-256 of the normalised inputs.
      type: str
    summary:
      description: Numbers of workloads, hosts before and after, the bound, moves, MiB moved and unplaced workloads.
      type: dict
    placement:
      description: Host by workload.
      type: dict
    hosts:
      description:
        - Per host its workloads, what is used at the peak of each resource, what is usable, and the slot of the peak.
        - C(numa_nodes) of a host that names its nodes is the index of the node by workload, null for one that is larger than each.
      type: dict
    moves:
      description: Moves in order.
      type: list
      elements: dict
    unplaced:
      description: What found no host, with the reason per host.
      type: list
      elements: dict
    conflict:
      description: Few rules and demands that cannot hold together, when infeasible.
      type: list
      elements: dict
    tradeoff:
      description: Fewest moves found per number of hosts, with effort thorough or C(tradeoff) true.
      type: list
      elements: dict
actions:
  description: The files that were or would be written or removed.
  returned: when O(dest) is given
  type: list
  elements: dict
  sample: [{verb: write, target: build/plan.json, detail: ""}]
dest:
  description: The file that holds the plan.
  returned: when O(dest) is given
  type: str
"""

import json
import os
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    WantedFile,
    differing,
    file_diff,
    read_texts,
    write_atomically,
)

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.files import destination, encode, outlived
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
    NUMPY_ERROR = None
except ImportError:
    NUMPY_ERROR = traceback.format_exc()

KEYS = ("hosts", "workloads", "rules", "policy")


def each_once(pairs):
    """A mapping; of a key that stands twice JSON would take the last without a word."""
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = sorted({key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1})
        raise ValueError(f"key {twice[0]!r} stands twice in one mapping")
    return result


def read_problem(module):
    """The problem from `src`, or from the options."""
    source = module.params["src"]
    if not source:
        return {key: module.params[key] for key in KEYS if module.params[key] is not None}
    try:
        with open(source, encoding="utf-8") as stream:
            return json.load(stream, object_pairs_hook=each_once)
    except RecursionError:
        module.fail_json(msg=f"placement: src: value {source!r}: nested too deeply, allowed a JSON file with {', '.join(KEYS)}")
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"placement: src: value {source!r}: {error}, allowed a JSON file with {', '.join(KEYS)}")


def with_tradeoff(problem, tradeoff):
    """The problem with `tradeoff` in its policy when the option says so; one that is not even shaped like a problem stays."""
    if tradeoff is None or not isinstance(problem, dict) or not isinstance(problem.get("policy") or {}, dict):
        return problem
    return {**problem, "policy": {**(problem.get("policy") or {}), "tradeoff": tradeoff}}


def write(module, plan):
    """Bring the plan's file, and that of an infeasible plan before it, to what they must be; returns what was or would be done."""
    dest = module.params["dest"]
    file = WantedFile(os.path.abspath(destination(dest, plan)), encode(plan))
    stale = outlived(os.path.abspath(dest), plan)
    try:
        actual = read_texts([file.path, *([stale] if stale else [])])
        wanted = differing([file], actual)
        removed = [stale] if stale and actual[stale] is not None else []
        if not module.check_mode:
            for action in wanted:
                write_atomically(action)
            for path in removed:
                os.unlink(path)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"placement: dest: value {dest!r}: {error}, allowed the path of a file that can be written", plan=plan)
    done = outcome([*(Action("write", action.path) for action in wanted),
                    *(Action("remove", path, "a plan that places everything is there") for path in removed)])
    done["diff"] = [file_diff(action, actual) for action in (*wanted, *(WantedFile(path, "") for path in removed))]
    return {**done, "dest": file.path}


def main():
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "list", "elements": "dict"},
            "workloads": {"type": "list", "elements": "dict"},
            "rules": {"type": "list", "elements": "dict"},
            "policy": {"type": "dict"},
            "tradeoff": {"type": "bool"},
            "src": {"type": "path"},
            "dest": {"type": "path"},
            "keep_when_idle": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("src", key) for key in KEYS],
        required_one_of=[("src", "hosts")],
        supports_check_mode=True,
    )
    if NUMPY_ERROR:
        module.fail_json(msg=missing_required_lib("numpy and highspy"), exception=NUMPY_ERROR)
    try:
        plan = place(with_tradeoff(read_problem(module), module.params["tradeoff"]))
    except ProblemError as error:
        module.fail_json(msg=f"The problem is not sound, nothing was planned:\n{error}", errors=error.errors)
    except RecursionError:
        module.fail_json(msg=f"placement: {'src' if module.params['src'] else ', '.join(KEYS)}: value of type dict that is nested too"
                         f" deeply, allowed a mapping with {', '.join(KEYS)}")
    dest = module.params["dest"]
    kept = bool(module.params["keep_when_idle"] and plan["status"] == "nothing_to_do" and dest and os.path.exists(dest))
    result = {"changed": False, "plan": plan, "kept": kept, **(write(module, plan) if dest and not kept else {})}
    if plan["status"] == "infeasible":
        module.fail_json(msg=f"No placement satisfies the problem: {plan['summary']['unplaced']} of "
                         f"{plan['summary']['workloads']} workloads unplaced; see plan.unplaced and plan.conflict", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
