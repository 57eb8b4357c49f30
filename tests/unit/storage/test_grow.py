# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Growing arrays by consent, what is refused of it, and the volume group that gets the room."""
from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils import storage_spec
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import model
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.storage.samples import ARRAY, GIB, WANTED, disks, owned

RUNS = {WANTED: model.Running("/dev/md/guests", True)}
DEVICE = "/dev/md/guests"
FIVE = {**ARRAY, "members": [*ARRAY["members"], {"id": "virtio-D5", "serial": "D5", "size_gib": 2}]}
FRESH = Disk("/dev/vdf", "D5", 2 * GIB, (), (), {})
ADD = ("mdadm", "--manage", DEVICE, "--add", "/dev/vdf")
GROW = ("mdadm", "--grow", DEVICE, "--raid-devices=5")
GO = ("mdadm", "--readwrite", DEVICE)
MAX = ("mdadm", "--grow", DEVICE, "--size=max")
RESYNC = {"action": "resync", "percent": 12.5}
WORDS = "storage_grow: [{array: guests, confirm: guests}]"
IN_SYNC = frozenset({"in_sync"})
MEMBERS = tuple(model.Member(f"/dev/vd{letter}", slot, IN_SYNC) for slot, letter in enumerate("bcde"))
SPARE = model.Member("/dev/vdf", None, frozenset({"spare"}))
LIVE = model.Live("/dev/md127", "raid10", "clean", policy="bitmap", least_bytes=GIB, members=MEMBERS, raid_disks=4)


def plan(
    array: dict[str, Any], now: model.Live, grow: bool = True, consents: tuple[str, ...] = (), known: Any = None, **found: Any,
) -> model.Plan:
    there = disks(**{**owned(MD_LEVEL=now.level, MD_DEVICES=str(now.raid_disks)), "D5": FRESH, **found})
    may = frozenset({"guests"} if grow else ())
    return md.plan("xen01", "xen01", [array], there, known or RUNS, frozenset(consents), {WANTED: now}, may)


def commands(made: model.Plan) -> list[tuple[str, ...]]:
    return [command for step in made.steps for command in step.commands]


def live(**changes: Any) -> model.Live:
    return dataclasses.replace(LIVE, **changes)


@pytest.mark.parametrize("level", [1, 5, 6, 10])
def test_an_array_gets_the_member_that_is_named(level):
    made = plan({**FIVE, "level": level}, live(level=f"raid{level}"))
    assert (made.errors, made.notes, made.lacking) == ([], [], {})
    assert commands(made) == [ADD, GROW]
    assert [step.action.line() for step in made.steps] == [
        f"add disk D5 to array {DEVICE}: as /dev/vdf", f"grow array {DEVICE}: from 4 to 5 members, in the background"]


@pytest.mark.parametrize(("now", "array", "found", "wanted"), [
    # A run that was cut off after it added the disk.
    (live(members=(*MEMBERS, SPARE)), FIVE, {}, [GROW]),
    (live(state="read-auto"), FIVE, {}, [GO, ADD, GROW]),
    (live(state="read-auto", members=(*MEMBERS, SPARE)), FIVE, {}, [GO, GROW]),
    (live(level="raid5", policy="ppl"), {**FIVE, "level": 5, "consistency_policy": "ppl"}, {},
     [ADD, ("mdadm", "--grow", DEVICE, "--consistency-policy=resync"), GROW]),
    # A consent for what is done already.
    (live(raid_disks=5, members=(*MEMBERS, model.Member("/dev/vdf", 4, IN_SYNC))), FIVE,
     {"D5": dataclasses.replace(FRESH, uses=("m",), md={"MD_UUID": WANTED})}, []),
])
def test_from_any_state_that_a_run_left(now, array, found, wanted):
    made = plan(array, now, **found)
    assert (made.errors, commands(made)) == ([], wanted)


def test_an_array_with_another_name_gets_its_name_first():
    made = plan(FIVE, LIVE, known={WANTED: model.Running("/dev/md127", True)})
    assert commands(made) == [("mdadm", "--incremental", "--rebuild-map"), ADD, GROW]


@pytest.mark.parametrize(("array", "now", "grow", "found", "text"), [
    (FIVE, LIVE, False, {}, f"it exists with 4 members; the inventory says 5. It is grown by consent: {WORDS}"),
    ({**FIVE, "level": 0, "bitmap": None}, live(level="raid0"), True, {}, "an array of level 0 is not grown"),
    (FIVE, live(missing=1), True, {}, "it is not grown: it lacks 1 of its members"),
    (FIVE, live(members=(*MEMBERS[:3], model.Member("/dev/vde", 3, frozenset({"faulty"})))), True, {}, "/dev/vde has failed or is gone"),
    (FIVE, live(members=(*MEMBERS[:3], model.Member("/dev/vde", 3, IN_SYNC, False))), True, {}, "2 of those are not in it"),
    (FIVE, live(state="readonly"), True, {}, "it is not grown: it is readonly"),
    (FIVE, live(frozen=True), True, {}, "its synchronisation is frozen"),
    (FIVE, LIVE, True, {"D5": None}, "disk virtio-D5 (serial D5) is not there"),
    (FIVE, LIVE, True, {"D5": dataclasses.replace(FRESH, serial="X")}, "has the serial X; the inventory says D5"),
    (FIVE, LIVE, True, {"D5": dataclasses.replace(FRESH, uses=("ext4 on vdf",))}, "/dev/vdf (serial D5) is not empty: ext4 on vdf"),
    (FIVE, LIVE, True, {"D5": dataclasses.replace(FRESH, uses=("x",), work=("x",))}, "is in use and is never wiped"),
    (FIVE, live(least_bytes=3 * GIB), True, {}, "the new disk /dev/vdf (serial D5) has room for 2.00 GiB; /dev/md/guests needs 3.00 GiB"),
    ({**FIVE, "level": 6}, live(level="raid5"), True, {}, "the inventory says 6, and a level is not changed: mdadm would write every"),
    (FIVE, live(level="raid1"), True, {}, "it exists with level 1; the inventory says 10, and a level is not changed"),
])
def test_what_is_not_grown_is_named(array, now, grow, found, text):
    made = plan(array, now, grow, **found)
    assert text in " ".join(made.errors), made.errors
    assert made.steps == []


@pytest.mark.parametrize(("array", "now"), [
    (FIVE, LIVE), (ARRAY, live(policy="resync")), (ARRAY, live(missing=1)), (FIVE, live(reshaping=True, raid_disks=5)),
])
def test_no_command_names_a_device_that_is_another_array(array, now):
    other = "0:0:0:1"
    known = {WANTED: model.Running("/dev/md127", True), other: model.Running(DEVICE, True)}
    made = plan(array, now, known=known)
    assert made.steps == []
    [error] = made.errors
    assert error.startswith(f"array 'guests': {DEVICE} is another array, with the UUID {other}; stop that one")


def test_a_replacement_is_not_hidden_in_a_growth():
    now = live(members=(*MEMBERS[:3], model.Member("/dev/vdz", 3, IN_SYNC), SPARE))
    made = plan(FIVE, now, D4=Disk("/dev/vde", "D4", 2 * GIB, (), (), {}))
    assert made.steps == []
    [error] = made.errors
    assert error.endswith("it exists with 4 members; the inventory says 5, and /dev/vdz, which it has, is none of those. Replace first,"
                          " then grow")


def test_a_disk_with_data_joins_by_its_own_consent():
    full = dataclasses.replace(FRESH, uses=("ext4 on vdf",))
    made = plan(FIVE, LIVE, consents=("D5",), D5=full)
    assert [step.wipe for step in made.steps] == [(full,), ()]


def test_nothing_is_grown_while_it_is_synchronised():
    made = plan(FIVE, live(sync=RESYNC))
    assert (made.errors, made.steps) == ([], [])
    assert made.notes == ["array 'guests': /dev/md/guests is grown from 4 to 5 members in a later run, once its resync (12.5 %) is over"]


@pytest.mark.parametrize(("now", "how"), [
    (live(reshaping=True, raid_disks=5, sync={"action": "reshape", "percent": 3.0}, policy="resync"), "(3.0 %)"),
    (live(reshaping=True, raid_disks=5, state="read-auto", policy="resync"), "(it waits for the first write)"),
    (live(reshaping=True, raid_disks=5, missing=1, policy="resync"), "(it waits)"),
])
@pytest.mark.parametrize("array", [FIVE, {**FIVE, "resync_min_kibps": 5}, ARRAY])
def test_nothing_is_done_to_an_array_that_is_reshaped(now, how, array):
    made = plan(array, now)
    assert (made.errors, made.steps) == ([], [])
    [note] = made.notes
    assert note == (f"array 'guests': /dev/md/guests is being reshaped to 5 members {how}: nothing else is done to it until that is"
                    " over. The kernel goes on by itself, also after a reboot")


def test_an_array_is_never_shrunk():
    three = {**ARRAY, "level": 5, "members": ARRAY["members"][:3]}
    made = plan(three, live(level="raid5"), D5=None)
    assert made.errors == ["array 'guests': it exists with 4 members; the inventory says 3, and an array is never shrunk"]


def roomy(extra: int, **changes: Any) -> model.Live:
    """The array, each of whose disks has so many bytes more than it uses; the last one more."""
    rooms = [GIB + extra] * 3 + [3 * GIB]
    members = tuple(dataclasses.replace(item, room_bytes=room) for item, room in zip(MEMBERS, rooms, strict=True))
    return live(component_bytes=GIB, members=members, **changes)


@pytest.mark.parametrize(("now", "wanted"), [
    (roomy(GIB), [("mdadm", "--grow", DEVICE, "--bitmap=none"), MAX]),
    (roomy(GIB, policy="resync"), [MAX]),
    (roomy(GIB, policy="resync", state="read-auto"), [GO, MAX]),
    (roomy(63 * 2**20), []), (roomy(0), []), (LIVE, []),
    # Disks that failed are replaced first.
    (roomy(GIB, missing=1), []),
])
def test_an_array_uses_all_of_its_disks_by_consent(now, wanted):
    made = plan(ARRAY, now)
    assert made.errors == []
    put_back = [("mdadm", "--grow", DEVICE, "--bitmap=internal")]
    assert commands(made) == (wanted or (put_back if now.policy == "resync" else []))


@pytest.mark.parametrize(("room", "chunk", "grown"), [
    (2 * GIB, 512, True), (GIB, 512, False), (2 * GIB, 524288, True), (2 * GIB, 1048576, False),
])
def test_spares_and_chunks_bound_what_can_be_used(room, chunk, grown):
    now = roomy(GIB, policy="resync")
    now = dataclasses.replace(now, members=(*now.members, dataclasses.replace(SPARE, room_bytes=room)))
    made = plan({**ARRAY, "chunk_kib": chunk, "bitmap": "none"}, now)
    assert (MAX in commands(made)) is grown


def test_ppl_goes_before_the_size_is_changed():
    made = plan({**ARRAY, "level": 5, "consistency_policy": "ppl"}, roomy(GIB, level="raid5", policy="ppl"))
    assert commands(made) == [("mdadm", "--grow", DEVICE, "--consistency-policy=resync"), MAX]


def test_room_that_is_not_used_is_told_without_consent():
    made = plan(ARRAY, roomy(GIB), grow=False)
    assert made.steps == []
    [note] = made.notes
    assert note == ("array 'guests': /dev/md/guests leaves 1.00 GiB of each disk unused, as all of them are larger than it needs."
                    f" It is grown by consent: {WORDS}")


@pytest.mark.parametrize(("grow", "notes"), [(True, 1), (False, 0)])
def test_a_growth_that_cannot_be_is_told_to_who_consented(grow, notes):
    now = roomy(GIB)
    lost = dataclasses.replace(SPARE, attached=False, room_bytes=3 * GIB)
    made = plan(ARRAY, dataclasses.replace(now, members=(*now.members, lost)), grow)
    assert made.steps == []
    assert made.notes == [f"array 'guests': {DEVICE} is not grown: /dev/vdf has failed or is gone"] * notes


@pytest.mark.parametrize(("now", "wait"), [
    (live(policy="resync", frozen=True), "once its synchronisation is no longer frozen"),
    (live(policy="resync", sync=RESYNC), "once its resync (12.5 %) is over"),
])
def test_a_bitmap_waits_until_the_kernel_takes_it(now, wait):
    made = plan(ARRAY, now)
    assert made.steps == []
    assert made.notes[-1] == f"array 'guests': {DEVICE} gets an internal bitmap in a later run, {wait}: mdadm cannot do that meanwhile"


def test_a_spare_that_is_too_small_is_refused_before_it_is_wiped():
    spare = {"id": "virtio-D5", "serial": "D5", "size_gib": 2}
    made = plan({**ARRAY, "spares": [spare]}, live(least_bytes=3 * GIB), D5=dataclasses.replace(FRESH, uses=("x",)), consents=("D5",))
    assert made.errors == [f"array 'guests': spare /dev/vdf (serial D5) has room for 2.00 GiB; {DEVICE} needs 3.00 GiB or more"]


def test_the_size_waits_until_nothing_is_synchronised():
    made = plan(ARRAY, roomy(GIB, sync=RESYNC, policy="resync"))
    assert made.steps == []
    assert made.notes == ["array 'guests': /dev/md/guests gets 1.00 GiB of each disk in a later run, once its resync (12.5 %) is over"]


@given(st.booleans(), st.sampled_from([None, RESYNC]), st.integers(0, 1), st.booleans(), st.booleans(), st.integers(3, 5))
def test_nothing_is_ever_grown_without_consent_degraded_or_busy(grow, sync, missing, frozen, reshaping, count):
    members = FIVE["members"][:count]
    level = {"level": 5} if count == 3 else {}
    now = roomy(GIB, sync=sync, missing=missing, frozen=frozen, reshaping=reshaping, level="raid5" if count == 3 else "raid10")
    made = plan({**FIVE, **level, "members": members}, now, grow)
    grown = [command for command in commands(made) if command[-1].startswith(("--raid-devices", "--size"))]
    assert bool(grown) == (grow and not sync and not missing and not frozen and not reshaping and count >= 4)
    assert not [command for command in grown if command[-1] in ("--raid-devices=3", "--raid-devices=4")]


@pytest.mark.parametrize(("grow", "errors"), [
    ([], []), ([("guests", "guests")], []),
    ([("guests", "guest")], ["grow: array guests: confirm: value 'guest', allowed the same name again"]),
    ([("other", "other")], ["grow: array: value 'other', allowed names of arrays: guests"]),
])
def test_consents(grow, errors):
    given = [{"array": name, "confirm": confirm} for name, confirm in grow]
    assert storage_spec.check_grow(given, [ARRAY]) == errors
    assert storage_spec.check_grow(given) == [error for error in errors if "confirm" in error]


GROUP = {"name": "vg", "devices": [DEVICE]}
REAL: dict[str, str | None] = {DEVICE: "/dev/md127"}
UNIT = 4 * 2**20


def present(unused: int, *others: str) -> lvm.Present:
    owners = {"/dev/md127": "vg"} | dict.fromkeys(others, "vg")
    return lvm.Present({"vg": (0, UNIT)}, owners, {}, {"/dev/md127": unused})


@pytest.mark.parametrize(("unused", "grow", "wanted", "notes"), [
    (GIB, {"guests"}, [["pvresize", DEVICE]], 0), (GIB, set(), [], 1), (GIB, {"other"}, [], 1),
    (2 * UNIT - 1, {"guests"}, [], 0), (0, {"guests"}, [], 0),
])
def test_the_group_gets_the_room_of_an_array_that_has_grown(unused, grow, wanted, notes):
    made = lvm.plan([GROUP], [], present(unused), REAL, {}, {}, frozenset(grow))
    assert (made.errors, made.commands, len(made.notes)) == ([], wanted, notes)
    for note in made.notes:
        assert note.startswith(f"volume group 'vg': 1.00 GiB of {DEVICE} are unused, as the array has grown.")
        assert note.endswith(WORDS)


def test_a_volume_may_use_the_room_in_the_same_run():
    volume = {"name": "a", "volume_group": "vg", "size_gib": 1.0}
    made = lvm.plan([GROUP], [volume], present(GIB), REAL, {}, {}, frozenset({"guests"}))
    assert [action.line() for action in made.actions] == [f"grow volume group vg: by 1.00 GiB of {DEVICE}, which has grown",
                                                          "create volume vg/a: 1 GiB"]
    assert made.errors == []
    assert lvm.plan([GROUP], [volume], present(GIB), REAL, {}).errors


@pytest.mark.parametrize(("there", "devices"), [
    # A group of that name that was there before, and one that somebody extended.
    (lvm.Present({"vg": (GIB, UNIT)}, {"/dev/sdz": "vg"}, {}), [DEVICE]),
    (lvm.Present({"vg": (GIB, UNIT)}, {"/dev/sdz": "vg", "/dev/md127": "vg"}, {}), [DEVICE, "/dev/md/more"]),
])
def test_a_group_on_devices_that_are_not_named_is_not_extended(there, devices):
    real = {DEVICE: "/dev/md127", "/dev/md/more": "/dev/md126"}
    found = {path: Disk(path, "", 4 * GIB, (), (), {}) for path in real.values()}
    made = lvm.plan([{"name": "vg", "devices": devices}], [], there, {device: real[device] for device in devices}, found)
    assert "volume group 'vg': it lies on /dev/sdz, which its devices do not name, and is not extended" in " ".join(made.errors)


def test_a_group_that_needs_nothing_may_lie_on_more():
    there = lvm.Present({"vg": (GIB, UNIT)}, {"/dev/sdz": "vg", "/dev/md127": "vg"}, {})
    assert lvm.plan([GROUP], [], there, REAL, {}).errors == []
