"""All that reaches the terminal: lines for people, which cannot steer it, and the document that `--json` prints."""

from __future__ import annotations

import json
import sys
from typing import Any

from mmforget.errors import printable
from mmforget.results.codec import to_jsonable


def say(text: str) -> None:
    """Prints a result for people on stdout."""
    print(printable(text))


def tell(text: str) -> None:
    """Prints what goes on, or went wrong, on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """Prints a document; NaN and infinity, which JSON does not know, as null."""
    print(json.dumps(to_jsonable(document, strict=False).value, indent=2, allow_nan=False))
