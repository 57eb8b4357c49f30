# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans of volume groups and volumes, and the filter that keeps the host out of the guests' volumes."""
from __future__ import annotations

import re

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import host as lvm_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.storage.samples import GIB
from tests.unit.storage.test_block import Recorded
from tests.unit.storage.test_modules import expanded

MIB = 2**20
GROUP = {"name": "vg", "devices": ["/dev/md/guests"]}
VOLUME = {"name": "a", "volume_group": "vg", "size_gib": 1.0}
NOTHING = lvm.Present({}, {}, {})
ORPHAN = lvm.Present({}, {"/dev/md127": ""}, {})
FULL = lvm.Present({"vg": (2 * GIB, 4 * MIB)}, {"/dev/md127": "vg"}, {"vg/a": GIB})
REAL = {"/dev/md/guests": "/dev/md127"}
ABSENT = {"/dev/md/guests": None}
CREATE = ["vgcreate", "--yes", "--physicalextentsize", "4194304b", "vg", "/dev/md/guests"]


def device(*uses: str, work: tuple[str, ...] = (), size: int = 4 * GIB, path: str = "/dev/md127") -> dict[str, Disk]:
    return {path: Disk(path, "", size, uses + work, work, {})}


@pytest.mark.parametrize(("present", "devices", "disks", "volumes", "lines"), [
    (NOTHING, ABSENT, {}, [VOLUME], ["create volume group vg: on /dev/md/guests", "create volume vg/a: 1 GiB"]),
    # Nobody knows the size of what is not there.
    (NOTHING, ABSENT, {}, [{**VOLUME, "size_gib": 9999.0}],
     ["create volume group vg: on /dev/md/guests", "create volume vg/a: 9999 GiB"]),
    (NOTHING, REAL, device(), [VOLUME], ["create volume group vg: on /dev/md/guests", "create volume vg/a: 1 GiB"]),
    (FULL, REAL, {}, [VOLUME], []),
    (FULL, REAL, {}, [{**VOLUME, "size_gib": 1.5}], ["grow volume vg/a: 1 to 1.5 GiB"]),
    (FULL, REAL, {}, [{**VOLUME, "size_gib": 3.0}], ["grow volume vg/a: 1 to 3 GiB"]),
    (FULL, REAL, {}, [VOLUME, {**VOLUME, "name": "b"}], ["create volume vg/b: 1 GiB"]),
    (FULL, REAL, {}, [], []),
    # A run that was cut off between pvcreate and vgcreate, as lvm itself does both.
    (ORPHAN, REAL, {}, [], ["create volume group vg: on /dev/md/guests"]),
    (ORPHAN, REAL, device("LVM2_member on md127"), [], ["create volume group vg: on /dev/md/guests"]),
])
def test_lvm_plans(present, devices, disks, volumes, lines):
    plan = lvm.plan([GROUP], volumes, present, devices, disks)
    assert plan.errors == []
    assert [action.line() for action in plan.actions] == lines
    assert len(plan.commands) == len(lines)


def test_commands_and_volumes():
    volumes = [{**VOLUME, "size_gib": 1.001}, {**VOLUME, "name": "b", "size_gib": 2.0}, {**VOLUME, "name": "c", "size_gib": 0.5}]
    present = lvm.Present({"vg": (4 * GIB, 32 * MIB)}, {"/dev/md127": "vg"}, {"vg/b": GIB, "vg/c": GIB // 2})
    plan = lvm.plan([GROUP], volumes, present, REAL, {})
    assert plan.commands == [["lvcreate", "--yes", "-W", "y", "-l", "33", "-n", "a", "vg"], ["lvextend", "-l", "64", "vg/b"]]
    assert plan.volumes == [{"name": name, "volume_group": "vg", "device": f"/dev/vg/{name}", "size_mib": size}
                            for name, size in (("a", 33 * 32), ("b", 2048), ("c", 512))]
    assert lvm.plan([GROUP], [], NOTHING, REAL, device()).commands == [CREATE]


def test_a_group_is_extended_by_what_it_lacks():
    group = {"name": "vg", "devices": ["/dev/md/guests", "/dev/md/more"]}
    devices = REAL | {"/dev/md/more": "/dev/md126"}
    volume = {**VOLUME, "name": "b", "size_gib": 5.0}
    plan = lvm.plan([group], [volume], FULL, devices, device(path="/dev/md126"))
    assert plan.errors == []
    assert plan.commands[0] == ["vgextend", "--yes", "vg", "/dev/md/more"]
    assert [action.line() for action in plan.actions] == ["extend volume group vg: by /dev/md/more", "create volume vg/b: 5 GiB"]
    full = lvm.plan([group], [{**volume, "size_gib": 6.0}], FULL, devices, device(path="/dev/md126"))
    assert full.errors == ["volume group 'vg': the volumes need 0.00 GiB more than is free"]


@pytest.mark.parametrize(("present", "volumes", "disks", "text"), [
    (FULL, [{**VOLUME, "size_gib": 0.5}], {}, "size_gib: 0.5 is less than the 1 GiB it has; a volume is never shrunk"),
    (FULL, [{**VOLUME, "name": "b", "size_gib": 3.0}], {}, "the volumes need 1.00 GiB more than is free"),
    (FULL, [{**VOLUME, "size_gib": 3.5}], {}, "the volumes need 0.50 GiB more than is free"),
    (FULL, [{**VOLUME, "name": "b", "size_gib": 1.5}, {**VOLUME, "name": "c"}], {}, "the volumes need 0.50 GiB more than is free"),
    (NOTHING, [{**VOLUME, "size_gib": 4.0}], device(), "the volumes need 0.00 GiB more than is free"),
    (FULL, [{**VOLUME, "volume_group": "other"}], {}, "volume_group: other is not on this host; there are vg"),
    (NOTHING, [], device("ext4 on md127"), "is not empty and is not touched: ext4 on md127"),
    (NOTHING, [], device("LVM2_member on md127"), "is not empty and is not touched: LVM2_member on md127"),
    (NOTHING, [], device(work=("md127 is mounted at /srv",)), "is not empty and is not touched: md127 is mounted at /srv"),
    (ORPHAN, [], device("LVM2_member on md127", work=("md127 is the disk of a running guest",)), "is the disk of a running guest"),
    (lvm.Present({"x": (0, 1)}, {"/dev/md127": "x"}, {}), [], {}, "belongs to the volume group x"),
])
def test_lvm_refuses(present, volumes, disks, text):
    plan = lvm.plan([GROUP], volumes, present, REAL, disks)
    assert text in " ".join(plan.errors + plan.not_yet)


def test_a_device_that_is_missing_has_no_path(monkeypatch):
    monkeypatch.setattr(Runner, "tool", lambda _runner, _name: True)
    shown = {"lvm": {"vg": [["vg", 0, 4194304]], "pv": [["[unknown]", "vg", 8388608, "", ""]]}}
    there = lvm_host.read(Runner(Recorded(expanded(shown, False))))
    assert there.owners == {"[unknown]": "vg"}
    device = "/dev/md/a"
    made = lvm.plan([{"name": "vg", "devices": [device]}], [], there, {device: "/dev/md127"}, {"/dev/md127": Disk("", "", GIB, (), (), {})})
    assert "volume group 'vg': it lies on [unknown], which its devices do not name" in " ".join(made.errors)


def test_one_device_under_two_names_is_refused():
    groups = [GROUP, {"name": "b", "devices": ["/dev/disk/by-id/md-name-x"]}]
    plan = lvm.plan(groups, [], NOTHING, REAL | {"/dev/disk/by-id/md-name-x": "/dev/md127"}, device())
    assert plan.errors == ["volume groups: /dev/disk/by-id/md-name-x and /dev/md/guests are the same device; allowed is once"]
    assert lvm.plan([GROUP, {"name": "b", "devices": ["/dev/md/b"]}], [], NOTHING, ABSENT | {"/dev/md/b": None}, {}).errors == []


@given(st.floats(0.001, 4096), st.sampled_from([2**20, 4 * 2**20, 32 * 2**20]))
def test_extents_always_hold_the_size(size, unit):
    count = lvm.extents(size, unit)
    assert count * unit >= size * GIB - 1
    assert (count - 1) * unit < size * GIB or count == 1


@pytest.mark.parametrize(("size", "unit", "count"), [
    (1, 4 * MIB, 256), (0.1, 4 * MIB, 26), (0.001, 4 * MIB, 1), (1e-9, 4 * MIB, 1), (20, 32 * MIB, 640), (1.1, 4 * MIB, 282),
])
def test_extents(size, unit, count):
    assert lvm.extents(size, unit) == count
    # What was rounded up once is found as it must be the next time.
    present = lvm.Present({"vg": (0, unit)}, {}, {"vg/a": count * unit})
    plan = lvm.plan([], [{**VOLUME, "size_gib": size}], present, {}, {})
    assert (plan.actions, plan.errors) == ([], [])


def test_the_filter_rejects_volumes_under_every_name():
    text = lvm.host_filter("", "local {\n}\n", ["vg-a.b"]).content
    assert text.startswith("local {\n}\n")
    assert '"r|^/dev/vg-a[.]b/.*|"' in text
    assert '"r|^/dev/mapper/vg--a[.]b-[^-].*|"' in text


@pytest.mark.parametrize(("group", "name", "rejected"), [
    ("vg", "/dev/vg/a", True),
    ("vg", "/dev/mapper/vg-a", True),
    ("vg", "/dev/mapper/vg-a--b", True),
    ("vg", "/dev/mapper/vg--b-a", False),
    ("vg", "/dev/vg2/a", False),
    ("vg", "/dev/md127", False),
    ("vg", "/dev/disk/by-id/vg/a", False),
    ("vg-b", "/dev/mapper/vg--b-a", True),
    ("vg-b", "/dev/mapper/vg--b--c-a", False),
    ("v+g", "/dev/v+g/a", True),
    ("v.g", "/dev/vxg/a", False),
])
def test_what_the_patterns_reject(group, name, rejected):
    patterns = [pattern.removeprefix("r|").removesuffix("|") for pattern in lvm.filter_patterns([group])]
    assert any(re.search(pattern, name) for pattern in patterns) is rejected


@pytest.mark.parametrize(("text", "patterns"), [
    ("", None),
    ('# global_filter = [ "r|x|" ]\n', None),
    ('\tglobal_filter = [ "a|.*|" ]  # all\n', ["a|.*|"]),
    ('global_filter=["r|^/dev/vg/.*|","r|x|"]\n', ["r|^/dev/vg/.*|", "r|x|"]),
    ('devices/global_filter = "r|x|"\n', ["r|x|"]),
    ('global_filter = [\n  "r|x|",   # the first\n  # "a|no|",\n  "r|#y|"\n]\n', ["r|x|", "r|#y|"]),
    ('filter = [ "r|x|" ]\n', None),
    ("global_filter = []\n", []),
    ("global_filter = [ 5 ]\n", None),
])
def test_patterns_of_a_configuration(text, patterns):
    assert lvm.patterns_in(text) == patterns


def test_the_filter_keeps_out_of_disks_of_targets():
    wanted = lvm.host_filter("", "", [], ["iqn.2026-11.example:store"])
    assert wanted.patterns == ["r|^/dev/disk/by-path/.*-iscsi-iqn[.]2026-11[.]example:store-lun-.*|", "r|^/dev/drbd.*|"]
    path = "/dev/disk/by-path/ip-10.0.9.5:3260-iscsi-iqn.2026-11.example:store-lun-1"
    assert re.search(wanted.patterns[0].split("|")[1], path)
    assert not re.search(wanted.patterns[0].split("|")[1], path.replace("store", "other"))


@pytest.mark.parametrize(("main", "local", "kept", "error"), [
    ("", "", [], None),
    ('devices {\n    # global_filter = [ "a|.*|" ]\n}\n', "local {\n}\n", [], None),
    ('devices { global_filter = [ "a|.*|" ] }', "", [], None),
    ('devices { global_filter = [ "r|/dev/sdz|", "r|^/dev/drbd|" ] }', "", ["r|/dev/sdz|", "r|^/dev/drbd|"], None),
    ('devices { global_filter = [ "a|/dev/sd.*|", "r|.*|" ] }', "", None, "global_filter: a|/dev/sd.*|, r|.*|; allowed are patterns that"),
    ('devices { global_filter = [ "r|/dev/sdz|", "a|.*|" ] }', "", None, "lvm.conf: global_filter: r|/dev/sdz|, a|.*|; allowed are"),
    ("devices { global_filter = [ @x ] }", "", None, "lvm.conf: global_filter: cannot be understood"),
    ("", 'devices { global_filter = [ "r|x|" ] }\n', None, "lvmlocal.conf: global_filter: is set outside the block of this role"),
    ("", "devices { global_filter = [ @x ] }\n", None, "lvmlocal.conf: global_filter: is set outside the block of this role"),
    ("", '# devices { global_filter = [ "r|x|" ] }\n', [], None),
])
def test_the_filter_of_the_host(main, local, kept, error):
    wanted = lvm.host_filter(main, local, ["vg"])
    if error:
        assert len(wanted.errors) == 1
        assert error in wanted.errors[0]
        return
    assert wanted.errors == []
    assert wanted.patterns == ["r|^/dev/vg/.*|", "r|^/dev/mapper/vg-[^-].*|", "r|^/dev/drbd.*|", *kept]
    assert lvm.patterns_in(wanted.content) == wanted.patterns
    assert lvm.host_filter(main, wanted.content, ["vg"]) == wanted
    assert wanted.content.startswith(local.rstrip("\n"))


def test_rows_of_a_report():
    assert lvm.rows('{"report": [{"vg": [{"vg_name": "vg", "vg_free": "1"}]}]}', "vg") == [{"vg_name": "vg", "vg_free": "1"}]
    assert lvm.rows('{"report": [{"pv": []}], "log": []}', "pv") == []
