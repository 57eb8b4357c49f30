# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/plan.yml, run as a person runs it, on good and on bad estates."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "playbooks" / "plan.yml"
EXAMPLE = ROOT / "inventories" / "example"
FILES = ["plan.json", "plan.md", "report.html"]


def play(inventory: Path, folder: Path, *arguments: str, playbook: Path = PLAYBOOK) -> subprocess.CompletedProcess[str]:
    """Run plan.yml, or another playbook, on an inventory; results go to `folder`."""
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [str(program), "-i", str(inventory), str(playbook), "-e", f"plan_dir={folder}", *arguments]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
        "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def changed(done: subprocess.CompletedProcess[str]) -> int:
    found = re.search(r"^localhost\s.*\bchanged=(\d+)", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return int(found[1])


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A copy of the example that a test may spoil."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "inventory"))


def edit(path: Path, old: str, new: str) -> int:
    """Replace the first occurrence of a text; returns its line."""
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1))
    return text[:text.index(old)].count("\n") + 1


def test_the_readme_shows_the_plan_of_the_lab(tmp_path: Path) -> None:
    done = play(ROOT / "inventories" / "lab", tmp_path / "out")
    headline = re.search(r"- '?(lab: \d+ hosts .*?)'?$", done.stdout, re.MULTILINE)
    assert headline, done.stdout + done.stderr
    assert headline[1] in (ROOT / "README.md").read_text()


def test_the_example_becomes_a_plan_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    first = play(EXAMPLE, folder)
    assert first.returncode == 0, first.stdout + first.stderr
    assert sorted(path.name for path in folder.iterdir()) == FILES
    plan = json.loads((folder / "plan.json").read_text())
    summary = plan["summary"]
    assert plan["status"] in ("optimal", "feasible")
    assert (summary["workloads"], summary["unplaced"], summary["hosts_before"]) == (65, 0, 8)
    assert summary["hosts_bound"] <= summary["hosts_used"] <= 5
    assert "xen08" not in plan["placement"].values()
    assert plan["placement"]["erpdb01"] == "xen04"
    assert f"example: 8 hosts before, {summary['hosts_used']} after" in first.stdout
    assert changed(first) == 2
    before = {name: (folder / name).read_bytes() for name in FILES}
    second = play(EXAMPLE, folder)
    assert second.returncode == 0
    assert changed(second) == 0
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_check_mode_plans_and_writes_nothing(tmp_path: Path) -> None:
    done = play(EXAMPLE, tmp_path / "out", "--check", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    assert changed(done) == 2
    assert "+# Plan for example" in done.stdout
    assert not (tmp_path / "out").exists()


def test_the_labs_estate_can_be_planned(tmp_path: Path) -> None:
    done = play(ROOT / "inventories" / "lab", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    placement = json.loads((tmp_path / "out" / "plan.json").read_text())["placement"]
    assert set(placement) == {"web01", "web02", "db01", "batch01"}
    assert placement["web01"] != placement["web02"]


def test_an_inventory_may_name_localhost_itself(inventory: Path, tmp_path: Path) -> None:
    (inventory / "control.yml").write_text("all: {hosts: {localhost: {ansible_connection: local}}}\n")
    done = play(inventory, tmp_path / "out", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_estate_that_cannot_be_placed_is_reported_and_refused(inventory: Path, tmp_path: Path) -> None:
    edit(inventory / "group_vars/all/workloads_shop.yml", "memory_mib: 49152", "memory_mib: 999999")
    folder = tmp_path / "out"
    done = play(inventory, folder)
    assert done.returncode == 2
    assert "The plan cannot be carried out: 1 of 65 workloads cannot be placed." in done.stdout
    assert re.search(r"db01: .*memory short by", done.stdout)
    assert sorted(path.name for path in folder.iterdir()) == [
        "plan.infeasible.json", "plan.infeasible.md", "report.infeasible.html",
    ]
    assert "What could not be placed" in (folder / "report.infeasible.html").read_text()
    assert "## Not placed" in (folder / "plan.infeasible.md").read_text()


SHOP, ESTATE, NETWORK, DISKS = (
    "group_vars/all/workloads_shop.yml", "group_vars/all/estate.yml", "group_vars/xen_hosts/network.yml", "host_vars/xen03.yml",
)
BAD = [
    pytest.param(SHOP, "    vcpus: 4", "    vcpu: 4", 0, r"workload 'web01': vcpu: unknown key with value 4 \(did you mean vcpus\?\)",
                 id="unknown key"),
    pytest.param(SHOP, "disk_iops: 60", "disk_iops: -60", 0, r"workload 'web01': demand\.disk_iops: value -60, allowed a number, 0 or more",
                 id="negative demand"),
    pytest.param(SHOP, "- name: search02", "- name: search01", 0, "workload 'search01': name: value 'search01', allowed a name of its own",
                 id="duplicate workload"),
    pytest.param(SHOP, "current: xen01", "current: xen99", 0, "workload 'web01': current: value 'xen99', allowed a host of the estate",
                 id="unknown current host"),
    pytest.param(ESTATE, "hosts: [xen06]", "hosts: [xen66]", 0,
                 r"rule number 10 \(ban\): hosts: value 'xen66', allowed hosts of the estate",
                 id="unknown host in a rule"),
    pytest.param(ESTATE, "objective: hosts", "objective: cost", 0, "policy: objective: value 'cost', allowed hosts, watts, balance",
                 id="unknown objective"),
    pytest.param(DISKS, "id: ata-SAMSUNG_MZ7L33T8_S6KPNE0T30147, serial", "serial", 0, r"array 'guests': members\[0\]\.id: missing",
                 id="disk without id"),
    pytest.param(DISKS, ", serial: S6KPNE0T30147", "", 0, r"array 'guests': members\[0\]\.serial: missing", id="disk without serial"),
    pytest.param(NETWORK, '{mac: "{{ card_macs[1] }}"}', "{}", 0, r"bond 'bond0': members: value \{\}, allowed exactly one of the keys",
                 id="bond member that names no card"),
    pytest.param(NETWORK, "network_vlans:", "network_replac: []\nnetwork_vlans:", 0,
                 r"variables: network_replac: unknown key with value \[\] \(did you mean network_replace\?\)",
                 id="variable that no role reads"),
    pytest.param(NETWORK, "network_vlans:", "network_assert: [gatway]\nnetwork_vlans:", 0,
                 r"role network: network_assert\[0\]: value 'gatway', allowed members, partner, gateway", id="value outside of choices"),
    pytest.param(DISKS, "10:03:a1", "10:03:a0", None, "bond 'bond0': members: mac: value .* each card once",
                 id="bond member twice"),
]


@pytest.mark.parametrize(("file", "old", "new", "offset", "message"), BAD)
def test_bad_estates(
    inventory: Path, tmp_path: Path, file: str, old: str, new: str, offset: int | None, message: str
) -> None:
    """One clear message with file and line, nothing written. offset: from the edited line to the one that is named."""
    line = edit(inventory / file, old, new)
    done = play(inventory, tmp_path / "out")
    assert done.returncode == 2, done.stdout + done.stderr
    told = [text.strip() for text in done.stdout.splitlines() if "allowed" in text]
    # ansible-core shows the message of a failed task twice, as an error and as the task's result.
    assert len(set(told)) == 1 and re.search(message, told[0]), done.stdout
    assert "1 error in the estate, nothing was written" in done.stdout
    if offset is not None:
        assert f"{file}:{line + offset}: " in told[0]
    assert not (tmp_path / "out").exists()


def test_every_error_is_told_at_once(inventory: Path, tmp_path: Path) -> None:
    edit(inventory / SHOP, "disk_iops: 60", "disk_iops: -60")
    edit(inventory / ESTATE, "hosts: [xen06]", "hosts: [xen66]")
    edit(inventory / DISKS, ", serial: S6KPNE0T30147", "")
    done = play(inventory, tmp_path / "out")
    assert done.returncode == 2
    assert "3 errors in the estate, nothing was written" in done.stdout


def test_a_template_that_fails_is_named(inventory: Path, tmp_path: Path) -> None:
    edit(inventory / "group_vars/big/host.yml", "{{ rack }}", "{{ rakc }}")
    done = play(inventory, tmp_path / "out")
    assert done.returncode == 2
    assert "estate_host: cannot be templated" in done.stdout and "rakc" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_vaulted_value_is_checked_but_never_shown(inventory: Path, tmp_path: Path) -> None:
    password, secret = tmp_path / "password", "ro token=4711-hidden"
    password.write_text("for this test\n")
    program = Path(sys.executable).parent / "ansible-vault"
    sealed = subprocess.run(
        [str(program), "encrypt_string", "--vault-password-file", str(password), "--name", "cmdline", secret],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    ).stdout
    boot = "    boot:\n" + textwrap.indent(sealed.rstrip("\n"), "      ") + "\n"
    edit(inventory / SHOP, "    vcpus: 4\n", f"{boot}    vcpus: 4\n")
    refused = play(inventory, tmp_path / "out", "--vault-password-file", str(password))
    assert refused.returncode == 2
    assert "workload 'web01': boot.cmdline: value '(vaulted)', allowed only with boot.image or boot.kernel" in refused.stdout
    assert secret not in refused.stdout + refused.stderr
    edit(inventory / SHOP, "    boot:\n", "    boot:\n      kernel: /boot/guest\n")
    accepted = play(inventory, tmp_path / "out", "--vault-password-file", str(password))
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    written = "".join((tmp_path / "out" / name).read_text() for name in FILES)
    assert secret not in written + accepted.stdout + accepted.stderr


SECRETS = {"inline": "4711-hidden", "file": "4712-hidden"}
TASKS = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Read
      xenfold.consolidation.estate:
      register: read
    - name: Tell
      ansible.builtin.debug:
        msg: "contains_secrets={{ read.contains_secrets }} of {{ read.estate.hosts | length }} hosts"
    - name: Hand on
      ansible.builtin.set_fact:
        handed: "{{ read.estate }}"
      no_log: "{{ read.contains_secrets }}"
    - name: Compare
      ansible.builtin.assert:
        that: handed.guests.web01.boot.cmdline == wanted
      when: wanted is defined
      no_log: true
"""


@pytest.mark.parametrize("kind", ["nothing", "inline", "template", "file"])
def test_a_good_estate_with_vaulted_values_is_not_printed(inventory: Path, tmp_path: Path, kind: str) -> None:
    password, playbook, hidden = tmp_path / "password", tmp_path / "read.yml", inventory / "group_vars/all/hidden.yml"
    password.write_text("for this test\n")
    playbook.write_text(TASKS)
    program = str(Path(sys.executable).parent / "ansible-vault")
    vault = [program, "encrypt_string", "--vault-password-file", str(password), "--name", "token"]
    if kind in ("inline", "template"):
        sealed = subprocess.run([*vault, SECRETS["inline"]], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
        hidden.write_text(sealed.stdout)
    else:
        hidden.write_text(f"token: {SECRETS['file']}\n")
    if kind == "file":
        subprocess.run([program, "encrypt", "--vault-password-file", str(password), str(hidden)], cwd=ROOT, check=True, timeout=60,
                       capture_output=True)
    words = {"nothing": "ro", "inline": "{{ token }}", "template": "ro x={{ token }}", "file": "ro x={{ token }}"}[kind]
    wanted = words.replace("{{ token }}", SECRETS.get("file" if kind == "file" else "inline", ""))
    edit(inventory / SHOP, "    vcpus: 4\n", f'    boot: {{kernel: /boot/guest, cmdline: "{words}"}}\n    vcpus: 4\n')
    arguments = ["--vault-password-file", str(password), "-vvv", "-e", json.dumps({"wanted": wanted} if kind == "nothing" else {})]
    done = play(inventory, tmp_path / "out", *arguments, playbook=playbook)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"contains_secrets={kind != 'nothing'} of 8 hosts" in done.stdout
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())
    assert bool(re.search(r"""cmdline\W+ro\b""", done.stdout)) == (kind == "nothing")
    if kind == "nothing":
        return
    # What is handed on is the text itself, and messages of an estate that is not in order do not show it.
    (tmp_path / "wanted.yml").write_text(json.dumps({"wanted": wanted}))
    same = play(inventory, tmp_path / "out", *arguments[:2], "-e", f"@{tmp_path}/wanted.yml", playbook=playbook)
    assert same.returncode == 0, same.stdout
    edit(inventory / SHOP, "kernel: /boot/guest, ", "")
    refused = play(inventory, tmp_path / "out", *arguments)
    assert "boot.cmdline: value '(vaulted)', allowed only with boot.image or boot.kernel" in refused.stdout
    assert not any(secret in refused.stdout + refused.stderr for secret in SECRETS.values())


def test_a_good_plan_removes_what_an_infeasible_one_left(inventory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    edit(inventory / SHOP, "memory_mib: 49152", "memory_mib: 999999")
    assert play(inventory, folder).returncode == 2
    assert len(list(folder.glob("*.infeasible.*"))) == 3
    edit(inventory / SHOP, "memory_mib: 999999", "memory_mib: 49152")
    done = play(inventory, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_variables_that_only_the_hosts_own_run_can_template_pass(inventory: Path, tmp_path: Path) -> None:
    with (inventory / NETWORK).open("a") as file:
        file.write("network_replace: \"{{ ansible_facts.never_gathered }}\"\nnetwork_assert: \"{{ ansible_facts.never_gathered }}\"\n")
    done = play(inventory, tmp_path / "out", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_inventory_without_xen_hosts(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {elsewhere: }}\n")
    done = play(tmp_path / "hosts.yml", tmp_path / "out")
    assert done.returncode == 2
    assert "group 'xen_hosts': hosts: value [], allowed at least one host in the inventory" in done.stdout
