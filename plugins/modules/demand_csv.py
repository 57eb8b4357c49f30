#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: demand_csv
short_description: Read measured demand from a CSV file
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Reads measurements from a CSV file with a header, plain or gzip, and folds them into one demand series per workload and
    resource, as the module P(xenfold.consolidation.placement#module) takes them.
  - Slots are counted from 1970-01-01 00:00 UTC and start again after O(slots) of them, so 24 slots of 3600 seconds give the
    profile of a day in UTC, whatever number of days was measured. All measurements of a slot become one number by O(aggregate).
  - A slot without any measurement takes the larger of the nearest measured slots before and after it. An empty cell counts as
    not measured. RV(filled) tells how often that happened.
  - Changes nothing, and is meant for the control node.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  src:
    description: The file; with the suffix C(.gz) it is read as gzip.
    type: path
    required: true
  columns:
    description:
      - Which column holds what; columns are named as in the header, without blanks around them.
      - V(time) is the column with the time of a measurement, a number since 1970 in O(time_unit) or an ISO 8601 time; a time
        without a zone counts as UTC.
      - V(workload) is the column with the workload's name; left out when the file is about one workload, which O(name) names then.
      - V(resources) maps each resource to a column, a list of columns that are summed, or a mapping with V(column) or V(columns),
        and V(scale), a factor for the sum.
    type: dict
    required: true
  name:
    description:
      - Name of the workload when the file has no column for it.
      - Defaults to the name of the file up to its first dot.
    type: str
  delimiter:
    description: What separates the cells of a row, one character.
    type: str
    default: ","
  time_unit:
    description: Unit of times that are numbers.
    type: str
    choices: [s, ms]
    default: s
  slots:
    description: Number of slots of each series.
    type: int
    default: 24
  slot_seconds:
    description: Length of a slot in seconds.
    type: int
    default: 3600
  aggregate:
    description:
      - How the measurements of one slot become one number. V(p95) is the smallest value that at least 95 percent of them do
        not exceed.
    type: str
    choices: [max, mean, p95]
    default: max
"""

EXAMPLES = r"""
- name: Read a month of measurements as the profile of a day
  xenfold.consolidation.demand_csv:
    src: measurements/2026-10.csv.gz
    columns:
      workload: server
      time: taken_at
      resources:
        cpu_cores: {column: cpu_percent, scale: 0.01}
        memory_mib: {column: memory_used_kb, scale: 0.0009765625}
        network_mbps: {columns: [received_kbit, sent_kbit], scale: 0.001}
    aggregate: p95
  delegate_to: localhost
  register: measured

- name: Plan with it
  xenfold.consolidation.placement:
    hosts: "{{ planned_hosts }}"
    workloads: "{{ measured.workloads }}"
    dest: build/plan.json
  delegate_to: localhost
"""

RETURN = r"""
workloads:
  description: The workloads, sorted by name, each with one series per resource, rounded to six decimals.
  returned: success
  type: list
  elements: dict
  sample: [{name: web01, demand: {cpu_cores: [0.4, 0.3, 1.8]}}]
filled:
  description: Per workload with gaps, the number of values that were filled in because no measurement fell into a slot.
  returned: success
  type: dict
  sample: {web01: 2}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.series_csv import (
    AGGREGATES,
    TIME_UNITS,
    CsvError,
    mapping_of,
    read_path,
)

ARGUMENT_SPEC = {
    "src": {"type": "path", "required": True},
    "columns": {"type": "dict", "required": True},
    "name": {"type": "str"},
    "delimiter": {"type": "str", "default": ","},
    "time_unit": {"type": "str", "choices": list(TIME_UNITS), "default": "s"},
    "slots": {"type": "int", "default": 24},
    "slot_seconds": {"type": "int", "default": 3600},
    "aggregate": {"type": "str", "choices": list(AGGREGATES), "default": "max"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    options = {key: module.params[key] for key in ("delimiter", "time_unit", "slots", "slot_seconds", "aggregate")}
    try:
        mapped = mapping_of(module.params["columns"], **options)
        workloads, filled = read_path(module.params["src"], mapped, module.params["name"])
    except CsvError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"src: value {module.params['src']!r}: {error.strerror}, allowed a file that can be read")
    module.exit_json(changed=False, workloads=workloads, filled=filled)


if __name__ == "__main__":
    main()
