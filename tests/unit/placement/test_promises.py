# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever the problem, the plan keeps what the contract promises."""
from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.placement.verifier import Estate, amount, violations

CHANGES = ("apart", "drain", "drain", "empty", "failover", "failover", "growth", "swap", "swap")
KINDS = ("affinity", "anti_affinity", "ban", "exclusive", "fence", "limit_hosts", "root", "spread")


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Small estates with every key of the contract, many of them impossible."""
    slots = draw(st.sampled_from([1, 1, 3]))
    host_names = [f"h{index}" for index in range(draw(st.integers(1, 5)))]
    names = [f"w{index}" for index in range(draw(st.integers(0, 9)))]

    def maybe(item: dict[str, Any], key: str, strategy: Any, chance: int = 4) -> None:
        if draw(st.integers(0, chance)) == 0:
            item[key] = draw(strategy)

    def size_of_one(most: int) -> Any:
        return st.integers(0, most * 10).map(lambda tenths: tenths / 10)

    def size(most: int) -> Any:
        whole = size_of_one(most)
        return draw(st.lists(whole, min_size=slots, max_size=slots) if slots > 1 and draw(st.booleans()) else whole)

    hosts = []
    for name in host_names:
        host: dict[str, Any] = {"name": name, "capacity": {"cpu_cores": draw(st.integers(2, 8)), "memory_mib": draw(st.integers(4, 16))}}
        maybe(host, "zone", st.sampled_from(["z1", "z2", "h1"]), 1)
        maybe(host, "pool", st.sampled_from(["a", "b"]))
        maybe(host, "state", st.sampled_from(["active", "drain", "closed"]))
        maybe(host, "features", st.just(["hvm"]), 1)
        maybe(host, "reserved", st.fixed_dictionaries({"memory_mib": size_of_one(8)}), 2)
        maybe(host, "limits", st.fixed_dictionaries({"vcpus": st.integers(1, 4), "moves_in": st.integers(1, 2)}))
        host["watts"] = {"idle": draw(st.integers(10, 90)), "busy": 100}
        hosts.append(host)
    workloads = []
    for name in names:
        workload: dict[str, Any] = {"name": name, "demand": {"cpu_cores": size(3), "memory_mib": size(5)}}
        maybe(workload, "current", st.sampled_from(host_names), 0 if draw(st.booleans()) else 2)
        if "current" in workload:
            maybe(workload, "movable", st.just(False), 8)
        maybe(workload, "storage", st.sampled_from(["local", "shared", "replicated"]), 0)
        others = [host for host in host_names if host != workload.get("current")]
        if workload.get("storage") == "replicated" and others:
            maybe(workload, "replica", st.sampled_from(others), 0)
        maybe(workload, "live", st.just(False))
        maybe(workload, "vcpus", st.integers(1, 4), 2)
        maybe(workload, "requires", st.just(["hvm"]), 6)
        workloads.append(workload)
    rules = []
    for _ in range(draw(st.integers(0, 3)) if names else 0):
        kind = draw(st.sampled_from(KINDS))
        members = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
        rule: dict[str, Any] = {"rule": kind, "workloads": members}
        if kind in ("ban", "fence"):
            rule["hosts"] = draw(st.lists(st.sampled_from(host_names), min_size=1, max_size=3, unique=True))
        if kind in ("spread", "limit_hosts"):
            rule["at_most"] = draw(st.integers(1, 3))
        if kind in ("spread", "affinity", "anti_affinity"):
            maybe(rule, "scope", st.sampled_from(["host", "zone"]), 1)
        maybe(rule, "during", st.just("always"), 2)
        maybe(rule, "enforce", st.just("soft"), 2)
        rules.append(rule)
    policy: dict[str, Any] = {}
    maybe(policy, "objective", st.sampled_from(["hosts", "watts", "balance"]), 1)
    maybe(policy, "headroom", st.just({"cpu_cores": 0.1}), 2)
    maybe(policy, "overcommit", st.just({"cpu_cores": 1.5}), 2)
    maybe(policy, "failover", st.just(1))
    maybe(policy, "max_moves", st.integers(0, 3))
    maybe(policy, "effort", st.sampled_from(["quick", "thorough"]))
    return {"hosts": hosts, "workloads": workloads, "rules": rules, "policy": policy}


@st.composite
def tight_estates(draw: st.DrawFn, changes: Sequence[str] = CHANGES) -> dict[str, Any]:
    """Hosts that are all but full, everyone placed; then something changes: two have to swap, a host drains, somebody grows ..."""
    slots = draw(st.sampled_from([1, 2]))
    change = draw(st.sampled_from(changes))
    count = 4 if change == "failover" else draw(st.integers(3, 4))
    size = draw(st.integers(6, 9))
    names = [f"h{index}" for index in range(count)]
    hosts: list[dict[str, Any]] = [{"name": name, "capacity": {"cpu_cores": size, "memory_mib": size * 2}} for name in names]
    workloads: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []

    def add(home: str, cores: int) -> dict[str, Any]:
        number = len(workloads)
        # Peaks at other times: what is busy in one slot is all but idle in the next.
        series = [cores if slot == number % 2 else max(cores - draw(st.integers(0, 2)), 0) for slot in range(slots)]
        workload: dict[str, Any] = {"name": f"w{number}", "demand": {"cpu_cores": series if slots > 1 else cores, "memory_mib": cores},
                                    "current": home, "storage": draw(st.sampled_from(["local", "shared", "replicated"]))}
        if workload["storage"] == "replicated":
            workload["replica"] = draw(st.sampled_from([name for name in names if name != home]))
        workloads.append(workload)
        return workload

    full = names[:2] if change in ("swap", "drain") else names[:-1]
    for name in full:
        big = draw(st.integers(size // 2 + 1, size - 1))
        add(name, big)
        add(name, size - big)
    if change == "swap":
        for name, there in (("w0", full[1]), ("w2", full[0])):
            rules.append({"rule": "fence", "workloads": [name], "hosts": [there]})
    elif change == "drain":
        hosts[0]["state"] = "drain"
    elif change == "growth":
        grown = workloads[draw(st.sampled_from([0, 2]))]["demand"]
        grown["memory_mib"] = size * 2
    elif change == "empty":
        for host in hosts[1:]:
            host["capacity"] = {resource: 2 * value for resource, value in host["capacity"].items()}
    elif change == "apart":
        rules.append({"rule": "anti_affinity", "workloads": ["w0", "w1"]})
    else:
        for host in hosts:
            host["capacity"] = {resource: 3 * value / 2 for resource, value in host["capacity"].items()}
    # Those that are seen least often otherwise count twice.
    kinds = st.lists(st.sampled_from((*KINDS, "fence", "limit_hosts", "limit_hosts")), min_size=1, max_size=2)
    for kind in draw(kinds) if change not in ("swap", "failover") else ():
        # w0 and w1 share h0, w2 and w3 h1: what holds at the start, or what does not.
        kept, there = draw(st.booleans()), draw(st.sampled_from(names[1:]))
        together, alone = (["w0", "w1"], ["w0", "w2"]) if draw(st.booleans()) else (["w2", "w3"], ["w1", "w3"])
        rules.append({"during": "always", "rule": kind, **{
            "affinity": {"workloads": together if kept else alone}, "anti_affinity": {"workloads": alone if kept else together},
            "spread": {"workloads": alone if kept else together, "at_most": 1}, "ban": {"workloads": ["w0"], "hosts": [
                there if kept else "h0"]}, "fence": {"workloads": ["w1"], "hosts": ["h0", there] if kept else names[1:]},
            "exclusive": {"workloads": together if kept else alone}, "root": {"workloads": ["w3"]},
            "limit_hosts": {"workloads": together if kept else alone, "at_most": 1}}[kind]})
    policy: dict[str, Any] = {"tradeoff": draw(st.booleans())}
    if change == "failover":
        policy["failover"] = 1
    return {"hosts": hosts, "workloads": workloads, "rules": rules, "policy": policy}


def seen(problem: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """What is remarkable about a feasible plan with moves; nothing of any other plan."""
    if plan["status"] == "infeasible" or not any(move["from"] for move in plan["moves"]):
        return []
    workloads = {workload["name"]: workload for workload in problem["workloads"]}
    at = {name: workload["current"] for name, workload in workloads.items() if "current" in workload}
    states = {host["name"]: host.get("state") for host in problem["hosts"]}
    found = ["moves"]
    found += [f"{states[home]} host left" for name, home in at.items() if states[home] and plan["placement"][name] != home]
    if any(move.get("parking") for move in plan["moves"]):
        found.append("parking")
    if plan["moves"][-1]["wave"] > 1:
        found.append("waves")
    if problem["policy"].get("failover") and len(set(plan["placement"].values())) > 1:
        found.append("failover")
    found += [move["method"] for move in plan["moves"]]
    found += ["live to the replica" for move in plan["moves"] if move["method"] == "live" and "replica" in workloads[move["workload"]]]
    found += ["offline, not to the replica" for move in plan["moves"] if move["from"] and move["to"] != workloads[move["workload"]].get(
        "replica", move["to"])]
    for move in plan["moves"]:
        if _crowded(problem, [name for name, home in at.items() if home == move["to"]] + [move["workload"]], move["to"]):
            found.append("room only after another move")
    where = {name: {home} for name, home in at.items()}
    for rule in problem["rules"]:
        if rule.get("during") == "always" and rule.get("enforce", "hard") == "hard" and set(rule["workloads"]) & set(at):
            broken = amount(Estate(problem), rule, where) > 0
            found.append(f"always {rule['rule']} {'broken' if broken else 'kept'}")
    for told in plan["hosts"].values():
        if _complement(problem, told["workloads"], told["usable"]):
            found.append("peaks at other times")
    return sorted(set(found))


def _series(workload: dict[str, Any], resource: str) -> list[Fraction]:
    value = workload["demand"].get(resource, 0)
    return [Fraction(str(part)) for part in (value if isinstance(value, list) else [value])]


def _crowded(problem: dict[str, Any], members: list[str], host: str) -> bool:
    """Whether some workloads are too many for a host, at the peaks of a resource in one slot."""
    capacity = next(item["capacity"] for item in problem["hosts"] if item["name"] == host)
    workloads = {workload["name"]: workload for workload in problem["workloads"]}
    slots = max(len(_series(workload, resource)) for workload in problem["workloads"] for resource in capacity)
    return any(sum((_series(workloads[name], resource) * slots)[slot] for name in members) > Fraction(str(value)) * Fraction(
        str((problem["policy"].get("overcommit") or {}).get(resource, 1))) for resource, value in capacity.items() for slot in range(slots))


def _complement(problem: dict[str, Any], members: list[str], usable: dict[str, Any]) -> bool:
    """Whether some workloads share a host only since their peaks do not meet."""
    chosen = [workload for workload in problem["workloads"] if workload["name"] in members]
    return any(sum(max(_series(workload, resource)) for workload in chosen) > Fraction(str(value)) for resource, value in usable.items())


AT_LEAST = {
    "moves": 250, "drain host left": 40, "parking": 40, "waves": 80, "failover": 20, "live": 120, "offline": 120, "define": 10,
    "live to the replica": 50, "offline, not to the replica": 60, "room only after another move": 70, "peaks at other times": 30,
    **{f"always {kind} kept": 5 for kind in KINDS}, **{f"always {kind} broken": 5 for kind in KINDS if kind != "root"},
}
"""How many feasible plans with moves must show what is promised about each, of all that are made below."""


def test_the_plan_is_a_point_of_its_trade_off() -> None:
    sizes = (("w0", [6, 4], 6, "h0"), ("w1", [1, 3], 3, "h0"), ("w2", [5, 5], 5, "h1"), ("w3", [2, 4], 4, "h1"), ("w4", [7, 7], 7, "h2"),
             ("w5", [1, 2], 2, "h2"))
    problem = {
        "hosts": [{"name": f"h{i}", "capacity": {"cpu_cores": 18 if i else 9, "memory_mib": 36 if i else 18}} for i in range(4)],
        "workloads": [{"name": name, "demand": {"cpu_cores": cores, "memory_mib": memory}, "current": home}
                      for name, cores, memory, home in sizes],
        "rules": [{"rule": "limit_hosts", "workloads": pair, "at_most": 1, "during": "always"} for pair in (["w0", "w2"], ["w1", "w3"])],
        "policy": {"tradeoff": True}}
    assert violations(problem, place(problem)) == []


def test_every_promise_is_put_to_the_test_often_enough() -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=220, database=None)
    @given(tight_estates())
    def tight(problem: dict[str, Any]) -> None:
        check(problem)

    @settings(max_examples=400, database=None)
    @given(tight_estates(("drain", "empty", "empty", "empty")))
    def ruled(problem: dict[str, Any]) -> None:
        check(problem)

    def check(problem: dict[str, Any]) -> None:
        before = copy.deepcopy(problem)
        plan = place(problem)
        assert problem == before
        counts.update(seen(problem, plan))
        assert violations(problem, json.loads(json.dumps(plan))) == []

    @settings(max_examples=150, database=None)
    @given(problems())
    def any_kind(problem: dict[str, Any]) -> None:
        check(problem)

    tight()
    ruled()
    any_kind()
    assert {kind: counts[kind] for kind, least in AT_LEAST.items() if counts[kind] < least} == {}


@settings(max_examples=25)
@given(problems(), st.integers(0, 99))
def test_order_of_input_does_not_matter(problem: dict[str, Any], seed: int) -> None:
    shuffled = copy.deepcopy(problem)
    for key in ("hosts", "workloads", "rules"):
        random.Random(seed).shuffle(shuffled[key])
    for rule in shuffled["rules"]:
        rule["workloads"].reverse()
    assert json.dumps(place(shuffled), sort_keys=True) == json.dumps(place(problem), sort_keys=True)


@settings(max_examples=40)
@given(problems())
def test_a_plan_carried_out_leaves_no_more_hosts_and_no_forced_move(problem: dict[str, Any]) -> None:
    plan = place(problem)
    if plan["status"] == "infeasible":
        return
    done = copy.deepcopy(problem)
    for workload in done["workloads"]:
        before, workload["current"] = workload.get("current"), plan["placement"][workload["name"]]
        if workload.get("replica") == workload["current"]:
            # They change places: what it left holds the replica now.
            del workload["replica"]
            workload.update({"replica": before} if before else {})
    again = place(done)
    assert again["status"] != "infeasible"
    if problem["policy"].get("objective", "hosts") == "hosts":
        assert again["summary"]["hosts_used"] <= plan["summary"]["hosts_used"]
