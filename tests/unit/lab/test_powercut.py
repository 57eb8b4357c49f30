# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host without a system in a real QEMU, whose writes come from QEMU's monitor."""
from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import faults, images, powercut, process, qemu, state
from lab.errors import LabError
from lab.requirements import find_program
from lab.spec import Spec
from lab.state import Lab
from lab.writelog import Entry, HoleError, flushed, read_log

HOST = "xen01"
BLOCK = 4096
pytestmark = pytest.mark.skipif(
    find_program("qemu-io") is None or find_program("qemu-system-x86_64") is None, reason="QEMU is not installed"
)


@pytest.fixture(name="logged")
def _logged(labs_folder: Path) -> Iterator[Lab]:
    """A lab of one host, made and not started: an empty root disk, bay 1 with a disk, bay 2 free."""
    lab = state.new_lab("t", Spec(kind="plain", hosts=1, data_disks=2, memory_mib=1536, log_writes=True), "tcg", "none")
    lab.write_disks(HOST, lab.disks(HOST)[:1])
    for file in qemu.image_files(lab.disks(HOST)):
        images.create_empty(lab.host_folder(HOST) / file, 1)
    yield lab
    process.kill_host(lab, HOST)


def start(lab: Lab, loadvm: str | None = None) -> None:
    process.start(lab, lab.machine(HOST), loadvm)
    with process.monitor(lab, HOST) as qmp:
        # Stopping flushes all disks, so it is done once, before anything is written.
        qmp.execute("stop")


def tell(lab: Lab, drive: str, *commands: str) -> None:
    with process.monitor(lab, HOST) as qmp:
        for command in commands:
            qmp.monitor(f'qemu-io {drive} "{command}"')


def content(image: Path, offset: int, count: int) -> bytes:
    """What the guest would read."""
    raw = image.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True, timeout=60)
    with raw.open("rb") as stream:
        stream.seek(offset)
        return stream.read(count)


def checked(image: Path) -> None:
    done = subprocess.run(["qemu-img", "check", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True)
    # 3: space is lost, which is all that a cut may do to the tables.
    assert done.returncode in (0, 3), done.stdout


def test_a_cut_loses_what_was_not_flushed_on_every_disk(logged: Lab) -> None:
    start(logged)
    faults.insert_disk(logged, HOST, 2, None)
    for drive in ("root", "d1", "d2r1"):
        tell(logged, drive, "write -P 1 0 64k", "flush", "write -P 2 0 4k", "write -P 3 1M 4k")
    powercut.lose_unflushed(logged, HOST)
    assert not process.alive(logged, HOST)
    for file in ("root.qcow2", "disk1.qcow2", "disk2-1.qcow2"):
        image = logged.host_folder(HOST) / file
        checked(image)
        assert content(image, 0, 65536) == b"\1" * 65536
        assert content(image, 2**20, BLOCK) == bytes(BLOCK)


def test_a_second_cut_starts_from_what_the_first_left(logged: Lab) -> None:
    for number in (1, 2):
        start(logged)
        tell(logged, "d1", f"write -P {number} {number}M 4k", "flush", "write -P 9 8M 4k")
        powercut.lose_unflushed(logged, HOST)
    image = logged.host_folder(HOST) / "disk1.qcow2"
    assert content(image, 2**20, BLOCK) == b"\1" * BLOCK
    assert content(image, 2**21, BLOCK) == b"\2" * BLOCK
    assert content(image, 2**23, BLOCK) == bytes(BLOCK)


def test_a_saved_state_outlives_the_cut(logged: Lab) -> None:
    start(logged)
    tell(logged, "d1", "write -P 1 0 64k", "flush")
    with process.monitor(logged, HOST) as qmp:
        assert qmp.monitor("savevm bare") == ""
    tell(logged, "d1", "write -P 2 0 4k", "flush", "write -P 3 4k 4k")
    powercut.lose_unflushed(logged, HOST)
    image = logged.host_folder(HOST) / "disk1.qcow2"
    checked(image)
    assert content(image, 0, 3 * BLOCK) == b"\2" * BLOCK + b"\1" * 2 * BLOCK
    start(logged, "bare")
    powercut.lose_unflushed(logged, HOST)
    assert content(image, 0, 3 * BLOCK) == b"\1" * 3 * BLOCK


def test_a_host_that_is_off_stays_as_it_is(logged: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    powercut.lose_unflushed(logged, HOST)
    start(logged)
    tell(logged, "d1", "write -P 1 0 4k", "flush")
    powercut.lose_unflushed(logged, HOST)
    powercut.lose_unflushed(logged, HOST)
    assert content(logged.host_folder(HOST) / "disk1.qcow2", 0, BLOCK) == b"\1" * BLOCK
    said = capsys.readouterr().err
    assert said.count("was off already") == 2 and "0 writes lost" in said


def test_a_cut_without_the_option_loses_nothing(logged: Lab) -> None:
    start(logged)
    tell(logged, "d1", "write -P 1 0 64k", "flush", "write -P 2 0 4k")
    faults.power_off(logged, HOST)
    assert content(logged.host_folder(HOST) / "disk1.qcow2", 0, BLOCK) == b"\2" * BLOCK


def test_a_hole_in_a_log_is_waited_for_while_the_host_runs(logged: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    start(logged)
    asked: list[bool] = []

    def once(path: Path) -> list[Entry]:
        asked.append(process.alive(logged, HOST))
        if len(asked) < 3:
            raise HoleError("a hole")
        return read_log(path)

    monkeypatch.setattr(powercut, "read_log", once)
    powercut.lose_unflushed(logged, HOST)
    assert len(asked) == 4 and all(asked)


def test_a_log_that_cannot_be_read_leaves_the_host_running(logged: Lab) -> None:
    start(logged)
    (logged.host_folder(HOST) / "writes" / "disk1.qcow2.log").write_bytes(b"x" * 512)
    with pytest.raises(LabError, match="no log of writes"):
        powercut.lose_unflushed(logged, HOST)
    tell(logged, "d1", "flush")
    assert process.alive(logged, HOST)


def overwritten(folder: Path, blocks: int) -> list[Entry]:
    """An image whose blocks were flushed as 1 and overwritten as 2 without a flush; its copy is that from before."""
    images.create_empty(folder / "disk.qcow2", 1)
    images.begin_logs(folder, ["disk.qcow2"])
    options = "driver=qcow2,file.driver=blklogwrites,file.file.driver=file,file.file.filename=disk.qcow2"
    options += ",file.log.driver=file,file.log.filename=writes/disk.qcow2.log"
    commands = [f"write -P 1 0 {blocks * BLOCK}", "flush", *(f"write -P 2 {number * BLOCK} 4k" for number in range(blocks)), "sigraise 9"]
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-t", "writeback", "--image-opts", options, *words], cwd=folder, stdout=subprocess.DEVNULL, timeout=60)
    return read_log(folder / qemu.log_file("disk.qcow2"))


def test_with_a_seed_each_write_after_the_last_flush_is_kept_or_not(tmp_path: Path) -> None:
    blocks = 40
    entries = overwritten(tmp_path, blocks)
    image = tmp_path / "writes" / "disk.qcow2"
    before = image.read_bytes()
    seen = {}
    for seed in (None, 1, 1, 2):
        image.write_bytes(before)
        lost = powercut.take_back(tmp_path, "disk.qcow2", entries, seed)
        checked(image)
        data = content(image, 0, blocks * BLOCK)
        found = [data[number * BLOCK : (number + 1) * BLOCK] for number in range(blocks)]
        assert all(block in (b"\1" * BLOCK, b"\2" * BLOCK) for block in found)
        assert found.count(b"\1" * BLOCK) == lost
        assert seen.setdefault(seed, found) == found
    assert seen[None].count(b"\1" * BLOCK) == blocks
    assert 5 < seen[1].count(b"\2" * BLOCK) < blocks - 5
    assert seen[1] != seen[2]


def test_chance_has_no_hand_in_the_tables_of_the_image(tmp_path: Path) -> None:
    entries = overwritten(tmp_path, 1)
    image = tmp_path / "writes" / "disk.qcow2"
    powercut.take_back(tmp_path, "disk.qcow2", entries, None)
    whole = image.read_bytes()
    ranges = powercut.table_ranges(image)
    # The header, the two first levels, one table of each second level.
    assert len(ranges) == 5 and len({start for start, _ in ranges}) == 5
    data_at = entries[-1].offset
    assert not any(start <= data_at < end for start, end in ranges)
    spoiling = [Entry(start, 512, 0, entries[-1].data_at) for start, _ in ranges]
    for seed in range(12):
        assert powercut.take_back(tmp_path, "disk.qcow2", entries[: flushed(entries)] + spoiling, seed) == 5
    assert image.read_bytes() == whole
