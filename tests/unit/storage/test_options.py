# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of arrays, when they are scrubbed and who is told: what is accepted, and what it becomes."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils import storage_spec
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import configuration as md_conf
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import model, watch

from tests.unit.storage.samples import ARRAY, GIB, WANTED, disk, disks, owned

FIVE = {**ARRAY, "level": 5}
RUNS = {WANTED: model.Running("/dev/md/guests", True)}
SPARE = {"id": "virtio-D5", "serial": "D5", "size_gib": 2}
FRESH = Disk("/dev/vdf", "D5", 2 * GIB, (), (), {})


@pytest.mark.parametrize("array", [
    {**ARRAY, "bitmap": "internal"}, {**ARRAY, "bitmap": "none"}, {**FIVE, "consistency_policy": "ppl"},
    {**FIVE, "consistency_policy": "ppl", "bitmap": "none"}, {**ARRAY, "spares": [SPARE], "spare_group": "all"},
    {**ARRAY, "resync_min_kibps": 5000, "resync_max_kibps": 5000}, {**ARRAY, "resync_min_kibps": 10, "resync_max_kibps": 500},
    {**ARRAY, "resync_max_kibps": 1000}, {**ARRAY, "level": 0, "bitmap": "none", "spares": []},
])
def test_good_options(array):
    assert storage_spec.check_storage([array], []) == []


@pytest.mark.parametrize(("array", "text"), [
    ({**ARRAY, "level": 0, "bitmap": "internal"}, "bitmap: value 'internal', allowed for levels with redundancy, not for 0"),
    ({**ARRAY, "level": 0, "resync_max_kibps": 5000}, "resync_max_kibps: value 5000, allowed for levels with redundancy"),
    ({**ARRAY, "level": 0, "spares": [SPARE]}, "spares: value [{"),
    ({**ARRAY, "consistency_policy": "ppl"}, "consistency_policy: value 'ppl', allowed for level 5"),
    ({**FIVE, "consistency_policy": "ppl", "bitmap": "internal"}, "bitmap: value 'internal', allowed none beside the consistency_policy"),
    ({**FIVE, "consistency_policy": "journal"}, "consistency_policy: value 'journal', allowed ppl"),
    ({**ARRAY, "spare_group": "a b"}, "spare_group: value 'a b', allowed letters, digits"),
    ({**ARRAY, "resync_min_kibps": -1}, "resync_min_kibps: value -1, allowed a whole number above 0"),
    ({**ARRAY, "resync_min_kibps": 0}, "resync_min_kibps: value 0, allowed a whole number above 0"),
    ({**ARRAY, "resync_max_kibps": 500}, "resync_max_kibps: value 500, allowed 1000 or more"),
    ({**ARRAY, "resync_min_kibps": 9000, "resync_max_kibps": 8000}, "resync_max_kibps: value 8000, allowed 9000 or more, resync_min_kibps"),
    ({**ARRAY, "spares": [{"id": "a/b", "serial": "D5"}]}, "spares: id: value 'a/b', allowed a name under /dev/disk/by-id"),
    ({**ARRAY, "spares": [{"id": "x", "serial": ""}]}, "spares: x: serial: value '', allowed the serial number"),
    ({**ARRAY, "spares": [{"id": "x", "serial": "D1"}]}, "members: serial: value 'D1', allowed once: a disk is in one array"),
])
def test_bad_options_are_named(array, text):
    assert any(text in error for error in storage_spec.check_storage([array], [])), storage_spec.check_storage([array], [])


def test_a_consent_may_name_a_spare():
    assert storage_spec.check_wipe([{"serial": "D5", "confirm": "D5"}], [{**ARRAY, "spares": [SPARE]}]) == []


@pytest.mark.parametrize(("scrub", "mail", "program", "errors"), [
    ({}, None, None, 0), ({}, "", "", 0), ({"day": 1, "hour": 0}, "root", "/usr/local/sbin/told", 0),
    ({"day": 28, "hour": 23}, "a@b.c", None, 0),
    ({"day": 0}, None, None, 1), ({"day": 29, "hour": -1}, None, None, 2), ({}, "a@b@c", "/x y", 2), ({}, "a\nPROGRAM /x", None, 1),
])
def test_who_is_told_and_when(scrub, mail, program, errors):
    assert len(storage_spec.check_watch(scrub, mail, program)) == errors


def plan(found: dict[str, Any], live: model.Live | None = None, consents: tuple[str, ...] = (), **changes: Any) -> model.Plan:
    known = RUNS if live else {}
    return md.plan("xen01", "xen01", [{**ARRAY, **changes}], found, known, frozenset(consents), {WANTED: live} if live else {})


@pytest.mark.parametrize(("changes", "words"), [
    ({"bitmap": "none"}, {"--bitmap=none"}), ({"level": 5, "consistency_policy": "ppl"}, {"--consistency-policy=ppl"}),
    ({"spares": [SPARE]}, {"--bitmap=internal", "--spare-devices=1", "/dev/vdf"}),
])
def test_a_new_array_has_its_options_from_the_start(changes, words):
    [step] = plan(disks(D5=FRESH), **changes).steps
    assert words <= set(step.commands[0])
    assert len([word for word in step.commands[0] if word.startswith(("--bitmap", "--consistency"))]) == 1


def test_a_new_array_gets_its_limits_which_mdadm_does_not_set():
    [step] = plan(disks(), resync_min_kibps=5000).steps
    assert step.attributes == (("sync_speed_min", "5000"),)


@pytest.mark.parametrize(("policy", "changes", "commands"), [
    ("bitmap", {}, []), ("", {}, []), ("journal", {}, []),
    ("resync", {"bitmap": "none"}, []),
    ("resync", {}, ["--bitmap=internal"]),
    ("bitmap", {"bitmap": "none"}, ["--bitmap=none"]),
    ("ppl", {"level": 5}, ["--consistency-policy=resync", "--bitmap=internal"]),
    ("bitmap", {"level": 5, "consistency_policy": "ppl"}, ["--bitmap=none", "--consistency-policy=ppl"]),
    ("ppl", {"level": 5, "consistency_policy": "ppl"}, []),
])
def test_bitmap_and_policy_are_changed_live(policy, changes, commands):
    made = plan(disks(**owned(MD_LEVEL="")), model.Live("/dev/md127", policy=policy), **changes)
    assert made.errors == []
    assert [command for step in made.steps for command in step.commands] == [
        ("mdadm", "--grow", "/dev/md/guests", command) for command in commands]


@pytest.mark.parametrize(("found", "missing"), [(owned(), 1), ({**owned(), "D3": None}, 1), ({**owned(), "D3": None}, 0)])
def test_no_option_of_an_array_that_lacks_a_disk_is_changed(found, missing):
    live = model.Live("/dev/md127", missing=missing, policy="resync", speeds={"sync_speed_min": "1000 (system)"})
    made = plan(disks(**found), live, resync_min_kibps=5000)
    assert (made.errors, made.steps, made.notes) == ([], [], [])
    assert len(plan(disks(**owned()), model.Live("/dev/md127", policy="resync", speeds=live.speeds), resync_min_kibps=5000).steps) == 2


OLD_SPARE = disk(4, ("member of array",), WANTED, serial="D5")
BUSY_SPARE = disk(4, ("member of array",), WANTED, ("vde is held by md5",), serial="D5")
IN_PLACE = [model.Member(f"/dev/vd{'bcde'[slot]}", slot, frozenset({"in_sync"})) for slot in range(4)]


def spare_of(spare: Disk, *members: model.Member, consents: tuple[str, ...] = (), **others: Any) -> model.Plan:
    fifth = Disk("/dev/vdf", spare.serial, spare.size_bytes, spare.uses, spare.work, spare.md)
    return plan(disks(**{**owned(), **others}, D5=fifth), model.Live("/dev/md127", members=(*IN_PLACE, *members)), consents, spares=[SPARE])


@pytest.mark.parametrize("spare", [OLD_SPARE, BUSY_SPARE])
def test_a_spare_that_the_array_lost_is_told_and_not_touched(spare):
    made = spare_of(spare)
    assert (made.errors, made.steps) == ([], [])
    [note] = made.notes
    assert "array 'guests': spare /dev/vdf (serial D5) carries the array's superblock, but the array does not count it any more" in note


def test_a_spare_that_the_array_lost_is_added_by_consent_unless_it_is_in_use():
    [step] = spare_of(OLD_SPARE, consents=("D5",)).steps
    assert (step.action.verb, [item.serial for item in step.wipe]) == ("add", ["D5"])
    assert spare_of(BUSY_SPARE, consents=("D5",)).steps == []


def test_a_spare_with_data_of_others_still_stops_the_run():
    made = spare_of(disk(4, ("member of array",), "0:0:0:0", serial="D5"))
    assert "/dev/vdf (serial D5) is not empty" in " ".join(made.errors)


@pytest.mark.parametrize(("states", "attached", "others", "notes"), [
    ({"spare"}, True, {}, 0), ({"faulty"}, True, {}, 1), ({"faulty"}, True, {"D3": None}, 1),
])
def test_a_spare_that_has_failed_is_told(states, attached, others, notes):
    made = spare_of(OLD_SPARE, model.Member("/dev/vdf", None, frozenset(states), attached), **others)
    assert (made.errors, made.steps) == ([], [])
    assert len(made.notes) == notes
    for note in made.notes:
        assert "spare virtio-D5 (serial D5) has failed: the array counts /dev/vdf as faulty" in note


@pytest.mark.parametrize(("spare", "consents", "wiped", "error"), [
    (FRESH, (), False, ""), (disk(4, ("ext4 on vde",), serial="D5"), ("D5",), True, ""),
    (disk(4, ("ext4 on vde",), serial="D5"), ("D1",), False, "is not empty"),
    (disk(4, work=("vde is mounted at /",), serial="D5"), ("D5",), False, "is in use and is never wiped"),
    (disk(4, serial="X"), (), False, "has the serial X; the inventory says D5"),
    (disk(4, serial="D5", size=GIB), (), False, "has 1.00 GiB; the inventory says 2"),
])
def test_a_spare_passes_the_test_of_a_member(spare, consents, wiped, error):
    made = plan(disks(**owned(), D5=spare), model.Live("/dev/md127", policy="bitmap"), consents, spares=[SPARE])
    assert error in " ".join(made.errors)
    assert bool(made.errors) == bool(error)
    assert [(step.commands, bool(step.wipe)) for step in made.steps] == (
        [] if error else [((("mdadm", "--manage", "/dev/md/guests", "--add", spare.path),), wiped)])


def test_a_spare_goes_with_an_array_that_is_assembled():
    made = plan(disks(**owned(), D5=Disk("/dev/vdf", "D5", 2 * GIB, ("member",), (), {"MD_UUID": WANTED})), spares=[SPARE])
    assert [step.commands[0][-1] for step in made.steps] == ["/dev/vdf"]


@pytest.mark.parametrize(("text", "mail", "program", "kept"), [
    ("MAILADDR root\nPROGRAM /x\n", None, None, ["MAILADDR root", "PROGRAM /x"]),
    ("MAILADDR root\nMAILFROM me\n", "a@b", None, ["MAILFROM me"]),
    ("mail root\n  second\nprog /x\nMA x\n", "a@b", "/y", ["MA x"]),
    ("# MAILADDR root\n", "a@b", None, ["# MAILADDR root"]),
])
def test_mdadm_conf_tells_one_address(text, mail, program, kept):
    written = md_conf.mdadm_conf(text, {"guests": "a:b"}, {"guests": "all"}, mail, program)
    assert written.split("\n\n# BEGIN")[0].split("\n") == kept
    assert [line for line in written.split("\n") if line.startswith(("MAILADDR a", "PROGRAM /y"))] == (
        [f"MAILADDR {mail}"] * bool(mail) + [f"PROGRAM {program}"] * bool(program))
    assert "ARRAY /dev/md/guests metadata=1.2 spare-group=all UUID=a:b\n" in written
    assert md_conf.mdadm_conf(written, {"guests": "a:b"}, {"guests": "all"}, mail, program) == written


@pytest.mark.parametrize("text", [
    "MAILADDR root\n", "HOMEHOST <system>\nMAILADDR root\nPROGRAM /x\n", "mail root\n  second\nMAILFROM me\n", "", "MAILFROM me\n",
    "MAILADDR a\nMAILADDR b\n",
])
def test_who_was_told_before_is_told_again(text):
    uuids = {"guests": "a:b"}
    plain = md_conf.mdadm_conf(text, uuids)
    assert not md_conf.block_tells(plain)
    told = md_conf.mdadm_conf(plain, uuids, None, "a@b", "/y")
    other = md_conf.mdadm_conf(told, uuids, None, "c@d", "/y")
    assert md_conf.block_tells(told)
    assert md_conf.mdadm_conf(other, uuids, None, "c@d", "/y") == other
    back = md_conf.mdadm_conf(other, uuids, None, "", None)
    assert sorted(back.split("\n")) == sorted(plain.split("\n"))
    assert md_conf.mdadm_conf(back, uuids) == back
    # One of the two at a time.
    half = md_conf.mdadm_conf(told, uuids, None, None, "/y")
    assert "a@b" not in half
    assert [line for line in half.split("\n") if line.startswith("PROGRAM")] == ["PROGRAM /y"]
    assert sorted(md_conf.mdadm_conf(half, uuids).split("\n")) == sorted(plain.split("\n"))


def test_a_line_that_is_written_again_is_kept_once():
    told = md_conf.mdadm_conf("MAILADDR root\n", {}, None, "a@b")
    assert md_conf.mdadm_conf(f"MAILADDR root\n{told}", {}, None, "a@b") == told


def test_a_file_of_the_package_that_was_lost_is_begun_as_the_package_does():
    told = "# mdadm.conf\n\nHOMEHOST <system>\nMAILADDR root\n# definitions\nARRAY /dev/md/0 UUID=a\n\n# This was made on Monday\n"
    assert md_conf.made_by_package(told) == "HOMEHOST <system>\nMAILADDR root\nARRAY /dev/md/0 UUID=a\n"
    for text in ("", "\0" * 100):
        assert [line for line in watch.scrub_files("a", {}, text)[-1].content.splitlines() if line.startswith("AUTO")] == [
            "AUTOCHECK=false", "AUTOSCAN=true"]


def test_hosts_scrub_at_times_of_their_own():
    times = [watch.scrub_time(f"xen{number:02}", {}) for number in range(1, 41)]
    assert times == [watch.scrub_time(f"xen{number:02}", {}) for number in range(1, 41)]
    assert all(1 <= day <= 28 and 0 <= hour <= 5 for day, hour in times)
    assert len(set(times)) > 30
    assert watch.scrub_time("xen01", {"day": 3, "hour": 0}) == (3, 0)
    assert watch.scrub_time("xen01", {"day": None, "hour": 22}) == (times[0][0], 22)


@pytest.mark.parametrize(("start", "going_on", "written", "commands"), [
    (("enabled", "active", "no", "loaded"), ("enabled", "active", "no", "loaded"), False, []),
    (("enabled", "active", "yes", "loaded"), ("enabled", "active", "no", "loaded"), False, [["systemctl", "daemon-reload"]]),
    (("enabled", "inactive", "no", "loaded"), ("masked", "inactive", "no", "masked"), False,
     [["systemctl", "enable", "--now", "mdcheck_start.timer"]]),
    (("", "inactive", "no", "not-found"), ("", "inactive", "no", "not-found"), False, []),
])
def test_timers(start, going_on, written, commands):
    keys = ("UnitFileState", "ActiveState", "NeedDaemonReload", "LoadState")
    units = {name: dict(zip(keys, state, strict=True)) for name, state in zip(watch.TIMERS, (start, going_on), strict=True)}
    assert watch.timer_commands(units, written) == commands


@pytest.mark.parametrize(("state", "began", "old"), [
    ("active", "@200", False), ("active", "@100", False), ("active", "@99", True), ("active", "", True), ("failed", "@200", True),
])
def test_a_monitor_that_began_before_its_configuration_is_old(state, began, old):
    assert watch.monitor_is_old({"ActiveState": state, "ExecMainStartTimestamp": began}, 100.7) is old


@pytest.mark.parametrize(("stripe_kib", "aligned"), [(0, []), (1024, []), (512, []), (1536, ["--dataalignment", "3072k"]), (
    192, ["--dataalignment", "3072k"]), (2048, ["--dataalignment", "2048k"])])
def test_volume_groups_begin_on_whole_stripes(stripe_kib, aligned):
    devices, found = {"/dev/md/guests": "/dev/md127"}, {"/dev/md127": Disk("/dev/md127", "", 4 * GIB, (), (), {})}
    made = lvm.plan([{"name": "vg", "devices": ["/dev/md/guests"]}], [], lvm.Present({}, {}, {}), devices, found,
                    {"/dev/md127": stripe_kib * 1024})
    assert made.commands == [["vgcreate", "--yes", "--physicalextentsize", "4194304b", *aligned, "vg", "/dev/md/guests"]]
