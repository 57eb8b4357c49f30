# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An audit for people: audit.md, and the lines for a terminal."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.findings import DRIFT, IN_SYNC, UNKNOWN
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.markdown import escape, table

MOST_LINES = 100
_GRAVEST = "guest_twice"
VERDICTS = {IN_SYNC: "in sync", DRIFT: "drift", UNKNOWN: "unknown"}


def headline(audit: Mapping[str, Any]) -> str:
    """The verdict in a sentence."""
    hosts = audit["hosts"].values()
    unknown = sum(host["verdict"] == UNKNOWN for host in hosts)
    number = sum(len(host["findings"]) for host in hosts) + len(audit["findings"])
    drifted = sum(bool(host["findings"]) for host in hosts)
    parts = [f"{_count(len(hosts), 'host')} asked"]
    where = f" on {_count(drifted, 'host')}" if drifted else ""
    parts += [f"{_count(number, 'finding')}{where}"] if number else []
    parts += [f"{_count(unknown, 'host')} could not be asked in full"] if unknown else []
    parts += [f"{_count(len(audit['not_asked']), 'host')} not asked"] if audit["not_asked"] else []
    return f"{audit['estate']}: {VERDICTS[audit['verdict']]}: {', '.join(parts)}"


def _findings(audit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All findings, the gravest first, then those of no host."""
    found = [*audit["findings"], *(finding for host in audit["hosts"].values() for finding in host["findings"])]
    return sorted(found, key=lambda finding: finding["kind"] != _GRAVEST)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def markdown(audit: Mapping[str, Any]) -> str:
    """The whole of audit.md."""
    hosts = audit["hosts"]
    lines = [f"# Audit of {escape(audit['estate'])}", "", f"**{escape(headline(audit))}.**", ""]
    lines += table(["host", "verdict", "findings", "not known"], (
        (escape(name), VERDICTS[host["verdict"]], str(len(host["findings"])), str(len(host["unasked"]))) for name, host in hosts.items()))
    findings = _findings(audit)
    if findings:
        lines += ["", "## Findings", ""]
        keys = ("host", "kind", "item", "found", "wanted", "message")
        lines += table(list(keys), (tuple(escape(finding[key]) for key in keys) for finding in findings))
    unasked = [(name, entry) for name, host in hosts.items() for entry in host["unasked"]]
    if unasked:
        lines += ["", "## Could not be asked", ""]
        lines += table(["host", "what", "why"], ((escape(name), escape(entry["what"]), escape(entry["why"])) for name, entry in unasked))
    if audit["notes"]:
        lines += ["", "## Notes", "", *(f"- {escape(note)}" for note in audit["notes"])]
    if audit["not_asked"]:
        lines += ["", f"Not asked, since this run was limited to others: {', '.join(map(escape, audit['not_asked']))}."]
    return "\n".join(lines) + "\n"


def lines_of(audit: Mapping[str, Any], written: list[str]) -> list[str]:
    """The summary for a terminal. written: paths of the files."""
    shown = [f"{finding['host'] or audit['estate']}: {finding['kind']}: {finding['message']}" for finding in _findings(audit)]
    shown += [f"{name}: not known: {entry['what']}: {entry['why']}" for name, host in audit["hosts"].items() for entry in host["unasked"]]
    more = [f"and {len(shown) - MOST_LINES} more"] if len(shown) > MOST_LINES else []
    apart = [f"not asked: {', '.join(audit['not_asked'])}"] if audit["not_asked"] else []
    apart += [f"note: {note}" for note in audit["notes"]]
    return [headline(audit), *shown[:MOST_LINES], *more, *apart, *(f"written: {path}" for path in written)]
