# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Planning: what happens, what is refused, what keeps a change from being confirmed."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import ifupdown, live, plan, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.refusals import refusals
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import State

from tests.unit.network import hosts
from tests.unit.network.hosts import BOND, BRIDGE, MANAGEMENT, network, with_link


def lines(wanted: render.Network, state: State, consent: tuple[str, ...] = ()) -> list[str]:
    return [action.line() for action in plan.plan(wanted, state, consent).actions]


def test_a_converged_host_needs_nothing() -> None:
    assert lines(network(), hosts.converged()) == []
    assert refusals(network(), hosts.converged(), []) == []
    assert plan.unmet(network(), hosts.converged(), ["members", "partner", "gateway"]) == []


def test_nothing_described_on_a_host_without_our_files_is_nothing_to_do() -> None:
    bare = replace(hosts.bare(), active=False, enabled=False)
    assert lines(network((), (), ()), bare) == []
    assert refusals(network((), (), ()), bare, []) == []


def test_nothing_described_never_takes_a_network_down_without_consent() -> None:
    files = [path for path in hosts.converged().files if path != MANAGEMENT]
    refused = refusals(network((), (), ()), hosts.converged(), [])
    assert len(refused) == 1
    assert refused[0].startswith("nothing is described, but this host has a network of this role")
    assert refusals(network((), (), ()), hosts.converged(), files) == []
    change = plan.plan(network((), (), ()), hosts.converged(), files)
    assert change.delete == ("xenbr0", "bond0")
    assert set(change.remove) == set(files)


def test_a_bare_host_gets_everything() -> None:
    change = plan.plan(network(), replace(hosts.bare(), active=False, enabled=False), [])
    assert [action.line() for action in change.actions] == [
        "write file /etc/sysctl.d/60-xenfold-network.conf",
        "write file /etc/systemd/network/20-xenfold-bond-bond0.netdev",
        "write file /etc/systemd/network/20-xenfold-bond-bond0.network",
        "write file /etc/systemd/network/20-xenfold-bridge-xenbr0.netdev",
        "write file /etc/systemd/network/20-xenfold-bridge-xenbr0.network",
        "write file /etc/systemd/network/20-xenfold-member-bond0-1.network",
        "write file /etc/systemd/network/20-xenfold-member-bond0-2.network",
        "write file /etc/udev/rules.d/60-xenfold-network.rules",
        "enable service systemd-networkd.service",
        "start service systemd-networkd.service",
        "create bond bond0",
        "create bridge xenbr0",
    ]
    assert change.create == ("xenbr0", "bond0")
    assert change.joins == (("eth1", "bond0"), ("eth2", "bond0"), ("bond0", "xenbr0"))
    assert change.start and change.enable and not change.filters


@pytest.mark.parametrize(("changes", "action", "reconfigure", "free"), [
    ({"name": "eth2", "master": None}, "change bond bond0: eth2 is not a member", ("bond0", "eth2"), ()),
    ({"name": "eth3", "master": "bond0"}, "change bond bond0: eth3 is a member", ("bond0",), ("eth3",)),
    ({"name": "bond0", "master": None}, "change bridge xenbr0: bond0 is not its port", ("xenbr0", "bond0"), ()),
    ({"name": "xenbr0", "addresses": ()}, "change bridge xenbr0: has no address 10.9.0.1/24", ("xenbr0",), ()),
    ({"name": "xenbr0", "up": False}, "change bridge xenbr0: is down", ("xenbr0",), ()),
    ({"name": "xenbr0", "mtu": 1400}, "change bridge xenbr0: mtu is 1400 instead of 1500", ("xenbr0",), ()),
    ({"name": "bond0", "mac": "52:54:00:00:01:01"},
     "change bond bond0: mac is 52:54:00:00:01:01 instead of d6:65:57:ed:e1:f3", ("bond0",), ()),
])
def test_drift_is_mended_without_making_anything_anew(
    changes: dict[str, Any], action: str, reconfigure: tuple[str, ...], free: tuple[str, ...]
) -> None:
    state = with_link(hosts.converged(), changes.pop("name"), **changes)
    change = plan.plan(network(), state, [])
    assert [line.line() for line in change.actions] == [action]
    assert (change.reconfigure, change.free) == (reconfigure, free)
    assert change.delete == change.rebuild == change.create == ()


def test_other_settings_of_a_bond_make_it_anew_and_leave_the_bridge() -> None:
    wanted = network(bonds=[BOND | {"mode": "active-backup"}])
    change = plan.plan(wanted, hosts.converged(), [])
    assert (change.rebuild, change.delete, change.create) == (("bond0",), (), ())
    assert [line for line in lines(wanted, hosts.converged()) if "file" not in line] == [
        "rebuild bond bond0: mode is 802.3ad instead of active-backup"]


def test_a_bridge_with_spanning_tree_is_changed_in_place() -> None:
    state = with_link(hosts.converged(), "xenbr0", data={"stp_state": 1, "forward_delay": 1500})
    change = plan.plan(network(), state, [])
    assert change.rebuild == change.delete == ()
    assert change.reconfigure == ("xenbr0",)


def test_a_vlan_of_another_id_is_made_anew() -> None:
    vlan = {"name": "bond0.20", "link": "bond0", "id": 20}
    wanted = network(vlans=[vlan])
    state = with_link(hosts.converged(wanted), "bond0.20", like="bond0", kind="vlan", below="bond0", master=None,
                      data={"id": 21}, mac="d6:65:57:ed:e1:f3")
    assert plan.plan(wanted, state, []).rebuild == ("bond0.20",)
    right = with_link(state, "bond0.20", data={"id": 20})
    assert plan.plan(wanted, right, []).actions == ()


def test_what_is_described_no_more_goes_and_top_goes_first() -> None:
    change = plan.plan(network((), (), [{"name": "inner0"}]), hosts.converged(), [])
    assert change.delete == ("xenbr0", "bond0")
    assert f"{render.PREFIX}member-bond0-1.network" in change.remove
    assert MANAGEMENT not in change.remove


def test_a_vlan_goes_with_the_bond_below_it() -> None:
    wanted = network(bonds=[BOND | {"mode": "active-backup"}], vlans=[{"name": "bond0.20", "link": "bond0", "id": 20}])
    state = with_link(hosts.converged(wanted), "bond0.20", like="bond0", kind="vlan", below="bond0", master=None, data={"id": 20},
                      mac="d6:65:57:ed:e1:f3")
    change = plan.plan(wanted, state, [])
    assert change.rebuild == ("bond0.20", "bond0")
    assert "rebuild vlan bond0.20: goes with bond0" in [action.line() for action in change.actions]


def test_jumbo_frames_are_compared_on_every_layer() -> None:
    vlan = {"name": "bond0.20", "link": "bond0", "id": 20}
    wanted = network(bonds=[BOND | {"mtu": 9000}], vlans=[vlan], bridges=[BRIDGE, {"name": "xenbr20", "port": "bond0.20"}])
    state = with_link(hosts.converged(wanted), "bond0.20", like="bond0", kind="vlan", below="bond0", master="xenbr20", data={"id": 20})
    state = with_link(state, "xenbr20", like="xenbr0", mac=wanted.bridges[1]["mac"], addresses=())
    small = {name: ["mtu is 1500 instead of 9000"] for name in ("bond0", "bond0.20", "xenbr0", "xenbr20")}
    assert plan.drift(wanted, state) == small
    assert plan.plan(wanted, state, []).reconfigure == ("bond0", "bond0.20", "xenbr0", "xenbr20")


def test_filters_that_somebody_switched_on_are_switched_off() -> None:
    state = replace(hosts.converged(), filters={"iptables": "1", "ip6tables": "0", "arptables": "0"})
    assert lines(network(), state) == ["change packet filter of bridged frames: off"]


@pytest.mark.parametrize(("member", "message"), [
    ({"mac": "52:54:00:00:09:09"}, ("bond 'bond0': members: mac: value '52:54:00:00:09:09' is no card of this host, allowed "
     "eth0 (52:54:00:00:01:00, link), eth1 (52:54:00:00:01:01, down), eth2 (52:54:00:00:01:02, down), "
     "eth3 (52:54:00:00:01:10, down)")),
    ({"name": "enp0s4"}, "bond 'bond0': members: name: value 'enp0s4' is eth2, which is a member of bond 'bond0' already"),
])
def test_members_that_are_not_there_or_there_twice(member: dict[str, str], message: str) -> None:
    wanted = network(bonds=[BOND | {"members": [{"mac": "52:54:00:00:01:02"}, member]}])
    assert refusals(wanted, hosts.bare(), []) == [message]


def test_a_card_may_be_named_by_its_other_name() -> None:
    wanted = network(bonds=[BOND | {"members": [{"name": "enp0s3"}, {"name": "enp0s4"}]}])
    assert refusals(wanted, hosts.bare(), []) == []
    assert plan.drift(wanted, hosts.converged()) == {}


def test_a_guests_interface_is_no_card() -> None:
    state = with_link(hosts.bare(), "vif1.0", like="eth1", mac="fe:ff:ff:ff:ff:ff", permanent_mac="fe:ff:ff:ff:ff:ff")
    wanted = network(bonds=[BOND | {"members": [{"name": "vif1.0"}]}])
    assert "is no card of this host" in refusals(wanted, state, [])[0]


def test_management_is_taken_over_only_by_consent() -> None:
    wanted = network(bonds=[BOND | {"members": [{"name": "eth0"}, {"name": "eth3"}]}])
    assert refusals(wanted, hosts.bare(), []) == [
        f"eth0 is configured by {MANAGEMENT}, which comes before this role's files: list it in network_replace"]
    assert refusals(wanted, hosts.bare(), [MANAGEMENT]) == []
    assert plan.plan(wanted, hosts.bare(), [MANAGEMENT]).remove == (MANAGEMENT,)


def test_a_replaced_file_that_is_gone_is_nothing_to_do() -> None:
    state = hosts.converged()
    state = replace(state, files={path: text for path, text in state.files.items() if path != MANAGEMENT})
    assert plan.plan(network(), state, [MANAGEMENT]).actions == ()


def test_files_of_generators_are_not_ours_to_remove() -> None:
    path = "/run/systemd/network/10-netplan-eth1.network"
    state = replace(hosts.bare(), files={path: "[Match]\nName=eth1\n"})
    assert refusals(network(), state, []) == [
        f"eth1 is configured by {path}, which comes before this role's files: remove what writes it (netplan?)"]
    assert any("network_replace: value" in line for line in refusals(network(), state, [path]))


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/systemd/network/../../passwd", "/etc/network"])
def test_consent_reaches_network_files_only(path: str) -> None:
    assert refusals(network(), hosts.bare(), [path])[0].startswith(f"network_replace: value {path!r}, allowed ")


def test_ifupdown_gives_up_its_interfaces_by_consent() -> None:
    text = "auto lo\niface lo inet loopback\nauto eth1\niface eth1 inet dhcp\n"
    state = replace(hosts.bare(), files={ifupdown.INTERFACES: text})
    assert refusals(network(), state, []) == [
        "eth1 is configured by ifupdown in /etc/network/interfaces: list it in network_replace"]
    assert refusals(network(), state, [ifupdown.INTERFACES]) == []
    change = plan.plan(network(), state, [ifupdown.INTERFACES])
    assert change.take_down == ("eth1",)
    assert [file.content for file in change.write if file.path == ifupdown.INTERFACES] == [ifupdown.NO_STANZAS]
    after = replace(state, files={ifupdown.INTERFACES: ifupdown.NO_STANZAS})
    assert plan.plan(network(), after, [ifupdown.INTERFACES]).take_down == ()


def test_a_bridge_of_ifupdown_with_guests_on_it_stays() -> None:
    text = "iface xenbr0 inet static\n  bridge_ports eth1\n"
    state = replace(with_link(hosts.converged(), "vif3.0", like="eth3", master="xenbr0"),
                    files={ifupdown.INTERFACES: text})
    assert refusals(network(), state, [ifupdown.INTERFACES]) == []
    change = plan.plan(network(), state, [ifupdown.INTERFACES])
    assert (change.take_down, change.forget, change.delete, change.rebuild) == ((), ("xenbr0",), (), ())
    by_dhcp = replace(state, files={ifupdown.INTERFACES: text.replace("static", "dhcp")})
    assert refusals(network(), by_dhcp, [ifupdown.INTERFACES]) == [
        "xenbr0 has its address from DHCP by ifupdown, which cannot let go of it while guests are on it by vif3.0: move or stop them first"]


def test_a_bridge_of_ifupdown_without_guests_is_made_anew() -> None:
    state = replace(hosts.converged(), files={ifupdown.INTERFACES: "iface xenbr0 inet dhcp\n  bridge_ports eth1\n"})
    change = plan.plan(network(), state, [ifupdown.INTERFACES])
    assert (change.take_down, change.rebuild) == (("xenbr0",), ("xenbr0",))
    assert "rebuild bridge xenbr0: ifupdown gives it up" in [action.line() for action in change.actions]


def test_guests_keep_a_bridge_of_ifupdown_that_is_not_wanted() -> None:
    state = replace(with_link(hosts.converged(), "vif3.0", like="eth3", master="xenbr0"),
                    files={ifupdown.INTERFACES: "iface xenbr0 inet static\n"})
    assert refusals(network(bridges=()), state, [ifupdown.INTERFACES]) == [
        "xenbr0 would be deleted but guests are on it by vif3.0: move or stop them first"]


def test_guests_keep_a_bridge_that_is_described_no_more() -> None:
    state = with_link(hosts.converged(), "web01", like="eth3", master="xenbr0", mac="fe:ff:ff:ff:ff:ff")
    assert refusals(network(bridges=()), state, []) == [
        "xenbr0 would be deleted but guests are on it by web01: move or stop them first"]


def test_guests_interfaces_do_not_disturb_a_converged_bridge() -> None:
    state = with_link(hosts.converged(), "vif3.0", like="eth3", master="xenbr0", mac="fe:ff:ff:ff:ff:ff")
    assert plan.plan(network(), state, []).actions == ()


def test_a_card_in_a_foreign_device_is_refused() -> None:
    state = with_link(hosts.bare(), "eth1", master="br-lan")
    assert refusals(network(), state, []) == [
        ("bond 'bond0': member eth1 belongs to br-lan, which is not of this description: list the file that makes it in "
        "network_replace, or delete it")]


def test_a_name_that_something_else_has_is_refused() -> None:
    assert refusals(network(bridges=[{"name": "eth3"}]), hosts.bare(), []) == [
        "bridge 'eth3': name: this host has a network card of that name"]


def test_network_manager_is_no_company() -> None:
    assert "NetworkManager runs on this host" in refusals(network(), replace(hosts.bare(), network_manager=True), [])[0]


def test_name_servers_need_somebody_who_asks_them() -> None:
    wanted = network(bridges=[BRIDGE | {"nameservers": ["10.9.0.53"]}])
    without = replace(hosts.bare(), resolved=False)
    assert refusals(wanted, without, []) == [
        ("bridge 'xenbr0': nameservers: value ['10.9.0.53'], allowed nothing while systemd-resolved.service does not run on this host: "
        "install systemd-resolved, or leave nameservers out and keep /etc/resolv.conf")]
    assert refusals(wanted, hosts.bare(), []) == []
    assert refusals(network(), without, []) == []


GATEWAY = network(bridges=[BRIDGE | {"gateway": "10.9.0.254"}])


@pytest.mark.parametrize(("bond", "asserted", "expected"), [
    (live.BondState({"eth1": True, "eth2": False}, "e2:dc:09:af:12:43", ("eth1",)), ["members"],
     ["bond 'bond0': member eth2 has no link"]),
    (live.BondState({"eth1": True, "eth2": True}, "e2:dc:09:af:12:43", ("eth1",)), ["members"],
     ["bond 'bond0': member eth2 is not in the active aggregate"]),
    (live.BondState({"eth1": True, "eth2": True}, live.NO_PARTNER, ("eth1", "eth2")), ["members", "partner"],
     ["bond 'bond0': no LACP partner answers; is the switch's side configured?"]),
    (live.BondState({"eth1": False, "eth2": False}, live.NO_PARTNER, ()), [], []),
    (live.BondState({"eth1": True, "eth2": True}, None, ("eth1", "eth2")), ["members", "partner"], []),
])
def test_bonds_that_do_not_hold(bond: live.BondState, asserted: list[str], expected: list[str]) -> None:
    assert plan.unmet(network(), replace(hosts.converged(), bonds={"bond0": bond}), asserted) == expected


@pytest.mark.parametrize(("neighbours", "met"), [
    ({"10.9.0.254": "REACHABLE"}, True), ({"10.9.0.254": "PERMANENT"}, True), ({"10.9.0.254": "STALE"}, False),
    ({"10.9.0.254": "FAILED"}, False), ({}, False),
])
def test_a_gateway_counts_when_it_has_just_answered(neighbours: dict[str, str], met: bool) -> None:
    state = replace(hosts.converged(GATEWAY), neighbours=neighbours, gateways=frozenset({("10.9.0.254", "xenbr0")}))
    assert plan.unmet(GATEWAY, state, ["gateway"]) == (
        [] if met else ["bridge 'xenbr0': gateway 10.9.0.254 does not answer"])
    assert plan.unmet(GATEWAY, state, ["members"]) == []


def test_an_ipv6_gateway_is_asserted_in_any_spelling() -> None:
    wanted = network(bridges=[BRIDGE | {"addresses": ["10.9.0.1/24", "FD00:9:0::1/64"], "gateway": "10.9.0.254",
                                        "gateway6": "fd00:9::00fe"}])
    state = with_link(hosts.converged(wanted), "xenbr0", addresses=("10.9.0.1/24", "fd00:9::1/64"))
    assert plan.unmet(wanted, state, ["gateway"]) == [
        "bridge 'xenbr0': has no default route by 10.9.0.254", "bridge 'xenbr0': has no default route by fd00:9::fe",
        "bridge 'xenbr0': gateway 10.9.0.254 does not answer", "bridge 'xenbr0': gateway fd00:9::fe does not answer"]
    routed = replace(state, gateways=frozenset({("10.9.0.254", "xenbr0"), ("fd00:9::fe", "xenbr0")}),
                     neighbours={"10.9.0.254": "REACHABLE", "fd00:9::fe": "FAILED"})
    assert plan.unmet(wanted, routed, ["gateway"]) == ["bridge 'xenbr0': gateway fd00:9::fe does not answer"]
    assert plan.unmet(wanted, replace(routed, neighbours={"10.9.0.254": "REACHABLE", "fd00:9::fe": "REACHABLE"}), ["gateway"]) == []


def test_configuration_that_did_not_take_is_always_asserted() -> None:
    assert plan.unmet(network(), with_link(hosts.converged(), "eth2", master=None), []) == [
        "bond 'bond0': eth2 is not a member"]
    assert plan.unmet(GATEWAY, hosts.converged(GATEWAY), []) == ["bridge 'xenbr0': has no default route by 10.9.0.254"]
