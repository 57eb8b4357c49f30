# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard's scripts where ifupdown is the backend, before a change or after it; run for real as in test_guard.py."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import handover, ifupdown, render

from tests.unit.network import hosts
from tests.unit.network.hosts import BOND, BRIDGE, with_ifupdown, with_link
from tests.unit.network.test_guard import Box, arm
from tests.unit.network.test_ifupdown import INSTALLED, NETWORK, OVER_MANAGEMENT, as_installed

IFUP = "systemd-run --quiet --collect --wait --property=KillMode=process ifup"
STATE = "run/network/ifstate"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def recorded(box: Box, *names: str) -> None:
    """ifupdown's own state: these interfaces are up."""
    box.put(STATE, "".join(f"{name}={name}\n" for name in ("lo", *names)))
    for name in names:
        box.put(f"{STATE}.{name}", f"{name}\n")


def test_a_card_as_installed_passes_into_a_bond_and_comes_back(box: Box) -> None:
    arm(box, OVER_MANAGEMENT, as_installed(), (ifupdown.INTERFACES,))
    assert ifupdown.FILE not in box.files()
    assert INSTALLED in box.files()[ifupdown.INTERFACES]
    box.fake("ifdown", f"grep -q 'inet static' {box.root}{ifupdown.INTERFACES} && test ! -e {box.root}{ifupdown.FILE}"
                       f" && echo by the old files >> {box.log}")
    calls = box.script("apply")
    assert calls[:2] == ["ifdown --force eth0", "by the old files"]
    assert box.files()[ifupdown.INTERFACES] == ifupdown.SOURCING
    assert box.files()[ifupdown.FILE] == handover.rendered_files(OVER_MANAGEMENT, hosts.bare())[0].content
    # ifup takes no card into the bond that has an address, and makes what carries before what is carried.
    order = [calls.index(call) for call in ("ip addr flush dev eth0", "ip link set dev eth0 down", "ifup bond0",
                                            "ifup xenbr0")]
    assert order == sorted(order)
    assert not [call for call in calls if "networkd" in call or call.startswith("networkctl")]
    box.fake("ifup", f"grep -c static {box.root}{ifupdown.INTERFACES} >> {box.log}")
    calls = box.script("restore")
    assert f"{IFUP} eth0" in calls
    assert calls.index("ip link delete dev bond0") < calls.index(f"{IFUP} eth0")
    assert box.files() == as_installed().files
    assert not [call for call in calls if "networkd" in call]


def test_a_host_of_networkd_keeps_its_bridge_and_lets_go_of_networkd_at_the_end_alone(box: Box) -> None:
    before = replace(hosts.converged(), files={**{file.path: file.content for file in render.networkd_files(hosts.network())},
                                               ifupdown.INTERFACES: ifupdown.SOURCING})
    arm(box, NETWORK, with_link(before, "vif1.0", like="eth3", master="xenbr0"))
    calls = box.script("apply")
    assert "systemctl enable networking.service" in calls
    stopped = calls.index("systemctl stop systemd-networkd.socket systemd-networkd.service")
    assert [call for call in calls if "delete" in call] == ["ip link delete dev bond0"]
    order = [stopped, *(calls.index(call) for call in (
        "ip link delete dev bond0", "ifup bond0", "ip addr flush dev xenbr0 scope global",
        "ip -4 route del default dev xenbr0", "ifup xenbr0"))]
    assert order == sorted(order)
    assert not [call for call in calls if call.startswith("systemctl disable")]
    assert not [path for path in box.files() if path.startswith(render.PREFIX)]
    recorded(box, "bond0", "xenbr0")
    calls = box.script("restore")
    assert "systemctl restart systemd-networkd.service" in calls and "systemctl disable networking.service" in calls
    assert not [call for call in calls if "xenbr0" in call and "delete" in call]
    assert box.files() == before.files
    # ifupdown does not take for its own what is networkd's again.
    assert (box.root / STATE).read_text() == "lo=lo\n"
    assert not (box.root / f"{STATE}.xenbr0").exists()


def test_networkd_is_disabled_when_the_change_is_confirmed(box: Box) -> None:
    before = replace(hosts.converged(), files={ifupdown.INTERFACES: ifupdown.SOURCING})
    arm(box, NETWORK, before)
    box.script("apply")
    assert box.host.confirm()
    assert ["systemctl", "disable", "systemd-networkd.service"] in box.commands


def test_networkd_stays_enabled_where_it_has_work(box: Box) -> None:
    files = {**hosts.converged().files, ifupdown.INTERFACES: ifupdown.SOURCING}
    arm(box, NETWORK, replace(hosts.converged(), files=files))
    calls = box.script("apply")
    assert "systemctl restart systemd-networkd.service" in calls
    assert not [call for call in calls if "systemctl stop" in call]
    assert box.host.confirm()
    assert ["systemctl", "disable", "systemd-networkd.service"] not in box.commands


def test_a_host_of_ours_passes_to_networkd_and_back(box: Box) -> None:
    before = with_ifupdown(NETWORK, hosts.converged())
    recorded(box, "bond0", "xenbr0", "eth9")
    arm(box, hosts.network(), before)
    assert ifupdown.FILE in box.files()
    calls = box.script("apply")
    assert ifupdown.FILE not in box.files()
    assert [call for call in calls if "delete" in call or call.startswith("ifdown")] == ["ip link delete dev bond0"]
    assert "systemctl restart systemd-networkd.service" in calls
    assert (box.root / STATE).read_text() == "lo=lo\neth9=eth9\n"
    assert not (box.root / f"{STATE}.bond0").exists() and (box.root / f"{STATE}.eth9").exists()
    calls = box.script("restore")
    assert box.files() == before.files
    assert "systemctl stop systemd-networkd.socket systemd-networkd.service" in calls
    assert calls.index("ip addr flush dev xenbr0 scope global") < calls.index(f"{IFUP} bond0 xenbr0")
    assert "ip link set dev xenbr0 address be:78:e8:5a:25:b4 mtu 1500" in calls


def test_a_bridge_with_guests_is_not_taken_down_with_somebody_elses_file(box: Box) -> None:
    text = "iface bond0 inet manual\n  bond-slaves eth1 eth2\niface xenbr0 inet static\n  bridge_ports bond0\n  address 10.9.0.1/24\n"
    before = replace(with_link(hosts.converged(), "vif1.0", like="eth3", master="xenbr0"), files={ifupdown.INTERFACES: text},
                     active=False, enabled=False, networking=True)
    for wanted in (hosts.network(), NETWORK):
        recorded(box, "bond0", "xenbr0")
        arm(box, wanted, before, (ifupdown.INTERFACES,))
        calls = box.script("apply")
        assert [call for call in calls if "delete" in call or call.startswith("ifdown")] == [
            "ifdown --force bond0", "ip link delete dev bond0"]
        assert f"{IFUP} bond0 xenbr0" in box.script("restore")
        assert box.files() == before.files


def test_a_bond_that_is_there_is_changed_by_hand(box: Box) -> None:
    bond = BOND | {"addresses": ["10.9.0.1/24", "fd00:9::1/64"], "gateway": "10.9.0.254", "gateway6": "fd00:9::fe",
                   "nameservers": ["10.9.0.53"]}
    wanted = hosts.network(bonds=[bond | {"mtu": 9000}], bridges=(), backend="ifupdown")
    old = hosts.network(bonds=[bond], bridges=(), backend="ifupdown")
    arm(box, wanted, with_ifupdown(old, with_link(hosts.converged(), "bond0", master=None)))
    calls = box.script("apply")
    start = calls.index(f"ip link set dev bond0 mtu 9000 address {wanted.bonds[0]['mac']} up")
    assert calls[start + 1:start + 10] == [
        "ip addr flush dev bond0 scope global", "ip -4 route del default dev bond0", "ip -6 route del default dev bond0",
        "sysctl -q -e -w net/ipv6/conf/bond0/disable_ipv6=0", "ip addr add 10.9.0.1/24 dev bond0 brd +",
        "ip addr add fd00:9::1/64 dev bond0 nodad",
        "ip -4 route add default via 10.9.0.254 dev bond0 onlink", "ip -6 route add default via fd00:9::fe dev bond0 onlink",
        "resolvectl dns bond0 10.9.0.53"]
    assert not [call for call in calls if call.startswith("ifup") or "delete" in call]
    assert f"{IFUP} bond0" in box.script("restore")


def test_members_that_ifenslave_leaves_down_come_up_again(box: Box) -> None:
    wanted = hosts.network(bonds=[BOND | {"mtu": 9000}], backend="ifupdown")
    arm(box, wanted, with_ifupdown(NETWORK, hosts.converged()))
    box.script("apply")
    # The kernel: the cards are in the bond and the bond is in the bridge, so nothing has to be joined.
    box.fake("readlink", 'case "$1" in */eth[12]/master) echo ../bond0;; */bond0/master) echo ../xenbr0;; esac')
    calls = box.script("restore")
    assert not [call for call in calls if " master " in call]
    up = calls.index(f"{IFUP} bond0 xenbr0")
    assert [calls.index(f"ip link set dev {name} up") > up for name in ("eth1", "eth2")] == [True, True]
    # A card that was down before stays down.
    assert "ip link set dev eth3 up" not in calls


def test_jumbo_frames_reach_bond_vlan_and_bridge(box: Box) -> None:
    vlan = {"name": "bond0.20", "link": "bond0", "id": 20}
    bridges = [BRIDGE, {"name": "xenbr20", "port": "bond0.20"}]
    small = hosts.network(vlans=[vlan], bridges=bridges, backend="ifupdown")
    large = hosts.network(bonds=[BOND | {"mtu": 9000}], vlans=[vlan], bridges=bridges, backend="ifupdown")
    state = with_link(hosts.converged(), "bond0.20", like="bond0", kind="vlan", below="bond0", master="xenbr20", data={"id": 20})
    state = with_link(state, "xenbr20", like="xenbr0", mac=large.bridges[1]["mac"], addresses=())
    arm(box, large, with_ifupdown(small, state))
    calls = box.script("apply")
    order = [call for call in calls if call.startswith("ifup") or " mtu " in call]
    assert order == [f"ip link set dev bond0 mtu 9000 address {large.bonds[0]['mac']} up", "ifup bond0.20", "ifup xenbr0",
                     "ifup xenbr20"]
    assert box.files()[ifupdown.FILE].count("mtu 9000") == 4


def test_a_restart_before_the_confirmation_puts_the_files_of_ifupdown_back(box: Box) -> None:
    arm(box, OVER_MANAGEMENT, as_installed(), (ifupdown.INTERFACES,))
    box.script("apply")
    calls = box.script("restore", "boot")
    assert not [call for call in calls if call.startswith(("ip ", "ifup", "systemd-run"))]
    assert box.files() == as_installed().files


def test_a_card_that_came_up_before_its_old_file_was_back_is_asked_for_again_at_boot(box: Box) -> None:
    arm(box, OVER_MANAGEMENT, as_installed(), (ifupdown.INTERFACES,))
    assert "udevadm trigger --action=add --subsystem-match=net" in box.script("restore", "boot")


def test_a_host_of_networkd_asks_for_no_card_again_at_boot(box: Box) -> None:
    arm(box, hosts.network(), hosts.bare())
    assert not [call for call in box.script("restore", "boot") if "udevadm trigger" in call]
