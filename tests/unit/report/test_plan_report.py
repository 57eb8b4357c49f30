# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module plan_report: what it writes, and that it writes nothing twice."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit import command_cases
from tests.unit.report.test_report import PLAN, PROBLEM, infeasible


def run(folder: Path, plan: Any, flags: dict[str, bool] | None = None, **output: Any) -> dict[str, Any]:
    arguments = {
        "estate": "example", "problem": PROBLEM, "plan": plan,
        "markdown": str(folder / "plan.md"), "html": str(folder / "report.html"),
    }
    return command_cases.run("plan_report", {"input": arguments, "flags": flags or {}, "output": output})


def test_writes_once(tmp_path: Path) -> None:
    first = run(tmp_path, PLAN, changed=True, refusal="")
    assert [action["target"] for action in first["actions"]] == [str(tmp_path / "plan.md"), str(tmp_path / "report.html")]
    assert [diff["after_header"] for diff in first["diff"]] == [str(tmp_path / "plan.md")]
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert run(tmp_path, PLAN, changed=False)["actions"] == []


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    run(tmp_path, PLAN, {"check": True}, changed=True)
    assert list(tmp_path.iterdir()) == []


def test_an_infeasible_plan_leaves_the_other_reports_alone(tmp_path: Path) -> None:
    run(tmp_path, PLAN)
    good = (tmp_path / "plan.md").read_text()
    assert run(tmp_path, infeasible(), changed=True)["refusal"].startswith("The plan cannot be carried out: 1 of 2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "plan.infeasible.md", "plan.md", "report.html", "report.infeasible.html"]
    assert (tmp_path / "plan.md").read_text() == good


def test_a_good_plan_removes_the_reports_of_an_infeasible_one(tmp_path: Path) -> None:
    run(tmp_path, infeasible(), changed=True)
    text = (tmp_path / "plan.infeasible.md").read_text()
    names = sorted(path.name for path in tmp_path.iterdir())
    checked = run(tmp_path, PLAN, {"check": True}, changed=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == names == ["plan.infeasible.md", "report.infeasible.html"]
    assert [(action["verb"], Path(action["target"]).name) for action in checked["actions"]] == [
        ("write", "plan.md"), ("write", "report.html"), ("remove", "plan.infeasible.md"), ("remove", "report.infeasible.html")]
    assert checked["diff"][1]["before"] == text and checked["diff"][1]["after"] == "" and len(checked["diff"]) == 2
    assert run(tmp_path, PLAN, changed=True)["actions"] == checked["actions"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.md", "report.html"]
    assert run(tmp_path, PLAN, changed=False)["actions"] == []


@pytest.mark.parametrize("option", ["markdown", "html"])
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("path", ["folder", "file/plan.md", "\0"])
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, option: str, check: bool, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    arguments = {"estate": "example", "problem": PROBLEM, "plan": PLAN, option: f"{tmp_path}/{path}"}
    result = command_cases.run("plan_report", {"input": arguments, "flags": {"check": check}, "output": {"failed": True}})
    assert result["msg"].startswith(f"{option}: value '") and result["msg"].endswith(", allowed the path of a file that can be written")


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, {"moves": []}, failed=True)
    assert "allowed what the modules estate and placement return" in result["msg"]
    assert list(tmp_path.iterdir()) == []
