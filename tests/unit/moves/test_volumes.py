# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Steps on volumes, and the module that carries them out."""
from __future__ import annotations

import json

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import volumes

from tests.unit import command_cases
from tests.unit.moves.samples import COMING, COMPLETE, MOVED, volume

STEP = {"guest": "disk01", "volume_group": "vg0", "name": "disk01-root", "peer": "xen01"}
MAKE = {**STEP, "verb": "make", "size_bytes": 8 * 2**20}
GIVE = {**STEP, "verb": "give", "peer": "xen02", "date": "20261129T164305Z"}
OWN, FILLING, FULL, LEFT = (volume("disk01-root"), volume("disk01-root.coming", COMING), volume("disk01-root.coming", COMPLETE),
                            volume("disk01-root.moved", MOVED))
OTHER = volume("disk01-root.coming", "xenfold.filling")
CREATE = ["lvcreate", "--yes", "-W", "y", "-L", "8388608b", "-n", "disk01-root.coming", "--addtag", COMING, "vg0"]


def verb(name, **more):
    return {**STEP, "verb": name, **more}


def report(*there):
    rows = [{"vg_name": one["volume_group"], "lv_name": one["name"], "lv_size": str(one["size_bytes"]), "lv_tags": ",".join(one["tags"]),
             "origin": one.get("origin", "")} for one in there]
    return {"command": volumes.REPORT, "out": json.dumps({"report": [{"lv": rows}]})}


@pytest.mark.parametrize(("step", "there", "commands"), [
    (MAKE, [], [CREATE]),
    (MAKE, [LEFT], [CREATE]),
    (MAKE, [FILLING], []),
    (verb("refill"), [FULL], [["lvchange", "--addtag", COMING, "--deltag", COMPLETE, "vg0/disk01-root.coming"]]),
    (verb("refill"), [FILLING], []),
    (verb("take"), [FULL, LEFT], [["lvrename", "vg0", "disk01-root.coming", "disk01-root"]]),
    (verb("take"), [volume("disk01-root", COMPLETE)], []),
    (verb("take"), [OWN], []),
    (verb("keep"), [volume("disk01-root", COMPLETE)], [["lvchange", "--deltag", COMPLETE, "vg0/disk01-root"]]),
    (verb("keep"), [OWN], []),
    (verb("demote"), [volume("disk01-root", COMPLETE)], [["lvchange", "--addtag", COMING, "--deltag", COMPLETE, "vg0/disk01-root"],
                                                         ["lvrename", "vg0", "disk01-root", "disk01-root.coming"]]),
    (verb("demote"), [OWN], [["lvchange", "--addtag", COMING, "vg0/disk01-root"],
                             ["lvrename", "vg0", "disk01-root", "disk01-root.coming"]]),
    (verb("demote"), [FULL], [["lvchange", "--addtag", COMING, "--deltag", COMPLETE, "vg0/disk01-root.coming"]]),
    (verb("demote"), [FILLING], []),
    (GIVE, [OWN], [["lvchange", "--addtag", MOVED, "vg0/disk01-root"], ["lvrename", "vg0", "disk01-root", "disk01-root.moved"]]),
    (GIVE, [LEFT], []),
    (verb("back"), [LEFT], [["lvrename", "vg0", "disk01-root.moved", "disk01-root"], ["lvchange", "--deltag", MOVED, "vg0/disk01-root"]]),
    (verb("back"), [OWN], []),
    (verb("remove", which="moved"), [LEFT, OWN], [["lvremove", "--yes", "vg0/disk01-root.moved"]]),
    (verb("remove", which="filling"), [FILLING], [["lvremove", "--yes", "vg0/disk01-root.coming"]]),
    (verb("remove", which="moved"), [OWN, FILLING], []),
    # Never what another has made.
    (verb("remove", which="moved"), [volume("disk01-root.moved", MOVED.replace("disk01", "web01"))], []),
    (verb("remove", which="filling"), [FULL], []),
    (verb("remove", which="complete"), [FULL], [["lvremove", "--yes", "vg0/disk01-root.coming"]]),
    (verb("remove", which="complete"), [FILLING, OWN], []),
    (verb("back"), [volume("disk01-root.moved", MOVED.replace("xen02", "xen03"), MOVED)],
     [["lvrename", "vg0", "disk01-root.moved", "disk01-root"],
      ["lvchange", "--deltag", MOVED.replace("xen02", "xen03"), "--deltag", MOVED, "vg0/disk01-root"]]),
    (verb("remove", which="filling"), [OTHER], []),
])
def test_steps(step, there, commands):
    assert [command for _action, found in volumes.plan([step], there) for command in found] == commands


@pytest.mark.parametrize(("step", "there", "text"), [
    (MAKE, [OWN], "cannot make it: the host has one of this name"),
    (MAKE, [FULL], "cannot make it"),
    (MAKE, [OTHER], "cannot make it"),
    (verb("refill"), [], "cannot refill it: it is not complete"),
    (verb("take"), [FILLING], "cannot take it: it is not complete. Run this again: it looks anew"),
    (verb("take"), [], "cannot take it"),
    (verb("demote"), [OWN, FULL], "cannot demote it"),
    (verb("keep"), [FULL], "cannot keep it: it is not here"),
    (verb("remove", which="moved"), [LEFT, {**volume("copy"), "origin": "disk01-root.moved"}],
     "the snapshot vg0/copy would go with it; remove that first"),
    (verb("demote"), [], "cannot demote it"),
    (GIVE, [], "cannot give it: it is not here"),
    (verb("back"), [], "cannot back it: it is not here"),
])
def test_steps_on_volumes_that_are_not_as_they_were_judged(step, there, text):
    with pytest.raises(volumes.StepError) as caught:
        volumes.plan([step], there)
    assert text in str(caught.value)


@pytest.mark.parametrize(("change", "text"), [
    ({"verb": "wipe"}, "verb: value 'wipe', allowed make, refill"),
    ({"guest": "../x"}, "guest: value '../x'"),
    ({"peer": "a b"}, "host: value 'a b'"),
    ({"volume_group": "vg0/x"}, "volume_group: value 'vg0/x'"),
    ({"name": "web01-root"}, "name: value 'web01-root', allowed the volume of a disk of the guest"),
    ({"name": "disk01-root/../x"}, "name: value"),
    ({"size_bytes": 0}, "size_bytes: value 0, allowed 1 or more"),
])
def test_bad_steps(change, text):
    command_cases.run("volume_settle", {"input": {"steps": [{**MAKE, **change}]}, "output": {"failed": True}, "msg_contains": [text]})


def test_a_date_that_is_none():
    command_cases.run("volume_settle", {"input": {"steps": [{**GIVE, "date": "today"}]}, "output": {"failed": True},
                                        "msg_contains": ["date: value 'today', allowed a time as 20261129T164305Z"]})


def test_the_module_shows_steps_does_them_and_finds_them_done():
    action = {"verb": "create", "target": "volume vg0/disk01-root.coming", "detail": "0.0078125 GiB, to be filled by xen01"}
    case = {"input": {"steps": [MAKE]}, "output": {"changed": True, "actions": [action]}}
    command_cases.run("volume_settle", {**case, "flags": {"check": True}, "run": [report()]})
    command_cases.run("volume_settle", {**case, "run": [report(), {"command": CREATE}]})
    command_cases.run("volume_settle", {"input": {"steps": [MAKE]}, "run": [report(FILLING)], "output": {"changed": False}})
    command_cases.run("volume_settle", {"input": {"steps": []}, "output": {"changed": False}})


def test_nothing_is_done_when_one_step_cannot_be():
    command_cases.run("volume_settle", {"input": {"steps": [GIVE, verb("take")]}, "run": [report(OWN, FILLING)],
                                        "output": {"failed": True}, "msg_contains": ["cannot take it"]})


def test_volumes_of_other_guests_and_groups_do_not_count():
    there = volumes.held([volume("disk01-root", group="vg1"), volume("disk011-root"), FILLING], "disk01", [("vg0", "disk01-root")])
    assert (there.own, list(there.filling), there.peer, there.strange) == ({}, [("vg0", "disk01-root")], "xen01", [])


@pytest.mark.parametrize(("there", "error"), [
    ([], ""), (["disk01-root"], ""), (["disk01-root", "disk01-root.moved"], ""), (["disk01-root2.moved"], ""),
    (["disk01-root.moved"], "vg0 has disk01-root.moved of a guest that has moved, or does so now: playbooks/apply.yml finishes that"),
    (["disk01-root.coming"], "vg0 has disk01-root.coming of a guest"),
    (["disk01-root.moved", "disk01-root.coming"], "vg0 has disk01-root.moved and disk01-root.coming of a guest"),
])
def test_no_empty_volume_takes_the_place_of_one_that_a_guest_has_taken_along(there, error):
    present = lvm.Present({"vg0": (2**40, 4 * 2**20)}, {}, {f"vg0/{name}": 2**30 for name in there})
    plan = lvm.plan([], [{"name": "disk01-root", "volume_group": "vg0", "size_gib": 1}], present, {}, {})
    assert ([error] if error else []) == [line[line.index("vg0 has"):][:len(error)] for line in plan.errors]
    assert bool(plan.commands) == (there in ([], ["disk01-root2.moved"]))
