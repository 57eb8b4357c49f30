# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Offline moves as a plan and all hosts together show them."""
from __future__ import annotations

import datetime

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter import (
    moves_forgotten,
    moves_judged,
    moves_left,
    moves_out,
    moves_problems,
    moves_returned,
    moves_volumes,
    names_given,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import offline

from tests.unit.moves.samples import COMING, COMPLETE, MOVED, PAUSED, domain, guest, host, move, plan, uuid_of, volume

DISKS = [{"name": name, "size_gib": 0.01, "volume_group": "vg0"} for name in ("root", "data")]
GUESTS = {"disk01": guest("disk01", disks=DISKS), "web01": guest("web01")}
HOSTS = ["xen01", "xen02", "xen03"]
GO = {**move(1, "disk01", "xen01", "xen02"), "method": "offline", "downtime_seconds": 42.0}
PLAN = plan(GO)
GROUPS = {"vg0": {"free_bytes": 2**30, "extent_bytes": 4 * 2**20}}
EMPTY = {"volumes": [], "groups": GROUPS, "stored": [], "journals": {}, "deaf_volumes": {}}
OWN = [volume("disk01-root"), volume("disk01-data")]
# Taken, and the guest has not been seen to run from them.
TAKEN = [volume("disk01-root", COMPLETE), volume("disk01-data", COMPLETE)]


def coming(tag=COMING, size_bytes=8 * 2**20):
    return [volume(f"disk01-{name}.coming", tag, size_bytes=size_bytes) for name in ("root", "data")]


def moved(tag=MOVED):
    return [volume(f"disk01-{name}.moved", tag) for name in ("root", "data")]


def answer(*domains, **more):
    return host(*domains, **{**EMPTY, **more})


def found(source=None, target=None, third=None):
    return {"xen01": answer(domain("disk01"), **{"volumes": OWN, "stored": ["disk01"], **(source or {})}),
            "xen02": answer(**(target or {})), "xen03": answer(**(third or {}))}


DOWN = {"domains": [], "guests": {}}


def left(there, **more):
    return moves_left._moves_left(PLAN, there, GUESTS, HOSTS, HOSTS, **more)


@pytest.mark.parametrize(("value", "names"), [
    ("all", ["disk01", "web01"]), ("disk01", ["disk01"]), ("[disk01, web01]", ["disk01", "web01"]), ('["disk01"]', ["disk01"]),
    (["disk01"], ["disk01"]), ("", []), ([], []), (["all"], ["disk01", "web01"]),
])
def test_consents_as_people_write_them(value, names):
    assert offline.names_in("moves_offline", value, GUESTS) == names


@pytest.mark.parametrize("value", ["disk02", ["disk01", "disk02"], "all disk02", 5])
def test_consents_for_what_is_not_there(value):
    with pytest.raises(AnsibleFilterError, match=r"moves_left: moves_offline: value '.*', allowed all, or a list of guests of the estate"):
        left(found(), offline=value)


def test_what_needs_consent():
    told = left(found())
    assert told["problems"] == []
    assert told["lacking"] == [(
        "step 1: disk01 goes offline from xen01 to xen02, with about 42 s of downtime if nothing of its disks could be copied before; by"
        " consent: -e moves_offline=disk01 (a list of guests, or all)")]
    told = left(found(), offline="all")
    assert told["lacking"] == []
    assert ([step["step"] for step in told["waves"][0]["offline"]], told["waves"][0]["moves"], told["sends"], told["sends_volumes"]) == (
        [1], [], {}, {"xen01": ["xen02"]})
    # The disks come with it.
    assert not any(need.startswith("disk ") for need in told["needs"]["xen02"])
    assert "bridge xenbr0" in told["needs"]["xen02"]


def problems(there, guests=GUESTS):
    return moves_problems._moves_problems([{"wave": 1, "moves": [], "offline": [GO], "define": []}], there, guests)


@pytest.mark.parametrize(("source", "target"), [
    ({}, {}), ({}, {"volumes": coming()}), ({}, {"volumes": coming(COMPLETE)}),
    # What only live moves need.
    ({"sizes": {}, "xen_version": "4.20.0"}, {"xen_version": "4.17.7"}),
    ({}, {"groups": {"vg0": {"free_bytes": 16 * 2**20, "extent_bytes": 4 * 2**20}}}),
    ({}, {"volumes": coming(), "groups": {"vg0": {"free_bytes": 0, "extent_bytes": 4 * 2**20}}}),
])
def test_a_guest_that_can_move_with_its_disks(source, target):
    assert problems(found(source, target)) == []


@pytest.mark.parametrize(("source", "target", "text"), [
    ({"domains": []}, {}, "it does not run on xen01, which has nothing"),
    ({"domains": [domain("disk01", PAUSED)]}, {}, "it is paused on xen01"),
    ({"moving": ["disk01"]}, {}, "works on it already"),
    ({"stored": []}, {}, "xen01 has no stored configuration of it"),
    ({"volumes": OWN[:1]}, {}, "xen01 has no volume vg0/disk01-data"),
    ({"volumes": OWN + moved()}, {}, "xen01 has vg0/disk01-data.moved, vg0/disk01-root.moved of an earlier move yet; -e moves_forget"),
    ({"deaf_volumes": {"xen02": "ssh to 10.9.0.2 ended with 255: x"}}, {}, "xen01 cannot send volumes to xen02: ssh to 10.9.0.2"),
    ({}, {"volumes": OWN[:1]}, "xen02 has vg0/disk01-root already, and nothing is written over it"),
    ({}, {"volumes": [volume("disk01-root.coming")]}, "names without being tagged as its: vg0/disk01-root.coming"),
    ({}, {"volumes": coming(COMING.replace("xen01", "xen03"))}, "xen02 is being filled by xen03 with it"),
    ({}, {"volumes": coming(size_bytes=4 * 2**20)[:1]}, "xen02 has vg0/disk01-root.coming of another size"),
    ({}, {"groups": {}}, "host 'xen02': there is no volume group vg0, for disk01-data, disk01-root"),
    ({}, {"groups": {"vg0": {"free_bytes": 2**30, "extent_bytes": 16 * 2**20}}}, "disk01-data, disk01-root cannot have the same size"),
    ({}, {"groups": {"vg0": {"free_bytes": 12 * 2**20, "extent_bytes": 4 * 2**20}}},
     "volume group vg0 has 0.01 GiB free, and what comes needs 0.02 GiB (disk01-data 0.01, disk01-root 0.01)"),
    ({}, {"free_mib": 100}, "host 'xen02': 100 MiB of memory are free"),
    ({}, {"missing": ["bridge xenbr0"]}, "xen02 has no bridge xenbr0"),
    ({}, {"xen": False}, "Xen does not run on xen02"),
    ({}, {"domains": [domain("disk01", domid=9)]}, "xen02 has domain 9"),
])
def test_a_guest_that_cannot(source, target, text):
    told = problems(found(source, target))
    assert any(text in line for line in told), told


@pytest.mark.parametrize(("change", "text"), [
    ({"on_poweroff": "restart"}, "on_poweroff: value 'restart', allowed destroy for a guest that is to move offline"),
    ({"disks": [*DISKS, {"path": "/srv/x.img"}]}, "its disk xvdc (/srv/x.img) is no volume, and is not copied"),
    ({"disks": [*DISKS, {"path": "/dev/x", "backend": "net01"}]}, "its disk xvdc is served by net01"),
    ({"disks": [{"path": "/dev/shared/x"}]}, "it has no volumes to copy"),
    ({"driver_domain": True}, "it is a driver domain"),
])
def test_definitions_that_cannot_move_with_their_disks(change, text):
    told = problems(found(), {**GUESTS, "disk01": {**GUESTS["disk01"], **change}})
    assert any(text in line for line in told), told


def test_a_disk_that_is_only_read_need_only_be_there():
    disks = [*DISKS, {"path": "/dev/shared/tools", "access": "ro"}]
    guests = {"disk01": guest("disk01", disks=disks)}
    assert problems(found(), guests) == []
    assert problems(found(target={"missing": ["disk /dev/shared/tools"]}), guests) == [
        "step 1: disk01 from xen01 to xen02: xen02 has no disk /dev/shared/tools"]


def test_what_is_made_and_sent():
    half = [coming()[0], coming(COMPLETE)[1]]
    peers = [{"name": "xen02", "address": "10.9.0.2", "port": 22}]
    for there, verbs, fresh in (([], ["make", "make"], [True, True]), (coming(), [], [False, False]), (half, ["refill"], [False, False]),
                                (coming()[:1], ["make"], [True, False])):
        steps = moves_volumes._moves_volumes([GO], found(target={"volumes": there}), GUESTS)
        assert [step["verb"] for step in steps.get("xen02", [])] == verbs
        sent = moves_out._moves_out([GO], "xen01", GUESTS, peers, found(target={"volumes": there}), {"mibps": 5, "shutdown_seconds": 9})[0]
        assert [entry["fresh"] for entry in sent["volumes"]] == fresh
        assert (sent["mibps"], sent["shutdown_seconds"], sent["address"]) == (5, 9, "10.9.0.2")


def judged(there, wave=None, results=None, hosts=HOSTS):
    steps_of_wave = None if wave is None else {"moves": [], "offline": wave}
    return moves_judged._moves_judged(there, PLAN, GUESTS, hosts, steps_of_wave, results)


STOPPED = {**DOWN, "journals": {"disk01": {"stage": "down", "to": "xen02"}}}


@pytest.mark.parametrize(("source", "target"), [
    # It runs, or somebody has shut it down.
    ({}, {}), ({}, {"volumes": coming()}), (DOWN, {}), (DOWN, {"volumes": coming()}),
    ({**STOPPED, "journals": {"disk01": {"stage": "stayed", "to": "xen02"}}}, {"volumes": coming()}),
    ({"domains": [], "volumes": moved()}, {"domains": [domain("disk01", domid=9)], "volumes": OWN}),
    # It has gone on, and left its disks on two hosts.
    ({"domains": [], "volumes": moved()}, {"volumes": moved(MOVED.replace("xen02", "xen03"))}),
])
def test_what_is_not_in_doubt(source, target):
    third = {"domains": [domain("disk01", domid=4)], "volumes": OWN} if target.get("volumes", [{"name": ""}])[:1] and (
        target.get("volumes") or [{"name": ""}])[0]["name"].endswith(".moved") else {}
    told = judged(found(source, target, third))
    assert (told["problems"], told["volumes"], told["start"], told["verdicts"]) == ([], {}, [], [])


def steps(told):
    return {key: [(step["verb"], step["name"], step["first"]) for step in entries] for key, entries in told["volumes"].items()}


def test_what_a_crash_left_is_finished_or_taken_back():
    told = judged(found(STOPPED, {"volumes": coming()}))
    assert (told["start"], told["volumes"]) == ([{"workload": "disk01", "to": "xen01"}], {})
    told = judged(found({**DOWN, "volumes": [moved()[0], OWN[1]], "keeps": ["disk01"]}, {"volumes": coming(COMPLETE)}))
    assert told["start"] == [{"workload": "disk01", "to": "xen02"}]
    assert told["forget"] == {"xen01": ["disk01"]}
    assert told["handed_over"] == [{"workload": "disk01", "from": "xen01", "to": "xen02"}]
    assert steps(told) == {"xen01": [("give", "disk01-data", True)],
                           "xen02": [("take", "disk01-data", False), ("take", "disk01-root", False)]}
    assert {step["date"] for step in told["volumes"]["xen01"]} == {"20261129T164305Z"}
    told = judged(found({**DOWN, "volumes": moved()}, {"volumes": [OWN[0], coming()[1]]}))
    assert told["start"] == [{"workload": "disk01", "to": "xen01"}]
    assert steps(told) == {"xen02": [("demote", "disk01-root", True)],
                           "xen01": [("back", "disk01-data", False), ("back", "disk01-root", False)]}
    # One that runs from disks that were renamed gets their names back, and is not started again.
    told = judged(found({"volumes": [moved()[0], OWN[1]]}, {"volumes": coming(COMPLETE)}))
    assert (told["start"], steps(told)["xen01"]) == ([], [("back", "disk01-root", False)])


def test_a_way_back_that_was_cut_off_before_its_start_goes_on():
    """All is renamed back, and its journal tells of the hand-over yet."""
    given = {**DOWN, "journals": {"disk01": {"stage": "given", "to": "xen02"}}}
    assert judged(found(given, {"volumes": coming()}))["start"] == [{"workload": "disk01", "to": "xen01"}]
    # A journal of another move, and one after which somebody put the disks in order.
    assert judged(found({**given, "journals": {"disk01": {"stage": "given", "to": "xen03"}}}, {"volumes": coming()}))["start"] == []
    assert judged(found(given, {}))["start"] == []


def test_the_latest_tag_of_a_hand_over_counts():
    """One that failed just before the rename has left its own."""
    first = MOVED.replace("xen02", "xen03").replace("2026", "2020")
    both = [{**entry, "tags": tags} for entry, tags in zip(moved(), ([first, MOVED], [MOVED, first]), strict=True)]
    there = offline.held(found({**DOWN, "volumes": both}), "xen01", offline.normalise(GUESTS["disk01"]))
    assert (there.to, there.since) == ("xen02", "20261129T164305Z")
    assert judged(found({**DOWN, "volumes": both}, {"volumes": TAKEN}))["start"] == [{"workload": "disk01", "to": "xen02"}]
    assert "since 20261129T164305Z" in forgotten(found({**DOWN, "volumes": both}, THERE), 9999)["problems"][0]


def test_one_that_has_run_there_is_down_since_somebody_has_shut_it_down():
    """What it wrote there is its newest data: nothing goes back, and nothing is started."""
    there = found({**DOWN, "volumes": moved()}, {"volumes": OWN})
    assert (judged(there)["start"], judged(there)["volumes"], judged(there)["problems"]) == ([], {}, [])
    assert moves_returned._moves_returned(there, [GO], GUESTS, HOSTS)["volumes"] == {}
    # Its steps are done where its disks are.
    told = left(there)
    assert ([step["done"] for step in told["steps"]], told["problems"]) == ([True], [])
    third = plan(GO, {**move(2, "disk01", "xen02", "xen03", wave=2), "method": "offline"})
    told = moves_left._moves_left(third, there, GUESTS, HOSTS, HOSTS)
    assert told["problems"] == ["step 2: disk01 does not run on xen02, where its disks are. playbooks/site.yml starts it; or plan anew"]


def test_disks_lose_the_mark_of_their_arrival_when_the_guest_runs():
    there = found({**DOWN, "volumes": moved()}, {"volumes": TAKEN})
    told = judged(there)
    assert (told["start"], told["volumes"]) == ([{"workload": "disk01", "to": "xen02"}], {})
    assert [(step["verb"], step["name"]) for step in told["kept"]["xen02"]] == [("keep", "disk01-data"), ("keep", "disk01-root")]
    there["xen02"]["domains"] = [domain("disk01", domid=9)]
    assert steps(judged(there)) == {"xen02": [("keep", "disk01-data", False), ("keep", "disk01-root", False)]}
    assert judged(there)["start"] == []


B_OLD, C_NEW = {"volumes": coming(COMPLETE)}, MOVED.replace("xen02", "xen03")


@pytest.mark.parametrize("old", [coming(COMPLETE), coming()])
def test_what_a_move_that_was_given_up_has_left_on_another_host_is_never_taken_for_the_newest(old):
    """To xen02 it did not come to an end; to xen03 it did."""
    # Handed over, not started yet.
    told = judged(found({**DOWN, "volumes": moved(C_NEW)}, {"volumes": old}, {"volumes": coming(COMPLETE)}))
    assert (told["start"], "xen02" in told["volumes"]) == ([{"workload": "disk01", "to": "xen03"}], False)
    # It has run on xen03, and is down.
    for source in ({**DOWN, "volumes": moved(C_NEW)}, {**DOWN, "volumes": []}):
        told = judged(found(source, {"volumes": old}, {"volumes": OWN}))
        assert (told["start"], told["volumes"], told["problems"]) == ([], {}, [])
    # Such a move does not begin.
    go = {**GO, "to": "xen03"}
    told = moves_problems._moves_problems([{"wave": 1, "moves": [], "offline": [go], "define": []}], found(target={"volumes": old}), GUESTS)
    assert any("xen02 has vg0/disk01-data.coming, vg0/disk01-root.coming of an earlier move, which could be taken for the newest;"
               " -e moves_forget=disk01 removes it" in line for line in told), told


def test_what_has_come_in_for_a_disk_that_the_guest_has_no_more():
    old = volume("disk01-old.coming", COMING)
    assert any("xen02 has vg0/disk01-old.coming of a disk that it has no more; remove it there (lvremove)" in line
               for line in problems(found(target={"volumes": [old]})))
    assert problems(found(target={"volumes": [volume("disk011-old.coming", COMING.replace("disk01", "disk011"))]})) == []


def test_a_guest_waits_for_a_host_that_told_nothing_and_keeps_no_other_waiting():
    there = found({**DOWN, "volumes": moved()}, {"volumes": coming(COMPLETE)})
    del there["xen01"]
    for hosts in (HOSTS, ["xen02", "xen03"]):
        told = judged(there, hosts=hosts)
        assert (told["start"], told["volumes"], told["problems"]) == ([], {}, [])
        assert told["waits"] == {"disk01": (
            "guest 'disk01': on xen01 what nobody could ask, on xen02 disks that are complete and no domain. Nothing was done with it:"
            " xen01 told nothing, and may run it or have the newest of its disks. Do not start it before that is known")}
    # Also when they have their own names there: somebody may have taken them back to xen01 since.
    there["xen02"]["volumes"] = TAKEN
    for hosts in (HOSTS, ["xen02", "xen03"]):
        assert (judged(there, hosts=hosts)["start"], list(judged(there, hosts=hosts)["waits"])) == ([], ["disk01"])
    # Its step is not done for that, be it that the target would start it.
    there["xen02"]["guests"] = {"disk01": "autostart"}
    told = left(there, waiting=["disk01"])
    assert ([step["done"] for step in told["steps"]], told["problems"]) == (
        [False], ["host 'xen01': it does not answer, and step 1 (disk01) needs it"])
    # Of a move that has just ended it is a failure.
    told = judged(there, wave=[GO], results={})
    assert (told["waits"], len(told["problems"]), len(told["failed"])) == ({}, 1, 2)


def test_a_host_that_falls_silent_before_a_later_wave_is_named():
    there = found()
    del there["xen02"]
    assert problems(there) == ["step 1: disk01 from xen01 to xen02: xen02 did not answer this time"]
    new = {**move(2, "web01", None, "xen02"), "method": "define"}
    assert moves_problems._moves_problems([{"wave": 1, "moves": [], "offline": [], "define": [new]}], there, GUESTS) == [
        "host 'xen02': it did not answer this time"]


def test_a_guest_is_not_started_while_a_host_has_not_told():
    there = found(STOPPED, {"volumes": coming()})
    del there["xen03"]
    told = judged(there)
    assert told["start"] == []
    assert "xen03 could not be asked whether it runs there" in told["problems"][0]


def test_nothing_is_judged_while_its_move_works():
    told = judged(found({**STOPPED, "moving": ["disk01"]}, {"volumes": coming()}))
    assert (told["start"], told["problems"], told["verdicts"]) == ([], [], [])


def test_what_only_a_person_may_decide():
    told = judged(found({**STOPPED, "volumes": OWN[:1]}, {"volumes": coming(COMPLETE)}))
    assert (told["start"], told["volumes"]) == ([], {})
    assert "on xen01 disks that do not belong together and no domain, on xen02 disks that are complete" in told["problems"][0]
    both = judged(found(target={"domains": [domain("disk01", domid=9)], "volumes": coming(COMPLETE)}))
    assert "end the other with xl destroy" in both["problems"][0]


@pytest.mark.parametrize(("source", "target", "code", "line", "failed"), [
    ({**DOWN, "volumes": moved()}, {"volumes": coming(COMPLETE)}, 0,
     "step 1 of 1: disk01 is handed over to xen02, 2.00 GiB of disks from xen01 in 9 s, 1.0 MiB of them while it was down", False),
    ({}, {"volumes": coming()}, 1, "step 1 of 1: disk01 stays on xen01: its move ended with 1, and said: why", True),
    (STOPPED, {"volumes": coming()}, None, "disk01 is down and starts again on xen01: its unit was killed", True),
    ({**DOWN, "volumes": moved()}, {"volumes": coming()}, None, "disk01 comes back on xen01", True),
    ({"moving": ["disk01"]}, {"volumes": coming()}, None, "disk01 is still under way", True),
    ({**DOWN, "volumes": OWN[:1]}, {"volumes": coming()}, 2, "disk01 is in an undefined state", True),
])
def test_what_became_of_a_wave(source, target, code, line, failed):
    result = {"guest": "disk01", "code": code, "seconds": 9.0, "lines": ["why"], "total_bytes": 2**31, "sent_bytes": 2**20}
    told = judged(found(source, target), wave=[GO], results={"xen01": [result]})
    assert line in told["lines"][0]
    assert bool(told["failed"]) == failed


def test_one_that_did_not_start_there_goes_back():
    there = found({**DOWN, "volumes": moved()}, {"volumes": TAKEN, "keeps": ["disk01"]})
    told = moves_returned._moves_returned(there, [GO], GUESTS, HOSTS)
    # What starts with the target is not started by the source.
    assert told["forget"] == {"xen02": ["disk01"]}
    assert told["start"] == [{"workload": "disk01", "to": "xen01"}]
    assert steps(told) == {"xen02": [("demote", "disk01-data", True), ("demote", "disk01-root", True)],
                           "xen01": [("back", "disk01-data", False), ("back", "disk01-root", False)]}
    # The same for one that an earlier run handed over.
    assert moves_returned._moves_returned(there, judged(there)["handed_over"], GUESTS, HOSTS) == told
    # It has started beside one that has not.
    runs = found({**DOWN, "volumes": moved()}, {"volumes": TAKEN, "domains": [domain("disk01", PAUSED, domid=9)]})
    kept = moves_returned._moves_returned(runs, [GO], GUESTS, HOSTS)
    assert (steps(kept), kept["start"]) == ({"xen02": [("keep", "disk01-data", False), ("keep", "disk01-root", False)]}, [])
    # It has, and its marks were taken off one by one.
    half = found({**DOWN, "volumes": moved()}, {"volumes": [OWN[0], TAKEN[1]]})
    assert moves_returned._moves_returned(half, [GO], GUESTS, HOSTS)["volumes"] == {}
    told = moves_returned._moves_returned({name: there[name] for name in HOSTS[:2]}, [GO], GUESTS, HOSTS)
    assert (told["volumes"], "xen03 could not be asked" in told["problems"][0]) == ({}, True)
    assert moves_returned._moves_returned(there, [], GUESTS, HOSTS)["volumes"] == {}


def test_a_guest_that_is_to_be_started_counts_as_there():
    told = left(found({**DOWN, "volumes": moved()}, {"volumes": TAKEN}), start=[{"workload": "disk01", "to": "xen02"}])
    assert ([step["done"] for step in told["steps"]], told["problems"], told["lacking"]) == ([True], [], [])


OLD = "xenfold.moved=disk01:xen02:20200101T000000Z"
THERE = {"domains": [domain("disk01", domid=9)], "volumes": OWN}


def forgotten(there, keep_days=7, wanted="disk01"):
    return moves_forgotten._moves_forgotten(wanted, there, GUESTS, keep_days)


def test_what_may_be_forgotten():
    told = forgotten(found({**DOWN, "volumes": moved(OLD)}, THERE))
    assert told["problems"] == []
    assert [(step["verb"], step["name"], step["which"], step["peer"]) for step in told["steps"]["xen01"]] == [
        ("remove", "disk01-data", "moved", "xen02"), ("remove", "disk01-root", "moved", "xen02")]
    # What a move that is not made any more has filled, too.
    told = forgotten(found(third={"volumes": coming()}))
    assert [step["which"] for step in told["steps"]["xen03"]] == ["filling", "filling"]
    assert forgotten(found()) == {"steps": {}, "problems": []}


def test_what_was_complete_and_not_handed_over_may_be_forgotten():
    told = forgotten(found(third={"volumes": coming(COMPLETE)}))
    assert ([step["which"] for step in told["steps"]["xen03"]], told["problems"]) == (["complete", "complete"], [])
    # While it runs nowhere, it may be all there is.
    assert forgotten(found(DOWN, third={"volumes": coming(COMPLETE)})) == {"steps": {}, "problems": []}


def test_one_that_came_back_may_forget_what_it_left_there_and_leave_again():
    """Without that its next move would be refused for ever."""
    there = found({"volumes": moved(OLD) + OWN})
    assert "moves_forget=disk01" in problems(there)[0]
    told = forgotten(there)
    assert told["problems"] == []
    assert [(step["name"], step["which"]) for step in told["steps"]["xen01"]] == [("disk01-data", "moved"), ("disk01-root", "moved")]
    assert "allowed after 9999 days" in forgotten(there, 9999)["problems"][0]


@pytest.mark.parametrize(("source", "target", "text"), [
    ({**DOWN, "volumes": moved(datetime.datetime.now(datetime.UTC).strftime("xenfold.moved=disk01:xen02:%Y%m%dT%H%M%SZ"))}, THERE,
     "0.0 days, allowed after 7 days (moves_keep_days)"),
    ({**DOWN, "volumes": moved("xenfold.moved=disk01:xen02:oops")}, THERE, "0.0 days, allowed after 7 days"),
    ({**DOWN, "volumes": moved(OLD)}, {"volumes": OWN}, "it does not run on exactly one host (on none)"),
    ({**DOWN, "volumes": moved(OLD)}, {**THERE, "domains": [domain("disk01", PAUSED)]}, "it does not run on exactly one host"),
    ({**DOWN, "volumes": moved(OLD), "moving": ["disk01"]}, THERE, "it moves right now from xen01"),
    # It runs from what is named as left behind, or from a part of it.
    ({"volumes": moved(OLD)}, {}, "xen01, where it runs, does not have all of its disks"),
    ({"volumes": moved(OLD) + OWN[:1]}, {}, "xen01, where it runs, does not have all of its disks"),
    ({**DOWN, "volumes": moved(OLD)}, {**THERE, "volumes": OWN[:1]}, "xen02, where it runs, does not have all of its disks"),
])
def test_what_may_not(source, target, text):
    told = forgotten(found(source, target))
    assert told["steps"] == {}
    assert any(text in line for line in told["problems"]), told


@pytest.mark.parametrize(("keep_days", "wanted", "text"), [
    ("x", "disk01", "moves_keep_days: value 'x', allowed a number of days"),
    (-1, "disk01", "moves_keep_days: value -1"), ("nan", "disk01", "moves_keep_days: value 'nan'"),
    (7, "all", "moves_forget: value 'all', allowed a list of guests of the estate"),
])
def test_bad_options(keep_days, wanted, text):
    with pytest.raises(AnsibleFilterError) as caught:
        forgotten(found(), keep_days, wanted)
    assert text in str(caught.value)


def test_the_uuid_is_that_of_the_definition():
    assert offline.held(found(), "xen01", {"name": "disk01", "disks": []}).own == {}
    assert uuid_of("disk01") == domain("disk01")["uuid"]


@pytest.mark.parametrize(("given", "names"), [
    ("", []), (None, []), ([], []), ("xen02", ["xen02"]), ("xen03, xen02", ["xen03", "xen02"]), ('["xen02"]', ["xen02"]),
    ("xen02 xen02", ["xen02"]),
    (["xen02", "xen03"], ["xen02", "xen03"]), (3, ["3"]),
])
def test_names_that_somebody_gave(given, names):
    assert names_given.FilterModule().filters()["names_given"](given) == names
