# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the filters keep_running and left_out take, checked."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import Hosts


def judge(
    name: str, function: Callable[..., Any], problem: Any, found: Any, guests: Any = None, stored: Any = None, unknown: Any = (),
    new: Any = (),
) -> Any:
    """The result of a function of estate/running.py. name: of the filter. Raises AnsibleFilterError for what is no such data."""
    if not isinstance(problem, Mapping) or not {"workloads", "policy"} <= set(problem):
        raise AnsibleFilterError(f"{name}: problem: has no 'workloads' and 'policy', allowed the problem of the module estate")
    if not isinstance(found, Mapping) or not all(isinstance(there, Mapping) for there in found.values()):
        raise AnsibleFilterError(f"{name}: found: value {found!r}, allowed a mapping host -> guest -> state")
    stored, guests = stored or {}, guests or {}
    keys = ("configured", "volumes")
    if not isinstance(stored, Mapping) or not all(
            isinstance(there, Mapping) and isinstance(there.get(key), list) for there in stored.values() for key in keys):
        raise AnsibleFilterError(f"{name}: stored: value {stored!r}, allowed a mapping host -> what the module xl_guest_info returned")
    for key, value in (("unknown", unknown), ("new", new)):
        if isinstance(value, str) or not all(isinstance(entry, str) for entry in value):
            raise AnsibleFilterError(f"{name}: {key}: value {value!r}, allowed a list of names")
    strange = sorted(set(new) - {workload["name"] for workload in problem["workloads"]})
    if strange:
        raise AnsibleFilterError(f"{name}: new_guests: value {', '.join(strange)!r}, allowed guests of the estate")
    try:
        return function(problem, Hosts(found, stored, list(unknown), list(new)), guests)
    except ValueError as error:
        raise AnsibleFilterError(f"{name}: {error}") from None
