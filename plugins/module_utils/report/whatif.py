# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an estate would need after a change, beside what it needs as it is. Pure."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.report import html, markdown
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import (
    Item,
    Usage,
    View,
    amount,
    label,
    percent,
    usage_of,
    view_of,
)

_MOST_LINES = 10
_MOST_NAMES = 6
_UNTOUCHED = "This is no plan to carry out; the estate and its plan.json are as they were."


@dataclass(frozen=True)
class Comparison:
    """rows: (what, as it is, what if); answer: whether everything fits, in one sentence; short: what is missing where it does not."""

    estate: str
    changes: Sequence[str]
    notes: Sequence[str]
    rows: list[tuple[str, str, str]]
    answer: str
    short: list[str]
    after: View


def compare(estate: str, changes: Sequence[str], notes: Sequence[str], before: tuple[Item, Item], after: tuple[Item, Item]) -> Comparison:
    """before, after: problem and plan of each."""
    views = [view_of(estate, problem, _told_plainly(problem, plan)) for problem, plan in (before, after)]
    facts = [_facts(problem, view) for (problem, _), view in zip((before, after), views, strict=True)]
    rows = [(what, facts[0][what], facts[1][what]) for what in facts[0]]
    return Comparison(estate, changes, notes, rows, _answer(views[1], after[0]), _short(after[0], views[1]), views[1])


def _told_plainly(problem: Item, plan: Item) -> Item:
    """The plan, with a limit of moves as a reason only where there is such a limit."""
    if (problem.get("policy") or {}).get("max_moves") is not None:
        return plan
    words = "fits there alone, but not beside all the others"
    unplaced = [
        {**entry, "reasons": [{"host": reason.get("host"), "moves": words} if reason.get("policy") == "max_moves" else reason
                              for reason in entry.get("reasons") or []]} for entry in plan.get("unplaced") or []]
    return {**plan, "unplaced": unplaced}


def _facts(problem: Item, view: View) -> dict[str, str]:
    summary = view.summary
    new = sum(move.get("method") == "define" for move in view.moves)
    moves = str(summary.get("moves"))
    return {
        "outcome": view.status.replace("_", " "),
        "hosts of the estate": str(len(view.hosts)),
        "hosts used": str(summary.get("hosts_used")),
        "hosts needed at least": str(summary.get("hosts_bound")),
        "moves": f"{moves} in {view.waves} waves" if view.waves else moves,
        "guests that start anew": str(new),
        "workloads not placed": str(summary.get("unplaced")),
        "tightest resource": _tightest(problem),
        "fullest host": _fullest(view),
    }


def _in_total(problem: Item) -> dict[str, Usage]:
    """Use of each resource by all demands together, at the fullest time, of all active hosts."""
    total: dict[str, float] = {}
    reserved: dict[str, float] = {}
    for host in problem["hosts"]:
        active = host.get("state", "active") == "active"
        for resource, value in host["capacity"].items():
            total[resource] = total.get(resource, 0.0) + (value if active else 0.0)
        for resource, value in (host.get("reserved") or {}).items() if active else ():
            reserved[resource] = reserved.get(resource, 0.0) + value
    workloads = {str(workload["name"]): workload for workload in problem["workloads"]}
    everything = [{"name": "all", "capacity": total, "reserved": reserved}]
    return usage_of(everything, workloads, dict.fromkeys(workloads, "all"), problem.get("policy") or {})["all"]


def _tightest(problem: Item) -> str:
    share, resource = max(((usage.share, name) for name, usage in _in_total(problem).items()), default=(0.0, ""))
    return f"{label(resource)}, {_share(share)} of all active hosts" if resource else "none"


def _short(problem: Item, view: View) -> list[str]:
    """What an infeasible plan lacks in total; single hosts can lack more."""
    if view.status != "infeasible":
        return []
    lacks = sorted(((usage.share, name, usage) for name, usage in _in_total(problem).items() if usage.share > 1), reverse=True)
    told = [f"{label(name)} is short by {amount(name, usage.used - usage.usable)} on all active hosts together" for _, name, usage in lacks]
    return told or ["no resource is short on all active hosts together: it is single hosts, rules, the policy or the order of moves"]


def _fullest(view: View) -> str:
    shares = [(usage.share, host.name, resource) for host in view.hosts if host.guests_after for resource, usage in host.after.items()]
    share, name, resource = max(shares, default=(0.0, "", ""))
    return f"{name}, {label(resource)} {_share(share)}" if name else "none"


def _share(share: float) -> str:
    return f"{percent(share)} %" if share != float("inf") else "more than there is"


_GOOD = {"optimal": "provably the fewest hosts", "feasible": "fewer hosts are not ruled out", "nothing_to_do": "nothing has to move"}


def _answer(view: View, problem: Item) -> str:
    used, moves = view.summary.get("hosts_used"), view.summary.get("moves")
    if view.status != "infeasible":
        return f"Everything fits: {used} of {len(view.hosts)} hosts, {moves} moves; {_GOOD.get(view.status, view.status)}"
    if view.unplaced:
        return f"Not everything fits: {len(view.unplaced)} of {len(problem['workloads'])} workloads find no host"
    return "Everything finds a host, but the policy or a hard rule does not hold"


def _title(told: Comparison) -> str:
    return f"What if, {told.estate}: {', '.join(told.changes)}"


_HEADS = ("", "as it is", "what if")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")


def whatif_lines(told: Comparison, files: Sequence[str]) -> list[str]:
    """The comparison for a terminal, with what does not fit and what is short."""
    widths = [max(len(row[column]) for row in [_HEADS, *told.rows]) for column in range(3)]
    lines = [_title(told), told.answer]
    lines += ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in [_HEADS, *told.rows]]
    lines += [f"note: {note}" for note in told.notes]
    lines += [f"short: {text}" for text in told.short]
    alike: dict[str, list[str]] = {}
    for name, why in told.after.unplaced:
        alike.setdefault(why, []).append(name)
    for items, what in (([f"not placed: {_few(names)}: {why}" for why, names in alike.items()], "reasons"),
                        ([f"cannot hold together: {text}" for text in told.after.conflict], "parts of the conflict")):
        lines += items[:_MOST_LINES]
        lines += [f"... and {len(items) - _MOST_LINES} more {what}, see the report"] if len(items) > _MOST_LINES else []
    return lines + [f"written: {file}" for file in files]


def whatif_markdown(told: Comparison) -> str:
    """whatif.md."""
    escape = markdown.escape
    lines = [f"# {escape(_title(told))}", "", f"**{escape(told.answer)}.** {_UNTOUCHED}", ""]
    lines += markdown.table(list(_HEADS), (tuple(map(escape, row)) for row in told.rows))
    lines += ["", *(f"- {escape(text)}" for text in (*told.short, *told.notes))] if told.short or told.notes else []
    return "\n".join([*lines, *markdown.sections(told.after), "", f"Inputs: `{told.after.inputs_sha256}`"]) + "\n"


def whatif_page(told: Comparison) -> str:
    """whatif.html."""
    esc = html.esc
    rows = [f'<tr><td class="name">{esc(what)}</td><td>{esc(before)}</td><td>{esc(after)}</td></tr>' for what, before, after in told.rows]
    notes = ["<ul>", *(f"<li>{esc(text)}</li>" for text in (*told.short, *told.notes)), "</ul>"] if told.short or told.notes else []
    return html.document(_title(told), [
        f"<p>{esc(told.answer)}.</p>",
        f'<p class="soft">{_UNTOUCHED}</p>',
        *html.sheet(_HEADS, rows), *notes, *html.sections(told.after),
        f'<p class="soft mono">Inputs <code>{esc(told.after.inputs_sha256)}</code></p>',
    ])


def facts_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Status and summary of a plan, for who reads the result of the module."""
    return {"status": plan["status"], **plan["summary"]}
