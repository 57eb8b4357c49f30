# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: names_given
short_description: Names that somebody gave on the command line
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes a list, or a text as C(-e) gives it, with commas or blanks between names, in brackets or not. Nothing and an empty text are
    no names.
options:
  _input:
    description: A list of names, or a text.
    type: raw
"""

EXAMPLES = r"""
- name: Show which hosts have no power
  ansible.builtin.debug:
    msg: "{{ hosts_off | default('') | xenfold.consolidation.names_given }}"
"""

RETURN = r"""
_value:
  description: The names, in their order, each once.
  type: list
  elements: str
  sample: [xen02, xen03]
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.offline import words_of


def _names_given(value: Any) -> list[str]:
    return list(dict.fromkeys(words_of(value))) if value else []


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"names_given": _names_given}
