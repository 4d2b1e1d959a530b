"""The few answers that a record keeps for the page: which sets, how many of each, and each with its own picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from PIL import Image

from mmforget.benchmark.images import from_picture
from mmforget.benchmark.rows import make_dataset
from mmforget.pipeline.answers import example_answers
from mmforget.results.schema import AnswerExample
from mmforget.types import Sample


@dataclass
class Toy:
    """What the choice of examples reads: roles, and one row an id, with a picture where there is one."""

    sets: dict[str, str]
    docs: dict[str, list[str]]
    modality: str = "image"
    texts: tuple[str, ...] = ()
    loaded: list[str] = field(default_factory=list)

    @property
    def document(self) -> Any:
        return SimpleNamespace(sets=self.sets, scores_only=False)

    @property
    def benchmark(self) -> Toy:
        return self

    def rows(self, name: str) -> Any:
        self.loaded.append(name)
        return make_dataset(
            [
                {"id": one, "subject": "s", "question": "?", "answer": "!", "images": self._images(name, number)}
                for number, one in enumerate(self.docs[name])
            ]
        )

    def _images(self, name: str, number: int) -> list[Any]:
        return [] if name in self.texts else [from_picture(Image.new("RGB", (200, 100), (number * 20, 0, 0)))]


def samples(name: str, subjects: dict[str, int], *, task: str = "", kind: str = "gen") -> list[Sample]:
    """So many questions of each subject, all answered `yes`."""
    return [
        Sample(task or f"toy_{name}_{kind}", name, kind, f"{who}{number}", who, "?", "!", response="yes")
        for who, count in subjects.items()
        for number in range(count)
    ]


def chosen(bound: Any, asked: list[Sample], **others: Any) -> tuple[AnswerExample, ...]:
    return example_answers(bound, samples=asked, **{"target": (), "retain": (), **others})


def test_every_set_with_answers_is_there_by_its_role() -> None:
    """The holdout is nobody's business, a set of log-probs has no answers, and one set may play two roles."""
    sets = {
        "forget": "f", "retain": "u", "utility": "u", "rephrase": "r", "benign": "b", "holdout": "h", "facts": "t",
    }  # fmt: skip
    names = ("x", "u", "t", "h", "b", "r", "f")
    benchmark = Toy(sets, {name: ["a0"] for name in names}, texts=("t",))
    asked = [sample for name in names for sample in samples(name, {"a": 1})]
    silent = Sample("toy_p_prob", "p", "prob", "a0", "a", "?", "!", token_logprobs={"answer": (-1.0,)})
    found = chosen(benchmark, [silent, *asked])
    assert [(one.set, one.group) for one in found] == [
        ("f", "forget"), ("r", "rephrase"), ("b", "benign"), ("t", "facts"), ("u", "utility"), ("x", "other"),
    ]  # fmt: skip
    assert [one.image is None for one in found] == [False, False, False, True, False, False]
    assert "p" not in benchmark.loaded


def test_how_many_questions_of_how_many_subjects() -> None:
    """At most four subjects with two questions each; one subject alone gets six, and a set without a role three."""
    people = {f"p{number}": 5 for number in range(6)}
    benchmark = Toy(
        {"forget": "f", "retain": "k", "utility": "u"},
        {
            "f": [f"{who}{number}" for who in people for number in range(5)],
            "u": [f"a{number}" for number in range(9)],
            "o": [f"{who}{number}" for who in people for number in range(5)],
        },
    )
    asked = [*samples("f", people), *samples("u", {"a": 9}), *samples("o", people)]
    found = chosen(benchmark, asked)
    counts = {name: [one.subject for one in found if one.set == name] for name in ("f", "u", "o")}
    assert counts["f"] == ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]
    assert counts["u"] == ["a"] * 6
    assert counts["o"] == ["p0", "p1", "p2"]


def test_each_question_has_its_own_picture_and_every_models_answer() -> None:
    benchmark = Toy({"forget": "f", "retain": "f", "utility": "f"}, {"f": ["a1", "a0"]})
    asked = samples("f", {"a": 2})
    twin = samples("f", {"a": 2}, task="toy_f_gen_text")
    grey = [Sample("toy_f_gen", "f", "gen", "a0", "a", "?", "!", response="grey", attack="blank_image")]
    before = [Sample("toy_f_gen", "f", "gen", "a1", "a", "?", "!", response="before")]
    found = chosen(benchmark, [*grey, *asked, *twin], target=[*before, *twin], retain=grey)
    assert [(one.response, one.target, one.retain) for one in found] == [("yes", "", ""), ("yes", "before", "")]
    assert len({one.image for one in found}) == 2
    assert all((one.image or "").startswith("data:image/png;base64,") for one in found)


def test_text_benchmarks_have_no_pictures() -> None:
    benchmark = Toy({"forget": "f", "retain": "k", "utility": "k"}, {"f": ["a0"]}, modality="text")
    (found,) = chosen(benchmark, samples("f", {"a": 1}))
    assert found.image is None
    assert benchmark.loaded == []
