# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bars on a folder of tiny data, with bars of their own."""
from __future__ import annotations

import dataclasses
import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import bars
from tests.benchmarks.bars import BARS, KINDS, RELATIONS, Measured, Row
from tests.benchmarks.readers import ReadError
from tests.unit.benchmarks.test_packing import BITBRAINS, GANETI, ORLIB

ROOT = Path(__file__).parents[3]
VECTOR = ("vector/Tiny.tar.gz", "vector/Tiny_known.tsv")
KNOWN = """instance_name\tLB\tOPT\tbest_overall\tbest_IC
a_3_2_0\t2\t2\t3\t3
b_3_2_0\t2\t2\t2\t2
unknown_3_2_0\t2\t-1\t2\t2
large_500_2_0\t2\t2\t2\t2
"""
GENERATOR = f"""import sys
nodes, instances, seed, prefix = sys.argv[1:]
assert (nodes, instances, seed) == ("2", "2", "42"), "no such cluster"
open(prefix + ".data", "w").write({GANETI.replace("4|Y|", "4|N|").replace("svc:a", "free")!r})
"""
ROWS = (
    Row("vector", "vector", VECTOR, (), ("ratio <= 1", "below_optimum = 0", "above_published <= 0"), ("slowest_s < 10",)),
    Row("listed", "listed", ("packing1d/binpack1.txt",), (2, 2), ("not_optimal = 0", "unproven = 0"), ()),
    Row("cluster", "cluster", ("ganeti/gen.py",), (2, 2, 42), ("hosts <= 2", "moved_gib <= 1", "unproven <= 1"), ("hosts <= 0",)),
    Row("tradeoff", "tradeoff", ("ganeti/gen.py",), (2, 2, 42), ("moves_on_2 = 0", "more_s <= 10"), ()),
    Row("planetlab", "traces", ("planetlab/day.tar.gz",), ("--host-capacity", "100"), ("hosts <= 2",), ()),
    Row("bitbrains", "traces", ("bitbrains/day.csv.gz",), ("--host", "2x100,1"), ("above_bound <= 0",), ()),
    Row("generated", "generated", (), (8, 50), ("gap_percent <= 20", "peak_mib <= 4096"), ()),
    Row("ordering", "ordering", (), (8, 60, 20, 42), ("moves = 20", "stuck = 0", "cpu_s <= 5"), ()),
)
BY_NAME = {row.name: row for row in ROWS}


def packed(path: Path, members: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder; rows are measured in this process, which is quicker."""
    for name in ("vector", "packing1d", "ganeti", "planetlab", "bitbrains"):
        (tmp_path / name).mkdir()
    names = ("a_3_2_0", "b_3_2_0", "unknown_3_2_0", "large_500_2_0")
    packed(tmp_path / VECTOR[0], {f"Tiny/{name}.vbp": "2\n10 10\n2\n6 1 2\n4 9 1\n" for name in names})
    (tmp_path / VECTOR[1]).write_text(KNOWN)
    (tmp_path / "packing1d/binpack1.txt").write_text(ORLIB)
    (tmp_path / "ganeti/gen.py").write_text(GENERATOR)
    packed(tmp_path / "planetlab/day.tar.gz", {"day/vm_a": "90\n10\n", "day/vm_b": "10\n90\n", "day/vm_c": "95\n95\n"})
    (tmp_path / "bitbrains/day.csv.gz").write_bytes(gzip.compress(BITBRAINS.encode()))
    monkeypatch.setattr(bars, "BARS", ROWS)
    monkeypatch.setattr(bars, "_in_child", bars.measure)
    return tmp_path


def table(text: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == ["name", "instances", "result", "must", "reach", "met"]
    return {line[0]: line for line in lines[2:]}


def test_every_kind_meets_its_bars(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bars.main([str(data), "--json", str(data / "out.json")]) == 0
    told = capsys.readouterr()
    rows = table(told.out)
    assert {name: row[-1] for name, row in rows.items()} == {row.name: "yes" if row.name == "cluster" else "reached" for row in ROWS}
    assert rows["listed"] == ["listed", "2", "not_optimal 0, unproven 0", "not_optimal = 0, unproven = 0", "", "reached"]
    assert "a_3_2_0: 2 hosts, optimum 2" in told.err
    written = json.loads((data / "out.json").read_text())
    assert written["every"] == 1
    assert [row["met"] for row in written["rows"]] == [row[-1] for row in rows.values()]
    figures = written["rows"][0]["figures"]
    assert (figures["hosts"], figures["optimum"], figures["published"], figures["above_published"]) == (4, 4, 5, -1)


def test_a_row_has_a_process_of_its_own(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(bars, "BARS", ROWS)
    assert bars.main([str(data), "--only", "listed"]) == 0
    (data / "packing1d/binpack1.txt").write_text("1\nu\n10 3 2\n6\n")
    assert bars.main([str(data), "--only", "listed"]) == 2
    told = capsys.readouterr()
    assert list(table(told.out.splitlines(keepends=True)[0] * 2 + told.out.splitlines()[2])) == ["listed"]
    assert told.err.endswith(f"bars.py: {data}/packing1d/binpack1.txt: u: 1 sizes, its head names 3\n")


def test_a_quick_look_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bars.main([str(data), "--only", "vector", "bitbrains", "--every", "2"]) == 0
    out = capsys.readouterr().out
    assert {name: row[1] for name, row in table(out).items()} == {"vector": "1 of 2", "bitbrains": "1"}
    assert out.endswith("\nRows of many instances: every 2-th only, a quick look.\n")


@pytest.mark.parametrize(
    ("name", "bar"),
    [("listed", "not_optimal < 0"), ("cluster", "hosts <= 0"), ("tradeoff", "moves_on_7 = 0"), ("generated", "cpu_s < 0")],
)
def test_a_missed_bar(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, bar: str) -> None:
    row = BY_NAME[name]
    monkeypatch.setattr(bars, "BARS", (dataclasses.replace(row, must=(*row.must, bar)),))
    assert bars.main([str(data)]) == 1
    assert table(capsys.readouterr().out)[name][-1] == "no"


@pytest.mark.parametrize("name", ["listed", "planetlab"])
def test_a_plan_that_breaks_a_promise_fails_its_row(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    planned = bars.packing.planned

    def spoilt(problem: dict[str, Any], options: Any) -> Any:
        plan, *rest = planned(problem, options)
        plan["placement"] = dict.fromkeys(plan["placement"], "host00000")
        return (plan, *rest)

    monkeypatch.setattr(bars.packing, "planned", spoilt)
    assert bars.main([str(data), "--only", name]) == 1
    row = table(capsys.readouterr().out)[name]
    assert row[-1] == "no"
    assert "violation: " in row[2]
    assert "host00000: " in row[2]


def test_the_exact_verifier_has_a_say(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bars.verifier, "violations", lambda problem, plan: ["wrong | told"])
    assert bars.main([str(data), "--only", "listed"]) == 1
    assert table(capsys.readouterr().out)["listed"][2].endswith("violation: one: wrong / told")
    monkeypatch.setattr(bars, "EXACT_NUMBERS", 0)
    assert bars.main([str(data), "--only", "listed"]) == 0


def test_moves_without_an_order_fail_their_row() -> None:
    measured = Measured(figures={"moves": 19, "stuck": 1, "cpu_s": 0.1})
    assert bars.verdict(BY_NAME["ordering"], measured) == "no"


def test_the_tight_estate_is_repeatable() -> None:
    first, second = bars.tight_estate(8, 60, 20, 42), bars.tight_estate(8, 60, 20, 42)
    assert first == second
    problem, placement = first
    assert sum(placement[workload["name"]] != workload["current"] for workload in problem["workloads"]) == 20


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("vector", VECTOR[0], None, "{dir}/vector/Tiny.tar.gz: No such file or directory"),
        ("vector", VECTOR[0], "x", "{dir}/vector/Tiny.tar.gz: file could not be opened successfully:"),
        ("vector", VECTOR[1], "a\tb\n1\t2\n", "{dir}/vector/Tiny_known.tsv: not a table of instance_name (CLASS_ITEMS_...), OPT and"),
        ("vector", VECTOR[1], KNOWN + "c_3_2_0\t2\t2\t2\t2\n", "{dir}/vector/Tiny.tar.gz: 2 of the 3 instances with a known optimum"),
        ("listed", "packing1d/binpack1.txt", "0\n", "{dir}/packing1d/binpack1.txt: 0 instances, allowed 2"),
        ("cluster", "ganeti/gen.py", "raise SystemExit('no room')", "{dir}/ganeti/gen.py 2 2 42 PREFIX: exit code 1: no room"),
        ("cluster", "ganeti/gen.py", "pass", "{dir}/ganeti/gen.py 2 2 42 PREFIX: exit code 0: it wrote no .data file"),
        ("bitbrains", "bitbrains/day.csv.gz", "x", "{dir}/bitbrains/day.csv.gz: Not a gzipped file"),
    ],
)
def test_data_that_cannot_be_used(
    data: Path, capsys: pytest.CaptureFixture[str], name: str, file: str, content: str | None, message: str
) -> None:
    (data / file).unlink()
    if content is not None:
        (data / file).write_text(content)
    assert bars.main([str(data), "--only", name]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("bars.py: " + message.format(dir=data))


def test_no_such_folder_and_no_place_for_the_figures(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bars.main([str(data / "none")]) == 2
    assert capsys.readouterr().err == f"bars.py: DIR: value '{data}/none', allowed a folder laid out as docs/benchmarks.md tells\n"
    assert bars.main([str(data), "--json", str(data / "none/out.json")]) == 2
    assert capsys.readouterr().err == f"bars.py: {data}/none/out.json: No such file or directory\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: DIR"),
        (["x", "--only", "u121"], "--only: value 'u121', allowed vector, listed, cluster"),
        (["x", "--every", "0"], "value '0', allowed a whole number of at least 1"),
    ],
)
def test_bad_command_lines(data: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        bars.main(argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_row_whose_process_ends_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def submit(self, *_: Any) -> Any:
            raise bars.BrokenProcessPool

        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: Any) -> None:
            pass

    monkeypatch.setattr(bars, "ProcessPoolExecutor", lambda *_, **__: Broken())
    assert bars.verdict(ROWS[0], bars._in_child(ROWS[0], "x", 1)) == "no"


@pytest.mark.parametrize("row", BARS, ids=lambda row: row.name)
def test_the_bars_can_be_read(row: Row) -> None:
    assert row.kind in KINDS
    for bar in row.must + row.reach:
        _, relation, limit = bar.split()
        assert relation in RELATIONS
        assert float(limit) >= 0


def test_make_bench_asks_for_the_data() -> None:
    for argv in (["make", "bench"], ["make", "bench", "BENCH=/none"]):
        ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 2
        assert "allowed the folder of the data (docs/benchmarks.md): make bench BENCH=/path/to/data" in ran.stdout
    assert "make bench " in subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_unreadable_member_names_the_archive(data: Path) -> None:
    packed(data / "planetlab/day.tar.gz", {"day/vm_a": "x\n"})
    with pytest.raises(ReadError, match=r"planetlab/day\.tar\.gz: vm_a: not a PlanetLab trace"):
        bars.measure(BY_NAME["planetlab"], str(data), 1)
