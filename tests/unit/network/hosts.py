# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts for the tests: what tools printed on a real one (`seen/`), and bare ones made of it."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.network import handover, ifupdown, live, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import State

SEEN = Path(__file__).parent / "seen"
MANAGEMENT = "/etc/systemd/network/05-management.network"
MANAGEMENT_TEXT = "[Match]\nName=eth0\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
BOND: dict[str, Any] = {"name": "bond0", "mode": "802.3ad", "members": [{"name": "eth1"}, {"mac": "52:54:00:00:01:02"}],
                        "link_mbps": 1000}
BRIDGE: dict[str, Any] = {"name": "xenbr0", "port": "bond0", "addresses": ["10.9.0.1/24"]}


def network(bonds: Any = (BOND,), vlans: Any = (), bridges: Any = (BRIDGE,), backend: str = "networkd") -> render.Network:
    """The network of net1, which is the host of `seen/`."""
    return render.Network.of("net1", bonds, vlans, bridges, backend)


def seen_links() -> dict[str, live.Link]:
    return live.parse_links((SEEN / "ip-addr.json").read_text())


def seen_bond() -> live.BondState:
    return live.parse_bond((SEEN / "bond0.txt").read_text())


def converged(wanted: render.Network | None = None) -> State:
    """The host of `seen/` with the files of its network."""
    files = {file.path: file.content for file in render.networkd_files(wanted or network())}
    return State(links=seen_links(), bonds={"bond0": seen_bond()}, files=files | {MANAGEMENT: MANAGEMENT_TEXT},
                      gateways=frozenset({("10.0.2.2", "eth0")}))


def with_ifupdown(wanted: render.Network, state: State, others: str = "") -> State:
    """A host with ifupdown alone, with the files of `wanted` (of that backend), and in ifupdown's main file also `others`."""
    texts = {file.path: file.content for file in handover.rendered_files(wanted, state)}
    texts[ifupdown.INTERFACES] = ifupdown.SOURCING + others
    return replace(state, files=texts, active=False, enabled=False, networking=True)


def bare() -> State:
    """The same host before: cards without a bond."""
    links = {name: replace(link, master=None, mac=link.permanent_mac, up=name == "eth0", carrier=name == "eth0")
             for name, link in seen_links().items() if not link.kind}
    return replace(converged(), links=links, bonds={}, files={MANAGEMENT: MANAGEMENT_TEXT})


def with_link(state: State, name: str, **changes: Any) -> State:
    """`state` with one link changed, or added when `like` names one to copy."""
    like = changes.pop("like", name)
    link = replace(state.links[like], name=name, **changes)
    return replace(state, links={**state.links, name: link})
