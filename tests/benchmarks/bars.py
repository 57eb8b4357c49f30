#!/usr/bin/env python3
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measure the planner against its bars and print a table.

Each row runs in a process of its own, one after another; seconds are CPU seconds of the planner alone, memory is the peak of the
row's process after planning. Every plan is checked by code that shares nothing with the planner; a broken promise fails the row.
Exit code 0 when every must is met, 1 when one is not, 2 when the command line or the data cannot be used.
"""
from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import operator
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "collections"), ROOT]

import numpy as np
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.moves import Schedule
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.rules import compile_rules
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.series_csv import CsvError

from tests.benchmarks import check, packing
from tests.benchmarks.generator import generate
from tests.benchmarks.readers import ReadError
from tests.unit.placement import verifier

MOST_ITEMS = 120
EXACT_NUMBERS = 1500
MIB_OF_A_GIB = 1024
RELATIONS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, "<": operator.lt, "=": operator.eq}
U120 = (48, 49, 46, 49, 50, 48, 48, 49, 50, 46, 52, 49, 48, 49, 50, 48, 52, 52, 49, 49)
U250 = (99, 100, 102, 100, 101, 101, 102, 103, 105, 101, 105, 101, 105, 103, 100, 105, 97, 100, 100, 102)


@dataclass(frozen=True)
class Row:
    """A row of the table. kind: a key of KINDS; files: below DIR; given: what else the kind takes; must, reach: FIGURE RELATION LIMIT."""

    name: str
    kind: str
    files: tuple[str, ...]
    given: tuple[Any, ...]
    must: tuple[str, ...]
    reach: tuple[str, ...]


_VECTOR = ("below_optimum = 0", "above_published <= 0", "slowest_s <= 10")
BARS = (
    *(Row(f"vector-{name.lower()}", "vector", (f"vector/{name}.tar.gz", f"vector/{name}_known.tsv"), (), (f"ratio <= {must}", *_VECTOR),
          (f"ratio <= {reach}",)) for name, must, reach in (("Panigrahy", 1.008, 1.003), ("New", 1.035, 1.015), ("Triplet", 1.1, 1.03))),
    Row("u120", "listed", ("packing1d/binpack1.txt",), U120, ("not_optimal = 0", "unproven = 0"), ("slowest_s < 1",)),
    Row("u250", "listed", ("packing1d/binpack2.txt",), U250, ("not_optimal = 0", "unproven = 0"), ("slowest_s < 1",)),
    Row("ganeti-20", "cluster", ("ganeti/gen.py",), (20, 200, 42),
        ("hosts <= 10", "moved_gib <= 311", "moves <= 80", "unproven = 0", "cpu_s <= 20"), ("cpu_s <= 5",)),
    Row("ganeti-20-tradeoff", "tradeoff", ("ganeti/gen.py",), (20, 200, 42),
        ("moves_on_13 = 47", "moves_on_12 = 57", "moves_on_11 = 67", "moves_on_10 = 77", "more_s <= 60"), ("more_s <= 15",)),
    Row("ganeti-100", "cluster", ("ganeti/gen.py",), (100, 1000, 42),
        ("hosts <= 53", "unproven = 0", "moved_gib <= 1900", "cpu_s <= 90"), ("cpu_s <= 10",)),
    Row("ganeti-400", "cluster", ("ganeti/gen.py",), (400, 4000, 42), ("hosts <= 216", "cpu_s <= 120"), ("hosts <= 214",)),
    Row("planetlab", "traces", ("planetlab/20110303.tar.gz",), ("--host-capacity", "400"),
        ("hosts <= 40", "cpu_s <= 30"), ("hosts <= 39",)),
    Row("bitbrains", "traces", ("bitbrains/day_2013-08-14_5min.csv.gz",), ("--host", "48x2600,768"),
        ("above_bound <= 1",), ("above_bound <= 0",)),
    Row("generated-1000", "generated", (), (1000, 10000),
        ("cpu_s <= 90", "peak_mib <= 2048", "gap_percent <= 2"), ("cpu_s <= 30", "gap_percent <= 1")),
    Row("generated-5000", "generated", (), (5000, 50000), ("cpu_s <= 600", "peak_mib <= 8192", "gap_percent <= 3"), ("cpu_s <= 300",)),
    Row("ordering", "ordering", (), (100, 1200, 1000, 42), ("moves = 1000", "stuck = 0", "cpu_s <= 5"), ("cpu_s <= 1",)),
)


@dataclass
class Measured:
    """What a row came to. picked: how many of how many instances; violations: promises that plans break."""

    picked: tuple[int, int] = (1, 1)
    figures: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Planned:
    """One instance. proven: the bound is met; optimum, published: hosts, where known."""

    plan: dict[str, Any]
    cpu_s: float
    peak_mib: int
    proven: bool
    optimum: int = 0
    published: int = 0

    def of(self, key: str) -> Any:
        """A value of the plan's summary."""
        return self.plan["summary"][key]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; argparse exits with 2 and a message when it cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=" ".join(__doc__.splitlines()[2:]))
    parser.add_argument("dir", metavar="DIR", help="the folder of the data, laid out as docs/benchmarks.md tells")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these rows: " + ", ".join(row.name for row in BARS))
    parser.add_argument("--every", type=_count, default=1, metavar="N", help="every N-th instance only of rows that have many")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE as well")
    options = parser.parse_args(argv)
    for name in options.only:
        if name not in {row.name for row in BARS}:
            parser.error(f"--only: value {name!r}, allowed {', '.join(row.name for row in BARS)}")
    return options


def _count(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"value {text!r}, allowed a whole number of at least 1")
    return value


def vector(paths: Sequence[str], every: int, given: Sequence[Any]) -> Measured:
    """Vector bin packing: the instances with a known optimum and at most MOST_ITEMS items."""
    archive, table = paths
    known = _known(table)
    found = ((name, problem) for name, problem in _instances(archive, "--shuffle", "1") if name in known)
    return _many(archive, found, {name: known[name] for name in sorted(known)}, every)


def _known(path: str) -> dict[str, tuple[int, int]]:
    """Optimum and best published number of hosts of an instance; the second part of its name is the number of items."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return {row["instance_name"]: (int(row["OPT"]), int(row["best_overall"])) for row in csv.DictReader(file, delimiter="\t")
                    if int(row["OPT"]) > 0 and int(row["instance_name"].split("_")[1]) <= MOST_ITEMS}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ReadError(f"{path}: not a table of instance_name (CLASS_ITEMS_...), OPT and best_overall: {error!r}") from error


def listed(paths: Sequence[str], every: int, given: Sequence[Any]) -> Measured:
    """A file of the OR-Library; given: the optimum of each instance in order."""
    found = list(_instances(paths[0], "--shuffle", "1"))
    if len(found) != len(given):
        raise ReadError(f"{paths[0]}: {len(found)} instances, allowed {len(given)}")
    return _many(paths[0], found, {name: (optimum, 0) for (name, _), optimum in zip(found, given, strict=True)}, every)


def _many(path: str, found: Iterable[tuple[str, Any]], known: dict[str, tuple[int, int]], every: int) -> Measured:
    """Plan every N-th of some instances. known: optimum and best published, by name."""
    names = list(known)[::every]
    measured = Measured((len(names), len(known)))
    plans = []
    for name, problem in found:
        if name in names:
            optimum, published = known[name]
            plans.append(_plan(name, problem, measured, optimum=optimum, published=published))
            _tell(f"{name}: {plans[-1].of('hosts_used')} hosts, optimum {optimum}, {plans[-1].cpu_s:.2f} s ({len(plans)} of {len(names)})")
    if len(plans) != len(names) or not plans:
        raise ReadError(f"{path}: {len(plans)} of the {len(names)} instances with a known optimum")
    hosts, optimum = sum(plan.of("hosts_used") for plan in plans), sum(plan.optimum for plan in plans)
    measured.figures = {
        "hosts": hosts, "optimum": optimum, "ratio": round(hosts / optimum, 4),
        "published": sum(plan.published for plan in plans), "above_published": hosts - sum(plan.published for plan in plans),
        "below_optimum": sum(plan.of("hosts_used") < plan.optimum for plan in plans),
        # Above 0 only where sizes below 0 count as 0, which may take another host; elsewhere the bound is wrong.
        "bound_above_optimum": sum(plan.of("hosts_bound") > plan.optimum for plan in plans),
        "not_optimal": sum(plan.of("hosts_used") != plan.optimum for plan in plans),
        **_costs(plans),
    }
    return measured


def cluster(paths: Sequence[str], every: int, given: Sequence[Any]) -> Measured:
    """A cluster in Ganeti's format; given: nodes, instances and seed for its generator."""
    measured = Measured()
    [(name, problem)] = _clusters(paths[0], given)
    return _one(name, problem, measured)


def tradeoff(paths: Sequence[str], every: int, given: Sequence[Any]) -> Measured:
    """The trade-off of the same: moves_on_N for N hosts, and the seconds it takes beyond the plan itself."""
    measured = Measured()
    [(name, problem)] = _clusters(paths[0], given)
    without = _plan(name, problem, measured)
    curve = _plan(name, {**problem, "policy": {**problem["policy"], "tradeoff": True}}, measured)
    measured.figures = {f"moves_on_{point['hosts']}": point["moves"] for point in curve.plan["tradeoff"]}
    measured.figures["more_s"] = round(max(0.0, curve.cpu_s - without.cpu_s), 2)
    return measured


def _clusters(program: str, given: Sequence[Any]) -> list[tuple[str, Any]]:
    name = "-".join(map(str, given))
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, f"ganeti-{name}")
        ran = subprocess.run([sys.executable, program, *map(str, given), prefix], check=False, capture_output=True, text=True)
        if ran.returncode or not os.path.isfile(f"{prefix}.data"):
            last = (ran.stderr.strip().splitlines() or ["it wrote no .data file"])[-1]
            raise ReadError(f"{program} {' '.join(map(str, given))} PREFIX: exit code {ran.returncode}: {last}")
        return list(_instances(f"{prefix}.data"))


def traces(paths: Sequence[str], every: int, given: Sequence[Any]) -> Measured:
    """Series of one estate; given: options of packing.py."""
    found = list(_instances(paths[0], *given))
    if len(found) != 1:
        raise ReadError(f"{paths[0]}: {len(found)} instances, allowed 1")
    return _one(*found[0], Measured())


def generated(paths: Sequence[str], every: int, given: Sequence[Any]) -> Measured:
    """A synthetic estate; given: hosts and workloads."""
    [(name, problem)] = packing.problems(packing.arguments(["--generate", "x".join(map(str, given)), "--effort", "normal"]))
    return _one(name, problem, Measured())


def ordering(paths: Sequence[str], every: int, given: Sequence[Any]) -> Measured:
    """The order of moves alone; given: hosts, workloads, moves and seed of a tight estate."""
    document, placement = tight_estate(*given)
    problem = normalise(document)
    hosts = {host.name: index for index, host in enumerate(problem.hosts)}
    target = np.array([hosts[placement[workload.name]] if workload.name in placement else -1 for workload in problem.workloads])
    rules = compile_rules(problem)
    started = time.process_time()
    schedule = Schedule(problem, rules, target)
    spent = time.process_time() - started
    moves = [{"step": step, "wave": move.wave, "workload": problem.workloads[move.workload].name, "method": move.method,
              "from": problem.hosts[move.source].name if move.source >= 0 else None, "to": problem.hosts[move.target].name}
             for step, move in enumerate(schedule.moves, 1)]
    parked = sum(move.parking for move in schedule.moves)
    return Measured(figures={
        "moves": len(moves) - parked, "parked": parked, "waves": schedule.wave, "stuck": len(schedule.stuck), "cpu_s": round(spent, 2),
    }, violations=check.violations_of_moves(document, placement, moves))


KINDS: dict[str, Callable[[Sequence[str], int, Sequence[Any]], Measured]] = {
    "vector": vector, "listed": listed, "cluster": cluster, "tradeoff": tradeoff, "traces": traces, "generated": generated,
    "ordering": ordering,
}


def tight_estate(hosts: int, workloads: int, moves: int, seed: int, spare: float = 0.05) -> tuple[dict[str, Any], dict[str, str]]:
    """An estate whose hosts have little to spare, and a placement that needs that many moves.

    Hosts of a generated estate are shrunk to the peak of what they hold and a share of it. The placement is where a walk of
    single moves at random ends, each to a host with room for it at that time, so there is an order; targets fill up and empty
    on the way. Rules that keep workloads apart hold throughout.
    """
    problem = generate(hosts, workloads, seed)
    problem["workloads"] = [{**workload, "storage": "shared"} for workload in problem["workloads"] if "current" in workload]
    names = {workload["name"] for workload in problem["workloads"]}
    problem["rules"] = [{**rule, "during": "always"} for rule in problem["rules"]
                        if rule["rule"] == "anti_affinity" and names.issuperset(rule["workloads"])]
    resources = sorted(problem["hosts"][0]["capacity"])
    slots = max(len(value) for value in problem["workloads"][0]["demand"].values() if isinstance(value, list))
    demand = {workload["name"]: np.array([np.broadcast_to(workload["demand"][name], slots) for name in resources])
              for workload in problem["workloads"]}
    at = {workload["name"]: workload["current"] for workload in problem["workloads"]}
    load = {host["name"]: sum((demand[name] for name in at if at[name] == host["name"]), np.zeros((len(resources), slots)))
            for host in problem["hosts"]}
    for host in problem["hosts"]:
        peaks = load[host["name"]].max(axis=1)
        host["capacity"] = {name: math.ceil(peak * (1 + spare)) for name, peak in zip(resources, peaks, strict=True)}
    room = {host["name"]: np.array([[host["capacity"][name]] for name in resources]) for host in problem["hosts"]}
    apart = {name: set(rule["workloads"]) - {name} for rule in problem["rules"] for name in rule["workloads"]}
    rng = random.Random(seed)
    moved = 0
    for name in rng.sample(sorted(at), len(at)):
        fits = [host for host in load if host != at[name] and (load[host] + demand[name] <= room[host] - 1e-3).all()
                and not any(at[other] == host for other in apart.get(name, ()))]
        if fits and moved < moves:
            source, at[name] = at[name], rng.choice(fits)
            load[source] -= demand[name]
            load[at[name]] += demand[name]
            moved += 1
    return problem, at


def _instances(path: str, *options: str) -> Iterator[tuple[str, Any]]:
    return packing.problems(packing.arguments([path, "--effort", "normal", *options]))


def _one(name: str, problem: Any, measured: Measured) -> Measured:
    _tell(f"{name}: {len(problem['hosts'])} hosts, {len(problem['workloads'])} workloads")
    plan = _plan(name, problem, measured)
    hosts, bound = plan.of("hosts_used"), plan.of("hosts_bound")
    measured.figures = {
        "hosts": hosts, "bound": bound, "above_bound": hosts - bound,
        "gap_percent": round(100 * (hosts - bound) / bound, 2) if bound else 0,
        "moves": plan.of("moves"), "moved_gib": round(plan.of("moved_mib") / MIB_OF_A_GIB, 1), **_costs([plan]),
    }
    return measured


def _costs(plans: Sequence[Planned]) -> dict[str, float]:
    return {
        "unproven": sum(not plan.proven for plan in plans), "cpu_s": round(sum(plan.cpu_s for plan in plans), 2),
        "slowest_s": round(max(plan.cpu_s for plan in plans), 2), "peak_mib": max(plan.peak_mib for plan in plans),
    }


def _plan(name: str, problem: Any, measured: Measured, **known: int) -> Planned:
    """Plan an instance and have the plan checked: by the exact verifier as well where that takes no more than seconds."""
    plan, cpu_s, peak_mib = packing.planned(problem, packing.arguments(["-", "--effort", "normal"]))
    found = check.violations(problem, plan)
    demands = [value for workload in problem["workloads"] for value in workload["demand"].values()]
    numbers = sum(len(value) if isinstance(value, list) else 1 for value in demands)
    if not found and numbers <= EXACT_NUMBERS:
        found = verifier.violations(problem, plan)
    if plan["status"] == "infeasible":
        found = [f"infeasible, {plan['summary']['unplaced']} unplaced", *found]
    measured.violations += [f"{name}: {line}" for line in found]
    return Planned(plan, cpu_s, peak_mib, plan["summary"]["hosts_used"] == plan["summary"]["hosts_bound"], **known)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(row: Row, folder: str, every: int) -> Measured:
    """One row, in this process. Raises ReadError, whose message names the file."""
    paths = [os.path.join(folder, file) for file in row.files]
    try:
        return KINDS[row.kind](paths, every, row.given)
    except (ReadError, CsvError, ProblemError, OSError) as error:
        raise ReadError(_naming(str(error), paths)) from error


def _naming(message: str, paths: Sequence[str]) -> str:
    """A message on one line; about a member of an archive, it names the archive as well."""
    message = "; ".join(message.splitlines())
    return message if not paths or any(path in message for path in paths) else f"{paths[0]}: {message}"


def met(bar: str, figures: dict[str, float]) -> bool:
    """Whether a bar `FIGURE RELATION LIMIT` is met; a figure that there is not meets none."""
    figure, relation, limit = bar.split()
    return figure in figures and RELATIONS[relation](figures[figure], float(limit))


def verdict(row: Row, measured: Measured) -> str:
    """yes (must), reached (must and reach), no."""
    if measured.violations or not all(met(bar, measured.figures) for bar in row.must):
        return "no"
    return "reached" if all(met(bar, measured.figures) for bar in row.reach) else "yes"


def cells(row: Row, measured: Measured) -> tuple[str, ...]:
    """name, instances, result, must, reach, met."""
    named = list(dict.fromkeys(bar.split()[0] for bar in row.must + row.reach))
    result = [f"{figure} {measured.figures[figure]:g}" if figure in measured.figures else f"no {figure}" for figure in named]
    if measured.violations:
        result.append(f"violation: {measured.violations[0]}".replace("|", "/"))
    picked, of = measured.picked
    return (row.name, str(picked) if picked == of else f"{picked} of {of}", ", ".join(result), ", ".join(row.must), ", ".join(row.reach),
            verdict(row, measured))


def _in_child(row: Row, folder: str, every: int) -> Measured:
    """Measure a row in a process of its own, so that its memory is that of the row."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure, row, folder, every).result()
        except BrokenProcessPool:
            return Measured(violations=["the process of the row was ended from outside, perhaps for want of memory"])


def main(argv: Sequence[str] | None = None) -> int:
    """See the top of this file."""
    options = arguments(sys.argv[1:] if argv is None else argv)
    rows = [row for row in BARS if not options.only or row.name in options.only]
    results: list[dict[str, Any]] = []
    try:
        _readable(options.dir, rows)
        _write(options.json, options.every, results)
        print("| name | instances | result | must | reach | met |\n| --- | --- | --- | --- | --- | --- |", flush=True)
        for row in rows:
            _tell(f"{row.name} ...")
            measured = _in_child(row, options.dir, options.every)
            print("| " + " | ".join(cells(row, measured)) + " |", flush=True)
            results.append({**asdict(row), **asdict(measured), "met": verdict(row, measured)})
            _write(options.json, options.every, results)
    except ReadError as error:
        print(f"bars.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"bars.py: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    if options.every > 1:
        print(f"\nRows of many instances: every {options.every}-th only, a quick look.")
    return int(any(result["met"] == "no" for result in results))


def _readable(folder: str, rows: Sequence[Row]) -> None:
    """Everything that is needed is there; a missing file is not to end a run of an hour."""
    if not os.path.isdir(folder):
        raise ReadError(f"DIR: value {folder!r}, allowed a folder laid out as docs/benchmarks.md tells")
    for row in rows:
        for file in row.files:
            with open(os.path.join(folder, file), "rb"):
                pass


def _write(path: str | None, every: int, results: Sequence[dict[str, Any]]) -> None:
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"every": every, "rows": results}, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
