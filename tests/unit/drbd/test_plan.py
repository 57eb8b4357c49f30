# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of replicated disks: a model of two hosts, over the pure functions."""
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import plan as drbd
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import resources, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.plan import FRESH, JUST_CREATED, MADE, STRANGE, Local
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.state import Found, State

HOSTS = {"xen01": "10.9.0.1", "xen02": "10.9.0.2"}
COPIES = {"db01": {"first": "xen01", "hosts": HOSTS}}
DISK = {"name": "root", "size_gib": 1, "volume_group": "vg0", "drbd_minor": 7}
GUEST = {"name": "db01", "memory_mib": 64, "disks": [DISK, {"name": "swap", "size_gib": 1, "volume_group": "vg0", "access": "ro"}]}
[RESOURCE], _errors = resources.of_guests([GUEST, {**GUEST, "name": "web01", "disks": []}], COPIES, "xen01")
FILE = resources.file_of(RESOURCE)
WHOLE = State("Connected", "Primary", "Secondary", "UpToDate", "UpToDate")
EMPTY = State("Connected", "Secondary", "Secondary", "Inconsistent", "Inconsistent")
GIB = 2**30


def found(here: State | None = None, files: dict[str, str] | None = None, version: str = "8.4.11", both: tuple[str, ...] = ()) -> Found:
    return Found(version, {FILE.path: FILE.content} if files is None else files, {} if here is None else {7: here}, frozenset(both))


def steps(host: str, there: Found, local: Local) -> list[str]:
    result = drbd.plan([RESOURCE], host, there, {"db01-root": local})
    assert result.errors == []
    return [f"{action.verb} {action.target}" for action in result.actions]


def errors(host: str, there: Found, local: Local) -> str:
    result = drbd.plan([RESOURCE], host, there, {"db01-root": local})
    assert result.actions == [] and len(result.errors) == 1, result
    return result.errors[0]


def test_the_file_of_a_resource_is_the_same_on_both_hosts() -> None:
    [other], wrong = resources.of_guests([GUEST], {"db01": {"first": "xen01", "hosts": dict(reversed(HOSTS.items()))}}, "xen02")
    assert wrong == [] and resources.file_of(other) == FILE
    assert "floating ipv4 10.9.0.1:11007;\n    floating ipv4 10.9.0.2:11007;" in FILE.content
    assert resources.parse_file(FILE.content) == resources.Known("db01", "db01-root", 7, ("vg0/db01-root", "vg0/db01-root.drbd"))
    assert resources.parse_file("resource r0 {\n}\n") is None
    six = replace(RESOURCE, hosts={"xen01": "fd00::1", "xen02": "fd00::2"})
    assert "floating ipv6 [fd00::1]:11007;" in resources.file_of(six).content


@pytest.mark.parametrize(("copies", "error"), [
    ({}, "guest 'db01': copies: is missing, allowed the two hosts of its replicated disks"),
    ({"db01": {"first": "xen01", "hosts": {"xen01": "10.9.0.1"}}}, "allowed hosts with the addresses of two hosts, of which xen01 is one"),
    ({"db01": {"first": "xen01", "hosts": {"xen03": "10.9.0.3", "xen02": "10.9.0.2"}}}, "of which xen01 is one"),
    ({"db01": {"first": "xen03", "hosts": HOSTS}}, "and first with one of the two"),
    ({"db01": {"first": "xen01", "hosts": {**HOSTS, "xen02": "xen02.lan"}}}, "value 'xen02.lan' for xen02, allowed an IP address"),
])
def test_bad_copies_are_named(copies: dict[str, object], error: str) -> None:
    _found, wrong = resources.of_guests([GUEST], copies, "xen01")
    assert len(wrong) == 1 and error in wrong[0], wrong


def test_both_hosts_are_made_and_the_first_one_s_disk_counts() -> None:
    made = ["write file /etc/drbd.d/xenfold-db01-root.res", "create metadata of resource db01-root"]
    # In check mode on a fresh host neither the driver nor the volumes are there.
    for there, local in ((found(files={}, version=""), Local()), (found(files={}), Local(FRESH))):
        assert steps("xen01", there, local) == [*made, "begin resource db01-root", "start resource db01-root"]
        assert steps("xen02", there, local) == [*made, "start resource db01-root"]


def test_one_with_data_begins_before_it_hears_of_the_other() -> None:
    filled = drbd.plan([RESOURCE], "xen01", found(files={}), {"db01-root": Local(FRESH, holds="data (ext4)")})
    assert ([one.name for one in filled.first], filled.blank) == (["db01-root"], [])
    blank = drbd.plan([RESOURCE], "xen01", found(files={}), {"db01-root": Local(FRESH)})
    assert (blank.first, [one.name for one in blank.blank]) == ([], ["db01-root"])


def test_what_is_in_order_is_left_alone() -> None:
    for host in HOSTS:
        assert steps(host, found(WHOLE), Local(MADE, volume_bytes=GIB, device_bytes=GIB)) == []


def test_a_run_that_was_cut_off_is_finished() -> None:
    # After the file; after the metadata; after the start of both, before any data counted; before the first one heard of the other.
    assert steps("xen01", found(), Local(FRESH)) == ["create metadata of resource db01-root", "begin resource db01-root",
                                                     "start resource db01-root"]
    assert steps("xen02", found(), Local(MADE)) == ["start resource db01-root"]
    assert steps("xen01", found(EMPTY), Local(MADE, generation=JUST_CREATED)) == ["begin resource db01-root"]
    alone = State("StandAlone", "Secondary", "Unknown", "Inconsistent", "DUnknown")
    assert steps("xen01", found(alone), Local(MADE, generation=JUST_CREATED, adjust="connect")) == [
        "begin resource db01-root", "adjust resource db01-root"]
    bare = State("StandAlone", "Secondary", "Unknown", "Diskless", "DUnknown")
    assert steps("xen01", found(bare), Local(MADE, generation=JUST_CREATED, adjust="attach")) == [
        "begin resource db01-root", "adjust resource db01-root"]
    # One whose metadata is there but whose data has begun already is no beginning.
    assert steps("xen01", found(EMPTY), Local(MADE, generation="1234567890ABCDEF")) == []
    syncing = State("SyncTarget", "Secondary", "Secondary", "Inconsistent", "UpToDate", 12.5)
    assert steps("xen01", found(syncing), Local(MADE, generation=JUST_CREATED)) == []


def test_a_changed_address_is_taken_up() -> None:
    old = {FILE.path: FILE.content.replace("10.9.0.2", "10.9.0.9")}
    assert steps("xen01", found(WHOLE, old), Local(MADE, volume_bytes=GIB, device_bytes=GIB)) == [
        "write file /etc/drbd.d/xenfold-db01-root.res", "adjust resource db01-root"]


def test_growth_is_taken_up_once_and_only_by_copies_that_are_whole() -> None:
    grown = Local(MADE, volume_bytes=2 * GIB, device_bytes=GIB)
    # In check mode the volume is as it was.
    [larger], _wrong = resources.of_guests([{**GUEST, "disks": [{**DISK, "size_gib": 2}]}], COPIES, "xen01")
    now = {"db01-root": Local(MADE, volume_bytes=GIB, device_bytes=GIB)}
    assert [action.verb for action in drbd.plan([larger], "xen01", found(WHOLE), now).actions] == ["grow"]
    assert steps("xen01", found(WHOLE), grown) == ["grow resource db01-root"]
    assert steps("xen02", found(State("Connected", "Secondary", "Primary", "UpToDate", "UpToDate")), grown) == []
    stopped = State("Connected", "Secondary", "Secondary", "UpToDate", "UpToDate")
    assert (steps("xen01", found(stopped), grown), steps("xen02", found(stopped), grown)) == (["grow resource db01-root"], [])
    assert steps("xen01", found(replace(WHOLE, peer_disk="Inconsistent")), grown) == []


@pytest.mark.parametrize(("host", "there", "local", "error"), [
    ("xen01", found(version="9.2.4"), Local(), "DRBD: value 9.2.4, allowed 8.4, the driver of Linux itself"),
    ("xen01", found(files={"x": FILE.content.replace("db01", "old01")}), Local(FRESH),
     "drbd_minor: value 7, allowed a number of its own; resource 'old01-root' of this host has it"),
    ("xen01", found(WHOLE, files={}), Local(MADE), "allowed a number of its own; a resource that is not from here of this host has it"),
    ("xen01", found(files={FILE.path: FILE.content.replace("minor 7", "minor 8")}), Local(FRESH), "value 7, allowed 8, which it has"),
    ("xen01", found(WHOLE, {FILE.path: FILE.content.replace("vg0", "vg1")}), Local(MADE), "volume_group: value vg0, allowed vg1, where"),
    ("xen01", found(files={}), Local(STRANGE), "volume /dev/vg0/db01-root.drbd has something else than DRBD's data, and is not touched"),
    ("xen01", found(files={}), Local(FRESH, in_use=True), "is in use and cannot become a copy now; shut down the guest 'db01' first"),
    ("xen02", found(files={}), Local(FRESH, holds="data (ext4)"), "has data (ext4), which the copy of xen01 would overwrite"),
])
def test_what_could_do_harm_is_refused(host: str, there: Found, local: Local, error: str) -> None:
    assert error in errors(host, there, local)


def test_both_copies_are_written_during_a_move_alone() -> None:
    assert drbd.allow(["db01-root"], found(WHOLE)) == (["db01-root"], [])
    assert drbd.allow(["db01-root"], found(WHOLE, both=("db01-root",))) == ([], [])
    behind = replace(WHOLE, connection="SyncSource", peer_disk="Inconsistent", synced_percent=12.5)
    for there, error in ((found(files={}), "is not on this host"), (found(), "is not up, allowed Connected with both copies UpToDate"),
                         (found(behind), "is SyncSource, Primary/Secondary, UpToDate/Inconsistent, 12.5 % synchronised, allowed")):
        names, wrong = drbd.allow(["db01-root"], there)
        assert names == [] and len(wrong) == 1 and error in wrong[0]
    assert drbd.forbid(found(WHOLE), []) == ([], [])
    assert drbd.forbid(found(WHOLE, both=("db01-root", "r0")), []) == (["db01-root"], [])
    assert drbd.forbid(found(WHOLE, both=("db01-root",)), ["db01-root"]) == ([], [])
    assert drbd.forbid(found(replace(WHOLE, peer_role="Primary"), both=("db01-root",)), []) == ([], ["db01-root"])


ALONE = State("WFConnection", "Secondary", "Unknown", "UpToDate", "DUnknown")


@pytest.mark.parametrize(("there", "asked", "why"), [
    (WHOLE, ["xen02"], None),
    (replace(WHOLE, connection="SyncTarget", disk="Inconsistent"), ["xen02"], None),
    (replace(WHOLE, connection="SyncSource", peer_disk="Inconsistent"), ["xen02"], None),
    # The other host is dead, and this one has worked on.
    (ALONE, ["xen03"], None),
    (ALONE, ["xen02"], "xen02 answers, but not to DRBD at 10.9.0.2, port 11007"),
    (replace(ALONE, disk="Consistent"), [], "this host has started without xen02, whose copy may be newer"),
    (replace(ALONE, disk="Inconsistent"), [], "the copy of xen02 is newer, or was about to be copied here"),
    (replace(ALONE, disk="Outdated"), [], "the copy of xen02 is newer"),
    (replace(ALONE, connection="StandAlone"), [], "its copies have parted, and a person decides which counts"),
])
def test_with_what_no_guest_starts(there: State, asked: list[str], why: str | None) -> None:
    told = drbd.why_held(RESOURCE, "xen01", there, asked)
    fresh = drbd.why_held(RESOURCE, "xen01", replace(ALONE, disk="Inconsistent"), [], True)
    assert fresh and "a new disk begins when xen02 has said that it has no data" in fresh
    assert (told is None) if why is None else (told is not None and why in told), told


def test_a_new_disk_begins_only_when_both_have_said_that_it_is_new() -> None:
    fresh = Local(MADE, generation=JUST_CREATED)
    assert drbd.neither_written(EMPTY, fresh)
    for other in (replace(EMPTY, peer_disk="Diskless"), replace(ALONE, disk="Inconsistent"), replace(EMPTY, disk="Diskless"),
                  replace(EMPTY, peer_disk="UpToDate"), replace(EMPTY, connection="SyncTarget")):
        assert not drbd.neither_written(other, fresh), other
    assert not drbd.neither_written(EMPTY, Local(MADE, generation="1234567890ABCDEF"))


def test_an_image_is_no_data_that_must_not_be_lost() -> None:
    [new], _wrong = resources.of_guests([GUEST], COPIES, "xen01", {"vg0/db01-root"})
    result = drbd.plan([new], "xen01", found(files={}), {"db01-root": Local(FRESH, holds="data (ext4)")})
    assert (result.first, [one.name for one in result.blank]) == ([], ["db01-root"])


def test_version_of_a_driver_that_is_not_loaded() -> None:
    assert state.version("") == "" and state.parse_proc("") == {}
