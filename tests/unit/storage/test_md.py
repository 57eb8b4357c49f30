# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans of arrays: what is made, what is refused, and the files around them."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils import storage_spec
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import BrokenBlock, with_block
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import configuration as md_conf
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import host as md_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import model
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.storage.samples import ARRAY, GIB, WANTED, disk, disks, owned

OTHER = "0:0:0:0"
RUNS = {WANTED: model.Running("/dev/md/guests", True)}
WAITS = {WANTED: model.Running("/dev/md/guests", False)}
MEMBERS = ("/dev/vdb", "/dev/vdc", "/dev/vdd", "/dev/vde")
ASSEMBLE = ("mdadm", "--assemble", "/dev/md/guests", f"--uuid={WANTED}", *MEMBERS)


def plan(
    found: dict[str, look.Disk | None], known: dict[str, model.Running] | None = None, consents: set[str] | None = None, **changes: Any,
) -> model.Plan:
    return md.plan("xen01", "xen01.example", [{**ARRAY, **changes}], found, known or {}, frozenset(consents or ()))


def test_empty_disks_become_an_array_with_a_known_uuid():
    made = plan(disks())
    assert made.errors == []
    assert made.uuids == {"guests": WANTED}
    [step] = made.steps
    assert step.action.line() == "create array /dev/md/guests: level 10 on D1, D2, D3, D4"
    assert (step.device, [item.path for item in step.wipe]) == ("/dev/md/guests", list(MEMBERS))
    [command] = step.commands
    assert command[:3] == ("mdadm", "--create", "/dev/md/guests")
    assert {f"--uuid={WANTED}", "--name=guests", "--homehost=xen01.example", "--raid-devices=4", "--metadata=1.2"} <= set(command)
    assert command[-5:] == ("--run", *MEMBERS)


@pytest.mark.parametrize(("level", "present", "absent"), [
    (0, {"--chunk=64"}, {"--bitmap=internal", "--layout=n2"}),
    (1, {"--bitmap=internal"}, {"--chunk=64", "--layout=n2"}),
    (5, {"--chunk=64", "--bitmap=internal"}, {"--layout=n2"}),
    (6, {"--chunk=64", "--bitmap=internal"}, {"--layout=n2"}),
    (10, {"--chunk=64", "--bitmap=internal", "--layout=n2"}, set()),
])
def test_each_level_gets_what_it_knows(level, present, absent):
    command = set(plan(disks(), level=level, chunk_kib=64).steps[0].commands[0])
    assert present | {f"--level={level}"} <= command
    assert not absent & command


@pytest.mark.parametrize("members", [owned(), owned(MD_LEVEL="", MD_DEVICES=""), owned(MD_LEVEL="10")])
def test_an_array_that_runs_needs_nothing(members):
    made = plan(disks(**members), RUNS)
    assert (made.errors, made.steps) == ([], [])


def test_an_array_under_its_own_uuid_needs_nothing():
    made = plan(disks(**owned("1:2:3:4")), {"1:2:3:4": model.Running("/dev/md/guests", True)}, uuid="1:2:3:4")
    assert (made.errors, made.steps, made.uuids) == ([], [], {"guests": "1:2:3:4"})


@pytest.mark.parametrize(("known", "line", "commands"), [
    ({}, "assemble array /dev/md/guests: it exists on its disks but does not run", (ASSEMBLE,)),
    ({WANTED: model.Running("/dev/md127", False)}, "assemble array /dev/md/guests: the kernel waits for disks that are there",
     (("mdadm", "--stop", "/dev/md127"), ASSEMBLE)),
    ({WANTED: model.Running("/dev/md127", True)}, "name array /dev/md/guests: it runs as /dev/md127",
     (("mdadm", "--incremental", "--rebuild-map"),)),
    ({OTHER: model.Running("/dev/md/other", True)}, "assemble array /dev/md/guests: it exists on its disks but does not run", (ASSEMBLE,)),
])
@pytest.mark.parametrize("consents", [set(), {"D1", "D2", "D3", "D4"}])
def test_an_array_that_exists_is_assembled_or_named_never_created_or_wiped(known, line, commands, consents):
    made = plan(disks(**owned()), known, consents)
    assert made.errors == []
    assert [(step.action.line(), step.commands, step.wipe) for step in made.steps] == [(line, commands, ())]


@pytest.mark.parametrize(("found", "known", "consents", "text"), [
    (disks(D3=None), {}, set(), "disk virtio-D3 (serial D3) is not there"),
    (disks(D3=disk(3, serial="X9")), {}, set(), "disk virtio-D3 has the serial X9; the inventory says D3"),
    (disks(D3=disk(3, serial="X9")), {}, {"D3", "X9"}, "disk virtio-D3 has the serial X9; the inventory says D3"),
    (disks(D3=disk(3, size=GIB)), {}, set(), "disk virtio-D3 (serial D3) has 1.00 GiB; the inventory says 2"),
    (disks(D2=disk(2, ("ext4 on vdc",))), {}, set(), "/dev/vdc (serial D2) is not empty: ext4 on vdc. It is not touched"),
    (disks(D2=disk(2, ("ext4 on vdc",))), {}, set(), "may be lost, say so: storage_wipe: [{serial: D2, confirm: D2}]"),
    (disks(D2=disk(2, ("ext4 on vdc",))), {}, {"D1"}, "is not empty"),
    (disks(D2=disk(2, ("ext4 on vdc",)), D3=disk(3, ("x",))), {}, {"D2"}, "/dev/vdd (serial D3) is not empty: x"),
    (disks(D2=disk(2, ("ext4 on vdc",), work=("vdc is mounted at /srv",))), {}, {"D2"},
     "/dev/vdc (serial D2) is in use and is never wiped: ext4 on vdc; vdc is mounted at /srv"),
    (disks(D2=disk(2, work=("vdc is mounted at /srv",))), {}, set(), "is in use and is never wiped"),
    (disks(D2=disk(2, work=("vdc is the disk of a running guest",))), {}, {"D2"}, "is in use and is never wiped"),
    (disks(D2=disk(2, work=("it may be the disk of a running guest: xenstore does not answer",))), {}, {"D2"}, "is in use"),
    (disks(**{**owned(), "D4": disk(4)}), {}, set(), "3 of its 4 disks belong to it, but /dev/vde (serial D4) holds nothing"),
    (disks(**{**owned(), "D4": disk(4)}), WAITS, set(), "it is degraded or foreign, and is not touched"),
    (disks(**{**owned(), "D4": None}), WAITS, set(), "disk virtio-D4 (serial D4) is not there"),
    (disks(**{**owned(), "D4": None}), {}, {"D4"}, "disk virtio-D4 (serial D4) is not there"),
    (disks(D1=None, D2=None, D3=None, D4=None), RUNS, set(), "it runs as /dev/md/guests on other disks than the inventory names"),
    (disks(**{**owned(), "D4": None, "D3": disk(3, uuid=WANTED, serial="X9")}), RUNS, set(), "disk virtio-D3 has the serial X9"),
    (disks(**{**owned(MD_LEVEL="raid1"), "D1": None}), RUNS, set(), "exists with level 1; the inventory says 10"),
    (disks(**{**owned(MD_DEVICES="6"), "D1": None}), RUNS, set(), "exists with 6 members; the inventory says 4"),
    (disks(**{**owned(), "D1": None}), {WANTED: model.Running("/dev/md127", True), OTHER: model.Running("/dev/md/guests", True)}, set(),
     "/dev/md/guests is another array"),
    (disks(), WAITS, set(), "it waits as /dev/md/guests for other disks than the inventory names"),
    (disks(**{**owned(), "D4": disk(4)}), {}, {"D4"}, "3 of its 4 disks belong to it"),
    (disks(D1=owned()["D1"]), {}, {"D1", "D2", "D3", "D4"}, "1 of its 4 disks belong to it"),
    (disks(**{**owned(), "D4": disk(4, ("ext4 on vde",))}), {}, {"D4"}, "but /dev/vde (serial D4) holds ext4 on vde"),
    (disks(**owned(OTHER)), {}, set(), "is not empty: member of array"),
    (disks(**owned(MD_LEVEL="raid1")), {}, set(), "exists with level 1; the inventory says 10, and a level is not changed"),
    (disks(**owned(MD_DEVICES="6")), RUNS, set(), "exists with 6 members; the inventory says 4, and an array is never shrunk"),
    (disks(), RUNS, set(), "it runs as /dev/md/guests on other disks than the inventory names"),
    (disks(), {OTHER: model.Running("/dev/md/guests", True)}, set(), "/dev/md/guests is another array, with the UUID 0:0:0:0"),
    (disks(**owned()), {OTHER: model.Running("/dev/md/guests", False)}, set(), "/dev/md/guests is another array"),
])
def test_what_could_cost_data_is_refused_and_named(found, known, consents, text):
    made = plan(found, known, consents)
    assert made.steps == []
    assert text in " ".join(made.errors)
    assert all(error.startswith("array 'guests': ") for error in made.errors)


@pytest.mark.parametrize(("gone", "says"), [
    ({"D3": None}, ["runs without 1 of the 4 disks", "disk virtio-D3 (serial D3): /dev/disk/by-id/virtio-D3 does not exist"]),
    ({"D3": disk(3)}, ["disk virtio-D3 (serial D3): /dev/vdd, with the serial D3, is there and holds nothing"]),
    ({"D3": disk(3, serial="X9", size=GIB)}, ["disk virtio-D3 (serial D3): /dev/vdd, with the serial X9, is there and holds nothing"]),
    ({"D3": disk(3, ("ext4 on vdd",), work=("vdd is mounted at /srv",))}, ["holds ext4 on vdd; vdd is mounted at /srv"]),
    ({"D3": disk(3, ("member of array x",), OTHER)}, ["is there and holds member of array x"]),
    ({"D1": None, "D3": disk(3)}, ["runs without 2 of the 4 disks", "disk virtio-D1 (serial D1)", "disk virtio-D3 (serial D3)"]),
])
@pytest.mark.parametrize("consents", [set(), {"D1", "D2", "D3", "D4", "X9"}])
@pytest.mark.parametrize("device", ["/dev/md/guests", "/dev/md127"])
def test_an_array_that_runs_without_a_disk_is_told_and_left_alone(gone, says, consents, device):
    made = plan(disks(**{**owned(), **gone}), {WANTED: model.Running(device, True)}, consents)
    assert made.errors == []
    named = [] if device == "/dev/md/guests" else [(("mdadm", "--incremental", "--rebuild-map"),)]
    assert [step.commands for step in made.steps] == named
    assert [step for step in made.steps if step.wipe] == []
    for text in [*says, "array 'guests': /dev/md/guests", "playbooks/replace_disk.yml -e host=xen01", "storage_arrays"]:
        assert text in made.lacking["guests"]


def lacking(missing: int, state: str = "clean", *filling: model.Member, least: int = GIB) -> model.Live:
    return model.Live("/dev/md127", "raid10", state, missing, "resync", {}, None, least, filling)


FILLING = model.Member("/dev/vdx", 2, frozenset({"spare"}))
FAILED = model.Member("/dev/vdy", None, frozenset({"faulty"}))


@pytest.mark.parametrize(("gone", "live", "added"), [
    ({"D3": disk(3)}, lacking(1), ["/dev/vdd"]),
    ({"D3": disk(3)}, lacking(1, "read-auto"), ["/dev/vdd"]),
    ({"D3": disk(3)}, lacking(1, "active", FAILED), ["/dev/vdd"]),
    ({"D1": None, "D3": disk(3)}, lacking(2), ["/dev/vdd"]),
    ({"D1": disk(1), "D3": disk(3)}, lacking(2), ["/dev/vdb", "/dev/vdd"]),
    # Somebody put another disk in one of the two places.
    ({"D1": disk(1), "D3": disk(3)}, lacking(1), ["/dev/vdb"]),
    ({"D3": disk(3)}, lacking(1, "clean", FILLING), []),
    ({"D3": disk(3)}, lacking(0), []),
    ({"D3": disk(3)}, lacking(1, "inactive"), []),
    ({"D3": disk(3)}, lacking(1, "readonly"), []),
    ({"D3": disk(3)}, lacking(1, "broken"), []),
    ({"D3": disk(3)}, lacking(1, least=3 * GIB), []),
    ({"D3": None}, lacking(1), []),
    ({"D3": disk(3, serial="X9")}, lacking(1), []),
    ({"D3": disk(3, size=GIB)}, lacking(1), []),
    ({"D3": disk(3, ("ext4 on vdd",))}, lacking(1), []),
    ({"D3": disk(3, work=("the kernel has it in use",))}, lacking(1), []),
    ({"D3": disk(3, ("member of array x",), OTHER)}, lacking(1), []),
])
@pytest.mark.parametrize("consents", [frozenset(), frozenset({"D1", "D2", "D3", "D4", "X9"})])
def test_an_empty_disk_of_the_inventory_comes_back_into_an_array_that_lacks_it(gone, live, added, consents):
    found = disks(**{**owned(), **gone})
    made = md.plan("xen01", "xen01", [{**ARRAY, "bitmap": "internal", "resync_min_kibps": 5}], found, RUNS, consents, {WANTED: live})
    assert made.errors == []
    first = [("mdadm", "--readwrite", "/dev/md/guests")] if added and live.state == "read-auto" else []
    assert [command for step in made.steps for command in step.commands] == first + [
        ("mdadm", "--manage", "/dev/md/guests", "--add", path) for path in added]
    assert [(step.action.verb, step.wipe) for step in made.steps] == [("add", ())] * len(added)
    told = made.lacking["guests"]
    assert told.count("it is added, and the kernel fills it") == len(added)
    assert ("replace_disk.yml" in told) == (len(added) < len(gone))
    assert ("Nothing is written to it" in told) == (not added)


def test_an_array_that_does_not_run_gets_no_disk_back():
    found = disks(**{**owned(), "D3": disk(3)})
    for known in ({}, WAITS):
        made = md.plan("xen01", "xen01", [ARRAY], found, known, frozenset(), {WANTED: lacking(1)})
        assert made.steps == []
        assert "3 of its 4 disks belong to it" in " ".join(made.errors)


def test_a_complete_array_lacks_nothing():
    assert plan(disks(**owned()), RUNS).lacking == {}


@pytest.mark.parametrize(("text", "line"), [
    (f"MAILADDR root\nARRAY /dev/md127 UUID=a:b:c:d\n# BEGIN {md_conf.OWNER}\nPROGRAM x\n", 3),
    (f"ARRAY /dev/md127 UUID=a:b:c:d\n  name=x\n\n# END {md_conf.OWNER}\nPROGRAM x\n", 4),
])
def test_a_broken_block_is_told_with_the_line_of_the_file(text, line):
    with pytest.raises(BrokenBlock, match=f"^line {line}: '# "):
        md_conf.mdadm_conf(text, {"guests": "a:b:c:d"})


@pytest.mark.parametrize(("size", "right"), [(2 * GIB, True), (int(1.87 * GIB), True), (int(1.85 * GIB), False), (4 * GIB, True)])
def test_a_disk_has_the_size_that_it_was_sold_with(size, right):
    assert (plan(disks(D1=disk(1, size=size))).errors == []) is right


def test_an_error_in_one_array_is_told_with_those_of_the_others():
    second = {**ARRAY, "name": "second", "members": [{"id": "virtio-E1", "serial": "E1"}, *ARRAY["members"][1:]]}
    made = md.plan("xen01", "xen01", [ARRAY, second], disks(D2=None) | {"virtio-E1": None}, {}, frozenset())
    assert len(made.errors) == 3


def test_two_arrays_with_one_uuid_are_refused():
    arrays = [{**ARRAY, "uuid": "1:2:3:4"}, {**ARRAY, "name": "b", "uuid": "1:2:3:4"}]
    assert "arrays: uuid: two arrays have the same" in " ".join(md.plan("xen01", "xen01", arrays, disks(), {}, frozenset()).errors)


def test_all_disks_of_a_new_array_are_zeroed_and_only_those_by_consent_are_named():
    full = disk(2, ("ext4 on vdc",))
    made = plan(disks(D2=full), consents={"D1", "D2"})
    assert made.errors == []
    [step] = made.steps
    assert step.action.detail.endswith("wiping D2 by consent")
    assert step.wipe == (disk(1), full, disk(3), disk(4))
    assert [command[:2] for command in step.commands] == [("mdadm", "--create")]


@given(st.sets(st.integers(1, 4)), st.sets(st.integers(1, 4)), st.sets(st.integers(1, 4)), st.sets(st.integers(1, 4)))
def test_nothing_is_ever_written_to_a_disk_with_data_and_no_consent_or_in_use(full, busy, own, consented):
    def state(n: int) -> look.Disk:
        return disk(n, ("ext4 on x",) if n in full else (), WANTED if n in own else "", ("x is mounted at /",) if n in busy else ())

    made = plan(disks(**{f"D{n}": state(n) for n in range(1, 5)}), consents={f"D{n}" for n in consented})
    wiped = {int(item.serial[1]) for step in made.steps for item in step.wipe}
    assert not wiped & (busy | own)
    assert wiped & full <= consented
    created = [command for step in made.steps for command in step.commands if "--create" in command]
    assert bool(created) == (not own and not busy and full <= consented)
    assert wiped == ({1, 2, 3, 4} if created else set())
    assert bool(made.steps) == (bool(created) or own == {1, 2, 3, 4})
    assert bool(made.steps) != bool(made.errors)


def test_uuids_differ_between_hosts_and_names_and_never_change():
    assert md.array_uuid("xen01", "guests") == WANTED
    # A change of this value would make every array of every host a stranger's.
    assert WANTED == "758596a3:ce955891:9306cea6:a43b1171"
    assert len({md.array_uuid(host, name) for host in ("xen01", "xen02") for name in ("a", "b")}) == 4
    assert storage_spec._UUID.fullmatch(WANTED)


def test_mdadm_conf_keeps_other_lines_and_has_each_array_once():
    text = "HOMEHOST <system>\nARRAY /dev/md/root UUID=1:2:3:4\nARRAY /dev/md127 UUID=a:b:c:d\n"
    once = md_conf.mdadm_conf(text, {"guests": "a:b:c:d"})
    assert once.count("a:b:c:d") == 1
    assert "ARRAY /dev/md/guests metadata=1.2 UUID=a:b:c:d\n" in once
    assert "ARRAY /dev/md/root UUID=1:2:3:4\n" in once
    assert once.startswith("HOMEHOST <system>\n")
    assert md_conf.mdadm_conf(once, {"guests": "a:b:c:d"}) == once
    other = md_conf.mdadm_conf(once, {"other": "e:f:0:1"})
    assert "a:b:c:d" not in other
    assert "ARRAY /dev/md/root UUID=1:2:3:4\n" in other


@pytest.mark.parametrize(("text", "kept"), [
    ("", ""),
    ("# UUID=a:b:c:d\nMAILADDR root\n", "# UUID=a:b:c:d\nMAILADDR root\n"),
    ("MAILADDR root\narray /dev/md127 UUID=A:B:C:D\nPROGRAM x\n", "MAILADDR root\nPROGRAM x\n"),
    ("ARRAY /dev/md127 metadata=1.2\n  UUID=a:b:c:d\nPROGRAM x\n", "PROGRAM x\n"),
    ("PROGRAM x\nARRAY /dev/md127 UUID=a:b:c:d\n\tname=x:y\n", "PROGRAM x\n"),
    ("ARRAY /dev/md1 UUID=a:b:c:e\n  name=x\n\n\nPROGRAM x\n", "ARRAY /dev/md1 UUID=a:b:c:e\n  name=x\n\n\nPROGRAM x\n"),
])
def test_entries_of_mdadm_conf(text, kept):
    written = md_conf.mdadm_conf(text, {"guests": "a:b:c:d"})
    assert written.split(f"# BEGIN {md_conf.OWNER}")[0].rstrip("\n") == kept.rstrip("\n")
    assert md_conf.mdadm_conf(written, {"guests": "a:b:c:d"}) == written


def test_known_arrays():
    uuid = "758596a3:ce955891:9306cea6:a43b1171"
    scan = f"ARRAY /dev/md/guests metadata=1.2 name=xen01:guests UUID={uuid}\nINACTIVE-ARRAY /dev/md1\n"
    assert md.known_arrays(scan) == {uuid: model.Running("/dev/md/guests", True)}
    waiting = f"INACTIVE-ARRAY /dev/md127 metadata=1.2 name=xen01:guests UUID={uuid}\n"
    assert md.known_arrays(waiting) == {uuid: model.Running("/dev/md127", False)}
    assert md.known_arrays(f"ARRAY /dev/md127 metadata=1.2 spares=1 UUID={uuid}\n") == {uuid: model.Running("/dev/md127", True)}
    assert md.known_arrays("mdadm: no arrays\n") == {}


@given(st.text("ab\n# ", max_size=40), st.lists(st.text("xy", min_size=1, max_size=3), max_size=3))
def test_a_block_written_twice_is_the_same(text, lines):
    once = with_block(text, "us", lines)
    assert with_block(once, "us", lines) == once
    assert once.endswith("# END us\n")


@given(st.lists(st.sampled_from(["ARRAY /dev/md127 UUID=a:b", "ARRAY /dev/md1 UUID=c:d", "  name=x", "", "\t", "# a:b", "PROGRAM x"])))
def test_mdadm_conf_written_twice_is_the_same(lines):
    once = md_conf.mdadm_conf("\n".join(lines), {"guests": "a:b"})
    assert md_conf.mdadm_conf(once, {"guests": "a:b"}) == once


@pytest.mark.parametrize(("files", "old"), [
    ({}, []),
    ({"initrd.img-6.1": 100}, []),
    ({"initrd.img-6.1": 50, "vmlinuz-6.1": 10}, ["initrd.img-6.1"]),
    ({"initrd.img-6.1": 150, "vmlinuz-6.1": 10}, []),
    ({"initrd.img-6.1": 100, "vmlinuz-6.1": 10}, []),
    ({"initrd.img-6.1": 150, "vmlinuz-6.1": 10, "initrd.img-6.2": 50, "vmlinux-6.2": 10}, ["initrd.img-6.2"]),
    # A kernel that is gone, and one whose name only begins alike: update-initramfs would never renew the image.
    ({"initrd.img-6.1": 50, "vmlinuz-6.1-x": 10}, []),
    ({"initrd.img-6.1.bak": 50, "vmlinuz-6.1": 10}, []),
])
def test_images_older_than_the_file(files, old, tmp_path: Path):
    boot, written = tmp_path / "boot", tmp_path / "mdadm.conf"
    boot.mkdir()
    for name, seconds in files.items():
        (boot / name).touch()
        os.utime(boot / name, (seconds, seconds))
    assert md_host.old_images(boot, written) == []
    written.touch()
    os.utime(written, (100, 100))
    assert md_host.old_images(boot, written) == old


@pytest.mark.parametrize(("action", "completed", "sync"), [
    ("", "", None),
    ("idle", "none", None),
    ("frozen", "none", None),
    ("resync", "1 / 3", {"action": "resync", "percent": 33.3}),
    ("recover", "none", {"action": "recover", "percent": 0.0}),
    ("resync", "delayed", {"action": "resync", "percent": 0.0}),
    ("check", "0 / 0", {"action": "check", "percent": 0.0}),
    ("resync", "4194304 / 4194304", {"action": "resync", "percent": 100.0}),
])
def test_what_runs_of_a_synchronisation(action, completed, sync):
    assert md_host.sync_of(action, completed) == sync
