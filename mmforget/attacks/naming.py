"""Attacks as people type them and records call them: `logit_lens`, `question_rephrase(level=easy)`, a suite's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmforget.arguments import split_top_level, typed_arguments
from mmforget.attacks.base import ATTACKS, build_attack
from mmforget.benchmark.document import AttackName
from mmforget.errors import UnknownName, UserError

_SUITES: Mapping[str, tuple[str, ...]] = {
    "unlok7": (
        "logit_lens",
        "probability_delta",
        "second_difference",
        "finetuning",
        "question_rephrase",
        "image_rephrase",
        "multimodal_rephrase",
    ),
    "adversarial": (
        "adversarial_suffix",
        "universal_prefix",
        "embedding_perturbation",
        "latent_perturbation",
        "universal_image",
        "adversarial_patch",
    ),
    "lasting": ("relearning(steps=16)", "quantisation"),
    "quick": ("in_context", "prefix_injection(budget=1)", "quantisation", "logit_lens"),
    "controls": ("blank_image", "shuffled_images", "options_only"),
    "hidden": (
        "logit_lens",
        "probability_delta",
        "second_difference",
        "tuned_lens",
        "truncated_probe",
        "activation_patching",
        "representations",
    ),
    "reconstruction": ("context_ladder", *(f"context_ladder(rung={rung})" for rung in range(1, 5))),
    "forms": ("question_rephrase(level=medium)", "cloze", "choice", "reverse_query", "typographic_image"),
    "tampering": (
        "universal_prefix",
        "jailbreak_template",
        "embedding_perturbation",
        "latent_perturbation",
        "relearning(batch_size=8,steps=16)",
        "relearning(batch_size=8,full=True,steps=16)",
        "relearning(batch_size=8,lr=5e-05,on=benign,steps=50)",
        "pruning",
        "weight_noise",
        "quantisation",
    ),
    "privacy": ("sampled_answers", "multi_turn", "cloze", "reverse_query", "in_context", "context_ladder"),
    "robust": (
        "question_rephrase(level=medium)",
        "jailbreak_template",
        "role_play",
        "prefix_injection",
        "affirmative_suffix",
        "in_context",
        "background_hint",
        "reverse_query",
        "cloze",
        "choice",
        "aliases",
        "multilingual",
        "multi_hop",
        "target_aliases",
        "target_multi_hop",
        "multi_turn",
        "sampled_answers",
        "image_noise",
        "image_crop",
        "image_blur",
        "image_brightness",
        "image_occlusion",
        "image_rotation",
        "typographic_image",
    ),
}
SUITES: Mapping[str, tuple[str, ...]] = {
    **_SUITES,
    "all": tuple(dict.fromkeys([*(one for suite in _SUITES.values() for one in suite), "relearning"])),
}
"""Attacks that are made together, by the name of the suite; they may have arguments."""
SUMMARIES: Mapping[str, str] = {
    "unlok7": "suite: the seven attacks of UnLOK-VQA (arXiv 2505.01456), each at its default level",
    "adversarial": "suite: searches by gradients that are told answers, to be read beside the retain model alone",
    "lasting": "suite: a short training on some of the rows again, and four bits a weight",
    "quick": "suite: a few cheap attacks on answers, hidden states and weights, which decide a verdict",
    "all": "suite: every attack of the other suites, and relearning",
    "controls": "suite: questions without their picture, with another's, and options without a question",
    "hidden": "suite: what hidden states still hold, read by lenses and compared with target and retain model",
    "reconstruction": "suite: the context ladder of MedForget (arXiv 2512.09867), whole and each rung alone",
    "forms": "suite: the same fact asked in other words, with a blank, with options, in reverse, in the picture",
    "tampering": "suite: attacks of model tampering (arXiv 2502.05209) that there are, a reconstruction",
    "privacy": "suite: what somebody gets who asks often, or knows part of it",
    "robust": "suite: other words, parts to play, forms of question, changed pictures and repeated asking",
}


def attack_names(text: str | Iterable[str | AttackName]) -> tuple[AttackName, ...]:
    """The attacks that are named, `"unlok7,logit_lens(variant=faithful)"` or one by one, each once.

    Raises UnknownName for an attack, suite or argument that does not exist, UserError for a value that cannot be and a
    text that names none.
    """
    parts = split_top_level(text) if isinstance(text, str) else list(text)
    if isinstance(text, str) and not parts:
        raise UserError("no attack is named; see 'mmforget ls attacks'")
    found = [name for part in parts for name in _named(part)]
    for one in found:
        build_attack(one.attack, one.args)
    return tuple({one.key: one for one in found}.values())


def attack_of(key: str) -> Any:
    """The attack that a record calls `key`. Raises what `attack_names` does."""
    (name,) = _named(key)
    return build_attack(name.attack, name.args)


def known_attack(key: str) -> Any | None:
    """The attack that a record calls `key`; None of one that is not there any more."""
    try:
        return attack_of(key)
    except UserError:
        return None


def _named(part: str | AttackName) -> list[AttackName]:
    if isinstance(part, AttackName):
        is_suite = part.attack in SUITES and not part.args
        return _of_suite(part.attack) if is_suite else [part]
    name, opening, rest = part.partition("(")
    if not opening and name in SUITES:
        return _of_suite(name)
    if name in ATTACKS.clashes or name in ATTACKS.entries:
        if opening and not rest.endswith(")"):
            raise UserError(f"attack '{part}' has no closing bracket; write NAME(ARGUMENT=VALUE,...)")
        return [AttackName(name, typed_arguments(rest[:-1], owner=f"attack '{name}'"))]
    if opening and name in SUITES:
        raise UserError(f"'{name}' is a suite of attacks, which takes no arguments; name its attacks one by one")
    raise UnknownName("attack", name=name, known=[*ATTACKS.entries, *SUITES])


def _of_suite(name: str) -> list[AttackName]:
    return [found for one in SUITES[name] for found in _named(one)]
