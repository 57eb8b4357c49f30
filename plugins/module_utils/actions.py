# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The list of actions between wanted and actual state: check mode, diff mode and `changed` all come from it."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Action:
    """One change that a module would make or makes.

    verb: what happens (`create`, `grow`, `start`); target: the thing by kind and name (`volume vg0/web01-root`);
    detail: what a person should know, in plain words.
    """

    verb: str
    target: str
    detail: str = ""

    def line(self) -> str:
        """The action as one line of a diff or message."""
        return f"{self.verb} {self.target}" + (f": {self.detail}" if self.detail else "")

    def data(self) -> dict[str, str]:
        """The action as a returned value."""
        return {"verb": self.verb, "target": self.target, "detail": self.detail}


def outcome(actions: Iterable[Action], before: str = "", after: str = "") -> dict[str, Any]:
    """What a module returns about its actions: `changed`, `actions` and `diff`.

    before, after: texts of the state; without them the diff lists the actions.
    """
    listed = list(actions)
    if not before and not after:
        after = "".join(f"{action.line()}\n" for action in listed)
    return {
        "changed": bool(listed),
        "actions": [action.data() for action in listed],
        "diff": {"before": before, "after": after} if listed else {"before": "", "after": ""},
    }
