# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parsers, on what a real host printed."""
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import live

from tests.unit.network import hosts

BOND_TEXT = (hosts.SEEN / "bond0.txt").read_text()
CARD = live.Link("eth0", "", "52:54:00:00:01:00", "52:54:00:00:01:00", 1500, True, True, None, None, (), {},
                 "pci-0000:00:02.0", ("enp0s2",))


def test_links_of_a_real_host() -> None:
    links = hosts.seen_links()
    assert {name: link.kind for name, link in links.items()} == {
        "lo": "", "eth0": "", "eth1": "", "eth2": "", "eth3": "", "bond0": "bond", "xenbr0": "bridge"}
    assert links["xenbr0"].addresses == ("10.9.0.1/24",)
    assert links["bond0"].master == "xenbr0"
    assert links["bond0"].data["ad_lacp_rate"] == "fast"
    assert links["xenbr0"].data["stp_state"] == 0


def test_a_member_keeps_its_permanent_address() -> None:
    member = hosts.seen_links()["eth1"]
    assert member.master == "bond0"
    assert member.mac == hosts.seen_links()["bond0"].mac
    assert member.permanent_mac == "52:54:00:00:01:01"
    assert member.other_names == ("enp0s3",)


def test_only_cards_are_cards() -> None:
    assert sorted(name for name, link in hosts.seen_links().items() if link.is_card) == ["eth0", "eth1", "eth2", "eth3"]
    assert not replace(CARD, name="vif1.0").is_card
    assert not replace(CARD, name="web01", mac="fe:ff:ff:ff:ff:ff").is_card
    assert replace(CARD, name="vif1.0-emu").is_guest_port


def test_a_real_lacp_bond() -> None:
    bond = live.parse_bond(BOND_TEXT)
    assert bond.links == {"eth1": True, "eth2": True}
    assert sorted(bond.aggregated) == ["eth1", "eth2"]
    assert bond.partner == "e2:dc:09:af:12:43"


def test_no_partner() -> None:
    text = BOND_TEXT.replace("Partner Mac Address: e2:dc:09:af:12:43", "Partner Mac Address: 00:00:00:00:00:00")
    assert live.parse_bond(text).partner == live.NO_PARTNER


def test_no_active_aggregate_is_no_partner_either() -> None:
    head, _, slaves = BOND_TEXT.partition("\nSlave Interface:")
    text = head.partition("Active Aggregator Info:")[0] + "bond bond0 has no active aggregator\n\nSlave Interface:" + slaves
    bond = live.parse_bond(text)
    assert bond.partner == live.NO_PARTNER
    assert bond.aggregated == ()


def test_a_member_without_link_and_one_in_another_aggregate() -> None:
    parts = BOND_TEXT.split("Slave Interface: ")
    parts[1] = parts[1].replace("MII Status: up", "MII Status: down")
    parts[2] = parts[2].replace("Aggregator ID: 1", "Aggregator ID: 2")
    bond = live.parse_bond("Slave Interface: ".join(parts))
    assert bond.links == {"eth2": False, "eth1": True}
    assert bond.aggregated == ("eth2",)


def test_active_backup_knows_no_partner() -> None:
    text = ("Ethernet Channel Bonding Driver: v6.1.0\n\nBonding Mode: fault-tolerance (active-backup)\n"
            "Currently Active Slave: eth0\nMII Status: up\n\nSlave Interface: eth0\nMII Status: up\n\nSlave Interface: eth3\n"
            "MII Status: going back\n")
    assert live.parse_bond(text) == live.BondState({"eth0": True, "eth3": False}, None, ("eth0", "eth3"))


def test_neighbours() -> None:
    text = '[{"dst":"10.0.2.2","lladdr":"52:55:0a:00:02:02","state":["REACHABLE"]},{"dst":"10.9.0.254","state":["FAILED"]}]'
    assert live.parse_neighbours(text) == {"10.0.2.2": "REACHABLE", "10.9.0.254": "FAILED"}
    assert live.parse_neighbours("") == {}


def test_networkctl() -> None:
    text = """\
  1 lo     loopback carrier  unmanaged
  3 eth1   ether    enslaved configured
  6 bond0  bond     enslaved configuring
"""
    assert live.parse_networkctl(text) == {"lo": "unmanaged", "eth1": "configured", "bond0": "configuring"}


def test_units_with_comments_and_continued_lines() -> None:
    text = "# c\n; c\n\n[Match]\nName=eth0 \\\n eth1\n[Network]\nAddress = 10.0.0.1/24\nnonsense\n"
    assert live.parse_unit(text) == [("Match", "Name", "eth0   eth1"), ("Network", "Address", "10.0.0.1/24")]


@pytest.mark.parametrize(("match", "holds"), [
    ("Name=eth0", True), ("Name=eth*", True), ("Name=eth1 eth0", True), ("Name=!eth0", False), ("Name=!eth1 eth2", True),
    ("Name=enp0s2", True), ("MACAddress=52-54-00-00-01-00", True), ("PermanentMACAddress=52:54:00:00:01:00", True),
    ("Path=pci-0000:00:*", True), ("Type=ether", True), ("Type=bridge", False), ("Type=!ether", False),
    ("Name=eth*\nDriver=ath9k", False), ("Name=*\nVirtualization=container", False), ("Name=eth*\nType=wlan", False),
])
def test_which_conditions_hold(match: str, holds: bool) -> None:
    path = "/etc/systemd/network/10-x.network"
    assert live.first_match({path: f"[Match]\n{match}\n"}, CARD) == (path if holds else None)


def test_the_first_name_wins_and_etc_hides_the_rest() -> None:
    files = {
        "/etc/systemd/network/50-late.network": "[Match]\nName=eth0\n",
        "/run/systemd/network/10-netplan-eth0.network": "[Match]\nName=eth0\n",
        "/usr/lib/systemd/network/05-first.network": "[Match]\nName=eth0\n",
        "/etc/systemd/network/05-first.network": "[Match]\nName=eth9\n",
    }
    assert live.first_match(files, CARD) == "/run/systemd/network/10-netplan-eth0.network"
