"""Short builders of samples for the metric tests."""

from __future__ import annotations

from collections.abc import Sequence

from mmforget.types import Sample


def gen(
    response: str | None,
    *,
    answer: str = "she lives in oslo.",
    keywords: Sequence[str] = (),
    subject: str = "ann",
    number: int = 0,
) -> Sample:
    """One generated answer."""
    return Sample(
        task="toy_forget_gen",
        set="forget",
        kind="gen",
        id=f"{subject}/{number}",
        subject=subject,
        question="where does she live?",
        answer=answer,
        keywords=tuple(keywords),
        response=response,
    )


def prob(
    answer: Sequence[float] = (),
    *,
    rephrased: Sequence[float] = (),
    perturbed: Sequence[Sequence[float]] = (),
    subject: str = "ann",
    number: int = 0,
) -> Sample:
    """Token log-probs of the candidates of one question."""
    roles: dict[str, tuple[float, ...]] = {"answer": tuple(answer)} if answer else {}
    roles |= {"rephrased/0": tuple(rephrased)} if rephrased else {}
    roles |= {f"perturbed/{k}": tuple(tokens) for k, tokens in enumerate(perturbed)}
    return Sample(
        task="toy_forget_prob",
        set="forget",
        kind="prob",
        id=f"{subject}/{number}",
        subject=subject,
        question="where does she live?",
        answer="she lives in oslo.",
        token_logprobs=roles,
    )
