# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The benchmark program on inputs of every kind, small enough to know the answer."""
from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.check import violations
from tests.benchmarks.generator import generate
from tests.benchmarks.packing import COLUMNS, main
from tests.benchmarks.readers import Options, ReadError, instances

VBP = "2\n10 10\n2\n6 1 2\n4 9 1\n"
ORLIB = "2\n one\n 10 3 2\n6\n4\n5\n two\n 10 2 2\n6\n6\n"
BITBRAINS_HEADER = (
    "Timestamp [ms]", "CPU cores", "CPU usage [MHZ]", "Memory usage [KB]", "Disk read throughput [KB/s]",
    "Disk write throughput [KB/s]", "Network received throughput [KB/s]", "Network transmitted throughput [KB/s]",
)
BITBRAINS = ";\t".join(BITBRAINS_HEADER) + """
1376438456;\t2;\t100.5;\t2048;\t1;\t2;\t3;\t4
1376438457;\t2;\t90;\t4096;\t1;\t1;\t3;\t4
"""
GANETI = """group-01|uuid-01|preferred||
other|uuid-02|preferred||

node1|1000|100|500|4096|4096|4|M|uuid-01|1000||N|0|1|1.0
node2|1000|100|500|4096|4096|4|Y|uuid-02|1000

vm1|200|1024|2|running|Y|node1||ext|svc:a,free|1
vm2|200|2048|3|running|Y|node2|node1|drbd|svc:a|1

htools:iextags:svc

|1024,1,0,0,1,1|128,1,0,0,0,0;131072,64,4194304,16,8,12|plain,ext,drbd|2.5|32.0
"""


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, str]]:
    assert main(argv) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert all(tuple(row) == COLUMNS for row in rows)
    return rows


def only(path: Path, **options: Any) -> dict[str, Any]:
    [(_, problem)] = instances(str(path), Options(**options))
    return problem


def test_every_kind_is_planned_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.vbp").write_text(VBP)
    (tmp_path / "b.json").write_text(json.dumps({
        "hosts": [{"name": "xen01", "capacity": {"cpu_cores": 2}}], "workloads": [{"name": "web01", "demand": {"cpu_cores": 1}}],
    }))
    with gzip.open(tmp_path / "binpack9.txt.gz", "wt") as packed:
        packed.write(ORLIB)
    out = tmp_path / "plans"
    rows = run(capsys, str(tmp_path), "--out", str(out), "--effort", "quick")
    told = {row["instance"]: (row["workloads"], row["hosts_used"], row["hosts_bound"], row["status"]) for row in rows}
    assert told == {
        "a": ("3", "2", "2", "optimal"), "b": ("1", "1", "1", "optimal"),
        "one": ("3", "2", "2", "optimal"), "two": ("2", "2", "2", "optimal"),
    }
    assert sorted(path.name for path in out.iterdir()) == ["a.json", "b.json", "one.json", "two.json"]
    assert json.loads((out / "b.json").read_text())["placement"] == {"web01": "xen01"}


def test_archive_limit_and_shuffle(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:
        for name in ("z.vbp", "y.vbp"):
            member = tarfile.TarInfo(f"set/{name}")
            member.size = len(VBP)
            archive.addfile(member, io.BytesIO(VBP.encode()))
    found = list(instances(str(tmp_path / "set.tar.gz"), Options()))
    assert [name for name, _ in found] == ["y", "z"]
    first = [workload["demand"]["size1"] for workload in found[0][1]["workloads"]]
    assert first == [6, 6, 4]
    orders = set()
    for seed in range(20):
        shuffled = next(instances(str(tmp_path / "set.tar.gz"), Options(shuffle=seed)))[1]["workloads"]
        orders.add(tuple(workload["demand"]["size1"] for workload in shuffled))
    assert orders == {(6, 6, 4), (6, 4, 6), (4, 6, 6)}


def test_limit_counts_instances_of_a_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "binpack1.txt").write_text(ORLIB)
    assert [row["instance"] for row in run(capsys, str(tmp_path / "binpack1.txt"), "--limit", "1")] == ["one"]


def test_sizes_below_zero_count_as_zero_and_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.vbp").write_text("1\n10\n1\n-2 3\n")
    assert [workload["demand"] for workload in only(tmp_path / "odd.vbp")["workloads"]] == [{"size1": 0}] * 3
    assert capsys.readouterr().err == "odd: 1 sizes below 0 count as 0\n"


def test_ganeti(tmp_path: Path) -> None:
    (tmp_path / "cluster.data").write_text(GANETI)
    problem = only(tmp_path / "cluster.data")
    assert problem == {
        "hosts": [
            {"name": "node1", "pool": "group-01", "state": "active",
             "capacity": {"memory_mib": 900, "vcpus": 3, "disk_gib": 4}},
            {"name": "node2", "pool": "other", "state": "drain", "capacity": {"memory_mib": 900, "vcpus": 4, "disk_gib": 4}},
        ],
        "workloads": [
            {"name": "vm1", "demand": {"memory_mib": 200, "vcpus": 2}, "current": "node1", "storage": "shared", "move_cost": 200},
            {"name": "vm2", "demand": {"memory_mib": 200, "vcpus": 3, "disk_gib": 2}, "current": "node2", "storage": "replicated",
             "move_cost": 200, "replica": "node1"},
        ],
        "rules": [{"rule": "anti_affinity", "workloads": ["vm1", "vm2"]}],
        "policy": {"overcommit": {"vcpus": 2.5}},
    }


def test_planetlab_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, series in (("vm_a", "90\n10\n"), ("vm_b", "10\n90\n"), ("vm_c", "95\n95\n")):
        (tmp_path / name).write_text(series)
    [row] = run(capsys, str(tmp_path), "--host-capacity", "100")
    assert (row["workloads"], row["hosts_used"], row["hosts_bound"]) == ("3", "2", "2")


def test_bitbrains_counts_the_larger_of_a_slot(tmp_path: Path) -> None:
    (tmp_path / "7.csv").write_text(BITBRAINS)
    problem = only(tmp_path / "7.csv", host=(2, 100, 1))
    [workload] = problem["workloads"]
    assert workload["name"] == "7"
    assert {name: (len(series), set(series)) for name, series in workload["demand"].items()} == {
        "cpu_mhz": (288, {100.5}), "memory_mib": (288, {4}), "disk_kbps": (288, {3}), "network_kbps": (288, {7}),
    }
    assert problem["hosts"][0]["capacity"] == {
        "cpu_mhz": 200, "memory_mib": 1024, "disk_kbps": 1_000_000, "network_kbps": 1_250_000,
    }


def test_generated_estate_is_repeatable_and_its_plan_keeps_its_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(12, 100, 1) == generate(12, 100, 1) != generate(12, 100, 2)
    problem = generate(12, 100, 42)
    assert len(problem["rules"]) == 2
    assert sum("current" in workload for workload in problem["workloads"]) > 90
    [row] = run(capsys, "--generate", "12x100", "--out", str(tmp_path), "--effort", "quick")
    plan = json.loads((tmp_path / "generated-12x100-42.json").read_text())
    assert row["status"] == plan["status"] != "infeasible"
    assert int(row["hosts_bound"]) <= int(row["hosts_used"]) < 12
    assert violations(problem, plan) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.vbp", "2\n10 10\n3\n6 1 2\n", "a: 2 capacities and 1 lines, its head names 2 and 3"),
        ("a.vbp", "2\n", "a.vbp: does not have the form that its name promises: list index out of range"),
        ("binpack1.txt", "1\nu\n10 3 2\n6\n", "u: 1 sizes, its head names 3"),
        ("a.data", "x\n", "a.data: line 1: group 'x': 1 fields, allowed at least 3: name|uuid|policy|tags|networks; text: section 2"),
        ("a.json", "{", "a.json: does not have the form that its name promises"),
        ("trace", "12\nx\n", "trace: not a PlanetLab trace (one number per line)"),
        ("trace", "", "trace: an empty trace"),
        ("a.csv", "x;y\n", "a.csv: line 1: column 'Timestamp [ms]' is missing"),
    ],
)
def test_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    assert main([str(tmp_path / name)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"packing.py: {message}")
    assert told.count("\n") == 1


def test_a_missing_file_and_an_unsound_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ReadError, match="No such file"):
        next(instances(str(tmp_path / "none.vbp"), Options()))
    (tmp_path / "p.json").write_text(json.dumps({"hosts": [{"name": "xen01", "capacity": {"cpu_cores": -1}}], "workloads": []}))
    assert main([str(tmp_path / "p.json")]) == 1
    assert "capacity.cpu_cores: value -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [[], ["--generate", "0x5"], ["x", "--host", "48,768"], ["x", "--limit", "0"], ["x", "--host-capacity", "-4"], ["x", "--effort", "no"]],
)
def test_bad_command_lines(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err
