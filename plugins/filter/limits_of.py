# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: limits_of
short_description: Limits that guests take along when they move
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The limits of disks and networks of those guests that have some, as the option O(xenfold.consolidation.xl_guest#module:visitors) takes
    them. Minimum shares are left out, as they are promises of one host.
  - Checks the guests first and fails with everything that is wrong with them.
options:
  _input:
    description: Guests as the module M(xenfold.consolidation.xl_guest) takes them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Run the guests of this host
  ansible.builtin.include_role:
    name: xenfold.consolidation.guests
  vars:
    guests_visitors: "{{ all_guests | xenfold.consolidation.limits_of }}"
"""

RETURN = r"""
_value:
  description: Limits by guest.
  type: dict
  sample: {web01: {disks: {xvda: {write_mibps: 100}}, networks: {"00:16:3e:3b:46:9e": {bridge: xenbr0, rate_mbps: 200}}}}
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import refuse_bad_guests
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits.wanted import for_visitors, wanted_of


def _limits_of(guests: Any) -> dict[str, Any]:
    try:
        refuse_bad_guests(guests)
    except ValueError as error:
        raise AnsibleFilterError(f"limits_of: {error}") from error
    return for_visitors(wanted_of(map(normalise, guests)))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"limits_of": _limits_of}
