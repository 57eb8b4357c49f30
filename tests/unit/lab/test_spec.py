# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest

from lab.errors import LabError
from lab.releases import RELEASES, release_of
from lab.spec import Spec, check_name, differences, disk_serial, host_number, mac_address


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("hosts", 0, "1 to 8"),
        ("hosts", 9, "1 to 8"),
        ("data_nics", -1, "0 to 6"),
        ("data_disks", 16, "0 to 15"),
        ("disk_gib", 0, "1 to 64"),
        ("management_nics", 3, "1 to 2"),
        ("memory_mib", 512, "1536 to 16384"),
        ("kind", "fancy", "xen, plain, uefi"),
        ("release", "potato", "bookworm, trixie"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(key: str, value: object, allowed: str) -> None:
    with pytest.raises(LabError) as caught:
        Spec(**{key: value})  # type: ignore[arg-type]
    assert str(caught.value) == f"--{key.replace('_', '-')} {value}: allowed: {allowed}"


def test_a_host_that_is_not_there_is_named_with_those_that_are() -> None:
    assert host_number(Spec(), "xen02") == 2
    with pytest.raises(LabError, match="xen03: no such host in this lab; allowed: xen01, xen02"):
        host_number(Spec(), "xen03")


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "X", "a" * 33, "a;b", "a\n"])
def test_names_that_are_no_folder_or_monitor_word_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="allowed: lower-case"):
        check_name("snapshot", name)


def test_good_names_pass() -> None:
    assert check_name("snapshot", "bare-2.x_y") == "bare-2.x_y"


def test_the_difference_of_two_specs_names_each_key() -> None:
    assert differences(Spec(), Spec()) == []
    assert differences(Spec(), Spec(hosts=3, disk_gib=4)) == [
        "--disk-gib: it has 2, asked for 4",
        "--hosts: it has 2, asked for 3",
    ]
    assert differences(Spec(), Spec(log_writes=True)) == ["--log-writes: it has False, asked for True"]


def test_addresses_and_serials() -> None:
    assert mac_address(1, 0) == "52:54:00:00:01:00"
    assert mac_address(2, 0x10) == "52:54:00:00:02:10"
    assert disk_serial(1, 4) == "XF1D4"


def test_a_release_is_data() -> None:
    assert release_of("bookworm").proven and not release_of("trixie").proven
    assert RELEASES["trixie"].xen_binary == "boot/xen-4.20-amd64.gz"
    with pytest.raises(LabError, match="--release sid: unknown release; allowed: bookworm, trixie"):
        release_of("sid")
