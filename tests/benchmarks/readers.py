# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Readers of public packing data; each gives a problem {hosts, workloads, rules, policy} as the planner takes it.

The kind of a file follows from its name; .gz is unpacked, a .tar.gz is read member by member:

- ``.vbp``: vector bin packing: number of dimensions, the capacity of a bin, number of lines, lines ``sizes... copies``
- ``binpack*.txt``: OR-Library: number of instances, then for each a name, ``capacity items best`` and the sizes
- ``.data``: the text format of Ganeti's htools (man htools, option -t)
- ``.csv``: a Bitbrains trace of the GWA-T-12 archive (with or without a column VM)
- ``.json``: a problem
- any other name: a PlanetLab trace, one number in percent per line; all such files of a folder are one instance
"""
from __future__ import annotations

import gzip
import io
import json
import os
import random
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ansible_collections.xenfold.consolidation.plugins.module_utils.htools.text import TextError, parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.series_csv import (
    CsvError,
    mapping_of,
    read_series,
)

Problem = dict[str, Any]
KNOWN_SUFFIXES = (".vbp", ".txt", ".data", ".csv", ".json")
BITBRAINS_DISK_KBPS = 1_000_000
BITBRAINS_NETWORK_KBPS = 1_250_000
DAY_SLOTS, SLOT_SECONDS = 288, 300


class ReadError(ValueError):
    """A file that cannot be used. The message names it and what is wrong."""


@dataclass(frozen=True)
class Options:
    """What files leave open: capacity of a PlanetLab host in percent; (cores, MHz, memory GiB) of a Bitbrains host."""

    host_capacity: float = 400
    host: tuple[float, float, float] = (48, 2600, 768)
    shuffle: int | None = None


@dataclass(frozen=True)
class Document:
    """A file or a member of an archive, unpacked."""

    folder: str
    name: str
    data: bytes

    def text(self) -> str:
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ReadError(f"{self.name}: not UTF-8 text: {error}") from error


def instances(path: str, options: Options) -> Iterator[tuple[str, Problem]]:
    """Name and problem of every instance of a file, an archive or a folder, in the order of names. Raises ReadError."""
    try:
        traces: dict[str, list[Document]] = {}
        for document in _documents(path):
            if document.name.endswith(KNOWN_SUFFIXES):
                yield from _read(document, options)
            else:
                traces.setdefault(document.folder, []).append(document)
        for folder in sorted(traces):
            yield os.path.basename(folder) or "planetlab", planetlab(traces[folder], options.host_capacity)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ReadError(f"{path}: {error}") from error


def _documents(path: str) -> Iterator[Document]:
    if os.path.isdir(path):
        # Listed before anything is planned: the plans may be written into a folder below.
        for file in sorted(os.path.join(folder, name) for folder, _, files in os.walk(path) for name in files):
            yield from _documents_of_file(file)
    else:
        yield from _documents_of_file(path)


def _documents_of_file(path: str) -> Iterator[Document]:
    if path.endswith((".tar.gz", ".tgz", ".tar")):
        with tarfile.open(path) as archive:
            for member in sorted((member for member in archive if member.isfile()), key=lambda member: member.name):
                content = archive.extractfile(member)
                if content is not None:
                    yield _unpacked(member.name, content.read())
    else:
        with open(path, "rb") as content:
            yield _unpacked(os.path.abspath(path), content.read())


def _unpacked(path: str, data: bytes) -> Document:
    if path.endswith(".gz"):
        path, data = path[:-3], gzip.decompress(data)
    return Document(os.path.dirname(path), os.path.basename(path), data)


def _read(document: Document, options: Options) -> Iterator[tuple[str, Problem]]:
    stem = document.name.rsplit(".", 1)[0]
    try:
        if document.name.endswith(".vbp"):
            yield stem, vbp(document.text(), stem, options.shuffle)
        elif document.name.endswith(".txt"):
            yield from orlib(document.text(), options.shuffle)
        elif document.name.endswith(".data"):
            yield stem, ganeti(document.text(), document.name)
        elif document.name.endswith(".csv"):
            yield stem, bitbrains(document.text(), document.name, options.host)
        else:
            yield stem, json.loads(document.data)
    except (IndexError, ValueError) as error:
        if isinstance(error, ReadError | CsvError):
            raise
        raise ReadError(f"{document.name}: does not have the form that its name promises: {error}") from error


def identical(items: Sequence[dict[str, Any]], capacity: dict[str, float]) -> Problem:
    """Workloads onto as many hosts of one kind as they may need.

    First fit over the items as given needs so many hosts; a fifth more (and five) leaves the planner free to do worse.
    """
    resources = sorted(capacity)
    demand = np.array([np.broadcast_arrays(*(np.atleast_1d(item["demand"][name]) for name in resources)) for item in items])
    limit = np.array([capacity[name] for name in resources])[:, None]
    load = np.zeros((0, *demand.shape[1:]))
    for row in demand:
        fits = np.nonzero((load + row <= limit + 1e-9).all(axis=(1, 2)))[0]
        if len(fits):
            load[fits[0]] += row
        else:
            load = np.concatenate([load, row[None]])
    count = min(len(items), len(load) + len(load) // 5 + 5)
    hosts = [{"name": f"host{index:05d}", "capacity": dict(capacity)} for index in range(count)]
    return {"hosts": hosts, "workloads": list(items), "rules": [], "policy": {}}


def _items(sizes: Sequence[Sequence[float]], shuffle: int | None) -> list[dict[str, Any]]:
    """Workloads named by their place, which a shuffle changes: the planner sorts by name."""
    order = list(sizes)
    if shuffle is not None:
        random.Random(shuffle).shuffle(order)
    return [
        {"name": f"item{index:05d}", "demand": {f"size{axis}": size for axis, size in enumerate(row, 1)}}
        for index, row in enumerate(order)
    ]


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def vbp(text: str, name: str, shuffle: int | None = None) -> Problem:
    """A vector bin packing instance.

    Some published instances hold sizes below 0, which no demand can have. They count as 0, so a packing found is valid for
    the original too, but bound and status are those of the changed instance; a line on standard error says so.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    dimensions, count = int(lines[0][0]), int(lines[2][0])
    capacity = [_number(word) for word in lines[1]]
    rows = [[_number(word) for word in line] for line in lines[3:]]
    if len(capacity) != dimensions or len(rows) != count or any(len(row) != dimensions + 1 for row in rows):
        raise ReadError(f"{name}: {len(capacity)} capacities and {len(rows)} lines, its head names {dimensions} and {count}")
    below = sum(size < 0 for row in rows for size in row[:-1])
    if below:
        print(f"{name}: {below} sizes below 0 count as 0", file=sys.stderr)
    sizes = [[max(0, size) for size in row[:-1]] for row in rows for _ in range(int(row[-1]))]
    return identical(_items(sizes, shuffle), {f"size{axis}": size for axis, size in enumerate(capacity, 1)})


def orlib(text: str, shuffle: int | None = None) -> Iterator[tuple[str, Problem]]:
    """The instances of a file of the OR-Library."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    position = 1
    for _ in range(int(lines[0])):
        name, head = lines[position], lines[position + 1].split()
        count = int(head[1])
        sizes = [[_number(line)] for line in lines[position + 2:position + 2 + count]]
        if len(sizes) != count:
            raise ReadError(f"{name}: {len(sizes)} sizes, its head names {count}")
        yield name, identical(_items(sizes, shuffle), {"size1": _number(head[0])})
        position += 2 + count


def ganeti(text: str, name: str) -> Problem:
    """A cluster in the text format of Ganeti's htools, as the filter from_htools reads it."""
    try:
        return parse(text)
    except TextError as error:
        raise ReadError(f"{name}: {'; '.join(error.errors)}") from error


def planetlab(traces: Sequence[Document], capacity: float) -> Problem:
    """CPU use of machines, one five-minute value in percent per line, the same number of values in each."""
    workloads: list[dict[str, Any]] = []
    lengths = set()
    for trace in traces:
        try:
            series = [_number(word) for word in trace.text().split()]
        except ValueError as error:
            raise ReadError(f"{trace.name}: not a PlanetLab trace (one number per line): {error}") from error
        if not series:
            raise ReadError(f"{trace.name}: an empty trace")
        workloads.append({"name": trace.name, "demand": {"cpu_percent": series}})
        lengths.add(len(series))
    if len(lengths) > 1:
        raise ReadError(f"traces of {min(lengths)} and of {max(lengths)} values in one folder")
    return identical(workloads, {"cpu_percent": capacity})


def bitbrains(text: str, name: str, host: tuple[float, float, float]) -> Problem:
    """A trace of managed hosting; every day in it is folded into one of 288 slots, the largest value counts."""
    cores, mhz, memory_gib = host
    columns: dict[str, Any] = {
        # The header says ms, the values are seconds.
        "time": "Timestamp [ms]",
        "resources": {
            "cpu_mhz": "CPU usage [MHZ]",
            "memory_mib": {"column": "Memory usage [KB]", "scale": 1 / 1024},
            "disk_kbps": ["Disk read throughput [KB/s]", "Disk write throughput [KB/s]"],
            "network_kbps": ["Network received throughput [KB/s]", "Network transmitted throughput [KB/s]"],
        },
    }
    if text.startswith("VM;"):
        columns["workload"] = "VM"
    mapped = mapping_of(columns, delimiter=";", slots=DAY_SLOTS, slot_seconds=SLOT_SECONDS)
    workloads, _ = read_series(io.StringIO(text, newline=""), mapped, name)
    capacity = {
        "cpu_mhz": cores * mhz, "memory_mib": memory_gib * 1024,
        "disk_kbps": BITBRAINS_DISK_KBPS, "network_kbps": BITBRAINS_NETWORK_KBPS,
    }
    return identical(workloads, capacity)
