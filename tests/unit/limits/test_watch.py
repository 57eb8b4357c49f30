# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits import host, kernel, service, watch

GUESTS = {"web01": {"disks": {"xvda": {"read_iops": 5}}, "networks": {"00:16:3e:00:00:0a": {"bridge": "b", "rate_mbps": 5}}}}


class Time:
    """A clock that goes on only while somebody waits; events: moments at which something happens."""

    def __init__(self, events, until, look_takes=0.0):
        self.now = 0.0
        self.events = list(events)
        self.until = until
        self.look_takes = look_takes
        self.looks = []

    def look(self):
        self.looks.append(round(self.now, 2))
        self.now += self.look_takes

    def wait(self, seconds):
        assert seconds > 0
        end = self.now + seconds
        if self.events and self.events[0] <= end:
            self.now = max(self.now, self.events.pop(0))
            return True
        self.now = end
        if self.now > self.until:
            raise watch.WatchEndedError("over")
        return False


def looks(events, until, look_takes=0.0):
    time = Time(events, until, look_takes)
    with pytest.raises(watch.WatchEndedError):
        watch.watch(time.look, time.wait, lambda: time.now)
    return time.looks


def test_it_sleeps_a_minute_when_nothing_happens():
    assert looks([], 185) == [0, 60, 120, 180]


def test_an_event_is_looked_at_three_times():
    assert looks([10], 80) == [0, 10.2, 11, 15, 75]


def test_many_events_at_once_cost_no_more_looks():
    assert looks([10 + number / 100 for number in range(10)], 30) == [0, 10.2, 11.09, 15.09]


def test_events_without_end_put_no_look_off():
    seen = looks([10 + number / 10 for number in range(100)], 30)
    assert seen[1] == 10.2
    assert all(later - earlier < 0.5 for earlier, later in itertools.pairwise(seen[1:31]))


def test_looks_that_take_long_do_not_pile_up():
    assert looks([10], 40, look_takes=3.0) == [0, 10.2, 13.2, 16.2]


class Machine:
    """A host whose state and failures are given."""

    def __init__(self, actual, failures=()):
        self.actual = actual
        self.failures = list(failures)
        self.done = []

    def read(self, _wanted):
        if isinstance(self.actual, Exception):
            raise self.actual
        return self.actual

    def carry_out(self, steps):
        self.done += steps
        return [f"{step.line()}: {self.failures[0]}" for step in steps] if self.failures else []


VIF = kernel.Vif("web01", "00:16:3e:00:00:0a", "/p", "vif3.0", None)
STEP = "limit network 00:16:3e:00:00:0a of guest web01: rate no limit -> 31250,50000 for each of 1 queues"


def test_what_differs_is_mended_and_said():
    said: list[str] = []
    machine = Machine(kernel.Actual(vifs=(VIF,)))
    watch.Keeper(machine, GUESTS, said.append).look()
    assert said == [STEP]
    assert [step.line() for step in machine.done] == [STEP]


def test_a_step_that_needs_what_is_not_there_is_left_for_later():
    wanted = {"web01": {"disks": {}, "networks": {VIF.mac: {"bridge": "b", "min_mbps": 5}}}}
    said: list[str] = []
    machine = Machine(kernel.Actual())
    watch.Keeper(machine, wanted, said.append).look()
    assert (said, machine.done) == ([], [])


def test_the_same_trouble_is_told_once_and_again_when_it_comes_back():
    said: list[str] = []
    machine = Machine(kernel.Actual(vifs=(VIF,)), ["no"])
    keeper = watch.Keeper(machine, GUESTS, said.append)
    keeper.look()
    keeper.look()
    assert said == [f"{STEP}: no"]
    machine.actual = kernel.Actual()
    keeper.look()
    machine.actual = kernel.Actual(vifs=(VIF,))
    keeper.look()
    assert said == [f"{STEP}: no", f"{STEP}: no"]


@pytest.mark.parametrize("error", [host.HostError("broken"), OSError("broken"), ValueError("broken")])
def test_what_cannot_be_read_does_not_end_the_watch(error):
    said: list[str] = []
    keeper = watch.Keeper(Machine(error), GUESTS, said.append)
    keeper.look()
    keeper.look()
    assert said == ["broken"]


def test_the_file_of_limits_comes_back(tmp_path):
    (tmp_path / "limits.json").write_text(json.dumps({"guests": GUESTS}))
    assert watch.load(str(tmp_path / "limits.json")) == GUESTS


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"guests": 5}', '{"guests": {"a": {}}}', '{"guests": {"a": {"disks": [], "networks": {}}}}',
    '{"guests": {"a": {"disks": {"xvda": {"speed": 5}}, "networks": {}}}}', '{"guests": {"a": {"disks": {"xvda": {}}, "networks": {}}}}',
    '{"guests": {"a": {"disks": {"xvda": {"read_iops": -1}}, "networks": {}}}}',
    '{"guests": {"a": {"disks": {"xvda": {"read_iops": "x"}}, "networks": {}}}}',
    '{"guests": {"a": {"disks": {"xvda": {"read_iops": "5"}}, "networks": {}}}}',
    '{"guests": {"a": {"disks": {"xvda": {"read_iops": true}}, "networks": {}}}}',
    '{"guests": {"a": {"disks": {"xvda": {"read_iops": 0.5}}, "networks": {}}}}',
    '{"guests": {"a": {"disks": {}, "networks": {"00:16:3e:00:00:0a": {"rate_mbps": 5}}}}}',
    '{"guests": {"a": {"disks": {}, "networks": {"00:16:3e:00:00:0a": {"bridge": "b", "rate_mbps": "5"}}}}}',
    '{"guests": {"a": {"disks": {}, "networks": {"00:16:3e:00:00:0a": {"bridge": "b", "rate_mbps": 0}}}}}',
    '{"guests": {"a": {"disks": {}, "networks": {"00:16:3e:00:00:0a": {"bridge": "b", "mtu": 5}}}}}',
    '{"guests": {"a": {"disks": {}, "networks": {"00:16:3e:00:00:0a": {"bridge": 5}}}}}',
])
def test_a_file_that_cannot_be_followed(text, tmp_path):
    (tmp_path / "limits.json").write_text(text)
    with pytest.raises(ValueError, match=r"limits.json: .*; the next run of the role guests writes it anew"):
        watch.load(str(tmp_path / "limits.json"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        watch.load(str(tmp_path / "limits.json"))


def test_events_are_told_until_xenstore_ends():
    reader, writer = os.pipe()
    wait = watch.events(reader)
    assert wait(0.01) is False
    os.write(writer, b"/local/domain/0/backend/vbd/3\n")
    assert wait(5) is True
    os.close(writer)
    with pytest.raises(watch.WatchEndedError):
        wait(5)
    os.close(reader)


def test_commands_that_are_not_there_fail_like_others():
    assert watch.run(["/none/tool"], None)[0] == 127
    assert watch.run(["cat"], "input") == (0, "input", "")


def test_what_a_command_says_that_is_no_text_ends_nothing():
    assert watch.run(["printf", r"a\377b"], None) == (0, "a\ufffdb", "")


@pytest.fixture(name="installed")
def _installed(tmp_path):
    """The program as it lies on a host, with tools that answer from files."""
    for file in service.wanted_files(GUESTS):
        path = tmp_path / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
    tools = {
        # A bare xenstore, one event, and the end.
        "xenstore-watch": "echo /local/domain/0/backend; sleep 0.5",
        "xenstore-ls": 'echo "xenstore-ls: xs_directory (/local/domain/0/backend): No such file or directory" >&2; exit 1',
        "tc": f"echo tc \"$@\" >> {tmp_path}/asked; echo '[]'",
    }
    (tmp_path / "bin").mkdir()
    for name, text in tools.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def start(installed: Path, file: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{installed}/bin:/usr/bin:/bin", "PYTHONPATH": f"{installed}{service.LIBRARY}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", "limits.watch", file], env=environment, capture_output=True, text=True, timeout=60,
                          cwd="/", check=False)


def test_the_program_runs_from_its_own_folder_with_the_standard_library_alone(installed):
    done = start(installed, f"{installed}{service.LIMITS_FILE}")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "xenstore-watch ended\n")
    assert (installed / "asked").read_text().startswith("tc -j qdisc show\n")
    assert not list(installed.rglob("__pycache__"))


@pytest.mark.parametrize("written", [service.LIMITS_FILE, f"{service.PROGRAM}/plan.py"])
def test_the_program_ends_when_it_or_its_limits_were_written_anew(written, installed):
    """A run of the role that was cut off before it started the service anew is no reason to follow old limits for ever."""
    file = f"{installed}{written}"
    (installed / "bin" / "xenstore-watch").write_text(
        f"#!/bin/sh\necho x; sleep 0.6; cp {file} {file}.new; mv {file}.new {file}; echo x; exec sleep 60\n")
    done = start(installed, f"{installed}{service.LIMITS_FILE}")
    assert (done.returncode, done.stderr) == (1, "the limits or the program were written anew; systemd starts it with them\n")


def test_the_program_refuses_a_broken_file(installed):
    (installed / "broken").write_text("{")
    done = start(installed, f"{installed}/broken")
    assert done.returncode == 1
    assert "the next run of the role guests writes it anew" in done.stderr
