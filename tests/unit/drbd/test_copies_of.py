# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts have copies of whose disks, from the inventory."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.copies_of import FilterModule

COPIES_OF = FilterModule().filters()["copies_of"]
HOSTVARS = {f"xen0{number}": {"migration_address": f"10.9.0.{number}", "estate_host": {"pool": f"pool{number}"}} for number in (1, 2, 3)}
GUESTS = {"db01": {"name": "db01", "memory_mib": 64, "disks": [{"name": "root", "size_gib": 1, "volume_group": "vg0", "drbd_minor": 7}]},
          "web01": {"name": "web01", "memory_mib": 64}}


def problem(**other: Any) -> dict[str, Any]:
    return {"workloads": [{"name": "db01", "current": "xen02", "replica": "xen01", **other}, {"name": "web01"}, {"name": "planned01"}]}


def copies(found: Any = None, **other: Any) -> Any:
    return COPIES_OF(HOSTVARS, problem(**other), GUESTS, list(HOSTVARS), *([found] if found is not None else []))


def test_the_two_hosts_and_their_addresses() -> None:
    expected = {"db01": {"first": "xen02", "hosts": {"xen01": "10.9.0.1", "xen02": "10.9.0.2"}}}
    assert copies() == copies({"xen02": {"db01": "running"}}) == expected


def test_where_a_guest_is_counts_as_the_first_of_its_hosts() -> None:
    def first(found: Any, placement: Any) -> str:
        told: str = COPIES_OF(HOSTVARS, problem(), GUESTS, list(HOSTVARS), found, placement)["db01"]["first"]
        return told

    assert first({"xen01": {"db01": "running"}, "xen02": {}}, {"db01": "xen02"}) == "xen01"
    assert (first({}, {"db01": "xen01"}), first({}, {})) == ("xen01", "xen02")


@pytest.mark.parametrize(("found", "other", "error"), [
    (None, {"replica": None}, "workload 'db01': current and replica: value xen02 and None, allowed two hosts of the estate"),
    (None, {"replica": "xen02"}, "value xen02 and xen02, allowed two hosts of the estate"),
    (None, {"replica": "xen09"}, "value xen02 and xen09, allowed two hosts of the estate"),
    ({"xen03": {"db01": "running"}}, {}, "value xen02 and xen01, allowed xen03 as one of the two, where it is"),
    ("xen03", {}, "copies_of: problem, told: value that does not hold together"),
])
def test_bad_pairs_are_named(found: Any, other: dict[str, Any], error: str) -> None:
    with pytest.raises(AnsibleFilterError, match=error):
        copies(found, **other)
