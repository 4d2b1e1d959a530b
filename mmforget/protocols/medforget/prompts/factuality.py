"""How factual an answer is, from 1 to 10, against the reference."""

from __future__ import annotations

from mmforget.judges.prompts import HIGH, LOW, Known, Prompt

QUESTION, REFERENCE = "What does the image show?", "A fracture of the left rib."

PROMPT = Prompt(
    "factuality-1",
    "You grade how factual the answer of an assistant to a question about a medical image is, against the "
    "reference answer. Look for the right terms and the core content: anatomy, findings, diagnosis, names, dates. "
    "Give partial credit, and do not mind less important omissions.\n\n"
    "10 or 9: all key terms and findings. 8 or 7: the core is right, minor omissions. 6 or 5: key terms, but "
    "important context is missing or partly wrong. 4 or 3: some relevant terms, critical findings missed. 2 or 1: "
    "mostly wrong, or about something else.\n\n"
    "Question: {question}\n\nReference: {reference}\n\nAnswer: {response}\n\n"
    "Reply with one whole number from 1 to 10.",
    {},
    (Known(QUESTION, REFERENCE, HIGH, REFERENCE), Known(QUESTION, "A red bicycle.", LOW, REFERENCE)),
)
