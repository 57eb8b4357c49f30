# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What docs/guests.md says of guests as an inventory, in a copy of the checkout, by Ansible's own commands."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from ansible_collections.xenfold.consolidation.plugins.inventory import guests

from tests.integration.test_plan_playbook import ROOT

SECTION = (ROOT / "docs" / "guests.md").read_text().partition("\n## Guests as an inventory\n")[2]
BLOCKS = re.findall(r"^```(yaml|console)\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)


def checkout(folder: Path) -> Path:
    """What the commands need of the checkout, with a build folder of its own."""
    for name in ("plugins", "playbooks", "roles", "meta"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "inventories" / "lab", folder / "inventories" / "lab")
    for name in ("ansible.cfg", "galaxy.yml"):
        shutil.copy(ROOT / name, folder)
    (folder / "collections" / "ansible_collections" / "xenfold").mkdir(parents=True)
    (folder / "collections" / "ansible_collections" / "xenfold" / "consolidation").symlink_to(folder)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    return folder


def run(command: str, folder: Path) -> str:
    environment = {**{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
                   "ANSIBLE_NOCOLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Failed to parse" not in done.stderr, done.stderr
    return done.stdout


def test_the_commands_print_what_is_shown(tmp_path: Path) -> None:
    folder, outputs = checkout(tmp_path), []
    for kind, text in BLOCKS:
        if kind == "yaml":
            source = folder / re.match(r"# (inventories/\S+)\n", text)[1]
            source.parent.mkdir(exist_ok=True)
            source.write_text(text)
            continue
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = step.partition("\n")
            said = run(command, folder)
            assert shown in said, said
            outputs.append(said)
    assert len(outputs) == 5
    # db01 and web01 share a host as rule and packing want it, whichever; all is planned and nothing is known to run.
    assert outputs[2].startswith("  hosts (")
    assert outputs[3].count("msg: to_start") == 4, outputs[3]
    assert (folder / "build" / "lab" / "plan.json").is_file()


def test_every_option_and_variable_is_told() -> None:
    options = yaml.safe_load(guests.DOCUMENTATION)["options"]
    assert set(options) - {"plugin"} <= set(re.findall(r"^\| `(\w+)`", SECTION, re.MULTILINE))
    for key in (*guests.KEYS.values(), "step", "guest"):
        assert f"`xenfold_{key}`" in SECTION
    for prefix in guests.KEYS:
        assert f"`{prefix}_" in SECTION
