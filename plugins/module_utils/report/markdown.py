# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""plan.md: the plan for a merge request, compact enough to read in a diff."""
from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import (
    STATUS_TEXTS,
    HostView,
    View,
    duration,
    label,
    percent,
)

MOST_HOSTS, MOST_MOVES, MOST_UNPLACED, MOST_CONFLICT = 200, 5000, 200, 50
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def markdown(view: View) -> str:
    """The whole file."""
    status = STATUS_TEXTS.get(view.status, view.status)
    lines = [f"# Plan for {escape(view.estate)}", "", f"**{escape(view.headline)}.** {status}."]
    moved_mib = view.summary.get("moved_mib")
    if view.moves:
        lines += ["", f"About {duration(view.seconds)} wave after wave, {(moved_mib or 0) / 1024:,.0f} GiB of memory moved."]
    lines += sections(view)
    if view.tradeoff:
        lines += ["", "## Hosts against moves", "", *table(["hosts", "moves"], ((str(point["hosts"]), str(point["moves"]))
                                                                              for point in view.tradeoff))]
    lines += ["", f"Inputs: `{view.inputs_sha256}`"]
    return "\n".join(lines) + "\n"


def sections(view: View) -> list[str]:
    """What could not be placed, the hosts and the moves."""
    return [*(_unplaced(view) if view.unplaced or view.conflict else []), *_hosts(view), *(_moves(view) if view.moves else [])]


def escape(text: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def table(heads: list[str], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A table; cells must be escaped already."""
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _unplaced(view: View) -> list[str]:
    lines = ["", "## Not placed", ""]
    if view.unplaced:
        lines += table(["workload", "why"], ((escape(name), escape(why)) for name, why in view.unplaced[:MOST_UNPLACED]))
        lines += _left_out(len(view.unplaced) - MOST_UNPLACED, "workloads")
    if view.conflict:
        lines += ["", "These cannot hold together:", "", *(f"- {escape(text)}" for text in view.conflict[:MOST_CONFLICT]),
                  *_left_out(len(view.conflict) - MOST_CONFLICT, "parts")]
    return lines


def _hosts(view: View) -> list[str]:
    rows = (
        (escape(host.name), escape(_remark(host)), _pair([len(host.guests_before)] if host.before is not None else [],
                                                       len(host.guests_after)),
         *(_cell(host, resource) for resource in view.resources))
        for host in view.hosts[:MOST_HOSTS]
    )
    heads = ["host", "", "guests", *(f"{escape(label(resource))} %" for resource in view.resources)]
    note = "Before → after, used of what is usable, each at its fullest time."
    return ["", "## Hosts", "", note, "", *table(heads, rows), *_left_out(len(view.hosts) - MOST_HOSTS, "hosts")]


def _remark(host: HostView) -> str:
    words = [] if host.state == "active" else [host.state]
    return ", ".join(words + (["empty afterwards"] if host.freed else []))


def _pair(before: list[int], after: int) -> str:
    return f"{before[0]} → {after}" if before and before[0] != after else str(after)


def _cell(host: HostView, resource: str) -> str:
    if resource not in host.after:
        return ""
    after = percent(host.after[resource].share)
    if host.before is None or resource not in host.before:
        return after
    before = percent(host.before[resource].share)
    return after if before == after else f"{before} → {after}"


def _moves(view: View) -> list[str]:
    rows = (
        (str(move["step"]), str(move["wave"]), escape(move["workload"]), escape(move.get("from") or "-"), escape(move["to"]),
         escape(move["method"]) + (" (parking)" if move.get("parking") else ""), duration(move.get("seconds")),
         escape(move.get("reason") or ""))
        for move in view.moves[:MOST_MOVES]
    )
    heads = ["step", "wave", "workload", "from", "to", "how", "time", "why"]
    return ["", "## Moves", "", *table(heads, rows), *_left_out(len(view.moves) - MOST_MOVES, "moves")]


def _left_out(count: int, what: str) -> list[str]:
    return ["", f"... and {count} more {what}, see plan.json."] if count > 0 else []
