# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ifupdown as backend: its file, what other files of it say, and the way from and to networkd."""
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.hosts import check_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import handover, ifupdown, plan, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.refusals import refusals
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import State
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import check_description

from tests.unit.network import hosts
from tests.unit.network.hosts import BOND, BRIDGE, MANAGEMENT, with_ifupdown, with_link

NETWORK = hosts.network(backend="ifupdown")
INSTALLED = "auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet static\n  address 10.0.2.15/24\n  gateway 10.0.2.2\n"
OVER_MANAGEMENT = hosts.network(bonds=[BOND | {"members": [{"name": "eth0"}, {"name": "eth3"}]}], backend="ifupdown")


def lines(wanted: render.Network, state: State, consent: tuple[str, ...] = ()) -> list[str]:
    assert refusals(wanted, state, consent) == []
    return [action.line() for action in plan.plan(wanted, state, consent).actions]


def as_installed() -> State:
    return replace(hosts.bare(), files={ifupdown.INTERFACES: f"source /etc/network/interfaces.d/*\n{INSTALLED}"},
                   active=False, enabled=False, networking=True)


def test_members_go_by_the_names_that_the_host_has_for_them() -> None:
    bond = BOND | {"members": [{"mac": "52:54:00:00:01:01"}, {"name": "enp0s4"}, {"name": "eth3"}]}
    text = handover.rendered_files(hosts.network(bonds=[bond], backend="ifupdown"), hosts.bare())[0].content
    assert "    bond-slaves eth1 eth2 eth3\n" in text
    assert ("\n# eth1 of bond0 is the card with mac 52:54:00:00:01:01\n# eth2 of bond0 is the card with name enp0s4\nauto bond0\n") in text


def test_the_file_says_what_was_rendered_of_each_device() -> None:
    text = handover.rendered_files(NETWORK, hosts.bare())[0].content
    assert list(ifupdown.stanzas(text)) == ["bond0", "xenbr0"]
    assert list(ifupdown.blocks(text)) == ["bond0", "xenbr0"]
    assert "bridge_ports bond0" in ifupdown.blocks(text)["xenbr0"]


def test_stanzas_of_other_files() -> None:
    text = "auto lo eth0\niface lo inet loopback\n# iface eth9 inet dhcp\niface eth0 inet dhcp\niface eth0 inet6 \\\n static\n"
    text += " iface br0 inet static\n  bridge_ports eth1\n iface\n"
    assert ifupdown.stanzas(text) == {"eth0": {"dhcp", "static"}, "br0": {"static"}}


@pytest.mark.parametrize(("text", "takes_in"), [
    ("source /etc/network/interfaces.d/*", True), ("source interfaces.d/*", True), ("  source /etc/network/interfaces.d/x*", True),
    ("source-directory /etc/network/interfaces.d", True), ("source-directory interfaces.d/", True),
    ("source /etc/x /etc/network/*.d/*", True),
    (ifupdown.SOURCING, True), ("", False), (ifupdown.NO_STANZAS, False), ("#source /etc/network/interfaces.d/*", False),
    ("source /etc/network/interfaces.d/*.cfg", False), ("source-directory /etc/network/other.d", False), ("source", False),
])
def test_whether_the_main_file_takes_ours_in(text: str, takes_in: bool) -> None:
    assert ifupdown.sources(text) is takes_in


def test_a_converged_host_needs_nothing() -> None:
    state = with_ifupdown(NETWORK, hosts.converged())
    assert lines(NETWORK, state) == []
    assert lines(NETWORK, state, (ifupdown.INTERFACES, MANAGEMENT)) == []
    assert plan.unmet(NETWORK, state, ["members", "partner", "gateway"]) == []


def test_a_host_as_installed_passes_its_card_on_by_consent() -> None:
    assert refusals(OVER_MANAGEMENT, as_installed(), []) == [
        "eth0 is configured by ifupdown in /etc/network/interfaces: list it in network_replace"]
    assert lines(OVER_MANAGEMENT, as_installed(), (ifupdown.INTERFACES,)) == [
        "write file /etc/network/interfaces.d/xenfold",
        "write file /etc/sysctl.d/60-xenfold-network.conf",
        "write file /etc/udev/rules.d/60-xenfold-network.rules",
        "change file /etc/network/interfaces",
        "take down interface eth0: ifupdown gives it up",
        "create bond bond0",
        "create bridge xenbr0",
    ]
    change = plan.plan(OVER_MANAGEMENT, as_installed(), [ifupdown.INTERFACES])
    assert [file.content for file in change.write if file.path == ifupdown.INTERFACES] == [ifupdown.SOURCING]
    assert (change.enable, change.start, change.idle) == (False, False, False)


def test_a_host_of_networkd_passes_to_ifupdown_and_keeps_its_bridge() -> None:
    before = replace(hosts.converged(), files={**hosts.converged().files, ifupdown.INTERFACES: ifupdown.SOURCING})
    before = replace(before, files={path: text for path, text in before.files.items() if path != MANAGEMENT})
    said = lines(NETWORK, before)
    assert said[0] == "write file /etc/network/interfaces.d/xenfold"
    assert sorted(line for line in said if line.startswith("remove")) == sorted(
        f"remove file {file.path}" for file in render.networkd_files(hosts.network()) if file.path.startswith(render.PREFIX))
    assert said[-4:] == ["enable service networking.service", "disable service systemd-networkd.service: nothing is left for it",
                         "rebuild bond bond0: passes to ifupdown", "change bridge xenbr0: passes to ifupdown"]


def test_networkd_goes_on_where_something_is_left_for_it() -> None:
    before = replace(hosts.converged(), files={**hosts.converged().files, ifupdown.INTERFACES: ifupdown.SOURCING})
    assert not plan.plan(NETWORK, before, []).idle
    assert plan.plan(NETWORK, before, [MANAGEMENT]).idle
    after = with_ifupdown(NETWORK, hosts.converged())
    assert plan.plan(NETWORK, replace(after, enabled=True), []).idle


def test_ifupdown_of_ours_passes_to_networkd_without_consent() -> None:
    before = with_ifupdown(NETWORK, hosts.converged())
    wanted = hosts.network()
    assert refusals(wanted, before, []) == []
    change = plan.plan(wanted, before, [])
    assert change.remove == (ifupdown.FILE,)
    assert (change.take_down, change.forget, change.delete, change.rebuild) == ((), ("bond0", "xenbr0"), (), ("bond0",))
    assert "rebuild bond bond0: passes to networkd" in [action.line() for action in change.actions]
    assert change.enable and change.start and not change.idle


def test_a_bond_and_bridge_of_somebody_elses_ifupdown_pass_to_either_backend() -> None:
    text = ("iface eth1 inet manual\n  bond-master bond0\niface bond0 inet manual\n  bond-slaves none\n"
            "iface xenbr0 inet static\n  bridge_ports bond0\n  address 10.9.0.1/24\n")
    before = replace(hosts.converged(), files={ifupdown.INTERFACES: text}, active=False, enabled=False, networking=True)
    for wanted in (NETWORK, hosts.network()):
        assert refusals(wanted, before, []) != []
        assert refusals(wanted, before, [ifupdown.INTERFACES]) == []
        change = plan.plan(wanted, before, [ifupdown.INTERFACES])
        assert (change.take_down, change.rebuild) == (("xenbr0", "bond0", "eth1"), ("xenbr0", "bond0"))


def test_what_is_described_no_more_goes_and_the_rest_stays() -> None:
    before = with_ifupdown(hosts.network(bridges=[BRIDGE, {"name": "inner0"}], backend="ifupdown"), hosts.converged())
    before = with_link(before, "inner0", like="xenbr0", addresses=())
    change = plan.plan(NETWORK, before, [])
    assert (change.delete, change.forget, change.rebuild, change.reconfigure) == (("inner0",), ("inner0",), (), ())
    assert [action.line() for action in change.actions] == ["change file /etc/network/interfaces.d/xenfold", "delete bridge inner0"]
    guarded = with_link(before, "vif1.0", like="eth3", master="inner0")
    assert refusals(NETWORK, guarded, []) == ["inner0 would be deleted but guests are on it by vif1.0: move or stop them first"]


def test_a_stanza_that_changes_is_set_up_again_though_nothing_is_missing() -> None:
    before = with_ifupdown(hosts.network(bridges=[BRIDGE | {"addresses": ["10.9.0.1/24", "10.9.1.1/24"]}], backend="ifupdown"),
                           hosts.converged())
    change = plan.plan(NETWORK, before, [])
    assert change.reconfigure == ("xenbr0",)
    assert [action.line() for action in change.actions] == [
        "change file /etc/network/interfaces.d/xenfold", "change bridge xenbr0: its stanza changes"]


@pytest.mark.parametrize(("missing", "said"), [
    (set(), []), ({"iputils-ping"}, []), ({"ifupdown"}, ["install ifupdown"]),
    ({"bridge-utils", "ifenslave"}, ["install bridge-utils, ifenslave"]),
])
def test_packages_that_are_not_installed_are_named(missing: set[str], said: list[str]) -> None:
    state = replace(as_installed(), missing=frozenset(missing))
    assert refusals(OVER_MANAGEMENT, state, [ifupdown.INTERFACES]) == [
        f"network_backend: value 'ifupdown', allowed on a host with the packages bridge-utils, ifenslave, ifupdown: {text}"
        for text in said]
    assert refusals(hosts.network(), replace(hosts.bare(), missing=frozenset(missing)), []) == []


def test_only_packages_that_the_network_needs_are_asked_for() -> None:
    wanted = hosts.network(bonds=(), bridges=[{"name": "inner0"}], backend="ifupdown")
    state = replace(as_installed(), missing=frozenset({"ifenslave"}))
    assert refusals(wanted, state, []) == []
    without_bridges = replace(state, missing=frozenset({"bridge-utils"}))
    assert "packages bridge-utils, ifupdown: install bridge-utils" in refusals(wanted, without_bridges, [])[0]


def test_a_main_file_that_does_not_take_ours_in_is_refused_or_written_by_consent() -> None:
    for files in ({}, {ifupdown.INTERFACES: ifupdown.NO_STANZAS}):
        state = replace(as_installed(), files=files)
        assert refusals(NETWORK, state, []) == [
            ("/etc/network/interfaces does not take in /etc/network/interfaces.d/xenfold: give it the line "
             "'source /etc/network/interfaces.d/*', or list it in network_replace (that line and lo are left of it then)")]
        change = plan.plan(NETWORK, state, [ifupdown.INTERFACES])
        assert refusals(NETWORK, state, [ifupdown.INTERFACES]) == []
        assert ifupdown.SOURCING in [file.content for file in change.write]


def test_networkd_at_work_on_the_same_links_is_refused() -> None:
    state = replace(as_installed(), files={ifupdown.INTERFACES: ifupdown.SOURCING, MANAGEMENT: "[Match]\nName=eth*\n"})
    assert refusals(NETWORK, state, []) == []
    running = replace(state, active=True)
    assert refusals(NETWORK, running, []) == [
        f"{name} is configured by {MANAGEMENT}, and systemd-networkd.service is at work: list it in network_replace"
        for name in ("eth1", "eth2")]
    assert refusals(NETWORK, running, [MANAGEMENT]) == []


def test_nothing_described_is_nothing_to_do() -> None:
    wanted = hosts.network((), (), (), backend="ifupdown")
    assert lines(wanted, as_installed()) == []
    assert lines(wanted, hosts.bare()) == []


def test_nothing_described_needs_nothing_of_the_host() -> None:
    state = replace(as_installed(), network_manager=True, missing=frozenset({"iputils-ping", "ifupdown"}))
    assert refusals(hosts.network((), (), (), backend="ifupdown"), state, [], ["10.9.0.2"]) == []


@pytest.mark.parametrize("backend", ["networkd", "ifupdown"])
def test_nothing_described_leaves_files_of_others_that_the_group_replaces_elsewhere(backend: str) -> None:
    wanted = hosts.network((), (), (), backend=backend)
    assert lines(wanted, as_installed(), (ifupdown.INTERFACES, MANAGEMENT)) == []
    assert lines(wanted, hosts.bare(), (ifupdown.INTERFACES, MANAGEMENT)) == []
    change = plan.plan(wanted, as_installed(), [ifupdown.INTERFACES])
    assert (change.write, change.remove, change.take_down, change.forget) == ((), (), (), ())


def test_nothing_described_never_takes_a_network_down_without_consent() -> None:
    state = with_ifupdown(NETWORK, hosts.converged())
    wanted = hosts.network((), (), (), backend="ifupdown")
    assert refusals(wanted, state, [])[0].startswith("nothing is described, but this host has a network of this role")
    ours = tuple(path for path in state.files if path != ifupdown.INTERFACES)
    change = plan.plan(wanted, state, ours)
    assert refusals(wanted, state, ours) == []
    assert (change.delete, change.forget, change.enable, change.idle) == (("xenbr0", "bond0"), ("bond0", "xenbr0"), False, False)


def test_the_estate_says_what_ifupdown_cannot_do() -> None:
    host = {"network_bonds": [BOND], "network_bridges": [{"name": "br.0", "port": "bond0"}], "network_backend": "ifupdown"}
    findings = Findings()
    check_host(findings, "xen01", host)
    assert [(finding.path, finding.text) for finding in findings.all if "network" in str(finding.path[2])] == [
        (("hosts", "xen01", "network_bridges", 0, "name"),
         "bridge 'br.0': name: value 'br.0', allowed a name without a dot, with network_backend ifupdown")]
    findings = Findings()
    check_host(findings, "xen01", host | {"network_backend": "networkd"})
    assert [finding for finding in findings.all if "network" in str(finding.path[2])] == []


VLANS = [{"name": name, "link": "bond0", "id": number} for name, number in (("bond0.30", 20), ("bond0.40", 40), ("v50", 50))]


@pytest.mark.parametrize(("arguments", "errors"), [
    (("networkd", [], [BOND], VLANS, [{"name": "br.0"}]), []),
    (("ifupdown", [], [BOND | {"name": "b.0"}], [], [{"name": "br.0"}]), [
        "bond 'b.0': name: value 'b.0', allowed a name without a dot, with network_backend ifupdown",
        "bridge 'br.0': name: value 'br.0', allowed a name without a dot, with network_backend ifupdown"]),
    (("ifupdown", [], [BOND], VLANS, []), [
        "vlan 'bond0.30': name: value 'bond0.30', allowed bond0.20 or a name without a dot, with network_backend ifupdown"]),
    (("netplan", [], [], [], []), ["network_backend: value 'netplan', allowed networkd, ifupdown"]),
    (([], [], [], [], []), ["network_backend: value [], allowed networkd, ifupdown"]),
    (("networkd", "10.9.0.2", [], [], []), ["network_mtu_peers: value '10.9.0.2', allowed a list of IP addresses"]),
    (("networkd", ["10.9.0.2", "fd00:9::2"], [], [], []), []),
    (("networkd", ["fd00:9::2%eth0", "fd00:9::2%a b"], [], [], []), [
        f"network_mtu_peers[{number}]: value {value!r}, allowed the IP address of another machine"
        for number, value in enumerate(["fd00:9::2%eth0", "fd00:9::2%a b"])]),
    (("networkd", ["10.9.0.2/24", "xen02", 7, "224.0.0.1", "::1"], [3], [], []), [
        *(f"network_mtu_peers[{number}]: value {value!r}, allowed the IP address of another machine"
          for number, value in enumerate(["10.9.0.2/24", "xen02", 7, "224.0.0.1", "::1"])),
        ("bond number 1: value 3, allowed a mapping with the keys name, mode, members, mac, mtu, hash_policy, lacp_rate, min_links, "
         "miimon_ms, updelay_ms, link_mbps, addresses, gateway, gateway6, nameservers")]),
])
def test_what_is_wrong_beside_the_items(arguments: tuple[object, ...], errors: list[str]) -> None:
    assert check_description(*arguments) == errors  # type: ignore[arg-type]
