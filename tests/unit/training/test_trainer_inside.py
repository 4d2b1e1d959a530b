"""What the installed Trainer keeps to itself is overridden and named in one file, whose docstring says all of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from transformers import Trainer, TrainingArguments

from tests.test_architecture import PACKAGE, TRAINER_INSIDE, attributes

INSIDE = PACKAGE / "training" / "hf_trainer.py"
OTHERS = [
    path
    for path in sorted((PACKAGE / "training").rglob("*.py"))
    if str(path.relative_to(PACKAGE)) not in TRAINER_INSIDE
]
OWN = {name for name in (*dir(Trainer), "_n_gpu", *dir(TrainingArguments)) if re.match("_[a-z]", name)}


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_nobody_else_names_what_the_trainer_keeps_to_itself(path: Path) -> None:
    assert attributes(ast.parse(path.read_text())) & OWN == set()


def test_the_docstring_names_what_is_overridden() -> None:
    tree = ast.parse(INSIDE.read_text())
    (trainer,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "UnlearningTrainer")
    overridden = {node.name for node in trainer.body if isinstance(node, ast.FunctionDef)} & set(dir(Trainer))
    said = ast.get_docstring(tree) or ""
    assert {name for name in overridden - {"__init__"} if f"`{name}`" not in said} == set()
    assert len(overridden) > 10
