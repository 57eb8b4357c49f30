# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits import kernel, plan
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.limits.samples import MAC_A, MAC_B

GROUP = "/sys/fs/cgroup/xenfold/guest-web01"
DISK = kernel.Disk("web01", 3, "xvda", "253:1")
OTHER = kernel.Disk("web01", 3, "xvdb", "253:2")
VIF = kernel.Vif("web01", MAC_A, "/local/domain/0/backend/vif/3/0", "vif3.0", None)
FIRST = (plan.Write("/sys/fs/cgroup/cgroup.subtree_control", "+io"), plan.Make("/sys/fs/cgroup/xenfold"),
         plan.Write("/sys/fs/cgroup/xenfold/cgroup.subtree_control", "+io"), plan.Make(GROUP))


def guest(disks=None, networks=None):
    return {"disks": disks or {}, "networks": networks or {}}


def steps(wanted, actual):
    found = plan.plan(wanted, actual)
    assert (found.problems, found.notes) == ([], [])
    return found.steps


LIMITED = {"web01": guest({"xvda": {"write_mibps": 2, "read_iops": 100}})}
HELD = kernel.Actual(disks=(DISK,), threads={70: (3, "xvda")}, io=True,
                     groups={"web01": kernel.Group({"253:1": {"wbps": 2097152, "riops": 100}}, frozenset({70}))})


def test_a_disk_that_has_just_connected():
    actual = kernel.Actual(disks=(DISK, OTHER), threads={70: (3, "xvda"), 71: (3, "xvda"), 72: (3, "xvdb"), 73: (4, "xvda")})
    assert steps(LIMITED, actual) == [plan.Step(
        "limit", "disk xvda of guest web01", "no limit -> riops=100 wbps=2097152, threads 70, 71 without limit",
        (*FIRST, plan.Write(f"{GROUP}/io.max", "253:1 rbps=max wbps=2097152 riops=100 wiops=max"),
         plan.Write(f"{GROUP}/cgroup.procs", "70"), plan.Write(f"{GROUP}/cgroup.procs", "71")))]


def test_a_disk_that_is_limited_already():
    assert steps(LIMITED, HELD) == []


def test_a_limit_that_changes_and_one_that_goes():
    found = steps({"web01": guest({"xvda": {"write_mibps": 4}})}, HELD)
    assert [(step.detail, step.deeds) for step in found] == [
        ("riops=100 wbps=2097152 -> wbps=4194304",
         (plan.Write(f"{GROUP}/io.max", "253:1 rbps=max wbps=4194304 riops=max wiops=max"),))]


def test_after_a_reboot_only_the_new_thread_is_moved():
    again = replace(DISK, domid=5)
    found = steps(LIMITED, replace(HELD, disks=(again,), threads={90: (5, "xvda")},
                                   groups={"web01": replace(HELD.groups["web01"], pids=frozenset())}))
    assert [(step.detail, step.deeds[1:]) for step in found] == [
        ("threads 90 without limit", (plan.Write(f"{GROUP}/cgroup.procs", "90"),))]


def test_while_a_guest_is_away_its_limits_stay():
    assert steps(LIMITED, replace(HELD, disks=(), threads={})) == []


def test_cgroups_that_no_longer_limit_disks():
    lost = replace(HELD, io=False, groups={"web01": kernel.Group({}, frozenset({70}))})
    assert steps(LIMITED, lost)[0].deeds[:4] == FIRST


@pytest.mark.parametrize("wanted", [{}, {"web01": guest()}])
def test_a_guest_without_limits_leaves_its_group(wanted):
    assert [(step.verb, step.deeds) for step in steps(wanted, HELD)] == [
        ("lift", (plan.Write("/sys/fs/cgroup/cgroup.procs", "70"), plan.Remove(GROUP)))]


def test_a_second_disk_that_is_free_again():
    held = replace(HELD, disks=(DISK, OTHER), threads={70: (3, "xvda"), 72: (3, "xvdb")}, groups={"web01": kernel.Group(
        {**HELD.groups["web01"].limits, "253:2": {"rbps": 1}}, frozenset({70, 72}))})
    assert [step.deeds for step in steps(LIMITED, held)] == [
        (plan.Write(f"{GROUP}/io.max", "253:2 rbps=max wbps=max riops=max wiops=max"),),
        (plan.Write("/sys/fs/cgroup/cgroup.procs", "72"),)]


def test_a_device_that_a_guest_has_twice_gets_the_lower_limit():
    wanted = {"web01": guest({"xvda": {"read_mibps": 5}, "xvdb": {"read_mibps": 3, "write_iops": 7}})}
    actual = replace(HELD, disks=(DISK, replace(OTHER, number="253:1")), threads={},
                     groups={"web01": kernel.Group({"253:1": {"rbps": 3 * kernel.MIB, "wiops": 7}})})
    assert steps(wanted, actual) == []


def test_disks_of_other_guests_are_left_alone():
    assert steps({"db01": guest({"xvda": {"read_iops": 1}})}, kernel.Actual(disks=(DISK,), threads={70: (3, "xvda")})) == []


@pytest.mark.parametrize(("rate", "queues", "there", "argv"), [
    (200, 1, None, ("xenstore-write", f"{VIF.path}/rate", "1250000,50000")),
    (200, 1, "1250000,50000", None),
    (200, 4, "1250000,50000", ("xenstore-write", f"{VIF.path}/rate", "312500,50000")),
    (200, 4, "312500,50000", None),
    (None, 1, "1250000,50000", ("xenstore-rm", f"{VIF.path}/rate")),
    (None, 1, None, None),
    (1, 64, "", ("xenstore-write", f"{VIF.path}/rate", "97,50000")),
])
def test_what_a_guest_may_send(rate, queues, there, argv):
    network = {"bridge": "xenbr0"} | ({"rate_mbps": rate} if rate else {})
    found = steps({"web01": guest(networks={MAC_A: network})}, kernel.Actual(vifs=(replace(VIF, rate=there, queues=queues),)))
    assert [step.deeds for step in found] == ([(plan.Run(argv),)] if argv else [])


@given(st.integers(1, 400_000), st.integers(1, 64))
def test_all_queues_together_send_the_rate_and_never_more(rate, queues):
    sent, _comma, usecs = plan.rate_text(rate, queues).partition(",")
    assert 0 <= rate * 125_000 * int(usecs) / 10**6 - int(sent) * queues < queues


RECEIVE = {"web01": guest(networks={MAC_A: {"bridge": "xenbr0", "receive_mbps": 5}})}


@pytest.mark.parametrize(("there", "says"), [
    (None, "receive no limit -> 5 Mbit/s"),
    (kernel.Qdisc("pfifo_fast", "0:"), "receive no limit -> 5 Mbit/s"),
    (kernel.Qdisc("tbf", kernel.HANDLE, 1250000), "receive 10 Mbit/s -> 5 Mbit/s"),
    (kernel.Qdisc("tbf", kernel.HANDLE, 625000), None),
    (kernel.Qdisc("tbf", "1:", 625000), "receive 5 Mbit/s -> 5 Mbit/s"),
])
def test_what_a_guest_may_receive(there, says):
    found = steps(RECEIVE, kernel.Actual(vifs=(VIF,), qdiscs={"vif3.0": there} if there else {}))
    assert [step.detail for step in found] == ([says] if says else [])
    assert all(step.deeds[0].argv[:11] == ("tc", "qdisc", "replace", "dev", "vif3.0", "root", "handle", "584e:", "tbf", "rate", "5mbit")
               for step in found)


def test_ours_is_taken_away_where_it_is_not_wanted_and_that_of_others_is_not():
    actual = kernel.Actual(vifs=(VIF,), qdiscs={"vif3.0": kernel.Qdisc("tbf", "1:", 5), "vif9.0": kernel.Qdisc("tbf", kernel.HANDLE, 5),
                                                "bond0": kernel.Qdisc("htb", kernel.HANDLE)})
    assert [step.deeds[0].argv for step in steps({"web01": guest(networks={MAC_A: {"bridge": "xenbr0"}})}, actual)] == [
        ("tc", "qdisc", "del", "dev", "bond0", "root"), ("tc", "qdisc", "del", "dev", "vif9.0", "root")]


SHARED = {"web01": guest(networks={MAC_A: {"bridge": "xenbr0", "min_mbps": 100}}),
          "web02": guest(networks={MAC_B: {"bridge": "xenbr1", "min_mbps": 300}})}
BOND = kernel.Uplink("bond0", 1000)
BRIDGES = {"xenbr0": (BOND,), "xenbr1": (BOND,)}
TREE = kernel.Tree({1: (950, 950), 2: (550, 950), 16: (100, 950), 17: (300, 950)}, {MAC_A: 16, MAC_B: 17})


def test_shares_of_two_bridges_on_one_uplink():
    found = steps(SHARED, kernel.Actual(bridges=BRIDGES))
    assert [(step.verb, step.target, step.detail) for step in found] == [
        ("share", "uplink of bridge xenbr0", "web01 100 Mbit/s"), ("share", "uplink of bridge xenbr1", "web02 300 Mbit/s")]
    assert found[1].deeds == ()
    [deed] = found[0].deeds
    assert deed.argv == ("tc", "-batch", "-")
    lines = deed.data.splitlines()
    assert lines[0] == "qdisc add dev bond0 root handle 584e: htb default 2"
    assert [" ".join(line.split()[4:12]) for line in lines[1:5]] == [
        "parent 584e: classid 584e:1 htb rate 950mbit ceil", "parent 584e:1 classid 584e:2 htb rate 550mbit ceil",
        "parent 584e:1 classid 584e:10 htb rate 100mbit ceil", "parent 584e:1 classid 584e:11 htb rate 300mbit ceil"]
    assert lines[5:] == [f"filter add dev bond0 parent 584e: protocol all pref 1 flower src_mac {mac} classid 584e:{number}"
                         for mac, number in ((MAC_A, "10"), (MAC_B, "11"))]


def test_shares_that_hold():
    ours = kernel.Qdisc("htb", kernel.HANDLE)
    assert steps(SHARED, kernel.Actual(bridges=BRIDGES, trees={"bond0": TREE}, qdiscs={"bond0": ours})) == []


def test_a_tree_of_ours_is_replaced():
    actual = kernel.Actual(bridges=BRIDGES, trees={"bond0": kernel.Tree({}, {})}, qdiscs={"bond0": kernel.Qdisc("htb", kernel.HANDLE)})
    assert steps(SHARED, actual)[0].deeds[0].data.startswith("qdisc del dev bond0 root\nqdisc add dev bond0 ")


def test_before_the_bridge_is_there_the_same_lines_are_shown():
    found = steps(SHARED, kernel.Actual())
    assert [step.line() for step in found] == [step.line() for step in steps(SHARED, kernel.Actual(bridges=BRIDGES))]
    assert not any(step.deeds for step in found)


@pytest.mark.parametrize(("ports", "qdisc", "says"), [
    ((), None, "guest 'web01': min_mbps: bridge xenbr0 has the ports none to the outside, allowed exactly one"),
    ((BOND, kernel.Uplink("eth3", 1000)), None, "has the ports bond0, eth3 to the outside"),
    ((kernel.Uplink("eth0", None),), None, "guest 'web01': min_mbps: eth0 tells no speed"),
    ((kernel.Uplink("eth0", 100),), None,
     "guest 'web01': min_mbps: 100 Mbit/s together (web01 100), allowed 90 Mbit/s, 90 % of the 100 Mbit/s of eth0"),
    ((BOND,), kernel.Qdisc("htb", "1:"), "bond0 has a htb of somebody else's (handle 1:), allowed none: tc qdisc del dev bond0 root"),
    ((replace(BOND, degraded=True),), kernel.Qdisc("htb", "1:"), "somebody else's"),
])
def test_shares_that_cannot_be_held(ports, qdisc, says):
    found = plan.plan({"web01": SHARED["web01"]}, kernel.Actual(bridges={"xenbr0": ports}, qdiscs={"bond0": qdisc} if qdisc else {}))
    assert found.steps == []
    assert len(found.problems) == 1
    assert says in found.problems[0]


def test_too_much_together_names_every_guest():
    wanted = {name: guest(networks={mac: {"bridge": "xenbr0", "min_mbps": 500}}) for name, mac in (("a", MAC_A), ("b", MAC_B))}
    assert plan.plan(wanted, kernel.Actual(bridges={"xenbr0": (BOND,)})).problems == [
        "guests 'a', 'b': min_mbps: 1000 Mbit/s together (a 500, b 500), allowed 900 Mbit/s, 90 % of the 1000 Mbit/s of bond0"]


def test_a_bond_without_one_of_its_links_holds_what_it_can():
    wanted = {"web01": guest(networks={MAC_A: {"bridge": "xenbr0", "min_mbps": 1500}})}
    found = plan.plan(wanted, kernel.Actual(bridges={"xenbr0": (replace(BOND, degraded=True),)}))
    assert (len(found.steps), found.problems, len(found.notes)) == (1, [], 1)
    assert "rate 1500mbit ceil 1500mbit" in found.steps[0].deeds[0].data


@given(st.integers(2, 800_000), st.lists(st.integers(1, 400_000), min_size=1, max_size=40))
def test_trees_promise_no_more_than_there_is(speed, minima):
    shares = [("g", f"mac{index}", least) for index, least in enumerate(minima)]
    tree = plan.wanted_tree(speed, shares)
    leaves = {number: rates for number, rates in tree.classes.items() if number != 1}
    assert len(leaves) == len(minima) + 1
    assert all(0 < least <= most for least, most in tree.classes.values())
    if sum(minima) <= speed * plan.MOST_PERCENT // 100:
        assert sum(least for least, _most in leaves.values()) == max(tree.classes[1][0], sum(minima) + 1)


def test_what_holds_is_told_in_the_words_of_the_definitions():
    wanted = {"web01": guest({"xvda": {"write_mibps": 9}}, {MAC_A: {"bridge": "xenbr0"}})}
    actual = replace(HELD, vifs=(replace(VIF, rate="312500,50000", queues=4),), qdiscs={"vif3.0": kernel.Qdisc("tbf", "584e:", 625000)},
                     trees={"bond0": TREE})
    assert plan.told(wanted, actual) == {"web01": {
        "disks": {"xvda": {"write_mibps": 2, "read_iops": 100}},
        "networks": {MAC_A: {"rate_mbps": 200, "receive_mbps": 5, "min_mbps": 100}}}}
    assert plan.told({}, actual) == {}


def test_a_limit_that_a_thread_escapes_does_not_hold():
    assert plan.told(LIMITED, replace(HELD, threads={70: (3, "xvda"), 71: (3, "xvda")})) == {}
    assert plan.told(LIMITED, replace(HELD, threads={})) == {}
