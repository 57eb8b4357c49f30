# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One controller at a time: a file on every host. A host that boots anew has none, as nothing that it knew of works any more."""
from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

PATH = "/run/xenfold/apply.lock"
_KEYS = ("run", "by", "since")


def read(path: str) -> dict[str, str] | None:
    """Who holds the lock: run, by, since; None while nobody does. A file that cannot be read counts as somebody's."""
    try:
        with open(path, encoding="utf-8") as stream:
            told = json.load(stream)
        return {key: str(told[key]) for key in _KEYS}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return {"run": "unknown", "by": "unknown", "since": "unknown"}


def take(path: str, holder: Mapping[str, str]) -> dict[str, str] | None:
    """Take it; who has it when somebody else was first. It comes with its content or not at all: link() refuses a name that is there."""
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=".apply.lock.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({key: holder[key] for key in _KEYS}, stream)
        while True:
            try:
                os.link(temporary, path)
                return None
            except FileExistsError:
                held = read(path)
            if held is not None:
                return None if held["run"] == holder["run"] else held
    finally:
        os.unlink(temporary)


def release(path: str, run: str) -> bool:
    """Give it back, when it is this run's; whether it was."""
    held = read(path)
    if held is None or held["run"] != run:
        return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return True


def refusal(held: Mapping[str, Any], moving: list[str], broken: str) -> str:
    """Why the lock is not had, and what to do."""
    who = f"{held['by']} carries out a plan since {held['since']} (run {held['run']})"
    if moving:
        return f"{who}, and {', '.join(moving)} moves right now. Wait for its end; a lock is never broken while a guest moves"
    if broken:
        return f"{who}; break_lock: value {broken!r}, allowed {held['run']}, that of the lock that is there"
    return f"{who}. Wait for its end. When that controller is dead for certain: -e break_lock={held['run']}"
