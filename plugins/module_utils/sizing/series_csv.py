# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measured demand from CSV files: columns are mapped to resources, measurements are folded into the slots of a profile.

A measurement at time t belongs to the slot ``(t // slot_seconds) % slots``, counted from 1970-01-01 00:00 UTC; so 24 slots
of 3600 s give the profile of a day, whatever number of days was measured. All measurements of a slot become one number by
``aggregate``. A slot without any takes the larger of the nearest measured slots before and after it (the profile is a
circle), because a gap says nothing and the larger neighbour is the safer guess.
"""
from __future__ import annotations

import csv
import gzip
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

AGGREGATES = ("max", "mean", "p95")
TIME_UNITS = {"s": 1, "ms": 1000}
MOST_SLOTS = 100_000
_COLUMN_KEYS = ("workload", "time", "resources")
_RESOURCE_KEYS = ("column", "columns", "scale")


class CsvError(ValueError):
    """A mapping or a file that cannot be used as it is. The message names file, line, column, value and what is allowed."""


@dataclass(frozen=True)
class Resource:
    """Where the demand for one resource stands: the sum of some columns times scale."""

    name: str
    columns: tuple[str, ...]
    scale: float


@dataclass(frozen=True)
class Mapped:
    """How a file is read. workload: the column with its name, or None when a file is about one workload."""

    time: str
    resources: tuple[Resource, ...]
    workload: str | None = None
    delimiter: str = ","
    time_unit: str = "s"
    slots: int = 24
    slot_seconds: int = 3600
    aggregate: str = "max"


def mapping_of(columns: Any, **options: Any) -> Mapped:
    """Check a mapping as users write it.

    columns: ``{workload: NAME, time: NAME, resources: {RESOURCE: NAME | [NAMES] | {column: NAME, columns: [NAMES], scale: N}}}``
    with ``workload`` optional; options: the other fields of Mapped. Raises CsvError.
    """
    if not isinstance(columns, Mapping):
        raise CsvError(f"columns: value {columns!r}, allowed a mapping with {', '.join(_COLUMN_KEYS)}")
    for key in sorted(columns, key=str):
        if key not in _COLUMN_KEYS:
            raise CsvError(f"columns: unknown key '{key}': value {columns[key]!r}, allowed {', '.join(_COLUMN_KEYS)}")
    workload = columns.get("workload")
    if workload is not None:
        workload = _header(workload, "columns: workload")
    resources = columns.get("resources")
    if not isinstance(resources, Mapping) or not resources:
        raise CsvError(f"columns: resources: value {resources!r}, allowed a mapping of at least one resource to its column")
    mapped = Mapped(
        time=_header(columns.get("time"), "columns: time"),
        resources=tuple(_resource(name, resources[name]) for name in sorted(resources, key=str)),
        workload=workload,
        **options,
    )
    if not isinstance(mapped.delimiter, str) or len(mapped.delimiter) != 1 or mapped.delimiter in "\r\n\"":
        raise CsvError(f"delimiter: value {mapped.delimiter!r}, allowed one character")
    if mapped.aggregate not in AGGREGATES:
        raise CsvError(f"aggregate: value {mapped.aggregate!r}, allowed {', '.join(AGGREGATES)}")
    if mapped.time_unit not in TIME_UNITS:
        raise CsvError(f"time_unit: value {mapped.time_unit!r}, allowed {', '.join(TIME_UNITS)}")
    if not 1 <= mapped.slots <= MOST_SLOTS:
        raise CsvError(f"slots: value {mapped.slots!r}, allowed a whole number from 1 to {MOST_SLOTS}")
    if mapped.slot_seconds < 1:
        raise CsvError(f"slot_seconds: value {mapped.slot_seconds!r}, allowed a whole number of at least 1")
    return mapped


def _header(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise CsvError(f"{where}: value {value!r}, allowed the name of a column")
    return value.strip()


def _resource(name: Any, value: Any) -> Resource:
    where = f"columns: resources.{name}"
    if not isinstance(name, str) or not name.strip():
        raise CsvError(f"columns: resources: value {name!r}, allowed a non-empty name of a resource")
    scale: Any = 1
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            if key not in _RESOURCE_KEYS:
                raise CsvError(f"{where}: unknown key '{key}': value {value[key]!r}, allowed {', '.join(_RESOURCE_KEYS)}")
        if (value.get("column") is None) == (value.get("columns") is None):
            raise CsvError(f"{where}: value {dict(value)!r}, allowed either column or columns")
        scale = 1 if value.get("scale") is None else value["scale"]
        value = value["column"] if value.get("column") is not None else value["columns"]
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not math.isfinite(scale) or scale <= 0:
        raise CsvError(f"{where}.scale: value {scale!r}, allowed a finite number above 0")
    listed = value if isinstance(value, (list, tuple)) else [value]
    if not listed:
        raise CsvError(f"{where}: value [], allowed at least one column")
    return Resource(str(name), tuple(_header(column, where) for column in listed), scale)


def read_path(path: str, mapped: Mapped, name: str | None = None) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Read a file, plain or ``.gz``; see read_series. Raises CsvError, and OSError when it cannot be read."""
    with open_text(path) as lines:
        try:
            return read_series(lines, mapped, path, name)
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise CsvError(f"{path}: not a readable UTF-8 text, plain or gzip: {error}") from error


def open_text(path: str) -> IO[str]:
    """A text file for the csv module; a byte order mark is skipped."""
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def read_series(
    lines: Iterable[str], mapped: Mapped, source: str, name: str | None = None
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Fold the rows of a CSV text with a header into demand series.

    name: the workload, when the file has no column for it; the stem of source otherwise. Returns workloads
    ``[{name, demand: {resource: [slots numbers]}}]`` sorted by name, rounded to six decimals, and per workload the number of
    its series' slots that held no measurement and were filled, where that is above 0. Raises CsvError.
    """
    single = name or os.path.basename(source).split(".")[0]
    only_largest = mapped.aggregate == "max"
    measured: dict[str, list[list[list[float]]]] = {}
    for workload, slot, numbers in _rows(lines, mapped, source):
        named = single if workload is None else workload
        of_workload = measured.get(named)
        if of_workload is None:
            of_workload = measured[named] = [[[] for _ in range(mapped.slots)] for _ in mapped.resources]
        for number, series in zip(numbers, of_workload, strict=True):
            if number is None:
                continue
            values = series[slot]
            # Mean and percentile need every value; of a maximum one is enough, however long the file.
            if values and only_largest:
                values[0] = max(values[0], number)
            else:
                values.append(number)
    if not measured:
        raise CsvError(f"{source}: no rows, allowed at least one measurement")
    workloads, filled = [], {}
    for workload in sorted(measured):
        demand = {}
        filled[workload] = 0
        for resource, series in zip(mapped.resources, measured[workload], strict=True):
            folded = [_AGGREGATE[mapped.aggregate](values) if values else None for values in series]
            filled[workload] += folded.count(None)
            if folded.count(None) == mapped.slots:
                raise CsvError(
                    f"{source}: workload '{workload}': {' + '.join(resource.columns)}: no value in any row, "
                    f"allowed at least one for {resource.name}"
                )
            demand[resource.name] = [round(value, 6) for value in fill_gaps(folded)]
        workloads.append({"name": workload, "demand": demand})
    return workloads, {workload: count for workload, count in filled.items() if count}


def fill_gaps(series: Sequence[float | None]) -> list[float]:
    """Give each empty slot the larger of the nearest measured slots before and after it, around the circle.

    At least one slot must be measured.
    """
    before: list[float] = []
    last = next(value for value in reversed(series) if value is not None)
    for value in series:
        last = last if value is None else value
        before.append(last)
    after: list[float] = []
    last = next(value for value in series if value is not None)
    for value in reversed(series):
        last = last if value is None else value
        after.append(last)
    return [max(pair) for pair in zip(before, reversed(after), strict=True)]


def _rows(
    lines: Iterable[str], mapped: Mapped, source: str
) -> Iterator[tuple[str | None, int, list[float | None]]]:
    """Workload, slot and one number per resource of each row; None where a cell is empty: nothing was measured."""
    reader = csv.reader(lines, delimiter=mapped.delimiter)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        wanted = [mapped.time, *([mapped.workload] if mapped.workload else [])]
        wanted += [column for resource in mapped.resources for column in resource.columns]
        for column in wanted:
            if header.count(column) != 1:
                found = "is missing" if column not in header else "stands there twice"
                raise CsvError(f"{source}: line 1: column '{column}' {found}, allowed the columns {', '.join(header) or '(none)'}")
        time_index = header.index(mapped.time)
        name_index = header.index(mapped.workload) if mapped.workload else None
        places = [([header.index(column) for column in resource.columns], resource.scale) for resource in mapped.resources]
        for cells in reader:
            if len(cells) != len(header):
                if not cells or (len(cells) == 1 and not cells[0].strip()):
                    continue
                raise CsvError(
                    f"{source}: line {reader.line_num}: {len(cells)} cells, allowed {len(header)} as in the header, "
                    f"split at {mapped.delimiter!r}"
                )
            index = time_index
            try:
                seconds = _seconds(cells[index].strip(), mapped.time_unit)
                workload = None
                if name_index is not None:
                    index = name_index
                    workload = cells[index].strip()
                    if not workload:
                        raise _CellError("a name")
                numbers: list[float | None] = []
                for indexes, scale in places:
                    total: float | None = 0.0
                    for index in indexes:
                        number = _number(cells[index])
                        total = None if number is None or total is None else total + number
                    numbers.append(None if total is None else total * scale)
            except _CellError as error:
                raise CsvError(
                    f"{source}: line {reader.line_num}: column '{header[index]}': value {cells[index]!r}, allowed {error}"
                ) from None
            yield workload, seconds // mapped.slot_seconds % mapped.slots, numbers
    except csv.Error as error:
        raise CsvError(f"{source}: line {reader.line_num}: {error}") from error


class _CellError(ValueError):
    """A cell that cannot be used. The message is what is allowed."""


def _number(text: str) -> float | None:
    """A number of at least 0, or None for an empty cell."""
    try:
        value = float(text)
    except ValueError:
        if not text.strip():
            return None
        value = math.nan
    if not 0 <= value < math.inf:
        raise _CellError("a finite number of at least 0, or nothing")
    return value


def _seconds(text: str, unit: str) -> int:
    """Whole seconds since 1970 of a number in unit, or of an ISO 8601 time; one without a zone counts as UTC."""
    try:
        stamp = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise _CellError("a time as a number since 1970, or in ISO 8601") from None
        return math.floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if not math.isfinite(stamp):
        raise _CellError("a time as a number since 1970, or in ISO 8601")
    return math.floor(stamp / TIME_UNITS[unit])


def _percentile_95(values: Sequence[float]) -> float:
    """Nearest rank: the smallest value that at least 95 % of the values do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * 95 // 100) - 1]


_AGGREGATE: dict[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "mean": lambda values: math.fsum(values) / len(values),
    "p95": _percentile_95,
}
