"""Templates of tasks are compiled once an evaluation, and lm_eval is left as it was."""

from __future__ import annotations

import pytest
from lm_eval import utils

from mmforget.lm.inside import templates_kept

ROWS = [{"question": f"What is {number}?", "answer": str(number)} for number in range(20)]
TEMPLATES = ("{{question}}\nAnswer:", "{{ answer }}", "{% if answer == '3' %}three{% endif %}")


def rendered() -> list[str]:
    return [utils.apply_template(template, row) for row in ROWS for template in TEMPLATES]


def test_a_template_is_compiled_once_and_gives_the_same_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    plain, compile_source = rendered(), utils.env.compile

    def counted(source: str, *args: object, **settings: object) -> object:
        compiled.append(source)
        return compile_source(source, *args, **settings)

    monkeypatch.setattr(utils.env, "compile", counted)
    with templates_kept():
        assert rendered() == plain
    assert compiled == list(TEMPLATES)


def test_it_is_left_as_it_was_after_errors_too() -> None:
    before = utils.env.from_string
    with templates_kept():
        assert utils.env.from_string != before
    assert utils.env.from_string == before
    with pytest.raises(ZeroDivisionError), templates_kept():
        raise ZeroDivisionError
    assert utils.env.from_string == before
