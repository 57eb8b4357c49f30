# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packets of full size to other machines: what is asked, and what is said of the answers. Declared fake: the commands."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import mtu
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.host import Host
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.refusals import refusals
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

from tests.unit.network import hosts

PING = ["ping", "-n", "-q", "-c", "1", "-w", "4", "-M", "do", "-s"]
SILENT = "sent whole; is the mtu as large on every switch on the way and on the peer?"


class Commands:
    """What a Runner runs: answers by the first words of a command; `asked` are those of ip route and ping."""

    def __init__(self, routes: dict[str, str], silent: set[str] = frozenset(), size: int = 9000) -> None:  # type: ignore[assignment]
        self.routes, self.silent, self.asked = routes, silent, list[list[str]]()
        links = json.loads((hosts.SEEN / "ip-addr.json").read_text())
        for link in links:
            link["mtu"] = size if link.get("ifname") in ("bond0", "xenbr0", "eth1", "eth2") else link.get("mtu")
        self.links = json.dumps(links)

    def run_command(self, args: list[str], **_kwargs: Any) -> tuple[int, str, str]:
        if args[:4] == ["ip", "-j", "route", "get"]:
            self.asked.append(args)
            return (0, self.routes[args[4]], "") if args[4] in self.routes else (2, "", "RTNETLINK answers: Network is unreachable")
        if args[0] == "ping":
            self.asked.append(args)
            return int(args[-1] in self.silent), "", ""
        return 0, {"systemctl": "", "ip": "[]" if "route" in args else self.links}[args[0]], ""

    def fail_json(self, msg: str, **_kwargs: Any) -> None:
        raise AssertionError(msg)


NETWORK = hosts.network(bonds=[hosts.BOND | {"mtu": 9000}])
OVER_BRIDGE = '[{"dst":"10.9.0.2","dev":"xenbr0","prefsrc":"10.9.0.1","flags":[],"uid":0,"cache":[]}]'
OWN = '[{"type":"local","dst":"10.9.0.1","dev":"lo","prefsrc":"10.9.0.1","flags":[],"uid":0,"cache":["local"]}]'


def unmet(root: Path, commands: Commands, peers: list[str], asserts: tuple[str, ...] = ("mtu",)) -> list[str]:
    (root / "proc/net/bonding").mkdir(parents=True, exist_ok=True)
    (root / "proc/net/bonding/bond0").write_text((hosts.SEEN / "bond0.txt").read_text())
    return Host(Runner(commands), str(root)).unmet(NETWORK, asserts, peers)


def test_each_peer_is_sent_a_packet_as_large_as_its_device_takes(tmp_path: Path) -> None:
    commands = Commands({"10.9.0.2": OVER_BRIDGE, "fd00:9::2": OVER_BRIDGE})
    assert unmet(tmp_path, commands, ["10.9.0.2", "fd00:9::2"]) == []
    assert [words for words in commands.asked if words[0] == "ping"] == [[*PING, "8972", "10.9.0.2"], [*PING, "8952", "fd00:9::2"]]


def test_peer_size_and_device_are_named(tmp_path: Path) -> None:
    commands = Commands({"10.9.0.2": OVER_BRIDGE, "10.9.0.3": OVER_BRIDGE}, silent={"10.9.0.2"})
    assert unmet(tmp_path, commands, ["10.9.0.2", "10.9.0.3"]) == [
        f"mtu peer 10.9.0.2 does not answer a packet of 9000 bytes, the mtu of xenbr0, {SILENT}"]


def test_the_hosts_own_address_is_passed_over(tmp_path: Path) -> None:
    commands = Commands({"10.9.0.1": OWN})
    assert unmet(tmp_path, commands, ["10.9.0.1"]) == []
    assert [words[0] for words in commands.asked] == ["ip"]


@pytest.mark.parametrize("answer", [
    None, "", "[]", '[{"type":"unreachable","dst":"fd00:9::2","dev":"lo"}]', '[{"dev":"gone0"}]', "no JSON",
])
def test_a_peer_without_a_route(tmp_path: Path, answer: str | None) -> None:
    commands = Commands({} if answer is None else {"fd00:9::2": answer})
    assert unmet(tmp_path, commands, ["fd00:9::2"]) == ["mtu peer fd00:9::2 cannot be asked, no route leads to it"]


def test_nobody_is_asked_who_need_not_be(tmp_path: Path) -> None:
    commands = Commands({"10.9.0.2": OVER_BRIDGE}, silent={"10.9.0.2"})
    assert unmet(tmp_path, commands, ["10.9.0.2"], ("members", "partner")) == []
    assert unmet(tmp_path, commands, []) == []
    small = Commands({"10.9.0.2": OVER_BRIDGE}, silent={"10.9.0.2"}, size=1500)
    assert unmet(tmp_path, small, ["10.9.0.2"])[0] == "bond 'bond0': mtu is 1500 instead of 9000"
    assert commands.asked == small.asked == []


def test_a_host_for_which_nothing_is_described_asks_nobody(tmp_path: Path) -> None:
    commands = Commands({"10.9.0.2": OVER_BRIDGE}, silent={"10.9.0.2"})
    assert Host(Runner(commands), str(tmp_path)).unmet(hosts.network((), (), ()), ("mtu",), ["10.9.0.2"]) == []
    assert commands.asked == []


def test_without_ping_peers_are_refused() -> None:
    state = replace(hosts.converged(NETWORK), missing=frozenset({"iputils-ping"}))
    assert refusals(NETWORK, state, [], ["10.9.0.2"]) == [
        "network_mtu_peers: value ['10.9.0.2'], allowed on a host with the package iputils-ping: install it, or leave them out"]
    assert refusals(NETWORK, state, []) == []


def test_a_route_names_its_device() -> None:
    assert mtu.parse_route(OVER_BRIDGE) == mtu.Route("xenbr0", local=False)
    assert mtu.parse_route(OWN) == mtu.Route("lo", local=True)
