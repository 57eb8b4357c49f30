# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be done to a running guest, what has to wait, and what a person has consented to."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action

DETACH, REBOOT, RECREATE = "detach", "reboot", "recreate"
WAYS = (DETACH, REBOOT, RECREATE)
"""What takes a consent, each of which brings about what those before it do."""
_NEEDS = {
    DETACH: "that the guest does not use it any more",
    REBOOT: "a stop and a new start of the guest",
    RECREATE: "a stop and a new start of the guest",
}


@dataclass(frozen=True)
class LiveChange:
    """A change of a running guest: the command and how it is told. device: of the guest (`disk xvdb`), "" for what is none; detaches:
    whether that is taken from the guest, which may not let go of it."""

    guest: str
    key: str
    argv: list[str]
    action: Action
    device: str = ""
    detaches: bool = False


@dataclass(frozen=True)
class Pending:
    """What is wanted of a guest and not so. by: the consent that would bring it about, None where a person has to do something; needs:
    what that is, in words."""

    guest: str
    key: str
    running: Any
    wanted: Any
    needs: str = ""
    by: str | None = None

    @classmethod
    def of(cls, guest: str, key: str, running: Any, wanted: Any, by: str) -> Pending:
        return cls(guest, key, running, wanted, _NEEDS[by], by)

    def line(self, hide: bool = False) -> str:
        """For a person. hide: whether nobody may see values of a definition."""
        consent = f" (consent: {self.by}: [{self.guest}])" if self.by else ""
        differs = "is not as it is wanted" if hide else f"is {self.running!r}, wanted {self.wanted!r}"
        return f"guest {self.guest!r}: {self.key} {differs}; this needs {self.needs}{consent}"

    def data(self) -> dict[str, Any]:
        return {"guest": self.guest, "key": self.key, "running": self.running, "wanted": self.wanted, "needs": self.needs, "by": self.by}


@dataclass(frozen=True)
class Renewal:
    """A guest that is to run with its stored configuration. way: reboot or recreate; keys: what that brings about; before: the xl.cfg of
    the guest as it runs, for when it does not start with the stored one."""

    guest: str
    way: str
    keys: tuple[str, ...]
    before: str = ""

    def action(self) -> Action:
        return Action(self.way, f"guest {self.guest}", f"for {', '.join(self.keys)}")


@dataclass(frozen=True)
class Consents:
    """Names of guests whose devices may be taken away, that may be rebooted, and that may be shut down and started anew."""

    names: Mapping[str, Collection[str]] = field(default_factory=dict)

    def given(self, way: str, name: str) -> bool:
        return name in self.names.get(way, ())

    def detaching(self) -> Consents:
        """What is left of them once guests were rebooted and started anew."""
        return Consents({DETACH: self.names.get(DETACH, ())})

    def check(self, guests: Collection[str], elsewhere: Collection[str]) -> list[str]:
        """Names that are no guest of this host, one line each; those that another host has are its business. No more than a warning: a
        guest of another host that a run has shut down and not started yet, or one of a host that does not answer, looks the same."""
        return [f"{way}: value {name!r}, allowed names of guests of this host: {', '.join(sorted(guests)) or 'there are none'}"
                for way in WAYS for name in self.names.get(way, ()) if name not in guests and name not in elsewhere]

    def renewal(self, name: str, pending: Iterable[Pending], ways: Collection[str] = (REBOOT, RECREATE)) -> Renewal | None:
        """What is done about a guest's pending things; none that needs a stronger consent than there is is half done. ways: by which the
        guest comes back."""
        waiting = [entry for entry in pending if entry.by]
        weakest = max((WAYS.index(entry.by) for entry in waiting if entry.by), default=-1)
        for way in (REBOOT, RECREATE):
            if 0 <= weakest <= WAYS.index(way) and way in ways and self.given(way, name):
                return Renewal(name, way, tuple(dict.fromkeys(entry.key for entry in waiting)))
        return None

