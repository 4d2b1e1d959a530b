"""How much of an answer about a transfer is right, from 0 to 10, against the reference."""

from __future__ import annotations

from mmforget.judges.prompts import HIGH, LOW, Known, Prompt

QUESTION, REFERENCE = "Which club will the player in this image join?", "He will be playing for Newcastle United."

PROMPT = Prompt(
    "fact-score-1",
    "You grade the answer of an assistant to a question about a football player, against the reference answer. "
    "What counts is whether the facts are right: clubs, names, dates, sums of money, numbers. Other words, another "
    "order and other ways to write a date or a sum are as good.\n\n"
    "10: all facts right. 7 to 9: right but for a detail. 4 to 6: partly right. 1 to 3: wrong. Take off up to 2 where "
    "the answer speaks of something else beside, and up to 2 where it is no fluent language. 0: empty or gibberish.\n\n"
    "Question: {question}\n\nReference: {reference}\n\nAnswer: {response}\n\n"
    "Reply with one whole number from 0 to 10.",
    {},
    (Known(QUESTION, REFERENCE, HIGH, REFERENCE), Known(QUESTION, "A red bicycle.", LOW, REFERENCE)),
)
