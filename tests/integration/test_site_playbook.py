# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What playbooks/site.yml hands the role guests of replicated disks, with stand-ins for all that touches a host."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ASK = "      xenfold.consolidation.xl_guest_info:\n"
STAND_IN = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({"guests": {"type": "dict", "required": True}, "configured": {"type": "list", "required": True}},
                       supports_check_mode=True)
module.exit_json(changed=False, xen_version="4.17.7", volumes=[], guarded=[], **module.params)
"""
HANDED = ("{{ {'definitions': guests_definitions | map(attribute='name') | list,"
          " 'replicas': guests_replicas | map(attribute='name') | list, 'copies': guests_copies, 'no_log': guests_no_log} | to_json }}")
HOST = {"estate_host": {"cpu_cores": 4, "memory_mib": 8192, "capacity": {"disk_gib": 100}}, "dom0_memory_mib": 1024, "dom0_vcpus": 1,
        "storage_volume_groups": [{"name": "vg0", "devices": ["/dev/disk/by-id/disk"]}]}


def replicated(name: str, minor: int, current: str, replica: str) -> dict[str, Any]:
    disk = {"name": "root", "size_gib": 1, "volume_group": "vg0", "drbd_minor": minor}
    return {"name": name, "memory_mib": 128, "vcpus": 1, "demand": {"cpu_cores": [0.1]}, "storage": "replicated", "current": current,
            "replica": replica, "disks": [disk]}


def role(folder: Path, name: str, task: dict[str, Any]) -> None:
    tasks = folder / "roles" / name / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text(yaml.safe_dump([task]))


class Site:
    """A checkout of its own with the playbooks, and an estate of three hosts; for each of them files tell what roles were handed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "playbooks", folder / "playbooks")
        (folder / "library").mkdir()
        (folder / "library" / "stand_in.py").write_text(STAND_IN)
        site = folder / "playbooks" / "site.yml"
        text = site.read_text()
        assert text.count(ASK) == 1
        text = text.replace(ASK, '      stand_in: {guests: "{{ told[inventory_hostname] | default({}) }}",'
                                 ' configured: "{{ stored[inventory_hostname] | default([]) }}"}\n')
        for name in ("guests", "migration"):
            assert text.count(f"name: xenfold.consolidation.{name}\n") == 1
            text = text.replace(f"name: xenfold.consolidation.{name}\n", f"name: {name}_stand_in\n")
        site.write_text(text)
        (folder / "playbooks" / "provision.yml").write_text(yaml.safe_dump([{
            "hosts": "xen_hosts", "gather_facts": False, "tasks": [self.write("provisioned", "{{ dom0_xen_versions | to_json }}")]}]))
        role(folder / "playbooks", "guests_stand_in", self.write("guests", HANDED))
        role(folder / "playbooks", "migration_stand_in", self.write("guard", "{{ migration_guard | to_json }}"))
        hosts = {f"xen0{number}": {"migration_address": f"10.9.0.{number}"} for number in (1, 2, 3)}
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **HOST}
        workloads = [replicated("db01", 1, "xen01", "xen02"), replicated("db02", 2, "xen02", "xen03"),
                     {"name": "web01", "memory_mib": 128, "vcpus": 1, "demand": {"cpu_cores": [0.1]}, "boot": {"kernel": "/vmlinuz"},
                      "disks": [{"path": "/srv/web01.img"}]}]
        (folder / "estate").mkdir()
        (folder / "estate" / "hosts.yml").write_text(yaml.safe_dump({"all": {
            "children": {"xen_hosts": {"hosts": hosts, "vars": variables}}, "vars": {"estate_workloads": workloads}}}))

    def write(self, kind: str, content: str) -> dict[str, Any]:
        return {"ansible.builtin.copy": {"content": content, "dest": f"{self.folder}/{{{{ inventory_hostname }}}}.{kind}", "mode": "0644"}}

    def play(self, told: dict[str, Any], *arguments: str, stored: dict[str, list[str]] | None = None) -> tuple[int, str]:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "PYTHONDONTWRITEBYTECODE": "1",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LIBRARY": str(self.folder / "library"),
        }
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "estate", "playbooks/site.yml",
             "-e", json.dumps({"told": told, "stored": stored or {}, "plan_dir": str(self.folder / "out")}), *arguments],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=600)
        return done.returncode, done.stdout + done.stderr

    def handed(self, kind: str = "guests") -> dict[str, Any]:
        """Host -> what was written of it; the files go."""
        files = sorted(self.folder.glob(f"*.{kind}"))
        found = {file.stem: json.loads(file.read_text()) for file in files}
        for file in files:
            file.unlink()
        return found


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_each_host_is_handed_the_copies_that_it_has(site: Site) -> None:
    # db01 runs where its copy was made, db02 nowhere yet.
    code, text = site.play({"xen02": {"db01": "running"}}, "--tags", "guests")
    assert code == 0, text
    assert site.handed("provisioned") == {}
    copies = {"db01": {"first": "xen02", "hosts": {"xen01": "10.9.0.1", "xen02": "10.9.0.2"}},
              "db02": {"first": "xen02", "hosts": {"xen02": "10.9.0.2", "xen03": "10.9.0.3"}}}
    found = site.handed()
    assert [(there["copies"], there["no_log"]) for there in found.values()] == [(copies, False)] * 3
    assert "db01" in found["xen02"]["definitions"]
    placed = {name: host for host, there in found.items() for name in there["definitions"]}
    assert sorted(placed) == ["db01", "db02", "web01"]
    assert {host: there["replicas"] for host, there in found.items()} == {
        host: [name for name in copies if host in copies[name]["hosts"] and placed[name] != host] for host in found}
    assert set(map(tuple, site.handed("guard").values())) == {("db01", "db02")}

    code, text = site.play({"xen02": {"db01": "running"}}, "--limit", "localhost,xen02")
    assert code == 0, text
    # A new guest waits until all hosts have told that they do not have its disks.
    expected = {**found["xen02"], "definitions": [name for name in found["xen02"]["definitions"] if name != "web01"]}
    assert site.handed() == {"xen02": expected}
    assert list(site.handed("provisioned")) == ["xen02"]


def test_what_ends_a_run_before_anything_is_touched(site: Site) -> None:
    code, text = site.play({}, "-e", "migration_address=somewhere")
    assert code == 2 and "copies_of: host 'xen01': migration_address: value 'somewhere', allowed" in " ".join(text.split()), text
    code, text = site.play({}, "--limit", "xen02")
    assert code == 2 and "There is no plan, since localhost took no part in this run. With --limit" in " ".join(text.split()), text
    assert not [*site.handed(), *site.handed("provisioned"), *site.handed("guard")]


def test_a_guest_with_disks_of_its_own_is_not_begun_anew(site: Site) -> None:
    def where() -> list[str]:
        return [host for host, there in site.handed().items() if "web01" in there["definitions"]]

    for home in ("xen01", "xen03"):
        code, text = site.play({}, "--tags", "guests", stored={home: ["web01"]})
        assert code == 0, text
        assert where() == [home]
    code, text = site.play({}, "--tags", "guests", stored={"xen01": ["web01"], "xen02": ["web01"]})
    assert code == 2 and "web01 was not started: xen01 and xen02 have disks or a configuration of it" in " ".join(text.split()), text
    handed = site.handed()
    assert sorted(name for there in handed.values() for name in there["definitions"]) == ["db01", "db02"]
    # xen03 is left out of the run; then it has died: web01 may have its disks there. It is called over SSH, which does not answer.
    (site.folder / "estate" / "dead.yml").write_text(yaml.safe_dump({"all": {"hosts": {"xen03": {
        "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}}}}))
    said = "web01: its disks may be on xen03; one that is new is named by -e new_guests=web01"
    for words in (("--limit", "localhost,xen01,xen02"), ("-e", "hosts_off=xen03")):
        code, text = site.play({}, "--tags", "guests", *words)
        assert said in " ".join(text.split()), text
        assert where() == []
    code, text = site.play({}, "--tags", "guests", "-e", "hosts_off=xen03", "-e", "new_guests=[web01]")
    assert said not in " ".join(text.split()) and len(where()) == 1, text
    code, text = site.play({}, "--tags", "guests", "-e", "hosts_off=xen03", "-e", "new_guests=web09")
    assert code != 0 and "new_guests: value 'web09', allowed guests of the estate" in " ".join(text.split()), text
