# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a workload is on no other host: every reason is put to the test by the verifier, which shares no code with the planner."""
from __future__ import annotations

import copy
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.explain import _explain
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement import known
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.explain import ExplainError, explain
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.files import encode
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.known import plan_for
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
from hypothesis import given, settings

from tests.unit import command_cases
from tests.unit.placement import verifier
from tests.unit.placement.test_promises import problems


def host(name: str, memory: float = 10, **keys: Any) -> dict[str, Any]:
    return {"name": name, "capacity": {"memory_mib": memory, "cpu_cores": 8}, **keys}


def workload(name: str, memory: Any = 4, **keys: Any) -> dict[str, Any]:
    return {"name": name, "demand": {"memory_mib": memory, "cpu_cores": 1}, **keys}


def asked(name: str, hosts: list[Any], workloads: list[Any], rules: Any = (), **policy: Any) -> dict[str, Any]:
    problem = {"hosts": hosts, "workloads": workloads, "rules": list(rules), "policy": policy}
    return explain(problem, place(problem), name)


A, B = workload("a", current="h1"), workload("b", current="h2")
CASES = [
    ("drain", [host("h1"), host("h2", state="drain")], [A], [], {"kind": "state", "state": "drain"}, "the host's state is drain"),
    ("closed", [host("h1"), host("h2", state="closed")], [A], [], {"kind": "state", "state": "closed"}, "the host's state is closed"),
    ("home drains", [host("h1"), host("h2", state="drain")], [workload("a", current="h2")], [], {"kind": "state"}, "the host drains"),
    ("features", [host("h1", features=["hvm"]), host("h2")], [workload("a", requires=["hvm"])], [],
     {"kind": "features", "lacks": ["hvm"]}, "requires hvm, which the host does not offer"),
    ("vcpus", [host("h1"), host("h2", limits={"vcpus": 2})], [workload("a", vcpus=4)], [],
     {"kind": "vcpus", "short_by": 2}, "has 4 vCPUs, the host takes at most 2"),
    ("movable", [host("h1"), host("h2")], [{**A, "movable": False}], [], {"kind": "movable"}, "stays on h1: movable is false"),
    ("ban", [host("h1"), host("h2")], [A], [{"rule": "ban", "workloads": ["a"], "hosts": ["h2"]}],
     {"kind": "rule", "rule": "ban", "in_the_way": []}, "rule ban: a never on h2"),
    ("anti_affinity", [host("h1"), host("h2")], [A, B], [{"rule": "anti_affinity", "workloads": ["a", "b"]}],
     {"kind": "rule", "rule": "anti_affinity", "in_the_way": ["b"]}, "rule anti_affinity: no two of a, b on one host; b is there"),
    ("zone", [host("h1"), host("h3", zone="z"), host("h2", zone="z")], [A, workload("b", current="h3")],
     [{"rule": "anti_affinity", "workloads": ["a", "b"], "scope": "zone"}], {"kind": "rule", "in_the_way": ["b"]}, "b is in that zone"),
    ("exclusive", [host("h1"), host("h2")], [A, B], [{"rule": "exclusive", "workloads": ["b"]}],
     {"kind": "rule", "rule": "exclusive", "in_the_way": ["b"]}, "the hosts of b hold nobody else; b is there"),
    ("limit_hosts", [host("h1"), host("h2")], [A, workload("b", current="h1")],
     [{"rule": "limit_hosts", "workloads": ["a", "b"], "at_most": 1}],
     {"kind": "rule", "rule": "limit_hosts", "in_the_way": ["b"]}, "a, b on at most 1 hosts; b is on h1"),
    ("room", [host("h1"), host("h2")], [A, workload("b", 7, current="h2")], [],
     {"kind": "room", "resource": "memory_mib", "slot": 0, "short_by": 1, "needs": 4, "free": 3, "usable": 10},
     "does not fit beside what the plan puts there: memory_mib short by 1 (needs 4, free 3 of 10)"),
    ("slot", [host("h1"), host("h2")], [workload("a", [4, 1, 5], current="h1"), workload("b", [6.5, 7, 6.5], current="h2")], [],
     {"kind": "room", "slot": 2, "short_by": 1.5}, "short by 1.5 in time slot 3 of 3"),
    ("too large", [host("h1"), host("h2", 3)], [A], [], {"kind": "room", "short_by": 1}, "does not fit even when the host is empty"),
    ("another host", [host("h1"), host("h2")], [A, workload("b", current="h1")], [],
     {"kind": "criterion", "criterion": "hosts", "here": 1, "there": 2}, "would use another host: 2 instead of 1"),
    ("a move", [host("h1"), host("h2")], [A], [], {"kind": "criterion", "criterion": "move_cost", "here": 0, "there": 4},
     "would cost a move: 4 instead of 0 in total"),
    ("a soft rule", [host("h1"), host("h2")], [A], [{"rule": "fence", "workloads": ["a"], "hosts": ["h1"], "enforce": "soft"}],
     {"kind": "criterion", "criterion": "soft_rules", "here": 0, "there": 1}, "would break the soft rule fence: a only on h1"),
    ("equal", [host("h1"), host("h2")], [workload("a")], [], {"kind": "equal"}, "would fit, but is no better"),
]


@pytest.mark.parametrize(("hosts", "workloads", "rules", "wanted", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_why_not_on_h2(hosts: Any, workloads: Any, rules: Any, wanted: dict[str, Any], words: str) -> None:
    answer = asked("a", hosts, workloads, rules)
    entry = next(entry for entry in answer["not_on"] if entry["host"] == "h2")
    assert {key: entry[key] for key in wanted} == wanted
    assert words in entry["because"]


def test_why_it_stands_where_it_does() -> None:
    answer = asked("a", [host("h1"), host("h2")], [A])
    assert {key: answer[key] for key in ("workload", "host", "because", "demand", "together")} == {
        "workload": "a", "host": "h1", "because": "stays at home: no move needed", "demand": {"memory_mib": 4, "cpu_cores": 1},
        "together": []}
    assert asked("a", [host("h1")], [workload("a")])["because"] == "new: has no host yet, fits on h1"
    assert asked("a", [host("h1", state="drain"), host("h2")], [A])["because"] == "h1 drains"
    assert asked("a", [host("h1", state="closed")], [A])["because"].startswith("stays at home (h1 is closed to others")
    assert asked("a", [host("h1")], [{**A, "movable": False}])["because"] == "stays at home: movable is false and it runs on h1"


def test_nowhere() -> None:
    answer = asked("a", [host("h1"), host("h2", state="drain")], [workload("a", 11)])
    assert answer["host"] is None and answer["because"].startswith("is not placed")
    assert [entry["kind"] for entry in answer["not_on"]] == ["room", "state"]


def test_those_that_an_affinity_binds_are_asked_about_together() -> None:
    rules = [{"rule": "affinity", "workloads": ["a", "b"]}]
    both = [A, workload("b", 5, current="h1", requires=["hvm"])]
    answer = asked("a", [host("h1", features=["hvm"]), host("h2"), host("h3", 8, features=["hvm"])], both, rules)
    assert answer["together"] == ["b"]
    assert answer["not_on"][0]["because"] == "b, which goes with it, requires hvm, which the host does not offer"
    assert answer["not_on"][1]["because"].startswith("do not fit together even when the host is empty: memory_mib short by 1 ")


def test_a_limit_of_moves() -> None:
    hosts, both = [host("h1"), host("h2")], [A, B]
    entry = asked("b", hosts, both, max_moves=0)["not_on"][0]
    assert (entry["kind"], entry["because"]) == ("policy", "would take 1 move, policy.max_moves allows 0")


SMALL = {"hosts": [host("h1"), host("h2")], "workloads": [workload("web01", current="h1"), workload("web02"), workload("DB01")]}


@pytest.mark.parametrize(("name", "words"), [
    ("wbe01", "value 'wbe01', allowed a workload of the problem (did you mean web01"),
    ("db01", "value 'db01', allowed a workload of the problem (did you mean DB01"),
    ("mail", "value 'mail', allowed a workload of the problem: DB01, web01, web02"),
    (None, "value None, allowed a workload of the problem: DB01, web01, web02"), (3, "value 3, allowed "), (["web01"], "allowed "),
])
def test_unknown_workloads_name_close_matches(name: Any, words: str) -> None:
    with pytest.raises(ExplainError) as caught:
        explain(SMALL, place(SMALL), name)
    assert str(caught.value).startswith("workload: ") and words in str(caught.value)
    with pytest.raises(AnsibleFilterError, match="explain: workload: "):
        _explain(place(SMALL), SMALL, name)


@pytest.mark.parametrize(("change", "words"), [
    ({"inputs_sha256": "0"}, "explain: plan: inputs_sha256: value '0', allowed "),
    ({"placement": {"web01": "h9"}}, "explain: plan: placement: value that does not belong to the problem"),
    ({"placement": 3}, "explain: plan: placement: "), ({"moves": 3}, "explain: plan: value "), ({"moves": [3]}, "explain: plan: value "),
])
def test_plans_that_do_not_belong_to_the_problem(change: Any, words: str) -> None:
    assert _explain(place(SMALL), SMALL, "web01")["host"] == "h1"
    with pytest.raises(AnsibleFilterError, match=words):
        _explain({**place(SMALL), **change}, SMALL, "web01")


@pytest.mark.parametrize("value", [None, 3, "text", [[1]], {"hosts": 3}, {"hosts": {1, 2}}], ids=repr)
def test_what_is_no_problem_or_plan(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="explain: "):
        _explain(place(SMALL), value, "web01")
    with pytest.raises(AnsibleFilterError, match="explain: plan: "):
        _explain(value, SMALL, "web01")


def test_a_known_plan_is_taken_when_it_is_of_the_same_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = place(SMALL)
    calls: list[Any] = []
    monkeypatch.setattr(known, "place", lambda document: calls.append(document) or {"status": "computed"})
    assert plan_for(SMALL, encode(plan)) == plan and not calls
    for text in (None, "", "3", "{", "[" * 100_000, encode({**plan, "inputs_sha256": "0"}), encode({**plan, "schema": 0}),
                 encode({**plan, "moves": None})):
        assert plan_for(SMALL, text) == {"status": "computed"}
    assert len(calls) == 8


def test_the_module(tmp_path: Path) -> None:
    """It reads a plan that is there, asks before it plans, and writes nothing."""
    file = tmp_path / "plan.json"
    for _ in range(2):
        done = command_cases.run("plan_explain", {"input": {"problem": SMALL, "plan": str(file), "workload": "web02"},
                                                  "output": {"failed": False, "changed": False}})
        assert done["lines"][0] == "web02 on h2: new: has no host yet, fits on h2"
        assert done["lines"][-1].startswith("h1  does not fit beside what the plan puts there: memory_mib short by 2")
        assert done["explained"] == explain(SMALL, place(SMALL), "web02")
        file.write_text(encode(place(SMALL)))
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("change", "words"), [
    ({"workload": "web03"}, "workload: value 'web03', allowed a workload of the problem (did you mean "),
    ({"problem": {"hosts": []}}, "The problem is not sound, nothing was planned:\n"),
    ({"plan": "/"}, "plan: value '/': "),
])
def test_the_module_refuses(change: Any, words: str) -> None:
    done = command_cases.run("plan_explain", {"input": {"problem": SMALL, "workload": "web01", **change}, "output": {"failed": True}})
    assert done["msg"].startswith(words)


def test_an_unsound_problem_is_an_error_of_its_own() -> None:
    with pytest.raises(ProblemError, match="hosts: value"):
        explain({"hosts": []}, {}, "a")


@settings(max_examples=200)
@given(problems())
def test_every_reason_is_true(problem: dict[str, Any]) -> None:
    plan = place(problem)
    before = copy.deepcopy((problem, plan))
    for name in sorted(item["name"] for item in problem["workloads"]):
        answer = explain(problem, plan, name)
        assert answer["host"] == plan["placement"].get(name)
        assert sorted(entry["host"] for entry in answer["not_on"]) == sorted(
            told["name"] for told in problem["hosts"] if told["name"] != answer["host"])
        for entry in answer["not_on"]:
            _Claim(problem, plan, [name, *answer["together"]], entry["host"]).check(entry)
    assert (problem, plan) == before


class _Claim:
    """A workload, and those that go with it, on another host: is that wrong in the way that is claimed?"""

    def __init__(self, problem: dict[str, Any], plan: dict[str, Any], names: list[str], place: str) -> None:
        self.estate, self.plan, self.names, self.host = verifier.Estate(problem), plan, names, place
        self.before = plan["placement"]
        self.after = {**self.before, **dict.fromkeys(names, place)}

    def check(self, entry: dict[str, Any]) -> None:
        getattr(self, f"_{entry['kind']}")(entry)
        if entry["kind"] in ("criterion", "equal", "better"):
            assert verifier._single(self.estate, self.after) == verifier._capacity(self.estate, self.after) == []
            assert not any(self._amount(rule, self.after) for rule in self.estate.rules if rule.get("enforce", "hard") == "hard")

    def _amount(self, rule: Any, placement: dict[str, str]) -> int:
        return verifier.amount(self.estate, rule, verifier._where(placement))

    def _alone(self, text: str) -> None:
        found = verifier._single(self.estate, dict.fromkeys(self.names, self.host))
        assert any(text.format(name=name) == line for name in self.names for line in found), (text, found)

    def _state(self, entry: Any) -> None:
        self._alone(f"{{name}} on {entry['state']} {self.host}")

    def _features(self, entry: Any) -> None:
        self._alone(f"{{name}} lacks features on {self.host}")
        assert not set(entry["lacks"]) & set(self.estate.hosts[self.host].get("features") or ())

    def _vcpus(self, entry: Any) -> None:
        self._alone(f"{{name}} too wide for {self.host}")

    def _movable(self, entry: Any) -> None:
        self._alone(f"{{name}} is not movable, yet on {self.host}")

    def _rule(self, entry: Any) -> None:
        hard = [rule for rule in self.estate.rules if rule["rule"] == entry["rule"] and rule.get("enforce", "hard") == "hard"]
        if "at all times" in entry["because"]:
            homes = [{self.estate.domain(self.estate.workloads[name]["current"], rule.get("scope", "host")) for name in rule["workloads"]}
                     for rule in hard if rule.get("during") == "always" and set(self.names) & set(rule["workloads"])
                     and all(self.estate.workloads[name].get("current") for name in rule["workloads"])]
            assert any(len(domains) == 1 for domains in homes)
            return
        cleared = {name: there for name, there in self.after.items() if name not in entry["in_the_way"]}
        broken = [rule for rule in hard if self._amount(rule, self.after) and not self._amount(rule, self.before)]
        assert broken, entry
        if entry["in_the_way"]:
            assert any(not self._amount(rule, cleared) for rule in broken), entry
            assert not set(entry["in_the_way"]) & set(self.names)
        else:
            assert entry["rule"] in ("fence", "ban", "root"), entry

    def _room(self, entry: Any) -> None:
        assert f"{self.host} holds too much {entry['resource']} in slot {entry['slot']}" in verifier._capacity(self.estate, self.after)
        shares = {}
        for resource in self.estate.resources:
            usable = self.estate.capacity(self.host, resource, True)
            for slot in range(self.estate.slots):
                members = [name for name, there in self.after.items() if there == self.host]
                shares[resource, slot] = (self.estate.load(members, resource, slot) - usable, usable)
        short, usable = shares[entry["resource"], entry["slot"]]
        assert abs(short - Fraction(str(entry["short_by"]))) <= Fraction(1, 10**6)
        worst = max(over / top for over, top in shares.values() if top)
        assert not usable or abs(short / usable - worst) <= Fraction(1, 10**6)

    def _numbers(self, placement: dict[str, str]) -> dict[str, float]:
        estate = self.estate
        moved = [n for n, there in placement.items() if estate.workloads[n].get("current") not in (None, there)]
        used = sorted(set(placement.values()))
        members = {there: [n for n in placement if placement[n] == there] for there in used}
        shares = [estate.load(members[h], r, s) / max(estate.capacity(h, r, True), Fraction(1, 10**6))
                  for h in used for r in estate.resources for s in range(estate.slots)]
        watts = sum(told["idle"] + min(sum(float(estate.load(members[h], "cpu_cores", s)) for s in range(estate.slots)) / estate.slots
                                       / estate.hosts[h]["capacity"]["cpu_cores"], 1.0) * (told["busy"] - told["idle"])
                    for h in used for told in [estate.hosts[h]["watts"]])
        broken = [rule for rule in estate.rules if rule.get("enforce") == "soft" and self._amount(rule, placement)]
        soft = {str(rule): rule.get("weight", 1) for rule in broken}
        cost = sum(max(estate.demand(n, "memory_mib", s) for s in range(estate.slots)) for n in moved)
        return {"hosts": len(used), "moves": len(moved), "watts": watts, "utilisation": 100 * float(max(shares, default=0)),
                "soft_rules": sum(soft.values()), "move_cost": float(cost), "unplaced": len(estate.workloads) - len(placement)}

    def _criterion(self, entry: Any) -> None:
        assert entry["there"] > entry["here"]
        self._told(entry)

    def _told(self, entry: Any) -> None:
        for placement, value in ((self.before, entry["here"]), (self.after, entry["there"])):
            if entry["criterion"] != "soft_rules":  # rules that are written twice count once
                assert abs(self._numbers(placement)[entry["criterion"]] - value) < 1e-5, entry
        if entry["criterion"] == "soft_rules":
            before, after = (self._numbers(placement)["soft_rules"] for placement in (self.before, self.after))
            assert (after > before) == (entry["there"] > entry["here"])

    def _equal(self, entry: Any) -> None:
        before, after = self._numbers(self.before), self._numbers(self.after)
        objective = self.estate.policy.get("objective", "hosts")
        same = ["hosts", "moves", "move_cost", "soft_rules", "utilisation"] + (["watts"] if objective == "watts" else [])
        assert all(abs(before[key] - after[key]) < 1e-5 for key in same)

    def _better(self, entry: Any) -> None:
        assert entry["there"] < entry["here"]
        self._told(entry)

    def _policy(self, entry: Any) -> None:
        if entry["policy"] == "max_moves":
            assert self._numbers(self.after)["moves"] > self.estate.policy["max_moves"]
        else:
            assert self.estate.policy["failover"]

    def _moves(self, entry: Any) -> None:
        changed = [n for n, there in self.after.items() if self.estate.workloads[n].get("current") != there]
        assert changed
