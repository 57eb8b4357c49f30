#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: migration_lock
short_description: Keep a second controller from carrying out a plan at the same time
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes or gives back a lock on the host, a file that names its holder. It is gone when the host boots anew.
  - Fails with who holds it and since when, when that is somebody else.
  - A lock is never a change of the host; it is there only while somebody works. In check mode it is looked at, not taken.
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  state:
    description: V(present) takes the lock, V(absent) gives it back when it is that of O(run).
    type: str
    choices: [present, absent]
    default: present
  run:
    description: Id of the run that takes it.
    type: str
    required: true
  by:
    description: Who runs it, for the message to a second one.
    type: str
    default: unknown
  since:
    description: Since when, for that message.
    type: str
    default: unknown
  break_run:
    description: Id of a run whose lock is taken away, since its controller is dead. Never done while a guest moves from this host.
    type: str
    default: ""
  path:
    description: The file.
    type: str
    default: /run/xenfold/apply.lock
"""

EXAMPLES = r"""
- name: Take the lock
  xenfold.consolidation.migration_lock:
    run: 20261129T164305-1a2b
    by: root@control
    since: 2026-11-29 16:43:05
"""

RETURN = r"""
held:
  description: Whether the lock is that of O(run) now.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import lock, names, processes


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "run": {"type": "str", "required": True},
            "by": {"type": "str", "default": "unknown"},
            "since": {"type": "str", "default": "unknown"},
            "break_run": {"type": "str", "default": ""},
            "path": {"type": "str", "default": lock.PATH},
        },
        supports_check_mode=True,
    )
    options = module.params
    errors = names.check("run", options["run"])
    if errors:
        module.fail_json(msg=errors[0])
    if options["state"] == "absent":
        if not module.check_mode:
            lock.release(options["path"], options["run"])
        module.exit_json(changed=False, held=False)
    held = lock.read(options["path"])
    if held and held["run"] != options["run"]:
        moving, _receiving = processes.look()
        if moving or options["break_run"] != held["run"]:
            module.fail_json(msg=lock.refusal(held, moving, options["break_run"]))
        if not module.check_mode:
            lock.release(options["path"], held["run"])
    if not module.check_mode:
        other = lock.take(options["path"], options)
        if other:
            module.fail_json(msg=lock.refusal(other, [], ""))
    module.exit_json(changed=False, held=not module.check_mode)


if __name__ == "__main__":
    main()
