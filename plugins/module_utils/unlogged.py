# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module whose options a host's journal never has."""
from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule


class UnloggedModule(AnsibleModule):
    """For options with secrets below them: Ansible writes those down as Python shows them, where it finds a text of several lines no more.

    Its own no_log of a module does not last: each task brings another value of that.
    """

    def log(self, msg: Any, log_args: Any = None) -> None:
        """Write nothing."""
