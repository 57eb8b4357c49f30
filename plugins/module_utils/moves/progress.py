# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is left of a plan, by where its guests are now; and what moves left behind. Pure: from what every host told (`Found`).

Found is host -> what the module xl_move_info returned, of those hosts that answered.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import names_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import has_disks
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import judge, offline, owner
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.listing import Copy
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_receive import SUFFIX
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_send import MOVED_SUFFIX
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volumes import disks_of, tagged, told_volumes
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.host import needs_of

Found = Mapping[str, Mapping[str, Any]]
Guests = Mapping[str, Mapping[str, Any]]
Move = Mapping[str, Any]

SCHEMA = 1
DEFINE, LIVE = "define", "live"


def unasked(hosts: Iterable[str], limited: Iterable[str], found: Found, off: Iterable[str] = ()) -> dict[str, str]:
    """The hosts that told nothing, with the reason as the end of a sentence that begins with the host. off: those without power."""
    takes_part, dead = set(limited), set(off)
    return {host: "has no power (hosts_off)" if host in dead else "does not answer" if host in takes_part else "is left out by --limit"
            for host in sorted(hosts) if host not in found}


def check_plan(plan: Any, guests: Guests, hosts: Sequence[str]) -> list[str]:
    """Why a plan cannot be carried out on these hosts, each with key, value and what is allowed."""
    allowed = "a plan that playbooks/plan.yml wrote"
    if not isinstance(plan, Mapping) or plan.get("schema") != SCHEMA or not isinstance(plan.get("moves"), list):
        return [f"plan: value of type {type(plan).__name__}, allowed {allowed}"]
    if plan.get("status") == "infeasible":
        return ["plan: status: value 'infeasible', allowed a plan that places every workload"]
    errors: list[str] = []
    at: dict[Any, str] = {}
    for number, move in enumerate(plan["moves"], 1):
        title = f"plan: moves[{number - 1}]"
        if not isinstance(move, Mapping) or move.get("step") != number or not isinstance(move.get("wave"), int):
            return [f"{title}: value {move!r}, allowed the move with step {number} of {allowed}"]
        guest = move.get("workload")
        if guest not in guests:
            errors.append(f"{title}: workload: value {guest!r}, allowed a workload of the estate; plan anew when the estate has changed")
            continue
        ends = [move.get("to"), *([] if move.get("from") is None else [move["from"]])]
        errors += [f"{title}: host {host!r}, allowed a host of the inventory's group xen_hosts" for host in ends if host not in hosts]
        if move.get("method") not in (DEFINE, LIVE, offline.OFFLINE) or (move.get("method") == DEFINE) != (move.get("from") is None):
            errors.append(f"{title}: method: value {move.get('method')!r}, allowed live, offline, and define for a guest that is nowhere")
        if guest in at and move.get("from") != at[guest]:
            errors.append(f"{title}: from: value {move.get('from')!r}, allowed {at[guest]}, where the step before takes {guest}")
        at[guest] = str(move.get("to"))
    return errors


def left(
    plan: Mapping[str, Any], found: Found, guests: Guests, silent: Mapping[str, str], consents: Iterable[str] = (), *,
    start: Iterable[Mapping[str, str]] = (), off: Iterable[str] = (), lost: Iterable[str] = (),
    new: Iterable[str] = (), local: Iterable[str] = (), waiting: Collection[str] = (),
) -> dict[str, Any]:
    """The steps of a plan that check_plan found sound, done or not by the state of the hosts, and what stands against going on.

    silent: host -> why it told nothing, as `unasked` gives it; consents: guests that may be shut down to move with their disks; start:
    those that are down in the middle of such a move, with the host that is to start them (see offline.judged); off: silent hosts without
    power, on which nothing can run; lost: those of them that had not been emptied; new: guests that have no disks there;
    local: guests with disks on one host alone; waiting: those of which it is not known where they are (see offline.judged).

    Returns `steps` (each move with `done`), `waves` (those with steps left: `moves`, `offline`, `define`; `resources`, host -> replicated
    disks that move live), `forget` (host -> guests that have moved away and have a link or configuration left), `settled` (hosts of steps
    that are done), `sends` and `sends_volumes` (host -> hosts to which it is to send), `needs` (see there), `lacking` (steps without
    consent, one line each), `problems`.
    """
    paths: dict[str, list[Move]] = {}
    for move in plan["moves"]:
        paths.setdefault(move["workload"], []).append(move)
    problems: list[str] = []
    done: set[int] = set()
    needed: dict[str, str] = {}
    forget: dict[str, list[str]] = {}
    starts = {entry["workload"]: [entry["to"]] for entry in start}
    for guest, moves in sorted(paths.items()):
        where = starts.get(guest) or _hosts_of(guest, found)
        if guest in waiting:
            where = []
        elif not where and moves[0]["from"] is not None:
            where = _stopped_on(guests[guest], found)
        count = _steps_done(guest, moves, where, found, problems, guest in starts)
        if not where and moves[0]["from"] is None and guest in local:
            problems += _has_disks_elsewhere(guests[guest], moves[0], found, lost if guest not in new else ())
        if count < len(moves):
            step = moves[count]["step"]
            for host in [end for move in moves for end in (move["from"], move["to"]) if end in silent]:
                needed.setdefault(host, f"host {host!r}: it {silent[host]}, and step {step} ({guest}) needs it")
            if moves[count]["method"] == DEFINE:
                for host in sorted(set(silent) - set(off)):
                    needed.setdefault(host, f"host {host!r}: it {silent[host]}; {guest} is new, and it is started only when every host has"
                                            " told that it does not run there")
        done |= {move["step"] for move in moves[:count]}
        for host in {move["from"] for move in moves[:count]} - {None, *where}:
            if guest in found.get(host, {}).get("keeps", ()):
                forget.setdefault(host, []).append(guest)
    steps = [{**move, "done": move["step"] in done} for move in plan["moves"]]
    open_steps = [step for step in steps if not step["done"]]
    problems += needed.values()
    numbers = sorted({step["wave"] for step in open_steps})
    waves = [{"wave": number} | {key: [step for step in open_steps if step["wave"] == number and step["method"] == method]
                                 for key, method in (("moves", LIVE), ("offline", offline.OFFLINE), ("define", DEFINE))}
             for number in numbers]
    for wave in waves:
        wave["resources"] = _resources(wave["moves"], guests)
    settled = sorted({host for step in steps if step["done"] for host in (step["from"], step["to"]) if host in found})
    return {"steps": steps, "waves": waves, "forget": forget, "settled": settled, "problems": problems, "sends": _sends(open_steps, LIVE),
            "sends_volumes": _sends(open_steps, offline.OFFLINE), "lacking": offline.unconsented(open_steps, consents),
            "needs": needs((step for step in open_steps if step["method"] != DEFINE), guests)}


def _has_disks_elsewhere(definition: Mapping[str, Any], move: Move, found: Found, lost: Iterable[str]) -> list[str]:
    """Why a guest that runs nowhere does not begin with new disks. lost: hosts that may have its own."""
    name = definition["name"]
    if not has_disks(definition):
        return []
    volumes = set(disks_of(definition))
    title = f"step {move['step']}: {name} is to be new on {move['to']}, with empty disks, and"
    keepers = [host for host in sorted(found) if host != move["to"] and (
        name in found[host].get("keeps", ()) or volumes & told_volumes(found[host]))]
    if keepers:
        return [title + f" {' and '.join(keepers)} has its disks or its configuration. Write that into the inventory (current:"
                + f" {keepers[0]}); site.yml starts it there"]
    names = ", ".join(sorted(lost))
    return [title + f" its disks may be on {names}; one that is new is named by -e new_guests={name}"] if names else []


def _sends(steps: Iterable[Move], method: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for step in steps:
        if step["method"] == method and step["to"] not in found.setdefault(step["from"], []):
            found[step["from"]].append(step["to"])
    return {host: ends for host, ends in found.items() if ends}


def _resources(moves: Iterable[Move], guests: Guests) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for move in moves:
        for name in names_of([guests[move["workload"]]]):
            for host in (move["from"], move["to"]):
                found.setdefault(host, []).append(name)
    return {host: sorted(names) for host, names in sorted(found.items())}


def _hosts_of(guest: str, found: Found) -> list[str]:
    """The hosts on which a guest runs, in any state and under its own name; those that start it with them, where it runs nowhere."""
    runs = [host for host, told in sorted(found.items()) if any(domain["name"] == guest for domain in told["domains"])]
    return runs or [host for host, told in sorted(found.items()) if told["guests"].get(guest) == "autostart"]


def _stopped_on(definition: Mapping[str, Any], found: Found) -> list[str]:
    """The one host that has all disks of a guest which runs nowhere and starts with no host."""
    disks = set(disks_of(definition))
    homes = [host for host, told in sorted(found.items()) if disks and disks <= told_volumes(told)]
    return homes if len(homes) == 1 else []


def _halves(guest: str, found: Found) -> str:
    """What hosts have of the disks of a guest in the middle of a move, as the end of a sentence."""
    told = [f"{host} has {'/'.join(volume)}" for host, answer in sorted(found.items())
            for volume in tagged(answer, guest, (SUFFIX, MOVED_SUFFIX))]
    return f" Its disks are as a move left them ({', '.join(told)}): docs/moves.md, What the disks say" if told else ""


def _steps_done(
    guest: str, moves: Sequence[Move], where: Sequence[str], found: Found, problems: list[str], starting: bool = False,
) -> int:
    """How many of a guest's steps are done; what is odd goes to problems. starting: it is about to be started there."""
    path = [moves[0]["from"], *(move["to"] for move in moves)]
    route = " to ".join(host for host in path if host)
    step = f"step {moves[0]['step']}: {guest}"
    if not where:
        if path[0] is not None and all(host in found for host in path):
            problems.append(f"{step} is on none of its hosts ({route}), nor on another that answers."
                            + (_halves(guest, found) or f" playbooks/site.yml starts it on {path[0]}; or plan anew"))
        return 0
    if len(where) > 1:
        problems.append(f"{step} is on {' and on '.join(where)}. It may run on one only: find out which is right, and end the other"
                        " (or remove its autostart link there)")
        return 0
    at = [index for index, host in enumerate(path) if host == where[0]]
    if not at:
        problems.append(f"{step} is on {where[0]}, and the plan takes it from {route}. Write where it is into the inventory (current:"
                        f" {where[0]}) and plan anew")
        return 0
    starts_only = not starting and all(domain["name"] != guest for domain in found[where[0]]["domains"])
    # One that only starts with the host is there, but a define step has yet to start it and a live one cannot move it.
    if starts_only and path[0] is None:
        return 0
    if starts_only and at[-1] < len(moves):
        how = "it only starts with the host" if found[where[0]]["guests"].get(guest) else "where its disks are"
        problems.append(f"step {moves[at[-1]]['step']}: {guest} does not run on {where[0]}, {how}. playbooks/site.yml starts it; or"
                        " plan anew")
    return at[-1]


def judged(plan: Mapping[str, Any], found: Found, guests: Guests, silent: Iterable[str], moved: Sequence[Move] = ()) -> dict[str, Any]:
    """Verdicts on the guests that moves have left in doubt, and on those of `moved`, the moves of a wave that has just ended.

    silent: hosts that told nothing. Returns `verdicts` (each with guest, source, target, kind, stays, text), `settle` (host -> steps for
    xl_move_settle), `forget` (host -> guests that have arrived elsewhere and have a link or configuration left there), `problems` (what
    is undefined, with what to do).
    """
    silent = sorted(silent)
    ways = {move["workload"]: (move["from"], move["to"]) for move in moved}
    verdicts, problems = [], []
    settle: dict[str, list[dict[str, Any]]] = {}
    forget: dict[str, list[str]] = {}
    for guest, definition in sorted(guests.items()):
        uuid = normalise(definition)["uuid"]
        copies = {host: there for host, told in sorted(found.items())
                  if (there := judge.copies_of(map(Copy.of, told["domains"]), guest, uuid))}
        if guest not in ways and not any(judge.in_doubt(there, guest) for there in copies.values()):
            continue
        source, target = ways.get(guest) or _way(guest, copies, plan)
        strangers = sorted(set(copies) - {source, target})
        verdict = judge.judge(copies.get(source, []), copies.get(target, []), guest, uuid)
        state = _state(guest, copies, [host for host in (source, target) if host])
        why = ""
        if strangers:
            why = f"{' and '.join(strangers)} has it as well; let one copy stay and end the others with xl destroy"
        elif verdict.kind == judge.UNDEFINED:
            why = verdict.way_out
        elif verdict.steps and (busy := _busy(guest, source, target, found)):
            why = busy
        elif verdict.kind == judge.COME_BACK and silent:
            why = f"{', '.join(silent)} could not be asked whether it runs there; it is let run on only when every host has told"
        kind = judge.UNDEFINED if why else verdict.kind
        if why:
            problems.append(f"{state}. Nothing was done with it: {why}")
        else:
            for step in verdict.steps:
                host = source if step.side == judge.SOURCE else target
                settle.setdefault(host, []).append(judge.data(step, guest))
            if verdict.kind == judge.ARRIVED and guest in found.get(source, {}).get("keeps", ()):
                forget.setdefault(source, []).append(guest)
        # Also where what is left of its move on the target cannot be put in order yet.
        stays = not strangers and verdict.kind in (judge.STAYED, judge.CLEAR)
        verdicts.append({"guest": guest, "source": source, "target": target, "kind": kind, "stays": stays, "text": state})
    return {"verdicts": verdicts, "settle": settle, "forget": forget, "problems": problems}


def _way(guest: str, copies: Mapping[str, Sequence[Copy]], plan: Mapping[str, Any]) -> tuple[str, str]:
    """Source and target of a move that nobody tells of any more, by the marks of the copies; "" for a host that has none."""
    own = [host for host, there in copies.items() if any(copy.name == guest and not copy.never_ran for copy in there)]
    away = [host for host, there in copies.items() if any(copy.name.endswith(judge.LEFT) for copy in there)]
    arriving = [host for host in copies if host not in away and host not in own]
    source = (away or (own if arriving or len(copies) == 1 else own[:1]) or [""])[0]
    target = next((host for host in [*arriving, *own] if host != source), "")
    planned = [move["to"] for move in plan.get("moves", ()) if move["workload"] == guest and move["from"] == source]
    return source, target or (planned[0] if planned else "")


def _busy(guest: str, source: str, target: str, found: Found) -> str:
    for host in (source, target):
        if guest in found.get(host, {}).get("moving", ()):
            return f"xl migrate still works on it on {host}; wait for its end, then run this again"
    if found.get(target, {}).get("receiving"):
        return (f"{target} still receives a guest (xl migrate-receive, number {', '.join(map(str, found[target]['receiving']))}), which"
                " might be this one. Wait for its end, or end it with kill, then run this again")
    return ""


def _state(guest: str, copies: Mapping[str, Sequence[Copy]], hosts: Sequence[str]) -> str:
    """The exact state in words."""
    told = []
    for host in [*hosts, *(host for host in copies if host not in hosts)]:
        there = copies.get(host, ())
        told.append(f"on {host} " + (" and ".join(copy.told() for copy in there) if there else "nothing"))
    return f"guest {guest!r}: " + ", ".join(told or ["on no host"])


def needs(moves: Iterable[Move], guests: Guests) -> dict[str, list[str]]:
    """Host -> what the guests that move there need of it (disks, files, bridges), for the module xl_move_info to look at."""
    found: dict[str, set[str]] = {}
    for move in moves:
        own = offline.needs(move, guests) if move["method"] == offline.OFFLINE else needs_of(normalise(guests[move["workload"]]))
        found.setdefault(move["to"], set()).update(own)
    return {host: sorted(lines) for host, lines in found.items()}


def outgoing(
    moves: Iterable[Move], host: str, guests: Guests, peers: Iterable[Mapping[str, Any]], found: Found | None = None,
    limits: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """The moves that go out from a host, as the module xl_move takes them. Raises ValueError for a host that is no peer of its pool.

    found: what hosts told before the volumes of offline moves were made; limits: mibps and shutdown_seconds of such moves.
    """
    reachable = {peer["name"]: peer for peer in peers}
    result = []
    for move in moves:
        if move["from"] != host:
            continue
        if move["to"] not in reachable:
            raise ValueError(f"step {move['step']}: to: value {move['to']!r}, allowed a host of the pool of {host}:"
                             f" {', '.join(sorted(reachable)) or 'it has no other'}")
        peer = reachable[move["to"]]
        own = {"volumes": offline.sent(move, found or {}, guests), **(limits or {})} if move["method"] == offline.OFFLINE else {}
        result.append({"step": move["step"], "guest": move["workload"], "uuid": normalise(guests[move["workload"]])["uuid"],
                       "to": move["to"], "address": peer["address"], "port": peer["port"], **own})
    return result


def report(
    wave: Mapping[str, Any], judgement: Mapping[str, Any], results: Mapping[str, Sequence[Mapping[str, Any]]], guests: Guests, last: int,
) -> dict[str, list[str]]:
    """What became of a wave: `lines` for each step, `failed` for those that did not arrive, with what xl said.

    judgement: of `judged`, with the moves of the wave; results: host -> `moves` as xl_move returned them there; last: number of steps.
    """
    verdicts = {verdict["guest"]: verdict for verdict in judgement["verdicts"]}
    lines, failed = [], []
    for move in wave["moves"]:
        guest = move["workload"]
        result = next((told for told in results.get(move["from"], ()) if told["guest"] == guest), {})
        verdict, title = verdicts[guest], f"step {move['step']} of {last}: {guest}"
        if verdict["kind"] == judge.ARRIVED:
            size = f"{normalise(guests[guest])['memory_mib']} MiB"
            took = f" in {result['seconds']:g} s" if result.get("seconds") is not None else ""
            lines.append(f"{title} is on {move['to']}, {size} from {move['from']}{took}")
            continue
        code = result.get("code")
        said = "; ".join(result.get("lines") or ["nothing"])
        how = "its unit was killed" if code is None else f"xl migrate ended with {code}"
        what = "is in an undefined state" if verdict["kind"] == judge.UNDEFINED and not verdict["stays"] else f"stays on {move['from']}"
        failed.append(f"{title} {what}: {how}, and said: {said}")
    for move in wave.get("offline", ()):
        guest = move["workload"]
        result = next((told for told in results.get(move["from"], ()) if told["guest"] == guest), {})
        arrived, line = _with_disks(move, verdicts.get(guest, {}).get("kind"), result)
        (lines if arrived else failed).append(f"step {move['step']} of {last}: {guest} {line}")
    return {"lines": lines + failed, "failed": failed + list(judgement["problems"])}


def _with_disks(move: Move, kind: str | None, result: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a guest with its disks has arrived, and what became of it in words."""
    if kind in (owner.FORWARD, owner.ARRIVED):
        size = f"{(result.get('total_bytes') or 0) / 2**30:.2f} GiB of disks"
        took = f" in {result['seconds']:g} s" if result.get("seconds") is not None else ""
        sent = result.get("sent_bytes")
        return True, (f"is handed over to {move['to']}, {size} from {move['from']}{took}"
                      + (f", {sent / 2**20:.1f} MiB of them while it was down" if sent is not None else ""))
    said = "; ".join(result.get("lines") or ["nothing"])
    what = {None: "is still under way", owner.STAYS: f"stays on {move['from']}", owner.START: f"is down and starts again on {move['from']}",
            owner.BACK: f"comes back on {move['from']}"}.get(kind, "is in an undefined state")
    how = "its unit was killed" if result.get("code") is None else f"its move ended with {result['code']}"
    return False, f"{what}: {how}, and said: {said}"
