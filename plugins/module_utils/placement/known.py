# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A plan that was computed already, taken when it belongs to the same problem."""
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .normalise import normalise
from .plan import SCHEMA, place

_PARTS = {"summary": dict, "placement": dict, "hosts": dict, "moves": list, "unplaced": list, "conflict": list}


def plan_for(document: Mapping[str, Any], text: str | None) -> dict[str, Any]:
    """The plan of a problem: the one that a file's text holds when it has the same inputs_sha256, else a new one.

    Raises ProblemError when the problem is not sound.
    """
    try:
        plan = json.loads(text or "")
    except (ValueError, RecursionError):
        return place(document)
    whole = isinstance(plan, dict) and plan.get("schema") == SCHEMA and all(isinstance(plan.get(key), _PARTS[key]) for key in _PARTS)
    return plan if whole and plan.get("inputs_sha256") == normalise(document).sha256 else place(document)
