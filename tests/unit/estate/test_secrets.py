# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values out of a vault: checked with what they are, shown by nobody, handed on as they are."""
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import read_estate
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.secrets import Mask, Secret, plain, revealed

from tests.unit.estate.test_estate import change, estate

MAC, SERIAL, ADDRESS = "52:54:00:ab:cd:01", "WD-hidden-1", "10.77.66.55/24"
GUEST = {"name": "web02", "memory_mib": 64, "boot": {"image": "debian12"}}


def told(changes: dict[str, Any]) -> list[str]:
    document = estate()
    for path, value in changes.items():
        change(document, path, value)
    findings, _ = read_estate(document["hosts"], document["estate"])
    return findings.report(lambda path, at_key: None).splitlines()[1:] if findings else []


BAD = [
    ("workload name", "Web_hidden", {"estate.estate_workloads.0.name": Secret("Web_hidden"), "estate.estate_rules": []},
     "workload number 1: name: value '(vaulted)', allowed 1 to 63"),
    ("name in a rule's message", "web-hidden",
     {"estate.estate_workloads.0.name": Secret("web-hidden"), "estate.estate_rules.0.workloads": ["nobody"]},
     "value 'nobody', allowed workloads of the estate: planned01, (vaulted)"),
    ("unsound workload", "web-hidden", {"estate.estate_workloads.0": [Secret("web-hidden")], "estate.estate_rules": []},
     "workload number 1: value ['(vaulted)'], allowed a mapping"),
    ("two names", "web-hidden", {
        "estate.estate_workloads.0.name": Secret("web-hidden"), "estate.estate_rules": [],
        "estate.estate_workloads.1": {**GUEST, "name": Secret("web-hidden")}},
     "workload number 2: name: value '(vaulted)', allowed a name of its own, workload number 1 has this one"),
    ("uuid of two nameless", "7f6a1f3c-6a52-5f0e-9d53-1d1c3b0c4f11", {
        "estate.estate_workloads.0.name": Secret("web-hidden"), "estate.estate_rules": [],
        "estate.estate_workloads.0.uuid": Secret("7f6a1f3c-6a52-5f0e-9d53-1d1c3b0c4f11"),
        "estate.estate_workloads.1": {**GUEST, "name": Secret("web-hidden2"), "uuid": "7F6A1F3C-6A52-5F0E-9D53-1D1C3B0C4F11"}},
     "uuid: value '(vaulted)', allowed a UUID of its own"),
    ("long volume", "a-" * 14 + "hidden", {
        "estate.estate_workloads.0.name": Secret("a-" * 14 + "hidden"), "estate.estate_rules": [],
        "estate.estate_workloads.0.disks.0": {"name": "root", "size_gib": 1, "volume_group": "v-" * 31 + "v"}},
     "disks[0].name: value 'root', allowed shorter names"),
    ("serial twice", SERIAL, {f"hosts.xen01.storage_arrays.0.members.{n}.serial": Secret(SERIAL) for n in (0, 1)},
     "members: serial: value '(vaulted)', allowed once: a disk is in one array"),
    ("serial on two hosts", SERIAL, {f"hosts.{n}.storage_arrays.0.members.0.serial": Secret(SERIAL) for n in ("xen01", "xen02")},
     "serial: value '(vaulted)', allowed one that no other host has"),
    ("array name", "Hidden Array", {"hosts.xen01.storage_arrays.0.name": Secret("Hidden Array")},
     "array '(vaulted)': name: value '(vaulted)', allowed a lower-case letter"),
    ("array name in a list", "hidden-array", {"hosts.xen01.storage_arrays.0.name": Secret("hidden-array")},
     "devices: value '/dev/md/guests', allowed arrays of this host: /dev/md/(vaulted)"),
    ("array name and its shape", "hidden-array", {
        "hosts.xen01.storage_arrays.0.name": Secret("hidden-array"), "hosts.xen01.storage_arrays.0.level": "10",
        "hosts.xen01.storage_volume_groups": []}, "array '(vaulted)': level: value '10', allowed a whole number"),
    ("mac twice", MAC, {f"hosts.xen01.network_bonds.0.members.{n}.mac": Secret(MAC.upper()) for n in (0, 1)},
     "allowed each card once"),
    ("mac on two hosts", MAC, {f"hosts.{n}.network_bonds.0.members.0": {"mac": Secret(MAC)} for n in ("xen01", "xen02")},
     "mac: value '(vaulted)', allowed one that no other host has"),
    ("mac of a guest", MAC, {
        "hosts.xen01.network_bonds.0.members.0": {"mac": Secret(MAC)}, "estate.estate_workloads.0.networks.0.mac": Secret(MAC)},
     "networks[0].mac: value '(vaulted)', allowed an address of its own"),
    ("address that is none", "10.77.66.999/24", {"hosts.xen01.network_bridges.0.addresses": [Secret("10.77.66.999/24")]},
     "addresses: value '(vaulted)', allowed addresses of a host"),
    ("address on two hosts", "10.77.66.55", {f"hosts.{n}.network_bridges.0.addresses": [Secret(ADDRESS)] for n in ("xen01", "xen02")},
     "addresses: value '(vaulted)', allowed one that no other host has"),
    ("network of an address", "10.77.66", {
        "hosts.xen01.network_bridges.0.addresses": [Secret(ADDRESS)], "hosts.xen01.network_bridges.0.gateway": "10.1.1.1"},
     "gateway: value '10.1.1.1', allowed an address inside (vaulted)"),
    ("bond name in a list", "hiddenbond", {
        "hosts.xen01.network_bonds.0.name": Secret("hiddenbond"), "hosts.xen01.network_bridges.0.port": "bond7"},
     "port: value 'bond7', allowed the name of a bond"),
    ("bridge name", "hidden bridge", {"hosts.xen01.network_bridges.0.name": Secret("hidden bridge")},
     "bridge '(vaulted)': name: value '(vaulted)', allowed an interface name"),
    ("bridge of hosts", "hiddenbr0", {f"hosts.{n}.network_bridges.0.name": Secret("hiddenbr0") for n in ("xen01", "xen02")},
     "networks[0].bridge: value 'xenbr0', allowed one that some host has: (vaulted)"),
    ("bridge that no host has", "hiddenbr1", {"estate.estate_workloads.0.networks.0.bridge": Secret("hiddenbr1")},
     "networks[0].bridge: value '(vaulted)', allowed one that some host has: xenbr0"),
    ("bridge and feature apart", "hiddenbr2", {
        "hosts.xen02.network_bridges.0.name": Secret("hiddenbr2"), "hosts.xen02.estate_host.features": [],
        "estate.estate_workloads.0.networks.0.bridge": Secret("hiddenbr2")}, "requires: value bridge:(vaulted), hvm"),
    ("cmdline", "token=hidden", {"estate.estate_workloads.0.boot": {"cmdline": Secret("ro token=hidden")}},
     "boot.cmdline: value '(vaulted)', allowed only with boot.image or boot.kernel"),
    ("cmdline of no guest", "token=hidden", {"estate.estate_workloads.1.boot_cmdline": {"x": ["y" * 60, Secret("token=hidden")]}},
     "boot_cmdline: unknown key with value"),
    ("user-data that is none", "token-hidden", {"estate.estate_workloads.0.first_boot": {"user_data": Secret("token-hidden\0")}},
     "first_boot.user_data: value of 13 characters, allowed a text"),
    ("user-data in an odd place", "token-hidden", {"estate.estate_workloads.0.first_boot": {"user_data": [Secret("token-hidden")]}},
     "first_boot.user_data: value of another kind, allowed a text"),
    ("ssh key that is none", "token-hidden", {"estate.estate_workloads.0.first_boot": {"ssh_keys": [Secret("token-hidden")]}},
     "first_boot.ssh_keys[0]: value '(vaulted)', allowed a public key"),
    ("gateway of a guest", "10.77.66", {"estate.estate_workloads.0.first_boot": {
        "networks": [{"address": Secret(ADDRESS), "gateway": "10.1.1.1"}]}},
     "first_boot.networks[0].gateway: value '10.1.1.1', allowed an address in (vaulted)"),
    ("value of an unknown key", "token-hidden", {"hosts.xen01.estate_host.token": Secret("token-hidden")},
     "token: unknown key with value '(vaulted)'"),
    ("host that is a text", "token-hidden", {"hosts.xen01.estate_host": Secret("token-hidden")}, "value '(vaulted)', allowed a mapping"),
    ("rule", "token-hidden", {"estate.estate_rules.0": Secret("token-hidden")}, "rule number 1: value '(vaulted)', allowed a mapping"),
    ("policy", "token-hidden", {"estate.estate_policy": Secret("token-hidden")}, "policy: value '(vaulted)', allowed a mapping"),
    ("current host", "xen-hidden", {"estate.estate_workloads.0.current": Secret("xen-hidden")},
     "current: value '(vaulted)', allowed a host"),
]


@pytest.mark.parametrize(("secret", "changes", "expected"), [pytest.param(*case[1:], id=case[0]) for case in BAD])
def test_messages_do_not_show_them(secret: str, changes: dict[str, Any], expected: str) -> None:
    errors = "\n".join(told(changes))
    assert expected in errors
    assert secret.lower() not in errors.lower()


def test_a_good_estate_is_the_same_with_them() -> None:
    document = estate()
    document["estate"]["estate_workloads"][0]["requires"] = ["hvm"]
    document["estate"]["estate_workloads"].append({**GUEST, "networks": [{"bridge": "xenbr0"}]})
    document["estate"]["estate_workloads"][0]["first_boot"] = {
        "hostname": "web01", "user_data": "#cloud-config\npassword: hidden\n", "ssh_keys": ["ssh-ed25519 AAAA admin"],
        "networks": [{"address": "10.9.0.77/24", "gateway": "10.9.0.1", "nameservers": ["10.9.0.1"]}]}
    _, wanted = read_estate(document["hosts"], document["estate"])

    def hide(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: hide(part) for key, part in value.items()}
        return [hide(part) for part in value] if isinstance(value, list) else Secret(value) if isinstance(value, str) else value

    findings, built = read_estate(hide(document["hosts"]), hide(document["estate"]))
    assert not findings, findings.report(lambda path, at_key: None)
    assert json.dumps(built) == json.dumps(wanted)


def test_a_secret_is_shown_by_no_format() -> None:
    secret = Secret("token-hidden")
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!s:>3}", f"{secret!r}", "{}".format(secret), "%s" % secret, repr([secret])]  # noqa: UP031, UP032
    assert all("hidden" not in text and "(vaulted)" in text for text in shown)
    assert secret == "token-hidden" and hash(secret) == hash("token-hidden")
    assert secret.reveal() == plain(secret) == "token-hidden" and type(secret.reveal()) is str
    assert revealed({"a": [secret, 1]}) == {"a": ["token-hidden", 1]} and type(revealed([secret])[0]) is str


@pytest.mark.parametrize(("text", "expected"), [
    ("a hidden, word", "a (vaulted), word"), ("a HIDDEN word", "a (vaulted) word"), ("unhidden", "unhidden"), ("1 to 4", "1 to 4"),
])
def test_texts_that_hold_them_are_masked(text: str, expected: str) -> None:
    assert Mask(["hidden", "1"]).apply(text) == expected
    assert Mask(["hidden", "1"]).covers(text) == (text != expected)
    assert Mask([]).apply(text) == text
