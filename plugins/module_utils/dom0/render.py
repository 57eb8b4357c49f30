# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the dom0 role writes on a host, as pure functions of its settings."""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile

GRUB_DROP_IN = "/etc/default/grub.d/00-xenfold.cfg"
XL_CONF = "/etc/xen/xl.conf"
XENDOMAINS = "/etc/default/xendomains"
XEN_DEFAULTS = "/etc/default/xen"
LOGROTATE = "/etc/logrotate.d/xenfold-guests"
CONSOLE_LOGS = "/var/log/xen/console"
XENCONSOLED_WORDS = ("--log=guest", "--timestamp=guest", f"--log-dir={CONSOLE_LOGS}")

_HEADER = "# Managed by Ansible: xenfold.consolidation, role dom0. Changes made here are overwritten.\n"

# Words that a shell reads from the drop-in inside double quotes.
_SAFE_WORD = re.compile(r"^[A-Za-z0-9_.,:;=+@%/^~\[\]{}()*?!<>|&#-]+$")
_OWN_KEYS = ("dom0_mem", "dom0_max_vcpus", "dom0_vcpus_pin")


@dataclass(frozen=True)
class Settings:
    """The dom0 settings of a host.

    memory_mib, vcpus: fixed size of dom0; vcpus_pin: pin dom0's vCPUs to the same-numbered CPUs;
    xen_options, linux_options: further words for the command lines of Xen and of the dom0 kernel;
    xl_options: settings of xl.conf (text, number or boolean).
    """

    memory_mib: int
    vcpus: int
    vcpus_pin: bool = False
    xen_options: tuple[str, ...] = ()
    linux_options: tuple[str, ...] = ()
    xl_options: dict[str, str | int | bool] = field(default_factory=dict)
    shutdown_wait_seconds: int = 300


def check(settings: Settings) -> list[str]:
    """Errors of the settings, each with key, value and what is allowed. Sources: xen-command-line, xl.conf(5)."""
    errors = []
    if settings.memory_mib < 512:
        errors.append(f"memory_mib: {settings.memory_mib} is too small; allowed is 512 or more (MiB)")
    if not 1 <= settings.vcpus <= 128:
        errors.append(f"vcpus: {settings.vcpus} is out of range; allowed is 1 to 128")
    for key, words in (("xen_options", settings.xen_options), ("linux_options", settings.linux_options)):
        for word in words:
            if not _SAFE_WORD.match(word):
                errors.append(f"{key}: {word!r} is not one plain word; allowed are letters, digits and .,:;=+@%/- signs,"
                              " without spaces, quotes, $, ` or backslash")
            elif key == "xen_options" and word.split("=")[0] in _OWN_KEYS:
                errors.append(f"{key}: {word!r} is set by its own option; use memory_mib, vcpus or vcpus_pin")
    for key, value in sorted(settings.xl_options.items()):
        if not re.match(r"^[a-z][a-z0-9_.]*$", key):
            errors.append(f"xl_options: {key!r} is not a setting of xl.conf; allowed are names in lower case, digits, _ and .")
        elif isinstance(value, str) and re.search(r'["\n\\]', value):
            errors.append(f"xl_options: {key}: {value!r} holds a quote, backslash or line break; allowed is plain text")
    return errors


def xen_words(settings: Settings) -> list[str]:
    """The words of Xen's command line that the settings ask for.

    `max:` is given as well: without it Xen leaves dom0's upper limit open (docs/misc/xen-command-line.pandoc).
    """
    words = [
        f"dom0_mem={settings.memory_mib}M,max:{settings.memory_mib}M",
        f"dom0_max_vcpus={settings.vcpus}",
    ]
    if settings.vcpus_pin:
        words.append("dom0_vcpus_pin")
    return words + list(settings.xen_options)


def grub_drop_in(settings: Settings) -> WantedFile:
    """The GRUB drop-in. Its name sorts before Debian's xen.cfg, which reads XEN_OVERRIDE_GRUB_DEFAULT itself."""
    linux = " ".join(settings.linux_options)
    return WantedFile(GRUB_DROP_IN, (
        _HEADER
        + "# To go back: remove this file, run update-grub, reboot.\n"
        + "XEN_OVERRIDE_GRUB_DEFAULT=1\n"
        + f'GRUB_CMDLINE_XEN="{" ".join(xen_words(settings))}"\n'
        + f'GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT="{linux}"\n'
    ))


def _xl_value(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int) else f'"{value}"'


def configuration(settings: Settings) -> list[WantedFile]:
    """The files that Xen's tools read; written after the packages, whose own versions they replace."""
    xl_lines = [f"{key}={_xl_value(value)}\n" for key, value in sorted(settings.xl_options.items())]
    return [
        WantedFile(XL_CONF, _HEADER + "".join(xl_lines)),
        WantedFile(XENDOMAINS, (
            _HEADER
            + "# Guests are shut down, never saved: an image restored after its guest ran elsewhere destroys the guest's disk.\n"
            + 'XENDOMAINS_MIGRATE=""\nXENDOMAINS_SAVE=""\nXENDOMAINS_RESTORE=false\nXENDOMAINS_AUTO=/etc/xen/auto\n'
            + f"XENDOMAINS_STOP_MAXWAIT={settings.shutdown_wait_seconds}\n"
        )),
        WantedFile(XEN_DEFAULTS, (
            _HEADER
            + "# The consoles of guests are logged to /var/log/xen/console.\n"
            + f'XENCONSOLED_ARGS="{" ".join(XENCONSOLED_WORDS)}"\n'
        )),
        WantedFile(LOGROTATE, (
            _HEADER
            + f"{CONSOLE_LOGS}/*.log /var/log/xen/xl-*.log {{\n"
            + "    weekly\n    rotate 8\n    maxsize 16M\n    compress\n    missingok\n    notifempty\n    copytruncate\n}\n"
        )),
    ]
