# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/replace_disk.yml with a stand-in for the module: how it waits, what it shows, what it refuses."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAND_IN = """#!/usr/bin/python
import json
import time
from ansible.module_utils.basic import AnsibleModule

def main():
    names = ("host", "arrays", "serial", "new_serial", "new_id", "wipe", "wait_seconds", "until_percent")
    module = AnsibleModule({name: {"type": "raw"} for name in names}, supports_check_mode=True)
    with open(STATE) as stream:
        states = json.load(stream)
    percent = states.pop(0) if len(states) > 1 else states[0]
    with open(STATE, "w") as stream:
        json.dump(states, stream)
    with open(STATE + ".asked", "a") as stream:
        stream.write(json.dumps(module.params) + "\\n")
    # As the module does, but for a second at most.
    if percent < (module.params["until_percent"] or 0):
        time.sleep(min(module.params["wait_seconds"], 1))
    module.exit_json(changed=percent == 0, array="guests", percent=percent, done=percent == 100, whole=percent == 100,
                     inventory=["In the inventory of xen01, storage_arrays, array guests:", "  members: instead of"])

main()
"""


def run(folder: Path, states: list[float], *arguments: str) -> tuple[int, str, list[dict[str, object]]]:
    state = folder / "state"
    state.write_text(json.dumps(states))
    shutil.copytree(ROOT / "playbooks" / "tasks", folder / "tasks")
    for path in (folder / "tasks" / "replace_disk_wait.yml", folder / "replace_disk.yml"):
        text = (ROOT / "playbooks" / path.relative_to(folder)).read_text()
        path.write_text(text.replace("xenfold.consolidation.md_replace:", "stand_in:"))
    (folder / "library").mkdir()
    (folder / "library" / "stand_in.py").write_text(STAND_IN.replace("STATE", repr(str(state))))
    (folder / "hosts.yml").write_text(
        "all: {children: {xen_hosts: {hosts: {xen01: {storage_arrays: [x]}, xen02: {}}, vars: {ansible_connection: local,"
        f" ansible_python_interpreter: {sys.executable}}}}}}}}}\n")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "replace_disk.yml", *arguments], cwd=folder,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LIBRARY": str(folder / "library")},
        capture_output=True, text=True, timeout=120)
    asked = Path(f"{state}.asked")
    requests = asked.read_text().splitlines() if asked.exists() else []
    return done.returncode, done.stdout + done.stderr, [json.loads(line) for line in requests]


REQUEST = ("-e", "host=xen01", "-e", "serial=WD-2", "-e", "new_serial=WD-9")


def test_it_waits_shows_how_far_it_is_and_ends_with_the_inventory(tmp_path: Path) -> None:
    code, text, asked = run(tmp_path, [0, 3.1, 6.2, 51, 100], *REQUEST)
    assert code == 0, text
    shown = [number for number in ("3.1", "6.2", "51", "100") if f" {number} % of the new disk WD-9 are filled" in text]
    assert shown == ["6.2", "51", "100"], text
    assert "and the array is whole" in text
    assert "The disk WD-2 carries the array's superblock still if it worked" in " ".join(text.split())
    assert "mdadm --zero-superblock" in text
    assert "In the inventory of xen01, storage_arrays, array guests:" in text
    assert "\\n" not in text, "line breaks are line breaks"
    assert [request["until_percent"] for request in asked] == [None, 5, 5, 10, 55], asked
    assert {request["host"] for request in asked} == {"xen01"}
    assert asked[0]["serial"] == "WD-2"


def test_a_disk_that_is_filled_already_is_no_change(tmp_path: Path) -> None:
    code, text, asked = run(tmp_path, [100], *REQUEST)
    assert (code, len(asked)) == (0, 1), text
    assert "changed=0" in text


def test_a_preview_waits_for_nothing(tmp_path: Path) -> None:
    code, text, asked = run(tmp_path, [0], *REQUEST, "--check")
    assert (code, len(asked)) == (0, 1), text
    assert "Nothing was changed" in text
    assert "superblock" not in text


def test_time_that_is_over_says_how_to_go_on(tmp_path: Path) -> None:
    # One state throughout: on a busy machine the second has passed before the module is asked again.
    code, text, _asked = run(tmp_path, [40], *REQUEST, "-e", "wait_seconds=1")
    assert code == 2, text
    assert "40 % of the new disk WD-9 are filled after the time to wait" in " ".join(text.split())


@pytest.mark.parametrize(("arguments", "message"), [
    ((), "host: missing, allowed one host of the estate: -e host=xen01"),
    (("-e", "host=xen_hosts", "-e", "serial=a", "-e", "new_serial=b"), "allowed one host of the estate: xen01, xen02"),
    (("-e", "host=xen01", "-e", "new_serial=b"), "serial: missing, allowed the serial number of the disk that goes: -e serial=WD-2"),
])
def test_bad_requests_are_refused_before_anything_is_asked(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    code, text, asked = run(tmp_path, [0], *arguments)
    assert (code, asked) == (2, []), text
    assert message in " ".join(text.split())
