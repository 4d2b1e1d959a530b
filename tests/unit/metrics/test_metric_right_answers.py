"""A right answer is never wrong: what equals its reference has the best score, in any script and of any form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from metric_samples import gen
from rouge_score.rouge_scorer import RougeScorer

from mmforget.judges.rules import Rules
from mmforget.metrics import degenerate, exact_match, keyword_em, rouge_l, rouge_l_response
from mmforget.metrics.concept_answers import affirms
from mmforget.metrics.responses import answer_part, normalised, pieces, stands_free, words
from mmforget.metrics.yes_no import is_bare, yes_or_no
from mmforget.protocols.medforget.metrics import answer_accuracy, rouge_l_f1
from mmforget.protocols.mmubench.metrics import concept_em
from mmforget.protocols.safe_eraser.metrics import asr, rr, sarr
from mmforget.types import Sample

COMPARED = (exact_match, answer_accuracy, rouge_l, rouge_l_f1, rouge_l_response)
REFERENCES = (
    "Dr. Lee", "St. Mary's Hospital", "at St. Mary's Hospital in Oslo.", "J. R. Smith", "George R.R. Martin",
    "J.R.R. Tolkien", "He lives at apt. 4, Oak St.", "3.5 cm", "The nodule is 3.5 cm wide.", "12.03.2180",
    "born on 12.03.2180 in Oslo", "at 5 a.m. or later", "No. 7", "v. 1.2.3", "$12.50", "o-", "b+", "e.g. asthma etc.",
    "two\nlines", "Name: Anna.\n\nTown: Oslo.", "first\r\nsecond.\r\n", "1. Anna\n2. Bo", "- asthma\n- gout\n",
    "a, b; c",
    'He said "stop." and left', 'it was "theft."', "«Oslo.»", "(see p. 4.)", "Wait... what?", "Really?! Yes.", "Anna ",
    "  Oslo \n", "Oslo\t", "https://example.org/a.html?b=1", "anna@example.org", "www.example.org.", "no no no no no",
    "0000-0000-0000-0000", "她住在奥斯陆。", "她住在奥斯陆。她很好。\n真的", "彼女はオスロに住んでいます。",
    "그녀는 오슬로에 산다.",
    "она живёт в Осло. Да.", "Η Άννα ζει στο Όσλο.", "היא גרה באוסלו.", "تعيش في أوسلو.", "वह ओस्लो में रहती है।",
    "เธออาศัยอยู่ในออสโล", "José Ñandú lives in São Paulo.", "Ünal Ağır", "5 °C", "½ tablet", "H₂O", "µg", "I'm sorry.",
    "I do not know.", "It is not safe.", "Sí.", "\u2028Anna\u2028Oslo", "Anna\u00a0Meier", "I cannot give that.", "#1",
)  # fmt: skip


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_equals_the_reference_is_right(reference: str) -> None:
    for module in COMPARED:
        assert module.METRIC.score(gen(reference, answer=reference)).value == 1.0, module.METRIC.name
    assert degenerate.METRIC.score(gen(reference, answer=reference)).value == 0.0
    assert keyword_em.METRIC.score(gen(reference, answer=reference, keywords=(reference,))).value == 1.0


@pytest.mark.parametrize("reference", REFERENCES)
def test_it_stays_right_where_the_model_goes_on(reference: str) -> None:
    end = "" if reference.strip()[-1] in '.。।?)»"' else "."
    said = reference.rstrip() + end + "\nMore follows. And more."
    assert exact_match.METRIC.score(gen(said, answer=reference)).value == 1.0
    assert rouge_l_f1.METRIC.score(gen(said, answer=reference)).value == 1.0


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_answer_part_of_the_reference_is_all_of_it(reference: str) -> None:
    assert normalised(answer_part(reference, reference=reference)) == normalised(reference)


@pytest.mark.parametrize(
    "reference, said",
    [
        ("Dr. Lee", "Dr. Leeds"), ("Dr. Lee", "Dr."), ("3.5 cm", "3.6 cm"), ("3.5 cm", "3"), ("3", "3.5"),
        ("12.03.2180", "12.03.2181"), ("12.03.2180", "12"), ("J. R. Smith", "J. R. Smythe"), ("J. R. Smith", "J."),
        ("two\nlines", "two"), ("two\nlines", "two\nmice"), ("1. Anna\n2. Bo", "1. Anna"), ("safe", "not safe"),
        ("It is safe.", "It is not safe."), ("b+", "ab+"), ("o-", "o+"), ("她住在奥斯陆。", "她住在卑尔根。"),
        ("Anna", "Anna Meier"), ("Oslo. Bergen.", "Oslo."), ("version 1", "version 1.2"), ("Anna", ""), ("Anna", "."),
    ],
)  # fmt: skip
def test_another_answer_stays_wrong(reference: str, said: str) -> None:
    assert exact_match.METRIC.score(gen(said, answer=reference)).value == 0.0
    assert answer_accuracy.METRIC.score(gen(said, answer=reference)).value == 0.0


@pytest.mark.parametrize("answer", ["...", "?!", "。", "   "])
def test_a_reference_that_says_nothing_is_lacking(answer: str) -> None:
    """Nothing to compare with is no fault of the model."""
    for module in COMPARED:
        found = module.METRIC.score(gen("anything", answer=answer))
        assert (found.value, found.lacking) == (None, True), module.METRIC.name


@pytest.mark.parametrize(
    "text, found",
    [
        ("She lives in Oslo_1", ["she", "lives", "in", "oslo", "1"]),
        ("她住Oslo市", ["她", "住", "oslo", "市"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("l'été", ["l", "été"]),
    ],
)
def test_pieces_are_words_or_characters(text: str, found: list[str]) -> None:
    assert pieces(text) == found


def test_marks_belong_to_their_word() -> None:
    assert words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]


@pytest.mark.parametrize("said", ["Zażółć gęślą", "She lives at St. Mary's.", "3.5 cm_x", "a's b-c", "Lives, living"])
def test_rouge_of_latin_text_is_that_of_rouge_score(said: str) -> None:
    reference = "She lives at St. Mary's, 3.5 cm a b c."
    wanted = RougeScorer(["rougeL"], use_stemmer=True).score(reference, said)["rougeL"]
    found = rouge_l_f1.METRIC.score(gen(said, answer=reference)).value
    assert found == pytest.approx(wanted.fmeasure) or not said.isascii()


def test_rouge_of_chinese_counts_characters() -> None:
    """Reference of 6 characters, said 她在奥: 她, 在, 奥 in order, 3/6; F1 of 3/3 and 3/6 is 2/3."""
    sample = gen("她在奥", answer="她住在奥斯陆。")
    assert rouge_l.METRIC.score(sample).value == rouge_l_response.METRIC.score(sample).value == 0.5
    assert rouge_l_f1.METRIC.score(sample).value == pytest.approx(2 / 3)
    assert rouge_l.METRIC.score(sample, profile="released").reason == "the reference answer has no words"


@pytest.mark.parametrize(
    "keyword, text, free",
    [
        ("奥斯陆", "她住在奥斯陆。", True), ("卑尔根", "她住在奥斯陆。", False), ("オスロ", "彼女はオスロに住む", True),
        ("오슬로", "그녀는 오슬로에 산다", True), ("ออสโล", "เธออยู่ในออสโล", True), ("Oslo", "她住在Oslo市", True),
        ("Oslo", "in Oslos", False), ("3岁", "13岁", False), ("3岁", "他3岁了", True), ("राम", "रामा", False),
        ("राम", "राम है", True), ("Осло", "в Осло.", True), ("Осло", "вОсло", False), ("أوسلو", "في أوسلو.", True),
        ("", "Oslo", False), ("b+", "type b+.", True), ("b+", "ab+", False), ("1985", "19850", False),
        ("e", "één e", True),
    ],
)  # fmt: skip
def test_keywords_of_any_script(keyword: str, text: str, free: bool) -> None:
    assert stands_free(normalised(keyword), normalised(text)) is free


YES = ("Yes.", "yes, it is", "Sí.", "Sì", "Si.", "Si, es él", "Oui, c'est lui.", "Ja", "Да.", "是的", "是特朗普",
       "はい、そうです。", "네.", "نعم", "हाँ।", "Sim", "Tak.", "Evet", "ใช่", "**Yes**")  # fmt: skip
NO = ("No.", "Non", "Nein", "Нет", "不是", "不，他不是", "いいえ", "아니요", "لا", "नहीं", "Não", "Nie", "Hayır", "ไม่ใช่")
NEITHER = (
    "",
    "Nobody",
    "Si es Trump, gana.",
    "Danish",
    "He has blue eyes.",
    "对不起",
    "是否",
    "Yesterday",
    "Jana",
    "Notes",
    "da drüben",
)


@pytest.mark.parametrize("texts, said", [(YES, True), (NO, False), (NEITHER, None)])
def test_yes_and_no_in_other_languages(texts: tuple[str, ...], said: bool | None) -> None:
    assert {text: yes_or_no(text) for text in texts} == dict.fromkeys(texts, said)
    assert all(affirms(text) is (said is True) for text in texts)


@pytest.mark.parametrize(
    "text, bare", [("Sí.", True), ("", True), ("no no", True), ("Non, merci", False), ("Oslo", False)]
)
def test_a_bare_yes_or_no_names_nothing(text: str, bare: bool) -> None:
    assert is_bare(text) is bare


def concept(said: str, *, ask: str) -> Sample:
    extra: dict[str, Any] = {"names": ["Trump"], "ask": ask, "has_control": True}
    return replace(gen(said, answer="Yes."), question="¿Es este Trump?", extra=extra, keywords=("yes",))


def test_a_yes_in_another_language_gives_a_concept_away() -> None:
    """And a bare one shows nothing where the question is open; on a control question it is right."""
    assert concept_em.METRIC.score(concept("Sí.", ask="yes_no")).value == 0.0
    assert concept_em.METRIC.score(concept("Non.", ask="yes_no")).value == 1.0
    assert concept_em.METRIC.score(concept("是的。", ask="control")).value == 1.0
    assert concept_em.METRIC.score(concept("Sí.", ask="open")).value == 0.0


@pytest.mark.parametrize("reference", [text for text in REFERENCES if words(text)])
def test_rules_call_a_harmless_reference_normal_and_a_harmful_one_harm(reference: str) -> None:
    judged = gen(reference, answer=reference)
    labels = {name: Rules().judge([judged], label=name)[0] for name in ("normal", "harm", "refusal")}
    judged = replace(judged, labels={name: said.label for name, said in labels.items() if said is not None})
    assert sarr.METRIC.score(judged).value == 0.0
    assert asr.METRIC.score(judged).value == 1.0 - (rr.METRIC.score(judged).value or 0.0)


TOFU = ("retain90", "forget10", "real_authors_perturbed", "world_facts_perturbed")


def real_references(real: Path) -> Iterator[str]:
    rows = json.loads((real / "fiubench" / "qa_text.json").read_text(encoding="utf-8"))
    for name in TOFU:
        rows += map(
            json.loads, (real / "tofu" / f"{name}.json").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        )
    assert len(rows) == 8000 + 4000 + 100 + 117
    yield from dict.fromkeys(row["answer"] for row in rows)


@pytest.mark.slow
def test_real_references_are_right(real: Path) -> None:
    """All of FIUBench and of TOFU; ROUGE, which takes its time, of those that are easily cut wrong."""
    references = list(real_references(real))
    hard = [text for text in references if "." in text.rstrip()[:-1] or "\n" in text or not text.isascii()]
    assert len(hard) > 1000
    wrong = [
        (module.METRIC.name, text)
        for modules, texts in (((exact_match, answer_accuracy, degenerate), references), ((rouge_l_f1,), hard))
        for module in modules
        for text in texts
        if module.METRIC.score(gen(text, answer=text)).value != float(module is not degenerate)
    ]
    assert not wrong
