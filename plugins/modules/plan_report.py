#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: plan_report
short_description: Write a plan for people
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Writes a plan as Markdown for reviews and as one self-contained page with the hosts before and after.
  - Runs on the control node. The same plan gives the same bytes; nothing is written when they are there already.
  - Reports of an infeasible plan have C(.infeasible) before their suffix, like the plan itself, and leave the others alone. The
    next reports of a plan that places everything remove them.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  estate:
    description: Name of the estate, for the titles.
    type: str
    required: true
  problem:
    description: C(hosts), C(workloads), C(rules) and C(policy) that the plan was computed from.
    type: dict
    required: true
  plan:
    description: The plan, as the module P(xenfold.consolidation.placement#module) returns it.
    type: dict
    required: true
  markdown:
    description: Where the Markdown goes. Not written when left out.
    type: path
  html:
    description: Where the page goes. Not written when left out.
    type: path
"""

EXAMPLES = r"""
- name: Write the report
  xenfold.consolidation.plan_report:
    estate: example
    problem: "{{ read.estate.problem }}"
    plan: "{{ placed.plan }}"
    markdown: build/example/plan.md
    html: build/example/report.html
"""

RETURN = r"""
lines:
  description: The summary for a terminal.
  returned: always
  type: list
  elements: str
  sample: ["example: 8 hosts before, 4 after (at least 4 are needed), 34 moves in 12 waves"]
refusal:
  description: Why the plan may not be carried out; empty when it may.
  returned: always
  type: str
  sample: ""
actions:
  description: The files that were or would be written or removed.
  returned: always
  type: list
  elements: dict
  sample: [{verb: write, target: build/example/plan.md, detail: ""}]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    WantedFile,
    differing,
    file_diff,
    read_texts,
    writable,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.html import page
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.markdown import markdown
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import lines_of, view_of


def destination(path: str, status: str) -> str:
    """Where a report goes: a plan that may not be carried out must not hide one that may."""
    stem, suffix = os.path.splitext(os.path.abspath(path))
    return f"{stem}{'.infeasible' if status == 'infeasible' else ''}{suffix}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "estate": {"type": "str", "required": True},
            "problem": {"type": "dict", "required": True},
            "plan": {"type": "dict", "required": True},
            "markdown": {"type": "path"},
            "html": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = module.params
    renderers = {"markdown": markdown, "html": page}
    try:
        view = view_of(options["estate"], options["problem"], options["plan"])
        texts = {kind: renderers[kind](view) for kind in renderers if options[kind]}
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        module.fail_json(msg=f"problem, plan: value that does not hold together ({error!r}), allowed what the modules"
                         " estate and placement return")
    paths = {kind: destination(options[kind], view.status) for kind in renderers if options[kind]}
    # A report of an infeasible plan does not outlive the next that can be carried out.
    twins = {} if view.status == "infeasible" else {kind: destination(options[kind], "infeasible") for kind in paths}
    wanted = [WantedFile(path, texts[kind]) for kind, path in paths.items()]
    actual = {}
    for kind, path in paths.items():
        with writable(module, kind):
            actual.update(read_texts([path, *([twins[kind]] if twins else [])]))
    missing = differing(wanted, actual)
    stale = [WantedFile(path, "") for path in twins.values() if actual[path] is not None]
    result = outcome([*(Action("write", file.path) for file in missing),
                      *(Action("remove", file.path, "a report of a plan that places everything is there") for file in stale)])
    # The page is made for eyes: its text in a diff would bury that of the plan.
    shown = [file for file in (*missing, *stale) if file.path not in (paths.get("html"), twins.get("html"))]
    result["diff"] = [file_diff(file, actual) for file in shown]
    if not module.check_mode:
        for kind, path in paths.items():
            with writable(module, kind):
                for file in missing:
                    if file.path == path:
                        write_atomically(file)
                for file in stale:
                    if file.path == twins[kind]:
                        os.unlink(file.path)
    # In full: Ansible works in the playbook's folder, and the person who reads this in another.
    written = [] if module.check_mode else [os.path.abspath(file.path) for file in wanted]
    module.exit_json(**result, lines=lines_of(view, written), refusal=view.refusal)


if __name__ == "__main__":
    main()
