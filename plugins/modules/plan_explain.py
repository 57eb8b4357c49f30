#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: plan_explain
short_description: Tell why a workload is planned on one host and on no other
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes the plan of the file O(plan) when it was computed from the same problem, else plans, and asks for one workload.
  - Runs on the control node and writes nothing. The filter P(xenfold.consolidation.explain#filter) says the same of a plan at hand.
extends_documentation_fragment: xenfold.consolidation.attributes
requirements:
  - numpy
  - highspy
options:
  problem:
    description: C(hosts), C(workloads), C(rules) and C(policy).
    type: dict
    required: true
  plan:
    description: The file of a plan. It need not be there.
    type: path
  workload:
    description: Name of a workload of the problem.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Ask why web01 is where it is
  xenfold.consolidation.plan_explain:
    problem: "{{ read.estate.problem }}"
    plan: build/example/plan.json
    workload: web01
"""

RETURN = r"""
explained:
  description: The answer, as the filter P(xenfold.consolidation.explain#filter) returns it.
  returned: success
  type: dict
lines:
  description: The answer for a terminal, one line for each other host.
  returned: success
  type: list
  elements: str
  sample: ["web01 on xen01: stays at home on xen01: no move needed"]
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import read_texts
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.explain import explain_lines

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.explain import ExplainError, explain, find_workload
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.known import plan_for
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
    NUMPY_ERROR = None
except ImportError:
    NUMPY_ERROR = traceback.format_exc()


def main():
    module = AnsibleModule(
        argument_spec={
            "problem": {"type": "dict", "required": True},
            "plan": {"type": "path"},
            "workload": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if NUMPY_ERROR:
        module.fail_json(msg=missing_required_lib("numpy and highspy"), exception=NUMPY_ERROR)
    problem, path, workload = (module.params[key] for key in ("problem", "plan", "workload"))
    try:
        known = read_texts([path])[path] if path else None
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"plan: value {path!r}: {error}, allowed the path of a file that can be read")
    try:
        # Asked before anything is planned: a name that is mistyped should not take minutes.
        find_workload(problem, workload)
        answer = explain(problem, plan_for(problem, known), workload)
    except ProblemError as error:
        module.fail_json(msg=f"The problem is not sound, nothing was planned:\n{error}", errors=error.errors)
    except ExplainError as error:
        module.fail_json(msg=str(error))
    except RecursionError:
        module.fail_json(msg="problem: value of type dict that is nested too deeply, allowed one with hosts, workloads, rules, policy")
    module.exit_json(changed=False, explained=answer, lines=explain_lines(answer))


if __name__ == "__main__":
    main()
