# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Superblocks that a run left which was cut off, disks that fell behind, and those that the inventory does not name."""
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import host as md_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import members, model
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.storage.fake_host import MIB, Host, look_commands
from tests.unit.storage.samples import ARRAY, GIB, WANTED, disk, disks, owned
from tests.unit.storage.test_block import Recorded

RUNS = {WANTED: model.Running("/dev/md/guests", True)}
WAITS = {WANTED: model.Running("/dev/md127", False)}
SUPERBLOCK = ("linux_raid_member on vdb", "member of array xen01:guests")
# lsblk names the kind of an array by its level, which the kernel tells only of one that has been started.
HELD = ("md md127 runs on it", "vdb is held by md127", "the kernel has it in use")
HELD_BY_LEVEL = ("raid10 md127 runs on it", *HELD[1:])
MEMBERS = ("/dev/vdb", "/dev/vdc", "/dev/vdd", "/dev/vde")


def unborn(number: int, uses: tuple[str, ...] = SUPERBLOCK, work: tuple[str, ...] = (), bare: bool = True, **fields: str) -> look.Disk:
    """A disk with a superblock of the array that counts no event."""
    uses += tuple(use.removesuffix(" runs on it") for use in work if " md127 runs" in use)
    return dataclasses.replace(disk(number, uses, WANTED, work, **({"MD_EVENTS": "0"} | fields)), bare=bare)


def plan(
    found: dict[str, Any], known: Any = None, carriers: tuple[str, ...] = (), consents: tuple[str, ...] = (), **changes: Any,
) -> model.Plan:
    return md.plan("xen01", "xen01", [{**ARRAY, **changes}], disks(**found), known or {}, frozenset(consents), carriers={WANTED: carriers})


@pytest.mark.parametrize(("known", "work"), [({}, ()), (WAITS, HELD), (WAITS, HELD_BY_LEVEL)])
@pytest.mark.parametrize("numbers", [(1,), (2, 3), (1, 2, 3, 4)])
@pytest.mark.parametrize("level", [1, 5, 6, 10])
def test_a_create_that_was_cut_off_is_begun_again(known, work, numbers, level):
    found = {f"D{n}": unborn(n, work=work, MD_LEVEL=f"raid{level}") for n in numbers}
    made = plan(found, known, tuple(f"/dev/vd{'_bcde'[n]}" for n in numbers), level=level)
    assert made.errors == []
    [step] = made.steps
    assert step.first == ((("mdadm", "--stop", "/dev/md127"),) if known else ())
    assert step.commands[0][:3] == ("mdadm", "--create", "/dev/md/guests")
    assert [item.path for item in step.wipe] == list(MEMBERS)
    told = ", ".join(f"D{n}" for n in numbers)
    assert step.action.detail == f"level {level} on D1, D2, D3, D4, begun again after a run that was cut off: {told}"


@pytest.mark.parametrize(("found", "known", "carriers", "level"), [
    ({"D1": unborn(1, MD_EVENTS="1")}, {}, ("/dev/vdb",), 10),
    ({"D1": unborn(1), "D2": unborn(2, MD_EVENTS="7")}, {}, ("/dev/vdb", "/dev/vdc"), 10),
    ({"D1": unborn(1, MD_LEVEL="raid0")}, {}, ("/dev/vdb",), 0),
    ({"D1": unborn(1, MD_LEVEL="raid1")}, {}, ("/dev/vdb",), 10),
    # Data where the array's begins: somebody made it by hand over what was there, and started it read-only.
    ({"D1": unborn(1, bare=False)}, {}, ("/dev/vdb",), 10),
    ({"D1": unborn(1, (*SUPERBLOCK, "ext4 signature"))}, {}, ("/dev/vdb",), 10),
    ({"D1": unborn(1, work=("vdb is mounted at /srv",))}, {}, ("/dev/vdb",), 10),
    ({"D1": unborn(1, work=("vdb is mounted at /srv",))}, WAITS, ("/dev/vdb",), 10),
    ({"D1": unborn(1, work=HELD)}, {}, ("/dev/vdb",), 10),
    ({"D1": unborn(1, work=(*HELD, "lvm vg-a runs on it"))}, WAITS, ("/dev/vdb",), 10),
    # Another disk of the host has a superblock of the array.
    ({"D1": unborn(1)}, {}, ("/dev/vdb", "/dev/vdz"), 10),
    # udev does not know what this disk has, so it may not know of another one either.
    ({"D1": unborn(1)}, {}, (), 10),
])
@pytest.mark.parametrize("consents", [(), ("D1", "D2", "D3", "D4")])
def test_what_may_have_been_started_is_refused(found, known, carriers, level, consents):
    made = plan(found, known, carriers, consents, level=level)
    assert made.steps == []
    assert "of its 4 disks belong to it" in " ".join(made.errors)


def test_a_cut_off_create_does_not_make_other_disks_free():
    made = plan({"D1": unborn(1), "D2": disk(2, ("ext4 on vdc",))}, carriers=("/dev/vdb",))
    assert made.steps == []
    assert "/dev/vdc (serial D2) is not empty: ext4 on vdc" in " ".join(made.errors)


@pytest.mark.parametrize("events", ["1", "0"])
def test_a_whole_set_is_assembled_when_it_may_hold_something(events):
    found = {f"D{n}": unborn(n, MD_EVENTS=events, bare=False) for n in range(1, 5)}
    assert [step.action.verb for step in plan(found).steps] == ["assemble"]


def test_a_spare_of_a_create_that_was_cut_off_belongs_to_it():
    spare = {"id": "virtio-D5", "serial": "D5", "size_gib": 2}
    fifth = dataclasses.replace(unborn(1, serial="D5"), path="/dev/vdf")
    [step] = plan({"D1": unborn(1), "D5": fifth}, carriers=("/dev/vdb", "/dev/vdf"), spares=[spare]).steps
    assert [item.path for item in step.wipe] == [*MEMBERS, "/dev/vdf"]


def running(*there: str, missing: int = 0) -> dict[str, model.Live]:
    kept = tuple(model.Member(path, slot, frozenset({"in_sync"})) for slot, path in enumerate(there))
    return {WANTED: model.Live("/dev/md127", "raid10", "clean", missing, members=kept, raid_disks=4)}


@pytest.mark.parametrize(("third", "verbs"), [
    (unborn(3, bare=False), ["add"]), (unborn(3, MD_EVENTS="5"), []), (unborn(3, work=("vdd is mounted at /srv",)), []),
    (unborn(3, (*SUPERBLOCK, "ext4 signature")), []),
])
def test_a_disk_that_was_about_to_join_is_added_again(third, verbs):
    now = running("/dev/vdb", "/dev/vdc", "/dev/vde", missing=1)
    made = md.plan("xen01", "xen01", [ARRAY], disks(**{**owned(), "D3": third}), RUNS, frozenset(), now)
    assert made.errors == []
    assert [(step.action.verb, [item.path for item in step.wipe]) for step in made.steps] == [(verb, ["/dev/vdd"]) for verb in verbs]


def test_a_member_that_was_never_written_to_is_a_member():
    found = {f"D{n}": unborn(n) for n in range(1, 5)}
    made = md.plan("xen01", "xen01", [ARRAY], disks(**found), RUNS, frozenset(), running(*MEMBERS))
    assert (made.errors, made.steps, made.lacking) == ([], [], {})


@given(st.lists(st.sampled_from(["0", "1", "9"]), min_size=4, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4),
       st.lists(st.booleans(), min_size=4, max_size=4), st.sampled_from([0, 1, 5, 6, 10]))
def test_nothing_with_an_event_or_with_data_is_ever_cleared(events, bare, own, level):
    found = {f"D{n}": unborn(n, bare=bare[n - 1], MD_EVENTS=events[n - 1], MD_LEVEL=f"raid{level}") if own[n - 1] else disk(n)
             for n in range(1, 5)}
    made = plan(found, carriers=tuple(MEMBERS[n] for n in range(4) if own[n]), level=level)
    cleared = {item.path for step in made.steps for item in step.wipe}
    for n in range(4):
        if own[n] and (events[n] != "0" or not bare[n] or level == 0):
            assert MEMBERS[n] not in cleared


@pytest.mark.parametrize(("events", "behind"), [
    (("5", "5", "5", "5"), ""), (("5", "5", "4", "5"), ""), (("", "", "", ""), ""),
    (("5", "5", "3", "5"), "/dev/vdd (serial D3) counts 3 events"),
    (("9", "2", "3", "9"), "/dev/vdc (serial D2) counts 2 events, others 9; /dev/vdd (serial D3) counts 3 events, others 9: it left"),
    (("5", "5", "0", "5"), "/dev/vdd (serial D3) counts 0 events"),
])
@pytest.mark.parametrize("known", [{}, WAITS, RUNS])
def test_a_disk_that_fell_behind_keeps_the_array_from_being_assembled(events, behind, known):
    found = {f"D{n}": disk(n, SUPERBLOCK, WANTED, MD_EVENTS=count) for n, count in enumerate(events, 1)}
    made = plan(found, known, MEMBERS)
    assert ([] if known is RUNS else bool(behind)) == ([] if known is RUNS else bool(made.errors))
    assert [step.action.verb for step in made.steps] == ([] if behind or known is RUNS else ["assemble"])
    if made.errors:
        assert behind in made.errors[0]
        assert "playbooks/replace_disk.yml" in made.errors[0]


def test_a_disk_that_is_not_named_is_assembled_with_the_others_and_told():
    made = plan(owned(), carriers=(*MEMBERS, "/dev/vdf"))
    assert made.steps[0].commands[0][-5:] == (*MEMBERS, "/dev/vdf")
    [note] = made.notes
    assert note == ("array 'guests': /dev/vdf carries its superblock, and the inventory does not name it; mdadm takes it if it is up"
                    " to date")
    assert plan(owned(), carriers=MEMBERS).notes == []


@pytest.mark.parametrize(("data", "superblock", "bare"), [
    ({4096: "superblock"}, {"MD_UUID": "x", "MD_EVENTS": "0", "MD_LEVEL": "raid1"}, True),
    ({4096: "superblock", 2 * MIB: "x"}, {"MD_UUID": "x", "MD_EVENTS": "0", "MD_LEVEL": "raid1"}, False),
    ({4096: "superblock", 5 * MIB - 1: "x"}, {"MD_UUID": "x", "MD_EVENTS": "0", "MD_LEVEL": "raid1"}, False),
    ({4096: "superblock"}, {"MD_UUID": "x", "MD_EVENTS": "3", "MD_LEVEL": "raid1"}, False),
    ({4096: "superblock"}, {"MD_UUID": "x", "MD_EVENTS": "0", "MD_LEVEL": "raid0"}, False),
    ({}, {}, False),
])
def test_where_an_array_begins_its_data_there_are_zeros(data, superblock, bare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Host(tmp_path, {"tools": ["mdadm"], "disks": {"vdb": {"size_mib": 8, "data": data}}}, monkeypatch)
    monkeypatch.setattr(look, "ARRAY_FRONT", 5 * MIB)
    module = Recorded(look_commands({"vdb": {"size_mib": 8, "md": superblock}}, True))
    assert look.look(Runner(module), ["/dev/vdb"])["/dev/vdb"].bare is bare


def test_a_partition_is_looked_at_with_its_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Host(tmp_path, {"tools": [], "disks": {"vdb": {"size_mib": 8}, "vdb1": {"size_mib": 4}}}, monkeypatch)
    shown = {"serial": "S1", "size_mib": 8, "blkid": {"PTTYPE": "gpt"}, "wipefs": ["PMBR", "gpt"], "part": {},
             "lsblk": {"pttype": "gpt", "log-sec": 4096, "children": [
                 {"kname": "vdb1", "name": "vdb1", "type": "part", "size": 4 * MIB, "pttype": "gpt", "partuuid": "A-B"}]}}
    found = look.look(Runner(Recorded(look_commands({"vdb": shown}, False))), ["/dev/vdb"])["/dev/vdb"]
    assert (found.sector_bytes, found.uses) == (4096, ("partition table gpt", "part vdb1", "PMBR signature"))
    assert found.part == look.Disk("/dev/vdb1", "S1", 4 * MIB, (), (), {}, part_uuid="a-b")


@pytest.mark.parametrize(("files", "wanted"), [
    ({}, {}),
    ({"raid_disks": "5 (4)", "reshape_position": "4096", "sync_action": "reshape", "sync_completed": "1 / 4"},
     {"raid_disks": 5, "reshaping": True, "sync": {"action": "reshape", "percent": 25.0}}),
    ({"raid_disks": "4", "reshape_position": "none", "sync_action": "idle"}, {"raid_disks": 4}),
    ({"raid_disks": "5 (4)", "reshape_position": "4096", "sync_action": "idle"}, {"raid_disks": 5, "reshaping": True}),
    ({"sync_action": "frozen", "component_size": "1024"}, {"frozen": True, "component_bytes": MIB, "least_bytes": 2 * MIB}),
])
def test_what_the_kernel_tells_of_growing(files, wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sysfs = {"sync_action": "idle", "level": "raid5", **files}
    host = Host(tmp_path, {"arrays": {"guests": "md127"}, "md_members": {"vdb": ["0", "in_sync"]}, "sysfs": sysfs}, monkeypatch)
    host.write("/sys/class/block/vdb/size", f"{3 * GIB // 512}\n")
    now = md_host.read_live("/dev/md/guests")
    assert now
    plain = {"raid_disks": 0, "reshaping": False, "frozen": False, "component_bytes": 0, "sync": None}
    assert {key: getattr(now, key) for key in plain | wanted} == plain | wanted
    assert now.members[0].room_bytes == 3 * GIB - MIB


@pytest.mark.parametrize("serial", ["D1", "D2"])
def test_each_disk_of_an_array_has_a_partition_of_its_own(serial):
    assert members.part_uuid(WANTED, serial) == members.part_uuid(WANTED, serial) != members.part_uuid("0:0:0:0", serial)
    assert len({members.part_uuid(WANTED, f"D{n}") for n in range(9)}) == 9


@given(
    sizes=st.lists(st.integers(GIB, 2 * GIB).map(lambda size: size // 512 * 512), min_size=2, max_size=4),
    chunk_kib=st.sampled_from([0, 4, 64, 512, 1024, 4096]), start_mib=st.integers(1, 130),
)
def test_the_end_of_a_new_array_is_zeroed_on_each_member_before_it_is_made(sizes: list[int], chunk_kib: int, start_mib: int) -> None:
    members = [dataclasses.replace(disk(number), size_bytes=size) for number, size in enumerate(sizes)]
    ends = md_host._ends(members, chunk_kib * 1024)
    for size in sizes:
        # In whole chunks from where the data begins; level 1 has units of 64 KiB (Create.c).
        unit = chunk_kib * 1024 or 65536
        end = start_mib * MIB + (size - start_mib * MIB) // unit * unit
        zeroed = [(max(0, at - MIB), at) for at in ends if at <= size]
        at = end - MIB
        while at < end:
            begun = [stop for start, stop in zeroed if start <= at < stop]
            assert begun, (end, at)
            at = max(begun)


@pytest.mark.parametrize(("level", "chunk_kib", "expected"), [(1, None, 0), (5, None, 512), (10, 4096, 4096), (0, 64, 64)])
def test_a_new_array_tells_its_chunk(level: int, chunk_kib: int | None, expected: int) -> None:
    [step] = plan({}, level=level, **({"chunk_kib": chunk_kib} if chunk_kib else {})).steps
    assert step.chunk_bytes == expected * 1024
