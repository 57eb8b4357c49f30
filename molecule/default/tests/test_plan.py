# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that plan.yml leaves for people and tools."""
from __future__ import annotations

import json
import os
from pathlib import Path

FOLDER = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "build" / "molecule"


def test_the_plan_places_everything_on_fewer_hosts():
    plan = json.loads((FOLDER / "plan.json").read_text())
    assert plan["schema"] == 1
    assert plan["summary"]["unplaced"] == 0
    assert plan["summary"]["hosts_bound"] <= plan["summary"]["hosts_used"] < plan["summary"]["hosts_before"]
    assert [move["step"] for move in plan["moves"]] == list(range(1, len(plan["moves"]) + 1))


def test_the_report_stands_alone():
    page = (FOLDER / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page
    assert "<script src" not in page


def test_the_summary_for_reviews_names_every_move():
    plan = json.loads((FOLDER / "plan.json").read_text())
    text = (FOLDER / "plan.md").read_text()
    assert all(move["workload"] in text for move in plan["moves"])
