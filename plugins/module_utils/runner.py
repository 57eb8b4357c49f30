# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs command-line tools for the modules of a managed host: one place for locale, errors and what is recorded."""
from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class Result(NamedTuple):
    """What a command left behind."""

    rc: int
    out: str
    err: str


class ModuleLike(Protocol):
    """The part of AnsibleModule that a runner needs."""

    def run_command(self, args: Any, **kwargs: Any) -> tuple[int, str, str]: ...

    def fail_json(self, msg: str, **kwargs: Any) -> Any: ...


class Runner:
    """Runs commands in the C locale and remembers those that change something.

    `read` is for questions and runs in check mode too; `change` is for steps of the plan and must not be called there.
    A command that fails ends the module with the command, its return code and what it said, unless `ok` lists the code.
    """

    def __init__(self, module: ModuleLike) -> None:
        self._module = module
        self.changes: list[list[str]] = []

    def read(self, argv: Sequence[str], ok: Sequence[int] = (0,), data: str | None = None) -> Result:
        """Run a question. `ok`: return codes that are answers; an empty sequence accepts every code."""
        return self._run(list(argv), ok, data)

    def change(self, argv: Sequence[str], ok: Sequence[int] = (0,), data: str | None = None) -> Result:
        """Run a step that changes the host and record it in `changes`."""
        self.changes.append(list(argv))
        return self._run(list(argv), ok, data)

    @staticmethod
    def tool(name: str) -> bool:
        """Whether a command is installed; in check mode it may not be there yet."""
        return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is not None

    def _run(self, argv: list[str], ok: Sequence[int], data: str | None) -> Result:
        environment = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "LANGUAGE": "C"}
        result = Result(*self._module.run_command(argv, data=data, environ_update=environment))
        if ok and result.rc not in ok:
            said = (result.err.strip() or result.out.strip() or "nothing").splitlines()
            self._module.fail_json(
                msg=f"'{' '.join(argv)}' failed with return code {result.rc}: {'; '.join(said[-5:])}",
                cmd=argv, rc=result.rc, stdout=result.out, stderr=result.err,
            )
        return result
