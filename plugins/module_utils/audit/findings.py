# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what hosts answered to findings and a verdict; pure.

An answer is what a module returned on the host. The modules that configure hosts answer in check mode: what they would do is what
differs, so there is no second opinion on it. What they leave alone comes from the module host_info.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.audit import capacity, cpu_level, planned
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit import guests as audit_guests
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.answer import (
    answer_of,
    diffs_of,
    errors_of,
    lines_only,
    one_line,
    unreachable,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.finding import Finding
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0.versions import MOVES, minor_of, newest_image, skew
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import DEFAULT_POOL
from ansible_collections.xenfold.consolidation.plugins.module_utils.host_state.parse import numbers_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.arrays import array_uuid
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.live import NO_PARTNER

IN_SYNC, DRIFT, UNKNOWN = "in_sync", "drift", "unknown"
# Kinds of findings.
KINDS = {
    "array": "an array of the estate is not there or not as wanted",
    "array_degraded": "an array lacks members",
    "array_disks": "an array runs on other disks than the estate names",
    "array_foreign": "an array is not in the estate",
    "bond_aggregate": "a port with link is not in the active aggregate",
    "bond_link": "a port of a bond has no link",
    "bond_partner": "no LACP partner answers",
    "capacity": "a host has less than the planner counts on",
    "cpu_level": "a host offers other CPU features than its pool's level",
    "failed": "a check ended in an error",
    "file": "a file is not as the roles write it",
    "guard": "the guard of a network change was left behind",
    "guest_absent": "a guest that should run does not",
    "guest_autostart": "an autostart link is missing, wrong, or on another host",
    "guest_definition": "a stored configuration is not as wanted, or on another host",
    "guest_host": "a guest runs on another host than the plan says",
    "guest_moving": "a domain is on its way between hosts, or was left behind there",
    "guest_orphan": "a guest is not in the estate",
    "guest_setting": "a running guest is not as wanted",
    "guest_state": "a domain is in a state to be looked at",
    "guest_twice": "a guest runs on two hosts at once",
    "iscsi": "an iSCSI target is not reached, or not as wanted",
    "network": "a device of the network is not as wanted",
    "package": "a package is missing",
    "replica": "a replicated disk is not the same on two hosts, or of no guest",
    "reboot": "something waits for a reboot",
    "refused": "a role would refuse to go on",
    "setting": "a dom0 setting is not as wanted",
    "unanswered": "a gateway or another machine does not answer",
    "version": "versions differ inside a pool",
    "volume": "a volume group or volume is not as wanted",
}
# Key of an answer -> (what it tells, role, kind of what is neither file nor package).
QUESTIONS = {
    "host": ("arrays, bonds, versions, guards", "", "failed"),
    "dom0": ("dom0 settings", "dom0", "setting"),
    "network": ("network", "network", "network"),
    "arrays": ("arrays of the estate", "storage", "array"),
    "volumes": ("volume groups and volumes", "storage", "volume"),
    "iscsi": ("iSCSI targets", "storage", "iscsi"),
    "guest_info": ("guests that are there", "", "failed"),
    "guest_volumes": ("volumes of guests", "guests", "volume"),
    "guests": ("settings of guests", "guests", "guest_setting"),
}
_COMPARED = ("distribution", "kernel", "microcode", "xen")
_FOUND = {"create": "missing", "install": "not installed", "assemble": "not running", "start": "not running", "finish": "interrupted",
          "extend": "smaller", "grow": "smaller", "hold": "not held", "release": "held", "add": "not known", "log in": "not reached"}


def audit(
    estate: str, hosts: Iterable[str], asked: Iterable[str], answers: Mapping[str, Mapping[str, Any]],
    read: Mapping[str, Any] | None = None, plan: str | None = None,
) -> dict[str, Any]:
    """The content of audit.json.

    hosts: all of the estate; asked: those that this run was for; answers: host -> `host`, `dom0`, `network`, `arrays`, `volumes`,
    `iscsi`, `guest_info`, `guest_volumes`, `guests` (what the modules returned; empty when one was never run), `arguments` (results of
    validate_argument_spec, `item` being the role), `wanted` ({`arrays`: storage_arrays, `other_arrays`: UUIDs or names of arrays that are
    nobody's business, `pool`: name, `sizes`: {estate_host, dom0_vcpus, dom0_memory_mib}, `cpu_levels`: pool_cpu_levels}). `wanted` is as a
    person wrote it: what is wrong there is told of that host. read: what the module estate returned, empty or skipped when the inventory
    has no workloads; plan: the text of plan.json, None without one. Raises LookupError, TypeError, ValueError or AttributeError for other
    shapes.
    """
    names = sorted(set(asked))
    not_asked = sorted(set(hosts) - set(names))
    guests, trouble = _guests({name: answers.get(name, {}) for name in names}, not_asked, read or {}, plan)
    unasked = {name: sorted(_unasked(name, answers.get(name, {}), trouble), key=lambda entry: (entry["what"], entry["why"]))
               for name in names}
    pools = {name: _pool(answers.get(name, {})) for name in names}
    offers = {name: (pools[name], answer_of(answers.get(name, {}), "host").get("cpu") or {}, _levels(answers.get(name, {})))
              for name in names}
    found = sorted({finding for name in names for finding in findings_of(name, answers.get(name, {}), guests)}
                   | {*_versions(pools, answers), *_skews(pools, answers), *cpu_level.findings(offers)}
                   | set(guests.findings() if guests else ()))
    result: dict[str, Any] = {}
    for name in names:
        mine = [finding for finding in found if finding.host == name]
        lost = any(unreachable(answers.get(name, {}).get(key)) for key in QUESTIONS)
        # A check that ended in an error says nothing of the host.
        differs = any(finding.kind != "failed" for finding in mine)
        verdict = UNKNOWN if lost or (unasked[name] and not differs) else DRIFT if mine else IN_SYNC
        result[name] = {
            "verdict": verdict,
            "findings": [asdict(finding) for finding in mine],
            "unasked": unasked[name],
            "versions": dict(sorted(answer_of(answers.get(name, {}), "host").get("versions", {}).items())),
            "guests": _states(answers.get(name, {})),
        }
    nowhere = [asdict(finding) for finding in found if not finding.host]
    verdicts = {entry["verdict"] for entry in result.values()} | ({DRIFT} if nowhere else set())
    return {
        "schema": 1,
        "estate": estate,
        # Nobody asked is nothing known.
        "verdict": next((verdict for verdict in (UNKNOWN, DRIFT) if verdict in verdicts), IN_SYNC if verdicts else UNKNOWN),
        "hosts": result,
        "not_asked": not_asked,
        "findings": nowhere,
        "notes": guests.notes() if guests else [] if trouble else ["the inventory has no estate_workloads: guests were not compared"],
        "kinds": dict(sorted(Counter(finding.kind for finding in found).items())),
    }


def _guests(
    answers: Mapping[str, Mapping[str, Any]], not_asked: Sequence[str], read: Mapping[str, Any], plan: str | None,
) -> tuple[audit_guests.Guests | None, str]:
    """The guests of all hosts; None and why, when the estate cannot be read, or "" when it has no workloads."""
    if read.get("failed"):
        return None, f"the estate cannot be read: {one_line(read.get('msg'))}"
    if not read or read.get("skipped"):
        return None, ""
    estate, secret = read["estate"], bool(read.get("contains_secrets"))
    wanted = audit_guests.Wanted(estate["guests"], frozenset(str(workload["name"]) for workload in estate["problem"]["workloads"]),
                                 planned.read(plan, estate["problem"]), secret,
                                 {workload["name"]: [host for key in ("current", "replica") if (host := workload.get(key))]
                                  for workload in estate["problem"]["workloads"]})
    told = {name: info for name, entry in answers.items() if "domains" in (info := answer_of(entry, "guest_info"))}
    cleared = {item for name in told for item in audit_guests.cleared(name, answers[name].get("guests") or {})}
    return audit_guests.Guests(told, [*not_asked, *(name for name in answers if name not in told)], wanted, cleared), ""


def _states(answers: Mapping[str, Any]) -> dict[str, str] | None:
    """Guest -> state, of the domains with names; None when they are not known."""
    info = answer_of(answers, "guest_info")
    return {domain["name"]: domain["state"] for domain in sorted(info["domains"], key=lambda domain: str(domain["name"]))
            if domain["name"]} if "domains" in info else None


def findings_of(host: str, answers: Mapping[str, Any], guests: audit_guests.Guests | None = None) -> Iterator[Finding]:
    """What is to be said of one host by itself."""
    there = answer_of(answers, "host")
    yield from _refused_arguments(host, answers.get("arguments") or [])
    yield from _arrays(host, there.get("arrays", []), _wanted(host, answers.get("wanted") or {})[0])
    yield from _bonds(host, there.get("bonds", []))
    guard = list(_guard(host, there.get("guard") or {}))
    yield from guard
    yield from capacity.findings(host, there.get("capacity") or {}, _sizes(answers))
    for entry in there.get("reboot", []):
        yield Finding(host, "reboot", entry["item"], entry["found"], entry["wanted"],
                      f"{entry['item']} runs as {entry['found']}; the next boot brings {entry['wanted']}")
    for key in QUESTIONS:
        yield from _failures(host, key, answers.get(key) or {})
        for finding in _differences(host, key, answer_of(answers, key)) if key != "guests" else ():
            # The guard's own finding says more.
            if not (guard and finding.item == "network"):
                yield finding
    if guests:
        # Also of one that was refused: it tells what it would do all the same.
        yield from audit_guests.settings(host, answers.get("guests") or {}, guests)
    for line in answer_of(answers, "network").get("unmet", []):
        yield Finding(host, "unanswered", "network", "no answer", "an answer", line)
    for reason in answer_of(answers, "dom0").get("reboot_reasons", []):
        yield Finding(host, "reboot", "dom0", reason, "what the estate asks for", f"{reason}; only a reboot changes that")


def _pool(answers: Mapping[str, Any]) -> str:
    return str((answers.get("wanted") or {}).get("pool") or DEFAULT_POOL)


def _levels(answers: Mapping[str, Any]) -> Any:
    return (answers.get("wanted") or {}).get("cpu_levels") or {}


def _sizes(answers: Mapping[str, Any]) -> Any:
    return (answers.get("wanted") or {}).get("sizes") or {}


def _unasked(host: str, answers: Mapping[str, Any], guests: str = "") -> Iterator[dict[str, str]]:
    """guests: why guests cannot be compared, the same for all hosts."""
    first = answers.get("host") or {}
    if unreachable(first):
        # The rest is not even tried then.
        yield {"what": "everything", "why": one_line(first.get("msg") or "the host gave no answers")}
        return
    for key, (what, _role, _kind) in QUESTIONS.items():
        answer = answers.get(key) or {}
        if unreachable(answer):
            lost: Mapping[str, Any] = next((answers[name] for name in QUESTIONS if (answers.get(name) or {}).get("unreachable")), {})
            yield {"what": what, "why": one_line(answer.get("msg") or lost.get("msg") or "the host gave no answer")}
        elif answer.get("failed") and not errors_of(answer):
            yield {"what": what, "why": one_line(answer.get("msg"))}
    wrong = _wanted(host, answers.get("wanted") or {})[1]
    if wrong:
        yield {"what": QUESTIONS["arrays"][0], "why": one_line(wrong)}
    for what, why in (("guests", guests), ("capacity", capacity.wrong(host, _sizes(answers))),
                      ("level of CPU features", cpu_level.wrong(_levels(answers))),
                      ("CPU features", cpu_level.unread(host, answer_of(answers, "host").get("cpu") or {}))):
        if why:
            yield {"what": what, "why": one_line(why)}
    yield from ({"what": str(entry["what"]), "why": one_line(entry["why"])} for entry in answer_of(answers, "host").get("unasked", []))


def _failures(host: str, key: str, answer: Mapping[str, Any]) -> Iterator[Finding]:
    if not answer.get("failed") or unreachable(answer):
        return
    what, role, _kind = QUESTIONS[key]
    for error in errors_of(answer):
        yield Finding(host, "refused", what, one_line(error), "what the estate asks for",
                      f"the role {role} would refuse: {one_line(error)}")
    if not errors_of(answer):
        why = one_line(answer.get("msg"))
        yield Finding(host, "failed", what, why, "an answer", f"{what} could not be compared: {why}")


def _refused_arguments(host: str, results: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """What the argument specs of the roles do not allow."""
    for result in results:
        if result.get("failed"):
            role = result["item"]
            for error in result.get("argument_errors") or [result.get("msg")]:
                yield Finding(host, "refused", f"variables of {role}", one_line(error), "what the role's argument spec allows",
                              f"the role {role} would refuse: {one_line(error)}")


def _differences(host: str, key: str, answer: Mapping[str, Any]) -> Iterator[Finding]:
    """What a module in check mode would do."""
    _what, role, other = QUESTIONS[key]
    diffs = diffs_of(answer)
    for action in answer.get("actions", []):
        verb, target, detail = action["verb"], action["target"], action["detail"]
        says = f"the role {role} would {verb} {target}" + (f": {detail}" if detail else "")
        kind, _, name = target.partition(" ")
        if kind == "file" and verb in ("write", "change", "remove"):
            entry = diffs.get(name, {})
            before, after = entry.get("before", ""), entry.get("after", "")
            found, wanted = lines_only(before, after), lines_only(after, before)
            yield Finding(host, "file", name, found, "no such file" if verb == "remove" else wanted, says)
        elif verb in ("install", "finish"):
            yield Finding(host, "package", name or target, _FOUND.get(verb, "other"), "installed", says)
        else:
            yield Finding(host, other, target, _FOUND.get(verb, "other"), detail or f"as the role {role} makes it", says)


def _disk(member: Mapping[str, Any]) -> str:
    return f"{member['device']} (serial {member['serial'] or 'unknown'})"


@dataclass(frozen=True)
class _Wanted:
    """arrays: UUID -> {name, members: [{id, serial}]}, all texts; others: UUIDs and names of arrays that may be there."""

    arrays: dict[str, dict[str, Any]]
    others: set[str]


def _wanted(host: str, wanted: Mapping[str, Any]) -> tuple[_Wanted | None, str]:
    """The arrays of the estate, or None and why the host's variables do not tell them."""
    try:
        arrays = {}
        for array in wanted.get("arrays") or []:
            members = [{key: str(member.get(key) or "") for key in ("id", "serial")} for member in array.get("members") or []]
            name = str(array["name"])
            arrays[str(array.get("uuid") or array_uuid(host, name))] = {"name": name, "members": members}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return None, (f"host {host!r}: storage_arrays: value that does not hold together ({error!r}), allowed a list of arrays with name"
                      " and members, each member with id and serial")
    others = wanted.get("other_arrays") or []
    if not isinstance(others, Sequence) or isinstance(others, str):
        return None, f"host {host!r}: audit_other_arrays: value {others!r}, allowed a list of UUIDs or names of arrays"
    return _Wanted(arrays, set(map(str, others))), ""


def _arrays(host: str, arrays: Sequence[Mapping[str, Any]], wanted: _Wanted | None) -> Iterator[Finding]:
    """wanted: None when nobody can tell whose an array is."""
    for array in arrays:
        ours = wanted.arrays.get(array["uuid"]) if wanted else None
        item = ours["name"] if ours else f"/dev/{array['kernel_device']}"
        disks = ", ".join(map(_disk, array["members"])) or "no disk"
        label = f"{array['level'] or ('container' if array.get('container') else 'inactive')} {array['name'] or 'without a name'}"
        # Without its UUID nobody can tell whose it is; that is among what could not be asked.
        if wanted and not ours and array["uuid"] and not wanted.others & {array["uuid"], array["name"], array["kernel_device"]}:
            yield Finding(host, "array_foreign", item, f"{label} ({array['uuid']}) on {disks}", "an array of storage_arrays",
                          f"{item} is not in the estate: {label} on {disks}")
        serials = {member["serial"] for member in array["members"] if member["state"] != "failed"}
        told = all(member["serial"] for member in [*array["members"], *(ours["members"] if ours else [])])
        missing = [member for member in ours["members"] if member["serial"] not in serials] if ours and told else []
        strange = [member for member in array["members"] if ours and told and member["state"] == "active"
                   and member["serial"] not in {disk["serial"] for disk in ours["members"]}]
        parts = [f"disk {_disk(member)} {member['state']}" for member in array["members"] if member["state"] == "failed"]
        failed = {member["serial"] for member in array["members"] if member["state"] == "failed"}
        parts += [f"disk {member['id']} (serial {member['serial']}) not in it" for member in missing if member["serial"] not in failed]
        parts += [f"disk {_disk(member)} in its place" for member in strange]
        slots = array["slots"]
        asleep = array["state"] != "active" and not array.get("container")
        if asleep or (slots is not None and array["working"] < slots) or failed:
            state = "inactive" if asleep else "degraded"
            count = f"{array['working']} of {slots} members" if slots is not None else array["state"]
            # Which disks it should have nobody has written down.
            left = [] if ours else [f"left: {disks}"]
            found = "; ".join([count, *parts, *left, *([array["sync"]] if array["sync"] else [])])
            yield Finding(host, "array_degraded", item, found, f"{slots} of {slots} members" if slots is not None else "active",
                          f"array {array['name'] or item} (/dev/{array['kernel_device']}) is {state}: {found}")
        elif parts:
            names = ", ".join(member["serial"] for member in (ours or {"members": []})["members"])
            yield Finding(host, "array_disks", item, "; ".join(parts), names,
                          f"array {item} (/dev/{array['kernel_device']}) is whole, on other disks: {'; '.join(parts)}")


def _bonds(host: str, bonds: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for bond in bonds:
        name, ports = bond["name"], bond["members"]
        down = [port["name"] for port in ports if not port["link"]]
        for port in down:
            yield Finding(host, "bond_link", f"{name} {port}", "no link", "link", f"bond {name}: {port} has no link")
        if not ports:
            yield Finding(host, "bond_link", name, "no ports", "ports with link", f"bond {name} has no port")
        if bond["partner"] == NO_PARTNER:
            yield Finding(host, "bond_partner", name, NO_PARTNER, "a partner's address",
                          f"bond {name}: no LACP partner answers; is the switch's side configured?")
        elif bond["partner"]:
            for port in (port["name"] for port in ports if port["link"] and not port["aggregated"]):
                yield Finding(host, "bond_aggregate", f"{name} {port}", f"{bond['ports'] or 0} ports in the active aggregator",
                              f"{len(ports)} ports", f"bond {name}: {port} has link and is not in the active aggregator")


def _guard(host: str, guard: Mapping[str, Any]) -> Iterator[Finding]:
    parts = [guard["step"]] if guard.get("step") in ("armed", "restoring") else []
    parts += [f"{unit} at work" for unit in guard.get("units", [])] + (["its unit for the next boot"] if guard.get("boot_unit") else [])
    if parts:
        yield Finding(host, "guard", "network", "; ".join(parts), "no guard",
                      f"a network change was neither confirmed nor taken back ({'; '.join(parts)}): the role network settles it")


def _versions(pools: Mapping[str, str], answers: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """What differs inside a pool: most have it right; of two that as many have, the newer. Microcode is compared among hosts with the
    same CPU. pools: host -> pool."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for name, pool in pools.items():
        versions = answer_of(answers.get(name, {}), "host").get("versions", {})
        for item in _COMPARED:
            if versions.get(item):
                cpu = versions.get("cpu_model", "") if item == "microcode" else ""
                groups.setdefault((pool, item, cpu), {})[name] = versions[item]
    for (pool, item, _cpu), found in groups.items():
        counts = Counter(found.values())
        wanted = max(counts, key=lambda value, counts=counts: (counts[value], numbers_of(value), value))  # type: ignore[misc]
        same = [name for name, value in found.items() if value == wanted]
        for name, value in found.items():
            if value != wanted:
                moves = f"; {MOVES}" if item == "xen" and minor_of(value) != minor_of(wanted) else ""
                yield Finding(name, "version", item, value, wanted,
                              f"{item} is {value}; {len(same)} of {len(found)} hosts of the pool {pool} have {wanted}{moves}")


def _skews(pools: Mapping[str, str], answers: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Hosts whose next boot would bring a Xen that keeps the guests of their pool from moving."""
    running = {name: answer_of(answers.get(name, {}), "host").get("versions", {}).get("xen", "") for name in pools}
    for name, pool in pools.items():
        others = {other: running[other] for other in pools if pools[other] == pool and other != name}
        for entry in answer_of(answers.get(name, {}), "host").get("reboot", []):
            why = skew(running[name], newest_image([entry["wanted"].rpartition("/")[2]]), others) if entry["item"] == "xen" else ""
            if why:
                yield Finding(name, "version", "xen of the next boot", entry["wanted"], "the Xen of the pool", why)
