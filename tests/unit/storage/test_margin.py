# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Arrays on partitions with a margin: which partition, which device of a disk an array has, and that nothing is moved between both."""
from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils import storage_spec
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import parse, partition
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import members, model, replace
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.storage.samples import ARRAY, GIB, WANTED, disk, disks, owned

MIB = 2**20
MARGIN = {**ARRAY, "margin_mib": 100}
RUNS = {WANTED: model.Running("/dev/md/guests", True)}
PARTS = tuple(f"/dev/vd{letter}1" for letter in "bcde")


def plan(
    found: dict[str, Disk | None], known: Any = None, consents: tuple[str, ...] = (), live: Any = None, carriers: tuple[str, ...] = (),
    **changes: Any,
) -> model.Plan:
    return md.plan("xen01", "xen01", [{**MARGIN, **changes}], found, known or {}, frozenset(consents), live, carriers={WANTED: carriers})


def parted(
    number: int, serial: str = "", table: str | None = None, uses: tuple[str, ...] = (), work: tuple[str, ...] = (), **md: str,
) -> Disk:
    """A disk with one partition. table: the partition's UUID, by default the one that a run gives it; md: fields of its superblock."""
    whole, serial = disk(number, ("partition table gpt", "part vdx1"), work=work), serial or f"D{number}"
    own = members.part_uuid(WANTED, serial) if table is None else table
    part = Disk(f"{whole.path}1", "", GIB, uses + work, work, md, part_uuid=own)
    return dataclasses.replace(whole, serial=serial, part=part)


def in_array(number: int, **fields: str) -> Disk:
    superblock = {"MD_UUID": WANTED, "MD_LEVEL": "raid10", "MD_DEVICES": "4"} | fields
    return parted(number, uses=("linux_raid_member on vdx1", "member of array"), **superblock)


def unborn(number: int, work: tuple[str, ...] = (), bare: bool = True, **fields: str) -> Disk:
    """A disk whose partition has a superblock of the array that counts no event. work: what holds it, while the array waits."""
    superblock = {"MD_UUID": WANTED, "MD_LEVEL": "raid10", "MD_DEVICES": "4", "MD_EVENTS": "0"} | fields
    uses = ("linux_raid_member on vdx1", *(("md md127",) if work else ()), "member of array xen01:guests")
    whole = parted(number, uses=uses, work=work, **superblock)
    assert whole.part
    return dataclasses.replace(whole, part=dataclasses.replace(whole.part, bare=bare))


WAITS = {WANTED: model.Running("/dev/md127", False)}
HELD = ("md md127 runs on it", "vdx1 is held by md127", "the kernel has it in use")
ALL = {f"D{number}": in_array(number) for number in range(1, 5)}


@pytest.mark.parametrize(("path", "part"), [
    ("/dev/sda", "/dev/sda1"), ("/dev/nvme0n1", "/dev/nvme0n1p1"), ("/dev/cciss/c0d1", "/dev/cciss/c0d1p1"),
])
def test_names_of_partitions(path, part):
    assert partition.path_of(path) == part


@given(st.integers(2 * MIB, 2**44), st.sampled_from([512, 4096]), st.integers(1, 2**20), st.integers(0, 2**43))
def test_a_partition_is_aligned_and_lies_on_the_disk(size, sector, margin, least):
    cut = partition.plan("/dev/vdb", size, sector, margin, least, "u", ("guests", "D1"))
    assert cut.start_bytes == MIB
    assert cut.size_bytes % MIB == 0
    # A GPT's second copy has its place behind it.
    assert cut.start_bytes + cut.size_bytes <= size - MIB or cut.size_bytes == 0
    if cut.size_bytes * 1.0 > least:
        assert cut.size_bytes <= max(least + MIB, size - MIB - margin * MIB)
    if least and least <= size - 3 * MIB:
        assert cut.size_bytes >= least


@pytest.mark.parametrize(("disk_mib", "least_mib", "size_mib"), [
    (2048, 0, 1947),
    # A replacement that is smaller than the margin allows has the array's size still, up to the room of the table.
    (2000, 1947, 1947), (1949, 1947, 1947), (1948, 1947, 1946),
    # A larger one keeps its margin.
    (4096, 1947, 3995),
])
def test_a_replacement_may_be_smaller_by_the_margin(disk_mib, least_mib, size_mib):
    assert partition.plan("/dev/vdb", disk_mib * MIB, 512, 100, least_mib * MIB, "u", ("a", "b")).size_bytes == size_mib * MIB


@pytest.mark.parametrize(("sector", "numbers"), [(512, "start=2048, size=3987456"), (4096, "start=256, size=498432")])
def test_what_sfdisk_reads(sector, numbers):
    cut = partition.plan("/dev/vdb", 2 * GIB, sector, 100, 0, "0-1", ("guests", 'a "b'))
    assert partition.script(cut) == f'label: gpt\n{numbers}, type={partition.LINUX_RAID}, uuid=0-1, name="guests-a__b"\n'
    assert partition.command(cut)[-1] == "/dev/vdb"


def test_a_long_name_is_cut():
    assert len(partition.plan("/dev/vdb", 2 * GIB, 512, 100, 0, "u", ("a" * 32, "S" * 20)).name) == 36


@pytest.mark.parametrize("margin", [1, 100, 2**20, None])
def test_good_margins(margin):
    assert storage_spec.check_storage([{**ARRAY, "margin_mib": margin}], []) == []


@pytest.mark.parametrize("margin", [0, -1, 2**20 + 1])
def test_bad_margins_are_named(margin):
    assert storage_spec.check_storage([{**ARRAY, "margin_mib": margin}], []) == [
        f"array 'guests': margin_mib: value {margin}, allowed 1 to 1048576, or none for whole disks"]


def test_a_new_array_is_made_of_partitions():
    made = plan(disks())
    assert made.errors == []
    [step] = made.steps
    assert step.action.line() == "create array /dev/md/guests: level 10 on D1, D2, D3, D4, on partitions with a margin of 100 MiB"
    assert step.commands[0][-5:] == ("--run", *PARTS)
    cuts = [item.cut for item in step.wipe if item.cut]
    assert [(cut.disk, cut.size_bytes // MIB) for cut in cuts] == [(f"/dev/vd{letter}", 1947) for letter in "bcde"]
    assert len({cut.uuid for cut in cuts}) == len({cut.name for cut in cuts}) == 4


def test_a_run_that_was_cut_off_between_the_partitions_and_the_array_is_finished():
    made = plan(disks(D1=parted(1), D2=parted(2)))
    assert made.errors == []
    [step] = made.steps
    assert step.commands[0][-4:] == PARTS
    assert [(item.path, bool(item.cut)) for item in step.wipe] == list(zip(PARTS, (False, False, True, True), strict=True))


@pytest.mark.parametrize(("found", "text"), [
    # Another run's, another disk's, and one with something in it.
    (parted(1, table="0-0"), "/dev/vdb (serial D1) is not empty: partition table gpt"),
    (parted(1, table=members.part_uuid(WANTED, "D2")), "/dev/vdb (serial D1) is not empty"),
    (parted(1, table=""), "/dev/vdb (serial D1) is not empty"),
    (parted(1, uses=("ext4 on vdx1",)), "/dev/vdb (serial D1) is not empty"),
    (parted(1, uses=("data in its first or last MiB",)), "/dev/vdb (serial D1) is not empty"),
    (parted(1, work=("vdb is the disk of a running guest",)), "/dev/vdb (serial D1) is in use and is never wiped"),
    (disk(1, size=110 * MIB), "disk virtio-D1 (serial D1) has 0.11 GiB; the inventory says 2"),
])
def test_a_partition_of_somebody_else_is_refused(found, text):
    made = plan(disks(D1=found))
    assert made.steps == []
    assert text in " ".join(made.errors)


def test_what_keeps_an_own_partition_from_being_taken_is_told():
    """As bitmap and data do whose superblock was cleared: the disk itself shows none of it."""
    made = plan(disks(D1=parted(1, uses=("data in its first or last MiB",))))
    assert "partition table gpt; part vdx1; vdb1: data in its first or last MiB. It is not touched" in made.errors[0]
    # What lsblk shows of the disk is not told twice.
    twice = dataclasses.replace(parted(1, uses=("ext4 on vdx1",)), uses=("partition table gpt", "part vdx1", "ext4 on vdx1"))
    assert "partition table gpt; part vdx1; ext4 on vdx1. It is not touched" in plan(disks(D1=twice)).errors[0]


@pytest.mark.parametrize(("known", "work"), [({}, ()), (WAITS, HELD)])
@pytest.mark.parametrize("numbers", [(1,), (2, 3), (1, 2, 3, 4)])
def test_a_create_over_partitions_that_was_cut_off_is_begun_again(known, work, numbers):
    found = {f"D{n}": unborn(n, work) if n in numbers else parted(n) for n in range(1, 5)}
    made = plan(disks(**found), known, carriers=tuple(PARTS[n - 1] for n in numbers))
    assert made.errors == []
    [step] = made.steps
    assert step.first == ((("mdadm", "--stop", "/dev/md127"),) if known else ())
    assert step.commands[0][-5:] == ("--run", *PARTS)
    # The partitions stay; what is on them is zeroed.
    assert [(item.path, item.cut) for item in step.wipe] == [(path, None) for path in PARTS]
    told = ", ".join(f"D{n}" for n in numbers)
    assert f"begun again after a run that was cut off: {told}, on partitions with a margin of 100 MiB" in step.action.detail


@pytest.mark.parametrize(("changes", "carriers", "text"), [
    ({"D1": unborn(1, MD_EVENTS="1")}, PARTS[:1], "1 of its 4 disks belong to it"),
    ({"D1": unborn(1, bare=False)}, PARTS[:1], "1 of its 4 disks belong to it"),
    ({"D1": unborn(1)}, (PARTS[0], "/dev/vdz1"), "1 of its 4 disks belong to it"),
    ({"D1": unborn(1, ("vdx1 is mounted at /srv",))}, PARTS[:1], "1 of its 4 disks belong to it"),
    # Another partition is no empty one of ours.
    ({"D1": unborn(1), "D2": parted(2, uses=("data in its first or last MiB",))}, PARTS[:1], "/dev/vdc (serial D2) is not empty"),
    ({"D1": unborn(1), "D2": parted(2, table="0-0")}, PARTS[:1], "/dev/vdc (serial D2) is not empty"),
    ({"D1": unborn(1), "D2": parted(2, uses=("ext4 on vdx1",))}, PARTS[:1], "/dev/vdc (serial D2) is not empty"),
])
def test_an_array_on_partitions_that_may_hold_something_is_not_begun_again(changes, carriers, text):
    found = {f"D{n}": parted(n) for n in range(1, 5)} | changes
    made = plan(disks(**found), carriers=carriers)
    assert made.steps == []
    assert text in " ".join(made.errors)


def test_a_disk_that_the_margin_leaves_nothing_of_is_refused():
    array = {"margin_mib": 2040}
    assert "disk /dev/vdb (serial D1) has 2048 MiB; margin_mib: value 2040 leaves nothing of it" in " ".join(plan(disks(), **array).errors)


def test_a_partition_with_data_is_replaced_by_consent():
    made = plan(disks(D1=parted(1, uses=("ext4 on vdx1",))), consents=("D1",))
    assert made.errors == []
    assert made.steps[0].wipe[0].cut.disk == "/dev/vdb"
    assert made.steps[0].action.line().count("wiping D1 by consent") == 1


def test_an_array_on_partitions_is_assembled_and_left_alone():
    assert plan(disks(**ALL)).steps[0].commands == (("mdadm", "--assemble", "/dev/md/guests", f"--uuid={WANTED}", *PARTS),)
    there = tuple(model.Member(path, slot, frozenset({"in_sync"})) for slot, path in enumerate(PARTS))
    now = model.Live("/dev/md127", "raid10", "clean", members=there)
    made = plan(disks(**ALL), RUNS, live={WANTED: now})
    assert (made.errors, made.steps, made.notes, made.lacking) == ([], [], [], {})


@pytest.mark.parametrize("known", [{}, RUNS])
@pytest.mark.parametrize(("found", "margin", "text"), [
    (owned(), 100, "it exists on whole disks; margin_mib: value 100, allowed none: an array is never moved onto partitions"),
    (ALL, None, "it exists on partitions; margin_mib: missing, allowed what it was made with: an array is never moved onto whole disks"),
])
def test_an_array_is_never_moved_between_disks_and_partitions(known, found, margin, text):
    made = plan(disks(**found), known, margin_mib=margin)
    assert (made.steps, made.errors) == ([], [f"array 'guests': {text}"])


def test_an_array_that_is_partly_on_whole_disks_stays_as_it_is_and_is_told():
    made = plan(disks(**{**ALL, "D2": owned()["D2"]}), RUNS)
    assert (made.errors, made.steps) == ([], [])
    [note] = made.notes
    assert note.startswith("array 'guests': it exists on whole disks; margin_mib: value 100, allowed none:")
    assert note.endswith("so are only some of its disks, and it stays as it is")


def test_an_own_empty_partition_is_added_to_an_array_that_was_started_without_it():
    """So systemd starts an array half a minute after a create that was cut off, when enough of it is there."""
    there = tuple(model.Member(path, slot, frozenset({"in_sync"})) for slot, path in enumerate(PARTS[:3]))
    now = model.Live("/dev/md127", "raid10", "clean", 1, members=there, least_bytes=GIB - MIB)
    made = plan(disks(**{**ALL, "D4": parted(4)}), RUNS, live={WANTED: now})
    assert made.errors == []
    [step] = made.steps
    assert (step.commands, step.wipe) == ((("mdadm", "--manage", "/dev/md/guests", "--add", PARTS[3]),), ())


def test_an_empty_disk_comes_back_as_a_partition_of_the_needed_size():
    now = model.Live("/dev/md127", "raid10", "clean", 1, least_bytes=1990 * MIB)
    made = plan(disks(**{**ALL, "D3": disk(3)}), RUNS, live={WANTED: now})
    [step] = made.steps
    assert step.commands == (("mdadm", "--manage", "/dev/md/guests", "--add", "/dev/vdd1"),)
    assert step.wipe[0].cut.size_bytes == 1990 * MIB
    assert "/dev/vdd, with the serial D3, is there and holds nothing; it is added" in made.lacking["guests"]


def test_a_spare_is_partitioned_too():
    spare = {"id": "virtio-D5", "serial": "D5", "size_gib": 2}
    fifth = Disk("/dev/vdf", "D5", 2 * GIB, (), (), {})
    assert plan(disks(D5=fifth), spares=[spare]).steps[0].commands[0][-1] == "/dev/vdf1"
    [step] = plan(disks(**ALL, D5=fifth), RUNS, spares=[spare]).steps
    assert (step.commands[0][-1], step.wipe[0].cut.disk) == ("/dev/vdf1", "/dev/vdf")


@pytest.mark.parametrize(("size_mib", "error"), [(2048, ""), (1960, ""), (1949, ""), (1940, "has room for 1.89 GiB; /dev/md/guests needs")])
def test_a_replacement_is_partitioned_like_the_others(size_mib, error):
    now = model.Live("/dev/md127", "raid10", "clean", 1, least_bytes=1947 * MIB,
                     members=tuple(model.Member(path, n, frozenset({"in_sync"})) for n, path in enumerate(PARTS) if n != 1))
    serials = {path: f"D{n}" for n, path in enumerate(PARTS, 1)}
    new = members.device_of(MARGIN, WANTED, Disk("/dev/vdf", "D9", size_mib * MIB, (), (), {}), now.least_bytes)
    made = replace.plan(MARGIN, now, serials, "D2", "D9", new, frozenset())
    assert error in " ".join(made.errors)
    assert [step.commands for step in made.steps] == ([] if error else [(("mdadm", "--manage", "/dev/md/guests", "--add", "/dev/vdf1"),)])
    assert all(step.wipe[0].cut.size_bytes == 1947 * MIB for step in made.steps)


def test_partitions_have_the_serial_of_their_disk():
    listing = parse.devices('{"blockdevices": [{"kname": "vdb", "name": "vdb", "type": "disk", "serial": "D1", "children":'
                            ' [{"kname": "vdb1", "name": "vdb1", "type": "part", "serial": null, "children":'
                            ' [{"kname": "md127", "name": "md127", "type": "raid1", "serial": null}]}]}]}')
    assert {path: entry.get("serial") for path, entry in listing.items()} == {"/dev/vdb": "D1", "/dev/vdb1": "D1", "/dev/md127": None}


def test_carriers_are_disks_and_partitions_and_no_volumes_of_guests():
    superblock = {"fstype": "linux_raid_member", "uuid": "758596a3-ce95-5891-9306-cea6a43b1171"}
    listing = {"/dev/vdb": {"type": "disk", **superblock}, "/dev/vdc1": {"type": "part", **superblock},
               "/dev/dm-3": {"type": "lvm", **superblock},
               "/dev/vdd": {"type": "disk", "fstype": "ext4", "uuid": superblock["uuid"]}, "/dev/vde": {"type": "disk"}}
    assert parse.carriers(listing) == {WANTED: ["/dev/vdb", "/dev/vdc1"]}


def test_what_lies_on_a_volume_is_no_carrier():
    """DRBD's devices, and partitions of a guest's disk that are mapped, are disks and partitions to lsblk."""
    superblock = {"fstype": "linux_raid_member", "uuid": "758596a3-ce95-5891-9306-cea6a43b1171", "children": []}
    part = {"kname": "drbd0p1", "type": "part", **superblock}
    drbd = {"kname": "drbd0", "type": "disk", **superblock, "children": [part]}
    mapped = {"kname": "dm-4", "type": "part", **superblock}
    volume = {"kname": "dm-3", "type": "lvm", "children": [drbd, mapped]}
    own = {"kname": "vdb1", "type": "part", **superblock, "children": [volume]}
    whole = {"kname": "vdb", "type": "disk", "children": [own]}
    listing = {f"/dev/{entry['kname']}": entry for entry in (part, drbd, mapped, volume, own, whole)}
    assert parse.carriers(listing) == {WANTED: ["/dev/vdb1"]}
