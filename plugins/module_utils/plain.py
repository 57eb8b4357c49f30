# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values as they are, without what ansible-core puts on them."""
from __future__ import annotations

import json
from typing import Any


def plain(value: Any) -> Any:
    """A value through JSON and back, without the tags of ansible-core. Raises TypeError, ValueError or RecursionError for what is none."""
    return json.loads(json.dumps(value))
