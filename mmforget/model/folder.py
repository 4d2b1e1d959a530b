"""The files of a model or adapter folder, looked at before any library reads them: a wrong one is named, with its key.

Libraries say of a wrong value what happened to fall over it. `blamed` finds the key that is at fault by leaving out one
key after the other from copies of the small files until the step that failed passes.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmforget.errors import UserError, is_fault, one_line, shortened
from mmforget.reading import read_text, require_regular

ADVICE = "download or save it again"
READ = (
    *("*.safetensors", "*.json", "*.jinja", "*.model", "*.py", "vocab.*", "merges.txt"),
    "additional_chat_templates/*.jinja",
)
"""What libraries read of a folder."""
MAX_WEIGHTS_BYTES = 2**50
LIMITS = (
    (re.compile(r"layers|depth$|^n_layer$"), 10_000),
    (re.compile(r"image_size|patch_size|crop"), 2**14),
    (re.compile(r"position|n_ctx|max_seq"), 2**31),
    (re.compile(r"size|dim|heads?$|experts|vocab|width|channels|rank|^n_embd$|^r$"), 2**24),
)
"""The largest whole number that a key may have; one that is larger would fill the memory before it is refused."""
MAX_TRIED = 100
"""Keys that are left out in turn, each for one reading of the small files, before the search is given up."""


def check_folder(folder: Path) -> None:
    """Raises UserError for a file that is no regular file, no JSON object, or asks for more than a model can have."""
    for path in sorted({path for pattern in READ for path in folder.glob(pattern)}):
        require_regular(path, max_bytes=MAX_WEIGHTS_BYTES)
        if path.suffix == ".json":
            document(path)
        elif path.suffix == ".safetensors":
            _check_header(path)
    for name in ("config.json", "adapter_config.json"):
        if (folder / name).exists():
            _check_sizes(document(folder / name), place=f"{folder / name}:")


def _check_header(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            return
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged, so its weights cannot be loaded ({one_line(error)[:200]}); {ADVICE}"
        ) from error


def document(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises UserError naming the file where it is none.

    NaN and infinity are let pass, since configurations of published models hold them.
    """
    text = read_text(path)
    try:
        values = json.loads(text)
        # Half a character (`\\ud800`) is taken by no file or terminal.
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no readable JSON ({one_line(error)[:200]}); {ADVICE}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {shortened(values, limit=40)}, not a JSON object with keys; {ADVICE}")
    return values


def _check_sizes(values: Mapping[str, Any], *, place: str) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            _check_sizes(value, place=f"{place} {key}.")
            continue
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(number, int) for number in numbers):
            continue
        limit = next((limit for pattern, limit in LIMITS if pattern.search(key)), None)
        if limit is not None and any(abs(number) > limit for number in numbers):
            raise UserError(f"{place} {key} is {shortened(value)}, larger than any model's ({limit:,}); {ADVICE}")


def blamed(folder: Path, *, files: Sequence[str], attempt: Callable[[Path], object]) -> str | None:
    """Which key of the files makes `attempt(folder)` raise: `config.json: hidden_act is 7`; None where no single one.

    A key counts where the attempt passes on a copy of the folder without it.
    """
    tried = 0
    for name in files:
        if not (folder / name).is_file():
            continue
        values = document(folder / name)
        for keys in _ways(values):
            tried += 1
            if tried > MAX_TRIED:
                return None
            if _passes(folder, name, _without(values, keys), attempt=attempt):
                return f"{name}: {'.'.join(keys)} is {shortened(_at(values, keys))}"
    return None


def _ways(values: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The ways to the keys of a document, two levels deep: inner keys first, since they say more."""
    inside = [(key, value) for key, value in values.items() if isinstance(value, Mapping)]
    yield from ((outer, key) for outer, value in inside for key in value)
    yield from ((key,) for key in values)


def _at(values: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        values = values[key]
    return values


def _without(values: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    first, *rest = keys
    if rest:
        return {**values, first: _without(values[first], rest)}
    return {key: value for key, value in values.items() if key != first}


def _passes(folder: Path, name: str, values: Mapping[str, Any], *, attempt: Callable[[Path], object]) -> bool:
    with tempfile.TemporaryDirectory(prefix="mmforget-folder-") as place:
        copy = Path(place) / folder.name
        copy.mkdir()
        for path in folder.iterdir():
            if path.name != name:
                (copy / path.name).symlink_to(path.resolve())
        (copy / name).write_text(json.dumps(values), encoding="utf-8")
        try:
            attempt(copy)
        except BaseException as error:
            if not is_fault(error):
                raise
            return False
    return True
