# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The limits of a host by a run of the module xl_guest against recorded commands, with the host's files below a folder."""
from __future__ import annotations

import contextlib
import json
import os

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.limits_of import FilterModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import mac_of, normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits import service, wanted
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import apply, host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render
from ansible_collections.xenfold.consolidation.plugins.modules import xl_guest

from tests.unit import command_cases

MAC = mac_of("web01", 0)
FREE = {"name": "web01", "memory_mib": 128, "disks": [{"name": "data", "size_gib": 1, "volume_group": "vg0"}],
        "networks": [{"bridge": "xenbr0"}], "boot": {"image": "lab"}}
GUEST = FREE | {"disks": [FREE["disks"][0] | {"limits": {"write_mibps": 2}}],
                "networks": [{"bridge": "xenbr0", "rate_mbps": 200, "receive_mbps": 5, "min_mbps": 100}]}
CONFIG = {"domid": 3, "config": {
    "c_info": {"type": "pvh", "name": "web01", "uuid": normalise(FREE)["uuid"]},
    "b_info": {"max_vcpus": 1, "avail_vcpus": [0], "max_memkb": 131072, "target_memkb": 131072,
               "kernel": "/var/lib/xenfold/images/lab/kernel", "ramdisk": "/var/lib/xenfold/images/lab/ramdisk"},
    "disks": [{"pdev_path": "/dev/vg0/web01-data", "vdev": "xvda", "format": "raw", "readwrite": 1}],
    "nics": [{"devid": 0, "mac": MAC, "bridge": "xenbr0"}], "on_reboot": "restart", "on_crash": "restart"}}
LIST = {"command": ["xl", "list"], "out": "Name ID Mem VCPUs State Time(s)\nDomain-0 0 896 1 r----- 5\nweb01 3 128 1 -b---- 5\n"}
LONG = {"command": ["xl", "list", "-l"], "out": json.dumps([CONFIG])}
SHOW = ["systemctl", "show", "--property=ActiveState,SubState,UnitFileState,NeedDaemonReload", "xenfold-limits.service"]
RUNS = {"command": SHOW, "out": "ActiveState=active\nSubState=running\nUnitFileState=enabled\nNeedDaemonReload=no\n"}
ABSENT = {"command": SHOW, "out": "ActiveState=inactive\nSubState=dead\nUnitFileState=\nNeedDaemonReload=no\n"}
NAMES = {"command": ["xenstore-read", "-p", "/local/domain/3/name"], "out": "/local/domain/3/name: web01\n"}
RESTART = {"command": ["systemctl", "restart", "xenfold-limits.service"]}
CLASSES = {"command": ["tc", "class", "show", "dev", "bond0"], "out": (
    "class htb 584e:1 root rate 950Mbit ceil 950Mbit\nclass htb 584e:2 parent 584e:1 prio 0 rate 850Mbit ceil 950Mbit\n"
    "class htb 584e:10 parent 584e:1 prio 0 rate 100Mbit ceil 950Mbit\n")}
FILTERS = {"command": ["tc", "-j", "filter", "show", "dev", "bond0", "parent", "584e:"],
           "out": json.dumps([{"options": {"classid": "584e:10", "keys": {"src_mac": MAC}}}])}
FILES = ["/etc/systemd/system/xenfold-limits.service", "/etc/xenfold/limits.json", *(
    f"/usr/local/lib/xenfold/limits/{name}.py" for name in ("__init__", "host", "kernel", "plan", "watch"))]


def xenstore(rate):
    lines = [f'vbd/3/51712/{key} = "{value}"' for key, value in (("dev", "xvda"), ("physical-device", "fd:1"), ("state", "4"))]
    lines += [f'vif/3/0/{key} = "{value}"' for key, value in (("mac", MAC), ("state", "4"), *((("rate", rate),) if rate else ()))]
    return {"command": ["xenstore-ls", "-f", "/local/domain/0/backend"],
            "out": "".join(f"/local/domain/0/backend/{line}\n" for line in lines)}


def qdiscs(limited):
    there = [{"kind": "htb", "handle": "584e:", "dev": "bond0", "root": True, "options": {}},
             {"kind": "tbf", "handle": "584e:", "dev": "vif3.0", "root": True, "options": {"rate": 625000}}]
    return {"command": ["tc", "-j", "qdisc", "show"], "out": json.dumps(there if limited else [])}


LIMITED = [xenstore("1250000,50000"), NAMES, qdiscs(True), CLASSES, FILTERS]
UNLIMITED = [xenstore(None), NAMES, qdiscs(False)]
STEPS = [
    {"verb": "limit", "target": "disk xvda of guest web01", "detail": "no limit -> wbps=2097152, threads 70 without limit"},
    {"verb": "limit", "target": f"network {MAC} of guest web01", "detail": "rate no limit -> 1250000,50000 for each of 1 queues"},
    {"verb": "limit", "target": f"network {MAC} of guest web01", "detail": "receive no limit -> 5 Mbit/s"},
    {"verb": "share", "target": "uplink of bridge xenbr0", "detail": "web01 100 Mbit/s"},
]
NEW = [
    {"verb": "write", "target": "file /etc/xenfold/limits.json", "detail": ""},
    {"verb": "write", "target": "file /etc/systemd/system/xenfold-limits.service", "detail": ""},
    {"verb": "write", "target": "program /usr/local/lib/xenfold/limits", "detail": ""},
    {"verb": "enable", "target": "service xenfold-limits.service", "detail": ""},
    {"verb": "start", "target": "service xenfold-limits.service", "detail": ""},
]
TOLD = {"web01": {"disks": {"xvda": {"write_mibps": 2}}, "networks": {MAC: {"rate_mbps": 200, "receive_mbps": 5, "min_mbps": 100}}}}


class Machine:
    """A host's files: cgroups, network, and what was stored."""

    def __init__(self, root):
        self.root = root
        for path, text in {
            "sys/fs/cgroup/cgroup.subtree_control": "cpu memory\n", "sys/fs/cgroup/cgroup.procs": "",
            "proc/70/comm": "3.xvda-0\n", "proc/70/stat": "70 (3.xvda-0) S 2 0",
            "sys/class/net/vif3.0/queues/tx-0/x": "", "sys/class/net/xenbr0/bridge/x": "", "sys/class/net/xenbr0/brif/bond0": "",
            "sys/class/net/bond0/speed": "1000\n", "sys/class/net/bond0/uevent": "",
        }.items():
            self.write(path, text)

    def write(self, path, text):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def limited(self, line="253:1 rbps=max wbps=2097152 riops=max wiops=max\n"):
        self.write("sys/fs/cgroup/cgroup.subtree_control", "cpu io\n")
        self.write("sys/fs/cgroup/xenfold/cgroup.subtree_control", "io\n")
        self.write("sys/fs/cgroup/xenfold/guest-web01/io.max", line)
        self.write("sys/fs/cgroup/xenfold/guest-web01/cgroup.procs", "70\n")

    def stored(self, guest=GUEST):
        for file in service.wanted_files(wanted.wanted_of([normalise(guest)])):
            self.write(file.path, file.content)

    def there(self):
        files = [path for folder in ("etc", "usr") for path in (self.root / folder).rglob("*") if path.is_file()]
        return sorted(f"/{path.relative_to(self.root)}" for path in files)


@pytest.fixture(name="machine")
def _machine(tmp_path, monkeypatch):
    machine = Machine(tmp_path / "root")
    (tmp_path / "guests").mkdir()
    seconds = iter(range(10_000))
    monkeypatch.setattr(service, "ROOT", str(machine.root))
    monkeypatch.setattr(service.Runner, "tool", staticmethod(lambda _name: True))
    monkeypatch.setattr(service.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(service.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(host, "xen_runs", lambda: True)
    monkeypatch.setattr(host, "missing", lambda _needs: frozenset())
    monkeypatch.setattr(apply, "scratch", lambda: contextlib.nullcontext(str(tmp_path / "scratch")))
    monkeypatch.setattr(xl_guest.UnloggedModule, "warn", lambda _self, _line: None)
    return machine


@pytest.fixture(name="run")
def _run(tmp_path, machine):
    def run(guest, commands, output, check=False, says=(), **options):
        if guest is not None:
            (tmp_path / "guests" / "web01.cfg").write_text(render(normalise(guest)))
        return command_cases.run("xl_guest", {
            "flags": {"check": check, "diff": True},
            "input": {"guests": [guest] if guest else [], "config_dir": str(tmp_path / "guests"), "autostart_dir": str(tmp_path / "auto"),
                      **options},
            "run": [LIST, LONG, *commands], "output": output, "msg_contains": list(says)})

    return run


BROUGHT = [ABSENT, *UNLIMITED, {"command": ["systemctl", "daemon-reload"]},
           {"command": ["systemctl", "enable", "xenfold-limits.service"]}, RESTART, LIST]


def test_limits_come_to_a_host_and_are_read_back(machine, run, monkeypatch):
    # The watcher has been at work when the host is looked at again.
    monkeypatch.setattr(service.time, "sleep", lambda _seconds: machine.limited())
    result = run(GUEST, [*BROUGHT, *UNLIMITED, RUNS, *LIMITED, RUNS], {"changed": True, "actions": NEW + STEPS, "limits": TOLD})
    assert machine.there() == FILES
    assert [entry.get("before_header", "lines") for entry in result["diff"]] == [
        "/etc/xenfold/limits.json", "/etc/systemd/system/xenfold-limits.service", "lines"]
    assert result["diff"][2]["prepared"].splitlines()[-1] == "share uplink of bridge xenbr0: web01 100 Mbit/s"


def test_limits_that_do_not_hold_afterwards_fail_the_run(run, monkeypatch):
    monkeypatch.setattr(service, "PROVE_SECONDS", 0)
    run(GUEST, [*BROUGHT, *UNLIMITED, ABSENT], {"failed": True, "changed": True}, says=[
        "limits do not hold 0 s after they were set: limit disk xvda of guest web01: no limit -> wbps=2097152, threads 70 without limit;",
        "xenfold-limits.service does not run (journalctl -u xenfold-limits.service)"])


def test_a_second_run_changes_nothing(machine, run):
    machine.stored()
    machine.limited()
    run(GUEST, [RUNS, *LIMITED], {"changed": False, "actions": [], "limits": TOLD, "diff": []})


@pytest.mark.parametrize("check", [True, False])
def test_a_guest_that_is_connecting_just_now_is_no_difference(machine, run, monkeypatch, check):
    machine.stored()
    monkeypatch.setattr(service.time, "sleep", lambda _seconds: machine.limited())
    run(GUEST, [RUNS, *UNLIMITED, *LIMITED], {"changed": False, "actions": [], "limits": TOLD}, check=check)


def test_what_was_removed_by_hand_is_shown_and_set_again(machine, run, monkeypatch):
    machine.stored()
    restart = {"verb": "restart", "target": "service xenfold-limits.service", "detail": ""}
    commands = [RUNS, *UNLIMITED * service.SETTLE_LOOKS]
    run(GUEST, commands, {"changed": True, "actions": [restart, *STEPS]}, check=True)
    monkeypatch.setattr(apply, "write", lambda _steps, _places: machine.limited())
    run(GUEST, [*commands, RESTART, LIST, *LIMITED, RUNS], {"changed": True, "actions": [restart, *STEPS], "limits": TOLD})


def test_a_limit_that_is_changed(machine, run):
    machine.stored()
    machine.limited()
    changed = GUEST | {"disks": [GUEST["disks"][0] | {"limits": {"write_mibps": 4}}]}
    result = run(changed, [RUNS, *LIMITED], {"changed": True}, check=True)
    assert [f"{action['verb']} {action['target']}: {action['detail']}" for action in result["actions"]] == [
        "write file /etc/xenfold/limits.json: ", "restart service xenfold-limits.service: ",
        "limit disk xvda of guest web01: wbps=2097152 -> wbps=4194304"]
    assert '"write_mibps": 2' in result["diff"][0]["before"]
    assert '"write_mibps": 4' in result["diff"][0]["after"]


GONE = [xenstore("1250000,50000"), NAMES, qdiscs(True)]
LIFTED = [
    {"verb": "remove", "target": "service xenfold-limits.service", "detail": "no guest has limits"},
    {"verb": "lift", "target": "disks of guest web01", "detail": "no limits"},
    {"verb": "lift", "target": f"network {MAC} of guest web01", "detail": "rate 1250000,50000"},
    {"verb": "lift", "target": "device bond0", "detail": "htb of limits that are gone"},
    {"verb": "lift", "target": "device vif3.0", "detail": "tbf of limits that are gone"},
]
LIFTING = [{"command": ["xenstore-rm", "/local/domain/0/backend/vif/3/0/rate"]}, *(
    {"command": ["tc", "qdisc", "del", "dev", device, "root"]} for device in ("bond0", "vif3.0"))]
STOP = [{"command": ["systemctl", "disable", "--now", "xenfold-limits.service"]}, {"command": ["systemctl", "daemon-reload"]}]


@pytest.fixture(name="kernel_forgets")
def _kernel_forgets(machine, monkeypatch):
    """cgroupfs removes a group with its files."""
    real = os.rmdir

    def rmdir(path, **settings):
        if "guest-" in str(path):
            for file in machine.root.glob("sys/fs/cgroup/xenfold/guest-web01/*"):
                file.unlink()
        real(path, **settings)

    monkeypatch.setattr(os, "rmdir", rmdir)


@pytest.mark.usefixtures("kernel_forgets")
def test_when_no_guest_has_limits_everything_goes(machine, run):
    machine.stored()
    machine.limited()
    run(FREE, [RUNS, *GONE], {"changed": True, "actions": LIFTED}, check=True)
    assert machine.there() == FILES
    run(FREE, [RUNS, *GONE, *STOP, *GONE, *LIFTING, LIST, *UNLIMITED], {"changed": True, "actions": LIFTED, "limits": {}})
    assert machine.there() == []
    assert (machine.root / "sys/fs/cgroup/cgroup.procs").read_text() == "70"
    assert not (machine.root / "sys/fs/cgroup/xenfold/guest-web01").exists()
    run(FREE, [], {"changed": False, "actions": [], "limits": {}})


@pytest.mark.usefixtures("kernel_forgets")
def test_a_removal_that_was_cut_off_is_finished(machine, run):
    machine.write("/etc/xenfold/limits.json", "{}")
    machine.limited()
    run(FREE, [ABSENT, *GONE, *GONE, *LIFTING, LIST, *UNLIMITED], {"changed": True, "actions": LIFTED})
    assert machine.there() == []


def test_what_cannot_be_lifted_fails_and_is_tried_again_by_the_next_run(machine, run):
    machine.stored()
    broken = [{**LIFTING[0], "rc": 1, "err": "xenstore-rm: could not remove path\n"}, *LIFTING[1:]]
    run(FREE, [RUNS, *GONE, *STOP, *GONE, *broken], {"failed": True}, says=["limits are not lifted: lift network", "could not remove path"])
    assert "/etc/xenfold/limits.json" in machine.there()


def test_a_host_without_limits_is_asked_nothing(machine, run):
    run(FREE, [], {"changed": False, "actions": [], "limits": {}})
    assert machine.there() == []


def test_a_bare_host_shows_what_the_run_then_does(machine, monkeypatch, tmp_path):
    options = {"guests": [GUEST], "config_dir": str(tmp_path / "guests"), "autostart_dir": str(tmp_path / "auto")}
    monkeypatch.setattr(host, "xen_runs", lambda: False)
    monkeypatch.setattr(service, "ROOT", str(tmp_path / "bare"))
    shown = command_cases.run("xl_guest", {"flags": {"check": True}, "input": options, "run": [ABSENT]})
    assert [action for action in shown["actions"] if "xenfold-limits" in action["target"]]
    monkeypatch.setattr(host, "xen_runs", lambda: True)
    monkeypatch.setattr(service, "ROOT", str(machine.root))
    empty = {"command": ["xl", "list"], "out": "Name ID Mem VCPUs State Time(s)\nDomain-0 0 896 1 r----- 5\n"}
    bare = {"command": ["xenstore-ls", "-f", "/local/domain/0/backend"], "rc": 1,
            "err": "xenstore-ls: xs_directory (/local/domain/0/backend): No such file or directory\n"}
    dryrun = {"command": ["xl", "create", "--dryrun", "--quiet", f"{tmp_path}/scratch/web01.cfg"]}
    done = command_cases.run("xl_guest", {"flags": {"check": True}, "input": options,
                                          "run": [empty, ABSENT, bare, qdiscs(False), dryrun]})
    assert done["actions"] == shown["actions"]


@pytest.mark.parametrize(("least", "ports", "says"), [
    (901, ["bond0"], "guest 'web01': min_mbps: 901 Mbit/s together (web01 901), allowed 900 Mbit/s, 90 % of the 1000 Mbit/s of bond0"),
    (100, [], "guest 'web01': min_mbps: bridge xenbr0 has the ports none to the outside, allowed exactly one"),
    (100, None, "minimum shares cannot be held: there is no bridge xenbr0"),
])
def test_shares_that_cannot_be_held_stop_the_run_before_anything_is_touched(machine, run, least, ports, says):
    brif = machine.root / "sys/class/net/xenbr0/brif/bond0"
    if ports is None:
        (machine.root / "sys/class/net/xenbr0/bridge/x").unlink()
        (machine.root / "sys/class/net/xenbr0/bridge").rmdir()
    elif not ports:
        brif.unlink()
    guest = FREE | {"networks": [{"bridge": "xenbr0", "min_mbps": least}]}
    run(guest, [ABSENT, *UNLIMITED], {"failed": True, "changed": False}, says=["No guest was changed: ", says])
    assert machine.there() == []


def test_a_partition_cannot_be_limited(machine, run, monkeypatch):
    disk = {"path": "/dev/sda3", "limits": {"read_iops": 5}}
    machine.write("sys/dev/block/8:3/partition", "3\n")
    monkeypatch.setattr(service, "_number", lambda path: "8:3" if path == f"{machine.root}/dev/sda3" else None)
    run(FREE | {"disks": [disk]}, [ABSENT, *UNLIMITED], {"failed": True}, says=[
        "guest 'web01': disks[0].limits: /dev/sda3 is a partition, allowed for whole devices and volumes"])


def test_what_is_no_block_device_has_no_number(tmp_path):
    (tmp_path / "file").touch()
    assert [service._number(path) for path in (str(tmp_path / "file"), str(tmp_path / "none"), "/dev/null")] == [None, None, None]


def test_xenstore_that_does_not_answer_is_told(run):
    broken = {**UNLIMITED[0], "rc": 1, "out": "", "err": "xenstore-ls: xs_open: No such file or directory\n"}
    run(GUEST, [ABSENT, broken], {"failed": True}, says=["limits of guests cannot be read: 'xenstore-ls -f"])


def test_a_disk_that_goes_while_it_is_asked_about_is_told(run, monkeypatch):
    def gone(_self, _wanted):
        raise FileNotFoundError(2, "No such file or directory", "/sys/class/net/vif3.0")

    monkeypatch.setattr(service.host.Host, "read", gone)
    run(GUEST, [ABSENT], {"failed": True}, says=["limits of guests cannot be read: [Errno 2]", "vif3.0"])


def test_a_unit_that_systemd_was_not_told_of(machine, run):
    """A run was cut off between writing it and daemon-reload."""
    machine.stored()
    machine.limited()
    stale = {**RUNS, "out": RUNS["out"].replace("NeedDaemonReload=no", "NeedDaemonReload=yes")}
    reload = {"command": ["systemctl", "daemon-reload"]}
    action = [{"verb": "restart", "target": "service xenfold-limits.service", "detail": ""}]
    run(GUEST, [stale, *LIMITED, reload, RESTART, LIST, *LIMITED, RUNS], {"changed": True, "actions": action})


def test_guests_that_start_with_the_host_find_the_watcher(machine):
    machine.stored()
    unit = (machine.root / "etc/systemd/system/xenfold-limits.service").read_text()
    assert "\nBefore=xendomains.service\n" in unit
    assert "\nAfter=xen.service\n" in unit


def test_limits_of_visitors_are_there_before_they_are(machine, run):
    limits = FilterModule().filters()["limits_of"]([GUEST | {"name": "db01"}, FREE])
    assert limits == {"db01": {"disks": {"xvda": {"write_mibps": 2}},
                               "networks": {mac_of("db01", 0): {"bridge": "xenbr0", "rate_mbps": 200, "receive_mbps": 5}}}}
    result = run(FREE, [ABSENT, *UNLIMITED], {"changed": True, "actions": NEW}, check=True, visitors=limits)
    assert json.loads(result["diff"][0]["after"])["guests"] == limits | {
        "web01": {"disks": {}, "networks": {MAC: {"bridge": "xenbr0"}}}}
    assert machine.there() == []


def test_a_guest_of_the_host_is_no_visitor():
    both = {**wanted.for_visitors(wanted.wanted_of([normalise(GUEST)])), **wanted.wanted_of([normalise(FREE)])}
    assert both == wanted.wanted_of([normalise(FREE)])


@pytest.mark.parametrize(("visitors", "says"), [
    ({"a": 5}, "visitors: a: value 5, allowed disks and networks as the filter limits_of gives them"),
    ({"a": {"disks": {}}}, "visitors: a: value {'disks': {}}, allowed disks and networks"),
    ({"a": {"disks": {"xvda": 5}, "networks": {}}}, "visitors: a: value"),
    ({"a": {"disks": {"xvda": {"speed": 5}}, "networks": {}}}, "visitors: a: disks: xvda: value {'speed': 5}, allowed read_iops, "),
    ({"a": {"disks": {"xvda": {"read_iops": 0}}, "networks": {}}}, "visitors: a: disks: xvda: value {'read_iops': 0}"),
    ({"a": {"disks": {"xvda": {"read_iops": True}}, "networks": {}}}, "visitors: a: disks: xvda: value {'read_iops': True}"),
    ({"a": {"disks": {}, "networks": {"m": {"rate_mbps": 5}}}}, "visitors: a: networks: m: value {'rate_mbps': 5}, allowed bridge, "),
    ({"a": {"disks": {}, "networks": {"m": {"bridge": "b", "min_mbps": 5}}}}, "visitors: a: networks: m: value"),
    ({"a": {"disks": {}, "networks": {"m": {"bridge": 5, "rate_mbps": 5}}}}, "visitors: a: networks: m: value"),
    ({"a": {"disks": {}, "networks": {"m": {"bridge": "b", "rate_mbps": 10**9}}}}, "visitors: a: networks: m: value"),
    ({"a": {"disks": {}, "networks": {"00:16:3E:00:00:0A": {"bridge": "b", "rate_mbps": 5}}}}, "visitors: a: networks: 00:16:3E:00:00:0A"),
    # The watcher would end at it, and all limits with it.
    ({"a": {"disks": {"xvda": {}}, "networks": {}}}, "visitors: a: disks: xvda: value {}"),
    ({"../a": {"disks": {"xvda": {"read_iops": 5}}, "networks": {}}}, "visitors: ../a: name: value '../a', allowed 1 to 63"),
])
def test_visitors_that_nobody_can_follow(visitors, says):
    result = command_cases.run("xl_guest", {"input": {"guests": [], "visitors": visitors}, "output": {"failed": True}})
    assert says in result["msg"]


@pytest.mark.parametrize(("guests", "says"), [
    (3, "value of type int, allowed a list of guests"), ({"a": 1}, "value of type dict, allowed a list of guests"),
    ([{"name": "a"}], "guest 'a': memory_mib: is missing"), ([3], "guest number 1: value 3"),
])
def test_the_filter_names_what_is_wrong(guests, says):
    with pytest.raises(AnsibleFilterError, match=f"limits_of: .*{says}"):
        FilterModule().filters()["limits_of"](guests)


def test_the_file_is_the_same_however_definitions_are_ordered():
    other = GUEST | {"name": "db01"}
    texts = {wanted.text_of(wanted.wanted_of(map(normalise, guests))) for guests in ([GUEST, other], [other, GUEST])}
    assert len(texts) == 1
    assert texts.pop().endswith("}\n")


def test_a_rate_is_no_difference_of_the_running_configuration_while_it_is_wanted(machine, run):
    machine.stored()
    machine.limited()
    result = run(GUEST, [RUNS, *LIMITED], {"changed": False})
    assert result["pending"] == []


def test_a_rate_that_was_given_up_is_told_as_xl_would_bring_it_back(machine, run, monkeypatch):
    with_rate = json.loads(json.dumps(CONFIG))
    with_rate["config"]["nics"][0] |= {"rate_bytes_per_interval": 1250000, "rate_interval_usecs": 50000}
    monkeypatch.setitem(LONG, "out", json.dumps([with_rate]))
    result = run(FREE, [], {"changed": False})
    assert [(pending["key"], pending["running"][0]["rate_mbps"]) for pending in result["pending"]] == [("networks", 200)]
    assert machine.there() == []
