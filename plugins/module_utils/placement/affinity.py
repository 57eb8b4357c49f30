# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Workloads that hard affinities bind to one host."""
from __future__ import annotations

from collections.abc import Iterable

from .problem import RuleSpec


def bound_together(specs: Iterable[RuleSpec], workloads: int) -> list[tuple[int, ...]]:
    """Of each workload all that have to share its host, itself among them; sorted."""
    leader = list(range(workloads))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for spec in specs:
        if spec.hard and spec.kind == "affinity" and spec.scope == "host":
            for other in spec.workloads[1:]:
                first, second = sorted((find(spec.workloads[0]), find(other)))
                leader[second] = first
    groups: dict[int, list[int]] = {}
    for index in range(len(leader)):
        groups.setdefault(find(index), []).append(index)
    whole = {head: tuple(members) for head, members in groups.items()}
    return [whole[find(index)] for index in range(len(leader))]
