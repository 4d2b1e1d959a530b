"""The shape of the code: imports point up, files and functions stay small, documents match what they describe."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from structure import circles, imported_modules

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "mmforget"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = (
    ("errors", "types", "registry", "plugins", "reading", "yaml_text", "unfinished", "arguments", "pictures"),
    ("libraries", "parallel", "skeletons"),
    ("statistics",),
    ("benchmark", "results"),
    ("asking",),
    ("synthetic",),
    ("model",),
    ("lm", "methods"),
    ("training",),
    ("metrics",),
    ("judges",),
    ("protocols",),
    ("attacks",),
    ("evaluation",),
    ("leaderboard",),
    ("pipeline",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
NEVER = {
    "methods": {"model", "training", "benchmark", "lm"},
    "metrics": {"model", "methods", "training", "lm"},
    "training": {"lm"},
    "protocols": {"model", "methods", "training", "lm"},
    "leaderboard": {
        "benchmark",
        "synthetic",
        "protocols",
        "model",
        "lm",
        "methods",
        "training",
        "metrics",
        "judges",
        "attacks",
        "evaluation",
    },
}
NO_TORCH = (
    "errors",
    "types",
    "registry",
    "arguments",
    "pictures",
    "plugins",
    "reading",
    "yaml_text",
    "unfinished",
    "libraries",
    "parallel",
    "skeletons",
    "statistics",
    "benchmark",
    "results",
    "asking",
    "metrics",
    "judges",
    "protocols",
    "attacks",
    "leaderboard",
    "cli",
)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Walked once a module: a dozen rules look at each."""
    return tuple(ast.walk(tree))


@cache
def imports(tree: ast.AST) -> tuple[str, ...]:
    names: list[str] = []
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def imports_point_up(path: Path) -> None:
    part = part_of(path)
    if part.startswith("__"):
        return
    for name in imports(parsed(path)):
        if not name.startswith("mmforget."):
            continue
        other = name.split(".")[1]
        if other == part or other == "__version__":
            continue
        assert RANK[other] <= RANK[part], f"{path.name} imports {name}, which lies below it"
        assert RANK[other] < RANK[part] or RANK[part] == 0, f"{path.name} imports its neighbour {name}"
        assert other not in NEVER.get(part, set()), f"{part} must not import {other}"


@pytest.mark.parametrize("package", sorted({part_of(path) for path in MODULES if path.parent != PACKAGE}))
def test_the_modules_of_a_package_import_one_another_in_no_circle(package: str) -> None:
    """Imports inside functions count: they only hide a circle."""
    trees = {path: parsed(path) for path in MODULES if part_of(path) == package}
    assert circles(imported_modules(trees, root=ROOT)) == []


def nobody_names_a_protocol_but_itself(path: Path) -> None:
    """Loaders are found through task folders, metrics and prompts through the registry."""
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts[:3])
    named = {name for name in imports(parsed(path)) if name.startswith("mmforget.protocols")}
    assert {name for name in named if not name.startswith(f"{own}.")} == set()


def _top_level_imports(tree: ast.Module) -> tuple[str, ...]:
    nodes = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return imports(ast.Module(body=list(nodes), type_ignores=[]))


HEAVY = {"torch", "transformers", "peft", "lm_eval", "datasets", "bitsandbytes", "accelerate", "matplotlib", "scipy"}


def light_parts_import_nothing_heavy(path: Path) -> None:
    if part_of(path) not in NO_TORCH:
        return
    if part_of(path) == "metrics":
        heavy = {"torch", "transformers", "peft", "lm_eval", "bitsandbytes", "accelerate"}
    else:
        heavy = HEAVY
    found = {name.split(".")[0] for name in _top_level_imports(parsed(path))} & heavy
    assert not found, f"{path.relative_to(ROOT)} imports {sorted(found)} at the top"


def files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines"
    for node in nodes(parsed(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines"
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            num = len([one for one in given if one.arg not in ("self", "cls")])
            assert num <= 8, f"{path.relative_to(ROOT)}:{node.lineno} {node.name} takes {num} parameters"


def test_every_module_says_what_it_is() -> None:
    silent = [str(p.relative_to(ROOT)) for p in MODULES if not ast.get_docstring(parsed(p))]
    assert silent == []


def test_no_two_test_files_have_one_name() -> None:
    """Of two, pytest reads the first and counts the other as an error at the end."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_there_is_one_data_card_a_benchmark() -> None:
    benchmarks = {p.name for p in (ROOT / "tasks").iterdir() if p.is_dir() and not p.name.startswith(("_", "."))}
    cards = {p.stem for p in (ROOT / "data_cards").glob("*.md")} - {"TEMPLATE"}
    assert cards == benchmarks


def test_the_readme_tree_names_every_package() -> None:
    readme = (ROOT / "README.md").read_text()
    packages = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    missing = {name for name in packages if f"  {name}/" not in readme}
    assert missing == set()


MODULE_OF = {"pillow": "PIL", "pyyaml": "yaml", "lm-eval": "lm_eval", "rouge-score": "rouge_score"}
"""What a package is imported as, where that is not its own name."""


def test_every_required_package_is_used() -> None:
    """Imported, or looked for where `transformers` imports it on our behalf."""
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[<>=\[ ]", requirement)[0].lower() for requirement in requirements]
    texts = [path.read_text() for path in MODULES]
    used = {name.split(".")[0] for path in MODULES for name in imports(parsed(path))}
    used |= {name for text in texts for name in re.findall(r'find_spec\("(\w+)"\)', text)}
    assert {MODULE_OF.get(name, name) for name in names} - used == set()


def test_the_constraints_pin_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=\[ ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert names - pinned == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda p: p.name)
def test_all_that_is_printed_goes_through_one_file(path: Path) -> None:
    """There it is made harmless: a name or path of a stranger could steer the terminal."""
    tree = parsed(path)
    called = [(node.func, node.lineno) for node in nodes(tree) if isinstance(node, ast.Call)]
    printed = [line for function, line in called if isinstance(function, ast.Name) and function.id == "print"]
    assert printed == [] or path.name == "printing.py"


def test_no_package_is_called_like_a_public_function() -> None:
    """Python would put the package in the place of the function as soon as something inside it is imported."""
    import mmforget

    inside = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert inside & set(mmforget.__all__) == set()


LM_EVAL_INSIDE = ("lm/inside.py",)
"""All that imports lm_eval; the base class's hook for encoded text is overridden where the adapter is."""
TASK_NAMES = frozenset({
    "get_config", "set_config", "set_fewshot_seed", "eval_docs", "instances", "resps", "cache_hook", "add_partial",
    "OUTPUT_TYPE", "UNSAFE_CODE", "fewshot_context", "construct_requests", "doc_to_target", "doc_to_choice",
    "aggregation",
})  # fmt: skip
TRAINER_INSIDE = ("training/hf_arguments.py", "training/hf_trainer.py")
TRAINER_CLASSES = frozenset({"Trainer", "TrainingArguments", "TrainerCallback", "TrainerControl", "TrainerState"})


def attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in nodes(tree) if isinstance(node, ast.Attribute)}


def what_lm_eval_may_move_is_known_to_one_file(path: Path) -> None:
    if str(path.relative_to(PACKAGE)) in LM_EVAL_INSIDE:
        return
    tree = parsed(path)
    assert [name for name in imports(tree) if name.split(".")[0] == "lm_eval"] == []
    assert attributes(tree) & TASK_NAMES == set()


def the_trainer_is_overridden_in_one_place(path: Path) -> None:
    if str(path.relative_to(PACKAGE)) in TRAINER_INSIDE:
        return
    tree = parsed(path)
    named = {name.rpartition(".")[2] for name in imports(tree) if name.startswith("transformers.")}
    assert named & TRAINER_CLASSES == set()


def nobody_names_the_family_of_all_other_models(path: Path) -> None:
    """What is special about it is asked of the model, or of the one module for images that processors write."""
    if path.parent.name == "families":
        return
    named = imports(parsed(path))
    assert {f"mmforget.model.families.{name}" for name in ("other", "other_text")} & set(named) == set()


RULES: tuple[Callable[[Path], None], ...] = (
    imports_point_up,
    nobody_names_a_protocol_but_itself,
    light_parts_import_nothing_heavy,
    files_and_functions_stay_small,
    what_lm_eval_may_move_is_known_to_one_file,
    the_trainer_is_overridden_in_one_place,
    nobody_names_the_family_of_all_other_models,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_a_rule(rule: Callable[[Path], None]) -> None:
    broken = {}
    for path in MODULES:
        try:
            rule(path)
        except AssertionError as error:
            broken[str(path.relative_to(ROOT))] = str(error).splitlines()[0]
    assert broken == {}
