# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/explain.yml and playbooks/whatif.yml, run as a person runs them on the example."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.integration.test_plan_playbook import EXAMPLE, ROOT, changed, play

EXPLAIN, WHATIF = ROOT / "playbooks" / "explain.yml", ROOT / "playbooks" / "whatif.yml"


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plan of the example."""
    folder = tmp_path_factory.mktemp("planned")
    done = play(EXAMPLE, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_explain_has_one_line_for_each_other_host(planned: Path) -> None:
    before = {path.name: path.read_bytes() for path in planned.iterdir()}
    done = play(EXAMPLE, planned, "-e", "workload=web01", playbook=EXPLAIN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert changed(done) == 0
    home = json.loads((planned / "plan.json").read_text())["placement"]["web01"]
    assert re.search(rf"^ +web01 on {home}: \S", done.stdout, re.MULTILINE), done.stdout
    told = re.findall(r"^ +(xen\d\d)  (\S.*)$", done.stdout, re.MULTILINE)
    assert [name for name, _ in told] == [f"xen{number:02d}" for number in range(1, 9) if f"xen{number:02d}" != home]
    assert ("xen08", "cannot go there: the host's state is drain") in told
    assert {path.name: path.read_bytes() for path in planned.iterdir()} == before


def test_explain_reads_the_plan_that_is_there_and_else_plans(planned: Path, tmp_path: Path) -> None:
    """The same answer with and without plan.json; one with other inputs counts as none, one with the same is taken at its word."""
    plan = json.loads((planned / "plan.json").read_text())
    answers = []
    moves = [{**move, "reason": "as it is written"} for move in plan["moves"]]
    for content in (plan, None, {**plan, "moves": moves, "inputs_sha256": "0"}, {**plan, "moves": moves}):
        (tmp_path / "plan.json").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "plan.json").write_text(json.dumps(content))
        done = play(EXAMPLE, tmp_path, "-e", f"workload={plan['moves'][0]['workload']}", playbook=EXPLAIN)
        assert done.returncode == 0, done.stdout + done.stderr
        answers.append(re.search(r"msg: \|-\n(.*?)\n\n", done.stdout, re.DOTALL)[1])
    assert answers[0] == answers[1] == answers[2]
    assert "as it is written" not in answers[0] and "as it is written" in answers[3]


@pytest.mark.parametrize(("arguments", "message"), [
    (["-e", "workload=wbe01"], r"workload: value '+wbe01'+, allowed a workload of the problem \(did you mean web01"),
    ([], "workload: missing, allowed the name of a workload of the estate: -e workload=web01"),
])
def test_explain_refuses(planned: Path, arguments: list[str], message: str) -> None:
    done = play(EXAMPLE, planned, *arguments, playbook=EXPLAIN)
    assert done.returncode == 2
    assert re.search(message, done.stdout), done.stdout


GOOD = [
    (["-e", "without_host=xen03"],
     ["without xen03", "Everything fits: ", "new, since their host is gone: ", r"hosts of the estate +8 +7\n"]),
    (["-e", "add_hosts=2", "-e", "like=xen01"],
     [r"2 more hosts like xen01 \(new01, new02\)", "Everything fits: ", r"hosts of the estate +8 +10\n"]),
    (["-e", '{"add_hosts": [{"name": "extra", "like": "xen01"}], "without_host": ["xen07", "xen08"]}'],
     [r"without xen07, xen08, 1 more host like xen01 \(extra\)", r"hosts of the estate +8 +7\n"]),
    (["-e", "growth_percent=20"], [r"all demands \+20 %", "Everything fits: "]),
    (["-e", '{"growth_percent": {"memory_mib": 30}}'], [r"demand of memory_mib \+30 %"]),
]


@pytest.mark.parametrize(("arguments", "words"), GOOD, ids=[" ".join(case[0]) for case in GOOD])
def test_whatif_writes_its_report_and_nothing_else(planned: Path, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    plan = (planned / "plan.json").read_bytes()
    (tmp_path / "plan.json").write_bytes(plan)
    done = play(EXAMPLE, tmp_path, *arguments, playbook=WHATIF)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in words:
        assert re.search(word, done.stdout), (word, done.stdout)
    for row in ("outcome", "hosts used", "hosts needed at least", "moves", "workloads not placed", "tightest resource"):
        assert re.search(rf"^ +{row}  +\S", done.stdout, re.MULTILINE), (row, done.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "whatif.html", "whatif.md"]
    assert (tmp_path / "plan.json").read_bytes() == plan
    assert (tmp_path / "whatif.md").read_text().startswith("# What if, example: ")


def test_what_does_not_fit_is_an_answer(tmp_path: Path) -> None:
    arguments = ["-e", "growth_percent=150"]
    checked = play(EXAMPLE, tmp_path / "out", *arguments, "--check", playbook=WHATIF)
    assert checked.returncode == 0 and changed(checked) == 1 and not (tmp_path / "out").exists()
    done = play(EXAMPLE, tmp_path / "out", *arguments, playbook=WHATIF)
    assert done.returncode == 0 and changed(done) == 1
    assert re.search(r"Not everything fits: \d+ of 65 workloads find no host", done.stdout)
    assert re.search(r"short: memory is short by [\d.,]+ GiB on all active hosts together", done.stdout)
    assert "not placed: " in done.stdout and "max_moves" not in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["whatif.html", "whatif.md"]
    assert changed(play(EXAMPLE, tmp_path / "out", *arguments, playbook=WHATIF)) == 0


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "what if: nothing to change, allowed without_host, add_hosts with like, growth_percent"),
    (["-e", "without_host=xen99"], "without_host: value '+xen99'+, allowed hosts of the estate: xen01, xen02"),
    (["-e", "growth_percent=-100"], "growth_percent: value '+-100'+, allowed a number above -100"),
    (["-e", "growth_percent=much"], "growth_percent: value '+much'+, allowed a number above -100"),
    (["-e", "add_hosts=2"], "like: missing, allowed with add_hosts 2 the host that the new ones are like"),
    (["-e", "add_hosts=2", "-e", "like=xen9"], "like: value '+xen9'+, allowed a host of the estate"),
    (["-e", '{"add_hosts": [{"nam": "x", "lik": "y"}]}'], "add_hosts.0.: nam: unknown key with value '+x'+, allowed name, like"),
])
def test_whatif_refuses_in_one_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = play(EXAMPLE, tmp_path / "out", *arguments, playbook=WHATIF)
    assert done.returncode == 2
    assert re.search(message, done.stdout), done.stdout
    assert done.stdout.count("[ERROR]") + done.stderr.count("[ERROR]") == 1
    assert not (tmp_path / "out").exists()
