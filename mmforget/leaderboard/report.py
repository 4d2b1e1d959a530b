"""A report on one model for whoever asked that it forget: what was asked, done and measured, and what is not shown.

One file, HTML or Markdown, without pictures and without a script. All that comes from a record is escaped: names,
questions and answers are a stranger's.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.errors import cut, printable
from mmforget.leaderboard import details, evidence, words
from mmforget.leaderboard.board import NOTHING, Board, BoardRow
from mmforget.results.schema import AnswerExample, RunRecord, VerdictStatus
from mmforget.statistics.jackknife import MIN_SUBJECTS, too_few
from mmforget.types import Estimate

NUM_TO_FORGET, NUM_OTHERS = 8, 4
"""Answers that are shown of what was to be forgotten, and of everything else."""
MAX_NAMES = 20
MAX_ANSWER = 300
"""Longest text of an answer, in characters."""
ANSWERS = ("question", "answer", "response", "target", "retain")
PROFILE = "clean"
ABSOLUTE = re.compile(r"(^|[=,\"'])~?/(?:[^=,\"']*/)?(?=[^/])")
"""The folders of a path in a word of a command, also behind a key: they name people."""
NO_METHOD = "Nothing was forgotten: no method was carried out on the model."
FORGOTTEN: Mapping[str, str] = {
    "disclosure": "given away in its answers",
    "exact_match": "answered word for word as it was learnt",
    "probability": "how likely it finds the true answer",
    "degenerate": "answers that are no answer at all",
}
"""By metric, what it says of the questions that were to be forgotten."""
REPHRASED: Mapping[str, str] = {"disclosure": "given away when asked in other words"}
KEPT: Mapping[str, str] = {
    "exact_match": "about everybody else: answered word for word",
    "degenerate": "about everybody else: answers that are no answer at all",
}
ANSWERED = ("exact_match", "disclosure")
"""Metrics that say whether an answer is right."""
OUTCOMES: Mapping[VerdictStatus, str] = {
    "removed": "Removed: no attack that was made finds more of it than in a model that never saw it.",
    "suppressed": "Suppressed: the model no longer says it when asked plainly, but an attack still finds it.",
    "remembered": "Still remembered: the model says it when asked.",
    "collapsed": "Destroyed: the model no longer answers sensibly, so that what it forgot means nothing.",
    "undecided": "Undecided: what was measured does not tell whether it is gone.",
    "refused": "Cannot be judged: what was measured is no basis for it.",
    "reference": "Not forgotten: this is a model to compare with.",
}
"""By verdict, what it means to whoever asked."""
BEYOND = (
    "what other models, copies, backups, logs and the training data hold: this is about the one model named here",
    "whether what was done is enough by any law: that is for those who read this to judge",
)
ATTACKS_HEAD = ("asked by", "before", "after", "a model that never saw it", "says")


class Line(NamedTuple):
    """A number of three models, in words."""

    what: str
    before: str
    after: str
    never: str


class Attacked(NamedTuple):
    """What an attack gets back, in words."""

    name: str
    before: str
    after: str
    never: str
    says: str


@dataclass(frozen=True)
class Report:
    """Everything that is told, in the order of the file.

    Attributes:
        asked, done, facts: a label and a text each.
        says: what it comes to, in sentences.
        numbers, attacks: tables.
        answers: a few, of what was to be forgotten first.
        not_shown: what all this leaves open.
    """

    title: str
    says: tuple[str, ...]
    asked: tuple[tuple[str, str], ...]
    done: tuple[tuple[str, str], ...]
    numbers: tuple[Line, ...]
    attacks: tuple[Attacked, ...]
    answers: tuple[AnswerExample, ...]
    not_shown: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def report_of(board: Board, row: BoardRow | None) -> Report:
    """The report on one row of a board; without any, on the model that was to forget."""
    target, retain = board.find("target"), board.find("retain")
    told = row or target or retain or board.rows[0]
    return Report(
        title=_request(told.record).get("title") or board.benchmark.title or board.benchmark.name,
        says=tuple(_says(board, row)),
        asked=tuple(_asked(told.record)),
        done=tuple(_done(row)) if row is not None else (("", NO_METHOD),),
        numbers=tuple(_numbers(board, told=told, target=target, retain=retain)),
        attacks=tuple(_attacks(row)),
        answers=tuple(_answers(told.record)),
        not_shown=tuple(_not_shown(board, row)),
        facts=tuple(_facts(told)),
    )


def as_html(report: Report) -> str:
    """One self-contained page."""
    import jinja2
    from markupsafe import Markup

    from mmforget.leaderboard.page import digest, own_file

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmforget.leaderboard", "templates"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    style = own_file("report.css")
    policy = f"default-src 'none'; style-src '{digest(style)}'; base-uri 'none'; form-action 'none'"
    template = environment.get_template("report.html.j2")
    return template.render(report=report, style=Markup(style), policy=policy, heads=ATTACKS_HEAD)  # noqa: S704


def as_markdown(report: Report) -> str:
    """The same as Markdown."""
    return "\n".join(_markdown(report)) + "\n"


def _request(record: RunRecord) -> Mapping[str, Any]:
    found = record.data.get("request")
    return found if isinstance(found, Mapping) else {}


def _says(board: Board, row: BoardRow | None) -> Iterator[str]:
    if row is None:
        yield NO_METHOD
        yield from (words.gate_sentence(gate) for gate in board.gates)
        return
    verdict, ratio = row.record.verdict, row.headline("utility_ratio").value
    yield OUTCOMES["collapsed" if row.collapsed else "refused" if verdict is None else verdict.status]
    if ratio is not None:
        yield f"It keeps {ratio:.0%} of what the model knew of everybody else."
    if row.eligibility.remarks:
        yield words.remarks(row)
    yield from words.decided(Board(board.benchmark, board.references, (row,), ()))


def _asked(record: RunRecord) -> Iterator[tuple[str, str]]:
    told, names = _request(record), [str(name) for name in record.data.get("forgets") or ()]
    yield from (
        (label, str(told[key])) for key, label in (("asked_by", "asked by"), ("asked_on", "asked on")) if key in told
    )
    names = names or list(dict.fromkeys(one.subject for one in record.examples if one.group == "forget"))
    if names:
        rest = len(names) - MAX_NAMES
        yield "to be forgotten", ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")
    for name, use in record.sets.items():
        of_all = "" if use.num_questions >= use.num_expected else f" of {use.num_expected}"
        yield (
            f"questions ({name})",
            f"{use.num_questions}{of_all} about {use.num_subjects} subject{'' if use.num_subjects == 1 else 's'}",
        )
    left = [str(one) for one in record.data.get("left_out") or ()]
    if left:
        yield "left out of the data", "; ".join(left)


def _done(row: BoardRow) -> Iterator[tuple[str, str]]:
    record = row.record
    method = record.method
    yield "model", str(record.model_info.get("pretrained", "unknown"))
    if method is not None:
        plain = {name: value for name, value in method.args.items() if not name.startswith("training.")}
        yield "method", f"{method.name}{f' with {details.text(plain)}' if plain else ''}"
        training = {name.removeprefix("training."): value for name, value in method.args.items() if name not in plain}
        yield "trained by", details.text(training)
    seeds = [str(one.seed) for one in row.seeds] or ([str(method.seed)] if method is not None else [])
    yield "trainings", f"{len(seeds)} (seed {', '.join(seeds)})"
    steps = record.training.get("num_steps")
    if steps is not None:
        yield "steps", f"{steps}, in {details.seconds_text(record.training.get('wall_s'))}"
    yield "when", record.provenance.started


def _numbers(board: Board, *, told: BoardRow, target: BoardRow | None, retain: BoardRow | None) -> Iterator[Line]:
    models = (target, None if told is target else told, retain)
    for set_name, texts in _sets(board):
        for metric, text in texts.items():
            found = [
                None if one is None else one.record.metric(metric, set=set_name, profile=PROFILE) for one in models
            ]
            if any(one is not None and one.value is not None for one in found):
                yield Line(text, *(_shown(one) for one in found))
    for name, text in (
        ("utility", "what it still knows of everybody else"),
        ("forget_score", "forget score: 1 is as if it had never seen it"),
    ):
        found = [None if one is None else one.headline(name) for one in models]
        if any(one is not None and one.value is not None for one in found):
            yield Line(text, *(_shown(one) for one in found))


def _sets(board: Board) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The sets of the board with what is told of each: the forgotten one, the rephrased one, and all others.

    Nothing is told of further sets about what was to be forgotten.
    """
    names = dict.fromkeys(result.set for row in board.rows for result in row.record.metrics)
    others = [name for name in names if name and _is_kept(board, name)]
    for name in names:
        if name == board.forget_set:
            yield name, FORGOTTEN
        elif name.startswith("rephrase"):
            yield name, REPHRASED
        elif name in others:
            mark = f" ({name})" if len(others) > 1 else ""
            yield name, {metric: f"{text}{mark}" for metric, text in KEPT.items()}


def _is_kept(board: Board, name: str) -> bool:
    """Whether right answers to the questions of a set are good ones, as far as a metric of answers says."""
    if name == board.forget_set or name.startswith("rephrase"):
        return False
    results = [one for row in board.rows for one in row.record.metrics if one.set == name and one.name in ANSWERED]
    return all(one.estimate.higher_is_better is not False for one in results)


def _shown(estimate: Estimate | None) -> str:
    return words.measured(estimate or NOTHING)


def _attacks(row: BoardRow | None) -> Iterator[Attacked]:
    lines = () if row is None or row.record.verdict is None else row.record.verdict.evidence
    for line in lines:
        before, after, never = map(words.number, (line.target, line.unlearned, line.retain))
        name = "the plain questions" if line.attack is None else line.name
        yield Attacked(name, before, after, never, evidence.OUTCOME.get(line.outcome, line.outcome))


def _answers(record: RunRecord) -> Iterator[AnswerExample]:
    forgotten = [one for one in record.examples if one.group in ("forget", "rephrase", "")]
    others = [one for one in record.examples if one not in forgotten]
    for one in (*forgotten[:NUM_TO_FORGET], *others[:NUM_OTHERS]):
        texts: dict[str, Any] = {name: cut(getattr(one, name), limit=MAX_ANSWER) for name in ANSWERS}
        yield replace(one, **texts)


def _not_shown(board: Board, row: BoardRow | None) -> Iterator[str]:
    if row is not None:
        yield from evidence.not_shown([row], has_null_band=bool(board.null_band))
        counted = row.headline("forget_score").num_subjects
        if counted is not None and counted < MIN_SUBJECTS:
            yield f"how much of this is chance: {too_few(counted)}, so there is no interval"
        if not row.seeds and row.record.method is not None:
            yield "whether another training with the same settings would come to the same: there is one"
        yield from (reason for reason in row.eligibility.reasons)
    yield from BEYOND


def _facts(row: BoardRow) -> Iterator[tuple[str, str]]:
    record = row.record
    made = record.provenance
    yield "model fingerprint", str(record.model_info.get("fingerprint", "unknown"))
    yield from ((f"fingerprint of the {role} model", name) for role, name in record.references.items())
    yield "benchmark", f"{record.benchmark.name} {record.benchmark.setting}"
    place = record.data.get("path")
    yield "data", f"{record.data.get('source')}{f', folder {Path(str(place)).name}' if place else ''}"
    yield from ((f"rows ({name})", use.rows_hash) for name, use in record.sets.items())
    yield (
        "mmforget",
        f"{made.version}, commit {made.commit or 'unknown'}{', with uncommitted changes' if made.dirty else ''}",
    )
    yield "libraries", details.text(made.packages)
    yield "device", made.device
    yield "command", " ".join(ABSOLUTE.sub(r"\1", word) for word in made.command)


def _markdown(report: Report) -> Iterator[str]:
    yield f"# {_marked(report.title)}"
    yield ""
    yield from (f"{_marked(one)}\n" for one in report.says)
    yield from _section("What was asked", report.asked)
    yield from _section("What was done", report.done)
    yield "## What was measured\n"
    yield from _table(("", "before", "after", "a model that never saw it"), report.numbers)
    if report.attacks:
        yield "\nWhat comes back, by the share of answers:\n"
        yield from _table(ATTACKS_HEAD, report.attacks)
    if report.answers:
        yield "\nSome answers:\n"
        rows = [
            (f"{one.question} (true: {one.answer})", one.target, one.response, one.retain) for one in report.answers
        ]
        yield from _table(("question", "before", "after", "a model that never saw it"), rows)
    yield "\n## What this does not show\n"
    yield from (f"- {_marked(one)}" for one in report.not_shown)
    yield ""
    yield from _section("How to check it", report.facts)


def _section(title: str, told: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"## {title}\n"
    yield from (f"- {_marked(label)}: {_marked(text)}" if label else f"- {_marked(text)}" for label, text in told)
    yield ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + ":---|" * len(head)
    yield from ("| " + " | ".join(map(_marked, row)) + " |" for row in rows)


def _marked(text: str) -> str:
    """A stranger's text as Markdown that shows it as it is: no markup, no HTML, one line."""
    plain = html.escape(" ".join(printable(text).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~>-])", r"\\\1", plain)
