# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import subprocess
import sys

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.volumes_of import FilterModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest_spec import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import compare, cpuid, host, parse
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


@pytest.mark.parametrize(("cpus", "numbers"), [
    ("0-3,^1", [0, 2, 3]), ("5", [5]), ("1,0", [0, 1]), ("all", None), ("nodes:0", None), (None, None),
    ("4095", [4095]), ("0-99999999999", None), ("5-2", None), ("", None), ("0-", None), ("9" * 5000, None),
])
def test_lists_of_cpus(cpus, numbers):
    assert compare._cpu_set(cpus) == numbers


@given(st.one_of(st.text(max_size=20), st.text("0123456789-^,:nodesal", max_size=20)))
def test_no_text_for_cpus_is_too_much(cpus):
    assert len(compare._cpu_set(cpus) or []) <= 4096


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


TAKE = ("import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print('taken', flush=True); "
        "sys.stdin.read()")


def _taken(lock):
    """Another process that tries to take a lock as xl does, and keeps it until its input ends."""
    return subprocess.Popen([sys.executable, "-c", TAKE, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)


def _held():
    with host.creations_held() as held:
        return held


def test_no_xl_builds_a_domain_while_its_lock_is_held_here(tmp_path, monkeypatch):
    lock = tmp_path / "xl"
    lock.touch()
    monkeypatch.setattr(host, "XL_LOCK", str(lock))
    monkeypatch.setattr(host, "XL_CONF", str(tmp_path / "none"))
    with host.creations_held() as held, _taken(lock) as other:
        assert held
        assert other.communicate()[0] == ""
    with _taken(lock) as other:
        assert other.stdout.readline() == "taken\n"
        assert not _held()
        other.kill()
        other.wait()
        # The lock of a killed xl is nobody's.
        assert _held()


@pytest.mark.parametrize(("conf", "held"), [
    (None, True), ("#lockfile=\"NAME\"\n", True), ("lockfile = 'DIR/other'  # here\n", False), ('lockfile="DIR/none"\n', False),
])
def test_a_lock_that_is_somewhere_else_or_nowhere(conf, held, tmp_path, monkeypatch):
    (tmp_path / "xl").touch()
    (tmp_path / "other").mkdir()
    if conf is not None:
        (tmp_path / "xl.conf").write_text(f"# xl.conf\n{conf.replace('DIR', str(tmp_path))}")
    monkeypatch.setattr(host, "XL_LOCK", str(tmp_path / "xl"))
    monkeypatch.setattr(host, "XL_CONF", str(tmp_path / "xl.conf"))
    assert _held() is held
