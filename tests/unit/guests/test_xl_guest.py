# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import contextlib
import copy
import json
import os
from pathlib import Path

import pytest
import yaml
from ansible.module_utils import basic
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import guard
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import apply, host, start
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render
from ansible_collections.xenfold.consolidation.plugins.modules import xl_guest

from tests.unit import command_cases

CASES = Path(__file__).parent / "module_cases.yml"
RUNNING = {
    "c_info": {"type": "pvh", "name": "web01", "uuid": "da50373d-2b50-512e-9b50-b7b4cc11831f"},
    "b_info": {
        "max_vcpus": 2, "avail_vcpus": [0], "max_memkb": 196608, "target_memkb": 131072,
        "sched_params": {"sched": "credit2", "weight": 256, "cap": 0}, "kernel": "/var/lib/xenfold/images/lab/kernel",
        "ramdisk": "/var/lib/xenfold/images/lab/ramdisk",
    },
    "disks": [{"pdev_path": "/dev/vg0/web01-data", "vdev": "xvda", "backend": "phy", "format": "raw", "readwrite": 1}],
    "nics": [{"devid": 0, "mac": "00:16:3e:3b:46:9e", "bridge": "xenbr0", "nictype": "vif"}],
    "on_poweroff": "destroy", "on_reboot": "restart", "on_crash": "restart",
}
"""What xl shows of the guest as it is stored."""
STORED = {"name": "web01", "vcpus": 1, "maxvcpus": 2, "memory_mib": 128, "maxmem_mib": 192, "autostart": 7,
          "disks": [{"name": "data", "size_gib": 1, "volume_group": "vg0"}], "networks": [{"bridge": "xenbr0"}],
          "boot": {"image": "lab"}}


@pytest.fixture(name="warned")
def _warned(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(xl_guest.UnloggedModule, "warn", lambda _self, line: lines.append(line))
    return lines


def _command(step):
    """Short forms of a case file: `listed` is a row of `xl list` without the name (null for a host without the guest), `shows` what differs
    from RUNNING in `xl list -l`, by dotted keys, and `also` what it shows of others."""
    if "listed" in step:
        row = f"web01 {step['listed']} 20.4\n" if step["listed"] else ""
        others = "".join(f"{other} -b---- 9.9\n" for other in step.get("others", []))
        return {"command": ["xl", "list"], "out": f"Name ID Mem VCPUs State Time(s)\nDomain-0 0 896 1 r----- 205.1\n{row}{others}"}
    if "shows" in step:
        config = copy.deepcopy(RUNNING)
        for path, value in step["shows"].items():
            *parents, last = path.split("/")
            place = config
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        also = [{"domid": 5, "config": other} for other in step.get("also", [])]
        return {"command": ["xl", "list", "-l"], "out": json.dumps([{"domid": 3, "config": config}, *also])}
    return step


@pytest.mark.parametrize("case", [*command_cases.load(CASES), *command_cases.load(CASES.with_name("live_cases.yml")),
                                  *command_cases.load(CASES.with_name("consent_cases.yml"))])
def test_xl_guest(case, tmp_path, monkeypatch, warned):
    case = json.loads(json.dumps(case).replace("DIR", str(tmp_path)))
    case["run"] = [_command(step) for step in case["run"]]
    guests, auto, scratch = tmp_path / "guests", tmp_path / "auto", tmp_path / "scratch"
    for name in case.get("stored", []):
        guests.mkdir(exist_ok=True)
        (guests / f"{name}.cfg").write_text(render(normalise(STORED | case.get("stored_as", {}))))
    for name, target in case.get("links", {}).items():
        auto.mkdir(exist_ok=True)
        (auto / name).symlink_to(target)
    for name in case.get("kept", []):
        (guests / f"{name}.before").write_text("")
    monkeypatch.setattr(host, "ORDERED", str(tmp_path / "userdata-d.{domid}.{uuid}.xl"))
    ordered = tmp_path / f"userdata-d.3.{RUNNING['c_info']['uuid']}.xl"
    if "ordered" in case:
        ordered.write_text(render(normalise(STORED | case["ordered"])))
    seconds = iter(range(1000))
    monkeypatch.setattr(apply, "scratch", lambda: contextlib.nullcontext(str(scratch)))
    monkeypatch.setattr(start.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(start.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(host, "xen_runs", lambda: case.get("xen", True))
    creating = tmp_path / "creating"
    monkeypatch.setattr(host, "CREATING", str(creating))
    monkeypatch.setattr(guard, "STARTING", str(tmp_path / "starting"))
    creating.mkdir()
    for name in case.get("begun", []):
        (creating / name).touch()
    monkeypatch.setattr(host, "missing", lambda needs: frozenset(needs) & frozenset(case.get("missing", [])))
    result = command_cases.run("xl_guest", case)
    if "pending_keys" in case:
        assert [pending["key"] for pending in result["pending"]] == case["pending_keys"]
    if not result["failed"]:
        told = [line for line in warned if "; this needs " not in line]
        assert told == case.get("warns", [])
        assert len(warned) - len(told) == len(result["pending"])
    if "after" in case:
        stored = sorted(os.listdir(guests)) if guests.exists() else []
        links = {name: os.readlink(auto / name) for name in os.listdir(auto)} if auto.exists() else {}
        assert stored == [name if "." in name else f"{name}.cfg" for name in case["after"]["files"]]
        assert links == case["after"]["links"]
    if "ordered_after" in case:
        assert ordered.exists() is case["ordered_after"]
    if "kept_text" in case:
        assert (guests / "web01.before").read_text() == render(normalise(STORED | case["kept_text"]))


@pytest.mark.parametrize("shape", [lambda leaves: leaves, lambda leaves: {"cpuid": leaves, "msr": []}], ids=["4.17", "4.20"])
def test_a_guest_that_was_started_with_its_level_changes_nothing(shape, tmp_path, monkeypatch):
    monkeypatch.setattr(host, "xen_runs", lambda: True)
    bits = "x" * 31 + "0"
    level = [f"0x7,0:ebx={bits}"]
    case = next(case for case in yaml.safe_load(CASES.read_text()) if case["id"] == "nothing to do")
    shown = json.loads(case["run"][1]["out"])
    shown[1]["config"]["b_info"]["cpuid"] = shape([{"leaf": 7, "subleaf": 0, "ebx": bits}])
    (tmp_path / "web01.cfg").write_text(render(normalise({**STORED, "cpuid": level})))
    (tmp_path / "auto").mkdir()
    (tmp_path / "auto" / "07-web01").symlink_to(tmp_path / "web01.cfg")
    command_cases.run("xl_guest", {
        "input": {"guests": [STORED], "cpuid": level, "config_dir": str(tmp_path), "autostart_dir": str(tmp_path / "auto")},
        "run": [case["run"][0], {**case["run"][1], "out": json.dumps(shown)}],
        "output": {"changed": False, "actions": [], "pending": [], "diff": []},
    })


def test_a_plain_file_in_the_place_of_a_link_stops_the_run(tmp_path, monkeypatch):
    (tmp_path / "auto").mkdir()
    (tmp_path / "auto" / "web01.cfg").write_text("")
    monkeypatch.setattr(host, "xen_runs", lambda: False)
    command_cases.run("xl_guest", {
        "flags": {"check": True},
        "input": {"guests": [STORED], "config_dir": str(tmp_path), "autostart_dir": str(tmp_path / "auto")},
        "output": {"failed": True, "changed": False},
        "msg_contains": [f"guest 'web01': {tmp_path}/auto/web01.cfg is no link"],
    })


def test_the_difference_shows_the_configuration_and_every_other_step(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "xen_runs", lambda: False)
    result = command_cases.run("xl_guest", {
        "flags": {"check": True, "diff": True},
        "input": {"guests": [STORED], "config_dir": str(tmp_path / "guests"), "autostart_dir": "/etc/xen/auto"},
    })
    assert result["diff"] == [
        {"before_header": f"{tmp_path}/guests/web01.cfg", "before": "", "after_header": f"{tmp_path}/guests/web01.cfg",
         "after": render(normalise(STORED))},
        {"prepared": f"link /etc/xen/auto/07-web01: to {tmp_path}/guests/web01.cfg\nstart guest web01\n"},
    ]


@pytest.mark.parametrize(("xen", "table", "links", "expected"), [
    (False, None, [], {}),
    (False, None, ["07-web01", "batch"], {"web01": "autostart", "batch": "autostart"}),
    (True, "web01  3  128  1  -b----  20.4\n", ["07-web01", "10-db01.cfg"], {"db01": "autostart", "web01": "running"}),
    (True, "web01  3  128  1  --p---  20.4\ndb01--incoming  4  128  1  --p---  0.1\na--migratedaway  5  1  1  ---s--  1.0\n", [],
     {"a": "shutdown", "db01": "paused", "web01": "paused"}),
    (True, "(null)  3  0  1  --p--d  20.4\n(null)  4  128  0  --p---  0.0\n", [], {}),
])
def test_what_a_host_has(xen, table, links, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(host, "xen_runs", lambda: xen)
    for part, text in (("major", "4\n"), ("minor", "17\n"), ("extra", ".7\n")):
        (tmp_path / "version").mkdir(exist_ok=True)
        (tmp_path / "version" / part).write_text(text)
    monkeypatch.setattr(host, "HYPERVISOR_VERSION", str(tmp_path / "version"))
    (tmp_path / "auto").mkdir()
    for name in links:
        (tmp_path / "auto" / name).symlink_to(f"/etc/xen/guests/{name}.cfg")
    heading = "Name  ID  Mem VCPUs  State  Time(s)\nDomain-0  0  896  1  r-----  205.1\n"
    run = [] if table is None else [{"command": ["xl", "list"], "out": heading + table}]
    command_cases.run("xl_guest_info", {"input": {"autostart_dir": str(tmp_path / "auto")}, "run": run,
                                        "output": {"changed": False, "guests": expected, "xen_version": "4.17.7" if xen else ""}})


def test_a_xen_that_tells_no_version(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "HYPERVISOR_VERSION", str(tmp_path))
    assert host.xen_version() == ""


@pytest.mark.parametrize("pinned", [False, True])
def test_many_guests_cost_as_few_commands_as_one(pinned, tmp_path, monkeypatch):
    monkeypatch.setattr(host, "xen_runs", lambda: True)
    monkeypatch.setattr(host, "missing", lambda _needs: frozenset())
    (tmp_path / "auto").mkdir()
    guests, rows, shown, vcpus = [], [], [], []
    for number in range(200):
        guest = STORED | {"name": f"g{number:03d}", "autostart": None, "cpus": "0" if pinned else None}
        full = normalise(guest)
        guests.append(guest)
        (tmp_path / f"{guest['name']}.cfg").write_text(render(full))
        rows.append(f"{guest['name']} {number + 1} 128 1 -b---- 9.0\n")
        vcpus.append(f"{guest['name']} {number + 1} 0 0 -b- 1.0 0 / all\n")
        shown.append({"domid": number + 1, "config": RUNNING | {
            "c_info": {"type": "pvh", "name": guest["name"], "uuid": full["uuid"]},
            "disks": [{"pdev_path": full["disks"][0]["target"], "vdev": "xvda", "readwrite": 1}],
            "nics": [{"devid": 0, "mac": full["networks"][0]["mac"], "bridge": "xenbr0"}]}})
    topology = "cpu_topology :\ncpu: core socket node\n  0: 0 0 0\n  1: 1 0 0\n"
    heading = "Name ID VCPU CPU State Time(s) Affinity (Hard / Soft)\n"
    command_cases.run("xl_guest", {
        "input": {"guests": guests, "config_dir": str(tmp_path), "autostart_dir": str(tmp_path / "auto"),
                  "reboot": [guest["name"] for guest in guests]},
        "run": [{"command": ["xl", "list"], "out": "Name ID Mem VCPUs State Time(s)\n" + "".join(rows)},
                {"command": ["xl", "list", "-l"], "out": json.dumps(shown)},
                *([{"command": ["xl", "info", "-n"], "out": topology},
                   {"command": ["xl", "vcpu-list"], "out": heading + "".join(vcpus)}] if pinned else [])],
        "output": {"changed": False, "pending": [], "actions": []},
    })


@pytest.mark.parametrize("hidden", [False, True])
def test_warnings_of_a_task_that_hides_its_output_tell_no_values(hidden, tmp_path, monkeypatch, warned):
    monkeypatch.setattr(host, "xen_runs", lambda: True)
    monkeypatch.setattr(host, "missing", frozenset)
    guest = {**STORED, "autostart": None, "boot": {"image": "lab", "cmdline": "token=wanted"}, "disks": [{"path": "/dev/new"}]}
    (tmp_path / "web01.cfg").write_text(render(normalise(guest)))
    case = {"input": {"guests": [guest], "config_dir": str(tmp_path), "autostart_dir": str(tmp_path / "auto"), "detach": ["web01"],
                      "_ansible_no_log": hidden},
            "flags": {"check": True},
            "run": [_command({"listed": "3 128 1 -b----"}), _command({"shows": {"b_info/cmdline": "token=shown"}})]}
    command_cases.run("xl_guest", case)
    assert any("boot.cmdline" in line for line in warned) and any("cannot have its devices" in line for line in warned)
    assert any("token" in line or "/dev/new" in line for line in warned) is not hidden


def test_the_journal_of_a_host_has_no_definition(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(basic.AnsibleModule, "_log_to_syslog", lambda _module, line: shown.append(line))
    monkeypatch.setattr(host, "xen_runs", lambda: False)
    guest = {**STORED, "boot": {"kernel": "/k", "cmdline": "token=s3cret\nmore"}}
    command_cases.run("xl_guest", {
        # As each task says.
        "input": {"_ansible_no_log": False, "guests": [guest], "config_dir": str(tmp_path), "autostart_dir": str(tmp_path)},
        "run": [], "output": {"failed": True}})
    assert "s3cret" not in str(shown)
