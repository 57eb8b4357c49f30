# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run playbooks/audit.yml and return its verdict: 0 in sync, 10 drift, 20 unknown; a run that broke returns ansible-playbook's own code.

Usage: python tools/audit.py -i inventories/NAME [--limit xen01] [other arguments of ansible-playbook]
"""
from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLAYBOOK = ROOT / "playbooks" / "audit.yml"
CODES = {"in_sync": 0, "drift": 10, "unknown": 20}
"""Away from those of ansible-playbook, which are 1, 2, 4, 8, their sums, 99 and 250."""
NO_VERDICT = 1


def main(arguments: list[str], program: str = str(Path(sys.executable).parent / "ansible-playbook")) -> int:
    """The code. arguments: for ansible-playbook; program: what is run in its place (for tests)."""
    with tempfile.TemporaryDirectory(prefix="xenfold-audit-") as folder:
        # audit.json may be that of an earlier run, which this one did not come to write.
        verdict = Path(folder) / "verdict"
        code = subprocess.run([program, *arguments, "-e", f"audit_verdict={verdict}", str(PLAYBOOK)]).returncode
        if code:
            return code if code > 0 else 128 - code
        said = verdict.read_text().strip() if verdict.is_file() else ""
    if said not in CODES:
        print(f"audit: verdict {said!r}, allowed {', '.join(CODES)}: no host was asked, or --check kept it from being written",
              file=sys.stderr)
    return CODES.get(said, NO_VERDICT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
