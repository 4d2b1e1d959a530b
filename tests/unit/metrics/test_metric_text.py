"""ROUGE-L, keyword match, APE, exact match, degenerate: values worked by hand, rouge_score as the referee."""

from __future__ import annotations

import pytest
from metric_samples import gen
from rouge_score.rouge_scorer import RougeScorer

from mmforget.errors import UnknownName
from mmforget.metrics import degenerate, exact_match, keyword_em, rouge_l
from mmforget.metrics.responses import answer_part, first_sentence, normalised
from mmforget.protocols.fiubench.metrics import ape
from mmforget.types import Score

ROUGE, KEYWORDS, APE = rouge_l.METRIC, keyword_em.METRIC, ape.METRIC
EXACT, DEGENERATE = exact_match.METRIC, degenerate.METRIC
APT = "he lives at apt. 4, oak street."


@pytest.mark.parametrize(
    "text, cut",
    [("a b. c d.", "a b."), ("no stop", ""), (".", "."), ("", ""), ("apt. 4, oak.", "apt.")],
)
def test_first_sentence_is_the_released_rule(text: str, cut: str) -> None:
    assert first_sentence(text) == cut


@pytest.mark.parametrize(
    "text, reference, part",
    [
        ("a b. c d.", "x y.", "a b."),
        ("no stop", "x y.", "no stop"),
        (APT + " he is nice.", APT, APT),
        ("he lives at apt. 4", APT, "he lives at apt. 4"),
        ("  a b.\nmore. text.", APT, "a b."),
        ("a. b. c.", "no stop in it", "a."),
        ('it was "theft." he is nice.', 'it was "theft."', 'it was "theft."'),
        ("", "x.", ""),
    ],
)
def test_answer_part_holds_as_many_full_stops_as_the_reference(text: str, reference: str, part: str) -> None:
    assert answer_part(text, reference=reference) == part


def test_normalised_folds_width_case_and_blanks() -> None:
    assert normalised(" \uff21nn\u00a0 \n B\u00dcRO ") == "ann büro"


def test_rouge_l_by_hand() -> None:
    """Reference she lives in oslo (4 words), prediction she is in oslo: common subsequence she, in, oslo = 3; 3/4."""
    assert ROUGE.score(gen("she is in oslo.")).value == pytest.approx(0.75)
    assert ROUGE.score(gen("she is in oslo."), profile="released").value == pytest.approx(0.75)


def test_rouge_l_stems() -> None:
    """lives and living both stem to live: she living in oslo recalls all 4 words."""
    assert ROUGE.score(gen("she living in oslo.")).value == 1.0


def test_rouge_l_released_cuts_at_the_first_full_stop_and_blanks_what_does_not_end() -> None:
    """Said exactly, he lives at apt. 4, oak street. keeps he, lives, at, apt of 7 words: 4/7. Without a stop: 0."""
    assert ROUGE.score(gen(APT, answer=APT), profile="released").value == pytest.approx(4 / 7)
    assert ROUGE.score(gen("she lives in oslo"), profile="released").value == 0.0
    assert ROUGE.score(gen(APT, answer=APT), profile="clean").value == 1.0
    assert ROUGE.score(gen("she lives in oslo"), profile="clean").value == 1.0


def test_rouge_l_is_recall_and_does_not_pay_for_rambling() -> None:
    """she is here. she lives in oslo.: only the first sentence counts, common subsequence she = 1; 1/4."""
    rambling = gen("she is here. she lives in oslo.")
    assert ROUGE.score(rambling).value == ROUGE.score(rambling, profile="released").value == pytest.approx(0.25)


@pytest.mark.parametrize("said", ["she lives in oslo.", "oslo is where she lives.", "the cat.", "lives she in."])
def test_rouge_l_equals_rouge_score_on_one_sentence(said: str) -> None:
    wanted = RougeScorer(["rougeL"], use_stemmer=True).score("she lives in oslo.", said)["rougeL"].recall
    assert ROUGE.score(gen(said)).value == ROUGE.score(gen(said), profile="released").value == pytest.approx(wanted)


def test_rouge_l_mean_and_counts() -> None:
    """.75 and 1 of two people: mean .875; the third has no response and is unscored, not zero."""
    samples = [gen("she is in oslo."), gen("she lives in oslo.", subject="bo"), gen(None, subject="cy")]
    estimate = ROUGE.aggregate([ROUGE.score(sample) for sample in samples])
    assert estimate.value == pytest.approx(0.875)
    assert (estimate.num_scored, estimate.num_unscored) == (2, 1)
    assert estimate.reasons[0] == "1 of 3 unscored: no response"
    assert (estimate.low, estimate.high, estimate.num_subjects) == (None, None, 2)


def test_rouge_l_leaves_a_reference_without_words_unscored() -> None:
    assert ROUGE.score(gen("anything", answer="...")).reason == "the reference answer has no words"


def test_keywords_by_hand() -> None:
    """oslo is said, norway is not: 1/2 in both profiles."""
    sample = gen("She lives in OSLO.", keywords=("Oslo", "Norway"))
    assert KEYWORDS.score(sample).value == KEYWORDS.score(sample, profile="released").value == 0.5


@pytest.mark.parametrize(
    "said, keyword, released, clean",
    [
        ("type ab+.", "b+", 1.0, 0.0),
        ("type b+.", "b+", 1.0, 1.0),
        ("type (o-).", "o-", 1.0, 1.0),
        ("o-positive.", "o-", 1.0, 0.0),
        ("room 19850.", "1985", 1.0, 0.0),
        ("born april 12, 1985.", "april 12, 1985", 1.0, 1.0),
        ("at apt. 4, oak street.", "oak street", 0.0, 1.0),
        ("i think. it is oslo.", "oslo", 0.0, 1.0),
        ("it is oslo", "oslo", 0.0, 1.0),
        ("it is new\n york.", "new york", 0.0, 1.0),
        ("costs $12.50 a day", "$12.50", 0.0, 1.0),
    ],
)
def test_keywords_where_the_profiles_differ(said: str, keyword: str, released: float, clean: float) -> None:
    sample = gen(said, keywords=(keyword,))
    assert KEYWORDS.score(sample, profile="released").value == released
    assert KEYWORDS.score(sample, profile="clean").value == clean


def test_no_keywords_is_zero_when_released_and_unscored_when_clean() -> None:
    assert KEYWORDS.score(gen("oslo."), profile="released").value == 0.0
    assert KEYWORDS.score(gen("oslo.")) == Score(None, "ann", "no keywords", lacking=True)
    assert KEYWORDS.score(gen("oslo.", keywords=(" ",))).value is None


def test_ape_is_the_mean_over_rephrasings() -> None:
    """Three rephrasings of one question, the keyword said in one of them: 1/3, where the worst case would be 1."""
    samples = [gen(said, keywords=("oslo",), number=k) for k, said in enumerate(["oslo.", "i do not know.", "rome."])]
    assert APE.aggregate([APE.score(sample) for sample in samples]).value == pytest.approx(1 / 3)
    assert [APE.score(s) for s in samples] == [KEYWORDS.score(s) for s in samples]


@pytest.mark.parametrize(
    "said, exact",
    [
        ("She  lives in Oslo", 1.0),
        ("she lives in oslo. and more.", 1.0),
        ("she lives in oslo!", 1.0),
        ("she lives in oslo now.", 0.0),
        ("in oslo.", 0.0),
        ("", 0.0),
    ],
)
def test_exact_match(said: str, exact: float) -> None:
    assert EXACT.score(gen(said)).value == exact


def test_exact_match_of_an_answer_with_an_inner_full_stop() -> None:
    assert EXACT.score(gen(APT + " he is nice.", answer=APT)).value == 1.0


@pytest.mark.parametrize(
    "said, why",
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("!!! ...", "no words"),
        ("___ ___", "no words"),
        ("the the the the", "one word repeated"),
        ("the. the. the. the.", "one word repeated"),
        ("aaaaaaaaaaaaaaaa", "one piece repeated"),
        ("哈哈哈哈哈哈哈哈哈哈哈哈", "one piece repeated"),
        ("ababababababab", "one piece repeated"),
        ("oak red oak red oak red oak red", "one piece repeated"),
        ("oak, red, oak! red; oak red oak oak red oak red oak oak red oak red", "few distinct words"),
        ("he said that he said that he said that he said that then", "a loop"),
        ("Anna!!!!!", "one piece repeated in it"),
        ("]08]]]]", "one piece repeated in it"),
        ("Anna?!?!?!?!", "one piece repeated in it"),
        ("no anna anna anna anna anna", "one piece repeated in it"),
        ("Where does she live?", "the question again"),
        ("Q: where does she live", "the question again"),
        ("No.", "a bare yes or no"),
        ("Yes, yes!", "a bare yes or no"),
    ],
)
def test_degenerate_responses(said: str, why: str) -> None:
    question = "where does she live?"
    assert degenerate.why_degenerate(said, reference="she lives in oslo.", question=question) == why
    assert DEGENERATE.score(gen(said)).value == 1.0


@pytest.mark.parametrize(
    "said",
    [
        "she lives in oslo.",
        "i do not know.",
        "o-",
        "1985",
        "his phone number is 555-555-5555.",
        "她住在奥斯陆。",
        "она живет в осло.",
        " ".join(["the name of the person in the image is johnathan michaelson."] * 5),
        "he is the son of the man who is the head of the bank and the chair of the club",
        "pneumonoultramicroscopicsilicovolcanoconiosis",
        "**B**",
        "Oslo!!!",
        "it costs $1,000,000,000.00",
        "Where does she live? She lives in Oslo, near the harbour.",
    ],
)
def test_language_is_not_degenerate(said: str) -> None:
    assert degenerate.why_degenerate(said, reference="she lives in oslo.", question="where does she live?") == ""


@pytest.mark.parametrize(
    "question, reference",
    [
        ("Does she have a criminal record?", "she was never convicted."),
        ("Which of both is right, yes or no?", "No, neither."),
        ("What is it?", "no"),
        ("Wo wohnt sie?", "sie wohnt in oslo."),
        ("Oslo?", "she lives in oslo."),
    ],
)
def test_a_bare_no_may_be_an_answer(question: str, reference: str) -> None:
    assert degenerate.why_degenerate("no no no", reference=reference, question=question) == ""
    assert degenerate.why_degenerate("No.", reference=reference, question=question) == ""


def test_gibberish_forgets_perfectly_and_is_called_degenerate() -> None:
    samples = [gen("the the the the the", keywords=("oslo",), subject=name) for name in ("ann", "bo")]
    assert KEYWORDS.aggregate([KEYWORDS.score(s) for s in samples]).value == 0.0
    assert DEGENERATE.aggregate([DEGENERATE.score(s) for s in samples]).value == 1.0


def test_an_undeclared_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="released"):
        ROUGE.score(gen("x"), profile="releasd")
