# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_judged
short_description: What became of guests that moves have left in doubt
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Judges by what all hosts have - whether nothing happened, the guest has arrived, is to come back, or is in a state that only a
    person may decide. No copy is let run while another one may have run.
positional: plan, guests, hosts, wave, results
options:
  _input:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info).
    type: dict
    required: true
  plan:
    description: The plan.
    type: dict
    required: true
  guests:
    description: Definitions of the guests of the estate by name.
    type: dict
    required: true
  hosts:
    description: All hosts of the estate.
    type: list
    elements: str
    required: true
  wave:
    description: A wave of P(xenfold.consolidation.moves_left#filter) that has just ended. Its guests are judged in any case.
    type: dict
    default: {}
  results:
    description: What M(xenfold.consolidation.xl_move) returned for it in C(moves), by host.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Judge what an earlier run left
  ansible.builtin.set_fact:
    judged: "{{ found | xenfold.consolidation.moves_judged(plan, estate.guests, groups['xen_hosts']) }}"
"""

RETURN = r"""
_value:
  description:
    - C(verdicts), C(settle) and C(forget) with what is to be done on each host, for M(xenfold.consolidation.xl_move_settle), and
      C(problems), what only a person may decide, with the exact state and what to do.
    - Of guests that move with their disks C(volumes) with what is to be done on each host, for M(xenfold.consolidation.volume_settle), and
      C(start), those that run nowhere and are to be started, each with C(workload) and C(to), and C(handed_over), those of them that were
      handed over, as P(xenfold.consolidation.moves_returned#filter) takes them, C(kept), what is to be done with volumes on each host when
      those have started, and C(waits), guests that were left until a host tells that did not, with the reason.
    - C(lines) and C(failed) for the steps of O(wave).
  type: dict
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import offline, progress
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _moves_judged(found: Any, plan: Any, guests: Any, hosts: Any, wave: Any = None, results: Any = None) -> dict[str, Any]:
    found, plan, guests, hosts, wave, results = plain([found, plan, guests, list(hosts), wave or {"moves": []}, results or {}])
    silent = set(hosts) - set(found)
    judgement = progress.judged(plan, found, guests, silent, wave["moves"])
    with_disks = offline.judged(found, guests, silent, wave.get("offline", ()))
    for host, left in with_disks.pop("leave").items():
        judgement["forget"].setdefault(host, []).extend(left)
    judgement |= {key: judgement[key] + with_disks.pop(key) for key in ("verdicts", "problems")}
    judgement |= with_disks
    return judgement | progress.report(wave, judgement, results, guests, len(plan["moves"]))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_judged": _moves_judged}
