"""Packages that `mmforget new` writes: a plugin of each kind with tests that pass at once.

Files are templates, each with that suffix after its own: `$name`, `$module`, `$class_name` and what else
`Skeleton.words` has are put in. In file names `NAME` stands for the plugin's.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from mmforget.errors import UserError, shortened

FOLDER = Path(__file__).parent
TEMPLATES = "*.template"
NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
SUMMARIES: Mapping[str, str] = {
    "benchmark": "A benchmark for mmforget: where people live, in words.",
    "method": "A method for mmforget: gradient ascent up to a ceiling.",
    "metric": "A metric for mmforget: answers no longer than the reference.",
    "attack": "An attack for mmforget: every question asked politely, then as an order.",
}
TRY_IT: Mapping[str, str] = {
    "benchmark": "mmforget run --model micro --tasks $name --methods npo",
    "method": "mmforget run --model micro --tasks fiubench --methods $name",
    "metric": "mmforget ls metrics",
    "attack": "mmforget attack --model micro --tasks fiubench --attacks $name",
}


@dataclass(frozen=True)
class Skeleton:
    """A package to be written: the kind of plugin and its name, which is that of the package and of its module."""

    kind: str
    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UserError(
                f"{shortened(self.name)} is no name for a package: a letter, then letters, digits and '_', 2 to 40 in "
                "all, no capitals"
            )
        if importlib.util.find_spec(self.name) is not None:
            raise UserError(f"a Python module is named '{self.name}' already; choose another name")

    @property
    def words(self) -> dict[str, str]:
        """What is put into templates."""
        words = {"kind": self.kind, "name": self.name, "module": self.name, "summary": SUMMARIES[self.kind]}
        words["class_name"] = "".join(part.capitalize() for part in self.name.split("_"))
        words["entry"] = self.name if self.kind == "benchmark" else f"{self.name}.plugin"
        return words | {"try_it": Template(TRY_IT[self.kind]).substitute(words)}

    def files(self) -> dict[Path, str]:
        """The text of every file, by its place in the package's folder."""
        found = {Path(self.name, "__init__.py"): f'"""{SUMMARIES[self.kind]}"""\n'}
        for path in sorted(FOLDER.joinpath("package").glob(TEMPLATES)):
            found[Path(path.stem)] = self._filled(path)
        for path in sorted(FOLDER.joinpath(self.kind).glob(TEMPLATES)):
            found[self._place(path.stem)] = self._filled(path)
        return found

    def write(self, folder: Path) -> list[Path]:
        """Writes the package to a new folder and returns its files. Raises UserError where something is there."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is there already; choose another name or --output_path, nothing was written")
        files = self.files()
        for place, text in files.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return [folder / place for place in files]

    def _place(self, name: str) -> Path:
        if name == "test_plugin.py":
            return Path("tests", f"test_{self.name}.py")
        return Path(self.name, name.replace("NAME", self.name))

    def _filled(self, path: Path) -> str:
        return Template(path.read_text(encoding="utf-8")).substitute(self.words)
