# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/power.yml: hosts are files that say on or off. IPMI and Wake-on-LAN are spoken for real, to a controller and a socket here."""
from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.test_apply_playbook import ROOT
from tests.integration.test_operations_playbooks import Operations

# A host that is off does not answer.
CONNECTION = '''
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: switched
short_description: Here, while the host is on
description: Here, while the host is on.
"""

class Connection(Local):
    transport = "switched"

    def _connect(self):
        with open("POWER/" + self._play_context.remote_addr) as stream:
            if stream.read().strip() != "on":
                raise AnsibleConnectionFailure("no route to host")
        return super()._connect()

    def exec_command(self, *args, **kwargs):
        self._connected = False
        self._connect()
        return super().exec_command(*args, **kwargs)
'''
# What lies in /run, as the lock, goes with a host.
END = """
import json, sys
folder, host = sys.argv[1:]
world = json.load(open(folder + "/world.json"))
world["hosts"][host]["lock"] = None
json.dump(world, open(folder + "/world.json", "w"))
open(folder + "/power/" + host, "w").write("off")
"""
MAC = "52:54:00:aa:bb:01"


class Powered(Operations):
    """Three hosts; xen03 is drained, and nothing runs there or on xen02."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.copytree(ROOT / "roles" / "power", folder / "playbooks" / "roles" / "power")
        (folder / "connections").mkdir()
        (folder / "connections" / "switched.py").write_text(CONNECTION.replace("POWER", str(folder / "power")))
        (folder / "power").mkdir()
        for host in ("xen01", "xen02", "xen03"):
            self.switch(host, "on")
        self.has("xen02")
        self.marks.write_text("xen_hosts: {hosts: {xen03: {estate_drained: []}}}\n")
        self.off = folder / "estate" / "off.yml"
        self.settings()

    def settings(self, **changes: object) -> None:
        """Variables of all hosts."""
        given = {"power_seconds": 20, "ansible_connection": "switched", **changes,
                 "power_off_command": [sys.executable, "-c", END, str(self.folder), "{{ inventory_hostname }}"]}
        hosts = self.folder / "estate" / "hosts.yml"
        content = yaml.safe_load(hosts.read_text())
        content["all"]["children"]["xen_hosts"]["vars"] |= given
        for host in content["all"]["children"]["xen_hosts"]["hosts"].values():
            host.pop("ansible_connection", None)
        hosts.write_text(yaml.safe_dump(content))

    def switch(self, host: str, power: str) -> None:
        (self.folder / "power" / host).write_text(power)

    def is_on(self, host: str) -> bool:
        return (self.folder / "power" / host).read_text().strip() == "on"

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "ANSIBLE_CONNECTION_PLUGINS": str(self.folder / "connections")}


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Powered:
    return Powered(tmp_path)


@pytest.fixture(name="controller")
def _controller(scene: Powered) -> Iterator[int]:
    """The UDP port of xen03's management controller."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(__file__).parent / "management_controller.py"
    with subprocess.Popen([sys.executable, program, str(port), scene.folder / "power" / "xen03"], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        yield port
        process.kill()


def test_a_host_is_shut_down_and_woken_by_its_management_controller(scene: Powered, controller: int) -> None:
    scene.settings(power_by="ipmi", power_ipmi_address="127.0.0.1", power_ipmi_port=controller, power_ipmi_user="admin",
                   power_ipmi_password="secret")
    code, text = scene.play("power", "-e", "host=xen03", "-e", "power=off", "--check", "--diff")
    assert (code, scene.is_on("xen03"), scene.off.exists()) == (0, True, False), text
    assert "xen03 would be off" in text and "+ estate_off: true" in text
    code, text = scene.play("power", "-e", "host=xen03", "-e", "power=off")
    assert (code, scene.is_on("xen03")) == (0, False), text
    assert "xen03 is off" in text
    assert yaml.safe_load(scene.off.read_text()) == {"xen_hosts": {"hosts": {"xen03": {"estate_off": True}}}}
    code, text = scene.play("power", "-e", "host=xen03", "-e", "power=off")
    assert (code, text.count("changed=0"), scene.is_on("xen03")) == (0, 3, False), text
    code, text = scene.play("power", "-e", "host=xen03", "-e", "power=on")
    assert (code, scene.is_on("xen03"), scene.off.exists()) == (0, True, False), text
    assert "xen03 is on; it is drained still: playbooks/return.yml -e host=xen03" in text
    code, text = scene.play("power", "-e", "host=xen03", "-e", "power=on")
    assert (code, text.count("changed=0")) == (0, 3), text


def test_a_host_is_woken_by_a_magic_packet(scene: Powered) -> None:
    scene.switch("xen03", "off")
    scene.off.write_text("xen_hosts: {hosts: {xen03: {estate_off: true}}}\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as card:
        card.bind(("127.255.255.255", 0))
        card.settimeout(120)
        scene.settings(power_by="wake_on_lan", power_mac=MAC, power_broadcast="127.255.255.255", power_port=card.getsockname()[1])

        def wake() -> None:
            if card.recv(1024).startswith(b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) * 16):
                scene.switch("xen03", "on")

        watch = threading.Thread(target=wake)
        watch.start()
        code, text = scene.play("power", "-e", "host=xen03", "-e", "power=on")
        watch.join()
    assert (code, scene.is_on("xen03"), scene.off.exists()) == (0, True, False), text


def test_a_host_that_somebody_works_on_stays_on(scene: Powered) -> None:
    scene.has("xen03", lock="other")
    code, text = scene.play("power", "-e", "host=xen03", "-e", "power=off")
    assert (code, scene.is_on("xen03")) == (2, True), text
    assert "somebody holds the lock (run other)" in text


def test_a_host_that_is_off_is_not_taken_back(scene: Powered) -> None:
    scene.off.write_text("xen_hosts: {hosts: {xen03: {estate_off: true}}}\n")
    code, text = scene.play("return", "-e", "host=xen03")
    assert (code, scene.marks.exists()) == (2, True), text
    assert "xen03 stays drained: it is off by off.yml of the inventory: playbooks/power.yml -e host=xen03 -e power=on" in text


def test_a_mark_that_stands_elsewhere_is_told_before_anything_is_switched(scene: Powered) -> None:
    scene.settings(estate_off=True)
    code, text = scene.play("power", "-e", "host=xen03", "-e", "power=on")
    assert code == 2 and "host xen03: estate_off: value true, which stands elsewhere than in" in text, text


def test_a_controller_that_does_not_answer_is_told_before_the_host_goes(scene: Powered) -> None:
    scene.settings(power_by="ipmi", power_ipmi_address="127.0.0.1", power_ipmi_port=1, power_ipmi_user="admin",
                   power_ipmi_password="secret")
    code, text = scene.play("power", "-e", "host=xen03", "-e", "power=off", "--check")
    assert (code, scene.is_on("xen03"), scene.off.exists()) == (2, True, False), text
    assert "Ask the management controller" in text and "secret" not in text, text


@pytest.mark.parametrize(("arguments", "settings", "message"), [
    (("host=xen03", "power=no"), {}, "power: value 'no', allowed on, off: -e power=off"),
    (("host=xen09", "power=off"), {}, "host: value 'xen09', allowed one host of the estate: xen01, xen02, xen03"),
    (("host=xen01", "power=off"), {}, "xen01 stays on: it is not drained: playbooks/drain.yml -e host=xen01; db01, web01: runs there"),
    (("host=xen03", "power=off"), {"power_spares": 2}, "power_spares: value 2, so as many hosts of its pool"),
    (("host=xen03", "power=off"), {"power_by": "ipmi", "power_ipmi_user": "admin"},
     "host 'xen03': power_ipmi_address, power_ipmi_password: missing, allowed what power_by ipmi needs"),
    (("host=xen03", "power=off"), {"power_by": "wake_on_lan", "power_mac": "52:54"}, "power_mac: value 52:54, allowed a MAC address"),
    (("host=xen03", "power=off"), {"power_ipmi_pasword": "hunter2"}, "power_ipmi_pasword: unknown key with value '(not shown)'"),
    (("host=xen03", "power=off"), {"power_by": "phone"}, "value of power_by must be one of: ipmi, wake_on_lan, hand, got: phone"),
    (("host=xen03", "power=off"), {"power_seconds": 5}, "host 'xen03': power_seconds: value 5, allowed 10 to 7200"),
])
def test_refusals(scene: Powered, arguments: tuple[str, ...], settings: dict[str, object], message: str) -> None:
    scene.settings(**settings)
    code, text = scene.play("power", *(word for argument in arguments for word in ("-e", argument)))
    assert (code, scene.is_on("xen03"), scene.off.exists()) == (2, True, False), text
    assert message in text, text
