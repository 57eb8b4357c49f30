# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_left
short_description: What is left of a plan, by where its guests are now
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes the steps of a plan that are done as done when the hosts say so, not by any journal.
positional: found, guests, hosts, limited
options:
  _input:
    description: The plan, as P(xenfold.consolidation.placement#module) wrote it.
    type: dict
    required: true
  found:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info).
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
  limited:
    description: Those that take part in this run.
    type: list
    elements: str
    required: true
  offline:
    description: Guests that may be shut down to move with their disks, V(all) for all.
    type: raw
    default: []
  start:
    description: What P(xenfold.consolidation.moves_judged#filter) returned in C(start).
    type: list
    elements: dict
    default: []
  off:
    description: Hosts without power. Nothing runs there, and steps that need one stay undone.
    type: list
    elements: str
    default: []
  lost:
    description: Those of them that had not been emptied.
    type: list
    elements: str
    default: []
  new:
    description: Guests that have no disks on any of O(lost).
    type: list
    elements: str
    default: []
  local:
    description: Guests with disks on one host alone.
    type: list
    elements: str
    default: []
  waiting:
    description: Guests of which it is not known where they are, C(waits) of P(xenfold.consolidation.moves_judged#filter). Their steps are
      left.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what is left
  ansible.builtin.debug:
    msg: "{{ (plan | xenfold.consolidation.moves_left(found, estate.guests, groups['xen_hosts'], ansible_play_hosts_all)).waves }}"
"""

RETURN = r"""
_value:
  description:
    - C(steps), each with C(done); C(waves) with what is left of them, as C(moves), C(offline) and C(define); C(forget), the guests that
      have moved away from a host and have a link or configuration there; C(settled), hosts of steps that are done; C(sends),
      C(sends_volumes) and C(needs) by host; C(lacking), the steps that wait for consent.
    - C(problems), which stand against beginning at all.
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import offline as with_disks
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import progress
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _moves_left(
    plan: Any, found: Any, guests: Any, hosts: Any, limited: Any, *, offline: Any = (), start: Any = (), off: Any = (),
    lost: Any = (), new: Any = (), local: Any = (), waiting: Any = (),
) -> dict[str, Any]:
    plan, found, guests, offline = plain([plan, found, guests, offline])
    hosts, limited, start, off, lost, new, local, waiting = plain(
        [list(given) for given in (hosts, limited, start, off, lost, new, local, waiting)])
    strange = sorted(set(new) - set(guests))
    if strange:
        raise AnsibleFilterError(f"moves_left: new_guests: value {', '.join(strange)!r}, allowed guests of the estate")
    errors = progress.check_plan(plan, guests, hosts)
    if errors:
        raise AnsibleFilterError("moves_left: " + "; ".join(errors))
    try:
        consents = with_disks.names_in("moves_offline", offline, guests)
    except ValueError as error:
        raise AnsibleFilterError(f"moves_left: {error}") from None
    return progress.left(plan, found, guests, progress.unasked(hosts, limited, found, off), consents, start=start, off=off, lost=lost,
                         new=new, local=local, waiting=waiting)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_left": _moves_left}
