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
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import names, trust
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host

STATE_DIR = "/var/lib/xenfold/moves"
MOVING, ENDED = "moving", "ended"
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
    ssh = " ".join(map(shlex.quote, trust.ssh(move["to"], move.get("port") or 22, places.key_dir)))
    return {
        "guest": move["guest"], "uuid": move["uuid"], "step": move["step"], "run": run, "from": host, "to": move["to"], "phase": MOVING,
        "command": ["xl", "migrate", "-s", ssh, move["guest"], move["address"]],
        "forget": owned(move["guest"], places), "log": places.log(move["guest"]),
    }


def unit(guest: str) -> str:
    return f"xenfold-move-{guest}.service"


def unit_command(guest: str, places: Places) -> list[str]:
    """Begins a move. exec: it returns when the program is there to be seen; collect: a unit that failed leaves its name free."""
    return ["systemd-run", "--quiet", "--collect", f"--unit={unit(guest)}", "--property=Type=exec",
            f"--description=Move of guest {guest} (Xenfold)", "/usr/bin/python3", trust.PROGRAM, places.journal(guest)]


@dataclass
class Plan:
    """start: moves to begin, with their journals; wait: guests under way already; over: those of this run that have ended."""

    start: list[Journal]
    wait: list[str]
    over: list[str]

    def actions(self) -> list[Action]:
        return [Action("move", f"guest {journal['guest']}", f"to {journal['to']} (step {journal['step']})") for journal in self.start]


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
    runner: Runner, found: Plan, places: Places, at_once: int, wait_seconds: float, moving: Callable[[], Sequence[str]],
) -> list[str]:
    """Begin the moves, at most so many at once, and wait for all; the guests that are still under way, or wait, when the time is up."""
    deadline = time.monotonic() + wait_seconds
    waiting, under_way = list(found.start), list(found.wait)
    while True:
        while waiting and len(under_way) < at_once:
            journal = waiting.pop(0)
            _begin(runner, journal, places)
            under_way.append(journal["guest"])
        if not under_way and not waiting:
            return []
        if time.monotonic() >= deadline:
            return sorted([*under_way, *(journal["guest"] for journal in waiting)])
        time.sleep(_LOOK_SECONDS)
        alive = moving()
        # Its program writes the end before it goes.
        under_way = [guest for guest in under_way if guest in alive]


def _begin(runner: Runner, journal: Journal, places: Places) -> None:
    os.makedirs(places.state_dir, mode=0o700, exist_ok=True)
    Path(journal["log"]).write_bytes(b"")
    write_atomically(WantedFile(places.journal(journal["guest"]), json.dumps(journal, indent=1, sort_keys=True), 0o600))
    runner.change(unit_command(journal["guest"], places))


def told(places: Places, guest: str) -> dict[str, Any]:
    """How a move ended: code (null when its unit was killed), seconds, the last lines of xl."""
    journal = read_journal(places, guest) or {}
    ended = journal.get("phase") == ENDED
    return {"guest": guest, "step": journal.get("step"), "to": journal.get("to"), "code": journal["code"] if ended else None,
            "seconds": journal.get("seconds") if ended else None, "lines": last_lines(places.log(guest))}


def last_lines(path: str) -> list[str]:
    """What xl said last, without its progress, which overwrites itself with carriage returns."""
    try:
        text = Path(path).read_bytes().decode(errors="replace")
    except OSError:
        return []
    lines = [line.rpartition("\r")[2].strip() for line in text.split("\n")]
    return [line for line in lines if line and not line.startswith("xc: progress")][-_LINES:]
