#!/usr/bin/python3
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Before a host starts its guests: those that another host could start as well are started only if no other host has them.

    python3 autostart_guard.py         asks the other hosts, and takes away autostart links of guests that must not start here
    python3 autostart_guard.py tell    what another host is told: guests that run here, and those that start with this host

Carried to the hosts as it stands and run by systemd before `xendomains`. What it takes away it writes down, with the reason; the next
run of site.yml, which asks every host too, starts such a guest where the plan wants it.
"""
from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

XL, AUTO, GUESTS = "/usr/sbin/xl", "/etc/xen/auto", "/etc/xen/guests"
CAPABILITIES = "/proc/xen/capabilities"
LOCK = "/run/xenfold/apply.lock"
CONFIG = "/etc/xenfold/migration/guard.json"
"""{"guests": [NAME], "peers": [{"name": NAME, "command": [WORD]}], "wait_seconds": N}"""
HELD = "/var/lib/xenfold/autostart-held.json"
"""{GUEST: REASON} of guests that were held back and have not got a link, or run, since."""
CLAIMS = "/run/xenfold/autostart-claims.json"
"""{"guests": [NAME], "until": SECONDS since boot}: guests held back here since it is not known who is to start them. Hosts that ask soon
after are not to start them either."""
STARTING = "/run/xenfold/starting"
"""A file for each guest, locked while a run starts it here (xl/claims.py)."""
CREATING = "/run/xenfold/creating"
"""The same while xl creates it, which goes on when the run is killed."""
CLAIM_SECONDS = 60.0
"""Beyond twice the time that hosts are waited for: those that boot with this one ask within that."""
ASK_SECONDS = 30.0
AT_ONCE = 32
PAUSE_SECONDS = 3.0
_LINK = re.compile(r"(?:[0-9]+-)?(.+?)(?:\.cfg)?")
# A copy that arrives is not let run before its source has said that it has ended there; what has left may have arrived.
_ARRIVES, _LEFT = "--incoming", "--migratedaway"

Answer = Mapping[str, Any]


def links(auto: str) -> dict[str, list[str]]:
    """Guest -> the paths of its autostart links, by the configuration that they lead to, else by their names."""
    found: dict[str, list[str]] = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.listdir(auto)):
            target = Path(os.path.realpath(f"{auto}/{entry}"))
            named = target.name if str(target.parent) == GUESTS else entry
            match = _LINK.fullmatch(named)
            if match:
                found.setdefault(match[1], []).append(f"{auto}/{entry}")
    return found


def xen_runs() -> bool:
    """Whether this kernel is the dom0 of a Xen host. Under any other no guest runs, and none starts."""
    try:
        return "control_d" in Path(CAPABILITIES).read_text(encoding="ascii")
    except OSError:
        return False


def running() -> set[str]:
    """Guests that run here, or have left. Raises OSError when xl fails."""
    if not xen_runs():
        return set()
    done = subprocess.run([XL, "list"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"xl list: {done.returncode}: {done.stderr.strip()}")
    names = [line.split()[0] for line in done.stdout.splitlines()[1:] if line.split()]
    return {name.removesuffix(_LEFT) for name in names if not name.endswith(_ARRIVES)} - {"Domain-0", "(null)"}


def starting() -> set[str]:
    """Guests that a run is just starting here, or that the xl of one that was killed still creates."""
    found = set()
    for folder in (STARTING, CREATING):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            with contextlib.suppress(FileNotFoundError), open(f"{folder}/{name}", "rb") as stream:
                try:
                    fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    found.add(name)
    return found


def tell(auto: str = AUTO, claims: str = CLAIMS) -> dict[str, Any]:
    """runs: guests that run or are just being started; starts: those with links; busy: whether a plan is carried out here, so that it may
    not be true for long."""
    claimed: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        claim = json.loads(Path(claims).read_text(encoding="utf-8"))
        # A clock that is set after the start does not count.
        if time.clock_gettime(time.CLOCK_BOOTTIME) < claim["until"]:
            claimed = claim["guests"]
    # In this order: one that has been started meanwhile is among those that run.
    begun = starting()
    return {"runs": sorted(begun | running()), "starts": sorted({*links(auto), *claimed}), "busy": os.path.exists(LOCK)}


def ask(command: Sequence[str]) -> dict[str, Any] | None:
    """What another host tells; None without an answer that can be read."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
        told = json.loads(done.stdout) if done.returncode == 0 else {}
        return {key: [str(name) for name in told[key]] for key in ("runs", "starts")} | {"busy": bool(told["busy"])}
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return None


def ask_once(peers: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """Host -> what it tells, all at once."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(len(peers), AT_ONCE))) as pool:
        answers = list(pool.map(lambda peer: ask(peer["command"]), peers))
    return {peer["name"]: answer for peer, answer in zip(peers, answers, strict=True)}


def ask_patiently(peers: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, dict[str, Any] | None]:
    """The same; those that do not answer are asked again until the time is up, since sshd turns callers away when there are too many."""
    told: dict[str, dict[str, Any] | None] = {}
    end = time.monotonic() + seconds
    left = peers
    while left:
        told |= ask_once(left)
        left = [peer for peer in left if told[peer["name"]] is None]
        if not left or time.monotonic() >= end:
            break
        # By chance, or those that were turned away together would come together again.
        time.sleep(random.uniform(0.5, 3))
    return told


def settings(config: str = CONFIG) -> dict[str, Any]:
    """What this host guards; nothing without the file."""
    try:
        found: dict[str, Any] = json.loads(Path(config).read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = {"guests": [], "peers": [], "wait_seconds": 0}
    return found


def ask_all(peers: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, dict[str, Any] | None]:
    """Host -> what it tells, all in one round, for guests move between rounds.

    While one is silent or busy they are asked again, for about `seconds`: hosts whose power came back at once boot at once.
    """
    end = time.monotonic() + seconds
    while True:
        told = ask_once(peers)
        if all(answer and not answer["busy"] for answer in told.values()) or time.monotonic() >= end:
            return told
        time.sleep(PAUSE_SECONDS)


def reasons_of(guests: Collection[str], told: Mapping[str, Answer | None]) -> tuple[dict[str, str], list[str]]:
    """Guest -> why it must not start here; and those of them of which it is not known who is to start them."""
    found: dict[str, str] = {}
    silent = sorted(name for name, answer in told.items() if answer is None)
    busy = sorted(name for name, answer in told.items() if answer is not None and answer["busy"])
    claims = []
    for guest in sorted(guests):
        runs, starts = (sorted(name for name, answer in told.items() if answer is not None and guest in answer[key])
                        for key in ("runs", "starts"))
        if runs:
            found[guest] = f"it runs on {', '.join(runs)}"
        elif starts or silent or busy:
            claims.append(guest)
            found[guest] = (f"it starts with {', '.join(starts)}" if starts
                            else f"it may run on {', '.join(silent)}, which did not answer" if silent
                            else f"it may come to {', '.join(busy)}, where a plan is carried out or was cut off ({LOCK})")
    return found, claims


def write(path: str, value: Any) -> None:
    """The old file or the new one, never a part; without a place for it there is none."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f"{path}.new", "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(f"{path}.new", path)
    except OSError as error:
        print(f"not written down: {error}", flush=True)


def guard(wanted: Mapping[str, Any], auto: str = AUTO, kept: str = HELD, claims: str = CLAIMS) -> None:
    """Ask, and take away the links of what must not start here. Raises OSError when a link cannot be taken away."""
    guests = set(wanted["guests"]) & set(links(auto))
    told = ask_all(wanted["peers"], wanted["wait_seconds"]) if guests else {}
    # Links and guests that came or went while others were waited for are somebody's will.
    there, here = links(auto), running()
    reasons, claimed = reasons_of((guests & set(there)) - here, told)
    before: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(Path(kept).read_text(encoding="utf-8"))
    # Written first: a link that is gone without a word would be a riddle.
    now = {guest: reason for guest, reason in before.items() if guest not in there and guest not in here} | reasons
    if now != before:
        write(kept, now)
    if claimed:
        until = time.clock_gettime(time.CLOCK_BOOTTIME) + 2 * wanted["wait_seconds"] + CLAIM_SECONDS
        write(claims, {"guests": claimed, "until": round(until, 1)})
    for guest, reason in reasons.items():
        for path in there[guest]:
            with contextlib.suppress(FileNotFoundError):
                if os.path.islink(path):
                    os.unlink(path)
                else:
                    # Somebody's own configuration is kept, where xendomains does not look.
                    os.makedirs(f"{auto}-held", exist_ok=True)
                    os.replace(path, f"{auto}-held/{os.path.basename(path)}")
        print(f"{guest} does not start with this host: {reason}", flush=True)


def main(arguments: Sequence[str], config: str = CONFIG, auto: str = AUTO, kept: str = HELD, claims: str = CLAIMS) -> int:
    if list(arguments) == ["tell"]:
        print(json.dumps(tell(auto, claims)))
        return 0
    if xen_runs():
        guard(settings(config), auto, kept, claims)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
