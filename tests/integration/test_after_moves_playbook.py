# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/plan.yml after a failed move, and what docs/planner.md says of it, on the example."""
from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_plan_playbook import EXAMPLE, FILES, ROOT, changed, edit, play

SECTION = re.search(r"^## After a failed move\n(.*?)^## ", (ROOT / "docs/planner.md").read_text(), re.MULTILINE | re.DOTALL)[1]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plan of the example."""
    folder = tmp_path_factory.mktemp("planned")
    done = play(EXAMPLE, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def folder(planned: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(planned, tmp_path / "out"))


def plan_in(folder: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return plan


def first(plan: dict[str, Any], steps: int, drains: bool) -> str:
    """The first workload that moves only after so many steps, away from the host that drains or from another one."""
    begun = {move["workload"] for move in plan["moves"][:steps]}
    return str(next(move["workload"] for move in plan["moves"] if move["workload"] not in begun and (move["from"] == "xen08") == drains))


def test_the_command_of_the_docs_replaces_the_plan_once(folder: Path) -> None:
    commands = [shlex.split(line[2:]) for line in SECTION.splitlines() if line.startswith("$ ")]
    assert [command[:5] for command in commands] == [
        ["ansible-playbook", "-i", "inventories/example", "playbooks/plan.yml", "-e"]]
    old = plan_in(folder)
    failed = first(old, 12, drains=False)
    arguments = [part.replace("failed=web01", f"failed={failed}") for part in commands[0][4:]]
    before = {name: (folder / name).read_bytes() for name in FILES}
    checked = play(EXAMPLE, folder, *arguments, "--check")
    assert checked.returncode == 0 and changed(checked) == 2, checked.stdout
    assert {name: (folder / name).read_bytes() for name in FILES} == before

    done = play(EXAMPLE, folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert changed(done) == 2 and sorted(path.name for path in folder.iterdir()) == FILES
    new, home = plan_in(folder), next(move["from"] for move in old["moves"] if move["workload"] == failed)
    assert new["placement"][failed] == home and failed not in {move["workload"] for move in new["moves"]}
    assert re.search(rf"^ +{failed} stays on {home}$", done.stdout, re.MULTILINE), done.stdout
    at = {move["workload"]: move["to"] for move in old["moves"][:12]}
    for workload, host in at.items():
        assert re.search(rf"^ +{workload} is on {host}(, its replica on xen0\d)?$", done.stdout, re.MULTILINE), done.stdout
    assert [move["step"] for move in new["moves"]] == list(range(1, len(new["moves"]) + 1)) and new["moves"][0]["wave"] == 1
    left = {move["workload"]: move["from"] for move in reversed(new["moves"])}
    assert all(host == at[workload] for workload, host in left.items() if workload in at)
    assert f"moves in {new['moves'][-1]['wave']} waves" in (folder / "plan.md").read_text() + done.stdout

    # Its steps are others now, so the same words would be wrong.
    before = {name: (folder / name).read_bytes() for name in FILES}
    again = play(EXAMPLE, folder, *arguments)
    assert again.returncode == 2
    assert re.search(r"after_moves: plan: inputs_sha256: value '+\w{12}'+, allowed '+\w{12}'+, that of the problem", again.stdout)
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_a_workload_that_failed_on_a_draining_host_is_named_and_the_plan_stays(folder: Path) -> None:
    before, failed = (folder / "plan.json").read_bytes(), first(plan_in(folder), 2, drains=True)
    done = play(EXAMPLE, folder, "-e", json.dumps({"done_steps": [1, 2], "failed": [failed]}))
    assert done.returncode == 2
    assert "The plan cannot be carried out: 1 of 65 workloads cannot be placed." in done.stdout
    assert re.search(rf"^ +{failed}: movable is false \(7 hosts\); the host's state is drain \(xen08\)", done.stdout, re.MULTILINE)
    assert re.search(rf"^ +cannot hold together: {failed} stays on xen08 since movable is false, and xen08 drains$", done.stdout,
                     re.MULTILINE), done.stdout
    assert (folder / "plan.json").read_bytes() == before
    assert (folder / "plan.infeasible.json").exists()


def test_one_that_could_not_be_defined_is_planned_for_another_host(tmp_path: Path) -> None:
    inventory, folder = Path(shutil.copytree(EXAMPLE, tmp_path / "inventory")), tmp_path / "out"
    edit(inventory / "group_vars/all/workloads_shop.yml", "    current: xen01\n", "")
    done = play(inventory, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    move = next(move for move in plan_in(folder)["moves"] if move["workload"] == "web01")
    assert move["from"] is None
    again = play(inventory, folder, "-e", "done_steps=none", "-e", "failed=web01")
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"web01 is new, and not for {move['to']}" in again.stdout
    assert plan_in(folder)["placement"]["web01"] != move["to"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["failed=web01"], "done_steps: missing, allowed the steps of plan.json that are done: -e done_steps=1-12, or -e done_steps=none"),
    (["done_steps="], "after_moves: done: value '+, allowed numbers of steps, such as .1, 2, 3. or 1-12,15, or none"),
    (["done_steps=1-999"], "after_moves: done: value '+1-999'+, allowed steps of the plan, from 1 to [0-9]+"),
    (["done_steps=none", "failed=wbe0"], r"after_moves: failed: value '+wbe0'+, allowed workloads that the plan moves"),
    (["done_steps=1", "failed={first}"], r"after_moves: failed: value '+{first}'+, allowed workloads with a step that is not done"),
])
def test_what_does_not_fit_is_refused(folder: Path, arguments: list[str], message: str) -> None:
    workload = plan_in(folder)["moves"][0]["workload"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = play(EXAMPLE, folder, *(part for argument in arguments for part in ("-e", argument.replace("{first}", workload))))
    assert done.returncode == 2
    assert re.search(message.replace("{first}", workload), done.stdout), done.stdout
    assert done.stdout.count("[ERROR]") + done.stderr.count("[ERROR]") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(("content", "message"), [
    (None, r"plan: value '+\S+/plan.json'+, allowed with done_steps the file of the plan that was being carried out"),
    ("no JSON", "after_moves: plan: text that is no JSON"), ("3", "after_moves: plan: value 3, allowed a plan of the module placement"),
])
def test_without_a_plan_there_is_nothing_to_go_on_from(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    done = play(EXAMPLE, tmp_path, "-e", "done_steps=1")
    assert done.returncode == 2
    assert re.search(message, done.stdout), done.stdout
    assert [path.name for path in tmp_path.iterdir()] == (["plan.json"] if content is not None else [])


TASKS = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {problem: "{{ read.estate.problem }}", plan: "{{ lookup('ansible.builtin.file', plan_dir ~ '/plan.json') | from_json }}"}
  tasks:
    - xenfold.consolidation.estate:
      register: read
"""


def test_the_filter_as_the_docs_use_it(planned: Path, tmp_path: Path) -> None:
    failed = first(plan_in(planned), 3, drains=False)
    task = re.search(r"^```yaml\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)[1].replace("web01", failed)
    told = "- ansible.builtin.debug: {msg: \"status={{ left.status }} of {{ left.placement[name] }}\"}\n  vars: {name: " + failed + "}\n"
    (tmp_path / "try.yml").write_text(TASKS + "".join(f"    {line}\n" for line in (task + told).splitlines()))
    done = play(EXAMPLE, planned, playbook=tmp_path / "try.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    home = next(move["from"] for move in plan_in(planned)["moves"] if move["workload"] == failed)
    assert re.search(rf"status=(optimal|feasible) of {home}", done.stdout), done.stdout
