# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reports: numbers by hand, every name escaped, every move there, large estates folded."""
from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.report import html, markdown, model
from hypothesis import given
from hypothesis import strategies as st

VOID = {"meta", "link", "br", "img", "input", "hr", "rect"}

PROBLEM: dict[str, Any] = {
    "hosts": [
        {"name": "xen01", "capacity": {"cpu_cores": 10, "memory_mib": 102400}, "pool": "a", "zone": "r1"},
        {"name": "xen02", "capacity": {"cpu_cores": 10, "memory_mib": 102400}, "pool": "a", "zone": "r2", "state": "drain"},
    ],
    "workloads": [
        {"name": "day", "demand": {"cpu_cores": [4, 1], "memory_mib": 51200}, "current": "xen01"},
        {"name": "night", "demand": {"cpu_cores": [1, 6], "memory_mib": 10240}, "current": "xen02"},
    ],
    "rules": [], "policy": {"headroom": {"cpu_cores": 0.2}, "overcommit": {"cpu_cores": 2}},
}
PLAN: dict[str, Any] = {
    "schema": 1, "status": "optimal", "inputs_sha256": "ab" * 32,
    "summary": {"workloads": 2, "hosts_before": 2, "hosts_used": 1, "hosts_bound": 1, "moves": 1, "moved_mib": 10240, "unplaced": 0},
    "placement": {"day": "xen01", "night": "xen01"}, "hosts": {}, "unplaced": [], "conflict": [],
    "moves": [{"step": 1, "wave": 1, "workload": "night", "from": "xen02", "to": "xen01", "method": "live", "seconds": 41,
               "downtime_seconds": 0.3, "reason": "xen02 drains"}],
}


class Page(HTMLParser):
    """Checks that elements close in order, and collects what a reader and a browser would take from the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def view(problem: Any = None, plan: Any = None) -> model.View:
    return model.view_of("example", problem or PROBLEM, plan or PLAN)


def infeasible() -> dict[str, Any]:
    plan = copy.deepcopy(PLAN)
    reasons = [{"host": "xen01", "resource": "memory_mib", "short_by": 2048}, {"host": "xen02", "resource": "memory_mib", "short_by": 1024}]
    plan.update(status="infeasible", placement={"day": "xen01"}, moves=[], unplaced=[{"workload": "night", "reasons": reasons}],
                conflict=[{"rule": "root", "workloads": ["night"], "explanation": "night stay where they are"},
                          {"workload": "night", "demand": {"memory_mib": 10240}},
                          {"policy": "failover", "value": 1, "hosts": ["xen01"]}])
    plan["summary"].update(unplaced=1, hosts_used=1)
    return plan


def test_usage_is_that_of_the_fullest_slot() -> None:
    first, second = view().hosts
    assert first.before is not None and second.before is not None
    # Usable: 10 cores x 2 x (1 - 0.2) = 16. Together 5 in the first slot and 7 in the second.
    assert first.before["cpu_cores"] == model.Usage(4, 16, 0)
    assert first.after["cpu_cores"] == model.Usage(7, 16, 1)
    assert first.after["memory_mib"] == model.Usage(61440, 102400, None)
    assert second.after["memory_mib"].used == 0 and second.freed and not first.freed


def test_what_is_reserved_counts_as_used() -> None:
    problem = copy.deepcopy(PROBLEM)
    problem["hosts"][0]["reserved"] = {"memory_mib": 1024}
    problem["hosts"][1]["reserved"] = {"memory_mib": 512}
    first, second = view(problem).hosts
    assert first.after["memory_mib"] == model.Usage(62464, 102400, None)
    assert second.after["memory_mib"].used == 512 and second.freed


def test_nothing_runs_yet() -> None:
    problem = copy.deepcopy(PROBLEM)
    for workload in problem["workloads"]:
        del workload["current"]
    plan = copy.deepcopy(PLAN)
    plan["summary"]["hosts_before"] = None
    plan["moves"][0].update({"from": None, "method": "define"})
    fresh = view(problem, plan)
    assert fresh.hosts[0].before is None
    assert "before" not in html.page(fresh).split("<h2>Moves")[0].split("</style>")[1]
    assert fresh.headline == "1 hosts (at least 1 are needed), 1 move in 1 wave"
    assert "| 1 | 1 | night | - | xen01 | define | 41 s |" in markdown.markdown(fresh)


def test_use_of_what_a_host_does_not_have() -> None:
    problem = copy.deepcopy(PROBLEM)
    problem["workloads"][0]["demand"]["gpu"] = 1
    over = view(problem)
    assert over.resources == ["cpu_cores", "memory_mib", "gpu"]
    assert "over %" in html.page(over) and 'class="x"' in html.page(over)
    assert "over" in markdown.markdown(over)


@pytest.mark.parametrize("plan", [PLAN, infeasible()], ids=["optimal", "infeasible"])
def test_the_page_is_sound_and_stands_alone(plan: dict[str, Any]) -> None:
    page = Page(html.page(view(plan=plan)))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"}
    assert not [attrs for _, attrs in page.tags if {"src", "href", "srcset", "onload"} & set(attrs)]
    assert "url(" not in html.page(view()) and "@import" not in html.page(view())
    assert "prefers-color-scheme:dark" in html.page(view())


def test_what_the_reports_say() -> None:
    text = " ".join(Page(html.page(view())).text)
    for words in ("2 → 1", "10 GiB", "night", "xen02 drains", "0.3 s", "empty afterwards", "drain", "ab" * 32, "25 → 44 %"):
        assert words in text, words
    lines = markdown.markdown(view()).splitlines()
    assert "| 1 | 1 | night | xen02 | xen01 | live | 41 s | xen02 drains |" in lines
    assert "| xen01 |  | 1 → 2 | 25 → 44 | 50 → 60 |" in lines
    assert "| xen02 | drain, empty afterwards | 1 → 0 | 38 → 0 | 10 → 0 |" in lines


def test_what_could_not_be_placed_and_why() -> None:
    refused = view(plan=infeasible())
    assert refused.unplaced == [("night", "memory short by 1.0 GiB on 2 hosts, least on xen02")]
    assert refused.refusal.splitlines() == [
        "The plan cannot be carried out: 1 of 2 workloads cannot be placed.",
        "night: memory short by 1.0 GiB on 2 hosts, least on xen02",
        "cannot hold together: root: night stay where they are",
        "cannot hold together: night needs memory 10.0 GiB",
        "cannot hold together: policy failover 1: without xen01 its workloads do not fit on the rest",
    ]
    assert "memory short by 1.0 GiB" in html.page(refused) and "memory short by 1.0 GiB" in markdown.markdown(refused)
    assert view().refusal == ""


def test_reasons_of_other_kinds() -> None:
    ban = {"rule": "ban", "explanation": "dev1 never on xen01, xen02"}
    reasons = [{"host": "xen01", **ban}, {"host": "xen02", **ban}, {"host": "xen03", "state": "closed"}]
    assert model.reasons_text(reasons) == "ban: dev1 never on xen01, xen02 (2 hosts); the host's state is closed (xen03)"
    assert model.reasons_text([]) == "no reason given"
    assert model.reasons_text([{"host": "xen01", "requires": ["bridge:dmz", "hvm"]}]) == "the host lacks bridge:dmz, hvm (xen01)"
    assert model.reasons_text([{"host": "xen01", "limit": "vcpus", "short_by": 4}]) == "limits.vcpus is lower by 4 (xen01)"
    assert model.reasons_text([{"host": "xen01", "policy": "max_moves"}]) == "policy max_moves (xen01)"
    many = model.reasons_text([{"host": "x", "resource": f"r{number}", "short_by": 1} for number in range(9)])
    assert many.endswith("; and 5 more reasons")


names = st.text(min_size=1, max_size=30)


@given(names, names, names)
def test_no_name_breaks_out(host: str, workload: str, reason: str) -> None:
    problem, plan = copy.deepcopy(PROBLEM), copy.deepcopy(PLAN)
    evil = "<script>alert(1)</script>\"'&|`" + workload
    problem["hosts"][0]["name"] = host + "<b>"
    problem["workloads"][0].update(name=evil, current=host + "<b>")
    plan.update(placement={evil: host + "<b>", "night": host + "<b>"})
    plan["moves"][0].update(workload=evil, reason=reason)
    page = Page(html.page(model.view_of(evil, problem, plan)))
    assert "script" not in {tag for tag, _ in page.tags}
    rows = [line for line in markdown.markdown(model.view_of(evil, problem, plan)).splitlines() if line.startswith("| ")]
    cells = {len(re.split(r"(?<!\\)\|", row.replace("\\\\", ""))) for row in rows if row.startswith("| 1 | 1 |")}
    assert cells == {10}


def test_a_large_estate_is_folded_and_bounded() -> None:
    hosts = [{"name": f"xen{number:04d}", "capacity": {"cpu_cores": 32, "memory_mib": 262144}} for number in range(1200)]
    workloads = [
        {"name": f"vm{number:05d}", "demand": {"cpu_cores": [1, 2], "memory_mib": 4096}, "current": f"xen{number % 1200:04d}"}
        for number in range(6000)
    ]
    moves = [
        {"step": number + 1, "wave": number // 50 + 1, "workload": f"vm{number:05d}", "from": "xen0001", "to": "xen0002",
         "method": "live", "seconds": 40, "reason": "frees xen0001"} for number in range(4000)
    ]
    plan = {**PLAN, "placement": {workload["name"]: f"xen{index % 400:04d}" for index, workload in enumerate(workloads)}, "moves": moves}
    large = model.view_of("large", {**PROBLEM, "hosts": hosts, "workloads": workloads}, plan)
    page = html.page(large)
    Page(page)
    assert len(page) < 4_000_000
    assert f"{1000 - html.FIRST_HOSTS} more hosts" in page and "200 more hosts are left out here" in page
    assert "1000 more moves are left out here" in page
    assert page.index("xen0399") < page.index("xen0400<")
    text = markdown.markdown(large)
    assert all(move["workload"] in text for move in moves)
    assert "and 1000 more hosts" in text
    lines = model.lines_of(large, [])
    assert "... and 390 more hosts" in lines and len(lines) < 20


def test_lines_for_a_terminal() -> None:
    assert model.lines_of(view(), ["build/example/plan.md"]) == [
        "example: 2 hosts before, 1 after (at least 1 are needed), 1 move in 1 wave",
        "Everything is placed, on provably the fewest hosts",
        "% used guests    CPU memory",
        "xen01       2     44     60",
        "empty afterwards: xen02",
        "written: build/example/plan.md",
    ]


@pytest.mark.parametrize(("seconds", "text"), [
    (0.3, "0.3 s"), (41, "41 s"), (89.6, "90 s"), (600, "10 min"), (7200, "2 h 00 min"), (None, ""),
])
def test_durations(seconds: float | None, text: str) -> None:
    assert model.duration(seconds) == text


def test_the_same_plan_gives_the_same_bytes() -> None:
    turned = copy.deepcopy(PLAN)
    turned["placement"] = dict(reversed(list(turned["placement"].items())))
    assert html.page(view()) == html.page(view(plan=turned))
    assert markdown.markdown(view()) == markdown.markdown(view(plan=turned))
