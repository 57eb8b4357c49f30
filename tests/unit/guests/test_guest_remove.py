# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module guest_remove on a host in a folder: what goes, what is kept and for how long, and what a killed run leaves."""
from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import resources, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import Resource
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.removal import plan
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import start
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render
from ansible_collections.xenfold.consolidation.plugins.modules import guest_remove

from tests.unit import command_cases
from tests.unit.images.fake_lvm import Cut, Lvm

TODAY = datetime.date(2026, 11, 29)
DATE = "xenfold.removed:old01:20261129"
MARK = "xenfold.removing:old01"


class Host(Lvm):
    """A Xen host: domains by name as [domid, flags, volumes]; `obeys`: whether they shut down when told; `end`: the reason that xl tells;
    `kept`: whether a domain that has shut down stays."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(root, monkeypatch)
        self.domains: dict[str, list[Any]] = {}
        self.served_by = ""
        self.obeys, self.end, self.kept, self.warned = True, 0, False, list[str]()
        self.guests, self.auto = root / "guests", root / "auto"
        for folder in (self.guests, self.auto):
            folder.mkdir()
        seconds = iter(range(10_000))
        monkeypatch.setattr(start.time, "monotonic", lambda: next(seconds))
        monkeypatch.setattr(start.time, "sleep", lambda _seconds: None)
        monkeypatch.setattr(xl_host, "xen_runs", lambda: True)
        monkeypatch.setattr(guest_remove, "today", lambda: self.today)
        monkeypatch.setattr(AnsibleModule, "warn", lambda _module, line: self.warned.append(line))
        self.answers = {"xl": self.xl, "timeout": self.shut_down}
        self.today = TODAY

    def define(self, name: str, *disks: str, runs: bool = True, stored: bool = True, flags: str = "-b----") -> None:
        """A guest with these disks as volumes, group/name; those that are not there yet are made."""
        for disk in disks:
            if disk not in self.tags:
                self.make(disk, 1)
        paths = [str(self.root / disk) for disk in disks]
        if stored:
            guest = {"name": name, "memory_mib": 64, "disks": [{"path": path} for path in paths], "boot": {"kernel": "/k"}}
            (self.guests / f"{name}.cfg").write_text(render(normalise(guest)))
            (self.auto / f"50-{name}").symlink_to(self.guests / f"{name}.cfg")
        if runs:
            self.domains[name] = [len(self.domains) + 1, flags, paths]
            self.open |= set(disks)

    def leave(self, name: str) -> None:
        self.open -= {str(Path(path).relative_to(self.root)) for path in self.domains.pop(name)[2]}

    def _of(self, domid: str) -> str:
        return next(name for name, domain in self.domains.items() if str(domain[0]) == domid)

    def xl(self, argv: list[str]) -> tuple[int, str, str]:
        if argv == ["xl", "list"]:
            rows = [f"{name} {domid} 64 1 {flags} 9.0" for name, (domid, flags, _paths) in self.domains.items()]
            return 0, "\n".join(["Name ID Mem VCPUs State Time(s)", "Domain-0 0 896 1 r----- 9.0", *rows]), ""
        if argv == ["xl", "list", "-l"]:
            return 0, json.dumps([{"domid": domid, "config": {
                "c_info": {"name": name}, "disks": [{"pdev_path": path, "vdev": "xvda"} for path in paths],
                "nics": [{"mac": "00:16:3e:00:00:01", "backend_domname": self.served_by}] if self.served_by else []}}
                for name, (domid, _flags, paths) in self.domains.items()]), ""
        assert argv[:2] == ["xl", "destroy"]
        self.leave(self._of(argv[2]))
        return 0, "", ""

    def shut_down(self, argv: list[str]) -> tuple[int, str, str]:
        name = self._of(argv[-1])
        if not self.obeys:
            return 124, "", ""
        if self.kept:
            self.domains[name][1] = "---s--"
        else:
            self.leave(name)
        return 0, f"Domain {argv[-1]} has been shut down, reason code {self.end}\n", ""

    def state(self) -> dict[str, Any]:
        return {"tags": self.tags, "files": sorted(os.listdir(self.guests)), "links": sorted(os.listdir(self.auto)),
                "domains": sorted(self.domains)}


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path.resolve(), monkeypatch)


def run(host: Host, check: bool = False, output: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    real = mock.patch.object

    def own(target: Any, name: str, *rest: Any) -> Any:
        return real(target, name, getattr(target, name)) if name == "run_command" else real(target, name, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_cases.mock.patch, "object", own)
        return command_cases.run("guest_remove", {
            "input": {"config_dir": str(host.guests), "autostart_dir": str(host.auto), **options},
            "flags": {"check": check}, "output": output or {}})


def lines(result: dict[str, Any], host: Host) -> list[str]:
    return [f"{action['verb']} {action['target']}".replace(f"{host.root}/", "") for action in result["actions"]]


ALL = ["remove link auto/50-old01", "stop guest old01", "rename volume vg/old01-data", "rename volume vg/old01-root",
       "remove file guests/old01.cfg"]
GONE = {"tags": {"vg/old01-data.removed": {DATE}, "vg/old01-root.removed": {DATE}}, "files": [], "links": [], "domains": []}


def test_a_guest_goes_and_its_volumes_are_kept(host):
    host.define("old01", "vg/old01-root", "vg/old01-data")
    before = json.dumps(host.state(), default=sorted)
    assert lines(run(host, check=True, remove=["old01"], output={"changed": True, "pending": []}), host) == ALL
    assert json.dumps(host.state(), default=sorted) == before and host.changes == []
    assert lines(run(host, remove=["old01"], output={"changed": True, "pending": []}), host) == ALL
    assert host.state() == GONE
    assert ["timeout", "300", "xl", "shutdown", "-w", "-F", "1"] in host.changes
    assert not any(argv[:2] == ["xl", "destroy"] for argv in host.changes)
    run(host, remove=["old01"], output={"changed": False, "actions": []})
    run(host, remove=["nobody"], purge=["nobody"], output={"changed": False})


def test_volumes_of_others_are_left_alone(host):
    """Only what is both a disk of the guest and called after it."""
    host.define("old01", "vg/old01-root", "vg/shared", "vg/old01x-root")
    host.define("old01-b", "vg/old01-b-root")
    host.make("vg/old01-spare", 1)
    run(host, remove=["old01"])
    assert sorted(host.tags) == ["vg/old01-b-root", "vg/old01-root.removed", "vg/old01-spare", "vg/old01x-root", "vg/shared"]
    assert sorted(host.domains) == ["old01-b"] and os.listdir(host.guests) == ["old01-b.cfg"]


def test_a_disk_that_may_be_of_a_guest_of_the_estate(host):
    """The disk `1-data` of `web` and the disk `data` of `web-1` are one volume."""
    host.define("web", "vg/web-root", "vg/web-1-data")
    result = run(host, remove=["web"], planned=["web-1", "we"], output={"failed": True})
    assert "guest 'web': volume vg/web-1-data is called like a disk of guest 'web-1' of the estate" in result["msg"]
    assert host.changes == []
    run(host, remove=["web"], planned=["web-2", "web-1-data"])
    assert sorted(host.tags) == ["vg/web-1-data.removed", "vg/web-root.removed"]


def test_a_link_that_leads_to_another_guest_stays(host):
    """`1-web` may be the guest `web` by its number, and the guest of that name without one."""
    host.define("web", "vg/web-root")
    host.define("1-web", "vg/1-web-root")
    (host.auto / "50-1-web").rename(host.auto / "1-web")
    run(host, remove=["web"])
    assert os.listdir(host.auto) == ["1-web"]


def test_a_guest_that_is_only_stored(host):
    host.define("old01", "vg/old01-root", "vg/old01-data", runs=False)
    (host.guests / "old01.before").write_text("")
    result = run(host, remove=["old01"])
    assert "stop guest old01" not in lines(result, host) and "remove file guests/old01.before" in lines(result, host)
    assert host.state() == GONE


def test_a_guest_that_only_runs(host):
    host.define("old01", "vg/old01-root", "vg/old01-data", stored=False)
    run(host, remove=["old01"])
    assert host.state() == GONE


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, 8))
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(host, number, after, stored):
    """Also when nothing but the marks says whose the volumes are."""
    host.define("old01", "vg/old01-root", "vg/old01-data", stored=stored)
    host.cut, host.after = number, after
    with pytest.raises(Cut):
        run(host, remove=["old01"])
    assert len(host.changes) == number
    host.cut = 0
    run(host, remove=["old01"])
    assert host.state() == GONE
    run(host, remove=["old01"], output={"changed": False})


def test_the_day_counts_from_the_run_that_finished(host):
    host.make("vg/old01-root.removed", 1, MARK)
    assert lines(run(host, remove=["old01"]), host) == ["date volume vg/old01-root.removed"]
    assert host.tags == {"vg/old01-root.removed": {DATE}}


def test_a_guest_that_does_not_shut_down_is_left_running(host):
    host.define("old01", "vg/old01-root")
    host.obeys = False
    for told in (["remove link auto/50-old01"], []):
        result = run(host, remove=["old01"], stop_seconds=7, output={"changed": bool(told)})
        [pending] = result["pending"]
        assert lines(result, host) == told, "what was done, and no more"
        assert (pending["by"], pending["running"]) == ("remove_force", "running")
        assert "did not shut down within 7 s" in pending["needs"]
        assert list(host.domains) == ["old01"] and os.listdir(host.guests) == ["old01.cfg"] and list(host.tags) == ["vg/old01-root"]
    assert "remove_force: [old01]" in host.warned[0]
    run(host, remove=["old01"], force=["old01"], output={"pending": []})
    assert host.domains == {} and host.tags == {"vg/old01-root.removed": {DATE}}


@pytest.mark.parametrize("flags", ["--p---", "---sc-", "---s--"])
def test_a_guest_that_cannot_be_told_to_shut_down(host, flags):
    host.define("old01", "vg/old01-root", flags=flags)
    [pending] = run(host, remove=["old01"], output={"changed": False})["pending"]
    assert "a decision" in pending["needs"] and host.changes == []
    result = run(host, remove=["old01"], force=["old01"])
    assert "destroy guest old01" in lines(result, host)
    assert ["xl", "destroy", "1"] in host.changes and not any(argv[0] == "timeout" for argv in host.changes)
    assert host.state()["tags"] == {"vg/old01-root.removed": {DATE}}


def test_a_guest_that_reboots_when_it_is_told_to_shut_down(host):
    host.define("old01", "vg/old01-root")
    host.end, host.kept = 1, True
    assert run(host, remove=["old01"])["pending"][0]["by"] == "remove_force"
    assert list(host.tags) == ["vg/old01-root"]


def test_a_guest_that_was_moved_away_meanwhile(host):
    host.define("old01", "vg/old01-root")
    host.end = 2
    assert "was not seen to shut down, so it may be on another host" in run(host, remove=["old01"], output={"failed": True})["msg"]
    assert list(host.tags) == ["vg/old01-root"]


def test_a_domain_that_stays_after_its_end(host):
    host.define("old01", "vg/old01-root")
    host.kept = True
    assert "is still there as domain 1 5 s later; xl destroy 1" in run(
        host, remove=["old01"], wait_seconds=5, output={"failed": True})["msg"]
    assert list(host.tags) == ["vg/old01-root"] and os.listdir(host.guests) == ["old01.cfg"]
    run(host, remove=["old01"], force=["old01"])
    assert host.state()["tags"] == {"vg/old01-root.removed": {DATE}}


@pytest.mark.parametrize(("elsewhere", "unasked", "text"), [
    ({"xen02": {"old01": "running"}}, [], "that it runs on no other host: it is running on xen02; then another run"),
    ({}, ["xen02"], "that it runs on no other host: xen02 could not be asked; then another run"),
])
def test_what_other_hosts_may_have_is_not_touched(host, elsewhere, unasked, text):
    host.define("old01", "vg/old01-root", runs=False)
    [pending] = run(host, remove=["old01"], elsewhere=elsewhere, unasked=unasked, output={"changed": False})["pending"]
    assert pending["needs"] == text and host.changes == []


def test_a_link_on_another_host_does_not_matter(host):
    host.define("old01", "vg/old01-root", "vg/old01-data")
    run(host, remove=["old01"], elsewhere={"xen02": {"old01": "autostart"}})
    assert host.state() == GONE


def _shared(host: Host) -> None:
    host.define("web01", "vg/web01-root", "vg/old01-root")


def _taken(host: Host) -> None:
    host.make("vg/old01-root.removed", 1, "xenfold.removed:old01:20260101")


def _in_use(host: Host) -> None:
    host.leave("old01")
    host.open.add("vg/old01-root")


def _serves(host: Host) -> None:
    host.served_by = "old01"


def _moving(host: Host) -> None:
    host.define("old01--incoming", stored=False)


@pytest.mark.parametrize(("prepare", "text"), [
    (_shared, "guest 'old01': volume vg/old01-root is a disk of guest 'web01', too"),
    (_taken, "guest 'old01': there is a volume vg/old01-root.removed of an earlier guest of that name"),
    (_in_use, "guest 'old01': volume vg/old01-root is in use on this host, though the guest does not run"),
    (_serves, "guest 'old01': is a driver domain that serves old02; shut those down first"),
    (_moving, "guest 'old01': is on its way to this host (domain 3)"),
])
def test_what_speaks_against_it_is_told_before_anything_is_done(host, prepare, text):
    host.define("old01", "vg/old01-root")
    host.define("old02", "vg/old02-root")
    host.domains["old02"][0] = 9
    prepare(host)
    result = run(host, remove=["old02", "old01"], output={"failed": True, "changed": False})
    assert result["msg"].startswith("No guest was removed: ") and text in result["msg"]
    assert host.changes == [] and sorted(os.listdir(host.auto))[:2] == ["50-old01", "50-old02"]


def test_a_name_that_would_be_too_long(host):
    found = plan.steps(["old01"], [], [], plan.Host(
        disks={"old01": frozenset({"v" * 60 + "/old01-" + "x" * 53})},
        volumes={"v" * 60 + "/old01-" + "x" * 53: plan.tags.Volume()}), plan.Others(), TODAY, 14)
    assert "would have a device of 129 characters, allowed 127" in found.errors[0]


@pytest.mark.parametrize("key", ["remove", "purge"])
def test_guests_of_the_estate_stay(host, key):
    host.define("old01", "vg/old01-root")
    result = run(host, **{key: ["old01", "old02"]}, planned=["old01", "web01"], output={"failed": True})
    assert result["msg"] == (f"{key}: value old01, allowed guests that the estate has no more; take them out of it first, or out of"
                             f" guests_{key}")
    assert host.changes == []


@pytest.mark.parametrize(("options", "text"), [
    ({"remove": ["Old 01"]}, "remove: name: value 'Old 01', allowed"),
    ({"purge": ["a--b"]}, "purge: name: value 'a--b', allowed"),
    ({"force": ["old01"]}, "force: value 'old01', allowed names of remove"),
    ({"keep_days": -1}, "keep_days: value -1, allowed 0 to 36500"),
    ({"keep_days": 10**7}, "keep_days: value 10000000, allowed 0 to 36500"),
    ({"stop_seconds": 0}, "stop_seconds: value 0, allowed 1 or more"),
    ({"wait_seconds": -1}, "wait_seconds: value -1, allowed 0 or more"),
    ({"elsewhere": {"xen02": ["a"]}}, "elsewhere: xen02: value ['a'], allowed a mapping"),
])
def test_bad_options(host, options, text):
    assert text in run(host, **options, output={"failed": True})["msg"]


def test_volumes_are_purged_when_their_time_has_come(host):
    host.define("old01", "vg/old01-root", "vg/old01-data")
    host.define("old01-b", "vg/old01-b-root")
    run(host, remove=["old01", "old01-b"])
    host.changes.clear()
    result = run(host, purge=["old01"], output={"failed": True})
    assert "volume vg/old01-root.removed: was removed on 2026-11-29, allowed to be purged from 2026-12-13 on (14 days)" in result["msg"]
    host.today = datetime.date(2026, 12, 12)
    run(host, purge=["old01"], output={"failed": True})
    run(host, purge=["old01"], keep_days=13, check=True, output={"changed": True})
    assert host.changes == []
    host.today = datetime.date(2026, 12, 13)
    result = run(host, purge=["old01"], output={"changed": True})
    assert lines(result, host) == ["purge volume vg/old01-data.removed", "purge volume vg/old01-root.removed"]
    assert list(host.tags) == ["vg/old01-b-root.removed"]
    run(host, purge=["old01"], output={"changed": False})


def test_a_purge_that_was_cut_off_goes_on(host):
    for name in ("data", "root"):
        host.make(f"vg/old01-{name}.removed", 1, "xenfold.removed:old01:20260101")
    host.cut = 2
    with pytest.raises(Cut):
        run(host, purge=["old01"])
    host.cut = 0
    run(host, purge=["old01"])
    assert host.tags == {}


def _name_runs(host: Host) -> None:
    host.define("old01", "vg/old01-new")


def _other_has_it(host: Host) -> None:
    host.define("web01", "vg/old01-root.removed", runs=False)


def _is_open(host: Host) -> None:
    host.open.add("vg/old01-root.removed")


def _has_a_snapshot(host: Host) -> None:
    """LVM removes those with their volume."""
    host.make("vg/copy", 1)
    host.origins["vg/copy"] = "old01-root.removed"


def _clock_is_wrong(host: Host) -> None:
    host.tags["vg/old01-root.removed"].add("xenfold.removed:old01:20270101")


@pytest.mark.parametrize(("prepare", "options", "text"), [
    (_name_runs, {}, "guest 'old01': a guest of that name is here as old01; its removed volumes are purged when there is none"),
    (_moving, {}, "a guest of that name is here as old01--incoming"),
    (_other_has_it, {}, "volume vg/old01-root.removed: is in use by guest 'web01', and is not purged"),
    (_is_open, {}, "volume vg/old01-root.removed: is in use on this host, and is not purged"),
    (_has_a_snapshot, {}, "volume vg/old01-root.removed: has the snapshot vg/copy, which would go with it; remove that first"),
    (_clock_is_wrong, {}, "was removed on 2027-01-01, allowed to be purged from 2027-01-15 on"),
    (None, {"elsewhere": {"xen02": {"old01": "paused"}}}, "a guest of that name is paused on xen02"),
    (None, {"unasked": ["xen02"]}, "a guest of that name may be on xen02"),
])
def test_what_is_never_purged(host, prepare, options, text):
    host.make("vg/old01-root.removed", 1, "xenfold.removed:old01:20260101")
    if prepare:
        prepare(host)
    result = run(host, purge=["old01"], **options, output={"failed": True, "changed": False})
    assert text in result["msg"] and host.changes == []


@pytest.mark.parametrize(("volume", "tags"), [
    ("vg/old01-root.removed", []), ("vg/old01-root.removed", [MARK]), ("vg/old01-root", [DATE]),
    ("vg/old01-root.removed", ["xenfold.removed:old01-b:20260101"]), ("vg/old01-root.removed", ["xenfold.removed:old01:2026"]),
])
def test_what_was_not_put_aside_as_that_guest_s_is_none_of_a_purge(host, volume, tags):
    host.make(volume, 1, *tags)
    run(host, purge=["old01"], keep_days=0, output={"changed": False})


def test_a_host_without_xen_and_lvm(host, monkeypatch):
    monkeypatch.setattr(xl_host, "xen_runs", lambda: False)
    monkeypatch.setattr(guest_remove.Runner, "tool", lambda _runner, _name: False)
    run(host, remove=["old01"], purge=["old01"], check=True, output={"changed": False})


def replicate(host: Host, monkeypatch: pytest.MonkeyPatch, role: str) -> list[list[str]]:
    """old01 has a replicated disk, of which this host has a copy; its commands of DRBD as they come."""
    resource = Resource("old01", "old01-root", 7, "vg", {"xen01": "10.9.0.1", "xen02": "10.9.0.2"}, "xen01")
    monkeypatch.setattr(resources, "FOLDER", str(host.root / "drbd.d"))
    monkeypatch.setattr(state, "PROC", str(host.root / "drbd"))
    (host.root / "drbd.d").mkdir()
    Path(resources.path_of("old01-root")).write_text(resources.file_of(resource).content)
    (host.root / "drbd").write_text(f"version: 8.4.11\n 7: cs:Connected ro:{role} ds:UpToDate/UpToDate C r-----\n")
    volumes = ["vg/old01-root", "vg/old01-root.drbd"]
    for volume in volumes:
        host.make(volume, 1)
    host.open |= set(volumes)
    said: list[list[str]] = []

    def drbdadm(argv: list[str]) -> tuple[int, str, str]:
        said.append(argv)
        host.open -= set(volumes)
        (host.root / "drbd").write_text("version: 8.4.11\n 7: cs:Unconfigured\n")
        return 0, "", ""

    host.answers |= {"drbdadm": drbdadm, "drbdsetup": lambda _argv: (0, "", "")}
    return said


def test_a_copy_of_a_replicated_disk_is_kept_as_well(host, monkeypatch):
    said = replicate(host, monkeypatch, "Secondary/Secondary")
    told = run(host, remove=["old01"])
    assert said == [["drbdadm", "down", "old01-root"]]
    assert sorted(host.tags) == ["vg/old01-root.drbd.removed", "vg/old01-root.removed"]
    assert all(tags == {DATE} for tags in host.tags.values())
    assert not Path(resources.path_of("old01-root")).exists()
    assert {"verb": "stop", "target": "resource old01-root", "detail": "its copies are apart from now on"} in told["actions"]
    run(host, remove=["old01"], output={"changed": False})


def test_seeds_go_with_the_guest(host):
    host.define("old01", "vg/old01-root", "vg/old01-seed-0123abcd")
    # Of an earlier definition; of another guest; of a disk that is none.
    for volume in ("vg/old01-seed-fedcba98", "vg/old011-seed-0123abcd", "vg/old01-seed-of-mine", "vg/old01-seed-0123abcd.filling"):
        host.make(volume, 1)
    run(host, remove=["old01"], output={"changed": True})
    assert sorted(host.tags) == [
        "vg/old01-root.removed", "vg/old01-seed-0123abcd.filling", "vg/old01-seed-0123abcd.removed", "vg/old01-seed-fedcba98.removed",
        "vg/old01-seed-of-mine", "vg/old011-seed-0123abcd"]


def test_a_disk_of_another_guest_that_is_called_like_a_seed(host):
    host.define("old01", "vg/old01-root")
    host.define("old01-seed", "vg/old01-seed-0123abcd")
    run(host, remove=["old01"], planned=["old01-seed"], output={"changed": True})
    assert sorted(host.tags) == ["vg/old01-root.removed", "vg/old01-seed-0123abcd"]


def test_the_seed_beside_a_copy_goes_with_it(host, monkeypatch):
    replicate(host, monkeypatch, "Secondary/Secondary")
    host.make("vg/old01-seed-0123abcd", 1)
    run(host, remove=["old01"])
    assert sorted(host.tags) == ["vg/old01-root.drbd.removed", "vg/old01-root.removed", "vg/old01-seed-0123abcd.removed"]


def test_a_copy_that_something_writes_is_left(host, monkeypatch):
    said = replicate(host, monkeypatch, "Primary/Secondary")
    told = run(host, remove=["old01"], output={"failed": True})
    assert told["failed"] and "volume vg/old01-root is in use on this host, though the guest does not run" in told["msg"]
    assert said == []


def test_the_role_hands_on_every_option():
    tasks = yaml.safe_load((Path(__file__).parents[3] / "roles/guests/tasks/main.yml").read_text())
    [task] = [task for task in tasks if "xenfold.consolidation.guest_remove" in task]
    documented = set(yaml.safe_load(guest_remove.DOCUMENTATION)["options"])
    assert documented - set(task["xenfold.consolidation.guest_remove"]) == {"config_dir", "autostart_dir"}


@pytest.mark.parametrize(("variables", "expected"), [
    ({}, []), ({"estate_workloads": [{"name": "web01", "memory_mib": 64}, {"name": "for_planning"}]}, ["web01", "for_planning"])])
def test_the_estate_s_guests_are_known_to_the_role(variables, expected):
    defaults = yaml.safe_load((Path(__file__).parents[3] / "roles/guests/defaults/main.yml").read_text())
    templar = Templar(loader=DataLoader(), variables=variables)
    assert templar.template(trust_as_template(defaults["guests_planned"])) == expected
