# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Depth-first search for a placement of everyone, for small estates whose rules lead the greedy packings astray."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .packing import Item, Scale
from .problem import Ints
from .state import State

MOST_ITEMS = 60
NODES = {"quick": 0, "normal": 2000, "thorough": 20000}


def place_all(empty: State, items: Sequence[Item]) -> Ints | None:
    """host_of of the first complete placement found, or None.

    At every node the item with the fewest hosts left is placed next (the largest of them), on its current host, then on hosts that
    hold something, then on others. Gives up after the number of nodes that policy.effort allows, and keeps max_moves.
    """
    problem = empty.problem
    if len(items) > MOST_ITEMS:
        return None
    state, scale = empty.copy(), Scale(problem, items)
    limit = problem.policy.max_moves
    nodes = NODES[problem.policy.effort]

    def go(left: list[int]) -> bool:
        nonlocal nodes
        if not left:
            return True
        options = {position: np.nonzero(state.options(scale.items[position]))[0] for position in left}
        position = min(left, key=lambda position: len(options[position]))
        item = scale.items[position]
        home = int(problem.current[item[0]])
        rest = [other for other in left if other != position]
        for host in sorted(options[position].tolist(), key=lambda host: (host != home, state.count[host] == 0, host)):
            nodes -= 1
            if nodes < 0:
                return False
            state.place(item, host)
            if (limit is None or state.moves() <= limit) and go(rest):
                return True
            state.remove(item)
        return False
    return state.host_of if go(scale.order()) else None
