# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and addresses of moves, checked before any of them reaches a shell: xl hands SSH command and address to `sh -c`."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

GUEST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RUN = re.compile(r"[A-Za-z0-9-]{1,64}")
PORTS = (1, 65535)

_PATTERNS = {
    "guest": (GUEST, "the name of a guest: lower-case letters, digits, '.' and '-'"),
    "uuid": (UUID, "a UUID in lower case"),
    "host": (HOST, "the name of a host: letters, digits, '.', '_' and '-'"),
    "to": (HOST, "the name of a host: letters, digits, '.', '_' and '-'"),
    "run": (RUN, "letters, digits and '-'"),
}


def check(key: str, value: Any) -> list[str]:
    """What is wrong with a `guest`, `uuid`, `host`, `to` or `run`: one line, or none."""
    pattern, allowed = _PATTERNS[key]
    sound = isinstance(value, str) and pattern.fullmatch(value) and not (key == "guest" and "--" in value)
    return [] if sound else [f"{key}: value {value!r}, allowed {allowed}"]


def check_address(key: str, value: Any) -> list[str]:
    """What is wrong with an address; one with a zone (`fe80::1%eth0`) is none, as a zone may be any text."""
    try:
        if isinstance(value, str) and "%" not in value:
            ipaddress.ip_address(value)
            return []
    except ValueError:
        pass
    return [f"{key}: value {value!r}, allowed an address such as 10.9.0.2 or fd00::2"]


def check_port(key: str, value: Any) -> list[str]:
    low, high = PORTS
    sound = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return [] if sound else [f"{key}: value {value!r}, allowed {low} to {high}"]


def check_move(move: Mapping[str, Any]) -> list[str]:
    """What is wrong with a move: guest, uuid, to, address, port; lines begin with the guest."""
    errors = [line for key in ("guest", "uuid", "to") for line in check(key, move.get(key))]
    errors += check_address("address", move.get("address")) + check_port("port", move.get("port", 22))
    return [f"move of {move.get('guest')!r}: {line}" for line in errors]
