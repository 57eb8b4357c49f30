# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs already stays where it is."""
from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter import keep_running as keep_running_filter
from ansible_collections.xenfold.consolidation.plugins.filter import left_out as left_out_filter
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place

keep_running = keep_running_filter.FilterModule().filters()["keep_running"]
left_out = left_out_filter.FilterModule().filters()["left_out"]
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


def has(configured: Collection[str] = (), volumes: Collection[str] = ()) -> dict[str, list[str]]:
    """What a host has stored."""
    return {"configured": list(configured), "volumes": list(volumes)}


def with_disks(*names: str) -> dict[str, Any]:
    disks = [{"name": "root", "size_gib": 1, "volume_group": "vg0"}, {"cdrom": True}, {"path": "/srv/data.img"}]
    return {name: {"name": name, "disks": disks} for name in names}


@pytest.mark.parametrize(("stored", "home"), [
    ({"xen01": has(), "xen02": has(["a", "stranger"])}, "xen02"),
    # Its dom0 was installed anew; what another host has stored is old.
    ({"xen01": has(["a"]), "xen02": has((), ["vg0/a-root"])}, "xen02"),
    # A copy that is not whole; one that was left behind.
    ({"xen01": has((), ["vg0/a-root"]), "xen02": has((), ["vg0/a-root.coming"])}, "xen01"),
    ({"xen01": has((), ["vg0/a-root"]), "xen02": has((), ["vg0/a-root.moved"])}, "xen01"),
    # Another's.
    ({"xen01": has(), "xen02": has(["b"], ["vg1/a-root", "vg0/b-root"])}, None),
])
def test_a_stopped_guest_stays_where_its_disks_are(stored: dict[str, Any], home: str | None) -> None:
    kept = keep_running(problem("a"), {"xen01": {}, "xen02": {}}, with_disks("a"), stored)
    assert kept["workloads"][0].get("current") == home


def test_what_is_stored_counts_for_disks_of_one_host_alone() -> None:
    given = problem("shared", "diskless", "unknown", "runs")
    given["workloads"][0]["storage"] = "shared"
    guests = with_disks("shared", "runs") | {"diskless": {"name": "diskless", "disks": [{"cdrom": True}]}}
    stored = {"xen02": has(["shared", "diskless", "unknown", "runs"])}
    kept = keep_running(given, {"xen01": {"runs": "running"}, "xen02": {}}, guests, stored, ["xen03"])
    assert [workload.get("current") for workload in kept["workloads"]] == [None, None, None, "xen01"]


def test_a_guest_that_is_stopped_on_a_host_that_drains_waits() -> None:
    given = {**problem("a", "b", b="xen01"), "hosts": [{**HOSTS[0], "state": "drain"}, HOSTS[1]]}
    told = (given, {"xen01": {}, "xen02": {}}, with_disks("a", "b"), {"xen01": has(["a"])})
    assert keep_running(*told)["workloads"] == []
    assert left_out(*told) == {"a": {"why": "it is stopped on xen01, which drains", "waits": True},
                               "b": {"why": "its disks are on xen01, which drains", "waits": True}}


def test_what_a_silent_host_may_have_is_not_begun_anew() -> None:
    given = problem("gone", "shared", "new", "runs", "stopped", "stale", "there", "old", stale="xen02", there="xen01")
    given["workloads"][1]["storage"] = "shared"
    given["rules"] = [{"rule": "affinity", "workloads": ["gone", "shared"]}]
    names = [workload["name"] for workload in given["workloads"]]
    stored = {"xen02": has(["stopped", "old"], ["vg0/stopped-root"])}
    told = (given, {"xen02": {"runs": "running"}}, with_disks(*names), stored, ["xen01"], ["new"])
    kept = keep_running(*told)
    # What the inventory has on the silent host is planned there, which keeps its room; that the inventory has it elsewhere may be old, and
    # so may a configuration without disks.
    assert {workload["name"]: workload.get("current") for workload in kept["workloads"]} == {
        "shared": None, "new": None, "runs": "xen02", "stopped": "xen02", "there": "xen01"}
    assert [rule["workloads"] for rule in kept["rules"]] == [["shared"]]
    why = "its disks may be on xen01; one that is new is named by -e new_guests="
    assert left_out(*told) == {name: {"why": why + name, "waits": True} for name in ("gone", "stale", "old")}
    assert left_out(*told[:4]) == {}


@pytest.mark.parametrize(("current", "stored", "text"), [
    (None, {"xen02": has((), ["vg0/a-root"]), "xen01": has((), ["vg0/a-root"])}, "xen01 and xen02 have disks or a configuration of it"),
    (None, {"xen02": has(["a"]), "xen01": has(["a"])}, "xen01 and xen02 have disks or a configuration of it"),
    ("xen01", {"xen02": has(["a"])}, "current: value 'xen01', allowed xen02, which has its disks"),
    # Neither has them under their own names.
    (None, {"xen01": has(["a"], ["vg0/a-root.moved"]), "xen02": has((), ["vg0/a-root.coming"])},
     "its disks are in the middle of a move (xen01, xen02); playbooks/apply.yml goes on with that"),
    # Taken, and not started yet.
    (None, {"xen01": has(["a"], ["vg0/a-root.moved"]), "xen02": {**has((), ["vg0/a-root"]), "arriving": ["vg0/a-root"]}},
     "its disks are in the middle of a move (xen02); playbooks/apply.yml goes on with that"),
])
def test_a_guest_in_no_clear_state_is_left_to_a_person(current: str | None, stored: dict[str, Any], text: str) -> None:
    told = (problem("a", "b", **({"a": current} if current else {})), {}, with_disks("a"), stored)
    assert [workload["name"] for workload in keep_running(*told)["workloads"]] == ["b"]
    [(name, left)] = left_out(*told).items()
    assert name == "a" and left["why"].startswith(text) and not left["waits"]


@pytest.mark.parametrize(("arguments", "text"), [
    (({"xen01": ["a"]},), "stored: value {'xen01': ['a']}, allowed a mapping host -> what the module xl_guest_info returned"),
    (({"xen01": {"configured": []}},), "stored: value"),
    (({}, "xen01"), "unknown: value 'xen01', allowed a list of names"),
    (({}, [], ["b"]), "new_guests: value 'b', allowed guests of the estate"),
])
def test_what_is_no_such_data_is_refused(arguments: tuple[Any, ...], text: str) -> None:
    for name, function in (("keep_running", keep_running), ("left_out", left_out)):
        with pytest.raises(AnsibleFilterError) as caught:
            function(problem("a", a="xen01"), {}, with_disks("a"), *arguments)
        assert str(caught.value).startswith(f"{name}: {text}")


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
