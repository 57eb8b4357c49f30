# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lab import accel, hub
from lab.cli import main, parser
from lab.console import plain_text, run, tail
from lab.errors import LabError
from lab.state import Lab


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "A b", "status"], "--name 'A b': allowed: lower-case"),
        (["--name", "none", "status"], "lab none does not exist"),
        (["--name", "none", "save", "bare"], "lab none does not exist"),
        (["--name", "t", "console", "xen09", "--lines", "3"], "xen09: no such host"),
        (["--name", "t", "console", "xen01", "--lines", "0"], "--lines 0: allowed: 1 and more"),
        (["--name", "t", "up", "--hosts", "0"], "--hosts 0: allowed: 1 to 8"),
        (["--name", "t", "restore", "gone"], "restore gone: no such snapshot in lab t; there are: none"),
        (["--name", "t", "save", "x;y"], "snapshot 'x;y': allowed"),
        (["--name", "t", "save", "bare"], "save bare: xen01, xen02 not running"),
        (["--name", "t", "pull-disk", "xen01", "7"], "disk 7: this lab has disks 1 to 4"),
        (["--name", "t", "pull-disk", "xen01", "1"], "xen01: not running; run: python3 -m lab --name t power-on xen01"),
        (["--name", "t", "insert-disk", "xen01", "1"], "a disk is in that bay"),
        (["--name", "t", "plug-disk", "xen01", "--serial", "NEW"], "all of its 4 bays hold a disk; run: pull-disk xen01 DISK"),
        (["--name", "t", "plug-disk", "xen09", "--serial", "NEW"], "xen09: no such host"),
        (["--name", "t", "unplug-nic", "xen01", "eth7"], "eth7: xen01 has eth0, eth1, eth2"),
        (["--name", "t", "cut-network", "xen03"], "xen03: no such host"),
        (
            ["--name", "t", "power-off", "xen01", "--lose-unflushed"],
            "lab t does not log what is written to its disks; such a lab is made by: python3 -m lab --name t up --log-writes",
        ),
        (["--name", "t", "power-on", "xen01", "--without", "bmi2,+x"], "--without +x: allowed: the name of a CPU feature as QEMU has it"),
        (["--name", "t", "power-off", "xen01", "--seed", "3"], "power-off xen01 --seed 3: allowed with --lose-unflushed only"),
    ],
)
def test_a_mistake_ends_in_one_message(
    lab: Lab, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("lab: ") and message in error
    assert "Traceback" not in error


def test_an_unknown_kind_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["up", "--kind", "fancy"])
    assert caught.value.code == 2
    assert "fancy" in capsys.readouterr().err


def test_the_environment_names_the_release(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XENFOLD_LAB_RELEASE", "trixie")
    assert parser().parse_args(["up"]).release == "trixie"
    assert parser().parse_args(["image", "xen", "--release", "bookworm"]).release == "bookworm"
    monkeypatch.setenv("XENFOLD_LAB_RELEASE", "potato")
    for words in (["up"], ["image", "xen"]):
        assert main(words) == 1
        assert "--release potato" in capsys.readouterr().err


def test_status_is_plain_data(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--name", "t", "status", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [host["state"] for host in record["hosts"]] == ["off", "off"]
    assert record["hosts"][1]["ssh_port"] == lab.ssh_ports["xen02"]
    assert record["spec"]["data_disks"] == 4
    assert main(["--name", "t", "status"]) == 0
    assert "xen01: off" in capsys.readouterr().out


def test_all_labs_of_a_checkout_go_down(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    (lab.folder.parent / "other").mkdir()
    assert main(["down", "--all"]) == 0
    assert not lab.folder.exists() and not (lab.folder.parent / "other").exists()
    told = capsys.readouterr()
    assert "lab other is down" in told.out + told.err and "lab t is down" in told.out + told.err
    assert main(["down", "--all"]) == 0


def test_the_console_shows_its_last_lines(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.serial_log("xen01").write_bytes(b"one\r\ntwo\xff\r\nthree\r\n")
    assert main(["--name", "t", "console", "xen01", "--lines", "2"]) == 0
    assert capsys.readouterr().out == "two\ufffd\nthree\n"
    assert tail(lab.folder / "none") == ""


def test_a_program_that_fails_is_shown_with_its_end() -> None:
    with pytest.raises(LabError, match=r"sh -c .* ended with 3:\nbad"):
        run(["sh", "-c", "echo bad; exit 3"], timeout=10)
    with pytest.raises(LabError, match=r"sleep did not end within 0 s"):
        run(["sleep", "5"], timeout=0.2)
    with pytest.raises(LabError, match="no-such-program: program not found"):
        run(["no-such-program"], timeout=1)


def test_kvm_needs_nesting(tmp_path: Path) -> None:
    assert not accel.nested_allowed(tmp_path)
    parameters = tmp_path / "kvm_amd" / "parameters"
    parameters.mkdir(parents=True)
    (parameters / "nested").write_text("0\n")
    assert not accel.nested_allowed(tmp_path)
    (parameters / "nested").write_text("1\n")
    assert accel.nested_allowed(tmp_path)


def test_the_answer_about_kvm_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(accel, "nested_allowed", lambda: bool(asked.append(1)))
    assert [accel.accelerator(tmp_path), accel.accelerator(tmp_path)] == ["tcg", "tcg"]
    assert len(asked) <= 1


def test_the_probe_is_a_bootable_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accel.boot_disk()[510:512] == b"\x55\xaa" and len(accel.boot_disk()) == 2**20

    def stuck(*args: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("qemu", 15)

    monkeypatch.setattr(subprocess, "run", stuck)
    assert not accel.kvm_boots()


def test_the_hub_sends_to_all_but_the_sender() -> None:
    record = {"udp_ports": {"xen01": [1, 11], "xen02": [2, 12], "xen03": [3, 13]}}
    assert hub.routes(record, 1) == {11: [12, 13], 12: [11, 13], 13: [11, 12]}


def test_colours_are_taken_off_a_console() -> None:
    assert plain_text(b"M\x1b[K[  \x1b[0;31m*\x1b[0m ] go\r\n") == "M[  * ] go\n"
