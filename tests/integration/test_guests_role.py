# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role guests on a machine without Xen, in check mode."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOKEN = "token=1f3dcafe"


@pytest.mark.parametrize("hidden", [False, True])
def test_what_a_definition_says_is_hidden(tmp_path: Path, hidden: bool) -> None:
    guest = {"name": "web01", "memory_mib": 128, "boot": {"kernel": "/vmlinuz", "cmdline": f"console=hvc0 {TOKEN}"}}
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["xenfold.consolidation.guests"],
             "vars": {"ansible_python_interpreter": sys.executable, "guests_definitions": [guest], "guests_no_log": hidden}}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
        "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "PYTHONDONTWRITEBYTECODE": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(tmp_path / "play.yml"), "--check", "--diff"]
    done = subprocess.run([*command, "-vvv"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    text = done.stdout + done.stderr
    assert done.returncode == 0 and "changed=1" in text, text
    assert (TOKEN not in text) == hidden, text
