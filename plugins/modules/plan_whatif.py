#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: plan_whatif
short_description: Compare the plan of an estate with that after a change
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Plans a problem as it is and after hosts were taken away, hosts were added or demands have grown, and writes the difference as
    Markdown and as one self-contained page. The changes are those of the filter P(xenfold.consolidation.overlay#filter).
  - Runs on the control node, and changes no plan. That something does not fit after the change is an answer, not a failure.
extends_documentation_fragment: xenfold.consolidation.attributes
requirements:
  - numpy
  - highspy
options:
  estate:
    description: Name of the estate, for the titles.
    type: str
    required: true
  problem:
    description: C(hosts), C(workloads), C(rules) and C(policy) of the estate as it is.
    type: dict
    required: true
  plan:
    description: The file of the plan of the estate as it is; only read. It need not be there.
    type: path
  without_host:
    description: The name of a host to take away, several with commas, or a list of names.
    type: raw
  add_hosts:
    description: How many hosts to add, from 1 to 1000; or a list of C(name) and C(like).
    type: raw
  like:
    description: The host that new ones are like when O(add_hosts) does not say.
    type: raw
  growth_percent:
    description: By how much all demands grow, a number above -100; or a mapping of resources to such numbers.
    type: raw
  markdown:
    description: Where the Markdown goes. Not written when left out.
    type: path
  html:
    description: Where the page goes. Not written when left out.
    type: path
"""

EXAMPLES = r"""
- name: Ask whether xen03 can go
  xenfold.consolidation.plan_whatif:
    estate: example
    problem: "{{ read.estate.problem }}"
    plan: build/example/plan.json
    without_host: xen03
    markdown: build/example/whatif.md
    html: build/example/whatif.html
"""

RETURN = r"""
lines:
  description: The comparison for a terminal.
  returned: success
  type: list
  elements: str
  sample: ["What if, example: without xen03"]
before:
  description: C(status) of the plan as it is, and the numbers of its C(summary).
  returned: success
  type: dict
after:
  description: The same of the plan after the change.
  returned: success
  type: dict
actions:
  description: The files that were or would be written.
  returned: success
  type: list
  elements: dict
  sample: [{verb: write, target: build/example/whatif.md, detail: ""}]
"""

import os
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.overlay import KEYS, OverlayError, overlay
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    WantedFile,
    differing,
    file_diff,
    read_texts,
    writable,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.whatif import (
    compare,
    facts_of,
    whatif_lines,
    whatif_markdown,
    whatif_page,
)

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.known import plan_for
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
    NUMPY_ERROR = None
except ImportError:
    NUMPY_ERROR = traceback.format_exc()

RENDERERS = {"markdown": whatif_markdown, "html": whatif_page}


def read(module, option):
    """The text of the file that an option names, None without one."""
    path = module.params[option]
    if not path:
        return None
    try:
        return read_texts([path])[path]
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{option}: value {path!r}: {error}, allowed the path of a file that can be read")


def ask(module):
    """The comparison, and the two plans."""
    problem = module.params["problem"]
    try:
        normalise(problem)
        changed = overlay(problem, **{key: module.params[key] for key in KEYS})
        before, after = plan_for(problem, read(module, "plan")), place(changed.problem)
    except ProblemError as error:
        module.fail_json(msg=f"The problem is not sound, nothing was planned:\n{error}", errors=error.errors)
    except OverlayError as error:
        module.fail_json(msg=str(error))
    except RecursionError:
        module.fail_json(msg="problem: value of type dict that is nested too deeply, allowed one with hosts, workloads, rules, policy")
    told = compare(module.params["estate"], changed.changes, changed.notes, (problem, before), (changed.problem, after))
    return told, before, after


def bring(module, told):
    """Write the reports that are not there yet; returns what was or would be done."""
    diffs, actions, paths = [], [], []
    for option, render in RENDERERS.items():
        if not module.params[option]:
            continue
        file = WantedFile(os.path.abspath(module.params[option]), render(told))
        actual = {file.path: read(module, option)}
        paths.append(file.path)
        for missing in differing([file], actual):
            actions.append(Action("write", file.path))
            # The page is made for eyes: its text in a diff would bury that of the Markdown.
            diffs += [file_diff(missing, actual)] if option == "markdown" else []
            if not module.check_mode:
                with writable(module, option):
                    write_atomically(missing)
    return {**outcome(actions), "diff": diffs}, [] if module.check_mode else paths


def main():
    module = AnsibleModule(
        argument_spec={
            "estate": {"type": "str", "required": True},
            "problem": {"type": "dict", "required": True},
            "plan": {"type": "path"},
            **{key: {"type": "raw"} for key in KEYS},
            "markdown": {"type": "path"},
            "html": {"type": "path"},
        },
        supports_check_mode=True,
    )
    if NUMPY_ERROR:
        module.fail_json(msg=missing_required_lib("numpy and highspy"), exception=NUMPY_ERROR)
    told, before, after = ask(module)
    result, written = bring(module, told)
    module.exit_json(**result, lines=whatif_lines(told, written), before=facts_of(before), after=facts_of(after))


if __name__ == "__main__":
    main()
