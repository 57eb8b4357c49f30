# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run playbooks/update.yml for one host after the other, and stop at the first that fails; a second run begins with the first again.

Usage: python tools/update.py -i inventories/NAME [--hosts xen01,xen02] [other arguments of ansible-playbook]
"""
from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys

from audit import ROOT, playbook_program

PLAYBOOK = ROOT / "playbooks" / "update.yml"
USAGE = 2


def hosts_in(listing: str) -> list[str]:
    """The hosts of the first play in the output of `ansible-playbook --list-hosts`, sorted: Ansible lists them in no order."""
    found = re.search(r"^    hosts \(\d+\):\n((?:      \S+\n)*)", listing, re.MULTILINE)
    return sorted(found[1].split()) if found else []


def main(arguments: list[str]) -> int:
    """The code of the first run that failed, or 0. arguments: for ansible-playbook, and --hosts."""
    parser = argparse.ArgumentParser(prog="update", add_help=False, allow_abbrev=False)
    parser.add_argument("--hosts", default="")
    own, others = parser.parse_known_args(arguments)
    program = playbook_program()
    if program is None:
        print("update: ansible-playbook: found neither beside this Python nor in PATH", file=sys.stderr)
        return USAGE
    # Ansible looks for its configuration in the current folder, which need not be the checkout.
    environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **os.environ}
    asked = subprocess.run([program, *others, "--list-hosts", str(PLAYBOOK)], env=environment, stdout=subprocess.PIPE, text=True)
    if asked.returncode:
        return asked.returncode
    there = hosts_in(asked.stdout)
    wanted = [name.strip() for name in own.hosts.split(",")] if own.hosts else there
    wrong = [name for name in wanted if name not in there]
    if wrong or not wanted:
        print(f"update: --hosts: value {', '.join(map(repr, wrong)) or repr(own.hosts)}, allowed hosts of the inventory:"
              f" {', '.join(there) or 'it has none in the group xen_hosts'}", file=sys.stderr)
        return USAGE
    for number, host in enumerate(wanted, 1):
        print(f"update: {host} ({number} of {len(wanted)})", flush=True)
        code = subprocess.run([program, *others, "-e", f"host={host}", str(PLAYBOOK)], env=environment).returncode
        if code:
            print(f"update: {host} was not updated; done: {', '.join(wanted[:number - 1]) or 'none'};"
                  f" not begun: {', '.join(wanted[number:]) or 'none'}", file=sys.stderr)
            return code if code > 0 else 128 - code
    print(f"update: all {len(wanted)} hosts: {', '.join(wanted)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
