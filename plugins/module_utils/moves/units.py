# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves that go out from a host: each a transient unit with a journal and a log, begun once, waited for as often as it takes."""
from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import names, trust, volume_send
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host

STATE_DIR = "/var/lib/xenfold/moves"
MOVING, ENDED = "moving", "ended"
LIVE, OFFLINE = "live", "offline"
ALIVE_SECONDS = 120
"""How old the last sign of life of a controller may be for a guest to be shut down, and to be handed over."""
_LINES = 8
_LOOK_SECONDS = 1.0
_EVERY_CODE: tuple[int, ...] = ()

Move = Mapping[str, Any]
Journal = dict[str, Any]


@dataclass(frozen=True)
class Places:
    """Where things lie on the host."""

    key_dir: str = trust.KEY_DIR
    state_dir: str = STATE_DIR
    config_dir: str = "/etc/xen/guests"
    autostart_dir: str = "/etc/xen/auto"

    def journal(self, guest: str) -> str:
        return f"{self.state_dir}/{guest}.json"

    def log(self, guest: str) -> str:
        return f"{self.state_dir}/{guest}.log"

    def progress(self, guest: str) -> str:
        return f"{self.state_dir}/{guest}.progress"

    def alive(self) -> str:
        return f"{self.state_dir}/controller"


def read_journal(places: Places, guest: str) -> Journal | None:
    """The journal of a guest's last move; None when there is none that can be read."""
    try:
        told = json.loads(Path(places.journal(guest)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def owned(guest: str, places: Places) -> list[str]:
    """The guest's autostart links and stored configuration, by path."""
    config = f"{places.config_dir}/{guest}.cfg"
    links, _entries = xl_host.read_links(places.autostart_dir)
    own = [f"{places.autostart_dir}/{link}" for link, target in sorted(links.items())
           if target == config or ((match := xl_host.LINK.fullmatch(link)) and match[1] == guest)]
    return own + ([config] if os.path.lexists(config) else [])


def journal_of(move: Move, run: str, host: str, places: Places) -> Journal:
    """The journal with which a move begins. Raises ValueError for what must not reach a shell."""
    errors = names.check_move(move) + names.check("run", run) + names.check("host", host)
    if errors:
        raise ValueError("; ".join(errors))
    guest, port = move["guest"], move.get("port") or 22
    journal = {"guest": guest, "uuid": move["uuid"], "step": move["step"], "run": run, "from": host, "to": move["to"], "phase": MOVING,
               "forget": owned(guest, places), "log": places.log(guest)}
    if not move.get("volumes"):
        ssh = " ".join(map(shlex.quote, trust.ssh(move["to"], port, places.key_dir)))
        return {**journal, "command": ["xl", "migrate", "-s", ssh, guest, move["address"]]}
    return {
        **journal, "kind": OFFLINE, "stage": volume_send.COPYING, "volumes": [dict(volume) for volume in move["volumes"]],
        "command": [*trust.ssh(move["to"], port, places.key_dir, trust.VOLUME_KEY), move["address"]],
        "config": f"{places.config_dir}/{guest}.cfg", "progress": places.progress(guest), "alive": places.alive(),
        "alive_seconds": ALIVE_SECONDS, "mibps": move.get("mibps") or 0, "shutdown_seconds": move.get("shutdown_seconds") or 300,
    }


def unit(guest: str) -> str:
    return f"xenfold-move-{guest}.service"


def unit_command(guest: str, places: Places, kind: str = LIVE) -> list[str]:
    """Begins a move. exec: it returns when the program is there to be seen; collect: a unit that failed leaves its name free; process: the
    xl that watches over a guest which was started again outlives the unit."""
    own = ["--property=KillMode=process"] if kind == OFFLINE else []
    return ["systemd-run", "--quiet", "--collect", f"--unit={unit(guest)}", "--property=Type=exec", *own,
            f"--description=Move of guest {guest} (Xenfold)", "/usr/bin/python3", trust.SENDER if kind == OFFLINE else trust.PROGRAM,
            places.journal(guest)]


@dataclass
class Plan:
    """start: moves to begin, with their journals; wait: guests under way already; over: those of this run that have ended."""

    start: list[Journal]
    wait: list[str]
    over: list[str]

    def actions(self) -> list[Action]:
        how = {OFFLINE: "offline, with its disks, "}
        return [Action("move", f"guest {journal['guest']}", f"{how.get(journal.get('kind', LIVE), '')}to {journal['to']}"
                       f" (step {journal['step']})") for journal in self.start]


def plan(moves: Sequence[Move], run: str, host: str, places: Places, moving: Sequence[str], journals: Mapping[str, Journal | None]) -> Plan:
    """What is to be begun and waited for. Raises ValueError when a guest is under way to another host than the one wanted."""
    found = Plan([], [], [])
    for move in moves:
        guest, told = move["guest"], journals.get(move["guest"]) or {}
        if guest in moving:
            if told.get("to") != move["to"]:
                other = told.get("to", "a host that no journal names")
                raise ValueError(f"guest {guest!r}: it is under way to {other}, wanted {move['to']}; wait for the end of that move")
            found.wait.append(guest)
        elif told.get("run") == run and told.get("step") == move["step"]:
            found.over.append(guest)
        else:
            found.start.append(journal_of(move, run, host, places))
    found.wait += [guest for guest in moving if guest not in found.wait and journals.get(guest)]
    return found


def carry_out(
    runner: Runner, found: Plan, places: Places, at_once: int, wait_seconds: float,
    moving: Callable[[Sequence[str]], Sequence[str]],
    looked: Mapping[str, str] | None = None,
) -> list[str]:
    """Begin the moves, at most so many at once, and wait for all; the guests that are still under way, or wait, when the time is up.

    moving: tells which of some guests are under way.
    looked: guest -> `look` when it was last told; with it, the wait ends as soon as there is something new to tell.
    """
    deadline = time.monotonic() + wait_seconds
    waiting, under_way = list(found.start), list(found.wait)
    while True:
        while waiting and len(under_way) < at_once:
            journal = waiting.pop(0)
            _begin(runner, journal, places)
            under_way.append(journal["guest"])
        if not under_way and not waiting:
            return []
        news = looked is not None and any(looks(places, [guest]).get(guest, "") != looked.get(guest, "") for guest in under_way)
        if time.monotonic() >= deadline or news:
            return sorted([*under_way, *(journal["guest"] for journal in waiting)])
        time.sleep(_LOOK_SECONDS)
        alive = moving(under_way)
        # Its program writes the end before it goes.
        under_way = [guest for guest in under_way if guest in alive]


def _begin(runner: Runner, journal: Journal, places: Places) -> None:
    os.makedirs(places.state_dir, mode=0o700, exist_ok=True)
    Path(journal["log"]).write_bytes(b"")
    Path(places.progress(journal["guest"])).unlink(missing_ok=True)
    write_atomically(WantedFile(places.journal(journal["guest"]), json.dumps(journal, indent=1, sort_keys=True), 0o600))
    runner.change(unit_command(journal["guest"], places, journal.get("kind", LIVE)))


def sign_of_life(places: Places) -> None:
    """Tell the programs that a controller waits for them."""
    if os.path.isdir(places.state_dir):
        Path(places.alive()).touch()


def progress(places: Places, guest: str) -> dict[str, Any]:
    """How far the copy of a guest's disks is: pass, done_bytes, total_bytes, sent_bytes; empty for a guest that moves live."""
    try:
        told = json.loads(Path(places.progress(guest)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def looks(places: Places, guests: Sequence[str]) -> dict[str, str]:
    """Guest -> what there is to tell of its copy, in steps of ten percent; guests without one are not in it."""
    told = {guest: progress(places, guest) for guest in guests}
    return {guest: f"{entry['pass']} {10 * entry['done_bytes'] // max(entry['total_bytes'], 1)}" for guest, entry in told.items() if entry}


def told(places: Places, guest: str) -> dict[str, Any]:
    """How a move ended: code (null when its unit was killed), seconds, the last lines of xl; of one with disks also stage, down_seconds
    (since it was told to shut down) total_bytes of its disks, and sent_bytes while it was down."""
    journal = read_journal(places, guest) or {}
    ended = journal.get("phase") == ENDED
    found = {"guest": guest, "step": journal.get("step"), "to": journal.get("to"), "code": journal["code"] if ended else None,
             "seconds": journal.get("seconds") if ended else None, "lines": last_lines(places.log(guest))}
    if journal.get("kind") != OFFLINE:
        return found
    since = journal.get("down_since")
    return {**found, "stage": journal.get("stage"), "down_seconds": round(time.time() - since, 1) if since else None,
            "total_bytes": sum(volume["size_bytes"] for volume in journal["volumes"]), "sent_bytes": journal.get("sent_bytes")}


def last_lines(path: str) -> list[str]:
    """What xl said last, without its progress, which overwrites itself with carriage returns."""
    try:
        text = Path(path).read_bytes().decode(errors="replace")
    except OSError:
        return []
    lines = [line.rpartition("\r")[2].strip() for line in text.split("\n")]
    return [line for line in lines if line and not line.startswith("xc: progress")][-_LINES:]
