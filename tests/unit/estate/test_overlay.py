# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What if: the changed problem, what is said of it, and what is refused."""
from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.overlay import _overlay
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.overlay import OverlayError, overlay
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.files import encode
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit import command_cases
from tests.unit.placement.test_promises import problems


def problem(**keys: Any) -> dict[str, Any]:
    hosts = [
        {"name": "xen01", "capacity": {"memory_mib": 100}, "zone": "rack1", "features": ["hvm"]},
        {"name": "xen02", "capacity": {"memory_mib": 100}, "zone": "xen02"},
        {"name": "xen03", "capacity": {"memory_mib": 100, "gpu": 2}, "zone": "rack1", "state": "drain"},
    ]
    workloads = [
        {"name": "db01", "demand": {"memory_mib": [30, 60]}, "current": "xen01", "storage": "replicated", "replica": "xen02"},
        {"name": "web01", "demand": {"memory_mib": 40}, "current": "xen02", "movable": False},
        {"name": "web02", "demand": {"memory_mib": 0.5}},
    ]
    return {"hosts": hosts, "workloads": workloads, "rules": [], "policy": {"headroom": {"gpu": 0.5}}, **keys}


def by_name(items: list[Any]) -> dict[str, Any]:
    return {item["name"]: item for item in items}


def test_without_a_host() -> None:
    given_problem = problem()
    result = overlay(given_problem, without_host="xen02")
    assert given_problem == problem()
    assert sorted(by_name(result.problem["hosts"])) == ["xen01", "xen03"]
    workloads = by_name(result.problem["workloads"])
    assert workloads["web01"] == {"name": "web01", "demand": {"memory_mib": 40}}
    assert "replica" not in workloads["db01"] and workloads["db01"]["current"] == "xen01"
    assert result.changes == ["without xen02"] and result.homeless == ["web01"]
    assert result.notes == ["new, since their host is gone: web01", "movable: false does not hold for web01, whose host is gone",
                            "no replica any more, so no live move to it: db01"]
    normalise(result.problem)


def test_several_hosts_and_what_only_they_had() -> None:
    for value in (["xen02", "xen03"], "xen02, xen03", ["xen03", "xen02", "xen02"]):
        result = overlay(problem(), without_host=value)
        assert list(by_name(result.problem["hosts"])) == ["xen01"] and result.changes == ["without xen02, xen03"]
        assert result.problem["policy"] == {"headroom": {}}
        normalise(result.problem)


RULES = [
    ({"rule": "fence", "workloads": ["web02"], "hosts": ["xen01", "xen02"]}, ["xen01"],
     "rule number 1 (fence): hosts without xen02: xen01"),
    ({"rule": "ban", "workloads": ["web02"], "hosts": ["xen02", "xen03"]}, ["xen03"], "rule number 1 (ban): hosts without xen02: xen03"),
    ({"rule": "ban", "workloads": ["web02"], "hosts": ["xen02"]}, None,
     "rule number 1 (ban): left out, since it names no other host (web02)"),
    ({"rule": "fence", "workloads": ["web02"], "hosts": ["xen02"], "enforce": "soft"}, None, "rule number 1 (fence): left out"),
    ({"rule": "root", "workloads": ["web01"]}, [], ""),
]


@pytest.mark.parametrize(("rule", "left", "note"), RULES, ids=[f"{rule[0]['rule']}-{number}" for number, rule in enumerate(RULES)])
def test_rules_that_name_the_host(rule: Any, left: Any, note: str) -> None:
    result = overlay(problem(rules=[rule]), without_host="xen02")
    assert [told.get("hosts", []) for told in result.problem["rules"]] == ([] if left is None else [left])
    assert not note or any(told.startswith(note) for told in result.notes)
    normalise(result.problem)


def test_hosts_like_another() -> None:
    result = overlay(problem(rules=[{"rule": "ban", "workloads": ["web02"], "hosts": ["xen03"]}]), add_hosts="2", like="xen03")
    added = result.problem["hosts"][3:]
    like = {"capacity": {"memory_mib": 100, "gpu": 2}, "zone": "rack1", "state": "active"}
    assert added == [{"name": "new01", **like}, {"name": "new02", **like}]
    assert result.changes == ["2 more hosts like xen03 (new01, new02)"]
    assert result.notes == ["rules that name xen03 do not name new01, new02"]
    normalise(result.problem)


def test_a_host_that_is_a_zone_of_its_own_makes_another_zone() -> None:
    result = overlay(problem(), add_hosts=[{"name": "x", "like": "xen02"}, {"name": "y"}], like="xen01")
    assert [(told["name"], told["zone"]) for told in result.problem["hosts"][3:]] == [("x", "x"), ("y", "rack1")]
    assert result.changes == ["1 more host like xen02 (x)", "1 more host like xen01 (y)"]


def test_a_host_in_place_of_another() -> None:
    result = overlay(problem(), without_host="xen03", add_hosts=[{"name": "xen03", "like": "xen03"}])
    assert by_name(result.problem["hosts"])["xen03"]["state"] == "active"
    taken = problem()
    taken["hosts"][0]["name"] = "new01"
    taken["workloads"][0]["current"] = "new01"
    assert overlay(taken, add_hosts=1, like="xen02").problem["hosts"][3]["name"] == "new02"


@pytest.mark.parametrize(("growth", "series", "half", "change"), [
    (20, [36, 72], 0.6, "all demands +20 %"), ("20", [36, 72], 0.6, "all demands +20 %"), (-50.0, [15, 30], 0.25, "all demands -50 %"),
    ({"memory_mib": "12.5"}, [33.75, 67.5], 0.5625, "demand of memory_mib +12.5 %"), (0, [30, 60], 0.5, "all demands +0 %"),
    ({"gpu": 5}, [30, 60], 0.5, "demand of gpu +5 %"), (0.0000001, [30, 60], 0.5, "all demands +0.0000001 %"),
])
def test_growth(growth: Any, series: list[float], half: float, change: str) -> None:
    result = overlay(problem(), growth_percent=growth)
    workloads = by_name(result.problem["workloads"])
    assert (workloads["db01"]["demand"]["memory_mib"], workloads["web02"]["demand"]["memory_mib"]) == (series, half)
    assert result.changes == [change] and result.notes == []
    assert all(isinstance(value, int) for value in series if value == int(value))


def test_what_is_reserved_grows_and_is_not_of_a_host_like_another() -> None:
    given_problem = problem()
    given_problem["hosts"][0]["reserved"] = {"memory_mib": 10}
    result = overlay(given_problem, add_hosts=1, like="xen01", growth_percent=50)
    hosts = by_name(result.problem["hosts"])
    assert hosts["xen01"]["reserved"] == {"memory_mib": 15} and "reserved" not in hosts["new01"]
    assert given_problem["hosts"][0]["reserved"] == {"memory_mib": 10}


def test_everything_at_once() -> None:
    result = overlay(problem(), without_host="xen02", add_hosts=1, like="xen01", growth_percent={"memory_mib": 10, "gpu": 20})
    assert result.changes == ["without xen02", "1 more host like xen01 (new01)", "demand of memory_mib +10 %", "demand of gpu +20 %"]


FENCE = {"rule": "fence", "workloads": ["web02"], "hosts": ["xen02"]}
HUGE = 10**5000
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["what if: nothing to change, allowed without_host, add_hosts with like, growth_percent"]),
    ({"without_host": "xen99"}, ["without_host: value 'xen99', allowed hosts of the estate: xen01, xen02, xen03"]),
    ({"without_host": ["xen01", "y", "x"]}, ["without_host: value 'x', allowed ", "without_host: value 'y', allowed "]),
    ({"without_host": "xen01,xen02,xen03"},
     ["without_host: value ['xen01', 'xen02', 'xen03'], allowed fewer hosts than all of the estate"]),
    *(({"without_host": value}, ["without_host: value "]) for value in (3, "", [], {}, [3], [None], ["xen01", ""], True)),
    ({"add_hosts": 2}, ["like: missing, allowed with add_hosts 2 the host that the new ones are like: xen01, xen02, xen03"]),
    ({"add_hosts": 2, "like": "xen9"}, ["like: value 'xen9', allowed a host of the estate: xen01, xen02, xen03"]),
    ({"add_hosts": 2, "like": 3}, ["like: value 3, allowed a host of the estate"]),
    ({"like": "xen01"}, ["like: value 'xen01', allowed only with add_hosts"]),
    *(({"add_hosts": value, "like": "xen01"}, ["add_hosts: value "]) for value in (
        0, -1, 1.5, "two", "", True, 1001, {}, [], "nan", float("inf"), {"name": "x"}, HUGE)),
    ({"add_hosts": [{"nam": "x", "lik": "xen01"}]}, [
        "add_hosts[0]: nam: unknown key with value 'x', allowed name, like", "add_hosts[0]: lik: unknown key",
        "add_hosts[0]: name: value None, allowed ", "add_hosts[0]: like: value None, allowed a host of the estate"]),
    ({"add_hosts": [{"name": "xen01", "like": "xen01"}]}, ["add_hosts[0]: name: value 'xen01', allowed letters"]),
    ({"add_hosts": [{"name": "a", "like": "xen01"}, {"name": "a", "like": "xen01"}]}, ["add_hosts[1]: name: value 'a'"]),
    ({"add_hosts": [{"name": "a b", "like": "xen01"}, "new01"]},
     ["add_hosts[0]: name: value 'a b'", "add_hosts[1]: value 'new01', allowed a mapping"]),
    *(({"growth_percent": value}, ["growth_percent: value "]) for value in (
        -100, "-100", -101, "20%", "", "ten", "nan", "inf", True, [20], {}, 10**7, float("nan"), HUGE)),
    ({"growth_percent": {"memory": 30}},
     ["growth_percent.memory: unknown key with value 30, allowed resources of the estate: gpu, memory_mib"]),
    ({"growth_percent": {"memory_mib": -100, "gpu": "x"}}, ["growth_percent.gpu: value 'x'", "growth_percent.memory_mib: value -100"]),
    ({"growth_percent": {3: 4}}, ["growth_percent.3: unknown key"]),
    ({"without_host": "x", "add_hosts": "y", "growth_percent": "z"}, ["without_host: ", "add_hosts: ", "growth_percent: "]),
]


@pytest.mark.parametrize(("changes", "lines"), BAD, ids=[f"{number}-{'-'.join(case[0])}" for number, case in enumerate(BAD)])
def test_bad_changes_are_refused_with_all_that_is_wrong(changes: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(OverlayError) as caught:
        overlay(problem(), **changes)
    told = str(caught.value).splitlines()
    assert len(told) == len(lines) and all(any(line.startswith(start) for line in told) for start in lines), told
    assert all("allowed" in line for line in told)


def test_a_fence_without_any_host_left_is_refused() -> None:
    with pytest.raises(OverlayError, match=r"rule number 1 \(fence\): hosts: value \['xen02'\] has no host left for web02, allowed in "):
        overlay(problem(rules=[FENCE]), without_host="xen02")


@settings(max_examples=150)
@given(problems(), st.data())
def test_what_comes_out_is_sound(given_problem: dict[str, Any], data: st.DataObject) -> None:
    names = [told["name"] for told in given_problem["hosts"]]
    before = copy.deepcopy(given_problem)
    changes = data.draw(st.fixed_dictionaries({}, optional={
        "without_host": st.lists(st.sampled_from(names), min_size=1, unique=True), "growth_percent": st.integers(-99, 300),
        "add_hosts": st.just([{"name": "new", "like": names[0]}])}))
    try:
        result = overlay(given_problem, **changes)
    except OverlayError:
        return
    assert given_problem == before
    normalise(result.problem)
    assert not set(changes.get("without_host", ())) & {told["name"] for told in result.problem["hosts"]}


NO_PROBLEMS = [None, 3, "text", [[1]], {"hosts": 3}, {"hosts": [], "workloads": [3]}, {"hosts": [{}], "workloads": []}]


@pytest.mark.parametrize("value", NO_PROBLEMS, ids=repr)
def test_the_filter_refuses_what_is_no_problem(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"overlay: problem: .*allowed "):
        _overlay(value, growth_percent=3)


def test_the_filter() -> None:
    assert _overlay(problem(), without_host="xen02")["changes"] == ["without xen02"]
    for changes in ({"without_hosts": "xen02"}, {"growth_percent": "x"}, {}, {"growth_percent": {1, 2}}):
        with pytest.raises(AnsibleFilterError, match="overlay: "):
            _overlay(problem(), **changes)
    with pytest.raises(AnsibleFilterError, match="does not hold together"):
        _overlay({"hosts": [{"name": "a"}], "workloads": []}, growth_percent=3)


def whatif(folder: Path, flags: dict[str, bool] | None = None, output: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    arguments = {"estate": "small", "problem": problem(), "plan": str(folder / "plan.json"), "markdown": str(folder / "whatif.md"),
                 "html": str(folder / "whatif.html"), **changes}
    return command_cases.run("plan_whatif", {"input": arguments, "flags": flags or {}, "output": output or {"failed": False}})


def test_the_module_compares_and_writes_once(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(encode(place(problem())))
    seen = plan.read_bytes()
    first = whatif(tmp_path, {"check": True}, without_host="xen02", growth_percent=50)
    assert first["changed"] and list(tmp_path.iterdir()) == [plan]
    done = whatif(tmp_path, without_host="xen02", growth_percent=50)
    assert done["changed"] and plan.read_bytes() == seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "whatif.html", "whatif.md"]
    assert done["before"]["status"] != "infeasible" and done["after"]["status"] == "infeasible" and done["after"]["unplaced"] == 1
    assert done["lines"][0] == "What if, small: without xen02, all demands +50 %"
    assert done["lines"][1] == "Not everything fits: 1 of 3 workloads find no host"
    assert "short: memory is short by 0.0 GiB on all active hosts together" in done["lines"]
    assert any(line.startswith("not placed: ") and "memory short by" in line for line in done["lines"])
    text = (tmp_path / "whatif.md").read_text()
    assert "# What if, small: without xen02, all demands +50 %" in text and "## Not placed" in text
    assert "What could not be placed" in (tmp_path / "whatif.html").read_text()
    assert not whatif(tmp_path, without_host="xen02", growth_percent=50)["changed"]


def test_a_limit_of_moves_is_a_reason_only_where_there_is_one(tmp_path: Path) -> None:
    for policy in ({}, {"max_moves": 0}):
        lines = whatif(tmp_path, problem=problem(policy=policy), growth_percent=150)["lines"]
        assert policy or "max_moves" not in json.dumps(lines)


@pytest.mark.parametrize(("changes", "words"), [
    ({}, "what if: nothing to change"), ({"growth_percent": "x"}, "growth_percent: value 'x', allowed a number above -100"),
    ({"growth_percent": 1, "problem": {"hosts": []}}, "The problem is not sound, nothing was planned:\n"),
    ({"growth_percent": 1, "markdown": "/"}, "markdown: value '/': "), ({"growth_percent": 1, "plan": "/"}, "plan: value '/': "),
])
def test_the_module_refuses(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert whatif(tmp_path, output={"failed": True}, **changes)["msg"].startswith(words)


def test_what_is_written_is_safe_in_a_page(tmp_path: Path) -> None:
    odd = problem()
    odd["workloads"][2]["name"] = "<b>|x"
    odd["workloads"][2]["demand"] = {"memory_mib": 1000}
    whatif(tmp_path, problem=odd, growth_percent=1)
    assert "<b>|x" not in (tmp_path / "whatif.html").read_text() and r"\<b\>\|x" in (tmp_path / "whatif.md").read_text()
