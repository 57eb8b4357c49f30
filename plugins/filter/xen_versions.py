# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: xen_versions
short_description: Which Xen runs on which hosts of which pool
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Sorts what hosts told by pool, as the role P(xenfold.consolidation.dom0#role) takes it in C(dom0_xen_versions). Hosts without Xen, and
    those that told nothing, are left out.
positional: pools
options:
  _input:
    description: Version of Xen by host; empty for a host without.
    type: dict
    required: true
  pools:
    description: Name of the pool by host; empty for V(default).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which Xen runs where
  ansible.builtin.debug:
    msg: "{{ {'xen01': '4.17.7', 'xen02': ''} | xenfold.consolidation.xen_versions({'xen01': 'epyc', 'xen02': 'epyc'}) }}"
"""

RETURN = r"""
_value:
  description: By pool, the version of Xen by host.
  type: dict
  sample: {epyc: {xen01: 4.17.7}}
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import DEFAULT_POOL


def _xen_versions(versions: Any, pools: Any) -> dict[str, dict[str, str]]:
    if not isinstance(versions, Mapping) or not isinstance(pools, Mapping):
        raise AnsibleFilterError(
            f"xen_versions: values of type {type(versions).__name__} and {type(pools).__name__}, allowed versions and pools, both by host")
    found: dict[str, dict[str, str]] = {}
    for host, version in versions.items():
        if version:
            found.setdefault(str(pools.get(host) or DEFAULT_POOL), {})[str(host)] = str(version)
    return found


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"xen_versions": _xen_versions}
