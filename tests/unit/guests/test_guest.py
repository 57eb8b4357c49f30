# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import ast
import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils import xl_cfg
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import check_guest, check_guests
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise, volumes_of, with_cpuid
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import GUEST_SPEC, check_name
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import cpuid
from ansible_collections.xenfold.consolidation.plugins.modules import xl_guest
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent
SOUND = {
    "name": "web01", "type": "pvh", "vcpus": 1, "maxvcpus": 2, "memory_mib": 128, "maxmem_mib": 192,
    "disks": [{"name": "root", "size_gib": 0.125, "volume_group": "vg_guests"}],
    "networks": [{"bridge": "xenbr0", "rate_mbps": 200}], "boot": {"image": "lab", "cmdline": "console=hvc0"}, "autostart": 50,
}


def _cases(name):
    return [pytest.param(case, id=case["id"]) for case in yaml.safe_load((HERE / name).read_text())]


def test_a_sound_guest_has_no_errors():
    assert check_guest(SOUND) == []
    assert check_guests([SOUND, {**SOUND, "name": "web02"}]) == []


def test_null_is_not_given():
    everything = {key: SOUND.get(key) for key in GUEST_SPEC}
    assert check_guest({**everything, "boot": {"image": "lab", "kernel": None, "ramdisk": None, "cmdline": None}}) == []


@pytest.mark.parametrize("case", _cases("bad_guests.yml"))
def test_bad_guests(case):
    guest = {key: value for key, value in {**copy.deepcopy(SOUND), **case["change"]}.items() if value is not None}
    errors = check_guest(guest)
    assert len(errors) == 1, errors
    for text in case["says"]:
        assert text in errors[0], errors
    assert re.match(r"[\w.]+(\[\d+\](\.\w+)*)?: ", errors[0]), "every message begins with the key"


@pytest.mark.parametrize("size_gib", [10**400, float("inf"), -(10**400)])
def test_a_disk_that_no_number_can_hold(size_gib):
    disk = {"name": "root", "size_gib": size_gib, "volume_group": "vg"}
    assert "disks[0].size_gib: value" in check_guest({**SOUND, "disks": [disk]})[0]


def test_what_guests_may_not_share():
    def guest(name, **more):
        return {"name": name, "memory_mib": 64, "boot": {"kernel": "/k"}, **more}

    data = {"name": "b-data", "size_gib": 1, "volume_group": "vg"}
    assert check_guests([
        guest("a", disks=[data, {"path": "/srv/cd.iso", "access": "ro"}], networks=[{"bridge": "x", "mac": "00:16:3e:00:00:01"}]),
        guest("a-b", disks=[{**data, "name": "data"}, {"path": "/srv/cd.iso", "access": "ro"}]),
        guest("a"),
        guest("c", disks=[{"path": "/srv/cd.iso"}], networks=[{"bridge": "x", "mac": "00:16:3E:00:00:01"}]),
        "d",
    ]) == [
        "guest number 5: value 'd', allowed a mapping of keys and values",
        "guest 'a-b': disks[0]: value '/dev/vg/a-b-data', allowed a disk of its own, guest 'a' has this one",
        "guest 'a': name: value 'a', allowed a name of its own, guest 'a' has this one",
        f"guest 'a': uuid: value '{normalise(guest('a'))['uuid']}', allowed a uuid of its own, guest 'a' has this one",
        "guest 'c': networks[0].mac: value '00:16:3e:00:00:01', allowed a mac of its own, guest 'a' has this one",
        "guest 'c': disks[0]: value '/srv/cd.iso', allowed a disk of its own, guest 'a' has this one",
    ]
    assert check_guests({"web01": SOUND})[0].startswith("guests: value ")


def test_a_disk_that_one_guest_writes_is_not_read_by_another():
    def guest(name, access):
        return {"name": name, "memory_mib": 64, "boot": {"kernel": "/k"}, "disks": [{"path": "/srv/a", "access": access}]}

    for first, second in (("rw", "ro"), ("ro", "rw"), ("rw", "rw")):
        assert len(check_guests([guest("a", first), guest("b", second)])) == 1, (first, second)


def test_devices_fill_the_gaps():
    disks = [{"path": "/a"}, {"path": "/b", "vdev": "xvda"}, {"path": "/c"}, {"path": "/d", "vdev": "xvdc"}]
    full = normalise({**SOUND, "disks": disks})
    assert [disk["vdev"] for disk in full["disks"]] == ["xvdb", "xvda", "xvdd", "xvdc"]


@pytest.mark.parametrize(("disks", "vdevs"), [
    ([{"path": "/a"}, {"cdrom": True}, {"path": "/b"}], ["xvda", "hdd", "xvdb"]),
    ([{"cdrom": True}, {"cdrom": True, "path": "/c.iso"}], ["hdd", "hdc"]),
    ([{"path": "/a"}, {"path": "/b", "vdev": "xvdd"}, {"cdrom": True}], ["xvda", "xvdd", "hdc"]),
    ([{"cdrom": True, "vdev": "hda"}, {"path": "/a"}], ["hda", "xvdb"]),
])
def test_drives_of_an_hvm_guest_come_from_the_end(disks, vdevs):
    guest = {**SOUND, "type": "hvm", "disks": disks}
    assert check_guest(guest) == []
    full = normalise(guest)
    assert [disk["vdev"] for disk in full["disks"]] == vdevs
    assert all(disk["access"] == "ro" for disk in full["disks"] if disk["cdrom"])


def test_guests_that_serve_others():
    def guest(name, **more):
        return {"name": name, "memory_mib": 64, "boot": {"kernel": "/k"}, **more}

    served = guest("web", autostart=5, networks=[{"bridge": "x", "backend": "net"}], disks=[{"path": "/d", "backend": "net"}])
    assert check_guests([served, guest("net", driver_domain=True, autostart=4)]) == []
    # A disk of a driver domain is none of the host's of that path.
    assert check_guests([served, guest("db", disks=[{"path": "/d"}])]) == []
    assert check_guests([served, guest("net")]) == [
        "guest 'web': disks[0].backend: value 'net', allowed a guest with driver_domain: true",
        "guest 'web': networks[0].backend: value 'net', allowed a guest with driver_domain: true"]
    for number, has in ((5, 5), (None, "none")):
        assert check_guests([served, guest("net", driver_domain=True, autostart=number)])[0] == (
            f"guest 'web': autostart: value 5, allowed a number above that of net, which serves disks[0] and has {has}")


def test_a_pci_device_is_of_one_guest_of_a_host():
    def guest(name):
        return {"name": name, "type": "pv", "memory_mib": 64, "boot": {"kernel": "/k"}, "pci": [{"address": "0000:0A:00.0"}]}

    assert check_guests([guest("a"), guest("b")]) == []
    assert check_guests([guest("a"), guest("b")], one_host=True) == [
        "guest 'b': pci[0].address: value '0000:0a:00.0', allowed a device of its own, guest 'a' has this one"]


def test_limits_that_are_null_are_not_given():
    disk = {"name": "root", "size_gib": 1, "volume_group": "vg", "limits": {"read_iops": 5, "write_iops": None}}
    assert check_guest({**SOUND, "disks": [disk]}) == []
    assert normalise({**SOUND, "disks": [disk]})["disks"][0]["limits"] == {"read_iops": 5}
    assert normalise(SOUND)["disks"][0]["limits"] is None


def test_a_guest_s_own_cpuid_stays_and_none_is_its_own_too():
    lines = ["0x1:ecx=" + "x" * 31 + "0"]
    for guest, expected in (({}, lines), ({"cpuid": None}, lines), ({"cpuid": []}, []), ({"cpuid": ["y"]}, ["y"]), ({"type": "pv"}, None)):
        assert with_cpuid({**SOUND, **guest}, lines).get("cpuid") == expected, guest


@given(st.lists(st.from_regex(r"0x[0-9a-f]{1,8}(,[0-9]{1,3})?:ebx=[01xk]{32}(,e[acd]x=[01xk]{32})?", fullmatch=True), max_size=4))
def test_stored_lines_come_back(lines):
    guest = {**SOUND, "cpuid": lines}
    if check_guest(guest) == []:
        text = xl_cfg.render(normalise(guest))
        assert xl_cfg.stored_cpuid(text) == lines
        assert cpuid.check("cpuid", cpuid.canonical(lines)) == []
        assert cpuid.canonical(reversed(cpuid.canonical(lines))) == cpuid.canonical(lines)


def test_volumes():
    other = {**SOUND, "name": "a", "disks": [{"name": "x", "size_gib": 2, "volume_group": "vg_a"}, {"path": "/srv/x"}]}
    assert volumes_of([SOUND, other]) == [
        {"name": "a-x", "volume_group": "vg_a", "size_gib": 2},
        {"name": "web01-root", "volume_group": "vg_guests", "size_gib": 0.125},
    ]


@pytest.mark.parametrize("case", _cases("renderings.yml"))
def test_renderings(case):
    assert check_guest(case["guest"]) == []
    assert xl_cfg.render(normalise(case["guest"])) == case["text"]


NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,30}", fullmatch=True).filter(lambda name: check_name(name) is None)
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=80)


def _read(text):
    """xl.cfg as a reader of its own: the lists and strings are those of Python as well, line by line."""
    joined = re.sub(r"\[\n(.*?)\n\]", lambda match: "[" + " ".join(match[1].split("\n")) + "]", text, flags=re.S)
    pairs = (line.split(" = ", 1) for line in joined.splitlines() if not line.startswith("#"))
    return {key: ast.literal_eval(value) for key, value in pairs}


@given(NAMES, PRINTABLE)
def test_any_command_line_comes_back_and_adds_no_key(name, cmdline):
    guest = {"name": name, "memory_mib": 64, "boot": {"kernel": "/k", "cmdline": cmdline}}
    assert check_guest(guest) == []
    found = _read(xl_cfg.render(normalise(guest)))
    assert found["cmdline"] == cmdline
    assert set(found) == set(_read(xl_cfg.render(normalise({**guest, "boot": {"kernel": "/k", "cmdline": "x"}}))))


@given(st.text(min_size=1, max_size=20))
def test_a_path_is_either_refused_or_one_field(path):
    guest = {"name": "a", "memory_mib": 64, "boot": {"kernel": "/k"}, "disks": [{"path": f"/{path}"}]}
    if check_guest(guest) == []:
        disk = _read(xl_cfg.render(normalise(guest)))["disk"][0]
        assert disk.split(",")[3:] == [f"target=/{path}"]


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3))


@given(st.dictionaries(st.sampled_from(sorted(GUEST_SPEC)), VALUES, max_size=6) | VALUES)
def test_no_value_makes_the_check_fail_itself(guest):
    assert all(isinstance(error, str) and error for error in check_guest(guest))


@given(NAMES)
def test_normalising_twice_changes_nothing(name):
    once = normalise({**SOUND, "name": name})
    assert normalise(once) == once
    assert xl_cfg.render(normalise(once)) == xl_cfg.render(once)


def test_the_same_bytes_in_another_process():
    code = (
        "from ansible_collections.xenfold.consolidation.plugins.module_utils import xl_cfg\n"
        "from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise\n"
        f"print(xl_cfg.render(normalise({SOUND!r})), end='')\n"
        "import sys; assert not [m for m in sys.modules if m == 'ansible'], 'the estate needs no Ansible for this'\n"
    )
    collections = HERE.parents[2] / "collections"
    texts = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                       env={"PYTHONPATH": str(collections), "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert texts == {xl_cfg.render(normalise(SOUND))}


def _options(spec):
    keys = ("type", "elements", "choices", "default", "required")
    return {
        name: {key: rule[key] for key in keys if key in rule}
        | ({"options": _options(rule.get("options") or rule.get("suboptions"))} if {"options", "suboptions"} & set(rule) else {})
        for name, rule in spec.items()
    }


def test_the_module_documents_the_spec():
    documented = yaml.safe_load(xl_guest.DOCUMENTATION)["options"]["guests"]["suboptions"]
    assert _options(documented) == _options(GUEST_SPEC)
