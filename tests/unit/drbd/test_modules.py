# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules on a pair of hosts in folders: what comes of copies, also when a run is killed anywhere."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import host as drbd_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import state
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import lock
from ansible_collections.xenfold.consolidation.plugins.modules import drbd_primaries

from tests.unit import command_cases
from tests.unit.drbd.fake_pair import NAME, Cut, Pair

GUEST = {"name": "db01", "memory_mib": 64, "boot": {"kernel": "/k"},
         "disks": [{"name": "root", "size_gib": 1, "volume_group": "vg0", "drbd_minor": 7}]}
COPIES = {"db01": {"first": "xen01", "hosts": {"xen01": "10.9.0.1", "xen02": "10.9.0.2"}}}


@pytest.fixture(name="pair")
def _pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(drbd_primaries, "_CLOSING_SECONDS", 0)
    return Pair(tmp_path.resolve(), monkeypatch)


def call(
    pair: Pair, module: str, host: str, given: dict[str, Any], check: bool = False, failed: bool = False, cut: int = 0,
) -> dict[str, Any]:
    pair.run_on(host, cut)
    real = command_cases.mock.patch.object

    def own(target: Any, name: str, *rest: Any) -> Any:
        return real(target, name, getattr(target, name)) if name == "run_command" else real(target, name, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_cases.mock.patch, "object", own)
        return command_cases.run(module, {"input": given, "flags": {"check": check}, "output": {"failed": True} if failed else {}})


def make(pair: Pair, host: str, check: bool = False, failed: bool = False, cut: int = 0, **other: Any) -> dict[str, Any]:
    return call(pair, "drbd_resources", host, {"host": host, "guests": [GUEST], "copies": COPIES, "wait_seconds": 0, **other},
                check, failed, cut)


def settled(pair: Pair) -> None:
    """Both hosts run until neither changes anything."""
    for _round in range(4):
        results = [make(pair, host) for host in reversed(pair.hosts)]
        if not any(result["changed"] for result in results):
            assert all(host.role == "Secondary" for host in pair.hosts.values())
            return
    raise AssertionError(results)


@pytest.mark.parametrize("content", ["", "ext4 of the guest"])
def test_a_pair_is_made_and_the_first_host_s_disk_counts(pair: Pair, content: str) -> None:
    if content:
        pair.fill("xen01", content)
    shown = {host: make(pair, host, check=True)["actions"] for host in pair.hosts}
    assert all(not host.meta and not host.configured and not host.changes for host in pair.hosts.values())
    done = {"xen02": make(pair, "xen02")["actions"], "xen01": make(pair, "xen01")["actions"]}
    assert done == shown
    for host in pair.hosts.values():
        assert (host.data, host.disk, host.role, host.unit) == (content, "UpToDate", "Secondary", {"enable", "start"})
    for host in pair.hosts:
        assert make(pair, host)["changed"] is False


@pytest.mark.parametrize("content", ["", "ext4 of the guest"])
@pytest.mark.parametrize("cut", range(1, 10))
@pytest.mark.parametrize("killed", ["xen01", "xen02"])
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(pair: Pair, killed: str, cut: int, content: str) -> None:
    if content:
        pair.fill("xen01", content)
    if killed == "xen01":
        make(pair, "xen02")
    try:
        make(pair, killed, cut=cut)
    except Cut:
        pass
    else:
        # It takes no more than so many changes, or waits for the other one.
        assert len(pair.hosts[killed].changes) < cut
    settled(pair)
    assert [(host.data, host.disk) for host in pair.hosts.values()] == [(content, "UpToDate")] * 2


def test_a_host_that_lost_its_copy_gets_that_of_the_other_one(pair: Pair) -> None:
    pair.fill("xen01", "old")
    settled(pair)
    pair.hosts["xen02"].data = "written since, on xen02"
    lost = pair.hosts["xen01"]
    lost.meta, lost.configured, lost.attached, lost.linked, lost.disk = "", False, False, False, "Diskless"
    pair.fill("xen01", "")
    pair.write(lost, f"{NAME}.drbd", "")
    settled(pair)
    assert {host.data for host in pair.hosts.values()} == {"written since, on xen02"}


def test_two_copies_with_data_of_their_own_stay_as_they_are(pair: Pair) -> None:
    pair.fill("xen01", "one")
    settled(pair)
    lost = pair.hosts["xen01"]
    lost.meta, lost.configured, lost.attached, lost.linked, lost.disk = "", False, False, False, "Diskless"
    pair.fill("xen01", "another disk under the name")
    pair.write(lost, f"{NAME}.drbd", "")
    # The other one waits, until they meet once more.
    for host, parted in (("xen01", True), ("xen02", False), ("xen01", True)):
        assert ("its copies have parted" in make(pair, host)["held"].get("db01", "")) == parted
        assert [one.data for one in pair.hosts.values()] == ["another disk under the name", "one"]


def test_a_copy_that_does_not_hear_of_one_that_answers_starts_no_guest(pair: Pair) -> None:
    settled(pair)
    for host in pair.hosts.values():
        host.linked = False
    pair.hosts["xen01"].linked = True
    assert "xen02 answers, but not to DRBD" in make(pair, "xen01", asked=["xen02"])["held"]["db01"]
    assert make(pair, "xen01", asked=["xen03"])["held"] == {}
    pair.hosts["xen01"].role = "Primary"
    assert make(pair, "xen01", asked=["xen02"])["held"] == {}


def test_volumes_that_have_grown_on_one_host_alone_are_told(pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settled(pair)
    monkeypatch.setattr(drbd_host, "SYS_BLOCK", str(tmp_path / "sys"))
    for device, sectors in ((NAME, 2**22), ("drbd7", 2**21)):
        (tmp_path / "sys" / device).mkdir(parents=True)
        (tmp_path / "sys" / device / "size").write_text(f"{sectors}\n")
    told = make(pair, "xen01")
    assert (told["changed"], told["actions"]) == (False, []) and ["drbdadm", "resize", NAME] in pair.hosts["xen01"].changes


@pytest.mark.parametrize(("prepare", "host", "error"), [
    (lambda pair: pair.fill("xen02", "ext4 of somebody"), "xen02", "has data (ext4), which the copy of xen01 would overwrite"),
    (lambda pair: setattr(pair.hosts["xen01"], "in_use", True), "xen01", "is in use and cannot become a copy now"),
    (lambda pair: pair.write(pair.hosts["xen01"], f"{NAME}.drbd", "something"), "xen01", "has something else than DRBD's data"),
])
def test_nothing_is_done_that_could_do_harm(pair: Pair, prepare: Any, host: str, error: str) -> None:
    prepare(pair)
    assert error in make(pair, host, failed=True)["msg"]
    assert pair.hosts[host].changes == []


def test_a_new_disk_waits_for_the_other_host(pair: Pair) -> None:
    told = make(pair, "xen01")
    assert "a new disk begins when xen02 has said that it has no data either, at 10.9.0.2, port 11007" in told["held"]["db01"]
    assert not any("primary" in " ".join(argv) for argv in pair.hosts["xen01"].changes)
    assert make(pair, "xen01", guests=[{**GUEST, "state": "defined"}])["held"] == {}
    # It has not begun, so nothing of that is told as done.
    assert make(pair, "xen01")["changed"] is False


@pytest.mark.parametrize(("options", "error"), [
    ({"wait_seconds": -1}, "wait_seconds: value -1, allowed 0 or more"),
    ({"copies": {}}, "guest 'db01': copies: is missing"),
    ({"guests": [{**GUEST, "type": "hvm", "boot": {}}]}, "drbd_minor: value 7, allowed only for the types pvh and pv"),
    ({"guests": [{**GUEST, "disks": [{"path": "/dev/sda", "drbd_minor": 7}]}]}, "drbd_minor: value 7, allowed only beside volume_group"),
    ({"guests": [{**GUEST, "disks": [{**GUEST["disks"][0], "access": "ro"}]}]}, "allowed only for a disk that the guest writes"),
    ({"guests": [{**GUEST, "disks": [GUEST["disks"][0], {**GUEST["disks"][0], "name": "data"}]}]}, "allowed a number of its own"),
])
def test_bad_options(pair: Pair, options: dict[str, Any], error: str) -> None:
    assert error in make(pair, "xen01", failed=True, **options)["msg"]
    assert pair.hosts["xen01"].changes == []


def test_guests_without_replicated_disks_cost_nothing(pair: Pair) -> None:
    assert make(pair, "xen01", guests=[{"name": "web01", "memory_mib": 64, "boot": {"kernel": "/k"}}], copies={}) == {
        "failed": False, "changed": False, "actions": [], "diff": {"before": "", "after": ""}, "held": {}, "resources": {}}


def test_both_copies_may_be_written_during_a_move(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(pair)
    for host in pair.hosts:
        assert call(pair, "drbd_primaries", host, {"allow": [NAME]}, check=True)["changed"] is True
        assert pair.hosts[host].two_primaries is False
        assert call(pair, "drbd_primaries", host, {"allow": [NAME]})["actions"] == [
            {"verb": "allow", "target": f"resource {NAME}", "detail": "two primaries"}]
        assert call(pair, "drbd_primaries", host, {"allow": [NAME]})["changed"] is False
        # The role leaves that alone while somebody carries out a plan.
        monkeypatch.setattr(lock, "read", lambda _path: {"run": "x"})
        assert make(pair, host)["changed"] is False
    for host in pair.hosts.values():
        host.role = "Primary"
    assert call(pair, "drbd_primaries", "xen01", {})["both"] == [NAME]
    pair.hosts["xen01"].role = "Secondary"
    for host in pair.hosts:
        assert call(pair, "drbd_primaries", host, {})["actions"] == [
            {"verb": "forbid", "target": f"resource {NAME}", "detail": "two primaries"}]
        assert pair.hosts[host].two_primaries is False
    # What a run that was killed has left is taken back by the role as well.
    monkeypatch.setattr(lock, "read", lambda _path: None)
    call(pair, "drbd_primaries", "xen01", {"allow": [NAME]})
    assert [action["verb"] for action in make(pair, "xen01")["actions"]] == ["forbid"]
    assert make(pair, "xen01")["changed"] is False


def test_copies_that_differ_are_not_written_by_two(pair: Pair) -> None:
    settled(pair)
    pair.hosts["xen02"].disk = "Inconsistent"
    assert "allowed Connected with both copies UpToDate" in call(pair, "drbd_primaries", "xen01", {"allow": [NAME]}, failed=True)["msg"]


# As a host of the lab told it (Linux 6.1.0-57 of Debian 12), the second resource while it was being copied.
TOLD = """version: 8.4.11 (api:1/proto:86-101)
srcversion: F73C670A7EC572DB9CF3E5B

 1: cs:Unconfigured

 7: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:65536 nr:0 dw:0 dr:65536 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
 12: cs:SyncSource ro:Secondary/Secondary ds:UpToDate/Inconsistent C r---n-
    ns:18432 nr:0 dw:0 dr:20480 al:8 bm:0 lo:0 pe:2 ua:2 ap:0 ep:1 wo:f oos:47104
\t[====>...............] sync'ed: 29.7% (47104/65536)K
\tfinish: 0:00:05 speed: 9,216 (9,216) K/sec
"""
SHOWN = """resource db01-root {
    options {
    }
    net {
        allow-two-primaries\tyes;
        after-sb-0pri   \tdiscard-zero-changes;
    }
    _this_host {
        volume 0 {
            device\t\t\tminor 7;
        }
    }
}
resource web01-root {
    net {
        verify-alg      \t"crc32c";
    }
}
"""


def test_what_the_driver_tells() -> None:
    assert state.version(TOLD) == "8.4.11"
    assert state.parse_proc(TOLD) == {
        1: state.State(), 7: state.State("Connected", "Primary", "Secondary", "UpToDate", "UpToDate"),
        12: state.State("SyncSource", "Secondary", "Secondary", "UpToDate", "Inconsistent", 29.7)}
    assert state.parse_two_primaries(SHOWN) == {"db01-root"}
