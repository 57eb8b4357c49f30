# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What filters say of values that they cannot take, in one form."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import DEFAULT_POOL


@contextlib.contextmanager
def operation(name: str) -> Iterator[None]:
    """For a filter `name` over the estate's problem and what hosts told. Raises AnsibleFilterError for what is wrong with them."""
    try:
        yield
    except RecursionError as error:
        raise AnsibleFilterError(f"{name}: value that is nested too deeply, allowed plain values") from error
    except (LookupError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(f"{name}: problem, told: value that does not hold together ({error!r}), allowed what the modules"
                                 " estate and xl_move_info return") from error
    except ValueError as error:
        raise AnsibleFilterError(f"{name}: {error}") from error


def of_pool(name: str, find: Callable[..., Any], variables: Any, host: Any, hosts: Any, **options: Any) -> Any:
    """What `find` finds in the variables of a host and of those to look at; the pool of a host without one is the third that it is given.

    options: what else `find` takes. For a filter `name`. Raises AnsibleFilterError for what is wrong with the variables.
    """
    if not isinstance(variables, Mapping) or isinstance(hosts, str) or not isinstance(hosts, Iterable):
        raise AnsibleFilterError(
            f"{name}: values of type {type(variables).__name__} and {type(hosts).__name__}, allowed the variables of all hosts,"
            " as in hostvars, and the names of those to look at")
    try:
        return find({other: variables[other] for other in [host, *hosts]}, host, DEFAULT_POOL, **options)
    except ValueError as error:
        raise AnsibleFilterError(f"{name}: {error}") from error
    except (LookupError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(
            f"{name}: the hosts' variables do not hold together ({error!r}); playbooks/plan.yml names the item") from error
