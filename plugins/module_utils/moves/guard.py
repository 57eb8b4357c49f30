#!/usr/bin/python3
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Before a host starts its guests: those that another host could start as well are started only if no other host has them.

    python3 autostart_guard.py         asks the peers, and takes away the autostart links of guests that must not start here
    python3 autostart_guard.py tell    what a peer is told: the guests that run here, and those that start with this host

Carried to the hosts as it stands and run by systemd before `xendomains`. What it takes away it writes down, with the reason; the next
run of site.yml, which asks every host too, starts such a guest where the plan wants it.
"""
from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONFIG = "/etc/xenfold/migration/guard.json"
"""{"guests": [NAME], "peers": [{"name": NAME, "command": [WORD]}], "wait_seconds": N}"""
XL, AUTO = "/usr/sbin/xl", "/etc/xen/auto"
HELD = "/var/lib/xenfold/autostart-held.json"
"""{GUEST: REASON} of the last start of this host."""
ASK_SECONDS = 30.0
PAUSE_SECONDS = 3.0
_LINK = re.compile(r"(?:[0-9]+-)?(.+?)(?:\.cfg)?")
_HALVES = ("--incoming", "--migratedaway")


def links(auto: str) -> dict[str, list[str]]:
    """Guest -> the paths of its autostart links."""
    found: dict[str, list[str]] = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.listdir(auto)):
            match = _LINK.fullmatch(entry)
            if match:
                found.setdefault(match[1], []).append(f"{auto}/{entry}")
    return found


def tell(auto: str = AUTO) -> dict[str, list[str]]:
    """runs: guests that run here, arrive or have just left; starts: those that start with this host. Raises OSError when xl fails."""
    done = subprocess.run([XL, "list"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"xl list: {done.returncode}: {done.stderr.strip()}")
    names = [line.split()[0] for line in done.stdout.splitlines()[1:] if line.split()]
    for half in _HALVES:
        names = [name.removesuffix(half) for name in names]
    return {"runs": sorted(set(names) - {"Domain-0", "(null)"}), "starts": sorted(links(auto))}


def ask(command: Sequence[str]) -> dict[str, list[str]] | None:
    """What a peer tells; None without an answer that can be read."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
        told = json.loads(done.stdout) if done.returncode == 0 else {}
        return {key: [str(name) for name in told[key]] for key in ("runs", "starts")}
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return None


def ask_all(peers: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, dict[str, list[str]] | None]:
    """Peer -> what it tells. One that is silent is asked again, for about `seconds`: hosts whose power came back at once boot at once."""
    told: dict[str, dict[str, list[str]] | None] = {peer["name"]: None for peer in peers}
    end = time.monotonic() + seconds
    while True:
        silent = [peer for peer in peers if told[peer["name"]] is None]
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(len(silent), 16))) as pool:
            told.update(zip([peer["name"] for peer in silent], pool.map(lambda peer: ask(peer["command"]), silent), strict=True))
        if None not in told.values() or time.monotonic() >= end:
            return told
        time.sleep(PAUSE_SECONDS)


def held(guests: Sequence[str], told: Mapping[str, Mapping[str, Sequence[str]] | None]) -> dict[str, str]:
    """Guest -> why it must not start here, of those that must not."""
    found: dict[str, str] = {}
    silent = sorted(name for name, answer in told.items() if answer is None)
    for guest in guests:
        for key, what in (("runs", "it runs on"), ("starts", "it starts with")):
            there = sorted(name for name, answer in told.items() if answer is not None and guest in answer[key])
            if there:
                found.setdefault(guest, f"{what} {', '.join(there)}")
        if silent:
            found.setdefault(guest, f"it may run on {', '.join(silent)}, which did not answer")
    return found


def main(arguments: Sequence[str], config: str = CONFIG, auto: str = AUTO, kept: str = HELD) -> int:
    if list(arguments) == ["tell"]:
        print(json.dumps(tell(auto)))
        return 0
    settings = json.loads(Path(config).read_text(encoding="utf-8"))
    there = links(auto)
    guests = sorted(set(settings["guests"]) & set(there))
    reasons = held(guests, ask_all(settings["peers"], settings["wait_seconds"])) if guests else {}
    # Written first: a link that is gone without a word would be a riddle.
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    temporary = f"{kept}.new"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(reasons, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, kept)
    for guest, reason in sorted(reasons.items()):
        for path in there[guest]:
            os.unlink(path)
        print(f"{guest} does not start with this host: {reason}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
