# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who leaves a host, who comes back, which few moves are worth it; what is remembered, and what keeps guests off a host."""
from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.bring_back import FilterModule as Back
from ansible_collections.xenfold.consolidation.plugins.filter.drain import FilterModule as Drain
from ansible_collections.xenfold.consolidation.plugins.filter.drained_hosts import FilterModule as Marks
from ansible_collections.xenfold.consolidation.plugins.filter.moves_unfinished import FilterModule as Unfinished
from ansible_collections.xenfold.consolidation.plugins.filter.rebalance import FilterModule as Rebalance
from ansible_collections.xenfold.consolidation.plugins.filter.recover import FilterModule as Recover
from ansible_collections.xenfold.consolidation.plugins.filter.unfit import FilterModule as Unfit
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit import planned
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import Hosts, keep_running
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place

from tests.unit.audit.answers import good
from tests.unit.moves.samples import domain
from tests.unit.moves.samples import host as answer

drain, bring_back, rebalance = (kind().filters()[name] for kind, name in (
    (Drain, "drain"), (Back, "bring_back"), (Rebalance, "rebalance")))
recover = Recover().filters()["recover"]
drained_hosts, unfit, unfinished = (kind().filters()[name] for kind, name in (
    (Marks, "drained_hosts"), (Unfit, "unfit"), (Unfinished, "moves_unfinished")))
HOSTS = ("xen01", "xen02", "xen03")


def problem(sizes: dict[str, int], rules: tuple[Any, ...] = (), capacity: int = 1000, **more: Any) -> dict[str, Any]:
    """Guests by name and MiB; more: keys of single guests by name, `policy`, and the states of hosts."""
    return {
        "hosts": [{"name": name, "capacity": {"memory_mib": capacity}, "state": more.get(name, "active")} for name in HOSTS],
        "workloads": [{"name": name, "demand": {"memory_mib": size}, "storage": "shared", **more.get(name, {})}
                      for name, size in sizes.items()],
        "rules": list(rules), "policy": more.get("policy", {}),
    }


def told(**where: list[str]) -> dict[str, Any]:
    """What hosts told, by host; a host that is not named did not answer."""
    return {host: answer(*map(domain, guests)) for host, guests in where.items()}


def moves_of(asked: dict[str, Any]) -> set[tuple[str, str, str]]:
    plan = place(asked["problem"])
    assert plan["status"] != "infeasible", plan
    return {(move["workload"], move["from"], move["to"]) for move in plan["moves"]}


def test_a_host_becomes_empty_and_the_others_stay() -> None:
    """To pack a and b together would be one host fewer; it is not asked for."""
    found = drain(problem({"a": 300, "b": 300, "c": 300}), told(xen01=["a"], xen02=["b"], xen03=["c"]), "xen03")
    assert (found["leave"], found["stays"]) == (["c"], {})
    assert {move[:2] for move in moves_of(found)} == {("c", "xen03")}


def test_others_move_only_as_far_as_room_is_needed() -> None:
    sizes = {"a": 600, "b1": 300, "b2": 300, "c": 600}
    found = drain(problem(sizes), told(xen01=["a"], xen02=["b1", "b2"], xen03=["c"]), "xen03")
    moved = moves_of(found)
    assert found["leave"] == ["c"] and len(moved) == 2, moved
    assert {move[0] for move in moved} in ({"b1", "c"}, {"b2", "c"})


@pytest.mark.parametrize(("change", "rules", "why"), [
    ({"c": {"movable": False}}, (), "no other host takes it: movable is false"),
    ({}, ({"rule": "fence", "workloads": ["c"], "hosts": ["xen03"]},), "no other host takes it: fence"),
    ({name: {"demand": {"memory_mib": 600}} for name in "abc"}, (), "no other host takes it: memory short by"),
    ({"c": {"storage": "local"}}, (), "it cannot move live to xen0"),
])
def test_what_cannot_leave_stays_and_the_rest_goes(change: dict[str, Any], rules: tuple[Any, ...], why: str) -> None:
    found = drain(problem({"a": 300, "b": 300, "c": 300, "d": 100}, rules, **change),
                  told(xen01=["a"], xen02=["b"], xen03=["c", "d"]), "xen03")
    assert found["leave"] == ["d"] and list(found["stays"]) == ["c"]
    assert found["stays"]["c"].startswith(why), found
    assert {move[0] for move in moves_of(found)} == {"d"}


def test_consents_and_wishes() -> None:
    estate = problem({"a": 300, "c": 300, "d": 100}, c={"storage": "local"})
    there = told(xen01=["a"], xen02=[], xen03=["c", "d"])
    for consent in ("c", ["c"], "all"):
        assert drain(estate, there, "xen03", consents=consent)["leave"] == ["c", "d"]
    asked = drain(estate, there, "xen03", stay="d", consents="all")
    assert (asked["leave"], asked["stays"]) == (["c"], {"d": "it was asked to stay (-e stay)"})
    assert drain(estate, there, "xen03", stay="all")["leave"] == []


def test_what_runs_nowhere_is_not_started_and_what_only_starts_with_the_host_is_no_guest_to_move() -> None:
    there = told(xen01=["a"], xen02=[], xen03=["c"])
    there["xen03"]["guests"] |= {"off": "autostart", "stranger": "running"}
    found = drain(problem({"a": 300, "c": 300, "off": 300, "new": 300}, ({"rule": "anti_affinity", "workloads": ["off", "new"]},)),
                  there, "xen03")
    assert found["stays"] == {"stranger": "it is not in the estate"}
    assert {workload["name"] for workload in found["problem"]["workloads"]} == {"a", "c"}
    assert found["problem"]["rules"] == [] or all(rule["rule"] == "ban" for rule in found["problem"]["rules"])


def test_hosts_that_are_silent_or_drained_get_nothing_and_keep_what_they_have() -> None:
    estate = problem({"a": 300, "b": 300, "c": 300}, xen02="drain", b={"current": "xen01"})
    found = drain(estate, {"xen02": told(xen02=["b"])["xen02"], **told(xen01=[], xen03=["c"])}, "xen03")
    assert moves_of(found) == {("c", "xen03", "xen01")}
    silent = drain(problem({"a": 300, "c": 300}, a={"current": "xen01"}), told(xen02=[], xen03=["c"]), "xen03")
    assert moves_of(silent) == {("c", "xen03", "xen02")}


def test_a_failover_that_does_not_hold_with_fewer_hosts_is_told_and_is_no_obstacle() -> None:
    estate = problem({"a": 600, "b": 500, "c": 400}, policy={"failover": 1, "max_moves": 0})
    found = drain(estate, told(xen01=["a"], xen02=["b"], xen03=["c"]), "xen03")
    assert found["leave"] == ["c"] and "failover" in found["notes"][0]
    assert moves_of(found)


def test_replicated_guests_change_their_parts_with_their_replica() -> None:
    estate = problem({"c": 300}, c={"storage": "replicated", "current": "xen01", "replica": "xen03"})
    found = drain(estate, told(xen01=[], xen02=[], xen03=["c"]), "xen03")
    assert moves_of(found) == {("c", "xen03", "xen01")}


@pytest.mark.parametrize(("there", "host", "text"), [
    (told(xen01=["a"], xen02=[]), "xen03", "drain: host 'xen03': it does not answer"),
    (told(xen01=["a"], xen02=["a"], xen03=[]), "xen03", "drain: guest 'a': xen01 and xen02 both have it"),
    ({"xen03": 3}, "xen03", "value that does not hold together"),
])
def test_refused(there: dict[str, Any], host: str, text: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        drain(problem({"a": 300}), there, host)
    assert text in str(caught.value)


@pytest.mark.parametrize("option", ["stay", "consents"])
def test_names_that_nobody_knows(option: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"(stay|moves_offline): value 'zzz', allowed all, or a list of guests of the estate"):
        drain(problem({"a": 300}), told(xen01=["a"], xen03=[]), "xen03", **{option: "zzz"})


def test_guests_come_back_and_nobody_else_moves() -> None:
    there = told(xen01=["a", "c"], xen02=["b", "d"], xen03=[])
    found = bring_back(problem({"a": 300, "b": 300, "c": 300, "d": 300}, xen03="drain"), there, "xen03", ["c", "d", "gone"])
    assert moves_of(found) == {("c", "xen01", "xen03"), ("d", "xen02", "xen03")}
    assert found["stays"] == {"gone": "it does not run"}
    assert bring_back(problem({"c": 300}), told(xen01=[], xen02=[], xen03=["c"]), "xen03", ["c"])["leave"] == []


def test_who_finds_no_room_at_home_stays_where_it_is() -> None:
    there = told(xen01=["c"], xen02=["d"], xen03=["b"])
    found = bring_back(problem({"b": 500, "c": 600, "d": 300}), there, "xen03", ["c", "d"])
    assert found["leave"] == ["d"] and found["stays"]["c"].startswith("no room for it on xen03: memory short by 0.4 GiB")
    local = bring_back(problem({"c": 300}, c={"storage": "local"}), told(xen01=["c"], xen03=[]), "xen03", ["c"])
    assert local["leave"] == [] and "moves_offline=c" in local["stays"]["c"]
    with pytest.raises(AnsibleFilterError, match="bring_back: host 'xen03': it does not answer"):
        bring_back(problem({"c": 300}), told(xen01=["c"]), "xen03", ["c"])


SPREAD = told(xen01=["a"], xen02=["b"], xen03=["c"])


def test_moves_that_free_a_host_are_worth_it_and_too_few_of_them_are_not() -> None:
    estate = problem({"a": 300, "b": 300, "c": 300})
    found = rebalance(estate, SPREAD, 1)
    assert (found["gain"], found["unit"], found["least"], len(found["leave"])) == (1, "hosts freed", 1, 1)
    assert len(moves_of(found)) == 1
    assert rebalance(estate, SPREAD, "5")["gain"] == 2
    assert rebalance(estate, SPREAD, 5, min_gain="3")["leave"] == []
    # The most that is allowed to move stays below what would free a host.
    full = problem({"a1": 250, "a2": 250, "b": 300, "c": 900})
    assert rebalance(full, told(xen01=["a1", "a2"], xen02=["b"], xen03=["c"]), 0)["leave"] == []


def test_balance_is_measured_in_points() -> None:
    estate = problem({"a": 300, "b": 300, "c": 40}, policy={"objective": "balance"})
    found = rebalance(estate, told(xen01=["a", "b"], xen02=["c"], xen03=[]), 5)
    assert found["unit"] == "percentage points off the largest utilisation" and found["gain"] == pytest.approx(30, abs=5)
    small = rebalance(estate, told(xen01=["a", "c"], xen02=["b"], xen03=[]), 5)
    assert (small["gain"], small["leave"], small["moves"]) == (4, [], 1)
    assert rebalance(estate, told(xen01=["a", "c"], xen02=["b"], xen03=[]), 5, min_gain=4)["leave"] == ["c"]


def test_who_has_moved_lately_or_cannot_move_live_stays() -> None:
    estate = problem({"a": 300, "b": 300, "c": 300})
    found = rebalance(estate, SPREAD, 5, rested=["a", "b", "c", "other"])
    assert (found["leave"], found["rested"]) == ([], ["a", "b", "c"])
    assert "a" not in rebalance(estate, SPREAD, 5, rested=["a"])["leave"]
    local = problem({"a": 300, "b": 300, "c": 300}, **{name: {"storage": "local"} for name in "abc"})
    assert rebalance(local, SPREAD, 5)["leave"] == []
    assert rebalance(local, SPREAD, 5, consents="all")["gain"] == 2


def test_a_broken_rule_is_always_worth_its_moves() -> None:
    estate = problem({"a": 300, "b": 300}, ({"rule": "anti_affinity", "workloads": ["a", "b"]},))
    found = rebalance(estate, told(xen01=["a", "b"], xen02=[], xen03=[]), 5, min_gain=9)
    assert found["mends"] and len(found["leave"]) == 1 and found["gain"] == -1
    with pytest.raises(AnsibleFilterError, match="rebalance: With at most 0 moves no plan holds"):
        rebalance(estate, told(xen01=["a", "b"], xen02=[], xen03=[]), 0)


def test_the_same_question_has_the_same_answer() -> None:
    estate = problem({"a": 300, "b": 300, "c": 300})
    assert json.dumps(rebalance(estate, SPREAD, 5)) == json.dumps(rebalance(estate, dict(reversed(SPREAD.items())), 5))


def test_the_plan_that_site_makes_beside_a_drained_host_is_that_of_the_estate() -> None:
    """The audit compares guests with it, wherever they were when it was made."""
    estate = problem({"a": 300, "b": 300, "waits": 300, "new": 300}, xen03="drain", waits={"current": "xen03", "storage": "local"})
    plan = place(keep_running(estate, Hosts({"xen01": {"a": "running"}, "xen03": {"b": "running"}})))
    assert set(plan["placement"]) == {"a", "b", "new"}
    assert "rules or policy" not in planned.read(json.dumps(plan), estate).note
    estate["workloads"].pop(2)
    assert planned.read(json.dumps(plan), estate) == planned.parse(json.dumps(plan))


def test_drained_hosts_are_an_inventory() -> None:
    text = drained_hosts("", "xen03", ["web01", "db01"])
    assert yaml.safe_load(text) == {"xen_hosts": {"hosts": {"xen03": {"estate_drained": ["db01", "web01"]}}}}
    assert drained_hosts(text, "xen03", []) == text
    both = drained_hosts(text, "xen01", [])
    assert list(yaml.safe_load(both)["xen_hosts"]["hosts"]) == ["xen01", "xen03"]
    assert drained_hosts(both, "xen01") == text
    assert drained_hosts(text, "xen03") == ""
    assert drained_hosts("", "xen03") == ""


@pytest.mark.parametrize("text", ["xen_hosts: 3", "xen_hosts: {hosts: {xen01: {}}}", "a: [", "- 3"])
def test_another_file_of_that_name_is_left_alone(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"(?s)drained_hosts: drained.yml: .*allowed what playbooks/drain.yml wrote"):
        drained_hosts(text, "xen03", [])


WANTED = {**good("xen01")["wanted"], "bonds": [{"name": "bond0"}]}


@pytest.mark.parametrize(("change", "asked", "text"), [
    ({}, {}, ""),
    ({}, {"xen": False}, "Xen does not run"),
    ({"arrays": []}, {}, "array guests does not run"),
    ({"bonds": []}, {}, "bond bond0 is not there"),
    ({"bonds": [{"name": "bond0", "mode": "active-backup", "ports": 2, "partner": None,
                 "members": [{"name": "eth1", "link": False, "aggregated": True}]}]}, {}, "bond bond0: eth1 has no link"),
    ({"guard": {"step": "armed", "units": [], "boot_unit": False}}, {}, "neither confirmed nor taken back"),
    ({"unasked": [{"what": "serials of disks", "why": "lsblk is not installed"}]}, {}, "serials of disks could not be asked"),
    ({"unasked": [{"what": "CPU features", "why": "xen-cpuid is not there"}]}, {}, ""),
    ({"unreachable": True, "msg": "timed out"}, {}, "it does not answer: timed out"),
])
def test_what_keeps_guests_off_a_host(change: dict[str, Any], asked: dict[str, Any], text: str) -> None:
    lines = unfit({**good("xen01")["host"], **change}, "xen01", {**answer(), **asked}, WANTED)
    assert len(lines) == bool(text) and text in "".join(lines)


def test_a_degraded_array_keeps_guests_off_a_host() -> None:
    info = good("xen01")["host"]
    info["arrays"][0]["working"] = 3
    assert "degraded" in unfit(info, "xen01", answer(), WANTED)[0]
    with pytest.raises(AnsibleFilterError, match="unfit: info, told, wanted: value that does not hold together"):
        unfit({"arrays": [3]}, "xen01", answer(), WANTED)


def test_moves_under_way_come_first() -> None:
    there = told(xen01=["web01--migratedaway"], xen02=["web01"], xen03=[])
    assert unfinished(there) == {"guests": ["web01"], "others": ["web01"]}
    assert unfinished(there, json.dumps({"moves": [{"workload": "web01"}]}))["others"] == []
    down = told(xen01=[], xen02=[])
    down["xen01"]["journals"] = {"db01": {"stage": "down"}, "db02": {"stage": "given"}}
    assert unfinished(down)["guests"] == ["db01"]
    assert unfinished(told(xen01=["web01"]))["guests"] == []
    with pytest.raises(AnsibleFilterError, match="moves_unfinished: told, plan: value"):
        unfinished({}, "no plan")


def defined(*names: str, **states: str) -> dict[str, Any]:
    return {name: {"name": name, "memory_mib": 64, "state": states.get(name, "running")} for name in names}


def starts_of(found: dict[str, Any]) -> dict[str, str]:
    plan = place(found["problem"])
    assert plan["status"] != "infeasible", plan
    assert all(move["method"] == "define" for move in plan["moves"]), plan["moves"]
    return {move["workload"]: move["to"] for move in plan["moves"]}


def test_guests_of_a_dead_host_start_elsewhere_and_the_others_stay() -> None:
    """Where they were is told by what runs, not by the inventory: it has b on xen03, and c nowhere."""
    asked = problem({"a": 300, "b": 300, "c": 300}, b={"current": "xen03"}, a={"current": "xen03"})
    found = recover(asked, told(xen01=["a"], xen02=["b"]), "xen03", defined(*"abc"))
    assert (found["leave"], found["stays"], found["notes"]) == (["c"], {}, [])
    assert set(starts_of(found)) == {"c"} and starts_of(found)["c"] != "xen03"
    moved = {workload["name"]: workload.get("current") for workload in found["problem"]["workloads"]}
    assert moved == {"a": "xen01", "b": "xen02", "c": None}


@pytest.mark.parametrize(("more", "state", "stays"), [
    ({"storage": "local"}, "running", "its storage is local: it waits for the host that has its disks"),
    ({"storage": "replicated", "replica": "xen02"}, "running", "its storage is replicated, but not from here (drbd_minor)"),
    ({"movable": False}, "running", "movable is false"),
    ({"demand": {"memory_mib": 1200}}, "running", "no host takes it: memory short by"),
    ({}, "defined", None),
])
def test_who_does_not_start_elsewhere(more: dict[str, Any], state: str, stays: str | None) -> None:
    asked = problem({"a": 300, "c": 300, "d": 100}, c={"current": "xen03", **more})
    found = recover(asked, told(xen01=["a"], xen02=[]), "xen03", defined(*"acd", c=state))
    assert found["leave"] == ["d"], found
    assert list(found["stays"]) == ([] if stays is None else ["c"])
    assert found["stays"].get("c", "").startswith(stays or "")
    assert set(starts_of(found)) == {"d"}


@pytest.mark.parametrize(("ends", "states", "home", "stays"), [
    # Where the inventory has it does not count: it may have moved since.
    ({"current": "xen03", "replica": "xen02"}, {"xen02": "UpToDate"}, "xen02", None),
    ({"current": "xen01", "replica": "xen03"}, {"xen01": "UpToDate"}, "xen01", None),
    ({"current": "xen03", "replica": "xen02"}, {"xen02": "Inconsistent"}, None, "copy of c-root on xen02 is Inconsistent, not UpToDate"),
    ({"current": "xen03", "replica": "xen02"}, {}, None, "the copy of c-root on xen02 is missing, not UpToDate"),
    ({"current": "xen03", "replica": "xen02", "movable": False}, {"xen02": "UpToDate"}, None, "movable is false"),
    ({"current": "xen01", "replica": "xen02"}, {"xen01": "UpToDate"}, "xen01", None),
    ({"current": "xen01", "replica": "xen02"}, {"xen01": "UpToDate", "xen02": "apart"}, None, "xen01 and xen02 do not hear of each other"),
    ({"current": "xen03", "replica": "xen04"}, {}, None, "the other copy is on xen04, which does not answer"),
])
def test_a_replicated_guest_starts_where_its_other_copy_is(
    ends: dict[str, Any], states: dict[str, str], home: str | None, stays: str | None,
) -> None:
    asked = problem({"a": 300, "c": 300}, c={"storage": "replicated", **ends})
    guests = defined(*"ac")
    guests["c"]["disks"] = [{"name": "root", "size_gib": 1, "volume_group": "vg0", "drbd_minor": 1}]
    answers = told(xen01=["a"], xen02=[])
    for host, disk in states.items():
        answers[host]["resources"] = {"c-root": {"disk": disk, "connection": "Connected"}}
    if "apart" in states.values():
        answers["xen01"]["resources"]["c-root"]["connection"] = "WFConnection"
    found = recover(asked, answers, "xen03", guests)
    assert (found["leave"], starts_of(found)) == ((["c"], {"c": home}) if home else ([], {}))
    assert stays is None or stays in found["stays"]["c"]


def test_a_replicated_guest_that_starts_is_no_reason_against_failover() -> None:
    asked = problem({"a": 300, "c": 300}, policy={"failover": 1}, c={"storage": "replicated", "current": "xen03", "replica": "xen02"})
    asked["rules"] = [{"rule": "fence", "workloads": ["c"], "hosts": ["xen02", "xen03"]}]
    guests = defined(*"ac")
    guests["c"]["disks"] = [{"name": "root", "size_gib": 1, "volume_group": "vg0", "drbd_minor": 1}]
    answers = told(xen01=["a"], xen02=[])
    answers["xen02"]["resources"] = {"c-root": {"disk": "UpToDate", "connection": "WFConnection"}}
    found = recover(asked, answers, "xen03", guests)
    assert (found["leave"], found["notes"], starts_of(found)) == (["c"], [], {"c": "xen02"})


def test_what_another_host_keeps_or_may_run_is_not_the_dead_one_s() -> None:
    """One stands in the configurations of xen01, the other one may run on xen02, which did not answer either."""
    answers = told(xen01=[])
    answers["xen01"]["stored"] = ["kept"]
    asked, guests = problem({"kept": 100, "away": 100}, away={"current": "xen02"}), defined("kept", "away")
    found = recover(asked, answers, "xen03", guests)
    assert (found["leave"], found["stays"]) == ([], {"away": "it may run on xen02, which does not answer"})
    # A second one is dead as well, and the inventory has there what ran on the first.
    found = recover(asked, answers, "xen03", guests, ["xen03", "xen02"])
    assert (found["leave"], found["stays"], starts_of(found)) == (["away"], {}, {"away": "xen01"})


def test_failover_that_holds_no_more_is_told() -> None:
    asked = problem({"a": 400, "b": 400, "c": 500}, policy={"failover": 1})
    found = recover(asked, told(xen01=["a"], xen02=["b"]), "xen03", defined(*"abc"))
    assert found["leave"] == ["c"] and "policy failover" in found["notes"][0]
    assert set(starts_of(found)) == {"c"}


def test_rules_hold_for_those_that_start() -> None:
    apart = {"rule": "anti_affinity", "workloads": ["a", "c"], "scope": "host"}
    found = recover(problem({"a": 100, "b": 700, "c": 200}, (apart,)), told(xen01=["a"], xen02=["b"]), "xen03", defined(*"abc"))
    assert starts_of(found) == {"c": "xen02"}
    found = recover(problem({"a": 100, "b": 900, "c": 200}, (apart,)), told(xen01=["a"], xen02=["b"]), "xen03", defined(*"abc"))
    assert found["leave"] == [] and found["stays"]["c"].startswith("no host takes it: ")


@pytest.mark.parametrize(("answers", "guests", "message"), [
    (told(xen01=["a"], xen03=["c"]), defined("a", "c"), "recover: host 'xen03': it answers, so it is not off"),
    (told(xen01=["a"], xen02=["a"]), defined("a", "c"), "recover: guest 'a': xen01 and xen02 both have it"),
    (told(xen01=["a"]), 3, "recover: problem, told: value that does not hold together"),
])
def test_what_recover_refuses(answers: dict[str, Any], guests: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        recover(problem({"a": 100, "c": 100}), answers, "xen03", guests)
