# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests as the hosts have them against the estate and its plan; pure."""
from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.audit import replicas
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.answer import diffs_of, lines_only, one_line
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.finding import Finding
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.planned import Planned
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.host import LINK
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import INCOMING, LEFT

HIDDEN = "(hidden: the estate has values out of a vault)"
_ALIVE = ("running", "paused")
_CHANGE = re.compile(r"(\w+) (\S+) -> (\S+?)(?:, |$)")
_DEFINITION = re.compile(r"file /etc/xen/guests/([^/]+)\.cfg")


@dataclass(frozen=True)
class Wanted:
    """guests: name -> definition; workloads: names of all workloads, those for planning only among them; secret: whether definitions hold
    values that nobody may see; copies: workload -> hosts that have its disks when it is replicated, of all workloads."""

    guests: Mapping[str, Mapping[str, Any]]
    workloads: frozenset[str]
    planned: Planned = field(default_factory=Planned)
    secret: bool = False
    copies: Mapping[str, Collection[str]] = field(default_factory=dict)


class Guests:
    """What the hosts that answered have.

    told: host -> answer of xl_guest_info with details; others: hosts of which nothing is known; cleared: (host, `domain N`) of what the
    role would take away, which `settings` tells.
    """

    def __init__(self, told: Mapping[str, Mapping[str, Any]], others: Iterable[str], wanted: Wanted,
                 cleared: Collection[tuple[str, str]] = ()) -> None:
        self.told, self.others, self.wanted, self.cleared = dict(sorted(told.items())), sorted(others), wanted, cleared
        self.homes: dict[str, list[str]] = {}
        self.there: set[str] = set()
        self.starts: dict[str, list[str]] = {}
        for host, info in self.told.items():
            for domain in info["domains"]:
                self.there.add(domain["name"])
                if domain["name"] and domain["state"] in _ALIVE:
                    self.homes.setdefault(domain["name"], []).append(host)
            for name in {name_of(link) for link in info["links"]}:
                self.starts.setdefault(name, []).append(host)

    def findings(self) -> Iterator[Finding]:
        """Everything that the answers tell by themselves."""
        for host, info in self.told.items():
            for domain in info["domains"]:
                yield from self._domain(host, domain)
            yield from self._links(host, info["links"])
            yield from self._stored(host, info["stored"])
            yield from self._strangers(host, info)
        for name in sorted(self.wanted.guests):
            yield from self._absent(name)
        yield from replicas.findings(self.told, self.wanted.guests, self.wanted.copies)

    def notes(self) -> list[str]:
        """What the answers leave open."""
        lines = [self.wanted.planned.note] if self.wanted.planned.note else []
        open_ones = [name for name in sorted(self.wanted.guests) if self._lacks(name) and self._place_of(name) is None]
        if open_ones:
            lines.append(f"nothing is known of guests on {', '.join(self.others)}: {', '.join(open_ones)} may run there")
        return lines

    def is_home(self, host: str, name: str) -> bool:
        """Whether a host is where a guest's settings count: it runs there, or runs nowhere and is not planned elsewhere."""
        homes, planned = self.homes.get(name, []), self.wanted.planned.hosts.get(name)
        return host in homes if homes else planned in (None, host)

    def _domain(self, host: str, domain: Mapping[str, Any]) -> Iterator[Finding]:
        name, number, state = domain["name"], domain["domid"], domain["state"]
        if not name and (host, f"domain {number}") not in self.cleared:
            yield Finding(host, "guest_state", f"domain {number}", f"no name, {state}", "a name",
                          f"domain {number} has no name ({state}): something is creating it right now, or was killed while it did")
        for suffix, way in ((INCOMING, "on its way to this host"), (LEFT, "handed over to another host")):
            if name.endswith(suffix):
                guest = name.removesuffix(suffix)
                where = self._where(guest)
                yield Finding(host, "guest_moving", guest, f"{name} (domain {number}, {state})", "no move in progress",
                              f"guest {guest} is {way} (domain {number}, {name}, {state}) and {where}; when no move runs any more this was"
                              " left behind: see docs/guests.md before anything is destroyed")
                return
        if not name:
            return
        if state not in _ALIVE:
            yield Finding(host, "guest_state", name, state, "running", f"guest {name} (domain {number}) is {state}")
        homes = self.homes.get(name, [])
        if host in homes and len(homes) > 1 and len({self._uuid(home, name) for home in homes} - {""}) < 2:
            yield Finding(host, "guest_twice", name, f"on {' and '.join(homes)}", "on one host",
                          f"guest {name} runs on {' and '.join(homes)} at once, and its disks may be written from both; unless it moved"
                          " while the hosts were asked, stop one of them now")
        planned = self.wanted.planned.hosts.get(name)
        if name in self.wanted.workloads and host in homes and planned and planned not in homes:
            yield Finding(host, "guest_host", name, host, planned, f"guest {name} runs on {host}, {self._plan_says(name, planned)}")

    def _plan_says(self, name: str, planned: str) -> str:
        move = self.wanted.planned.moves.get(name)
        step = f" by step {move['step']}" if move else ""
        return f"the plan has it on {planned}{step}" + (", and the estate has changed since" if self.wanted.planned.stale else "")

    def _uuid(self, host: str, name: str) -> str:
        return next((str(domain["uuid"]) for domain in self.told[host]["domains"] if domain["name"] == name), "")

    def _where(self, name: str) -> str:
        """Where a guest runs under its own name, in words."""
        homes = self.homes.get(name, [])
        open_ones = f" ({', '.join(self.others)} could not be asked)" if self.others else ""
        return f"runs on {' and '.join(homes)}" if homes else f"runs under its own name on no host that was asked{open_ones}"

    def _links(self, host: str, links: Mapping[str, str]) -> Iterator[Finding]:
        """Links on hosts where the guest does not belong; those at home are compared by the role's module."""
        for link in sorted(links):
            name = name_of(link)
            if name not in self.wanted.workloads:
                continue
            homes, starts = self.homes.get(name, []), self.starts[name]
            right = homes[0] if len(homes) == 1 else None if homes else self.wanted.planned.hosts.get(name)
            if right not in (None, host):
                why = "runs" if homes else "is planned"
                yield Finding(host, "guest_autostart", name, f"link {link}", f"starts with {right} alone",
                              f"guest {name} {why} on {right} and would start with {host} as well (link {link})")
            elif right is None and len(starts) > 1:
                yield Finding(host, "guest_autostart", name, f"links on {' and '.join(starts)}", "starts with one host",
                              f"guest {name} would start with {' and '.join(starts)} at once")

    def _stored(self, host: str, stored: Mapping[str, Any]) -> Iterator[Finding]:
        for name in sorted(stored):
            if name in self.wanted.workloads and not self.is_home(host, name):
                homes = self.homes.get(name, [])
                where = f"runs on {' and '.join(homes)}" if homes else f"is planned on {self.wanted.planned.hosts[name]}"
                yield Finding(host, "guest_definition", name, "a stored configuration", "none on this host",
                              f"guest {name} {where}; its configuration is stored on {host} too")

    def _strangers(self, host: str, info: Mapping[str, Any]) -> Iterator[Finding]:
        """Guests that the estate does not know: as they run, are stored, or start with the host."""
        domains = {domain["name"]: domain for domain in info["domains"]
                   if domain["name"] and not domain["name"].endswith((INCOMING, LEFT))}
        links = {name_of(link): link for link in info["links"]}
        for name in sorted({*domains, *info["stored"], *links} - self.wanted.workloads):
            domain, stored = domains.get(name), info["stored"].get(name)
            parts = []
            if domain:
                parts.append(f"{domain['state']} as domain {domain['domid']} ({domain['vcpus']} vCPUs, {domain['memory_mib']} MiB)")
            parts += ["a stored configuration"] if stored is not None else []
            parts += [f"starts with the host (link {links[name]})"] if name in links else []
            disks = (domain or {}).get("disks") or (stored or {}).get("disks") or []
            parts += [f"disks {', '.join(disks)}"] if disks else []
            found = "; ".join(parts)
            yield Finding(host, "guest_orphan", name, found, "a workload of the estate", f"guest {name} is not in the estate: {found}")

    def _lacks(self, name: str) -> bool:
        return self.wanted.guests[name].get("state", "running") == "running" and name not in self.there

    def _place_of(self, name: str) -> str | None:
        """The host that lacks a guest: that of the plan, else the only one that stores it, "" for none; None when nobody can tell."""
        planned = self.wanted.planned.hosts.get(name)
        if planned in self.told:
            return planned
        stored = [host for host, info in self.told.items() if name in info["stored"]]
        if self.others:
            return None
        return stored[0] if len(stored) == 1 else ""

    def _absent(self, name: str) -> Iterator[Finding]:
        host = self._place_of(name)
        if not self._lacks(name) or host is None:
            return
        where = f"not here, and nothing is known of {', '.join(self.others)}" if self.others else "on no host"
        traces = [f"{domain['name']} on {on}" for on, info in self.told.items() for domain in info["domains"]
                  if domain["name"] in (name + INCOMING, name + LEFT)]
        found = where + (f"; there is {', '.join(traces)}" if traces else "")
        planned = self.wanted.planned.hosts.get(name)
        wanted = f"running on {planned}" if planned else "running"
        why = self._plan_says(name, planned) if planned else "no plan says where it should"
        yield Finding(host, "guest_absent", name, found, wanted, f"guest {name} does not run ({found}); {why}")


def settings(host: str, told: Mapping[str, Any], guests: Guests) -> Iterator[Finding]:
    """What xl_guest in check mode would do on a host or tells as pending. told: its answer; one that was refused has both as well."""
    hide = guests.wanted.secret
    files = diffs_of(told)
    for action in told.get("actions") or []:
        verb, target, detail = action["verb"], action["target"], action["detail"]
        kind, _, path = target.partition(" ")
        # Links and domains have no value of a definition.
        shown = HIDDEN if hide and detail and verb != "link" and kind != "domain" else detail
        says = f"the role guests would {verb} {target}" + (f": {shown}" if shown else "")
        stored = _DEFINITION.fullmatch(target)
        if verb == "start" and kind == "guest":
            continue  # told by Guests, with all hosts in view
        if kind == "file" and verb in ("write", "change"):
            entry = files.get(path, {})
            before, after = str(entry.get("before", "")), str(entry.get("after", ""))
            found, wanted = (HIDDEN if hide and before else lines_only(before, after)), HIDDEN if hide else lines_only(after, before)
            if not stored:
                yield Finding(host, "file", path, found, wanted, says)
            elif guests.is_home(host, stored[1]):
                yield Finding(host, "guest_definition", stored[1], found, wanted, f"guest {stored[1]}: {says}")
        elif verb == "link" or target.startswith("link "):
            link = target if verb == "link" else path
            name = name_of(link.rpartition("/")[2])
            if guests.is_home(host, name) and len(guests.homes.get(name, [])) < 2:
                found, wanted = ("no such link", detail) if verb == "link" else (f"link {link}", "no such link")
                yield Finding(host, "guest_autostart", name, found, wanted, f"guest {name}: {says}")
        elif kind == "domain":
            yield Finding(host, "guest_state", target, detail, "no such domain", says)
        elif kind == "guest" and _CHANGE.search(detail):
            for key, *values in _CHANGE.findall(detail):
                found, wanted = [HIDDEN] * 2 if hide else values
                yield Finding(host, "guest_setting", f"{path} {key}", found, wanted, f"guest {path}: {key} is {found}, wanted {wanted}")
        else:
            item = path if kind == "guest" else target
            yield Finding(host, "guest_setting", item, "other", shown or "as the role guests makes it", says)
    for entry in told.get("pending") or []:
        name, key, found, wanted = entry["guest"], entry["key"], entry["running"], entry["wanted"]
        if key == "state" and found not in _ALIVE:
            continue  # told by Guests, whether or not the estate knows the guest
        kind, item = ("guest_state", name) if key == "state" else ("guest_setting", f"{name} {key}")
        found, wanted = [HIDDEN if hide and key != "state" else _told(value) for value in (found, wanted)]
        yield Finding(host, kind, item, found, wanted, f"guest {name}: {key} is {found}, wanted {wanted}; this needs {entry['needs']}")


def _told(value: Any) -> str:
    return "nothing" if value is None else one_line(str(value))


def cleared(host: str, told: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The domains that xl_guest would take away on a host, for Guests. told: its answer."""
    return {(host, action["target"]) for action in told.get("actions") or [] if action["verb"] == "destroy"}


def name_of(link: str) -> str:
    """The guest of an autostart link."""
    match = LINK.fullmatch(link)
    return match[1] if match else link
