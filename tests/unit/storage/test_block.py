# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The empty test, on the cases of `block_cases.yml`, and the readers behind it."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look, parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

from tests.unit import command_cases
from tests.unit.storage.fake_host import MIB, Host, look_commands


class Recorded:
    """A module that answers recorded commands in their order."""

    def __init__(self, commands: list[dict[str, Any]]) -> None:
        self.waiting = list(commands)

    def run_command(self, args: Any, **_kwargs: Any) -> tuple[int, str, str]:
        expected = self.waiting.pop(0)
        assert args == expected["command"]
        return expected.get("rc", 0), expected.get("out", ""), expected.get("err", "")

    def fail_json(self, msg: str, **_kwargs: Any) -> Any:
        raise AssertionError(msg)


@pytest.mark.parametrize("case", command_cases.load(Path(__file__).with_name("block_cases.yml")))
def test_the_empty_test(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"disks": {"vdb": {}}} | case.get("host", {})
    host = Host(tmp_path, given, monkeypatch)
    shown = {"serial": "S1"} | case.get("disk", {})
    module = Recorded(look_commands({"vdb": shown}, "mdadm" in host.tools, case.get("xen")))
    before = host.snapshot()
    found = look.look(Runner(module), ["/dev/vdb"])["/dev/vdb"]
    assert not module.waiting
    assert list(found.uses) == case["uses"]
    assert list(found.work) == case.get("work", [])
    assert set(found.work) <= set(found.uses)
    assert dict(found.md) == case.get("md", {})
    assert host.snapshot() == before


def test_a_disk_that_cannot_be_read_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, {"disks": {"vdb": {}}}, monkeypatch)
    os.unlink(host.real("/dev/vdb"))
    found = look.look(Runner(Recorded(look_commands({"vdb": {}}, False))), ["/dev/vdb"])["/dev/vdb"]
    assert list(found.work) == ["it cannot be opened: No such file or directory"]
    assert look._edge_uses("/dev/vdb", MIB) == ["it cannot be read: No such file or directory"]


def test_nothing_asked_runs_nothing() -> None:
    assert look.look(Runner(Recorded([])), []) == {}


@pytest.mark.parametrize(("half_mib", "front"), [(8, MIB), (8, 3 * MIB), (8, 16 * MIB), (1, MIB), (5, 2 * MIB)])
def test_edges_are_zeroed_and_nothing_else(half_mib: int, front: int, tmp_path: Path) -> None:
    size = half_mib * MIB // 2
    path = tmp_path / "disk"
    path.write_bytes(b"x" * size)
    look.zero_edges(str(path), front)
    end = max(0, size - MIB)
    expected = b"".join(b"\0" if at < front or at >= end else b"x" for at in range(0, size, MIB // 2))
    assert path.stat().st_size == size
    assert path.read_bytes()[::MIB // 2] == expected


def test_what_lies_before_given_ends_is_zeroed_too(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"x" * 8 * MIB)
    look.zero_edges(str(path), MIB, [4 * MIB, 8 * MIB])
    assert path.read_bytes()[::MIB] == b"\0xx\0xxx\0"


def test_a_zeroing_that_is_cut_off_leaves_a_disk_that_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk"
    for writes in range(5):
        path.write_bytes(b"x" * 4 * MIB)
        left = iter([True] * writes)

        def pwrite(handle: int, data: bytes, offset: int, left: Any = left, real: Any = os.pwrite) -> int:
            if not next(left, False):
                raise OSError(5, "cut off")
            return int(real(handle, data, offset))

        with monkeypatch.context() as patch:
            patch.setattr(look.os, "pwrite", pwrite)
            with pytest.raises(OSError, match="cut off"):
                look.zero_edges(str(path), 3 * MIB)
        assert look._edge_uses(str(path), 4 * MIB) == ["data in its first or last MiB"]
        # md's superblock, by which the next run knows whose it is.
        assert path.read_bytes()[4096:8192] == b"x" * 4096
    assert not path.read_bytes()[8192:3 * MIB].strip(b"\0")


def test_a_disk_in_use_is_not_zeroed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, {"disks": {"vdb": {"busy": True, "data": {0: "x"}}}}, monkeypatch)
    before = host.snapshot()
    with pytest.raises(OSError, match="busy"):
        look.zero_edges("/dev/vdb")
    assert host.snapshot() == before


def test_names_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Host(tmp_path, {"disks": {"vdb": {"id": "virtio-1"}}}, monkeypatch)
    assert look.resolve("/dev/disk/by-id/virtio-1") == "/dev/vdb"
    assert look.resolve("/dev/disk/by-id/virtio-2") is None


LSBLK = """{"blockdevices": [
    {"kname": "vdb", "name": "vdb", "type": "disk", "size": 2147483648, "fstype": null, "pttype": null, "mountpoints": [null]},
    {"kname": "vdc", "name": "vdc", "type": "disk", "size": 2147483648, "fstype": null, "pttype": "gpt", "mountpoints": [null],
     "children": [
        {"kname": "vdc1", "name": "vdc1", "type": "part", "size": 1073741824, "fstype": "ext4", "mountpoints": ["/srv"]},
        {"kname": "dm-3", "name": "vg-a", "type": "lvm", "size": 1073741824, "fstype": null}]}
]}"""


def test_what_lsblk_shows() -> None:
    listing = parse.devices(LSBLK)
    assert sorted(listing) == ["/dev/dm-3", "/dev/vdb", "/dev/vdc", "/dev/vdc1"]
    empty, full = listing["/dev/vdb"], listing["/dev/vdc"]
    assert parse.uses_of(empty) == []
    assert parse.uses_of(full) == ["partition table gpt", "part vdc1", "ext4 on vdc1", "lvm vg-a"]
    assert parse.work_of(empty) == []
    assert parse.work_of(full) == ["vdc1 is mounted at /srv", "lvm vg-a runs on it"]
    assert parse.devices("") == {}


def test_other_readers() -> None:
    assert parse.signatures("") == []
    assert parse.signatures('{"signatures": [{"device":"vdb","offset":"0x438","type":"ext4","uuid":"1","label":null}]}') == ["ext4"]
    assert parse.fields("MD_LEVEL=raid10\nnoise\nMD_NAME=a=b\n") == {"MD_LEVEL": "raid10", "MD_NAME": "a=b"}


@pytest.mark.parametrize(("probe", "uuid"), [
    ({"TYPE": "linux_raid_member", "UUID": "758596a3-ce95-5891-9306-cea6a43b1171"}, "758596a3:ce955891:9306cea6:a43b1171"),
    ({"TYPE": "linux_raid_member", "UUID": "758596A3-CE95-5891-9306-CEA6A43B1171"}, "758596a3:ce955891:9306cea6:a43b1171"),
    ({"TYPE": "linux_raid_member", "UUID": "758596a3"}, None),
    ({"TYPE": "linux_raid_member"}, None),
    ({"TYPE": "ext4", "UUID": "758596a3-ce95-5891-9306-cea6a43b1171"}, None),
    ({}, None),
])
def test_superblocks_as_blkid_tells_them(probe: dict[str, str], uuid: str | None) -> None:
    assert parse.superblock(probe).get("MD_UUID") == uuid


@pytest.mark.parametrize(("listing", "numbers", "paths"), [
    ('/local/domain/0/backend/vbd/3/51712/physical-device = "fd:1"\n/x/mode = "w"\n', {"253:1"}, set()),
    ('/x/vbd/3/1/physical-device = "103:1f"\n', {"259:31"}, set()),
    ('/x/vbd/3/1/params = "/dev/vg/a"\n/x/vbd/3/1/physical-device-path = "/dev/dm-3"\n', set(), {"/dev/vg/a", "/dev/dm-3"}),
    ('/x/qdisk/3/1/params = "aio:/dev/vdb"\n/x/qdisk/3/2/params = "aio:"\n/x/qdisk/3/3/params = ""\n', set(), {"/dev/vdb"}),
    ('/x/vif/3/0/script = "/etc/xen/scripts/vif-bridge"\n', set(), set()),
    ("", set(), set()),
])
def test_disks_of_guests(listing: str, numbers: set[str], paths: set[str]) -> None:
    assert parse.guest_disks(listing) == (numbers, paths)


NONE = {"command": ["lsblk", "--json", "--bytes", "-o", parse.COLUMNS], "out": '{"blockdevices": []}'}


@pytest.mark.parametrize(("answers", "found"), [
    ([{**NONE, "out": LSBLK}], True), ([NONE, {**NONE, "out": LSBLK}], True), ([NONE, NONE, {**NONE, "out": LSBLK}], True),
    ([NONE, NONE, NONE], False),
], ids=["at once", "the second time", "the third time", "never"])
def test_lsblk_is_asked_again_when_it_leaves_a_disk_out(
    answers: list[dict[str, Any]], found: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(look, "_is_device", lambda path: path == "/dev/vdb")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    module = Recorded(answers)
    assert ("/dev/vdb" in look.listing(Runner(module), ["/dev/vdb", "/dev/gone"])) is found
    assert not module.waiting
