"""Examples of several kinds of sets, pictures that are shown when asked for, and protocols without a retain model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_runs import BENCHMARK, GATE, portrait, record, stored
from test_leaderboard_page import Reader

from mmforget.leaderboard import answers, page, plots, words
from mmforget.leaderboard.board import Board, boards
from mmforget.results.rules import eligibility
from mmforget.results.schema import AnswerExample, RunRecord

pytestmark = pytest.mark.slow

KINDS = {
    "forget": "to be forgotten",
    "rephrase": "to be forgotten, asked anew",
    "benign": "harmless, to be answered",
    "facts": "fact to be kept",
    "utility": "to be kept",
    "other": "set other_set",
}


def example(group: str, *, image: str | None = None, question: str = "Who?", response: str = "Ann.") -> AnswerExample:
    name = group or "keep"
    return AnswerExample("ann", f"{name}_set", question, "Ann.", response, "Ann.", "", image, group)


def board(*examples: AnswerExample, blur: bool = False) -> Board:
    use = replace(BENCHMARK, blur_images=blur)
    (found,) = boards(stored([record("siu", benchmark=use, examples=examples)]))
    return found


def test_every_kind_of_set_is_shown_in_its_order() -> None:
    made = board(*(example(group) for group in reversed(KINDS)))
    assert [subject.group for subject in answers.subjects(made)] == list(KINDS)
    text = " ".join(Reader(page.render([made])).seen.split())
    for told in KINDS.values():
        assert told in text


@pytest.mark.parametrize(
    "group, tones",
    [
        ("forget", ("bad", "good", "warn")),
        ("rephrase", ("bad", "good", "warn")),
        ("benign", ("good", "bad", "bad")),
        ("facts", ("good", "bad", "bad")),
        ("utility", ("good", "bad", "bad")),
        ("other", ("plain", "plain", "plain")),
        ("", ("good", "bad", "bad")),
    ],
)
def test_the_true_answer_is_good_or_bad_by_the_kind_of_set(group: str, tones: tuple[str, ...]) -> None:
    """Said `Ann.`, something else, nothing. Without a group the gate's set alone is what was to be forgotten."""
    said = ("Ann.", "Bob.", "")
    made = board(*(example(group, question=str(number), response=text) for number, text in enumerate(said)))
    (subject,) = answers.subjects(made)
    found = [reply.tone for question in subject.questions for reply in question.replies if reply.model == "siu"]
    assert tuple(found) == tones


def test_a_subject_in_several_pictures_is_shown_in_each() -> None:
    first, second = portrait(10), portrait(200)
    asked = [example("rephrase", image=image, question=str(n)) for n, image in enumerate((first, second, first))]
    found = answers.subjects(board(*asked))
    assert [(subject.image, len(subject.questions)) for subject in found] == [(first, 2), (second, 1)]


def test_three_of_each_that_was_to_be_forgotten_and_one_of_every_other_kind_are_shown_first() -> None:
    pictures = [portrait(hue) for hue in range(0, 250, 50)]
    made = board(*(example(group, image=image) for group in KINDS for image in pictures))
    section = page._section(made, plots.pictures(made))
    assert [subject.group for subject in section.shown] == ["forget"] * 3 + ["rephrase"] * 3 + list(KINDS)[2:]
    assert len(section.more) == 5 * 6 - 10


def test_pictures_are_blurred_until_clicked_without_javascript() -> None:
    asked = [example("forget", image=portrait(10)), example("utility", image=portrait(90)), example("facts")]
    plain, blurred = page.render([board(*asked)]), page.render([board(*asked, blur=True)])
    assert plain.count('class="veil"') == 0
    assert blurred.count('<label class="veil"><input type="checkbox"') == 2
    assert blurred.count('<img src="data:image/png;base64,') == plain.count('<img src="data:image/png;base64,')
    assert "blurred until you click" in blurred
    assert ".veil img { filter: blur(" in blurred
    assert ".veil input:checked ~ img { filter: none; }" in blurred
    reader = Reader(blurred)
    assert reader.tags.count("script") == 1
    assert reader.handlers == []
    assert "veil" not in reader.seen


def without_retain(**changes: object) -> RunRecord:
    gate = replace(GATE, room=None, retain=None)
    return record("siu", gate=gate, references={"target": "t" * 8}, **changes)  # type: ignore[arg-type]


def test_no_retain_model_is_no_refusal_where_the_protocol_has_none() -> None:
    assert eligibility(without_retain()).eligible
    refused = eligibility(record("siu", references={"target": "t" * 8}))
    assert refused.reasons == ("no retain model to compare with",)


def test_a_protocol_without_a_retain_model_in_words() -> None:
    target = without_retain(role="target")
    (made,) = boards(stored([target.replace(name="target"), without_retain()]))
    assert words.gate_sentence(made.gates[0]) == (
        "The target model reaches 0.990 (exact_match on the forget set; at least 0.800 asked). Passed."
    )
    assert words.standard(made) == "the benchmark's goal for each metric"
    html = page.render([made])
    text = " ".join(Reader(html).seen.split())
    assert "1 is as the benchmark's goal for each metric" in text
    assert "The star is the retain model" not in text
    assert "knew it better than a model" not in text


def test_a_gate_without_room_tells_of_a_retain_model_that_is_there() -> None:
    sentence = words.gate_sentence(replace(GATE, room=None))
    assert "the retain model 0.030: room to forget 0.960. Passed." in sentence


def test_who_judged_is_said() -> None:
    item = record("siu", judge={"name": "rules", "prompt": "v2"})
    text = " ".join(Reader(page.render(boards(stored([item])))).seen.split())
    assert "judgename=rules, prompt=v2" in text
