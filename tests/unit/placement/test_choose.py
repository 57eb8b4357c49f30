# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which candidate becomes the plan."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.objective import evaluate
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import Candidate, choose
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.rules import compile_rules

from tests.unit.placement.test_plan import hosts, work

THREE = work(2, a=None, b=None, c=None)
CASES: list[tuple[str, int, Any, list[list[int]], list[int], bool]] = [
    ("not to survive a failure leaves nobody out", 2, THREE, [[0, 0, 1], [0, 0, -1]], [0, 0, 1], True),
    ("a later one survives", 3, THREE, [[0, 0, 1], [0, 1, 2]], [0, 0, 1], False),
    ("nobody complete", 2, THREE, [[0, 0, -1], [0, -1, -1]], [0, 0, -1], False),
]


@pytest.mark.parametrize(("count", "workloads", "placements", "wanted", "weak"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_choice_under_failover(count: int, workloads: Any, placements: list[list[int]], wanted: list[int], weak: bool) -> None:
    problem = normalise({"hosts": hosts(count), "workloads": workloads, "policy": {"failover": 1}})
    rules = compile_rules(problem)
    candidates = [Candidate(evaluate(problem, rules, np.array(host_of)), np.array(host_of)) for host_of in placements]
    chosen, schedule, lost = choose(problem, rules, sorted(candidates, key=lambda candidate: candidate.worth))
    assert chosen.host_of.tolist() == wanted
    assert (lost is not None) == weak
    assert not schedule.stuck
