# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter import move_peers, moves_judged, moves_left, moves_out, moves_problems
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import progress

from tests.unit.moves.samples import PAUSED, RUNNING, SUSPENDED, domain, guest, host, move, plan, size, uuid_of, volume

GUESTS = {name: guest(name) for name in ("web01", "web02", "db01", "new01")}
HOSTS = ["xen01", "xen02", "xen03"]
PLAN = plan(move(1, "web01", "xen01", "xen02"), move(2, "db01", "xen01", "xen03", parking=True), move(3, "db01", "xen03", "xen02", 2),
            move(4, "new01", None, "xen01", 2))


def left(found, the_plan=PLAN, limited=HOSTS):
    return moves_left._moves_left(the_plan, found, GUESTS, HOSTS, limited)


def done(told):
    return [step["step"] for step in told["steps"] if step["done"]]


def test_nothing_is_done_yet():
    told = left({"xen01": host(domain("web01"), domain("db01", domid=4)), "xen02": host(), "xen03": host()})
    assert (told["problems"], done(told), told["forget"], told["settled"]) == ([], [], {}, [])
    waves = [{key: [step["step"] for step in wave[key]] for key in ("moves", "define")} for wave in told["waves"]]
    assert waves == [{"moves": [1, 2], "define": []}, {"moves": [3], "define": [4]}]
    assert [wave["wave"] for wave in told["waves"]] == [1, 2]
    assert told["sends"] == {"xen01": ["xen02", "xen03"], "xen03": ["xen02"]}
    kernel = ["file /var/lib/xenfold/images/lab/kernel", "file /var/lib/xenfold/images/lab/ramdisk"]
    assert told["needs"]["xen03"] == ["bridge xenbr0", "disk /dev/shared/db01", *kernel]


@pytest.mark.parametrize(("where", "steps"), [
    ({"web01": "xen02", "db01": "xen01"}, [1]),
    ({"web01": "xen01", "db01": "xen03"}, [2]),
    ({"web01": "xen02", "db01": "xen02"}, [1, 2, 3]),
    ({"web01": "xen02", "db01": "xen02", "new01": "xen01"}, [1, 2, 3, 4]),
])
def test_steps_are_done_by_where_the_guests_are(where, steps):
    found = {name: host(*(domain(one, domid=number) for number, (one, there) in enumerate(where.items(), 3) if there == name))
             for name in HOSTS}
    told = left(found)
    assert (done(told), told["problems"]) == (steps, [])
    assert bool(told["waves"]) == (len(steps) < 4)


def test_what_a_guest_left_behind_goes_only_where_it_has_moved_away():
    found = {"xen01": host(keeps=["web01", "db01", "other"]), "xen02": host(domain("web01"), domain("db01", domid=4), keeps=["web01"]),
             "xen03": host()}
    told = left(found)
    assert told["forget"] == {"xen01": ["db01", "web01"]}
    assert told["settled"] == HOSTS


def test_a_guest_that_only_starts_with_its_host():
    at_home = {"xen01": host(domain("db01"), guests={"db01": "running", "web01": "autostart"}), "xen02": host(), "xen03": host()}
    assert "step 1: web01 does not run on xen01, it only starts with the host" in left(at_home)["problems"][0]
    arrived = {"xen01": host(domain("db01"), guests={"db01": "running"}), "xen02": host(guests={"web01": "autostart"}), "xen03": host()}
    assert (done(left(arrived)), left(arrived)["problems"]) == ([1], [])
    new = {"xen01": host(domain("db01"), guests={"db01": "running", "new01": "autostart"}), "xen02": host(domain("web01")), "xen03": host()}
    assert (done(left(new)), left(new)["problems"]) == ([1], [])


def test_a_guest_with_disks_elsewhere_is_not_new():
    own = guest("disk01", disks=[{"name": "root", "size_gib": 1, "volume_group": "vg0"}])
    new = plan(move(1, "disk01", None, "xen02"))

    def problems(definition, of_xen01, lost=(), named=(), local=("disk01",)):
        found = {"xen01": host(**of_xen01), "xen02": host()}
        told = moves_left._moves_left(new, found, {"disk01": definition}, HOSTS, HOSTS[:2],
                                      off=HOSTS[2:], lost=lost, new=named, local=local)
        return told["problems"]

    title = "step 1: disk01 is to be new on xen02, with empty disks, and"
    for told in ({"keeps": ["disk01"]}, {"volumes": [volume("disk01-root")]}):
        [problem] = problems(own, told)
        assert problem.startswith(f"{title} xen01 has its disks or its configuration. Write that into the inventory (current: xen01)")
    assert problems(own, {}, ["xen03"]) == [f"{title} its disks may be on xen03; one that is new is named by -e new_guests=disk01"]
    # xen03 was emptied; it is new; it has none; they are reached from everywhere.
    kept = {"keeps": ["disk01"]}
    assert problems(own, {}) == problems(own, {}, ["xen03"], ["disk01"]) == problems(own, kept, ["xen03"], local=()) == []
    assert problems(guest("disk01", disks=[]), kept, ["xen03"]) == []
    with pytest.raises(AnsibleFilterError, match="moves_left: new_guests: value 'web09', allowed guests of the estate"):
        problems(own, {}, named=["web09"])


@pytest.mark.parametrize(("found", "text"), [
    ({"xen01": host(domain("db01")), "xen02": host(), "xen03": host()}, "step 1: web01 is on none of its hosts (xen01 to xen02)"),
    ({"xen01": host(domain("db01"), domain("web01")), "xen02": host(domain("web01")), "xen03": host()}, "web01 is on xen01 and on xen02"),
    ({"xen01": host(domain("db01")), "xen02": host(), "xen03": host(domain("web01"))},
     "web01 is on xen03, and the plan takes it from xen01"),
    ({"xen01": host(domain("web01"), domain("db01", domid=4)), "xen02": host()},
     "host 'xen03': it does not answer, and step 2 (db01) needs it"),
])
def test_what_stands_against_beginning(found, text):
    assert text in "; ".join(left(found)["problems"])


def test_a_host_that_is_left_out_is_told_so_only_when_a_step_needs_it():
    found = {"xen01": host(domain("web01"), domain("new01", domid=5)), "xen02": host(domain("db01", domid=4))}
    problems = left(found, limited=["xen01", "xen02"])["problems"]
    assert problems == []
    found = {"xen01": host(domain("web01"), domain("db01", domid=4)), "xen02": host()}
    assert "xen03': it is left out by --limit, and step 2 (db01) needs it" in left(found, limited=["xen01", "xen02"])["problems"][0]


def test_a_new_guest_needs_every_host_to_answer():
    the_plan = plan(move(1, "new01", None, "xen01"))
    assert "new01 is new, and it is started only when every host" in left({"xen01": host(), "xen02": host()}, the_plan)["problems"][0]


@pytest.mark.parametrize(("the_plan", "text"), [
    ({"schema": 2, "moves": []}, "allowed a plan that playbooks/plan.yml wrote"),
    ({"schema": 1, "moves": 3}, "allowed a plan that"),
    ({**PLAN, "status": "infeasible"}, "status: value 'infeasible'"),
    (plan(move(2, "web01", "xen01", "xen02")), "allowed the move with step 1"),
    (plan(move(1, "gone", "xen01", "xen02")), "workload: value 'gone', allowed a workload of the estate"),
    (plan(move(1, "web01", "xen01", "xen09")), "host 'xen09', allowed a host"),
    (plan({**move(1, "web01", "xen01", "xen02"), "method": "walk"}), "method: value 'walk'"),
    (plan({**move(1, "web01", "xen01", "xen02"), "method": "define"}), "method: value 'define'"),
    (plan(move(1, "web01", "xen01", "xen02"), move(2, "web01", "xen01", "xen03")), "from: value 'xen01', allowed xen02"),
])
def test_a_plan_that_is_none(the_plan, text):
    with pytest.raises(AnsibleFilterError, match="moves_left: ") as caught:
        left({}, the_plan)
    assert text in str(caught.value)


def judged(found, hosts=HOSTS, wave=None, results=None, the_plan=PLAN):
    return moves_judged._moves_judged(found, the_plan, GUESTS, hosts, wave, results)


AWAY, INCOMING = domain("web01--migratedaway", SUSPENDED), domain("web01--incoming", PAUSED, 0, 9)


def test_nothing_is_in_doubt():
    found = {"xen01": host(domain("web01"), domain("db01", PAUSED, domid=4)), "xen02": host(), "xen03": host()}
    assert judged(found) == {"verdicts": [], "settle": {}, "forget": {}, "problems": [], "lines": [], "failed": [], "volumes": {},
                             "start": [], "handed_over": [], "kept": {}, "waits": {}}


def test_a_crashed_run_is_settled():
    told = judged({"xen01": host(AWAY), "xen02": host(INCOMING), "xen03": host()})
    assert told["problems"] == []
    base = {"guest": "web01", "uuid": uuid_of("web01")}
    assert told["settle"] == {
        "xen02": [{**base, "verb": "destroy", "domid": 9, "name": "web01--incoming", "new_name": "", "never_ran": True, "first": True}],
        "xen01": [{**base, "verb": verb, "domid": 3, "name": "web01--migratedaway", "new_name": "web01", "never_ran": False, "first": False}
                  for verb in ("rename", "resume")],
    }
    assert told["verdicts"][0]["text"] == (
        "guest 'web01': on xen01 domain 3 (web01--migratedaway, suspended, 7.5 s of CPU time), on xen02 domain 9 (web01--incoming, paused,"
        " 0 s of CPU time)")


@pytest.mark.parametrize(("found", "kind", "source", "target"), [
    ({"xen01": host(domain("web01")), "xen02": host(INCOMING)}, "clear", "xen01", "xen02"),
    ({"xen02": host(domain("web01")), "xen01": host(INCOMING)}, "clear", "xen02", "xen01"),
    ({"xen01": host(AWAY), "xen02": host(domain("web01"))}, "arrived", "xen01", "xen02"),
    ({"xen01": host(), "xen02": host(AWAY)}, "come_back", "xen02", ""),
    ({"xen01": host(AWAY), "xen02": host()}, "come_back", "xen01", "xen02"),
    ({"xen01": host(domain("web01", SUSPENDED)), "xen02": host()}, "come_back", "xen01", "xen02"),
    ({"xen01": host(), "xen02": host(INCOMING)}, "undefined", "", "xen02"),
])
def test_source_and_target_follow_from_the_marks(found, kind, source, target):
    told = judged({**found, "xen03": host()})
    assert [(verdict["kind"], verdict["source"], verdict["target"]) for verdict in told["verdicts"]] == [(kind, source, target)]
    assert bool(told["problems"]) == (kind == "undefined")


def test_one_that_arrived_leaves_nothing_behind():
    told = judged({"xen01": host(AWAY, keeps=["web01"]), "xen02": host(domain("web01")), "xen03": host()})
    assert (told["forget"], [step["verb"] for step in told["settle"]["xen01"]]) == ({"xen01": ["web01"]}, ["destroy"])


@pytest.mark.parametrize(("found", "hosts", "text"), [
    # It may run on the host that does not answer.
    ({"xen01": host(AWAY), "xen03": host()}, HOSTS, "xen02 could not be asked whether it runs there"),
    ({"xen01": host(AWAY), "xen02": host(INCOMING), "xen03": host(domain("web01"))}, HOSTS, "xen03 has it as well"),
    ({"xen01": host(AWAY, moving=["web01"]), "xen02": host(INCOMING)}, HOSTS[:2], "xl migrate still works on it on xen01"),
    ({"xen01": host(AWAY), "xen02": host(INCOMING, receiving=[77])}, HOSTS[:2],
     "xen02 still receives a guest (xl migrate-receive, number 77)"),
    ({"xen01": host(domain("web01--migratedaway", RUNNING)), "xen02": host(domain("web01"))}, HOSTS[:2], "never let both run"),
])
def test_nothing_is_done_with_what_is_not_certain(found, hosts, text):
    told = judged(found, hosts)
    assert told["settle"] == {}
    assert text in told["problems"][0]
    assert "guest 'web01': on xen01 domain 3 (web01--migratedaway" in told["problems"][0]


def test_a_copy_that_certainly_runs_nowhere_else_does_not_wait_for_other_hosts():
    told = judged({"xen01": host(domain("web01")), "xen02": host(INCOMING)})
    assert (told["problems"], list(told["settle"])) == ([], ["xen02"])


def test_what_became_of_a_wave():
    wave = {"moves": [move(1, "web01", "xen01", "xen02"), move(2, "db01", "xen01", "xen03"), move(3, "web02", "xen02", "xen03")]}
    found = {"xen01": host(domain("db01")), "xen02": host(domain("web01"), domain("web02", domid=5)), "xen03": host()}
    results = {"xen01": [{"guest": "web01", "code": 0, "seconds": 64.2, "lines": ["Migration successful."]},
                         {"guest": "db01", "code": 1, "seconds": 3.0, "lines": ["Migration failed, resuming at sender."]}],
               "xen02": [{"guest": "web02", "code": None, "seconds": None, "lines": []}]}
    told = judged(found, wave=wave, results=results, the_plan=plan(*wave["moves"]))
    assert told["lines"][0] == "step 1 of 3: web01 is on xen02, 128 MiB from xen01 in 64.2 s"
    assert told["failed"] == told["lines"][1:] == [
        "step 2 of 3: db01 stays on xen01: xl migrate ended with 1, and said: Migration failed, resuming at sender.",
        "step 3 of 3: web02 stays on xen02: its unit was killed, and said: nothing"]
    both = judged({**found, "xen03": host(domain("db01"))}, wave=wave, results=results, the_plan=plan(*wave["moves"]))
    assert "db01 is in an undefined state: xl migrate ended with 1" in both["failed"][0]
    assert "never let both run" in both["failed"][-1]
    # It is on its host whatever its receiver still does, and all of that is told.
    waits = judged({**found, "xen03": host(domain("db01--incoming", PAUSED, 0.0), receiving=[77])}, wave=wave, results=results,
                   the_plan=plan(*wave["moves"]))
    assert "db01 stays on xen01: xl migrate ended with 1" in waits["failed"][0]
    assert "xen03 still receives a guest (xl migrate-receive, number 77)" in waits["failed"][-1] and waits["settle"] == {}


def problems(found, *moves, later=(), define=()):
    waves = [{"moves": list(later), "define": []}] if later else []
    return moves_problems._moves_problems([*waves, {"moves": list(moves), "define": list(define)}], found, GUESTS)


GO = move(1, "web01", "xen01", "xen02")


def test_a_wave_that_can_begin():
    assert problems({"xen01": host(domain("web01")), "xen02": host(xen_version="4.18.0")}, GO) == []


@pytest.mark.parametrize(("source", "target", "text"), [
    ({"domains": []}, {}, "it does not run on xen01, which has nothing"),
    ({"domains": [domain("web01", PAUSED)]}, {}, "it is paused on xen01"),
    ({"domains": [domain("web01", uuid="11111111-2222-3333-4444-555555555555")]}, {}, "wanted " + uuid_of("web01")),
    ({"moving": ["web01"]}, {}, "xl migrate works on it already"),
    ({"sizes": {}}, {}, "xl list -l does not show it"),
    ({"sizes": {"web01": size(type="pv")}}, {}, "without shadow paging"),
    ({"sizes": {"web01": size(pci=["0000:03:00.0"])}}, {}, "has PCI devices of xen01 (0000:03:00.0)"),
    ({"sizes": {"web01": size(vnuma=True)}}, {}, "virtual NUMA nodes"),
    ({"deaf": {"xen02": "ssh to 10.9.0.2 ended with 255: Permission denied"}}, {}, "xen01 cannot send to xen02: ssh to 10.9.0.2 ended"),
    ({}, {"xen": False}, "Xen does not run on xen02"),
    ({}, {"xen_version": "4.16.9"}, "xen01 runs Xen 4.17.7 and xen02 Xen 4.16.9"),
    ({}, {"xen_version": "4.19.0"}, "to the same minor version or to the next one"),
    ({}, {"xen_version": "5.17.0"}, "to the same minor version or to the next one"),
    ({}, {"domains": [INCOMING]}, "xen02 has domain 9 (web01--incoming, paused"),
    ({}, {"missing": ["disk /dev/shared/web01", "bridge xenbr0", "disk /dev/other"]},
     "xen02 has no disk /dev/shared/web01, no bridge xenbr0"),
    ({}, {"virt_caps": ["pv"]}, "no hardware virtualization"),
    ({}, {"free_mib": 200}, "host 'xen02': 200 MiB of memory are free, and what comes in this wave needs 140 MiB (web01 140) and 64 MiB"),
])
def test_a_wave_that_cannot(source, target, text):
    told = problems({"xen01": host(domain("web01"), **{"sizes": {"web01": size()}, **source}), "xen02": host(**target)}, GO)
    assert len(told) == 1
    assert text in told[0]


def test_pv_moves_where_xen_has_shadow_paging():
    found = {"xen01": host(domain("web01"), sizes={"web01": size(type="pv")}, virt_caps=["pv", "shadow"]), "xen02": host()}
    assert problems(found, GO) == []


def test_all_that_arrives_in_a_wave_needs_room_at_once():
    found = {"xen01": host(domain("web01"), domain("web02", domid=4)), "xen02": host(free_mib=140 * 3 + 63)}
    told = problems(found, GO, move(2, "web02", "xen01", "xen02"), define=[move(3, "new01", None, "xen02")])
    assert "needs 420 MiB (new01 140, web01 140, web02 140)" in told[0]
    assert problems(found, GO, move(2, "web02", "xen01", "xen02")) == []


def test_a_third_host_must_not_have_it():
    told = problems({"xen01": host(domain("web01")), "xen02": host(), "xen03": host(domain("web01", domid=6))}, GO)
    assert told == ["step 1: web01 from xen01 to xen02: xen03 has domain 6 (web01, running, 7.5 s of CPU time) already"]


def test_of_later_waves_only_that_is_told_which_no_earlier_one_changes():
    found = {"xen01": host(domain("web01")), "xen02": host(free_mib=500), "xen03": host(free_mib=0, missing=["bridge xenbr0"])}
    told = problems(found, move(2, "web01", "xen02", "xen03"), later=[GO])
    assert told == ["step 2: web01 from xen02 to xen03: xen03 has no bridge xenbr0"]


def test_driver_domains_and_who_is_served_by_them(monkeypatch):
    monkeypatch.setitem(GUESTS, "web01", guest("web01", networks=[{"bridge": "br0", "backend": "net01"}]))
    net01 = domain("net01", domid=7)
    assert problems({"xen01": host(domain("web01")), "xen02": host(net01)}, GO) == []
    told = problems({"xen01": host(domain("web01"), net01), "xen02": host()}, GO)
    assert told == ["step 1: web01 from xen01 to xen02: xen02 has no domain net01"]
    monkeypatch.setitem(GUESTS, "web01", guest("web01", driver_domain=True))
    assert "it is a driver domain, whose clients on xen01 would lose" in problems({"xen01": host(domain("web01")), "xen02": host()}, GO)[0]


PEERS = [{"name": "xen02", "address": "10.9.0.2", "port": 22}]


def test_what_goes_out_from_a_host():
    moves = [GO, move(2, "db01", "xen03", "xen02")]
    assert moves_out._moves_out(moves, "xen01", GUESTS, PEERS) == [
        {"step": 1, "guest": "web01", "uuid": uuid_of("web01"), "to": "xen02", "address": "10.9.0.2", "port": 22}]
    with pytest.raises(AnsibleFilterError, match="moves_out: step 1: to: value 'xen03', allowed a host of the pool of xen01: xen02"):
        moves_out._moves_out([move(1, "web01", "xen01", "xen03")], "xen01", GUESTS, PEERS)


def variables(number, **more):
    return {"estate_host": {"pool": "a"}, "ansible_host": f"192.0.2.{number}",
            "network_bridges": [{"addresses": [f"10.9.0.{number}/24"]}], **more}


def test_peers_and_their_addresses():
    told = {"public_key": "ssh-ed25519 AAAA", "volume_key": "ssh-ed25519 CCCC", "guard_key": "ssh-ed25519 DDDD",
            "host_keys": ["ssh-rsa BBBB"]}
    known = {"xen01": variables(1), "xen02": variables(2, _migration_own=told),
             "xen03": variables(3, migration_address="10.8.0.3", migration_port=2222),
             "xen04": variables(4, estate_host={"pool": "b"}), "xen05": {"estate_host": {"pool": "a"}, "migration_address": "fd00::5"}}
    assert move_peers._move_peers(known, "xen01", list(known)) == [
        {"name": "xen02", "address": "10.9.0.2", "addresses": ["10.9.0.2", "192.0.2.2"], "port": 22, "asked": True, "sends": True, **told},
        {"name": "xen03", "address": "10.8.0.3", "addresses": ["10.8.0.3", "10.9.0.3"], "port": 2222, "asked": False, "public_key": "",
         "volume_key": "", "guard_key": "", "host_keys": [], "sends": True},
        {"name": "xen05", "address": "fd00::5", "addresses": ["fd00::5"], "port": 22, "asked": False, "public_key": "",
         "volume_key": "", "guard_key": "", "host_keys": [], "sends": True},
    ]


@pytest.mark.parametrize(("more", "text"), [
    ({"migration_address": "xen02; rm"}, "host 'xen02': migration_address: value 'xen02; rm', allowed an address"),
    ({"migration_address": "fe80::1%eth0"}, "allowed an address"),
    ({"migration_port": "22"}, "host 'xen02': migration_port: value '22', allowed 1 to 65535"),
    ({"ansible_host": "xen02.example", "network_bridges": []}, "host 'xen02': migration_address: no value, allowed an address"),
    ({"network_bridges": 3}, "do not hold together"),
])
def test_peers_that_cannot_be_reached(more, text):
    with pytest.raises(AnsibleFilterError) as caught:
        move_peers._move_peers({"xen01": variables(1), "xen02": variables(2, **more)}, "xen01", ["xen01", "xen02"])
    assert text in str(caught.value)


def test_peers_need_hosts():
    with pytest.raises(AnsibleFilterError, match="allowed the variables of all hosts"):
        move_peers._move_peers("x", "xen01", ["xen01"])


def test_hosts_that_told_nothing():
    assert progress.unasked(HOSTS, ["xen01", "xen02"], {"xen01": host()}) == {
        "xen02": "does not answer", "xen03": "is left out by --limit"}
