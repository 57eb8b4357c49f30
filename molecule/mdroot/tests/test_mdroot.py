# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The root file system is on its array, which the guests' array stands beside; both have their names, and one disk less stops nothing."""
from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab.hands import ROOT, Hands

ALLOWED = {"audit_other_arrays": ["system"]}


@pytest.fixture(name="hands")
def _hands() -> Iterator[Hands]:
    hands = Hands("mdroot", ROOT / "molecule" / "dom0" / "inventory" / "hosts.yml", "/dev/null")
    yield hands
    hands.drop_connections()


def arrays(hands: Hands, settings: dict[str, list[str]]) -> dict[str, str]:
    """What an audit says of arrays: kind -> message."""
    done = hands.play("playbooks/audit.yml", "xen01", ("-e", f"plan_dir={hands.folder}"), settings)
    assert done.rc == 0, done.text
    report = json.loads((hands.folder / "audit.json").read_text(encoding="utf-8"))
    return {found["kind"]: found["message"] for found in report["hosts"]["xen01"]["findings"] if found["kind"].startswith("array")}


def test_both_arrays_have_their_names_and_all_their_disks(host):
    assert host.check_output("findmnt -n -o SOURCE /") == host.check_output("readlink -f /dev/md/system")
    assert sorted(host.check_output("ls /dev/md").split()) == ["guests", "system"]
    assert host.check_output("cat /proc/mdstat").count("[2/2] [UU]") == 2


def test_the_configuration_names_the_array_of_the_root_still(host):
    lines = [line for line in host.file("/etc/mdadm/mdadm.conf").content_string.splitlines() if line.startswith("ARRAY")]
    assert len([line for line in lines if line.split()[1].endswith(("/system", ":system"))]) == 1, lines


def test_an_audit_names_the_array_until_it_is_allowed(hands: Hands) -> None:
    assert "system" in arrays(hands, {})["array_foreign"]
    assert arrays(hands, ALLOWED) == {}


def test_a_host_goes_on_without_a_disk_of_its_root(hands: Hands) -> None:
    hands.command("pull-disk", "xen01", "4")
    hands.run("xen01", "echo works > /root/one-disk; sync")
    hands.wait("xen01", "grep -q '\\[2/1\\]' /proc/mdstat", 120)
    told = arrays(hands, ALLOWED)["array_degraded"]
    assert "array system" in told and "1 of 2 members" in told and "XF1D3" in told
