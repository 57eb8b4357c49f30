# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs already stays where it is."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.keep_running import FilterModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place

keep_running = FilterModule().filters()["keep_running"]
HOSTS = [{"name": name, "capacity": {"memory_mib": 1000}} for name in ("xen01", "xen02")]


def problem(*names: str, **current: str) -> dict[str, Any]:
    workloads = [{"name": name, "demand": {"memory_mib": 300}, **({"current": current[name]} if name in current else {})} for name in names]
    return {"hosts": HOSTS, "workloads": workloads, "rules": [], "policy": {}}


def test_a_new_workload_moves_nobody() -> None:
    """Without what was found, `a` would be packed first and push the others around."""
    kept = keep_running(problem("a", "b", "c"), {"xen01": {"b": "running"}, "xen02": {"c": "autostart"}})
    plan = place(kept)
    assert plan["placement"]["b"] == "xen01" and plan["placement"]["c"] == "xen02"
    assert [move["workload"] for move in plan["moves"]] == ["a"]


def test_what_is_found_counts_more_than_what_is_written() -> None:
    kept = keep_running(problem("a", "b", a="xen01", b="xen01"), {"xen01": {}, "xen02": {"a": "running", "stranger": "running"}})
    assert [workload.get("current") for workload in kept["workloads"]] == ["xen02", "xen01"]
    assert kept["policy"]["max_moves"] == 0


def test_a_host_that_drains_keeps_what_runs_and_gets_nothing() -> None:
    given = problem("a", "far", "near", "new", far="xen01", near="xen01")
    given["hosts"] = [{**HOSTS[0], "state": "drain"}, HOSTS[1]]
    given["workloads"][1]["storage"] = "shared"
    given["rules"] = [{"rule": "anti_affinity", "workloads": ["far", "near"]}, {"rule": "ban", "workloads": ["near"], "hosts": ["xen02"]}]
    kept = keep_running(given, {"xen01": {"a": "running"}, "xen02": {}})
    plan = place(kept)
    # near has its disks on xen01 and runs nowhere: it waits; far can be started from the other host.
    assert plan["placement"] == {"a": "xen01", "far": "xen02", "new": "xen02"}
    assert [rule["workloads"] for rule in kept["rules"]] == [["far"]]


@pytest.mark.parametrize(("home", "expected"), [
    # It runs on its replica, so the two have exchanged their parts; it runs nowhere, and its host drains; it is where it was.
    ("xen02", ("xen02", "xen01")), (None, ("xen02", "xen01")), ("xen01", ("xen01", "xen02")),
])
def test_a_replicated_guest_is_on_one_of_its_two_hosts(home: str | None, expected: tuple[str, str]) -> None:
    hosts = [{"name": "xen01", "state": "drain"}, {"name": "xen02"}]
    given = {"name": "db01", "storage": "replicated", "current": "xen01", "replica": "xen02"}
    found = keep_running({"hosts": hosts, "workloads": [given], "rules": [], "policy": {}}, {home: {"db01": "running"}} if home else {})
    [workload] = found["workloads"]
    assert (workload["current"], workload["replica"]) == expected


def test_a_stopped_guest_stays_where_its_disks_are() -> None:
    given = problem("a", "b", "c", c="xen01")
    given["workloads"][1]["storage"] = "shared"
    kept = keep_running(given, {"xen01": {}, "xen02": {}}, {"xen01": ["c"], "xen02": ["a", "b", "stranger"]})
    assert [workload.get("current") for workload in kept["workloads"]] == ["xen02", None, "xen01"]
    # One that runs has moved since it was stored there.
    kept = keep_running(given, {"xen01": {"a": "running"}, "xen02": {}}, {"xen02": ["a"]})
    assert kept["workloads"][0]["current"] == "xen01"


def test_a_guest_that_is_stopped_on_a_host_that_drains_waits() -> None:
    given = {**problem("a"), "hosts": [{**HOSTS[0], "state": "drain"}, HOSTS[1]]}
    assert keep_running(given, {"xen01": {}, "xen02": {}}, {"xen01": ["a"]})["workloads"] == []


def test_what_a_lost_host_may_have_is_not_begun_anew() -> None:
    given = problem("gone", "shared", "new", "runs", "stopped", new="xen02")
    given["workloads"][1]["storage"] = "shared"
    given["rules"] = [{"rule": "affinity", "workloads": ["gone", "shared"]}]
    kept = keep_running(given, {"xen02": {"runs": "running"}}, {"xen02": ["stopped"]}, ["xen01"])
    assert {workload["name"]: workload.get("current") for workload in kept["workloads"]} == {
        "shared": None, "new": "xen02", "runs": "xen02", "stopped": "xen02"}
    assert [rule["workloads"] for rule in kept["rules"]] == [["shared"]]


def test_a_stopped_guest_has_one_home() -> None:
    with pytest.raises(AnsibleFilterError, match="guest 'a': xen01 and xen02 both have its configuration stored, and it runs on neither"):
        keep_running(problem("a"), {}, {"xen02": ["a"], "xen01": ["a"]})
    with pytest.raises(AnsibleFilterError, match="guest 'a': current: value 'xen01', allowed xen02, where it is stored and stopped"):
        keep_running(problem("a", a="xen01"), {}, {"xen02": ["a"]})
    with pytest.raises(AnsibleFilterError, match=r"configured: value .* allowed a mapping host -> list of guests"):
        keep_running(problem("a"), {}, {"xen01": "a"})


def test_the_problem_itself_stays() -> None:
    given = problem("a")
    keep_running(given, {"xen01": {"a": "running"}})
    assert given == problem("a")


@pytest.mark.parametrize(("given", "found", "text"), [
    (problem("a"), {"xen02": {"a": "running"}, "xen01": {"a": "autostart"}}, "guest 'a': xen01 and xen02 both have it"),
    (problem("a"), {"xen01": ["a"]}, "found: value {'xen01': ['a']}, allowed a mapping host -> guest -> state"),
    ({"hosts": []}, {}, "problem: has no 'workloads' and 'policy'"),
    (3, {}, "problem: has no 'workloads' and 'policy'"),
])
def test_refused(given: Any, found: Any, text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="keep_running: ") as caught:
        keep_running(given, found)
    assert text in str(caught.value)
