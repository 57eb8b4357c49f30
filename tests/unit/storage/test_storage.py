# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils import storage_spec
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import with_block
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import command_cases

GIB = 2**30
ARRAY = {"name": "guests", "level": 10, "chunk_kib": 512, "uuid": None,
         "members": [{"id": f"virtio-D{n}", "serial": f"D{n}", "size_gib": 2} for n in range(1, 5)]}
WANTED = md.array_uuid("xen01", "guests")


def disk(number: int, uses: tuple[str, ...] = (), uuid: str = "", level: str = "raid10", serial: str = "") -> look.Disk:
    superblock = {"MD_UUID": uuid, "MD_LEVEL": level, "MD_NAME": "xen01:guests"} if uuid else {}
    return look.Disk(f"/dev/vd{'_bcde'[number]}", serial or f"D{number}", 2 * GIB, f"254:{number}", uses, superblock)


def disks(**changes: look.Disk | None) -> dict[str, look.Disk | None]:
    found: dict[str, look.Disk | None] = {f"virtio-D{n}": disk(n) for n in range(1, 5)}
    return found | {f"virtio-{name}": value for name, value in changes.items()}


OWN = {f"D{n}": disk(n, ("member of array",), WANTED) for n in range(1, 5)}


def test_empty_disks_become_an_array_with_a_known_uuid():
    plan = md.plan("xen01", [ARRAY], disks(), {}, {})
    assert plan.errors == []
    command = plan.steps[0].commands[-1]
    assert command[:3] == ("mdadm", "--create", "/dev/md/guests")
    assert f"--uuid={WANTED}" in command
    assert command[-4:] == ("/dev/vdb", "/dev/vdc", "/dev/vdd", "/dev/vde")
    assert len(plan.steps[0].commands) == 1


def test_an_array_that_runs_needs_nothing():
    plan = md.plan("xen01", [ARRAY], disks(**OWN), {WANTED: "/dev/md/guests"}, {})
    assert (plan.errors, plan.steps) == ([], [])


def test_an_array_that_does_not_run_is_assembled_never_created():
    plan = md.plan("xen01", [ARRAY], disks(**OWN), {}, {})
    assert [step.action.verb for step in plan.steps] == ["assemble"]
    assert not any("--create" in command for step in plan.steps for command in step.commands)


@pytest.mark.parametrize(("found", "consents", "text"), [
    (disks(D3=None), {}, "disk virtio-D3 (serial D3) is not there"),
    (disks(D3=disk(3, serial="X9")), {}, "disk virtio-D3 has the serial X9; the inventory says D3"),
    (disks(D2=disk(2, ("ext4 on vdc",))), {}, "/dev/vdc (serial D2) is not empty: ext4 on vdc. It is not touched"),
    (disks(D2=disk(2, ("ext4 on vdc",))), {"D1": "D1"}, "is not empty"),
    (disks(D2=disk(2, ("ext4 on vdc", "mounted at /srv"))), {"D2": "D2"}, "is in use and is not wiped"),
    (disks(D2=disk(2, ("disk of a running guest",))), {"D2": "D2"}, "is in use and is not wiped"),
    (disks(**{**OWN, "D4": disk(4)}), {}, "only a part of its disks belongs to it, and it is not touched: /dev/vde (serial D4) holds"),
    (disks(**{**OWN, "D4": disk(4)}), {"D4": "D4"}, "only a part of its disks"),
    (disks(**{name: disk(n, ("member of array",), "0:0:0:0") for n, name in enumerate(OWN, 1)}), {}, "is not empty: member of array"),
    (disks(**{name: disk(n, ("x",), WANTED, "raid1") for n, name in enumerate(OWN, 1)}), {}, "exists with level 1; the inventory says 10"),
])
def test_what_could_cost_data_is_refused_and_named(found, consents, text):
    plan = md.plan("xen01", [ARRAY], found, {}, consents)
    assert plan.steps == []
    assert text in " ".join(plan.errors)


def test_an_error_in_one_array_is_told_with_those_of_the_others():
    second = {**ARRAY, "name": "second", "members": [{"id": "virtio-E1", "serial": "E1"}, *ARRAY["members"][1:]]}
    plan = md.plan("xen01", [ARRAY, second], disks(D2=None) | {"virtio-E1": None}, {}, {})
    assert len(plan.errors) == 3


def test_a_disk_with_consent_is_wiped_and_no_other():
    plan = md.plan("xen01", [ARRAY], disks(D2=disk(2, ("ext4 on vdc",))), {}, {"D2": "D2"})
    assert plan.errors == []
    assert plan.steps[0].action.detail.endswith("wiping D2 by consent")
    wiping = [command for command in plan.steps[0].commands if command[0] != "mdadm"]
    assert all("/dev/vdc" in " ".join(command) for command in wiping)
    assert wiping


@given(st.sets(st.integers(1, 4), max_size=4), st.sets(st.integers(1, 4), max_size=4))
def test_nothing_is_ever_written_to_a_disk_with_data_and_no_consent(full, consented):
    found = disks(**{f"D{n}": disk(n, ("ext4 on x",)) for n in full})
    plan = md.plan("xen01", [ARRAY], found, {}, {f"D{n}": f"D{n}" for n in consented})
    assert bool(plan.steps) == (full <= consented)


def test_uuids_differ_between_hosts_and_names_and_never_change():
    assert md.array_uuid("xen01", "guests") == WANTED
    assert len({md.array_uuid(host, name) for host in ("xen01", "xen02") for name in ("a", "b")}) == 4
    assert storage_spec._UUID.fullmatch(WANTED)


def test_mdadm_conf_keeps_other_lines_and_has_each_array_once():
    text = "HOMEHOST <system>\nARRAY /dev/md/root UUID=1:2:3:4\nARRAY /dev/md127 UUID=a:b:c:d\n"
    once = md.configuration(text, {"guests": "a:b:c:d"})
    assert once.count("a:b:c:d") == 1
    assert "/dev/md/root" in once
    assert md.configuration(once, {"guests": "a:b:c:d"}) == once
    assert "a:b:c:d" not in md.configuration(once, {"other": "e:f:0:1"})


def test_running_arrays():
    scan = "ARRAY /dev/md/guests metadata=1.2 name=xen01:guests UUID=758596a3:ce955891:9306cea6:a43b1171\nINACTIVE-ARRAY /dev/md1\n"
    assert md.running_arrays(scan) == {"758596a3:ce955891:9306cea6:a43b1171": "/dev/md/guests"}


@given(st.text("ab\n# ", max_size=40), st.lists(st.text("xy", min_size=1, max_size=3), max_size=3))
def test_a_block_written_twice_is_the_same(text, lines):
    once = with_block(text, "us", lines)
    assert with_block(once, "us", lines) == once
    assert once.endswith("# END us\n")


@pytest.mark.parametrize(("arrays", "groups", "text"), [
    ([{**ARRAY, "members": ARRAY["members"][:3]}], [], "array 'guests': members: 3 are too few for level 10; allowed are 4 or more"),
    ([{**ARRAY, "members": [{"id": "", "serial": "D1"}, *ARRAY["members"][1:]]}], [], "id '' is not a name under /dev/disk/by-id"),
    ([{**ARRAY, "members": [{"id": "x", "serial": ""}, *ARRAY["members"][1:]]}], [], "x: serial is missing"),
    ([ARRAY, {**ARRAY, "name": "b"}], [], "serial 'D1' stands twice"),
    ([{**ARRAY, "name": "A B"}], [], "name: 'A B' is not allowed"),
    ([{**ARRAY, "chunk_kib": 100}], [], "chunk_kib: 100 is not allowed; allowed are powers of two"),
    ([{**ARRAY, "uuid": "1234"}], [], "uuid: '1234' is not in mdadm's form"),
    ([ARRAY], [{"name": "vg", "devices": ["/dev/md/other"]}], "/dev/md/other is no array of this host; arrays are /dev/md/guests"),
    ([ARRAY], [{"name": "vg", "devices": ["/dev/sda"]}], "/dev/sda may be another disk after a reboot"),
    ([ARRAY], [{"name": "-x", "devices": ["/dev/md/guests"]}], "'-x' is not a name that LVM takes"),
    ([ARRAY], [{"name": "vg", "devices": []}], "devices: none are given"),
])
def test_bad_descriptions_are_named(arrays, groups, text):
    errors = storage_spec.check_storage(arrays, groups)
    assert any(text in error for error in errors), errors


def test_a_good_description_passes():
    assert storage_spec.check_storage([ARRAY], [{"name": "vg_guests", "devices": ["/dev/md/guests"]}]) == []
    assert storage_spec.check_volumes([{"name": "web01-root", "volume_group": "vg", "size_gib": 1}]) == []


LSBLK = json.dumps({"blockdevices": [
    {"name": "vdb", "path": "/dev/vdb", "type": "disk", "size": 2 * GIB, "fstype": None, "pttype": None, "mountpoints": [None]},
    {"name": "vdc", "path": "/dev/vdc", "type": "disk", "size": 2 * GIB, "fstype": None, "pttype": "gpt", "mountpoints": [None],
     "children": [{"name": "vdc1", "path": "/dev/vdc1", "type": "part", "size": GIB, "fstype": "ext4", "mountpoints": ["/srv"]}]},
]})


def test_what_lsblk_shows():
    empty, full = look.entries(LSBLK)
    assert look.uses_of(empty) == []
    assert look.uses_of(full) == ["partition table gpt", "part vdc1", "ext4 on vdc1", "mounted at /srv"]


def test_other_readers():
    assert look.signatures("") == []
    assert look.signatures('{"signatures": [{"device":"vdb","offset":"0x438","type":"ext4","uuid":"1","label":null}]}') == ["ext4"]
    assert look.guest_devices('/local/domain/0/backend/vbd/3/51712/physical-device = "fd:1"\n/x/mode = "w"\n') == {"253:1"}
    assert look.fields("MD_LEVEL=raid10\nnoise\nMD_NAME=a=b\n") == {"MD_LEVEL": "raid10", "MD_NAME": "a=b"}


GROUP = {"name": "vg", "devices": ["/dev/md/guests"]}
VOLUME = {"name": "a", "volume_group": "vg", "size_gib": 1.0}
NOTHING = lvm.Present({}, {}, {})
FULL = lvm.Present({"vg": (2 * GIB, 4 * 2**20)}, {"/dev/md127": "vg"}, {"vg/a": GIB})
REAL = {"/dev/md/guests": "/dev/md127"}


@pytest.mark.parametrize(("present", "devices", "volumes", "lines"), [
    (NOTHING, {"/dev/md/guests": None}, [VOLUME], ["create volume group vg: on /dev/md/guests", "create volume vg/a: 1 GiB"]),
    (FULL, REAL, [VOLUME], []),
    (FULL, REAL, [{**VOLUME, "size_gib": 1.5}], ["grow volume vg/a: 1 to 1.5 GiB"]),
    (FULL, REAL, [VOLUME, {**VOLUME, "name": "b"}], ["create volume vg/b: 1 GiB"]),
    (lvm.Present({}, {"/dev/md127": ""}, {}), REAL, [], ["create volume group vg: on /dev/md/guests"]),
])
def test_lvm_plans(present, devices, volumes, lines):
    plan = lvm.plan([GROUP], volumes, present, devices, {})
    assert plan.errors == []
    assert [action.line() for action in plan.actions] == lines
    assert len(plan.commands) == len(lines)


@pytest.mark.parametrize(("present", "volumes", "uses", "text"), [
    (FULL, [{**VOLUME, "size_gib": 0.5}], {}, "size_gib: 0.5 is less than the 1 GiB it has; a volume is never shrunk"),
    (FULL, [{**VOLUME, "name": "b", "size_gib": 3.0}], {}, "the volumes need 1.00 GiB more than is free"),
    (FULL, [{**VOLUME, "volume_group": "other"}], {}, "volume_group: other is not on this host; there are vg"),
    (NOTHING, [], {"/dev/md127": ["ext4 on md127"]}, "is not empty and is not touched: ext4 on md127"),
    (lvm.Present({"x": (0, 1)}, {"/dev/md127": "x"}, {}), [], {}, "belongs to the volume group x"),
])
def test_lvm_refuses(present, volumes, uses, text):
    plan = lvm.plan([GROUP], volumes, present, REAL, uses)
    assert text in " ".join(plan.errors)


@given(st.floats(0.001, 4096), st.sampled_from([2**20, 4 * 2**20, 32 * 2**20]))
def test_extents_always_hold_the_size(size, unit):
    count = lvm.extents(size, unit)
    assert count * unit >= size * GIB - 1
    assert (count - 1) * unit < size * GIB or count == 1


def test_the_filter_rejects_volumes_under_every_name():
    text = lvm.filter_text("local {\n}\n", ["vg-a.b"])
    assert text.startswith("local {\n}\n")
    assert '"r|^/dev/vg-a[.]b/.*|"' in text
    assert '"r|^/dev/mapper/vg--a[.]b-[^-].*|"' in text


@pytest.mark.parametrize("case", command_cases.load(Path(__file__).with_name("cases.yml")))
def test_module(case, monkeypatch):
    # Whether mdadm is installed on the machine that runs the tests must not matter.
    monkeypatch.setattr("ansible_collections.xenfold.consolidation.plugins.module_utils.runner.Runner.tool", lambda *_name: False)
    command_cases.run(case.pop("module"), case)
