"""Templates render as lm_eval's do, in a sandbox and within bounds, and functions stay in their folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError
from lm_eval.utils import apply_template

from mmforget.benchmark.task_files import FunctionRef, TaskFileError, load_function, read_task_file
from mmforget.benchmark.templates import template
from mmforget.errors import PluginError, UserError


@pytest.mark.parametrize(
    "text",
    [
        "<image>\n{{q}}",
        "{% for c in options %}{{loop.index}}. {{c}}\n{% endfor %}",
        "{{ options | join(', ') }} {{ q.strip() | upper }}\n",
        "{% if options %}{{ 'ab' * 3 }}{% endif %}",
    ],
)
def test_the_same_text_as_lm_eval(text: str) -> None:
    doc = {"q": " Who? ", "options": ["a", "b"]}
    assert template(text).render(**doc) == apply_template(text, doc)


@pytest.mark.parametrize(
    "text",
    [
        "{{ q.__class__.__mro__ }}",
        "{{ options.append('x') }}",
        "{% for i in range(1001) %}x{% endfor %}",
        "{{ 'x' * 2000000 }}",
        "{{ 2 ** 9 }}",
    ],
)
def test_what_no_prompt_needs_is_refused(text: str) -> None:
    with pytest.raises(SecurityError):
        template(text).render(q="x", options=["a"])


@pytest.mark.parametrize(
    "text",
    [
        "{% macro m() %}{% endmacro %}",
        "{% for a in q %}{% for b in q %}{% for c in q %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in q recursive %}{{ loop(a) }}{% endfor %}",
        "{% include 'x' %}",
        "{{ q",
    ],
)
def test_what_cannot_be_bounded_is_no_template(text: str) -> None:
    with pytest.raises(UserError, match="doc_to_text"):
        template(text)


@pytest.mark.parametrize("name", ["../rows.load", "/etc/rows.load", "rows", "a b.load"])
def test_a_function_is_a_module_and_a_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(f"task: t\ndoc_to_text: !function {name!r}\n")
    with pytest.raises(TaskFileError, match="is not module.name"):
        read_task_file(tmp_path / "t.yaml")


def test_a_function_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text("def load(): ...")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "rows.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(PluginError, match="lies outside the folder"):
        load_function(FunctionRef(folder, "rows.load"))
