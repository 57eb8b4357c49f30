#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: audit_report
short_description: Compare what hosts answered with the estate and write it down
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Turns what hosts answered into findings and a verdict, and writes both as JSON for machines and as Markdown for people.
  - Runs on the control node and contacts nobody. The same answers give the same bytes; nothing is written when they are there already.
  - A host is V(in_sync) only when everything could be asked. One that could not be reached is V(unknown), and so is one of which
    something is not known and nothing but failed checks is found; one with findings is V(drift). Of all hosts, V(unknown) wins over
    V(drift), and that over V(in_sync).
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  estate:
    description: Name of the estate, for the titles.
    type: str
    required: true
  hosts:
    description: All hosts of the estate. Those that are not in O(asked) are listed and do not count.
    type: list
    elements: str
    required: true
  asked:
    description: The hosts that this run was for.
    type: list
    elements: str
    required: true
  answers:
    description:
      - By host, what its modules returned - C(host) of P(xenfold.consolidation.host_info#module), and in check mode C(dom0) of
        P(xenfold.consolidation.dom0#module), C(network) of P(xenfold.consolidation.network#module), C(arrays) of
        P(xenfold.consolidation.md_array#module) and C(volumes) of P(xenfold.consolidation.lvm_volumes#module).
      - Of guests C(guest_info) of P(xenfold.consolidation.xl_guest_info#module) with details, and in check mode C(guest_volumes) of
        P(xenfold.consolidation.lvm_volumes#module) and C(guests) of P(xenfold.consolidation.xl_guest#module), both for those that are
        there or stored there.
      - C(arguments) of a host has the results of P(ansible.builtin.validate_argument_spec#module), with the role as C(item).
      - C(wanted) of a host has C(arrays) (its C(storage_arrays)), C(other_arrays) (UUIDs or names of arrays that are not of the estate
        and may be there), C(pool) (V(default) when left out), C(cpu_levels) (C(pool_cpu_levels)) and C(sizes) (its C(estate_host),
        C(dom0_vcpus) and C(dom0_memory_mib), from which the planner's capacity follows). What is wrong there makes something of that
        host unknown.
    type: dict
    required: true
  read:
    description:
      - What P(xenfold.consolidation.estate#module) returned, also when it failed. Guests are not compared when left out or skipped.
      - When it says that the estate has values out of a vault, neither definitions nor what differs from them is shown.
    type: dict
    default: {}
  plan:
    description:
      - The file with the plan, for the hosts where guests should run. That there is none, that it is no plan or that of another estate
        is told in the notes.
    type: path
  json:
    description: Where the JSON goes. Not written when left out.
    type: path
  markdown:
    description: Where the Markdown goes. Not written when left out.
    type: path
  verdict:
    description: Where the verdict alone goes, for a program that waits for it. Not written when left out.
    type: path
seealso:
  - module: xenfold.consolidation.host_info
"""

EXAMPLES = r"""
- name: Write the audit
  xenfold.consolidation.audit_report:
    estate: example
    hosts: "{{ groups.xen_hosts }}"
    asked: "{{ ansible_play_hosts_all }}"
    answers: "{{ audit_answers }}"
    json: build/example/audit.json
    markdown: build/example/audit.md
"""

RETURN = r"""
verdict:
  description: V(in_sync), V(drift) or V(unknown).
  returned: success
  type: str
  sample: in_sync
audit:
  description: The content of the JSON - C(schema), C(estate), C(verdict), C(hosts), C(not_asked), C(findings) (those of no host), C(notes),
    C(kinds).
  returned: success
  type: dict
lines:
  description: The summary for a terminal.
  returned: success
  type: list
  elements: str
  sample: ["example: in sync: 8 hosts asked"]
actions:
  description: The files that were or would be written.
  returned: success
  type: list
  elements: dict
  sample: [{verb: write, target: build/example/audit.json, detail: ""}]
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action, outcome
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.findings import audit
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.text import lines_of, markdown
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    WantedFile,
    differing,
    file_diff,
    read_texts,
    writable,
    write_atomically,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "estate": {"type": "str", "required": True},
            "hosts": {"type": "list", "elements": "str", "required": True},
            "asked": {"type": "list", "elements": "str", "required": True},
            "answers": {"type": "dict", "required": True},
            "read": {"type": "dict", "default": {}},
            "plan": {"type": "path"},
            "json": {"type": "path"},
            "markdown": {"type": "path"},
            "verdict": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        plan = read_texts([options["plan"]])[options["plan"]] if options["plan"] else None
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"plan: value {options['plan']!r}: {error}, allowed the path of a file that can be read, or of none")
    try:
        found = audit(options["estate"], options["hosts"], options["asked"], options["answers"], options["read"], plan)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        module.fail_json(msg=f"answers: value that does not hold together ({error!r}), allowed what the modules host_info, dom0,"
                         " network, md_array, lvm_volumes, xl_guest_info and xl_guest return, by host")
    texts = {"json": json.dumps(found, indent=2, ensure_ascii=False) + "\n", "markdown": markdown(found),
             "verdict": f"{found['verdict']}\n"}
    wanted = {kind: WantedFile(os.path.abspath(options[kind]), text) for kind, text in texts.items() if options[kind]}
    actual: dict[str, str | None] = {}
    for kind, file in wanted.items():
        with writable(module, kind):
            actual.update(read_texts([file.path]))
    missing = differing(wanted.values(), actual)
    result = outcome(Action("write", file.path) for file in missing)
    result["diff"] = [file_diff(file, actual) for file in missing]
    if not module.check_mode:
        for kind, file in wanted.items():
            if file in missing:
                with writable(module, kind):
                    write_atomically(file)
    written = [] if module.check_mode else [wanted[kind].path for kind in ("json", "markdown") if kind in wanted]
    module.exit_json(**result, verdict=found["verdict"], audit=found, lines=lines_of(found, written))


if __name__ == "__main__":
    main()
