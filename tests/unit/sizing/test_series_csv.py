# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.series_csv import (
    CsvError,
    fill_gaps,
    mapping_of,
    read_path,
    read_series,
)
from hypothesis import given
from hypothesis import strategies as st

COLUMNS: dict[str, Any] = {
    "workload": "server",
    "time": "at",
    "resources": {"cpu_cores": {"column": "cpu %", "scale": 0.01}, "network_mbps": ["in", "out"]},
}
TEXT = """server;at ; cpu %;in;out
web01;0;50;1;2
db01;3600;10;0;0.5
web01;3599;75;1;1
web01;3600;20;;4
web01;86400;60;3;3
"""


def read(text: str, columns: Any = None, **options: Any) -> tuple[list[dict[str, Any]], dict[str, int]]:
    options = {"delimiter": ";", "slots": 3, **options}
    return read_series(text.splitlines(keepends=True), mapping_of(columns or COLUMNS, **options), "some/day.csv.gz", "lone")


def test_measurements_fold_into_slots() -> None:
    workloads, filled = read(TEXT)
    # The empty cell of 3600 leaves no sum for network, so slots 1 and 2 take their neighbours.
    assert workloads == [
        {"name": "db01", "demand": {"cpu_cores": [0.1, 0.1, 0.1], "network_mbps": [0.5, 0.5, 0.5]}},
        {"name": "web01", "demand": {"cpu_cores": [0.75, 0.2, 0.75], "network_mbps": [6, 6, 6]}},
    ]
    assert filled == {"db01": 4, "web01": 3}


@pytest.mark.parametrize(("aggregate", "expected"), [("max", 75), ("mean", pytest.approx(185 / 3)), ("p95", 75)])
def test_aggregates(aggregate: str, expected: Any) -> None:
    workloads, _ = read(TEXT, {**COLUMNS, "resources": {"cpu": "cpu %"}}, aggregate=aggregate)
    assert workloads[1]["demand"]["cpu"][0] == expected


def test_p95_is_the_nearest_rank() -> None:
    text = "at,x\n" + "".join(f"{second},{second}\n" for second in range(1, 101))
    workloads, _ = read(text, {"time": "at", "resources": {"x": "x"}}, delimiter=",", slots=1, aggregate="p95")
    assert workloads == [{"name": "lone", "demand": {"x": [95]}}]


def test_times_in_iso_and_milliseconds_mean_the_same() -> None:
    columns = {"time": "at", "resources": {"x": "x"}}
    iso = "at,x\n1970-01-01T00:00:00,1\n1970-01-01T01:30:00Z,2\n1970-01-01T04:00:00+02:00,3\n"
    number = "at,x\n0,1\n5400000,2\n7200000,3\n"
    assert read(iso, columns, delimiter=",")[0] == read(number, columns, delimiter=",", time_unit="ms")[0]
    assert read(iso, columns, delimiter=",")[0][0]["demand"]["x"] == [1, 2, 3]


def test_files_plain_packed_and_with_byte_order_mark(tmp_path: Path) -> None:
    mapped = mapping_of({"time": "at", "resources": {"x": "x"}}, slots=1)
    (tmp_path / "web01.example.csv").write_text("at,x\n0,7\n", encoding="utf-8-sig")
    with gzip.open(tmp_path / "web01.csv.gz", "wt", encoding="utf-8") as packed:
        packed.write("at,x\n0,7\n")
    plain = read_path(str(tmp_path / "web01.example.csv"), mapped)
    assert plain == read_path(str(tmp_path / "web01.csv.gz"), mapped) == ([{"name": "web01", "demand": {"x": [7]}}], {})


def test_a_file_that_is_not_gzip(tmp_path: Path) -> None:
    path = tmp_path / "day.csv.gz"
    path.write_text("at,x\n0,7\n")
    with pytest.raises(CsvError, match=r"day\.csv\.gz: not a readable UTF-8 text, plain or gzip"):
        read_path(str(path), mapping_of({"time": "at", "resources": {"x": "x"}}))


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), min_size=1).filter(lambda series: any(x is not None for x in series)))
def test_gaps_take_the_larger_neighbour(series: list[float | None]) -> None:
    filled = fill_gaps(series)
    assert len(filled) == len(series)
    for slot, value in enumerate(series):
        turned = [*series[slot:], *series[:slot]]
        following = next(x for x in turned if x is not None)
        preceding = next(x for x in [turned[0], *reversed(turned)] if x is not None)
        assert filled[slot] == (value if value is not None else max(following, preceding))


HEADER = "server;at;cpu %;in;out\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "some/day.csv.gz: line 1: column 'at' is missing, allowed the columns (none)"),
        (HEADER, "some/day.csv.gz: no rows, allowed at least one measurement"),
        (HEADER.replace("cpu %", "cpu"),
         "some/day.csv.gz: line 1: column 'cpu %' is missing, allowed the columns server, at, cpu, in, out"),
        (HEADER.replace("out", "in"),
         "some/day.csv.gz: line 1: column 'in' stands there twice, allowed the columns server, at, cpu %, in, in"),
        (HEADER + "web01;0;1;1\n",
         "some/day.csv.gz: line 2: 4 cells, allowed 5 as in the header, split at ';'"),
        (HEADER + "web01;0;-1;1;1\n",
         "some/day.csv.gz: line 2: column 'cpu %': value '-1', allowed a finite number of at least 0, or nothing"),
        (HEADER + "\nweb01;0;1;1;nan\n",
         "some/day.csv.gz: line 3: column 'out': value 'nan', allowed a finite number of at least 0, or nothing"),
        (HEADER + "web01;0;many;1;1\n",
         "some/day.csv.gz: line 2: column 'cpu %': value 'many', allowed a finite number of at least 0, or nothing"),
        (HEADER + "web01;noon;1;1;1\n",
         "some/day.csv.gz: line 2: column 'at': value 'noon', allowed a time as a number since 1970, or in ISO 8601"),
        (HEADER + "web01;inf;1;1;1\n",
         "some/day.csv.gz: line 2: column 'at': value 'inf', allowed a time as a number since 1970, or in ISO 8601"),
        (HEADER + " ;0;1;1;1\n", "some/day.csv.gz: line 2: column 'server': value ' ', allowed a name"),
        (HEADER + "web01;0;;1;1\n",
         "some/day.csv.gz: workload 'web01': cpu %: no value in any row, allowed at least one for cpu_cores"),
        (HEADER + "web01;0;1;;1\n",
         "some/day.csv.gz: workload 'web01': in + out: no value in any row, allowed at least one for network_mbps"),
    ],
)
def test_bad_files(text: str, message: str) -> None:
    with pytest.raises(CsvError) as caught:
        read(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ([], {}, "columns: value [], allowed a mapping with workload, time, resources"),
        ({**COLUMNS, "when": "at"}, {}, "columns: unknown key 'when': value 'at', allowed workload, time, resources"),
        ({"resources": {"x": "x"}}, {}, "columns: time: value None, allowed the name of a column"),
        ({"time": "at"}, {}, "columns: resources: value None, allowed a mapping of at least one resource to its column"),
        ({"time": "at", "resources": {"x": []}}, {}, "columns: resources.x: value [], allowed at least one column"),
        ({"time": "at", "resources": {"x": 3}}, {}, "columns: resources.x: value 3, allowed the name of a column"),
        ({"time": "at", "resources": {"x": {"column": "a", "factor": 2}}}, {},
         "columns: resources.x: unknown key 'factor': value 2, allowed column, columns, scale"),
        ({"time": "at", "resources": {"x": {"column": "a", "scale": 0}}}, {},
         "columns: resources.x.scale: value 0, allowed a finite number above 0"),
        ({"time": "at", "resources": {"x": {"scale": 2}}}, {},
         "columns: resources.x: value {'scale': 2}, allowed either column or columns"),
        (COLUMNS, {"delimiter": "::"}, "delimiter: value '::', allowed one character"),
        (COLUMNS, {"aggregate": "median"}, "aggregate: value 'median', allowed max, mean, p95"),
        (COLUMNS, {"time_unit": "h"}, "time_unit: value 'h', allowed s, ms"),
        (COLUMNS, {"slots": 0}, "slots: value 0, allowed a whole number from 1 to 100000"),
        (COLUMNS, {"slot_seconds": 0}, "slot_seconds: value 0, allowed a whole number of at least 1"),
    ],
)
def test_bad_mappings(columns: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CsvError) as caught:
        mapping_of(columns, **options)
    assert str(caught.value) == message
