# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A plain Debian host has become a Xen host that was booted by its own GRUB."""
from __future__ import annotations


def test_this_is_dom0(host):
    assert "control_d" in host.file("/proc/xen/capabilities").content_string


def test_xen_runs_with_what_was_asked(host):
    words = host.check_output("xl info xen_commandline").split()
    assert {"dom0_mem=896M,max:896M", "dom0_max_vcpus=1", "cpuidle=0"} <= set(words)
    name, _domid, memory, vcpus, *_ = host.check_output("xl list").splitlines()[1].split()
    assert name == "Domain-0"
    assert abs(int(memory) - 896) <= 16
    assert vcpus == "1"


def test_dom0_does_not_shrink(host):
    assert 'autoballoon="off"' in host.file("/etc/xen/xl.conf").content_string


def test_the_next_boot_starts_xen_too(host):
    menu = host.file("/boot/grub/grub.cfg").content_string
    assert 'set default="Debian GNU/Linux, with Xen hypervisor"' in menu
    assert "dom0_mem=896M,max:896M" in menu


def test_guests_are_shut_down_never_saved(host):
    settings = host.file("/etc/default/xendomains").content_string
    assert 'XENDOMAINS_SAVE=""' in settings
    assert "XENDOMAINS_RESTORE=false" in settings


def test_console_logs_are_on(host):
    assert "--log=guest" in host.check_output("ps -C xenconsoled -o args=")
    assert host.file("/var/log/xen/console").is_directory
