# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replicated disks in the audit, from what hosts told of their resources."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.replicas import findings

GUESTS = {"db01": {"name": "db01", "memory_mib": 64, "disks": [{"name": "root", "size_gib": 1, "volume_group": "vg0", "drbd_minor": 7}]},
          "web01": {"name": "web01", "memory_mib": 64}}


def resource(**other: Any) -> dict[str, Any]:
    return {"guest": "db01", "minor": 7, "volumes": ["vg0/db01-root", "vg0/db01-root.drbd"], "connection": "Connected", "role": "Primary",
            "peer_role": "Secondary", "disk": "UpToDate", "peer_disk": "UpToDate", "synced_percent": None, "two_primaries": False, **other}


def said(told: dict[str, dict[str, Any]]) -> list[str]:
    answers = {host: {"resources": there} for host, there in told.items()}
    return [f"{entry.host} | {entry.kind} | {entry.item} | {entry.found} | {entry.wanted}"
            for entry in findings(answers, GUESTS, {"db01": ["xen01", "xen02"], "web01": ["xen01"]})]


@pytest.mark.parametrize(("first", "expected"), [
    ({}, None),
    ({"connection": "SyncSource", "peer_disk": "Inconsistent", "synced_percent": 12.5},
     "SyncSource, Primary/Secondary, UpToDate/Inconsistent, 12.5 % synchronised | Connected, UpToDate/UpToDate"),
    ({"connection": "StandAlone", "peer_role": "Unknown", "peer_disk": "DUnknown"},
     "StandAlone, Primary/Unknown, UpToDate/DUnknown | Connected, UpToDate/UpToDate"),
    ({"connection": "Unconfigured"}, "not up | Connected, UpToDate/UpToDate"),
    ({"two_primaries": True}, "both copies may be primary | one primary, but while the guest moves"),
    ({"two_primaries": True, "peer_role": "Primary"}, "both copies are primary | one primary, but while the guest moves"),
])
def test_a_copy_that_is_not_as_it_should_be(first: dict[str, Any], expected: str | None) -> None:
    second = resource(role="Secondary", peer_role="Primary")
    found = said({"xen01": {"db01-root": resource(**first)}, "xen02": {"db01-root": second}})
    assert found == ([] if expected is None else [f"xen01 | replica | db01-root | {expected}"])


def test_a_copy_that_is_missing_or_elsewhere() -> None:
    one, other = {"db01-root": resource()}, {"db01-root": resource(role="Secondary", peer_role="Primary")}
    assert said({"xen01": one, "xen02": {}, "xen03": {}}) == ["xen02 | replica | db01-root | no copy | a copy"]
    assert said({"xen01": one, "xen02": other, "xen03": other}) == ["xen03 | replica | db01-root | a copy | no copy"]
    # Nobody knows what a host has that did not answer.
    assert said({"xen01": one}) == [] and said({}) == []


def test_a_copy_for_a_guest_that_the_estate_has_no_more() -> None:
    gone = {"db01-root": resource(), "old01-root": resource(guest="old01", volumes=["vg0/old01-root"])}
    assert said({"xen01": gone, "xen02": {"db01-root": resource(role="Secondary", peer_role="Primary")}}) == [
        "xen01 | replica | old01-root | Connected, Primary/Secondary, UpToDate/UpToDate; volumes vg0/old01-root | a guest of the estate"]
