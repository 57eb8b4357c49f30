# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A plan as a file."""
from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any


def encode(plan: Mapping[str, Any]) -> str:
    """The bytes of a plan: keys sorted, one value a line, so that two plans compare well."""
    return json.dumps(plan, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def destination(dest: str, plan: Mapping[str, Any]) -> str:
    """Where a plan goes: beside `dest` when it is infeasible, so that it never replaces one that can be carried out."""
    return _twin(dest) if plan["status"] == "infeasible" else dest


def outlived(dest: str, plan: Mapping[str, Any]) -> str | None:
    """The file of an infeasible plan that a plan makes stale, whether or not it is there; None when the plan is infeasible itself."""
    return None if plan["status"] == "infeasible" else _twin(dest)


def _twin(dest: str) -> str:
    stem, extension = os.path.splitext(dest)
    return f"{stem if extension == '.json' else dest}.infeasible.json"
