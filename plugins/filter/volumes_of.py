# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: volumes_of
short_description: Logical volumes that guests need
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The volumes of guests as the module M(xenfold.consolidation.lvm_volumes) takes them, sorted.
  - Checks the guests first and fails with everything that is wrong with them.
options:
  _input:
    description: Guests as the module M(xenfold.consolidation.xl_guest) takes them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Volumes for the guests
  xenfold.consolidation.lvm_volumes:
    volumes: "{{ guests_definitions | xenfold.consolidation.volumes_of }}"
"""

RETURN = r"""
_value:
  description: Volumes.
  type: list
  elements: dict
  sample: [{name: web01-root, volume_group: vg_guests, size_gib: 20.0}]
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import refuse_bad_guests
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import volumes_of


def _volumes_of(guests: Any) -> list[dict[str, Any]]:
    try:
        refuse_bad_guests(guests)
    except ValueError as error:
        raise AnsibleFilterError(f"volumes_of: {error}") from error
    return volumes_of(guests)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"volumes_of": _volumes_of}
