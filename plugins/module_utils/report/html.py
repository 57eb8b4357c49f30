# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""report.html: the plan as one page that needs nothing else, no script and no network."""
from __future__ import annotations

import html as markup
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import (
    STATUS_TEXTS,
    HostView,
    Usage,
    View,
    amount,
    duration,
    fold,
    label,
    percent,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.style import CSS

FIRST_HOSTS, MOST_HOSTS = 40, 1000
FIRST_MOVES, MOST_MOVES = 100, 3000
FIRST_UNPLACED, MOST_UNPLACED = 50, 500
MOST_NAMES, MOST_CONFLICT = 400, 50
_WIDTH, _HEIGHT = 100, 15


def page(view: View) -> str:
    """The whole page."""
    return document(f"Plan for {view.estate}", [
        f'<p class="soft">{esc(view.headline)}. <span class="status {_mood(view.status)}">{esc(view.status)}</span></p>',
        f"<p>{esc(STATUS_TEXTS.get(view.status, view.status))}.</p>",
        *_cards(view), *sections(view), *_tradeoff(view), *_guests(view),
        f'<p class="soft mono">Inputs <code>{esc(view.inputs_sha256)}</code></p>',
    ])


def document(title: str, parts: Sequence[str]) -> str:
    """A page of its own around its parts."""
    return "\n".join([
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{esc(title)}</title>", f"<style>{CSS}</style>", "</head>", "<body>", "<main>",
        f"<h1>{esc(title)}</h1>", *parts, "</main>", "</body>", "</html>",
    ]) + "\n"


def sections(view: View) -> list[str]:
    """What could not be placed, the hosts and the moves."""
    return [*_unplaced(view), *_hosts(view), *_moves(view)]


def esc(text: object) -> str:
    """Text of the estate, safe inside elements and attributes."""
    return markup.escape(str(text), quote=True)


def _mood(status: str) -> str:
    return {"optimal": "good", "nothing_to_do": "good", "infeasible": "bad"}.get(status, "plain")


def _cards(view: View) -> list[str]:
    summary = view.summary
    used, before = summary.get("hosts_used"), summary.get("hosts_before")
    emptied = sum(host.freed for host in view.hosts)
    cards = [
        (f"{before} → {used}" if before is not None else str(used), f"hosts used, at least {summary.get('hosts_bound')} needed"),
        (str(emptied), "hosts empty afterwards"),
        (str(len(view.moves)), f"moves in {view.waves} waves, about {duration(view.seconds)}" if view.moves else "moves"),
        (f"{(summary.get('moved_mib') or 0) / 1024:,.0f} GiB", "memory moved"),
        (f"{summary.get('workloads', 0) - len(view.unplaced)} of {summary.get('workloads', 0)}", "workloads placed"),
    ]
    drawn = (f'<div class="card"><b>{esc(big)}</b><span>{esc(small)}</span></div>' for big, small in cards)
    return ['<div class="cards">', *drawn, "</div>"]


def _unplaced(view: View) -> list[str]:
    if not view.unplaced and not view.conflict:
        return []
    parts = ['<h2 class="bad">What could not be placed</h2>']
    if view.unplaced:
        rows = [f'<tr><td class="name">{esc(name)}</td><td>{esc(why)}</td></tr>' for name, why in view.unplaced]
        parts += _folded(["workload", "why"], rows, FIRST_UNPLACED, MOST_UNPLACED, "workloads", "alarm")
    if view.conflict:
        shown, _, left_out = fold(view.conflict, MOST_CONFLICT, MOST_CONFLICT)
        parts += ["<p>These cannot hold together:</p>", "<ul>", *(f"<li>{esc(text)}</li>" for text in shown), "</ul>"]
        parts += _left_out(left_out, "parts")
    return parts


def _hosts(view: View) -> list[str]:
    before = any(host.before is not None for host in view.hosts)
    key = ['<div class="key">', *(['<span><i style="background:var(--before)"></i>before</span>'] if before else []),
           '<span><i style="background:var(--after)"></i>after</span>',
           '<span><i style="background:var(--over)"></i>above what is usable</span>',
           "<span>used of usable (capacity with overcommit, less headroom), each at its fullest time</span>", "</div>"]
    heads = ["host", "guests", *(label(resource) for resource in view.resources)]
    ordered = sorted(view.hosts, key=lambda host: (not host.guests_after, not host.guests_before))
    rows = [_host_row(host, view.resources) for host in ordered]
    return ["<h2>Hosts before and after</h2>" if before else "<h2>Hosts</h2>", *key,
            *_folded(heads, rows, FIRST_HOSTS, MOST_HOSTS, "hosts")]


def _host_row(host: HostView, resources: Sequence[str]) -> str:
    tags = "" if host.state == "active" else f'<span class="tag">{esc(host.state)}</span>'
    if host.freed:
        tags += '<span class="tag good">empty afterwards</span>'
    known = (host.zone if host.zone != host.name else "", f"pool {host.pool}" if host.pool else "")
    where = ", ".join(part for part in known if part)
    count = str(len(host.guests_after))
    if host.before is not None and len(host.guests_before) != len(host.guests_after):
        count = f"{len(host.guests_before)} → {count}"
    cells = "".join(_bar_cell(host, resource) for resource in resources)
    return (f'<tr{" class=freed" if host.freed else ""}><td class="name">{esc(host.name)}{tags}<small>{esc(where)}</small></td>'
            f'<td class="n">{count}</td>{cells}</tr>')


def _bar_cell(host: HostView, resource: str) -> str:
    after = host.after.get(resource)
    if after is None:
        return '<td class="bar soft">none</td>'
    before = host.before.get(resource) if host.before is not None else None
    words = percent(after.share)
    if before is not None and percent(before.share) != words:
        words = f"{percent(before.share)} → {words}"
    bars = f'<rect class="t" width="{_WIDTH}" height="{_HEIGHT}" rx="2"/>'
    bars += (_bar(before, 0, "b") + _bar(after, 8, "a")) if before is not None else _bar(after, 4, "a")
    told = [f"before {amount(resource, before.used)}"] if before is not None else []
    told.append(f"after {amount(resource, after.used)} of {amount(resource, after.usable)} usable")
    if after.slot is not None:
        told.append(f"fullest in time slot {after.slot + 1}")
    return (f'<td class="bar"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img">'
            f"<title>{esc(label(resource))}: {esc(', '.join(told))}</title>{bars}</svg><small>{words} %</small></td>")


def _bar(usage: Usage, top: int, kind: str) -> str:
    width = min(1.0, usage.share) * _WIDTH
    over = usage.share > 1 + 1e-9
    return f'<rect class="{"x" if over else kind}" y="{top}" width="{width:.1f}" height="7"/>' if width > 0 else ""


def _moves(view: View) -> list[str]:
    if not view.moves:
        return ["<h2>Moves</h2>", "<p>None.</p>"]
    heads = ["step", "wave", "workload", "from", "to", "how", "time", "interruption", "why"]
    rows = [_move_row(move) for move in view.moves]
    note = '<p class="soft">Waves run one after another; the moves of one wave may run side by side. Times are estimates.</p>'
    return ["<h2>Moves</h2>", note, *_folded(heads, rows, FIRST_MOVES, MOST_MOVES, "moves")]


def _move_row(move: Any) -> str:
    parking = '<span class="tag">parking</span>' if move.get("parking") else ""
    cells = [
        f'<td class="n">{esc(move["step"])}</td>', f'<td class="n">{esc(move["wave"])}</td>',
        f'<td class="name">{esc(move["workload"])}</td>',
        f"<td>{esc(move.get('from') or 'new')}</td>", f"<td>{esc(move['to'])}</td>",
        f"<td>{esc(move['method'])}{parking}</td>", f'<td class="n">{esc(duration(move.get("seconds")))}</td>',
        f'<td class="n">{esc(duration(move.get("downtime_seconds")))}</td>', f"<td>{esc(move.get('reason') or '')}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _tradeoff(view: View) -> list[str]:
    if not view.tradeoff:
        return []
    rows = [
        f'<tr><td class="n">{esc(point["hosts"])}</td><td class="n">{esc(point["moves"])}</td></tr>' for point in view.tradeoff
    ]
    return ["<h2>Hosts against moves</h2>", '<p class="soft">The fewest moves for each number of hosts.</p>',
            *_folded(["hosts", "moves"], rows, FIRST_MOVES, MOST_MOVES, "points")]


def _guests(view: View) -> list[str]:
    """Which guests stand where afterwards, folded away."""
    rows = []
    for host in view.hosts:
        if host.guests_after:
            shown, _, left = fold(host.guests_after, MOST_NAMES, MOST_NAMES)
            came = set(host.guests_after).difference(host.guests_before) if host.before is not None else set()
            names = ", ".join(f"<b>{esc(name)}</b>" if name in came else esc(name) for name in shown)
            rows.append(f'<tr><td class="name">{esc(host.name)}</td><td>{names}{f" and {left} more" if left else ""}</td></tr>')
    shown_rows, _, left_out = fold(rows, MOST_HOSTS, MOST_HOSTS)
    return ["<details>", "<summary>Where each guest is afterwards (those that come in bold)</summary>",
            *sheet(["host", "guests"], shown_rows, ""), *_left_out(left_out, "hosts"), "</details>"]


def _folded(
    heads: Sequence[str], rows: Sequence[str], first: int, most: int, what: str, extra: str = ""
) -> list[str]:
    """A table whose later rows are folded away, and whose last ones are left out with a note."""
    shown, folded, left_out = fold(rows, first, most)
    parts = sheet(heads, shown, extra)
    if folded:
        parts += ["<details>", f"<summary>{len(folded)} more {what}</summary>", *sheet(heads, folded, extra), "</details>"]
    return parts + _left_out(left_out, what)


def sheet(heads: Sequence[str], rows: Iterable[str], extra: str = "") -> list[str]:
    """A table of rows that are markup already."""
    right = {"step", "wave", "time", "interruption", "hosts", "moves"} | ({"guests"} if len(heads) > 2 else set())
    cells = "".join(f"<th{' class=n' if head in right else ''}>{esc(head)}</th>" for head in heads)
    return [f'<div class="sheet {extra}"><table><thead><tr>{cells}</tr></thead><tbody>', *rows, "</tbody></table></div>"]


def _left_out(count: int, what: str) -> list[str]:
    return [f'<p class="soft">{count} more {what} are left out here; plan.json has them all.</p>'] if count else []
