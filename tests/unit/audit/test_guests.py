# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests in the audit: findings, notes and what is left open, from the answers of two hosts."""
from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit import findings, planned, text
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.guests import Guests, Wanted, settings
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import Hosts, keep_running, without
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.files import encode
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.markdown import escape
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import command_cases
from tests.unit.audit.answers import PLACEMENT, READ, changed, domain, good, guest_info

HOSTS = ("xen01", "xen02")
PROBLEM = READ["estate"]["problem"]


def plan_text(placement: dict[str, str], moves: list[dict[str, Any]] | None = None, problem: dict[str, Any] | None = None) -> str:
    """A plan that belongs to the estate of answers.py, whatever it says."""
    return json.dumps({"schema": 1, "inputs_sha256": normalise(problem or PROBLEM).sha256, "placement": placement, "moves": moves or [],
                       "unplaced": []})


def audited(case: dict[str, Any]) -> dict[str, Any]:
    answers = {host: good(host) for host in HOSTS}
    # A number takes a place of a list, or the one after its last; names of links may have dots.
    for path, value in case.get("changes", {}).items():
        *steps, last = path.split(".", 3) if ".links." in path else path.split(".")
        place: Any = answers
        for step in steps:
            place = place[int(step) if step.isdigit() else step]
        if isinstance(place, list):
            place[int(last):int(last) + 1] = [] if value == "(gone)" else [value]
        else:
            place[last] = value
    for host in case.get("lost", []):
        answers[host] = {"host": {"unreachable": True, "msg": "gone"}}
    asked = [host for host in HOSTS if host not in case.get("unasked", [])]
    placement = case.get("placement", {})
    plan = None if placement == "none" else plan_text({**PLACEMENT, **placement}, case.get("moves"))
    read = changed(READ, case.get("read", {}))
    return findings.audit("lab", HOSTS, asked, {host: answers[host] for host in asked}, read, plan)


@pytest.mark.parametrize("case", command_cases.load(Path(__file__).with_name("guest_cases.yml")))
def test_guests(case: dict[str, Any]) -> None:
    found = audited(case)
    listed = [*found["findings"], *(entry for host in found["hosts"].values() for entry in host["findings"])]
    assert [" | ".join(entry[key] for key in ("host", "kind", "item", "found", "wanted")) for entry in listed] == case.get("says", [])
    assert found["notes"] == case.get("notes", [])
    assert found["verdict"] == case["verdict"]
    assert case.get("message", "") in " ".join(entry["message"] for entry in listed)
    assert {entry["kind"] for entry in listed} <= set(findings.KINDS)
    assert sum(found["kinds"].values()) == len(listed)
    page, lines = text.markdown(found), text.lines_of(found, [])
    assert len(lines) == 1 + len(listed) + sum(len(host["unasked"]) for host in found["hosts"].values()) + len(found["notes"]) + (
        1 if found["not_asked"] else 0)
    assert all(escape(entry["item"]) in page for entry in listed)


def test_what_runs_twice_is_told_first_and_what_has_no_host_by_the_estate() -> None:
    answers = {host: good(host) for host in HOSTS}
    answers["xen02"]["guest_info"]["domains"].append(domain("web01", 8))
    answers["xen01"]["dom0"]["reboot_reasons"] = ["x"]
    answers["xen02"]["guest_info"]["domains"] = [entry for entry in answers["xen02"]["guest_info"]["domains"] if entry["name"] != "db01"]
    answers["xen02"]["guest_info"]["stored"].pop("db01")
    lines = text.lines_of(findings.audit("lab", HOSTS, HOSTS, answers, READ, None), [])
    assert lines[0] == "lab: drift: 2 hosts asked, 4 findings on 2 hosts"
    assert [line.split(": ")[:2] for line in lines[1:5]] == [
        ["xen01", "guest_twice"], ["xen02", "guest_twice"], ["lab", "guest_absent"], ["xen01", "reboot"]]
    assert lines[5] == "note: there is no plan.json: where guests should run was not compared"


def test_guests_of_each_host_are_listed_with_their_states() -> None:
    answers = {"xen01": good("xen01"), "xen02": {"host": {"unreachable": True}}}
    answers["xen01"]["guest_info"]["domains"] += [domain("", 8), domain("db01--incoming", 9, state="paused")]
    found = findings.audit("lab", HOSTS, HOSTS, answers, READ, None)["hosts"]
    assert {name: host["guests"] for name, host in found.items()} == {
        "xen01": {"db01--incoming": "paused", "web01": "running"}, "xen02": None}


@pytest.mark.parametrize("read", [None, {}, {"skipped": True, "changed": False}])
def test_an_inventory_without_workloads_has_its_hosts_compared(read: dict[str, Any] | None) -> None:
    found = findings.audit("lab", HOSTS, HOSTS, {host: good(host) for host in HOSTS}, read, None)
    assert (found["verdict"], found["notes"]) == ("in_sync", ["the inventory has no estate_workloads: guests were not compared"])


def test_an_estate_that_cannot_be_read_makes_guests_unknown_and_keeps_nobody_from_the_hosts() -> None:
    answers = {host: good(host) for host in HOSTS}
    answers["xen01"]["dom0"]["reboot_reasons"] = ["x"]
    found = findings.audit("lab", HOSTS, HOSTS, answers, {"failed": True, "msg": "a.yml:1: workload 'x':\n vcpus"}, None)
    assert [host["verdict"] for host in found["hosts"].values()] == ["drift", "unknown"]
    assert found["hosts"]["xen02"]["unasked"] == [{"what": "guests", "why": "the estate cannot be read: a.yml:1: workload 'x': vcpus"}]
    assert found["notes"] == []


@pytest.mark.parametrize(("written", "why"), [
    ("{", "Expecting property name"), ("[]", "it is no plan with schema 1"), ('{"schema": 2}', "it is no plan with schema 1"),
    ('{"schema": 1, "placement": [], "moves": []}', "placement: is no mapping of workloads to hosts"),
    ('{"schema": 1, "placement": {"a": 1}, "moves": []}', "placement: is no mapping of workloads to hosts"),
    ('{"schema": 1, "placement": {}, "moves": [{"step": 1}]}', "moves: is no list of moves with step"),
    ('{"schema": 1, "placement": {}, "moves": {}}', "moves: is no list of moves with step"),
    ("[" * 100000, "it is nested too deeply"),
])
def test_what_is_no_plan_is_told_and_fails_nothing(written: str, why: str) -> None:
    found = findings.audit("lab", HOSTS, HOSTS, {host: good(host) for host in HOSTS}, READ, written)
    assert found["verdict"] == "in_sync"
    assert len(found["notes"]) == 1 and found["notes"][0].startswith(f"plan.json cannot be taken for a plan ({why}")


def test_what_the_role_s_module_answers_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a host without Xen it asks nothing, and would write, link and start."""
    monkeypatch.setattr(xl_host, "xen_runs", lambda: False)
    (tmp_path / "40-web01").symlink_to("/etc/xen/guests/web01.cfg")
    answer = command_cases.run("xl_guest", {
        "flags": {"check": True, "diff": True},
        "input": {"guests": [{"name": "web01", "memory_mib": 64, "autostart": 10, "boot": {"image": "lab"}}],
                  "autostart_dir": str(tmp_path)},
        "output": {"changed": True}})
    assert [action["verb"] for action in answer["actions"]] == ["write", "remove", "link", "start"]
    wanted = Wanted(READ["estate"]["guests"], frozenset(PLACEMENT), planned.Planned(PLACEMENT))
    found = list(settings("xen01", answer, Guests({"xen01": guest_info()}, [], wanted)))
    assert [(entry.kind, entry.item, entry.found) for entry in found] == [
        ("guest_definition", "web01", "no such file"), ("guest_autostart", "web01", f"link {tmp_path}/40-web01"),
        ("guest_autostart", "web01", "no such link")]
    assert 'name = "web01"' in found[0].wanted
    # Where the guest is planned on another host, that host's answer is the one that counts.
    assert list(settings("xen02", answer, Guests({"xen02": guest_info()}, [], wanted))) == []


def estate(**memory_mib: int) -> dict[str, Any]:
    return {"hosts": [{"name": name, "capacity": {"memory_mib": 4096}} for name in HOSTS],
            "workloads": [{"name": name, "demand": {"memory_mib": size}} for name, size in memory_mib.items()],
            "rules": [], "policy": {"objective": "hosts"}}


@pytest.mark.parametrize("current", [{}, {"a": "xen01"}, {"a": "xen02", "b": "xen01"}])
@pytest.mark.parametrize("kept", [False, True])
def test_a_plan_is_known_again_wherever_its_guests_were(current: dict[str, str], kept: bool) -> None:
    """By plan.yml, and by site.yml, which plans around what it found at that time."""
    problem = estate(a=3000, b=3000)
    for workload in problem["workloads"] if not kept else []:
        workload.update({"current": current[workload["name"]]} if workload["name"] in current else {})
    there = {host: {name: "running" for name, where in current.items() if where == host} for host in HOSTS}
    plan = encode(place(keep_running(problem, Hosts(there)) if kept else problem))
    assert planned.read(plan, problem).note == ""
    for workload in problem["workloads"]:
        workload["demand"] = {"memory_mib": 3001}
    told = planned.read(plan, problem)
    assert (told.stale, told.note) == (True, "the estate has changed since plan.json was made (hosts, demands, rules or policy)")


def test_a_plan_of_other_names_tells_them() -> None:
    problem = estate(**{f"new{number}": 10 for number in range(7)}, a=10)
    text_of_plan = plan_text({"a": "xen09", "b": "xen01"})
    told = planned.read(text_of_plan, problem)
    assert told.note == ("the estate has changed since plan.json was made (new workloads: new0, new1, new2, new3, new4 and 2 more;"
                         " workloads that are gone: b; hosts that are gone: xen09)")
    # What it says still counts, with that word.
    answers = {host: good(host) for host in HOSTS}
    found = findings.audit("lab", HOSTS, HOSTS, answers, READ, plan_text({**PLACEMENT, "web01": "xen02", "gone": "xen01"}))
    assert found["notes"] == ["the estate has changed since plan.json was made (workloads that are gone: gone)"]
    assert [entry["message"] for entry in found["hosts"]["xen01"]["findings"]] == [
        "guest web01 runs on xen01, the plan has it on xen02, and the estate has changed since"]


def test_a_plan_that_leaves_guests_out_is_no_stale_one() -> None:
    """site.yml leaves out guests whose disks it cannot see, and plans all others."""
    problem = estate(a=3000, b=3000, c=10)
    problem["rules"] = [{"rule": "anti_affinity", "workloads": ["a", "c"]}]
    told = planned.read(encode(place(without(problem, ["c"]))), problem)
    assert (told.stale, told.note) == (False, "plan.json says nothing of c: left out when it was made, or new since then")
    assert set(told.hosts) == {"a", "b"}
    problem["workloads"][0]["demand"] = {"memory_mib": 3001}
    assert planned.read(encode(place(without(estate(a=3000, b=3000, c=10), ["c"]))), problem).note == (
        "the estate has changed since plan.json was made (new workloads: c; hosts, demands, rules or policy)")


def test_without_numpy_names_have_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "NUMPY_ERROR", ImportError())
    assert planned.read(plan_text(PLACEMENT, problem=estate(x=1)), PROBLEM).note == ""


names = st.sampled_from(["web01", "web02", "db01", "old9", "stranger"])
hosts = st.fixed_dictionaries({host: st.lists(names, unique=True) for host in HOSTS})


@given(hosts, hosts, hosts, st.dictionaries(names, st.sampled_from(HOSTS)), st.sets(st.sampled_from(HOSTS)))
def test_nothing_is_said_of_hosts_that_told_nothing_and_each_guest_is_somewhere(
    running: dict[str, list[str]], stored: dict[str, list[str]], links: dict[str, list[str]], placement: dict[str, str], lost: set[str],
) -> None:
    told = {}
    for host in set(HOSTS) - lost:
        info = copy.deepcopy(guest_info(*running[host]))
        info["stored"] = {name: {"disks": []} for name in stored[host]}
        info["links"] = {f"10-{name}": "x" for name in links[host]}
        told[host] = info
    wanted = Wanted(READ["estate"]["guests"], frozenset(PLACEMENT), planned.Planned(placement))
    guests = Guests(told, lost, wanted)
    found = list(guests.findings())
    assert {entry.host for entry in found} <= {*told, ""}
    notes = " ".join(guests.notes())
    for name in wanted.guests:
        runs = [host for host in told if name in running[host]]
        missed = any(entry.kind == "guest_absent" and entry.item == name for entry in found)
        assert bool(runs) + missed + (f"{name}" in notes) == 1
        assert (len(runs) == 2) == any(entry.kind == "guest_twice" and entry.item == name for entry in found)
    assert all(any(entry.kind == "guest_orphan" and entry.host == host for entry in found) == (
        "stranger" in (*running[host], *stored[host], *links[host])) for host in told)
