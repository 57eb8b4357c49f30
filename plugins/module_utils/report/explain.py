# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The answer of placement.explain for a terminal."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import amount, label


def explain_lines(answer: Mapping[str, Any]) -> list[str]:
    """Where a workload is and why, what it needs, and one line for each other host."""
    host = answer["host"]
    needs = ", ".join(f"{label(resource)} {amount(resource, peak)}" for resource, peak in answer["demand"].items())
    lines = [f"{answer['workload']}{f' on {host}' if host else ''}: {answer['because']}", f"needs at most: {needs or 'nothing'}"]
    if answer["together"]:
        lines.append(f"goes together with: {', '.join(answer['together'])}")
    width = max((len(entry["host"]) for entry in answer["not_on"]), default=0)
    return lines + [f"{entry['host']:<{width}}  {entry['because']}" for entry in answer["not_on"]]
