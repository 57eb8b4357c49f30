# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replacing a disk: what is done in each state of the old one, and what is refused."""
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import replace
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.model import Live, Member, why_frozen
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import command_cases
from tests.unit.storage.fake_host import Host
from tests.unit.storage.samples import ARRAY, GIB, disk
from tests.unit.storage.test_modules import WORDS, filled
from tests.unit.storage.test_modules import commands as recorded

SERIALS = {f"/dev/vd{letter}": f"D{number}" for number, letter in enumerate("bcdef", 1)}
DEVICE = "/dev/md/guests"
RECOVER = {"action": "recover", "percent": 43.2}
ADD = ("mdadm", "--manage", DEVICE, "--add", "/dev/vdf")
REPLACE = ("mdadm", "--manage", DEVICE, "--replace", "/dev/vdc", "--with", "/dev/vdf")
REMOVE = ("mdadm", "--manage", DEVICE, "--remove", "/dev/vdc")
GO = ("mdadm", "--readwrite", DEVICE)


def gone(name: str) -> tuple[str, ...]:
    return ("mdadm", "--manage", DEVICE, "--fail", name, "--remove", name)


def member(path: str, slot: int | None, states: str = "in_sync", attached: bool = True) -> Member:
    return Member(path, slot, frozenset(states.split(",")), attached)


def live(missing: int = 0, sync: dict[str, Any] | None = None, state: str = "clean", **members: Member | None) -> Live:
    """The four disks in their places, or what is given in the place of one by its letter; f is the new disk."""
    found: dict[str, Member | None] = {letter: member(f"/dev/vd{letter}", slot) for slot, letter in enumerate("bcde")}
    found |= members
    return Live("/dev/md127", "raid10", state, missing, "bitmap", {}, sync, GIB, tuple(item for item in found.values() if item))


def new(uses: tuple[str, ...] = (), work: tuple[str, ...] = (), size: int = 2 * GIB) -> Disk:
    return Disk("/dev/vdf", "D5", size, uses + work, work, {})


def plan(now: Live, found: Disk | None = None, consents: set[str] | None = None, **array: Any) -> replace.Plan:
    there = replace.member_with(now, SERIALS, "D5")
    return replace.plan({**ARRAY, **array}, now, SERIALS, "D2", "D5", None if there else found or new(), frozenset(consents or ()))


def commands(steps: list[Any]) -> list[tuple[str, ...]]:
    return [command for step in steps for command in step.commands]


FAULTY = member("/dev/vdc", 1, "faulty")
GONE = member("/dev/vdc", 1, "in_sync", attached=False)
LEAVING = member("/dev/vdc", 1, "in_sync,want_replacement")
SPARE = member("/dev/vdf", None, "spare")


@pytest.mark.parametrize(("now", "first", "later", "done", "waits"), [
    # The old disk works.
    (live(), [ADD, REPLACE], [REMOVE], False, False),
    (live(f=SPARE), [REPLACE], [REMOVE], False, False),
    (live(c=LEAVING, f=member("/dev/vdf", 1, "spare,replacement"), sync=RECOVER), [], [REMOVE], False, True),
    (live(c=FAULTY, f=member("/dev/vdf", 1)), [REMOVE], [], False, False),
    (live(c=None, f=member("/dev/vdf", 1)), [], [], True, False),
    # It was asked for, and the kernel has not begun; the kernel itself asks where a disk begins to fail.
    (live(c=LEAVING, f=SPARE), [], [REMOVE], False, True),
    (live(c=LEAVING), [ADD], [REMOVE], False, False),
    (live(c=FAULTY, f=member("/dev/vdf", 1, "in_sync,replacement")), [REMOVE], [], False, False),
    # It has failed.
    (live(1, c=FAULTY), [REMOVE, ADD], [], False, False),
    (live(1, c=FAULTY, state="read-auto"), [REMOVE, ("mdadm", "--readwrite", DEVICE), ADD], [], False, False),
    (live(1, c=member("/dev/vdc", None, "faulty"), f=member("/dev/vdf", 1, "spare"), sync=RECOVER), [REMOVE], [], False, False),
    (live(1, c=None, f=member("/dev/vdf", 1, "spare"), sync=RECOVER), [], [], False, True),
    (live(1, c=None, f=SPARE), [], [], False, True),
    # It is gone: md has not noticed, has noticed, has forgotten it.
    (live(c=GONE), [gone("vdc"), ADD], [], False, False),
    (live(1, c=member("/dev/vdc", None, "faulty", attached=False)), [gone("vdc"), ADD], [], False, False),
    (live(c=member("/dev/cciss/c0d1", 1, attached=False)), [gone("cciss!c0d1"), ADD], [], False, False),
    (live(c=GONE, e=member("/dev/vde", 3, attached=False)), [gone("vdc"), gone("vde"), ADD], [], False, False),
    (live(c=GONE, f=SPARE), [gone("vdc")], [], False, False),
    (live(1, c=None), [ADD], [], False, False),
    # The new disk has its place; who is gone from another one is left alone.
    (live(c=None, e=member("/dev/vde", 3, attached=False), f=member("/dev/vdf", 1)), [], [], True, False),
    # The host was booted in mid-rebuild, and nobody has written since.
    (live(1, c=None, f=member("/dev/vdf", 1, "spare"), state="read-auto"), [GO], [], False, False),
    (live(c=LEAVING, f=member("/dev/vdf", 1, "spare,replacement"), state="read-auto"), [GO], [REMOVE], False, False),
    (live(c=None, f=member("/dev/vdf", 1), state="read-auto"), [], [], True, False),
    # Another disk is gone as well, of a level that bears it.
    (live(1, c=None, e=None, f=member("/dev/vdf", 1)), [], [], True, False),
])
def test_what_is_left_to_do(now, first, later, done, waits):
    made = plan(now)
    assert made.errors == []
    assert (commands(made.steps), commands(made.later), made.done, made.waits) == (first, later, done, waits)
    assert [step for step in made.steps if step.wipe] == []


@pytest.mark.parametrize(("now", "found", "array", "text"), [
    (live(1, e=None), None, {}, "lacks 1 of its members already, so the disk D2, which works, stays in it. It runs on D1, D2, D3."),
    (live(e=member("/dev/vde", 3, "in_sync", attached=False)), None, {}, "lacks 1 of its members already"),
    (live(), new(("ext4 on vdf",)), {}, "/dev/vdf (serial D5) is not empty: ext4 on vdf. It is not touched"),
    (live(1, c=FAULTY), new(("ext4 on vdf",)), {}, "storage_wipe: [{serial: D5, confirm: D5}]"),
    (live(1, c=None), new(work=("vdf is mounted at /srv",)), {}, "is in use and is never wiped"),
    (live(), new(size=GIB - 1), {}, "has 1.00 GiB; /dev/md/guests needs 1.00 GiB or more"),
    (live(), None, {"level": 0}, "level 0 has no redundancy"),
    (live(), None, {"level": 6}, "exists with level 10; the inventory says 6"),
    (live(state="inactive"), None, {}, "/dev/md/guests is inactive, and a disk is replaced in an array that runs"),
    (live(c=None, f=member("/dev/vdf", 1, "faulty")), None, {}, "the new disk /dev/vdf (serial D5) has failed"),
    (live(f=member("/dev/vdf", 4)), None, {}, "is a member of /dev/md/guests already, beside the old one"),
    (live(c=LEAVING, x=member("/dev/vdx", 1, "spare,replacement"), sync=RECOVER), None, {}, "is being replaced by /dev/vdx already"),
    (live(c=None, x=member("/dev/vdx", 1)), None, {}, "is whole on D1, /dev/vdx, D3, D4; the disk D2 is not among them"),
])
def test_what_could_cost_redundancy_or_data_is_refused(now, found, array, text):
    made = plan(now, found, **array)
    assert text in ". ".join(made.errors)
    assert (made.steps, made.later, made.done) == ([], [], False)


def test_no_disk_is_replaced_during_a_reshape():
    made = plan(dataclasses.replace(live(1, c=FAULTY), reshaping=True))
    assert (made.errors, made.steps) == (["/dev/md/guests is being reshaped, and no disk is replaced until that is over"], [])


def test_each_disk_that_is_gone_is_named():
    one, two = plan(live(c=GONE)), plan(live(c=GONE, e=member("/dev/vde", 3, attached=False)))
    assert [step.action.line() for step in one.steps if step.action.verb == "remove"] == [
        "remove disk D2 of array /dev/md/guests: it was vdc and is gone from the host"]
    assert [step.action.line() for step in two.steps if step.action.verb == "remove"] == [
        f"remove disk {name} of array /dev/md/guests: it was {name} and is gone from the host" for name in ("vdc", "vde")]


REWRITTEN = [item if item["serial"] != "D2" else {"id": "virtio-D5", "serial": "D5"} for item in ARRAY["members"]]
IN_PLACE = member("/dev/vdf", 1)


def plan_unknown(now: Live, members: list[dict[str, Any]], **array: Any) -> replace.Plan:
    there = replace.member_with(now, SERIALS, "D5")
    return replace.plan({**ARRAY, "members": members, **array}, now, SERIALS, "D9", "D5", None if there else new(), frozenset())


@pytest.mark.parametrize(("now", "array", "done"), [
    (live(c=None, f=IN_PLACE), {}, True),
    (live(1, c=None, f=member("/dev/vdf", 1, "spare"), sync=RECOVER), {}, False),
    (live(1, c=None, f=SPARE), {}, False),
    # It is named as a spare, and is one.
    (live(f=SPARE), {"members": ARRAY["members"], "spares": [{"id": "virtio-D5", "serial": "D5"}]}, True),
])
def test_with_the_inventory_rewritten_it_is_done_or_waited_for(now, array, done):
    made = plan_unknown(now, **({"members": REWRITTEN} | array))
    assert (made.errors, made.steps, made.later, made.done, made.waits) == ([], [], [], done, not done)


@pytest.mark.parametrize(("now", "text"), [
    (live(c=None, e=member("/dev/vde", 3, attached=False), f=IN_PLACE), "vde is gone from the host. /dev/md/guests runs on D1, D5, D3"),
    (live(1, c=None, e=member("/dev/vde", None, "faulty"), f=IN_PLACE), "/dev/vde (serial D4) has failed"),
    (live(1, c=None, e=None, f=IN_PLACE), "it lacks 1 of its members"),
    (live(2, c=None, e=None, f=member("/dev/vdf", 1, "spare"), sync=RECOVER), "it lacks 1 of its members"),
    (live(1, c=None), "the disk D5, which storage_arrays names, is no member of it"),
    (live(f=SPARE), "/dev/vdf (serial D5), which storage_arrays names as a member, is a spare"),
])
def test_a_wrong_serial_takes_out_no_other_disk(now, text):
    made = plan_unknown(now, REWRITTEN)
    assert "serial: value 'D9', allowed a disk that storage_arrays names or that is a member of /dev/md/guests" in made.errors[0]
    assert text in ". ".join(made.errors)
    assert (made.steps, made.later, made.done, made.waits) == ([], [], False, False)


def test_a_member_is_replaced_though_the_inventory_names_the_new_disk_already():
    assert commands(plan(live(), members=REWRITTEN).steps) == [ADD, REPLACE]
    assert commands(plan(live(1, c=FAULTY), members=REWRITTEN).steps) == [REMOVE, ADD]


@pytest.mark.parametrize(("action", "done", "percent"), [
    ("recover", False, 43.2), ("resync", False, 43.2), ("reshape", False, 43.2), ("check", False, 0.0), ("repair", False, 0.0),
    ("check", True, 100.0), (None, False, 0.0), (None, True, 100.0),
])
def test_a_scrub_is_no_progress(action, done, percent):
    assert replace.percent_of(live(sync={"action": action, "percent": 43.2} if action else None), done) == percent


@pytest.mark.parametrize(("frozen", "texts"), [
    (True, ["/sys/block/md127/md/sync_action: value 'frozen'", "echo idle > /sys/block/md127/md/sync_action"]), (False, []),
])
def test_a_frozen_array_says_what_to_run(frozen, texts):
    told = why_frozen(Live("/dev/md127", frozen=frozen))
    assert bool(told) == bool(texts)
    assert [text for text in texts if text not in told] == []


@pytest.mark.parametrize(("action", "wait", "failed"), [("frozen", 60, True), ("idle", 60, True), ("frozen", 4, False), ("idle", 4, False)])
def test_the_module_tells_of_a_frozen_array(action, wait, failed, tmp_path, monkeypatch):
    cases = {parameter.id: parameter.values[0] for parameter in command_cases.load(Path(__file__).with_name("cases.yml"))}
    case = filled(cases["a kernel that never begins to fill the disk is told"], WORDS)
    case = {**case, "input": {**case["input"], "wait_seconds": wait}, "output": {"failed": failed}, "msg_contains": []}
    Host(tmp_path, case["given"] | {"sysfs": {"degraded": "1", "sync_action": action}}, monkeypatch)
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, line: warned.append(line))
    result = command_cases.run("md_replace", {**case, "run": recorded(case)})
    told = result["msg"] if failed else " ".join(warned)
    assert ("echo idle > /sys/block/md127/md/sync_action" in told) == (action == "frozen")
    assert ("does not begin to fill /dev/vdd (serial S3)" in told) == failed


def test_a_new_disk_with_data_is_wiped_by_its_own_consent_only():
    full = new(("ext4 on vdf",))
    [remove, add] = plan(live(1, c=FAULTY), full, {"D5"}).steps
    assert (remove.wipe, add.wipe) == ((), (full,))
    assert add.action.line() == "add disk D5 to array /dev/md/guests: as /dev/vdf, wiped by consent"
    assert plan(live(1, c=FAULTY), full, {"D1", "D2"}).errors
    assert plan(live(1, c=FAULTY), new(("ext4 on vdf",), ("vdf is mounted at /srv",)), {"D5"}).errors


@given(st.lists(st.sampled_from(["in_sync", "faulty", "gone", "removed"]), min_size=4, max_size=4), st.booleans())
def test_a_disk_that_works_never_leaves_before_the_new_one_is_filled(states, joined):
    """Whatever the four disks are: a working one is only ever removed later, and never replaced while another is lost."""
    members: dict[str, Member | None] = {}
    for slot, (letter, state) in enumerate(zip("bcde", states, strict=True)):
        shown = "in_sync" if state in ("in_sync", "gone") else "faulty"
        members[letter] = None if state == "removed" else member(f"/dev/vd{letter}", slot, shown, state != "gone")
    now = live(sum(state in ("faulty", "removed") for state in states), f=SPARE if joined else None, **members)
    made = plan(now)
    if states[1] == "in_sync":
        assert REMOVE not in commands(made.steps)
        assert bool(made.errors) == any(state != "in_sync" for state in states)
    assert not [command for command in commands([*made.steps, *made.later]) if command[3] == "--remove" and command[4] != "/dev/vdc"]
    left = {item.path.removeprefix("/dev/") for item in members.values() if item and not item.attached}
    assert {command[4] for command in commands(made.steps) if command[3] == "--fail"} <= left


SPARE_HINT = ", a spare, and the kernel takes a spare by itself; name the disk that comes into the host"


@pytest.mark.parametrize(("old", "fresh", "text"), [
    ("D9", "D5", "serial: value 'D9', allowed the serial of a disk in storage_arrays: guests: D1, D2, D3, D4; b: E1, E2"),
    ("D2", "D2", "new_serial: value 'D2', allowed the serial of another disk than serial"),
    ("D2", "E1", "new_serial: value 'E1', allowed a disk that storage_arrays does not name yet; it is one of b"),
    ("D2", "D3", "new_serial: value 'D3', allowed a disk that storage_arrays does not name yet; it is one of guests"),
    ("D2", "E2", f"new_serial: value 'E2', allowed a disk that storage_arrays does not name yet; it is one of b{SPARE_HINT}"),
])
def test_disks_of_no_array_are_named(old, fresh, text):
    other = {**ARRAY, "name": "b", "members": [{"id": "e", "serial": "E1"}], "spares": [{"id": "f", "serial": "E2"}]}
    assert replace.find_array([ARRAY, other], old, fresh) == (None, [text])


@pytest.mark.parametrize(("old", "fresh"), [("D2", "D5"), ("D9", "D2")])
def test_the_array_is_found_before_and_after_the_inventory_is_changed(old, fresh):
    assert replace.find_array([ARRAY], old, fresh) == (ARRAY, [])


NEW_ITEM = {"id": "virtio-D5", "serial": "D5", "size_gib": 2.0}


@pytest.mark.parametrize(("array", "now", "item", "lines"), [
    ({}, live(c=None, f=member("/dev/vdf", 1)), NEW_ITEM,
     ["  members: instead of", "    - {id: virtio-D2, serial: D2, size_gib: 2}", "  write",
      "    - {id: virtio-D5, serial: D5, size_gib: 2}"]),
    ({}, live(c=None, f=member("/dev/vdf", 1)), {**NEW_ITEM, "serial": "123", "size_gib": 1.5},
     ["  members: instead of", "    - {id: virtio-D2, serial: D2, size_gib: 2}", "  write",
      '    - {id: virtio-D5, serial: "123", size_gib: 1.5}']),
    # A hot spare took the place; the new disk is the spare now.
    ({"members": [item for item in ARRAY["members"] if item["serial"] != "D4"], "spares": [{"id": "virtio-D4", "serial": "D4"}]},
     live(c=None, e=member("/dev/vde", 1), f=SPARE), NEW_ITEM,
     ["  members: instead of", "    - {id: virtio-D2, serial: D2, size_gib: 2}", "  write", "    - {id: virtio-D4, serial: D4}",
      "  spares: instead of", "    - {id: virtio-D4, serial: D4}", "  write", "    - {id: virtio-D5, serial: D5, size_gib: 2}"]),
])
def test_what_a_person_writes_into_the_inventory(array, now, item, lines):
    found = replace.inventory_lines("xen01", {**ARRAY, **array}, "D2", item, now, SERIALS)
    assert found == ["In the inventory of xen01, storage_arrays, array guests:", *lines]


def test_an_inventory_that_names_the_new_disk_needs_nothing():
    changed = {**ARRAY, "members": [{"id": "virtio-D5", "serial": "D5"}]}
    assert replace.inventory_lines("xen01", changed, "D2", NEW_ITEM, live(), SERIALS) == []


def test_a_lost_spare_becomes_another_spare():
    members = [item for item in ARRAY["members"] if item["serial"] != "D2"]
    array = {**ARRAY, "spares": [{"id": "virtio-D2", "serial": "D2"}], "members": members}
    now = live(c=None)
    made = replace.plan(array, now, SERIALS, "D2", "D5", disk(1, serial="D5"), frozenset())
    assert [command[3] for command in commands(made.steps)] == ["--add"]
