# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a guest is told at its first boot: the definition, the files, and the file system with them, read by the words of its standard."""
from __future__ import annotations

import json
import struct
import subprocess
from typing import Any

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils import xl_cfg
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import check_guest
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import mac_of, normalise, volumes_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import GUEST_SPEC
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot, iso9660
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8yVvJzOQ5rS3b7q0 admin@example.org"
FIRST = {"hostname": "web01.example.org", "ssh_keys": [KEY], "user_data": "#cloud-config\npassword: s3cret\n",
         "networks": [{"address": "10.0.0.5/24", "gateway": "10.0.0.1", "nameservers": ["10.0.0.2"]}]}
GUEST: dict[str, Any] = {
    "name": "web01", "memory_mib": 512, "disks": [{"name": "root", "size_gib": 2, "volume_group": "vg", "image": "debian-12"}],
    "networks": [{"bridge": "xenbr0"}, {"bridge": "xenbr1"}], "first_boot": FIRST,
}


def seed_of(guest: dict[str, Any]) -> dict[str, Any]:
    disk: dict[str, Any] = normalise(guest)["disks"][-1]
    return disk


def read_iso(image: bytes) -> dict[str, tuple[str, dict[str, bytes]]]:
    """Both views of an ISO 9660 file system by kind: the label, and the files by name."""
    found = {}
    for sector in range(16, len(image) // 2048):
        block = image[sector * 2048:(sector + 1) * 2048]
        assert block[1:7] == b"CD001\x01"
        if block[0] == 255:
            break
        kind, text = {1: ("plain", "ascii"), 2: ("joliet", "utf-16-be")}[block[0]]
        assert block[88:91] == (b"%/E" if kind == "joliet" else bytes(3))
        assert struct.unpack("<I", block[80:84])[0] * 2048 == len(image)
        for (low, high), size in (((80, 84), "I"), ((120, 122), "H"), ((124, 126), "H"), ((128, 130), "H"), ((132, 136), "I")):
            assert struct.unpack(f"<{size}", block[low:high]) == struct.unpack(f">{size}", block[high:2 * high - low])
        root, length = struct.unpack("<I", block[158:162])[0], struct.unpack("<I", block[166:170])[0]
        for place, order in ((140, "<"), (148, ">")):
            table = struct.unpack(f"{order}I", block[place:place + 4])[0] * 2048
            assert struct.unpack(f"{order}I", image[table + 2:table + 6])[0] == root
        folder, files, at = image[root * 2048:root * 2048 + length], {}, 0
        while folder[at]:
            record = folder[at:at + folder[at]]
            name, place, size = record[33:33 + record[32]], struct.unpack("<I", record[2:6])[0], struct.unpack("<I", record[10:14])[0]
            assert len(record) % 2 == 0 and record[25] == (2 if name in (b"\0", b"\1") else 0)
            if name not in (b"\0", b"\1"):
                files[name.decode(text).removesuffix(";1")] = image[place * 2048:place * 2048 + size]
            at += folder[at]
        found[kind] = (block[40:72].decode(text).rstrip(), files)
    return found


def test_the_seed_is_found_by_its_label(tmp_path):
    image = first_boot.seed(first_boot.files(normalise(GUEST)))
    assert len(image) <= first_boot.SEED_SIZE_GIB * 2**30
    (tmp_path / "seed").write_bytes(image)
    told = subprocess.run(["/usr/sbin/blkid", "-p", "-o", "export", tmp_path / "seed"], check=True, capture_output=True, text=True).stdout
    assert {"LABEL=cidata", "TYPE=iso9660"} <= set(told.splitlines()) and "Joliet" in told


def test_the_files_of_a_seed():
    views = read_iso(first_boot.seed(first_boot.files(normalise(GUEST))))
    label, files = views["joliet"]
    assert label == "cidata"
    assert files["user-data"].decode() == FIRST["user_data"]
    assert yaml.safe_load(files["meta-data"]) == {
        "instance-id": normalise(GUEST)["uuid"], "local-hostname": "web01.example.org", "public-keys": [KEY]}
    assert yaml.safe_load(files["network-config"]) == {"version": 1, "config": [
        {"type": "physical", "name": "eth0", "mac_address": mac_of("web01", 0),
         "subnets": [{"type": "static", "address": "10.0.0.5/24", "gateway": "10.0.0.1", "dns_nameservers": ["10.0.0.2"]}]}]}
    plain = views["plain"]
    assert plain[0] == "cidata" and sorted(plain[1].values()) == sorted(files.values())
    assert all(len(name) <= 12 for name in plain[1])


def test_what_is_not_said_is_left_to_the_image():
    files = first_boot.files(normalise({**GUEST, "first_boot": {"networks": []}}))
    assert sorted(files) == ["meta-data", "user-data"]
    assert files["user-data"].startswith("#cloud-config\n")
    assert json.loads(files["meta-data"])["local-hostname"] == "web01"
    files = first_boot.files(normalise({**GUEST, "first_boot": {"networks": [{"dhcp": True}, {"address": "fd00::5/64"}]}}))
    assert [card["subnets"] for card in json.loads(files["network-config"])["config"]] == [
        [{"type": "dhcp"}], [{"type": "static", "address": "fd00::5/64"}]]


@settings(max_examples=30)
@given(st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,30}", fullmatch=True), st.binary(max_size=5000), max_size=16))
def test_any_files_are_read_as_they_were_written(files):
    image = iso9660.image("cidata", files)
    assert read_iso(image)["joliet"] == ("cidata", files)
    assert image == iso9660.image("cidata", dict(reversed(files.items())))


def test_more_files_than_a_folder_has_room_for():
    with pytest.raises(ValueError, match="17 files, allowed 16"):
        iso9660.image("cidata", {str(number): b"" for number in range(17)})


def test_the_largest_seed_fits():
    most = {"user_data": "x" * 2**20, "ssh_keys": ["ssh-rsa " + "A" * (8192 - 8)] * 64}
    guest = {**GUEST, "first_boot": most}
    assert check_guest(guest) == []
    assert len(first_boot.seed(first_boot.files(normalise(guest)))) <= first_boot.SEED_SIZE_GIB * 2**30


def test_the_seed_is_the_last_disk_and_read_only():
    assert check_guest(GUEST) == []
    full = normalise(GUEST)
    name = full["disks"][-1]["name"]
    assert [(disk["vdev"], disk["access"], disk["target"]) for disk in full["disks"]] == [
        ("xvda", "rw", "/dev/vg/web01-root"), ("xvdz", "ro", f"/dev/vg/web01-{name}")]
    assert f"format=raw,vdev=xvdz,access=ro,target=/dev/vg/web01-{name}" in xl_cfg.render(full)
    assert volumes_of([GUEST])[1] == {"name": f"web01-{name}", "volume_group": "vg", "size_gib": 4 / 1024}
    assert "s3cret" not in xl_cfg.render(full)


def test_a_definition_that_was_normalised_is_the_same_guest():
    """The estate hands it on without what is derived from it."""
    full = normalise(GUEST)
    handed = {key: value for key, value in full.items() if key in GUEST_SPEC}
    handed["disks"] = [{key: value for key, value in disk.items() if key != "target" and value is not None} for disk in full["disks"]]
    handed["boot"] = {}
    assert check_guest(handed) == []
    assert normalise(handed) == full
    assert first_boot.files(normalise(handed)) == first_boot.files(full)


@pytest.mark.parametrize("change", [
    {"first_boot": {**FIRST, "hostname": "web02"}}, {"first_boot": {**FIRST, "ssh_keys": []}}, {"first_boot": {**FIRST, "user_data": "x"}},
    {"uuid": "11111111-1111-1111-1111-111111111111"}, {"first_boot": {**FIRST, "networks": [{"dhcp": True}]}},
    {"networks": [{"bridge": "xenbr0", "mac": "00:16:3e:00:00:01"}]},
])
def test_another_content_is_another_volume(change):
    assert seed_of({**GUEST, **change})["name"] != seed_of(GUEST)["name"]


@pytest.mark.parametrize("change", [
    {"first_boot": {**FIRST, "networks": [{**FIRST["networks"][0], "dhcp": None}]}}, {"memory_mib": 1024},
    {"first_boot": {**FIRST, "networks": [{**FIRST["networks"][0], "dhcp": False}]}},
    {"networks": [{"bridge": "other", "rate_mbps": 5}]},
])
def test_the_same_content_is_the_same_volume(change):
    assert seed_of({**GUEST, **change})["name"] == seed_of(GUEST)["name"]


def test_the_name_of_a_seed_does_not_change_with_the_collection():
    assert seed_of(GUEST)["name"] == "seed-ec31c767"
    assert first_boot.SEED_NAME.fullmatch(seed_of(GUEST)["name"])


NETWORK = FIRST["networks"][0]


@pytest.mark.parametrize(("change", "text"), [
    ({"hostname": "web_01"}, "first_boot.hostname: value 'web_01', allowed a host name"),
    ({"hostname": "-a"}, "first_boot.hostname"),
    ({"hostname": "a." + "b" * 64}, "first_boot.hostname"),
    ({"ssh_keys": ["nonsense"]}, "first_boot.ssh_keys[0]: value 'nonsense', allowed a public key in one line"),
    ({"ssh_keys": [KEY, KEY + "\n" + KEY]}, "first_boot.ssh_keys[1]"),
    ({"ssh_keys": ["ssh-rsa " + "A" * 9000]}, "first_boot.ssh_keys[0]"),
    ({"ssh_keys": [KEY] * 65}, "first_boot.ssh_keys: value '65 keys', allowed at most 64"),
    ({"ssh_keys": KEY}, "first_boot.ssh_keys: value"),
    ({"networks": [{}]}, "first_boot.networks[0].address: is missing; a network has an address, or dhcp: true"),
    ({"networks": [{"address": "10.0.0.5/24", "dhcp": True}]},
     "first_boot.networks[0].address: value '10.0.0.5/24', allowed nothing beside dhcp"),
    ({"networks": [{"address": "10.0.0.5"}]}, "first_boot.networks[0].address: value '10.0.0.5', allowed an address with the length"),
    ({"networks": [{"address": "10.0.0.500/24"}]}, "first_boot.networks[0].address"),
    ({"networks": [{**NETWORK, "gateway": "10.0.1.1"}]},
     "first_boot.networks[0].gateway: value '10.0.1.1', allowed an address in 10.0.0.0/24"),
    ({"networks": [{**NETWORK, "gateway": "fe80::1"}]}, "first_boot.networks[0].gateway"),
    ({"networks": [{**NETWORK, "nameservers": ["dns"]}]}, "first_boot.networks[0].nameservers[0]: value 'dns', allowed an address"),
    ({"networks": [NETWORK] * 3}, "first_boot.networks: value '3 networks', allowed one for each of the guest's networks, which are 2"),
    ({"user_data": ""}, "first_boot.user_data: value of 0 characters, allowed a text in UTF-8"),
    ({"user_data": "s3cret\0"}, "first_boot.user_data: value of 7 characters"),
    ({"user_data": "s3cret\ud800"}, "first_boot.user_data: value of 7 characters"),
    ({"user_data": "s3cret" * 2**18}, "first_boot.user_data: value of"),
    ({"user_data": {"password": "s3cret"}}, "first_boot.user_data: value of another kind, allowed a text"),
    ({"userdata": "s3cret"}, "first_boot.userdata: is no key here, allowed hostname, networks, ssh_keys, user_data"),
])
def test_what_cannot_be_told_to_a_guest(change, text):
    errors = check_guest({**GUEST, "first_boot": {**FIRST, **change}})
    assert len(errors) == 1 and text in errors[0]
    assert "s3cret" not in errors[0]


def test_a_seed_in_a_wrong_place_is_not_shown():
    errors = check_guest({**GUEST, "first_boot": "password: s3cret"})
    assert errors == ["first_boot: value of another kind, allowed a mapping of keys and values"]


@pytest.mark.parametrize(("length", "wrong"), [(60, 0), (61, 1)])
def test_a_seed_whose_device_would_have_too_long_a_name(length, wrong):
    guest = {**GUEST, "name": "n" * 42, "disks": [{"name": "a", "size_gib": 1, "volume_group": "v" * length}]}
    assert len(check_guest(guest)) == wrong
    assert all("first_boot: needs shorter names" in error and "128 characters of at most 127" in error
               for error in check_guest(guest))


def test_an_ipv6_gateway_may_be_link_local():
    network = {"address": "fd00::5/64", "gateway": "fe80::1"}
    assert check_guest({**GUEST, "first_boot": {"networks": [network]}}) == []


@pytest.mark.parametrize(("disks", "text"), [
    ([{"path": "/dev/x"}], "first_boot: needs a disk with volume_group, beside which its seed lies"),
    ([*GUEST["disks"], {"path": "/dev/x", "vdev": "xvdz"}], "disks[1].vdev: value 'xvdz', allowed another one"),
    ([*GUEST["disks"], {"name": "seed-1", "size_gib": 1, "volume_group": "vg"}], "disks[1].name: value 'seed-1', allowed another one"),
    ([*GUEST["disks"], *({"path": f"/dev/x{number}"} for number in range(25))],
     "disks: value 26 disks, allowed at most 25 beside first_boot"),
    ([*GUEST["disks"], {**seed_of(GUEST), "access": "rw", "target": None}], "disks[1].target: is no key here"),
    ([*GUEST["disks"], {key: value for key, value in seed_of(GUEST).items() if key != "target"} | {"access": "rw"}],
     "disks[1].vdev: value 'xvdz', allowed another one"),
])
def test_a_seed_has_its_place(disks, text):
    errors = check_guest({**GUEST, "disks": disks})
    assert len(errors) == 1 and text in errors[0]


@pytest.mark.parametrize(("disk", "text"), [
    ({"path": "/dev/x", "image": "a"}, "disks[0].image: value 'a', allowed either path, or size_gib with volume_group"),
    ({**GUEST["disks"][0], "image": "A B"}, "disks[0].image: value 'A B', allowed the name of a disk image"),
    ({**GUEST["disks"][0], "volume_group": "v" * 64, "name": "a--------------b"}, ""),
])
def test_the_image_of_a_disk(disk, text):
    errors = check_guest({**GUEST, "first_boot": None, "disks": [disk]})
    assert (len(errors) == 1 and text in errors[0]) if text else errors == []


def test_the_name_of_a_volume_leaves_room_for_its_suffix():
    disk = {"name": "root", "size_gib": 1, "volume_group": "v" * 64}
    name = "a" * 53
    assert check_guest({**GUEST, "name": name, "first_boot": None, "disks": [disk]}) == []
    errors = check_guest({**GUEST, "name": name, "first_boot": None, "disks": [{**disk, "image": "a"}]})
    assert len(errors) == 1 and "disks[0].name: value 'root', allowed shorter names" in errors[0]


def test_a_cd_has_no_image():
    disks = [*GUEST["disks"], {"cdrom": True, "path": "/x.iso", "image": "a"}]
    assert check_guest({**GUEST, "type": "hvm", "first_boot": None, "disks": disks}) == [
        "disks[1].image: value 'a', allowed a CD has a path, or is an empty drive"]
