# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/audit.yml by tools/audit.py, on hosts that cannot be reached and on this machine, which is no host of any estate."""
from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.integration.test_plan_playbook import ROOT

PROGRAM = ROOT / "tools" / "audit.py"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


def inventory(folder: Path, **hosts: dict[str, object]) -> Path:
    path = folder / "estate" / "hosts.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"xen_hosts": {"hosts": hosts, "vars": {"dom0_memory_mib": 896, "dom0_vcpus": 1}}}))
    return path.parent


def audit(
    estate: Path, folder: Path, *arguments: str, cwd: Path = ROOT, **more: str,
) -> subprocess.CompletedProcess[str]:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
        "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "PYTHONDONTWRITEBYTECODE": "1", "ANSIBLE_SSH_RETRIES": "0",
        **more,
    }
    command = [sys.executable, str(PROGRAM), "-i", str(estate), "-e", f"plan_dir={folder}", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_hosts_that_cannot_be_reached_are_unknown_and_a_second_run_writes_nothing(tmp_path: Path) -> None:
    # playbooks/power.yml has shut the third one down.
    estate, out = inventory(tmp_path, xen01=LOST, xen02=LOST, xen03={**LOST, "estate_off": True}), tmp_path / "out"
    first = audit(estate, out)
    assert first.returncode == 20, first.stdout + first.stderr
    assert sorted(path.name for path in out.iterdir()) == ["audit.json", "audit.md"]
    found = json.loads((out / "audit.json").read_text())
    assert (found["estate"], found["verdict"], found["not_asked"]) == ("estate", "unknown", ["xen03"])
    assert {name: (host["verdict"], [entry["what"] for entry in host["unasked"]]) for name, host in found["hosts"].items()} == {
        "xen01": ("unknown", ["everything"]), "xen02": ("unknown", ["everything"])}
    assert "estate: unknown: 2 hosts asked, 2 hosts could not be asked in full" in first.stdout
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    assert audit(estate, out).returncode == 20
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()} == before


def test_a_machine_without_xen_drifts_and_hosts_outside_the_limit_do_not_count(tmp_path: Path) -> None:
    estate, out = inventory(tmp_path, xen01=LOCAL, xen02=LOST), tmp_path / "out"
    limited = audit(estate, out, "--limit", "xen01")
    assert limited.returncode == 10, limited.stdout + limited.stderr
    found = json.loads((out / "audit.json").read_text())
    assert (found["verdict"], found["not_asked"], list(found["hosts"])) == ("drift", ["xen02"], ["xen01"])
    assert {"package", "reboot", "refused", "failed"} & set(found["kinds"])
    assert "dom0" in (out / "audit.md").read_text()
    everybody = audit(estate, out)
    assert everybody.returncode == 20, everybody.stdout + everybody.stderr
    both = json.loads((out / "audit.json").read_text())["hosts"]
    assert (both["xen01"]["verdict"], both["xen02"]["verdict"]) == ("drift", "unknown")
    assert both["xen01"]["findings"] == found["hosts"]["xen01"]["findings"]


def test_anywhere_and_what_a_role_s_argument_spec_refuses(tmp_path: Path) -> None:
    """From another folder, with a space in TMPDIR; the variables are wrong on one host and are told without contacting it."""
    away = tmp_path / "a b"
    away.mkdir()
    estate, out = inventory(tmp_path, xen01={**LOST, "dom0_time": "sundial", "storage_arrays": "oops"}, xen02=LOST), tmp_path / "out"
    done = audit(estate, out, cwd=away, TMPDIR=str(away))
    assert done.returncode == 20, done.stdout + done.stderr
    hosts = json.loads((out / "audit.json").read_text())["hosts"]
    assert [(entry["kind"], entry["item"]) for entry in hosts["xen01"]["findings"]] == [
        ("refused", "variables of dom0"), ("refused", "variables of storage")]
    assert "dom0_time must be one of: none, chrony, got: sundial" in hosts["xen01"]["findings"][0]["message"]
    assert hosts["xen02"]["findings"] == []


@pytest.mark.parametrize(("arguments", "variables", "code"), [
    (["--check"], {}, 1),
    (["--limit", "nobody"], {}, 1),
    (["--no-such-option"], {}, 2),
    ([], {"audit_other_arrays": "{{ 1 // 0 }}"}, 2),
])
def test_a_run_without_a_verdict_writes_nothing_and_keeps_its_own_code(
    tmp_path: Path, arguments: list[str], variables: dict[str, object], code: int,
) -> None:
    done = audit(inventory(tmp_path, xen01={**LOST, **variables}), tmp_path / "out", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("body", "code"), [
    ("echo in_sync > $verdict", 0), ("echo drift > $verdict", 10), ("echo unknown > $verdict", 20),
    ("echo drift > $verdict; exit 4", 4), ("exit 2", 2), ("kill -9 $$", 137), ("exit 0", 1), ("echo other > $verdict", 1),
])
def test_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, code: int) -> None:
    away = tmp_path / "a b"
    fake(away, 'for word; do case "$word" in *audit_verdict*) verdict=$(echo "$word" | cut -d\\" -f4);; esac; done\n'
               + body.replace("$verdict", '"$verdict"'))
    monkeypatch.setattr(tempfile, "tempdir", str(away))
    monkeypatch.setattr(sys, "executable", str(away / "python"))
    assert tool().main(["-i", "x"]) == code


@pytest.mark.parametrize(("given", "used"), [(None, str(ROOT / "ansible.cfg")), ("/etc/other.cfg", "/etc/other.cfg")])
def test_the_configuration_is_the_checkout_s_unless_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, used: str,
) -> None:
    fake(tmp_path / "path", f'test "$ANSIBLE_CONFIG" = "{used}" || exit 5\nexit 3')
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=os.pathsep)
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    if given:
        monkeypatch.setenv("ANSIBLE_CONFIG", given)
    # Found in PATH, since there is none beside the interpreter.
    assert tool().main(["-i", "x"]) == 3


def test_without_ansible_playbook_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tool().main(["-i", "x"]) == 1
    assert f"audit: ansible-playbook: found neither in {tmp_path} nor in PATH" in capsys.readouterr().err


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit_tool", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fake(folder: Path, body: str) -> None:
    """A program in the place of ansible-playbook."""
    folder.mkdir()
    program = folder / "ansible-playbook"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_the_audit_asks_through_the_roles_and_changes_nothing() -> None:
    """Every task that reaches a host runs in check mode, keeps the play going, and there are few of them."""
    play = yaml.safe_load((ROOT / "playbooks" / "audit.yml").read_text())[0]
    reaching = [task for task in play["tasks"] if "ansible.builtin.include_role" in task or "xenfold.consolidation.host_info" in task]
    for task in reaching:
        how = task.get("ansible.builtin.include_role", {}).get("apply", task)
        assert (how["check_mode"], how["ignore_errors"], how["ignore_unreachable"]) == (True, True, True), task["name"]
    modules = {f"xenfold.consolidation.{name}" for name in ("xl_guest_info", "lvm_volumes", "xl_guest")}
    own = [task for task in play["tasks"] if modules & set(task)]
    for task in own:
        assert (task["check_mode"], task["ignore_errors"], task["ignore_unreachable"]) == (True, True, True), task["name"]
    calls = [task for role, file in (("dom0", "configure"), ("network", "main"), ("storage", "main"))
             for task in yaml.safe_load((ROOT / "roles" / role / "tasks" / f"{file}.yml").read_text())]
    assert len(calls) + len(own) + 1 <= 11
    registered = {task["register"] for task in calls}
    assert {task["register"] for task in own} == {"_audit_guest_info", "_audit_guest_volumes", "_audit_guest_settings"}
    assert registered == {"_dom0_result", "_network_result", "_storage_arrays_result", "_storage_iscsi_result", "_storage_volumes_result"}
    answers = next(task for task in play["tasks"] if "ansible.builtin.set_fact" in task)["ansible.builtin.set_fact"]["_audit_answers"]
    assert all(any(name in str(value) for value in answers.values()) for name in (*registered, *(task["register"] for task in own)))


def test_guests_are_compared_as_the_role_makes_them() -> None:
    """The audit calls the role's modules itself; it must ask for what the role would."""
    play = yaml.safe_load((ROOT / "playbooks" / "audit.yml").read_text())[0]
    role = yaml.safe_load((ROOT / "roles" / "guests" / "tasks" / "main.yml").read_text())
    defaults = yaml.safe_load((ROOT / "roles" / "guests" / "defaults" / "main.yml").read_text())
    doings = {"elsewhere", "unasked", "wait_seconds", "detach", "reboot", "recreate", "stop_seconds"}
    for module, left_out in (("lvm_volumes", set()), ("xl_guest", doings)):
        asked, made = (next(task[f"xenfold.consolidation.{module}"] for task in tasks if f"xenfold.consolidation.{module}" in task)
                       for tasks in (play["tasks"], role))
        assert set(asked) == set(made) - left_out
    plain = "".join(defaults["guests_cpuid"].split()).removeprefix("{{").removesuffix("}}")
    assert f"guests_cpuid|default({plain})" in "".join(asked["cpuid"].split())
    assert (asked["autostart"], defaults["guests_autostart"]) == ("{{ guests_autostart | default(true) }}", True)


WORKLOADS = [
    {"name": "web01", "memory_mib": 64, "vcpus": 1, "autostart": 10, "demand": {"cpu_cores": 0.1},
     "boot": {"kernel": "/boot/vmlinuz", "cmdline": "hush"}},
    {"name": "web02", "memory_mib": 64, "vcpus": 1, "demand": {"cpu_cores": 0.1}, "boot": {"kernel": "/boot/vmlinuz"}},
]


def workloads(folder: Path) -> Path:
    """An estate of two hosts and two guests, and a plan that has one on each."""
    size = {"estate_host": {"cpu_cores": 4, "memory_mib": 8192}}
    estate, out = inventory(folder, xen01={**LOCAL, **size}, xen02={**LOST, **size}), folder / "out"
    (estate / "group_vars" / "all").mkdir(parents=True)
    (estate / "group_vars" / "all" / "estate.yml").write_text(
        yaml.safe_dump({"estate_workloads": WORKLOADS, "estate_rules": [{"rule": "anti_affinity", "workloads": ["web01", "web02"]}]}))
    plan = {"schema": 1, "inputs_sha256": "x", "placement": {"web01": "xen01", "web02": "xen02"}, "moves": [], "unplaced": []}
    out.mkdir()
    (out / "plan.json").write_text(json.dumps(plan))
    return estate


def test_guests_of_a_limited_run_are_compared_with_the_plan(tmp_path: Path) -> None:
    """This machine runs no Xen, so the guest that the plan puts here is missed."""
    estate, out = workloads(tmp_path), tmp_path / "out"
    done = audit(estate, out, "--limit", "xen01")
    assert done.returncode == 10, done.stdout + done.stderr
    found = json.loads((out / "audit.json").read_text())
    absent = [entry for entry in found["hosts"]["xen01"]["findings"] if entry["kind"].startswith("guest_")]
    assert [(entry["kind"], entry["item"], entry["found"], entry["wanted"]) for entry in absent] == [
        ("guest_absent", "web01", "not here, and nothing is known of xen02", "running on xen01")]
    assert found["notes"] == ["the estate has changed since plan.json was made (hosts, demands, rules or policy)",
                              "nothing is known of guests on xen02: web02 may run there"]
    assert found["hosts"]["xen01"]["guests"] == {}
    assert found["findings"] == []


def test_guests_that_are_there_are_compared_with_their_definitions(tmp_path: Path) -> None:
    """One that counts as being here is asked of the role's modules; and a broken plan fails nothing."""
    estate, out = workloads(tmp_path), tmp_path / "out"
    (out / "plan.json").write_text("{")
    done = audit(estate, out, "--limit", "xen01", "-e", '{"_audit_here": ["web01"]}')
    assert done.returncode == 10, done.stdout + done.stderr
    found = json.loads((out / "audit.json").read_text())
    findings = {(entry["kind"], entry["item"]): entry for entry in found["hosts"]["xen01"]["findings"]}
    assert findings["guest_definition", "web01"]["found"] == "no such file"
    assert 'name = "web01"; uuid = ' in findings["guest_definition", "web01"]["wanted"]
    assert findings["guest_autostart", "web01"]["wanted"] == "to /etc/xen/guests/web01.cfg"
    assert found["notes"][0].startswith("plan.json cannot be taken for a plan (")


def test_values_out_of_a_vault_are_neither_shown_nor_written(tmp_path: Path) -> None:
    estate, out, password, secret = workloads(tmp_path), tmp_path / "out", tmp_path / "password", VaultSecret(b"x")
    secret.load()
    password.write_text("x")
    variables = estate / "group_vars" / "all" / "estate.yml"
    variables.write_bytes(VaultLib([("default", secret)]).encrypt(variables.read_text()))
    done = audit(estate, out, "--limit", "xen01", "-v", "--vault-password-file", str(password), "-e", '{"_audit_here": ["web01"]}')
    assert done.returncode == 10, done.stdout + done.stderr
    kinds = {entry["kind"]: entry for entry in json.loads((out / "audit.json").read_text())["hosts"]["xen01"]["findings"]}
    assert kinds["guest_definition"]["wanted"] == "(hidden: the estate has values out of a vault)"
    assert "hush" not in done.stdout + done.stderr + (out / "audit.json").read_text() + (out / "audit.md").read_text()


def test_an_estate_that_is_wrong_is_told_and_its_hosts_are_compared(tmp_path: Path) -> None:
    estate, out = workloads(tmp_path), tmp_path / "out"
    (estate / "group_vars" / "all" / "estate.yml").write_text(yaml.safe_dump({"estate_workloads": [{"name": "web01", "memori_mib": 64}]}))
    done = audit(estate, out, "--limit", "xen01")
    assert done.returncode == 10, done.stdout + done.stderr
    host = json.loads((out / "audit.json").read_text())["hosts"]["xen01"]
    why = next(entry["why"] for entry in host["unasked"] if entry["what"] == "guests")
    assert why.startswith("the estate cannot be read: ") and "memori_mib" in why
    assert {"package", "reboot", "refused", "failed"} & {entry["kind"] for entry in host["findings"]}
