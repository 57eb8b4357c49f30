# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module `placement` and the filters around it."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.module_utils.testing import patch_module_args
from ansible_collections.xenfold.consolidation.plugins.filter.guests_of import _guests_of
from ansible_collections.xenfold.consolidation.plugins.filter.moves_of import _moves_of
from ansible_collections.xenfold.consolidation.plugins.filter.place import _place
from ansible_collections.xenfold.consolidation.plugins.modules import placement

PROBLEM: dict[str, Any] = {
    "hosts": [{"name": "h0", "capacity": {"cpu_cores": 4}}, {"name": "h1", "capacity": {"cpu_cores": 4}}],
    "workloads": [{"name": "a", "demand": {"cpu_cores": 1}, "current": "h0"}, {"name": "b", "demand": {"cpu_cores": 2}, "current": "h1"}],
}
TOO_BIG = {**PROBLEM, "workloads": [{"name": "a", "demand": {"cpu_cores": 9}}]}


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        placement.main()
    return dict(json.loads(capsys.readouterr().out))


def test_writes_once_and_only_when_it_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dest = tmp_path / "build" / "plan.json"
    checked = run(capsys, **PROBLEM, dest=str(dest), _ansible_check_mode=True, _ansible_diff=True)
    assert checked["changed"] and not dest.exists()
    assert json.loads(checked["diff"][0]["after"]) == checked["plan"]
    first = run(capsys, **PROBLEM, dest=str(dest))
    assert first["changed"] and json.loads(dest.read_text(encoding="utf-8")) == first["plan"] == checked["plan"]
    before = dest.stat()
    again = run(capsys, **PROBLEM, dest=str(dest))
    assert not again["changed"] and dest.stat().st_mtime_ns == before.st_mtime_ns and dest.stat().st_ino == before.st_ino


def test_a_plan_stays_when_there_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dest = tmp_path / "plan.json"
    first = run(capsys, **PROBLEM, dest=str(dest), keep_when_idle=True)
    assert first["changed"] and not first["kept"]
    before = dest.read_bytes()
    settled = {**PROBLEM, "workloads": [{**w, "current": first["plan"]["placement"][w["name"]]} for w in PROBLEM["workloads"]]}
    again = run(capsys, **settled, dest=str(dest), keep_when_idle=True)
    assert again["plan"]["status"] == "nothing_to_do" and again["kept"] and not again["changed"]
    assert dest.read_bytes() == before
    told = run(capsys, **settled, dest=str(dest))
    assert told["changed"] and not told["kept"] and dest.read_bytes() != before


def test_infeasible_leaves_the_plan_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dest = tmp_path / "plan.json"
    run(capsys, **PROBLEM, dest=str(dest))
    before = dest.read_bytes()
    failed = run(capsys, **TOO_BIG, dest=str(dest))
    assert failed["failed"] and "1 of 1 workloads unplaced" in failed["msg"]
    assert dest.read_bytes() == before
    assert json.loads((tmp_path / "plan.infeasible.json").read_text(encoding="utf-8"))["status"] == "infeasible"


def test_a_good_plan_removes_the_infeasible_one_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dest, stale = tmp_path / "plan.json", tmp_path / "plan.infeasible.json"
    run(capsys, **PROBLEM, dest=str(dest))
    run(capsys, **TOO_BIG, dest=str(dest))
    text = stale.read_text(encoding="utf-8")
    checked = run(capsys, **PROBLEM, dest=str(dest), _ansible_check_mode=True, _ansible_diff=True)
    assert checked["changed"] and stale.exists()
    assert [(action["verb"], action["target"]) for action in checked["actions"]] == [("remove", str(stale))]
    assert [(diff["before_header"], diff["before"], diff["after"]) for diff in checked["diff"]] == [(str(stale), text, "")]
    done = run(capsys, **PROBLEM, dest=str(dest))
    assert done["changed"] and done["actions"] == checked["actions"] and [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert not run(capsys, **PROBLEM, dest=str(dest))["changed"]


@pytest.mark.parametrize("flags", [{}, {"_ansible_check_mode": True}])
@pytest.mark.parametrize("dest", ["", "problem.json/plan.json", "\0", "sub"])
def test_a_dest_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dest: str, flags: dict[str, Any]
) -> None:
    (tmp_path / "problem.json").write_text("{}", encoding="utf-8")
    (tmp_path / "sub").mkdir()
    failed = run(capsys, **PROBLEM, dest=f"{tmp_path}/{dest}", **flags)
    assert failed["failed"] and failed["msg"].startswith("placement: dest: value '")
    assert failed["msg"].endswith(", allowed the path of a file that can be written")


def test_src_and_options_give_the_same_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "problem.json"
    source.write_text(json.dumps(PROBLEM), encoding="utf-8")
    assert run(capsys, src=str(source))["plan"] == run(capsys, **PROBLEM)["plan"] == _place(PROBLEM)


@pytest.mark.parametrize(("content", "expected"), [
    ("{", "src: value"), ('{"hosts": [], "hosts": []}', "key 'hosts' stands twice in one mapping"),
    ('{"host": []}', "problem: unknown key 'host'"),
    ("[" * 200_000, "nested too deeply, allowed a JSON file with hosts, workloads"),
    ('{"hosts": [{"name": "\\ud800", "capacity": {"cpu_cores": 1}}]}', "name: value '\\ud800', allowed a non-empty string of characters"),
    ('{"policy": {"seed": 1' + "0" * 5000 + "}}", "src: value"),
])
def test_bad_source_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, expected: str) -> None:
    source = tmp_path / "problem.json"
    source.write_text(content, encoding="utf-8")
    failed = run(capsys, src=str(source), dest=str(tmp_path / "plan.json"))
    assert failed["failed"] and expected in failed["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["problem.json"]


def test_filters_read_a_plan() -> None:
    plan = _place(PROBLEM)
    assert _guests_of(plan, "h0") + _guests_of(plan, "h1") == ["a", "b"]
    assert [move["workload"] for name in ("a", "b") for move in _moves_of(plan, name)] == [move["workload"] for move in plan["moves"]]
    assert len(plan["moves"]) == 1
    with pytest.raises(AnsibleFilterError, match="host: value 'h9', allowed a host of the plan: h0, h1"):
        _guests_of(plan, "h9")
    with pytest.raises(AnsibleFilterError, match="workload: value 'z'"):
        _moves_of(plan, "z")
    with pytest.raises(AnsibleFilterError, match="the problem is not sound"):
        _place({"hosts": 3})
    assert _place(TOO_BIG)["status"] == "infeasible"
