# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the hosts of a pool let each other send guests: keys of each host's own, known hosts, and lines of authorized_keys for each peer.

Pure functions over texts; the module `migration` reads and writes.
"""
from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import guard, names

KEY_DIR = "/etc/xenfold/migration"
KEY, VOLUME_KEY, GUARD_KEY, KNOWN_HOSTS = "id_ed25519", "id_ed25519_volumes", "id_ed25519_guard", "known_hosts"
PROGRAM = "/usr/local/lib/xenfold/move.py"
SENDER, VOLUME_RECEIVER = "/usr/local/lib/xenfold/volume_send.py", "/usr/local/lib/xenfold/volume_receive.py"
GUARD, GUARD_CONFIG = "/usr/local/lib/xenfold/autostart_guard.py", f"{KEY_DIR}/guard.json"
GUARD_UNIT = "/etc/systemd/system/xendomains.service.d/xenfold-guard.conf"
PROGRAMS = (PROGRAM, SENDER)
"""The programs that move a guest away, each with its journal as its argument."""
MARK, VOLUME_MARK, GUARD_MARK = "xenfold-migration:", "xenfold-volumes:", "xenfold-guard:"
RECEIVER = "/usr/sbin/xl migrate-receive"
_UNIT_SECONDS = 300
TO_BE_MADE = "(key to be made)"

_PUBLIC_KEY = re.compile(r"(ssh-[a-z0-9-]+|ecdsa-sha2-[a-z0-9-]+) ([A-Za-z0-9+/]{40,2000}={0,3})")
_KEYS = ("name", "address", "addresses", "port", "public_key", "volume_key", "guard_key", "host_keys", "asked", "sends")


def ssh(name: str, port: int, key_dir: str = KEY_DIR, key: str = KEY) -> list[str]:
    """The SSH command to a peer, without its address. Its host key is looked up by its name, so it may have any address and port.

    ConnectTimeout covers the exchange of keys as well, for which a busy host takes its time. A cut-off stream ends in two minutes.
    """
    options = [f"UserKnownHostsFile={key_dir}/{KNOWN_HOSTS}", "GlobalKnownHostsFile=/dev/null", f"HostKeyAlias={name}",
               "StrictHostKeyChecking=yes", "BatchMode=yes", "IdentitiesOnly=yes", "ConnectTimeout=30", "ServerAliveInterval=15",
               "ServerAliveCountMax=8"]
    return ["ssh", "-F", "none", "-i", f"{key_dir}/{key}", "-p", str(port), *(word for option in options for word in ("-o", option))]


def check_peers(
    peers: Iterable[Mapping[str, Any]], check_mode: bool = False, volumes: bool = False, guarded: bool = False,
) -> list[str]:
    """What is wrong with peers, one line each: name, addresses, public_key, host_keys, with volumes volume_key, with guarded guard_key and
    address; asked: false for one that told nothing; sends: false for one that sends no guests, and only asks."""
    errors: list[str] = []
    for number, peer in enumerate(peers):
        title = f"peers[{number}]"
        errors += [f"{title}: {key}: unknown key, allowed {', '.join(_KEYS)}" for key in peer if key not in _KEYS]
        errors += [f"{title}: {line}" for line in names.check("host", peer.get("name"))]
        for address in peer.get("addresses") or ():
            errors += [f"{title}: {line}" for line in names.check_address("addresses", address)]
        if peer.get("address") is not None or guarded:
            errors += [f"{title}: {line}" for line in names.check_address("address", peer.get("address"))]
        if not peer.get("asked", True):
            continue
        if not peer.get("addresses"):
            errors.append(f"{title}: addresses: value {peer.get('addresses')!r}, allowed one or more")
        own = ["public_key", *(["volume_key"] if volumes else []), *(["guard_key"] if guarded else [])]
        for key, values in (*((key, [peer.get(key)]) for key in own), ("host_keys", peer.get("host_keys") or [None])):
            if values in ([""], [None]) and check_mode:
                continue
            errors += [f"{title}: {key}: value {value!r}, allowed a public key as ssh-keygen writes it, without comment"
                       for value in values if not isinstance(value, str) or not _PUBLIC_KEY.fullmatch(value)]
    return errors


def public_key(text: str) -> str:
    """Type and key of a line of a .pub file, without its comment; "" when it is none."""
    match = _PUBLIC_KEY.match(text.strip())
    return f"{match[1]} {match[2]}" if match else ""


def known_hosts(text: str, peers: Sequence[Mapping[str, Any]]) -> str:
    """The file of known hosts as it must be; one that told nothing keeps the lines that it has."""
    silent = {peer["name"] for peer in peers if not peer.get("asked", True)}
    lines = [line for line in text.splitlines() if line.split(" ", 1)[0] in silent]
    lines += [f"{peer['name']} {key}" for peer in peers if peer.get("asked", True) for key in peer.get("host_keys") or [TO_BE_MADE]]
    return "".join(f"{line}\n" for line in sorted(lines))


def authorized_keys(text: str, peers: Sequence[Mapping[str, Any]], volumes: bool = False, guarded: bool = False) -> str:
    """authorized_keys with one line for each peer, one more that lets it fill volumes, and one that lets it ask which guests are here.

    Lines without our marks stay as they are, with their order and their ends. Without `volumes` or `guarded` a peer keeps what it may do
    there, and gets nothing.
    """
    senders = [peer for peer in peers if peer.get("sends", True)]
    filled = _with_lines(text, senders, MARK, line_of)
    filled = _with_lines(filled, senders if volumes else _kept(senders), VOLUME_MARK, volume_line_of)
    return _with_lines(filled, peers if guarded else _kept(peers), GUARD_MARK, guard_line_of)


def _kept(peers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Peers whose lines stay as they are."""
    return [{**peer, "asked": False} for peer in peers]


def _with_lines(text: str, peers: Sequence[Mapping[str, Any]], mark: str, line_for: Callable[[Mapping[str, Any]], str]) -> str:
    silent = {peer["name"] for peer in peers if not peer.get("asked", True)}
    wanted = {peer["name"]: line_for(peer) for peer in peers if peer.get("asked", True)}
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        name = _marked(line, mark)
        if name is None or name in silent:
            lines.append(line)
        elif name in wanted:
            # In its place, so that a second run finds what the first has written.
            lines.append(wanted.pop(name) + "\n")
    if lines and not lines[-1].endswith("\n") and wanted:
        lines[-1] += "\n"
    return "".join([*lines, *(f"{wanted[name]}\n" for name in sorted(wanted))])


def line_of(peer: Mapping[str, Any]) -> str:
    """What a peer may: run the receiver, from its addresses, and nothing else."""
    return _line(peer, RECEIVER, peer.get("public_key"), MARK)


def volume_line_of(peer: Mapping[str, Any]) -> str:
    """What a peer may with its other key: fill volumes that are tagged as being filled by it, and nothing else."""
    return _line(peer, f"/usr/bin/python3 {VOLUME_RECEIVER} {peer['name']}", peer.get("volume_key"), VOLUME_MARK)


def guard_line_of(peer: Mapping[str, Any]) -> str:
    """What a peer may with its third key: ask which guests run here and which start with this host, and nothing else."""
    return _line(peer, f"/usr/bin/python3 -I {GUARD} tell", peer.get("guard_key"), GUARD_MARK)


def guard_config(guests: Iterable[str], peers: Iterable[Mapping[str, Any]], wait_seconds: int, key_dir: str = KEY_DIR) -> str:
    """What the guard of a host reads: whom to ask, and of which guests."""
    settings = {"guests": sorted(guests), "peers": guard_peers(peers, key_dir), "wait_seconds": wait_seconds}
    return json.dumps(settings, indent=1, sort_keys=True) + "\n"


def guard_peers(peers: Iterable[Mapping[str, Any]], key_dir: str = KEY_DIR) -> list[dict[str, Any]]:
    """Peers as the guard asks them: name and command, by name."""
    return [{"name": peer["name"], "command": [*ssh(peer["name"], peer.get("port") or 22, key_dir, GUARD_KEY), f"root@{peer['address']}"]}
            for peer in sorted(peers, key=lambda peer: str(peer["name"]))]


def guard_unit(wait_seconds: int, peers: int) -> str:
    """The part of xendomains' unit that lets the guard go before it. A guard that fails leaves guests down: they could run twice."""
    # Debian's unit has five minutes for each command; the last round of questions begins when the time to wait is over.
    timeout = max(_UNIT_SECONDS, wait_seconds + 60 + int(guard.ASK_SECONDS) * math.ceil(peers / guard.AT_ONCE))
    return ("# Guests that another host may run are not started here: the other hosts are asked first.\n"
            "[Unit]\nWants=network-online.target\nAfter=network-online.target\n\n"
            f"[Service]\nTimeoutStartSec={timeout}\nExecStartPre=/usr/bin/python3 -I {GUARD}\n")


def _line(peer: Mapping[str, Any], command: str, key: str | None, mark: str) -> str:
    return f'restrict,from="{",".join(sorted(peer["addresses"]))}",command="{command}" {key or TO_BE_MADE} {mark}{peer["name"]}'


def peers_in(text: str) -> list[str]:
    """The peers that have a line."""
    return sorted(name for line in text.splitlines() if (name := _marked(line, MARK)) is not None)


def _marked(line: str, mark: str) -> str | None:
    words = line.split()
    return words[-1].removeprefix(mark) if words and words[-1].startswith(mark) and not line.lstrip().startswith("#") else None
