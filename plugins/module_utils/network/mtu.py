# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether packets of full size reach another machine whole: what to ask, and what to say of the answer. Pure.

A switch that does not carry large frames drops them and tells nobody; everything small works. Source: ping(8) of iputils.
"""
from __future__ import annotations

import json
from dataclasses import dataclass

# Of the IP header and the header of an echo request.
_HEADERS = {4: 20 + 8, 6: 40 + 8}
_SECONDS = 4
_NO_WAY = ("unreachable", "blackhole", "prohibit")


@dataclass(frozen=True)
class Route:
    """Which device leads to an address. local: it is the host's own."""

    device: str
    local: bool


def parse_route(text: str) -> Route | None:
    """The answer of `ip -j route get ADDRESS`; None when no route leads there."""
    try:
        found = [entry for entry in json.loads(text or "[]") if "dev" in entry]
    except ValueError:
        return None
    if not found or found[0].get("type") in _NO_WAY:
        return None
    return Route(found[0]["dev"], found[0].get("type") == "local")


def question(peer: str, size: int) -> list[str]:
    """The command that succeeds when `peer` answers one packet of `size` bytes that nobody may take apart."""
    payload = size - _HEADERS[6 if ":" in peer else 4]
    return ["ping", "-n", "-q", "-c", "1", "-w", str(_SECONDS), "-M", "do", "-s", str(payload), peer]


def silent(peer: str, size: int, device: str) -> str:
    """What is said of a peer that did not answer."""
    return (f"mtu peer {peer} does not answer a packet of {size} bytes, the mtu of {device}, sent whole; is the mtu as large on"
            " every switch on the way and on the peer?")


def unreachable(peer: str) -> str:
    """What is said of a peer to which no route leads."""
    return f"mtu peer {peer} cannot be asked, no route leads to it"
