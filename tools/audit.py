# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run playbooks/audit.yml and return its verdict: 0 in sync, 10 drift, 20 unknown; a run that broke returns ansible-playbook's own code.

Usage: python tools/audit.py -i inventories/NAME [--limit xen01] [other arguments of ansible-playbook]
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLAYBOOK = ROOT / "playbooks" / "audit.yml"
CODES = {"in_sync": 0, "drift": 10, "unknown": 20}
"""Away from those of ansible-playbook, which are 1, 2, 4, 8, their sums, 99 and 250."""
NO_VERDICT = 1


def playbook_program() -> str | None:
    """ansible-playbook beside the interpreter, else in PATH; None without it."""
    return shutil.which("ansible-playbook", path=str(Path(sys.executable).parent)) or shutil.which("ansible-playbook")


def main(arguments: list[str]) -> int:
    """The code. arguments: for ansible-playbook."""
    program = playbook_program()
    if program is None:
        print(f"audit: ansible-playbook: found neither in {Path(sys.executable).parent} nor in PATH; run it as"
              f" {ROOT / '.venv' / 'bin' / 'python'} tools/audit.py, or put ansible-playbook into PATH", file=sys.stderr)
        return NO_VERDICT
    # Ansible looks for its configuration in the current folder, which need not be the checkout.
    environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **os.environ}
    with tempfile.TemporaryDirectory(prefix="xenfold-audit-") as folder:
        # audit.json may be that of an earlier run, which this one did not come to write.
        verdict = Path(folder) / "verdict"
        command = [program, *arguments, "-e", json.dumps({"audit_verdict": str(verdict)}), str(PLAYBOOK)]
        code = subprocess.run(command, env=environment).returncode
        if code:
            return code if code > 0 else 128 - code
        said = verdict.read_text().strip() if verdict.is_file() else ""
    if said not in CODES:
        print(f"audit: verdict {said!r}, allowed {', '.join(CODES)}: no host was asked, or --check kept it from being written",
              file=sys.stderr)
    return CODES.get(said, NO_VERDICT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
