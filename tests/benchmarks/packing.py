#!/usr/bin/env python3
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plan public packing instances and print one CSV line for each.

cpu_seconds is the time of the planner alone, without reading; peak_mib the largest memory of the process so far.
"""
from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "collections"), ROOT]

from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.series_csv import CsvError

from tests.benchmarks.generator import generate
from tests.benchmarks.readers import Options, ReadError, instances

COLUMNS = ("instance", "workloads", "hosts_used", "hosts_bound", "status", "moves", "cpu_seconds", "peak_mib")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; argparse exits with 2 and a message when it cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=__doc__.splitlines()[2])
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, archives and folders; see readers.py for their kinds")
    parser.add_argument("--effort", choices=("quick", "normal", "thorough"), help="overrides the policy of the problem")
    parser.add_argument("--objective", choices=("hosts", "watts", "balance"), help="overrides the policy of the problem")
    parser.add_argument("--limit", type=_count, metavar="N", help="plan the first N instances of each PATH only")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="order of the items of .vbp and OR-Library instances")
    parser.add_argument("--out", metavar="DIR", help="write the plan of each instance to DIR/INSTANCE.json")
    parser.add_argument("--host-capacity", type=_positive, default=400, metavar="PERCENT", help="of a host for PlanetLab traces")
    parser.add_argument("--host", type=_host, default="48x2600,768", metavar="CORESxMHZ,GIB", help="for Bitbrains traces")
    parser.add_argument("--generate", type=_size, action="append", default=[], metavar="HOSTSxWORKLOADS", help="see generator.py")
    parser.add_argument("--seed", type=int, default=42, help="of --generate")
    options = parser.parse_args(argv)
    if not options.paths and not options.generate:
        parser.error("give a PATH or --generate")
    return options


def _count(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed a whole number of at least 1")
    return value


def _positive(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed a number above 0")
    return float(text)


def _host(text: str) -> tuple[float, float, float]:
    match = re.fullmatch(r"(\d+)x(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed CORESxMHZ,GIB as in 48x2600,768")
    cores, mhz, gib = (float(part) for part in match.groups())
    return cores, mhz, gib


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed HOSTSxWORKLOADS as in 100x1000")
    return int(match[1]), int(match[2])


def problems(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and problem of everything asked for, one at a time."""
    readers = Options(options.host_capacity, options.host, options.shuffle)
    for path in options.paths:
        yield from itertools.islice(instances(path, readers), options.limit)
    for hosts, workloads in options.generate:
        yield f"generated-{hosts}x{workloads}-{options.seed}", generate(hosts, workloads, options.seed)


def planned(problem: dict[str, Any], options: argparse.Namespace) -> tuple[dict[str, Any], float, int]:
    """A plan, CPU seconds of the planner alone, and the largest memory of the process so far in MiB."""
    policy = dict(problem.get("policy") or {})
    for key in ("effort", "objective"):
        if getattr(options, key):
            policy[key] = getattr(options, key)
    started = time.process_time()
    plan = place({**problem, "policy": policy})
    spent = time.process_time() - started
    return plan, spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run(name: str, problem: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Plan one instance; returns its line."""
    plan, spent, peak = planned(problem, options)
    if options.out:
        with open(os.path.join(options.out, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(plan, file, indent=2)
            file.write("\n")
    summary = plan["summary"]
    return {
        "instance": name, "workloads": summary["workloads"], "hosts_used": summary["hosts_used"],
        "hosts_bound": summary["hosts_bound"], "status": plan["status"], "moves": summary["moves"],
        "cpu_seconds": f"{spent:.2f}", "peak_mib": peak,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with one message on standard error when an instance cannot be read or planned."""
    options = arguments(sys.argv[1:] if argv is None else argv)
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    try:
        if options.out:
            os.makedirs(options.out, exist_ok=True)
        writer.writeheader()
        for name, problem in problems(options):
            writer.writerow(run(name, problem, options))
            sys.stdout.flush()
    except (ReadError, CsvError, ProblemError, OSError) as error:
        print(f"packing.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
