"""What `--json` prints: one JSON document on stdout, in which what is no number is null."""

from __future__ import annotations

import json
from typing import Any

from mmforget.results.codec import to_jsonable


def print_json(document: Any) -> None:
    """Prints a document; NaN and infinity, which JSON does not know, as null."""
    print(json.dumps(to_jsonable(document, strict=False).value, indent=2, allow_nan=False))
