# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host has what the planner counts on; pure."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.finding import Finding
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.capacity import HostCapacity, capacity_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.memory import footprint_mib


def findings(host: str, there: Mapping[str, Any], sizes: Any) -> Iterator[Finding]:
    """there: the answer `capacity` of host_info; sizes: variables of the host ({estate_host, dom0_vcpus, dom0_memory_mib}), as a person
    wrote them."""
    counted = _counted(host, sizes)[0]
    if not there or counted is None:
        return
    cores = counted.values.get("cpu_cores")
    free_cores = there["cpus"] - there["dom0_vcpus"]
    if cores is not None and free_cores < cores:
        yield Finding(host, "capacity", "cpu_cores", f"{free_cores}", f"{cores:g}",
                      f"guests have {free_cores} CPUs here ({there['cpus']} less {there['dom0_vcpus']} of dom0); the planner counts on"
                      f" {cores:g} ({counted.sources['cpu_cores']})")
    memory = counted.values.get("memory_mib")
    # What the planner counts for a guest has more in it than `xl list` shows. Its type and its greatest size are not known here.
    taken = sum(footprint_mib(guest["memory_mib"], guest["memory_mib"], guest["vcpus"], "pvh") for guest in there["guests"])
    guests_mib, number = there["free_memory_mib"] + taken, len(there["guests"])
    if memory is not None and guests_mib < memory:
        yield Finding(host, "capacity", "memory_mib", f"{guests_mib}", f"{memory:g}",
                      f"guests have {guests_mib} MiB of memory here ({there['free_memory_mib']} free, the rest taken by"
                      f" {number} guest{'' if number == 1 else 's'}); the planner counts on {memory:g} ({counted.sources['memory_mib']})."
                      f" Xen has {there['total_memory_mib']} MiB in all")


def wrong(host: str, sizes: Any) -> str:
    """Why nobody can tell what the planner counts on; "" when it can be told."""
    return _counted(host, sizes)[1]


def _counted(host: str, sizes: Any) -> tuple[HostCapacity | None, str]:
    try:
        return capacity_of(sizes), ""
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return None, (f"host {host!r}: estate_host, dom0_vcpus, dom0_memory_mib: values that do not hold together ({error!r}), allowed what"
                      " playbooks/plan.yml takes")
