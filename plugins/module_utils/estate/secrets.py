# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts out of a vault: checked like any other, never shown."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HIDDEN = "(vaulted)"
_SHORTEST = 4
"""Shorter texts are hidden where they are quoted by themselves, not where they are a part of a longer text."""


class Secret(str):
    """A text out of a vault. It compares and matches as what it is; `str`, `repr` and formats give HIDDEN.

    What is made of it by slicing, joining and methods of `str` is an ordinary text: see `alike` and Mask.
    """

    def __repr__(self) -> str:
        return repr(HIDDEN)

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def reveal(self) -> str:
        """The text itself, for data that goes on to roles and planner."""
        return super().__str__()


class Mask:
    """Finds texts out of a vault inside of other texts, whole words at a time and in any case."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(plain(secret)) if len(form) >= _SHORTEST}
        words = "|".join(re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form)))
        self._pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.IGNORECASE) if words else None

    def covers(self, text: str) -> bool:
        """Whether a text holds one of them."""
        return self._pattern is not None and self._pattern.search(text) is not None

    def apply(self, text: str) -> str:
        """The text with HIDDEN in place of them."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


def _forms(secret: str) -> Iterator[str]:
    """How a text can come up in messages: as it is, escaped, as a part of a device's name, and what follows from an address."""
    yield from (secret, repr(secret)[1:-1], secret.replace("-", "--"))
    try:
        interface = ipaddress.ip_interface(secret)
    except ValueError:
        return
    yield from (str(interface.ip), str(interface.network), secret.split("/", maxsplit=1)[0])


def plain(value: Any) -> str:
    """A value as a text, also one out of a vault: for data and comparisons, not for messages."""
    return value.reveal() if isinstance(value, Secret) else str(value)


def alike(original: Any, text: str) -> str:
    """A text that was made of another: as secret as that one."""
    return Secret(text) if isinstance(original, Secret) else text


def revealed(value: Any) -> Any:
    """The same value with the texts themselves all the way down."""
    if isinstance(value, Mapping):
        return {key: revealed(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(part) for part in value]
    return value.reveal() if isinstance(value, Secret) else value


def veiled(value: Any, secrets: Iterable[str]) -> Any:
    """The same value with every text that is one of `secrets` as Secret, all the way down."""
    if isinstance(value, Mapping):
        return {key: veiled(part, secrets) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [veiled(part, secrets) for part in value]
    return Secret(plain(value)) if isinstance(value, str) and value in secrets else value


def secrets_in(value: Any) -> set[str]:
    """Every text out of a vault in a value, in plain."""
    found: set[str] = set()
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, Mapping):
            rest.extend(part.values())
        elif isinstance(part, list | tuple):
            rest.extend(part)
        elif isinstance(part, Secret):
            found.add(part.reveal())
    return found
