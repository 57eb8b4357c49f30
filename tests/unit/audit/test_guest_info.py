# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What xl_guest_info tells with details."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host, parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render

from tests.unit import command_cases

HEADING = "Name  ID  Mem VCPUs  State  Time(s)\nDomain-0  0  896  1  r-----  205.1\n"
TABLE = HEADING + "web01  3  128  1  -b----  20.4\nold01  2  64  2  ---sc-  1.0\n(null)  7  0  1  --p---  0.0\n"
LONG = json.dumps([
    {"domid": 0, "config": {"c_info": {"name": "Domain-0"}}},
    {"domid": 3, "config": {"c_info": {"name": "web01", "uuid": "6E0B3F6F-0000-0000-0000-000000000001"},
                            "disks": [{"pdev_path": "/dev/vg0/web01-root", "vdev": "xvda"}, {"vdev": "xvdb"}]}},
])
GUEST = {"name": "web01", "memory_mib": 128, "disks": [
    {"name": "root", "volume_group": "vg0", "size_gib": 1}, {"path": "/srv/a=b.img", "vdev": "xvdb", "format": "raw"}]}


def ask(folder: Path, monkeypatch: pytest.MonkeyPatch, run: list[dict[str, Any]], xen: bool = True) -> dict[str, Any]:
    monkeypatch.setattr(host, "xen_runs", lambda: xen)
    monkeypatch.setattr(host, "HYPERVISOR_VERSION", str(folder / "none"))
    return command_cases.run("xl_guest_info", {
        "input": {"details": True, "autostart_dir": str(folder / "auto"), "config_dir": str(folder / "guests")},
        "flags": {"check": True}, "run": run, "output": {"changed": False}})


def test_domains_in_any_state_links_and_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("auto", "guests"):
        (tmp_path / name).mkdir()
    (tmp_path / "auto" / "10-web01").symlink_to("/etc/xen/guests/web01.cfg")
    (tmp_path / "guests" / "web01.cfg").write_text(render(normalise(GUEST)))
    (tmp_path / "guests" / "old02.cfg").mkdir()
    (tmp_path / "guests" / "README").write_text("x")
    result = ask(tmp_path, monkeypatch, [{"command": ["xl", "list"], "out": TABLE}, {"command": ["xl", "list", "-l"], "out": LONG}])
    assert result["domains"] == [
        {"name": "old01", "domid": 2, "state": "crashed", "memory_mib": 64, "vcpus": 2, "uuid": "", "disks": []},
        {"name": "web01", "domid": 3, "state": "running", "memory_mib": 128, "vcpus": 1, "uuid": "6e0b3f6f-0000-0000-0000-000000000001",
         "disks": ["/dev/vg0/web01-root"]},
        {"name": "", "domid": 7, "state": "paused", "memory_mib": 0, "vcpus": 1, "uuid": "", "disks": []},
    ]
    assert result["configured"] == ["old02", "web01"]
    assert result["links"] == {"10-web01": "/etc/xen/guests/web01.cfg"}
    assert result["stored"] == {"old02": {"disks": []}, "web01": {"disks": ["/dev/vg0/web01-root", "/srv/a=b.img"]}}


def test_without_guests_one_command_and_without_xen_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(tmp_path, monkeypatch, [{"command": ["xl", "list"], "out": HEADING}])["domains"] == []
    assert ask(tmp_path, monkeypatch, [], xen=False) | {"failed": False} == {
        "failed": False, "changed": False, "guests": {}, "configured": [], "volumes": [], "arriving": [], "guarded": [],
        "xen_version": "", "domains": [], "links": {}, "stored": {}, "resources": {}}


def test_what_xl_should_not_print_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "xen_runs", lambda: True)
    result = command_cases.run("xl_guest_info", {
        "input": {"details": True}, "output": {"failed": True},
        "run": [{"command": ["xl", "list"], "out": TABLE}, {"command": ["xl", "list", "-l"], "out": "{}"}]})
    assert result["msg"] == "'xl list -l' printed a JSON dict in place of a list"


@pytest.mark.parametrize(("written", "disks"), [
    ("disk = ['phy:/dev/vg0/a,xvda,w', \"file:/srv/b.img,hda,r\"]\n", ["/dev/vg0/a", "/srv/b.img"]),
    ("name = 'x'\n disk=[\n  'tap:qcow2:/srv/c.qcow2,xvda,w',\n  'vdev=xvdb,target=/dev/d,with,commas',\n]  # two\nvif = ['a']\n",
     ["/srv/c.qcow2", "/dev/d,with,commas"]),
    ("disk = [ '/dev/vg0/e,,xvda' ]", ["/dev/vg0/e"]),
    ("disk = [',hdc,cdrom']", []), ("disk = []", []), ("kernel = 'disk = [x]'", []), ("", []),
])
def test_disks_of_configurations_by_hand(written: str, disks: list[str]) -> None:
    assert parse.disks_of_text(written) == disks
