# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run that finds nothing to do asks little of the hosts: few tasks, and at most twelve times what one ping play takes."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from scene import HOSTS, Scene

from tests.lab.hands import ROOT

MOST_TASKS = 25
MOST_PINGS = 12
# The first opens the connections.
PINGS = 2
# These run on the control node alone.
LOCAL_ACTIONS = {"include_role", "import_role", "include_tasks", "import_tasks", "validate_argument_spec", "fail", "assert",
                 "debug", "set_fact"}

PING = """---
- name: Ping
  hosts: xen_hosts
  gather_facts: false
  tasks:
    - name: Ping
      ansible.builtin.ping:
"""


def play(scene: Scene, playbook: Path) -> tuple[float, dict]:
    """Seconds of a playbook on the scenario's hosts, and its results."""
    environment = scene.environment() | {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    program = str(Path(sys.executable).parent / "ansible-playbook")
    begun = time.monotonic()
    done = subprocess.run([program, "-i", str(scene.inventory), str(playbook)], cwd=ROOT, env=environment, capture_output=True,
                          text=True, timeout=900)
    seconds = time.monotonic() - begun
    assert done.returncode == 0, done.stdout + done.stderr
    return seconds, json.loads(done.stdout[done.stdout.index("{"):])


def reached(results: dict, host: str) -> list[str]:
    """Names of the tasks that contacted `host`."""
    return [
        task["task"]["name"] for one in results["plays"] for task in one["tasks"]
        if host in task["hosts"] and not task["hosts"][host].get("skipped")
        and task["hosts"][host].get("action", "").rpartition(".")[2] not in LOCAL_ACTIONS
    ]


def test_a_converged_host_costs_few_tasks_and_little_time(scene: Scene, tmp_path: Path) -> None:
    ping = tmp_path / "ping.yml"
    ping.write_text(PING, encoding="utf-8")
    pings = []
    for _round in range(PINGS):
        seconds, results = play(scene, ping)
        pings.append(seconds)
        assert reached(results, "xen01") == ["Ping"]
    run, results = play(scene, ROOT / "playbooks" / "provision.yml")
    for host in HOSTS:
        assert results["stats"][host]["changed"] == 0, results["stats"]
        assert 3 <= len(reached(results, host)) <= MOST_TASKS, reached(results, host)
    ratio = run / min(pings)
    print(f"provision.yml: {len(reached(results, 'xen01'))} tasks a host, {run:.1f} s; ping {min(pings):.1f} s; ratio {ratio:.1f}")
    assert ratio <= MOST_PINGS, (run, pings)
