# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.volumes_of import FilterModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import (
    before,
    changes,
    commands,
    compare,
    cpuid,
    cpus,
    devices,
    host,
    parse,
    plan,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render
from hypothesis import given
from hypothesis import strategies as st

TABLE_4_17 = (
    "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
    "Domain-0                                     0   896     1     r-----     205.1\n"
    "a-guest-with-a-name-that-is-longer-than-its-column   12 16384    16     -b----  123456.7\n"
)


def _table(flags):
    return f"Name ID Mem VCPUs State Time(s)\ng 3 128 1 {flags} 0.0\n"


def test_the_table():
    domains = parse.parse_list(TABLE_4_17)
    assert list(domains) == ["Domain-0", "a-guest-with-a-name-that-is-longer-than-its-column"]
    assert domains["Domain-0"] == parse.Domain("Domain-0", 0, 896, 1, "r-----", 205.1)
    assert domains["a-guest-with-a-name-that-is-longer-than-its-column"].memory_mib == 16384


@pytest.mark.parametrize(("flags", "state"), [
    ("r-----", "running"), ("-b----", "running"), ("------", "running"), ("--p---", "paused"), ("-bp---", "paused"),
    ("---s--", "shutdown"), ("---sr-", "shutdown"), ("---ss-", "shutdown"), ("--ps--", "shutdown"), ("---sc-", "crashed"),
    ("----c-", "crashed"), ("---s-d", "dying"), ("-----d", "dying"), ("--p--d", "dying"),
])
def test_states(flags, state):
    assert parse.parse_list(_table(flags))["g"].state == state


@pytest.mark.parametrize("text", ["", "error\n", TABLE_4_17 + "half a li\n", TABLE_4_17.replace("896", "8x6"), _table("r----")])
def test_what_is_no_table_is_refused(text):
    with pytest.raises(ValueError, match="'xl list' printed"):
        parse.parse_list(text)


@pytest.mark.parametrize("text", ["{}", "[{", "null"])
def test_what_is_no_list_of_configurations_is_refused(text):
    with pytest.raises(ValueError, match="'xl list -l' printed"):
        parse.parse_list_long(text)


def test_configurations_without_a_name_are_left_out():
    assert parse.parse_list_long("") == {}
    assert parse.parse_list_long('[{"domid": 1, "config": {"c_info": {}}}, {"domid": 2}]') == {}


def test_info_keeps_colons_and_empty_values():
    text = "host                   : xen01\nversion : #1 SMP Wed 19:11:01 UTC\nxen_extra              :\nno line\n"
    assert parse.parse_info(text) == {"host": "xen01", "version": "#1 SMP Wed 19:11:01 UTC", "xen_extra": ""}


def test_errors_come_without_places_in_the_source():
    text = (
        "Parsing config from /x.cfg\ngot a tsc mode string: \"native\"\n"
        "libxl: error: libxl_device.c:1111:device_backend_callback: Domain 3:unable to add device with path /local\n"
        "libxl: error: libxl_device.c:1111:device_backend_callback: Domain 3:unable to add device with path /local\n"
        "plain words\n"
    )
    assert parse.parse_error(text) == "Domain 3:unable to add device with path /local; plain words"


NODES = {0: 0, 1: 0, 2: 1, 3: 1}


@pytest.mark.parametrize(("wanted", "numbers"), [
    ("0-3,^1", {0, 2, 3}), ("5", {5}), ("1,0", {0, 1}), ("all", {0, 1, 2, 3}), ("nodes:0", {0, 1}), ("node:1,^3", {2}), ("4095", {4095}),
    ("0-1,^nodes:0,3", {3}), ("none", set()), ("nodes:7", set()),
])
def test_lists_of_cpus(wanted, numbers):
    assert cpus.cpu_set(wanted, NODES) == numbers


@given(st.one_of(st.text(max_size=20), st.text("0123456789-^,:nodesal", max_size=20)))
def test_no_text_for_cpus_is_too_much(wanted):
    try:
        assert len(cpus.cpu_set(wanted, NODES)) <= 4096
    except ValueError as error:
        assert str(error).endswith("is no list of CPUs")


@given(st.sets(st.integers(0, 40)))
def test_cpus_come_back_as_xl_prints_them(numbers):
    assert cpus.cpu_set(cpus.text_of(numbers) or "none", NODES) == numbers


@pytest.mark.parametrize(("wanted", "allowed"), [("0-3", None), ("nodes:1", None), ("all", None), ("0-4", "0-3 (nodes 0-1)"),
                                                 ("nodes:2", "0-3 (nodes 0-1)"), ("1,^1", "0-3 (nodes 0-1)")])
def test_cpus_that_the_host_does_not_have(wanted, allowed):
    told = cpus.problem(wanted, NODES)
    assert told == (allowed and f"cpus: value {wanted!r}, allowed one or more of the host's CPUs {allowed}")


@pytest.mark.parametrize(("wanted", "shown", "nodes", "told"), [
    ("0-1", ["0-1", "0-1"], NODES, None), ("0-1", ["0-1", "1"], NODES, "1"), ("0-3", ["all"], NODES, None), ("all", ["0-3"], NODES, None),
    ("all", ["none"], NODES, "none"), ("nodes:1", ["2-3"], NODES, None), ("1", [], NODES, None),
    # Without hyperthreading: CPUs 0, 2, 4 and 6 are online, and xl prints four bits.
    ("0,2,4,6", ["0,2"], {0: 0, 2: 0, 4: 1, 6: 1}, None), ("all", ["all"], {0: 0, 2: 0, 4: 1, 6: 1}, None),
    ("0,2", ["all"], {0: 0, 2: 0, 4: 1, 6: 1}, "all"), ("nodes:1", ["none"], {0: 0, 2: 0, 4: 1, 6: 1}, None),
])
def test_cpus_that_differ(wanted, shown, nodes, told):
    assert cpus.differing(wanted, shown, nodes) == told


TOPOLOGY = (
    "free_memory            : 96\ncpu_topology           :\ncpu:    core    socket     node\n"
    "  0:       0        0        0\n 12:       6        0        1\ndevice topology        :\n"
    "No device topology data available\nnuma_info              :\n"
    "node:    memsize    memfree    distances\n   0:      1024        512      10\n"
)


def test_the_topology_of_the_host():
    assert cpus.parse_topology(TOPOLOGY) == {0: 0, 12: 1}
    for text in ("", "free_memory : 96\n", "cpu_topology :\ncpu: core socket node\n"):
        with pytest.raises(ValueError, match="without a table of CPUs"):
            cpus.parse_topology(text)


VCPUS = (
    "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n"
    "Domain-0                             0     0    1   r--      10.4  all / all\n"
    "web01                                3     0    0   -b-       1.2  0-1,3 / 0\n"
    "web01                                3     1    -   --p       0.0  none / all\n"
)


def test_the_cpus_of_vcpus():
    assert cpus.parse_vcpu_list(VCPUS) == {"Domain-0": ["all"], "web01": ["0-1,3", "none"]}
    for text in ("", "error\n", VCPUS + "web01 3\n", VCPUS.replace("0-1,3", "0-1,x")):
        with pytest.raises(ValueError, match="'xl vcpu-list' printed"):
            cpus.parse_vcpu_list(text)


def test_pools():
    listed = "Name ID Mem VCPUs State Time(s)         Cpupool\nweb01 3 128 1 -b---- 20.4           Pool-0\n"
    assert cpus.parse_pools_of_domains(listed) == {"web01": "Pool-0"}
    assert cpus.parse_pools("Name               CPUs   Sched     Active   Domain count\nfast 2 credit y 0\n") == {"fast": "credit"}
    for parser, text in ((cpus.parse_pools, ""), (cpus.parse_pools, "Name\nfast 2\n"), (cpus.parse_pools_of_domains, "Name\nweb01 3\n")):
        with pytest.raises(ValueError, match="is no row of its table"):
            parser(text)


X = "x" * 32
LEAVES = [{"leaf": 7, "subleaf": 0, "ebx": X, "edx": f"0{X[1:]}"}, {"leaf": 0x80000001, "ecx": X}]
LINES = [f"0x7,0:ebx={X},edx=0{X[1:]}", f"0x80000001:ecx={X}"]


@pytest.mark.parametrize(("shown", "lines"), [
    (None, []), ([], []), (LEAVES, LINES), ({}, []), ({"cpuid": [], "msr": []}, []),
    ({"cpuid": LEAVES[::-1], "msr": []}, LINES), ({"cpuid": LEAVES}, LINES),
    ({"msr": [{"index": 266, "policy": "x" * 64}]}, [f'msr {{"index": 266, "policy": "{"x" * 64}"}}']),
    # Forms of nobody yet.
    ("host", None), ({"leaves": []}, None), ({"cpuid": {}}, []), ({"cpuid": {"7": 1}}, None), ({"msr": "x"}, None), ([7], None),
    ([{"leaf": "7", "ebx": X}], None), ([{"leaf": 7, "subleaf": "0", "ebx": X}], None), ([{"leaf": 7, "bits": X}], None), (5, None),
])
def test_how_xl_shows_cpuid(shown, lines):
    assert cpuid.of_config(shown) == lines


def test_lines_of_one_meaning_are_one():
    assert cpuid.canonical([f"0x80000001:ecx={X}", f"0x00000007,0:edx=0{X[1:]},ebx={X}"]) == LINES
    assert cpuid.canonical([f"0x7:ebx={X}"]) != cpuid.canonical([f"0x7,0:ebx={X}"])


@pytest.mark.parametrize(("shown", "stored", "wanted", "told"), [
    (None, None, None, None), (None, None, [], None), (None, None, LINES, ([], LINES)), (LEAVES, None, LINES[::-1], None),
    ({"cpuid": LEAVES, "msr": []}, None, LINES, None), (LEAVES, None, [], (LINES, [])),
    # What xl shows in a form of its own counts as what was stored.
    ("?", None, LINES, None), ("?", LINES, LINES, None), ("?", LINES, [], (LINES, [])), ("?", [], LINES, ([], LINES)),
])
def test_cpuid_of_a_running_guest(shown, stored, wanted, told):
    guest = normalise({"name": "a", "memory_mib": 64, "boot": {"kernel": "/k"}, "cpuid": wanted})
    text = None if stored is None else render({**guest, "cpuid": stored})
    found = [pending for pending in compare.pending(guest, {"b_info": {"cpuid": shown}}, text) if pending.key == "cpuid"]
    assert [(pending.running, pending.wanted, pending.needs) for pending in found] == (
        [(*told, "a stop and a new start of the guest")] if told else [])
    assert all(pending.by == "reboot" for pending in found)


def test_sizes_of_a_configuration_with_defaults_left_out():
    assert compare.sizes({}) == {
        "vcpus": 1, "maxvcpus": 1, "memory_mib": 0, "maxmem_mib": 0, "cpu_weight": 256, "cap_percent": 0,
    }


def test_what_is_missing(tmp_path):
    (tmp_path / "disk.img").touch()
    (tmp_path / "folder").mkdir()
    needs = [f"file {tmp_path}/disk.img", f"disk {tmp_path}/disk.img", f"disk {tmp_path}/folder", f"file {tmp_path}/none",
             "disk /dev/null", "bridge xf-none"]
    assert host.missing(needs) == set(needs[2:])


def test_links_are_read_as_absolute_paths(tmp_path):
    assert host.read_links(str(tmp_path / "none")) == ({}, ())
    (tmp_path / "10-a").symlink_to("../guests/a.cfg")
    (tmp_path / "plain").touch()
    assert host.read_links(str(tmp_path)) == ({"10-a": f"{tmp_path.parent}/guests/a.cfg"}, ("plain",))


def test_the_filter_names_what_is_wrong():
    volumes_of = FilterModule().filters()["volumes_of"]
    disk = {"name": "root", "size_gib": 1, "volume_group": "vg"}
    assert volumes_of([{"name": "a", "memory_mib": 64, "disks": [disk]}]) == [
        {"name": "a-root", "volume_group": "vg", "size_gib": 1}]
    with pytest.raises(AnsibleFilterError, match="guest 'a': memory_mib: is missing; a workload without it is for planning only"):
        volumes_of([{"name": "a", "disks": [disk]}])


def test_a_creation_is_given_up_when_no_xl_of_it_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "CREATING", str(tmp_path))
    assert not host.given_up("web01")
    file = tmp_path / "web01"
    # As the module does it: what is run inherits the lock, and so does what that leaves in the background.
    script = "sleep 60 > /dev/null & echo $!; read line"
    argv = ["flock", "-n", "-E", str(commands.TAKEN), str(file)]
    with subprocess.Popen([*argv, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        left = int(running.stdout.readline())
        try:
            assert not host.given_up("web01")
            assert subprocess.run([*argv, "true"], check=False).returncode == commands.TAKEN
            running.communicate("\n")
            assert not host.given_up("web01")
        finally:
            os.kill(left, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not host.given_up("web01"):
        assert time.monotonic() < deadline


WAITING = [changes.Pending.of("a", "k", 1, 2, by) for by in changes.WAYS]


@pytest.mark.parametrize(("given_for", "waiting", "way"), [
    ((), WAITING[1:2], None), (("detach",), WAITING[:1], None), (("reboot",), WAITING[:1], "reboot"), (("reboot",), WAITING[:2], "reboot"),
    (("reboot",), WAITING, None), (("recreate",), WAITING[:1], "recreate"), (("recreate",), WAITING, "recreate"),
    (("reboot", "recreate"), WAITING[:2], "reboot"), (("reboot", "recreate"), WAITING, "recreate"), (("reboot", "recreate"), [], None),
    (("reboot", "recreate"), [changes.Pending("a", "state", 1, 2, "a decision")], None),
])
def test_what_consents_bring_about(given_for, waiting, way):
    consents = changes.Consents({name: ["a"] for name in given_for})
    renewal = consents.renewal("a", waiting)
    assert (renewal and renewal.way) == way
    assert consents.renewal("b", waiting) is None


def test_a_consent_to_give_up_a_device_spares_the_reboot():
    guest = normalise({"name": "a", "memory_mib": 64, "boot": {"kernel": "/k"}})
    domain = parse.Domain("a", 3, 64, 1, "-b----", 1.0)
    config = {"c_info": {"type": "pvh", "uuid": guest["uuid"]}, "b_info": {"max_memkb": 65536, "target_memkb": 65536, "kernel": "/k"},
              "disks": [{"vdev": "xvda", "pdev_path": "/srv/a", "readwrite": 1}], "on_reboot": "restart", "on_crash": "restart"}
    state = host.HostState(True, {"a": domain}, {"a": config})
    for ways, verbs in ((["reboot"], ["reboot"]), (["detach"], ["detach"]), (["detach", "reboot"], ["detach"]), ([], [])):
        steps = plan.steps([guest], state, plan.Places("/g", "/a"), consents=changes.Consents({way: ["a"] for way in ways}))
        assert [action.verb for action in steps.actions()][1:] == verbs, ways
        assert bool(steps.pending) is not bool(verbs)


@pytest.mark.parametrize(("key", "shown", "wanted", "told"), [
    ("firmware", {}, "uefi", "bios"), ("firmware", {"type.hvm": {"bios": "seabios"}}, "bios", None),
    ("firmware", {"type.hvm": {"bios": "ovmf"}}, "bios", "uefi"), ("firmware", {"type.hvm": {"bios": "ovmf"}}, None, None),
])
def test_firmware(key, shown, wanted, told):
    guest = normalise({"name": "a", "type": "hvm", "memory_mib": 64, "disks": [{"path": "/d"}], key: wanted})
    found = [(entry.running, entry.by) for entry in compare.pending(guest, {"b_info": shown}, None) if entry.key == key]
    assert found == ([(told, "reboot")] if told else [])


@pytest.mark.parametrize("shown", [
    {"pcidevs": [{"dev": 2, "bus": 10, "func": 1}, {"bus": 3}]}, {"pcis": [{"bdf": {"dev": 2, "bus": 10, "func": 1}}, {"bdf": {"bus": 3}}]},
])
def test_pci_devices(shown):
    def pending(*addresses):
        guest = normalise({"name": "a", "type": "pv", "memory_mib": 64, "disks": [{"path": "/d"}],
                           "pci": [{"address": address} for address in addresses]})
        return [(entry.running, entry.wanted, entry.by) for entry in compare.pending(guest, shown, None) if entry.key == "pci"]

    assert pending("0000:0A:02.1", "0000:03:00.0") == []
    assert pending("0000:03:00.0") == [(["0000:03:00.0", "0000:0a:02.1"], ["0000:03:00.0"], "reboot")]


RECORDED = yaml.safe_load((Path(__file__).parent / "recorded_configs.yml").read_text())


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["id"])
def test_what_xl_makes_of_a_definition_is_no_difference(case):
    guest, config = normalise(case["guest"]), json.loads(case["shows"])
    assert config["c_info"]["uuid"] == guest["uuid"]
    assert compare.pending(guest, config, None) == []
    assert compare.live_changes(guest, config, cpus.Placing()) == []
    assert devices.difference(guest, config, {}, True) == devices.Difference()


def test_a_pci_device_that_may_be_written_less():
    guest = normalise(RECORDED[0]["guest"])
    guest["pci"][1]["permissive"] = False
    found = compare.pending(guest, json.loads(RECORDED[0]["shows"]), None)
    assert [(entry.key, entry.running[1], entry.wanted[1]) for entry in found] == [("pci", "0000:0a:00.1,permissive=1", "0000:0a:00.1")]


def test_a_driver_domain_starts_first_and_its_guests_need_it():
    def guest(name, **more):
        return normalise({"name": name, "memory_mib": 64, "boot": {"kernel": "/k"}, **more})

    served = guest("a", networks=[{"bridge": "x", "backend": "z"}], disks=[{"path": "/d", "backend": "z"}])
    ordered = plan.order([served, guest("b", autostart=1), guest("z", driver_domain=True)])
    assert [one["name"] for one in ordered] == ["z", "b", "a"]
    assert host.needs_of(served) == ["domain z", "file /k", "domain z"]
    state = host.HostState(True)
    assert plan.steps(ordered, state, plan.Places("/g", "/a")).not_yet == []
    assert plan.steps([served], state, plan.Places("/g", "/a")).not_yet == ["guest 'a' cannot start: there is no domain z, no domain z"]


def test_what_uefi_and_pci_devices_need(tmp_path, monkeypatch):
    guest = normalise({"name": "a", "type": "hvm", "memory_mib": 64, "firmware": "uefi", "pci": [{"address": "0000:03:00.0"}],
                       "disks": [{"cdrom": True}]})
    needs = host.needs_of(guest)
    assert needs == ["file /usr/share/ovmf/OVMF.fd", "PCI device of pciback 0000:03:00.0"]
    monkeypatch.setattr(host, "PCIBACK", str(tmp_path))
    assert host.missing(needs[1:]) == set(needs[1:])
    (tmp_path / "0000:03:00.0").touch()
    assert host.missing([*needs[1:], "domain nobody"]) == set()


@pytest.mark.parametrize(("free_mib", "starting", "short"), [
    (700, [], []), (400, [], ["b"]), (700, ["c"], ["b"]), (400, ["c"], ["a", "b"]), (0, [], ["a", "b"]),
])
def test_memory_is_counted_for_all_that_start_anew(free_mib, starting, short):
    guests = [normalise({"name": name, "memory_mib": 300, "boot": {"kernel": "/k"}}) for name in "abc"]
    config = {"b_info": {"max_vcpus": 1, "max_memkb": 65536}}
    state = host.HostState(True, {name: parse.Domain(name, 3, 64, 1, "-b----", 1.0) for name in "ab"}, {"a": config, "b": config})
    steps = plan.Steps(start=starting, renew=[changes.Renewal(name, "reboot", ("maxmem_mib",)) for name in "ab"])
    told = plan.short_of_memory(steps, guests, state, free_mib)
    assert [line.split("'")[1] for line in told] == short
    assert plan.short_of_memory(plan.Steps(start=starting), guests, state, 0) == []


def test_a_guest_that_becomes_another_type_gets_no_device_of_the_new_one_before():
    guest = normalise({"name": "a", "type": "hvm", "memory_mib": 64, "disks": [{"path": "/a"}, {"cdrom": True, "path": "/cd"}],
                       "networks": [{"bridge": "x", "mac": "00:16:3e:00:00:01"}]})
    config = {"c_info": {"type": "pv"}, "nics": [{"mac": "00:16:3e:00:00:01", "bridge": "x"}],
              "disks": [{"vdev": "xvda", "pdev_path": "/a", "readwrite": 1}, {"vdev": "hdd", "is_cdrom": 1}]}
    found = devices.difference(guest, config, {}, True)
    assert (found.changes, found.needs) == ([], [])
    assert [(entry.key, entry.by) for entry in found.pending] == [("disks", "recreate")]


HVM = {"name": "a", "type": "hvm", "memory_mib": 2048, "maxmem_mib": 4096, "vcpus": 2, "maxvcpus": 4, "disks": [{"path": "/dev/vg/a"}]}


def _hvm(**build):
    return {"c_info": {"type": "hvm"}, "on_reboot": "restart", "on_crash": "restart",
            "b_info": {"max_vcpus": 4, "avail_vcpus": [0, 1], "max_memkb": 4096 << 10, "target_memkb": 2048 << 10, **build},
            "disks": [{"vdev": "xvda", "pdev_path": "/dev/vg/a", "readwrite": 1}]}


@pytest.mark.parametrize(("kind", "shown_kib", "told"), [
    ("hvm", 2048 << 10, False), ("hvm", 2049 << 10, False), ("hvm", 2047 << 10, True), ("hvm", 2050 << 10, True), ("pvh", 2049 << 10, True),
])
def test_the_mib_that_xl_adds_to_the_target_of_a_guest_that_was_resized(kind, shown_kib, told):
    config = _hvm(target_memkb=shown_kib)
    config["c_info"]["type"] = kind
    changed = compare.live_changes(normalise({**HVM, "type": kind}), config, cpus.Placing())
    assert [change.key for change in changed] == (["memory_mib"] if told else [])


@pytest.mark.parametrize(("kind", "wanted", "live", "waits"), [
    ("hvm", 1, [], [("vcpus", 2, 1, "reboot")]), ("hvm", 3, ["vcpus"], []), ("hvm", 2, [], []), ("pvh", 1, ["vcpus"], []),
])
def test_vcpus_of_qemu_are_not_taken_away(kind, wanted, live, waits):
    guest, config = normalise({**HVM, "type": kind, "vcpus": wanted}), _hvm()
    config["c_info"]["type"] = kind
    assert [change.key for change in compare.live_changes(guest, config, cpus.Placing())] == live
    assert [(entry.key, entry.running, entry.wanted, entry.by) for entry in compare.pending(guest, config, None)
            if entry.key == "vcpus"] == waits


@pytest.mark.parametrize(("there", "wanted", "by"), [
    # QEMU has the first four from the start, whatever their name.
    ({"vdev": "xvdb", "pdev_path": "/b", "readwrite": 1}, None, "reboot"),
    ({"vdev": "xvde", "pdev_path": "/b", "readwrite": 1}, None, None),
    ({"vdev": "sde", "pdev_path": "/b", "readwrite": 1}, None, "reboot"), (None, {"path": "/b", "vdev": "xvdb"}, None),
])
def test_disks_that_qemu_has_are_not_called_given_up(there, wanted, by):
    guest, config = normalise({**HVM, "disks": [*HVM["disks"], *([wanted] if wanted else [])]}), _hvm()
    config["disks"] += [there] if there else []
    found = devices.difference(guest, config, {}, True)
    assert [entry.by for entry in found.pending] == ([by] if by else [])
    assert bool(found.changes) is (by is None)


@pytest.mark.parametrize(("access", "others", "holder"), [
    ("rw", [1], "b"), ("rw", [0], "b"), ("ro", [1], "b"), ("ro", [0], None), ("ro", [1, 0], "b"), ("ro", [0, 1], "c"), ("rw", [], None),
])
def test_disks_that_others_have(access, others, holder):
    configs = {name: {"disks": [{"vdev": "xvda", "pdev_path": "/d", "readwrite": writes}]}
               for name, writes in zip("bc", others, strict=False)}
    guest = normalise({"name": "a", "memory_mib": 64, "boot": {"kernel": "/k"}, "disks": [{"path": "/d", "access": access}]})
    uses = devices.Uses.of(configs | {"a": {"disks": [{"vdev": "xvda", "pdev_path": "/d", "readwrite": 1}]}}, {})
    assert uses.holder("a", guest["disks"][0]) == holder
    assert uses.holder("a", {**guest["disks"][0], "backend": "net01"}) is None


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["id"])
def test_what_a_guest_ran_with_is_what_it_was_defined_with(case):
    guest, config = normalise(case["guest"]), json.loads(case["shows"])
    changed = {**guest, "memory_mib": guest["memory_mib"] * 2, "maxmem_mib": guest["maxmem_mib"] * 2, "on_crash": "preserve", "pci": [],
               "disks": [], "networks": [], "boot": {**guest["boot"], "cmdline": "new"}, "firmware": None, "driver_domain": None}
    assert before.text_of(changed, config, {}) == render(guest)


def test_a_guest_that_becomes_another_type_is_kept_as_it_was():
    guest = normalise({**HVM, "firmware": "uefi", "vga": "qxl", "cpuid": LINES})
    config = _hvm(kernel="/k", cpuid=None, **{"type.pvh": {}}, target_memkb=(4096 << 10) + 1024)
    config["c_info"]["type"] = "pvh"
    text = before.text_of(guest, config, {})
    keys = ("type", "memory", "kernel", "firmware", "vga", "boot", "cpuid")
    assert [line for line in text.splitlines() if line.split(" ")[0] in keys] == [
        'type = "pvh"', "memory = 4096", 'kernel = "/k"']


@pytest.mark.parametrize(("said", "end"), [
    ("Waiting for 1 domains\nDomain 3 has been shut down, reason code 0\n", 0), ("Domain 3 has been shut down, reason code 2 0x2\n", 2),
    ("Domain 13 has been shut down, reason code 0\n", None), ("Domain 3 has been destroyed\n", None), ("", None),
])
def test_how_a_domain_ended(said, end):
    assert parse.parse_end(said, 3) == end


def test_a_warning_can_go_without_values():
    line = changes.Pending.of("a", "boot.cmdline", "token=old", "token=new", "reboot").line(hide=True)
    assert line == "guest 'a': boot.cmdline is not as it is wanted; this needs a stop and a new start of the guest (consent: reboot: [a])"


def test_a_disk_by_another_path_is_the_same(tmp_path):
    (tmp_path / "dm-3").touch()
    for name in ("vg-a", "mapper-a"):
        (tmp_path / name).symlink_to("dm-3")
    guest = normalise({"name": "a", "memory_mib": 64, "boot": {"kernel": "/k"}, "disks": [{"path": f"{tmp_path}/vg-a"}]})
    shown = {"a": {"disks": [{"vdev": "xvda", "pdev_path": f"{tmp_path}/mapper-a", "readwrite": 1}]}, "b": {"c_info": {}},
             "c": {"disks": [{"vdev": "xvda", "pdev_path": f"{tmp_path}/mapper-a", "backend_domid": 2}, {"vdev": "hdd", "pdev_path": ""}]}}
    found = host.with_wanted_paths(shown, [guest])
    assert devices.difference(guest, found["a"], {}, True) == devices.Difference()
    assert {name: found[name] for name in "bc"} == {name: shown[name] for name in "bc"}


@pytest.mark.parametrize(("events", "ways", "verb"), [
    ({}, ["reboot"], "reboot"), ({"on_reboot": "destroy"}, ["reboot"], None),
    ({"on_reboot": "destroy"}, ["reboot", "recreate"], "recreate"),
    ({"on_poweroff": "preserve"}, ["recreate"], None), ({"on_poweroff": "preserve"}, ["reboot", "recreate"], "reboot"),
    ({"on_poweroff": "restart"}, ["recreate"], None),
])
def test_no_guest_is_ended_by_a_way_that_does_not_bring_it_back(events, ways, verb):
    """What it runs with counts, also for devices that it has to give up."""
    guest = normalise({"name": "a", "memory_mib": 64, "boot": {"kernel": "/k"}, **events})
    config = {"c_info": {"type": "pvh", "uuid": guest["uuid"]}, "b_info": {"max_memkb": 65536, "target_memkb": 65536, "kernel": "/k"},
              "disks": [{"vdev": "xvda", "pdev_path": "/srv/a", "readwrite": 1}], "on_reboot": "restart", "on_crash": "restart", **events}
    state = host.HostState(True, {"a": parse.Domain("a", 3, 64, 1, "-b----", 1.0)}, {"a": config})
    steps = plan.steps([guest], state, plan.Places("/g", "/a"), consents=changes.Consents({way: ["a"] for way in ways}))
    assert [renewal.way for renewal in steps.renew] == ([verb] if verb else [])
    assert [entry.key for entry in steps.pending] == ([] if verb else ["disks"])


def test_a_driver_domain_is_not_rebooted_for_a_device_either():
    guest = normalise({"name": "a", "memory_mib": 64, "boot": {"kernel": "/k"}})
    config = {"c_info": {"type": "pvh", "uuid": guest["uuid"]}, "b_info": {"max_memkb": 65536, "target_memkb": 65536, "kernel": "/k"},
              "disks": [{"vdev": "xvda", "pdev_path": "/srv/a", "readwrite": 1}], "on_reboot": "restart", "on_crash": "restart"}
    configs = {"a": config, "b": {"nics": [{"backend_domname": "a"}]}}
    state = host.HostState(True, {"a": parse.Domain("a", 3, 64, 1, "-b----", 1.0)}, configs)
    steps = plan.steps([guest], state, plan.Places("/g", "/a"), consents=changes.Consents({"reboot": ["a"], "recreate": ["a"]}))
    assert (steps.renew, [(entry.key, entry.by) for entry in steps.pending]) == ([], [("disks", "detach")])


def test_where_a_guest_is_counts_more_than_where_it_starts():
    others = plan.Others.of({"xen02": {"a": "autostart"}, "xen03": {"a": "paused"}}, [])
    assert others.moving("a") == "paused on xen03"
    assert others.against("a") == "guest 'a': it is paused on xen03; it is never started a second time"
    assert plan.Others.of({"xen02": {"a": "autostart"}}, []).moving("a") is None
