# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From guests that are to go and a host's state to the steps: one pure function for what is put aside, one for what is removed for good.

A guest's volumes are those of its stored configuration and of its running domain whose names begin with its own, what DRBD has of it, and
its seeds. They are marked before anything is done to the guest, so that a run that was cut off is finished by the next, and put aside under
another name with the day.
"""
from __future__ import annotations

import datetime
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import path_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.state import PRIMARY, Found
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import check_name
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import names, tags
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import Pending
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.host import LINK
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import INCOMING, LEFT, Domain
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.plan import Others

ASIDE = ".removed"
_MARK, _DAY = "xenfold.removing", "xenfold.removed"
_DAY_FORMAT = "%Y%m%d"


@dataclass(frozen=True)
class Host:
    """domains: as xl lists them; disks: guest -> volumes (group/name) of its stored configuration and of its domain; volumes: all of the
    host; links: autostart links, path -> target; files: guest -> paths of what is stored of it; clients: driver domain -> guests that it
    serves; replicated: what DRBD has."""

    domains: Mapping[str, Domain] = field(default_factory=dict)
    disks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    volumes: Mapping[str, tags.Volume] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clients: Mapping[str, list[str]] = field(default_factory=dict)
    replicated: Found = field(default_factory=Found)


@dataclass(frozen=True)
class Removal:
    """What is done about one guest, in this order. mark, rename: volumes (group/name); day: those that are told the day, by the name that
    they have then; stop: its domain; by_force: whether that is destroyed as it is, when it cannot be asked; down: its resources of DRBD."""

    guest: str
    unlink: tuple[str, ...] = ()
    mark: tuple[str, ...] = ()
    stop: Domain | None = None
    by_force: bool = False
    down: tuple[str, ...] = ()
    rename: tuple[str, ...] = ()
    day: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def actions(self, stopped: bool = True) -> list[Action]:
        """stopped: whether the guest did; else it was left with no more than its links taken away."""
        verb = "destroy" if self.by_force else "stop"
        left = [volume for volume in self.day if volume.removesuffix(ASIDE) not in self.rename]
        links = [Action("remove", f"link {path}") for path in self.unlink]
        return links if not stopped else [
            *links,
            *([Action(verb, f"guest {self.guest}", f"domain {self.stop.domid}, {self.stop.state}")] if self.stop else []),
            *(Action("stop", f"resource {name}", "its copies are apart from now on") for name in self.down),
            *(Action("rename", f"volume {volume}", f"to {volume}{ASIDE}") for volume in self.rename),
            *(Action("date", f"volume {volume}", "as removed today") for volume in left),
            *(Action("remove", f"file {path}") for path in self.files),
        ]


@dataclass
class Steps:
    """errors forbid every step. purge: volumes (group/name) that are removed for good."""

    removals: list[Removal] = field(default_factory=list)
    purge: list[str] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def actions(self, left: Container[str] = ()) -> list[Action]:
        """left: guests that did not stop."""
        return [action for removal in self.removals for action in removal.actions(removal.guest not in left)] + [
            Action("purge", f"volume {volume}", "for good") for volume in self.purge]


def mark_of(guest: str) -> str:
    """The tag of a volume that is being put aside."""
    return f"{_MARK}:{guest}"


def day_of(guest: str, today: datetime.date) -> str:
    """The tag of a volume that was put aside on a day."""
    return f"{_DAY}:{guest}:{today.strftime(_DAY_FORMAT)}"


def put_aside_on(guest: str, volume: tags.Volume) -> datetime.date | None:
    """The day on which a volume of the guest was put aside, the last one where it was more than once; None for one that never was."""
    days = []
    for tag in volume.tags:
        kind, _colon, rest = tag.partition(":")
        name, _colon, day = rest.rpartition(":")
        if kind == _DAY and name == guest and len(day) == 8 and day.isdigit():
            days.append(datetime.datetime.strptime(day, _DAY_FORMAT).replace(tzinfo=datetime.UTC).date())
    return max(days, default=None)


def check_names(options: Mapping[str, Iterable[str]], planned: Iterable[str]) -> list[str]:
    """Errors of the lists of names. planned: guests that the estate has."""
    errors, kept = [], set(planned)
    for key in ("remove", "purge"):
        errors += [f"{key}: {error}" for name in options[key] if (error := check_name(name))]
        stay = sorted(set(options[key]) & kept)
        if stay:
            errors.append(f"{key}: value {', '.join(stay)}, allowed guests that the estate has no more; take them out of it first, or out"
                          f" of guests_{key}")
    errors += [f"force: value {name!r}, allowed names of remove" for name in options["force"] if name not in options["remove"]]
    return errors


def steps(
    remove: Iterable[str], purge: Iterable[str], force: Iterable[str], host: Host, others: Others, today: datetime.date, keep_days: int,
    planned: Iterable[str] = (),
) -> Steps:
    """The steps for a host; a name that it knows nothing of is none of its business. planned: guests that the estate has."""
    found, forced = Steps(), set(force)
    for name in dict.fromkeys(remove):
        _put_aside(name, name in forced, host, others, planned, found)
    for name in dict.fromkeys(purge):
        _purge(name, host, others, today, keep_days, found)
    return found


def _put_aside(name: str, forced: bool, host: Host, others: Others, planned: Iterable[str], found: Steps) -> None:
    domain = host.domains.get(name)
    marked = {volume for volume, there in host.volumes.items() if mark_of(name) in there.tags}
    own = {volume for volume in host.disks.get(name, ()) if _lv(volume).startswith(f"{name}-")} | {
        volume for volume in marked if not volume.endswith(ASIDE)}
    aside = {volume for volume in marked if volume.endswith(ASIDE)}
    links = tuple(sorted(path for path, target in host.links.items() if _belongs(path, target, name, host)))
    files = host.files.get(name, ())
    # A host with the other copy has nothing of the guest but that.
    resources = {key: known for key, known in host.replicated.known.items() if known.guest == name}
    own |= {volume for known in resources.values() for volume in known.volumes if volume in host.volumes}
    # Seeds of earlier definitions, and the one beside a copy, stand in no configuration, and may hold passwords.
    own |= {volume for volume in host.volumes if _is_seed(_lv(volume), name, planned)}
    files += tuple(map(path_of, resources))
    if not (domain or own or aside or links or files):
        return
    for suffix, words in ((INCOMING, "is on its way to this host"), (LEFT, "has just left this host")):
        if name + suffix in host.domains:
            found.errors.append(f"guest {name!r}: {words} (domain {host.domains[name + suffix].domid}); wait for the move to end, or clear"
                                " it up")
    there, state = others.guests.get(name, ("", "autostart"))
    if state != "autostart" or others.unasked:
        why = f"it is {state} on {there}" if state != "autostart" else f"{', '.join(others.unasked)} could not be asked"
        found.pending.append(Pending(name, "state", domain.state if domain else "stored", "removed",
                                     f"that it runs on no other host: {why}; then another run"))
        return
    if domain and domain.state != "running" and not forced:
        found.pending.append(Pending(name, "state", domain.state, "removed",
                                     f"a decision: xl unpause or xl destroy {name}, or the consent to destroy it", "remove_force"))
        return
    if host.clients.get(name):
        found.errors.append(f"guest {name!r}: is a driver domain that serves {', '.join(host.clients[name])}; shut those down first")
    found.errors += [f"guest {name!r}: {line}" for volume in sorted(own) for line in _problems(name, volume, bool(domain), host)]
    # `web-1-data` is the disk `1-data` of `web` as well as the disk `data` of `web-1`, which may not be here yet.
    found.errors += [f"guest {name!r}: volume {volume} is called like a disk of guest {other!r} of the estate; rename it by lvrename,"
                     f" and in the configuration of {name!r}, when it is not for that one"
                     for volume in sorted(own) for other in _others_called_so(_lv(volume), name, planned)]
    found.removals.append(Removal(
        name, links, tuple(sorted(own - marked)), domain, bool(domain and domain.state != "running"),
        tuple(key for key, known in resources.items() if host.replicated.state(known.minor).up), tuple(sorted(own)),
        tuple(sorted({volume + ASIDE for volume in own} | aside)), files))


def _is_seed(lv: str, name: str, planned: Iterable[str]) -> bool:
    """Whether a volume is called like a seed of the guest, and not like a disk of another one of the estate."""
    start = f"{name}-"
    seed = lv.startswith(start) and first_boot.SEED_NAME.fullmatch(lv.removeprefix(start)) is not None
    return seed and not _others_called_so(lv, name, planned)


def _others_called_so(lv: str, name: str, planned: Iterable[str]) -> list[str]:
    """The guests of the estate that could have a disk of this name as well, by a longer name of their own."""
    return [other for other in sorted(planned) if other.startswith(f"{name}-") and lv.startswith(f"{other}-")]


def _lv(volume: str) -> str:
    return volume.partition("/")[2]


def _belongs(path: str, target: str, name: str, host: Host) -> bool:
    owners = [guest for guest, files in host.files.items() if target in files]
    match = LINK.fullmatch(path.rpartition("/")[2])
    return name in owners if owners else match is not None and match[1] == name


def _problems(name: str, volume: str, runs: bool, host: Host) -> list[str]:
    """Why a volume cannot be put aside."""
    group, _slash, lv = volume.partition("/")
    lines = [f"volume {volume} is a disk of guest {other!r}, too; that one has to give it up first"
             for other in _users(volume, host) if other != name]
    if volume + ASIDE in host.volumes:
        lines.append(f"there is a volume {volume}{ASIDE} of an earlier guest of that name; purge or rename that first")
    copied = any(volume in known.volumes and (there := host.replicated.state(known.minor)).up and there.role != PRIMARY
                 for known in host.replicated.known.values())
    if host.volumes[volume].in_use and not runs and not copied:
        lines.append(f"volume {volume} is in use on this host, though the guest does not run")
    length = len(names.mapped(group, lv + ASIDE))
    if length > names.LARGEST:
        lines.append(f"volume {volume}{ASIDE} would have a device of {length} characters, allowed {names.LARGEST}")
    return lines


def _users(volume: str, host: Host) -> list[str]:
    return sorted(guest for guest, disks in host.disks.items() if volume in disks)


def _snapshots(volume: str, host: Host) -> list[str]:
    group, _slash, lv = volume.partition("/")
    return sorted(other for other, there in host.volumes.items() if there.origin == lv and other.startswith(f"{group}/"))


def _purge(name: str, host: Host, others: Others, today: datetime.date, keep_days: int, found: Steps) -> None:
    aside = {volume: day for volume, there in sorted(host.volumes.items())
             if volume.endswith(ASIDE) and (day := put_aside_on(name, there)) is not None}
    if not aside:
        return
    runs = next((there for there in (name, name + INCOMING, name + LEFT) if there in host.domains), None)
    there, state = others.guests.get(name, ("", "autostart"))
    if runs or state != "autostart" or others.unasked:
        where = f"is here as {runs}" if runs else f"is {state} on {there}" if there else f"may be on {', '.join(others.unasked)}"
        found.errors.append(f"guest {name!r}: a guest of that name {where}; its removed volumes are purged when there is none")
    for volume, day in aside.items():
        users = _users(volume, host)
        copies = _snapshots(volume, host)
        due = day + datetime.timedelta(days=keep_days)
        if users or host.volumes[volume].in_use:
            found.errors.append(f"volume {volume}: is in use{f' by guest {users[0]!r}' if users else ' on this host'}, and is not purged")
        elif copies:
            found.errors.append(f"volume {volume}: has the snapshot {', '.join(copies)}, which would go with it; remove that first")
        elif today < due:
            found.errors.append(f"volume {volume}: was removed on {day}, allowed to be purged from {due} on ({keep_days} days)")
        else:
            found.purge.append(volume)
