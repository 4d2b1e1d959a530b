"""The run record: who a model is, where it came from, what was measured on it and how far that can be trusted.

One record describes one model (target, retain, unlearned or base) on one benchmark setting. It is the value of the key
`unlearning` in `results_<time>.json`, next to lm_eval's own keys. Rates lie in [0, 1], `*_s` are seconds, `*_bytes`
bytes. `RunRecord.to_json` and `RunRecord.from_json` are strict inverses up to NaN, which is written as null.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mmforget.errors import UserError, shortened
from mmforget.results.answer_states import AnswerStates
from mmforget.results.codec import from_json, to_jsonable
from mmforget.results.evidence import Evidence
from mmforget.results.older import READ_VERSIONS, from_older
from mmforget.results.sequence import SequenceResult
from mmforget.types import Estimate, Replicates

SCHEMA_VERSION = READ_VERSIONS[-1]

Role = Literal["target", "retain", "unlearned", "base", "relearned"]
VerdictStatus = Literal["reference", "removed", "suppressed", "remembered", "collapsed", "undecided", "refused"]
Relation = Literal["inside", "ancestor", "sibling", "elsewhere"]


@dataclass(frozen=True)
class BenchmarkUse:
    """Which benchmark, and how it was used."""

    name: str
    """Name of the benchmark, e.g. `fiubench`."""
    setting: str
    """Which forget set, e.g. `forget5`."""
    profile: str
    """Profile the data and prompts were made with: `paper`, `released` or `clean`."""
    group: str = ""
    """lm_eval group that was run."""
    title: str = ""
    """Full name for people, e.g. of the paper."""
    modality: str = "image"
    """`image`, `text` or `both`."""
    asked: str = ""
    """What was changed in how questions are asked, e.g. `chat template; max_gen_toks=10`; empty: as the tasks say."""
    blur_images: bool = False
    """Whether pages show its pictures only to those who ask for them."""
    one_at_a_time: bool = False
    """Whether each subject is forgotten alone, and its questions asked of a model that has forgotten nothing else."""


@dataclass(frozen=True)
class MethodUse:
    """Which method made the model, with everything that decides its outcome."""

    name: str
    """Registered name, e.g. `npo`."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the method and of its training, resolved."""
    seed: int = 0
    """Seed of the training order and of the adapter's start."""
    recipe: str = ""
    """Recipe the arguments started from: `released`, `micro`, or empty."""


@dataclass(frozen=True)
class SetUse:
    """How much of one set of the benchmark was really asked."""

    num_questions: int
    """Questions asked."""
    num_expected: int
    """Questions the full set holds; more than `num_questions` where --limit cut it."""
    num_subjects: int = 0
    """Distinct subjects among the questions asked."""
    rows_hash: str = ""
    """sha256 over the rows, stable between runs and machines (image pixels included)."""


@dataclass(frozen=True)
class MetricResult:
    """One metric on one set in one profile."""

    name: str
    """Registered metric name with the arguments it was given, e.g. `rouge_l` or `rouge_l(part=f1)`."""
    set: str
    """Set the questions came from: `forget`, `retain`, ..."""
    profile: str
    """Variant of the formula: `paper`, `released`, `clean` or one that the metric owns."""
    estimate: Estimate
    """Value, 95 % interval, counts and direction."""
    task: str = ""
    """lm_eval task whose samples were scored; empty for composites."""
    kind: str = ""
    """`gen`, `prob` or `mc`; empty for composites."""
    attack: str | None = None
    """What asked, e.g. `blank_image` (every image replaced by grey); None for the benchmark itself."""


@dataclass(frozen=True)
class GateResult:
    """Memorisation gate: did the target model know what it is to forget, and is there room to forget it?"""

    metric: str
    """Metric that is gated."""
    profile: str
    """Profile of that metric."""
    set: str
    """Set it is computed on."""
    minimum: float
    """The target model must reach at least this."""
    room: float | None
    """And lie at least this far above the retain model; None where the protocol has no retain model."""
    target: float | None
    """What the target model reached."""
    retain: float | None
    """What the retain model reached; None where there is no retain model."""
    passed: bool
    """Whether scores on this target count."""
    reason: str = ""
    """Why it did not pass, in words."""
    code: str = ""
    """The same as a code of `rules.CODES`; empty where it passed, and in records older than version 4."""

    @property
    def distance(self) -> float | None:
        """How far the target model lies above the retain model; None where one of them has no value."""
        return None if self.target is None or self.retain is None else self.target - self.retain


@dataclass(frozen=True)
class LevelResult:
    """What is remembered of one node of the hierarchy that rows stand in: of a patient, with all studies and sections.

    The questions are those of the forget set and of the utility set.
    """

    level: str
    """Name of the level, e.g. `patient`."""
    path: tuple[str, ...]
    """The node, outermost part first."""
    relation: Relation
    """`inside` what was forgotten; its `ancestor`, of which only some was forgotten; its `sibling` or below one;
    `elsewhere`."""
    name: str
    """Metric, that of the gate, in its clean profile."""
    set: str
    """Set that all questions below the node come from; empty where they come from both."""
    num: int
    """Questions below the node that could be scored."""
    value: float | None
    """Mean of their scores for this record's model; None where none could be scored."""
    target: float | None
    """The same for the target model."""
    retain: float | None
    """The same for the retain model; None where there is none."""


@dataclass(frozen=True)
class InstanceResult:
    """What one subject came to that was forgotten alone."""

    name: str
    """The subject."""
    num_questions: int
    """Questions asked of the model that had forgotten it, attacks included."""
    values: Mapping[str, float | None] = field(default_factory=dict)
    """Mean scores by `<set>/<metric>`, clean profile, without attacks; None where nothing could be scored."""


@dataclass(frozen=True)
class Verdict:
    """What the numbers say about the model, in one word, and whether it may be ranked."""

    status: VerdictStatus
    """One of the words below; `docs/verdict.md` has the rule.

    `reference`: the target, retain or base model. `removed`: no attack finds more than in the retain model.
    `suppressed`: some attack does. `remembered`: so do the plain questions. `collapsed`: answers nothing any more.
    `undecided`: what is missing stands among the reasons. `refused`: cannot be ruled on (gate, no forget score).
    """
    collapsed: bool
    """True where the model no longer answers anything: ranked last whatever its forget score."""
    eligible: bool
    """Whether the record may stand on a leaderboard, as far as the record alone can tell."""
    reasons: tuple[str, ...] = ()
    """Why, in words: signs of collapse, every refusal, and remarks such as forgetting beyond the retain model."""
    codes: tuple[str, ...] = ()
    """By reason, its code among `rules.CODES`; empty in records older than version 4."""
    evidence: tuple[Evidence, ...] = ()
    """What it rests on, the plain questions first; empty without a retain model, and for references."""


@dataclass(frozen=True)
class Cost:
    """What the evaluation consumed."""

    wall_s: float = 0.0
    """Wall time of the evaluation."""
    peak_memory_bytes: int = 0
    """Largest memory held: of the device where there is one, else of the process."""
    num_tokens: int = 0
    """Tokens the language model computed."""
    num_requests: int = 0
    """Requests answered, cached ones included."""
    num_cached: int = 0
    """Requests answered from the response cache."""
    num_images_encoded: int = 0
    """Images the vision tower computed."""
    num_image_hits: int = 0
    """Images whose features were already there."""


@dataclass(frozen=True)
class Provenance:
    """Where a record came from: enough to say whether two numbers may differ for other reasons than the model."""

    version: str
    """Version of mmforget."""
    commit: str | None
    """Git commit of the clone it ran from; None for an installed package."""
    dirty: bool | None
    """Whether that clone had uncommitted changes; None where unknown."""
    packages: Mapping[str, str]
    """Versions of the packages that decide numbers."""
    python: str
    """Python version."""
    platform: str
    """Operating system and machine type."""
    device: str
    """Device the model ran on, with its name."""
    num_threads: int
    """Threads torch used."""
    seeds: Mapping[str, int]
    """Seeds by what they decide."""
    command: tuple[str, ...]
    """Command line, ready to be typed again."""
    started: str
    """Start time, ISO 8601 in UTC."""
    wall_s: float
    """Seconds from the start to the writing of the record."""
    peak_memory_bytes: int
    """Largest resident memory of the process."""


@dataclass(frozen=True)
class AnswerExample:
    """One question of one subject with what the models answer, shown on the page."""

    subject: str
    """Subject the question is about."""
    set: str
    """Set the question comes from."""
    question: str
    """The question, without the image placeholder."""
    answer: str
    """The true answer."""
    response: str
    """What this record's model answers."""
    target: str = ""
    """What the target model answers."""
    retain: str = ""
    """What the retain model answers."""
    image: str | None = None
    """The picture that was shown, as a small `data:` URI, or None."""
    group: str = ""
    """Role of the set: `forget`, `rephrase`, `benign`, `facts`, `utility`, ...; `other` for a set without one; empty
    where it is not known."""
    degenerate: bool = False
    """Whether `response` is no language: empty, one word over and over, a loop."""


@dataclass(frozen=True)
class RunRecord:
    """Everything known about one model on one benchmark setting."""

    role: Role
    """`target`, `retain`, `unlearned` or `base`."""
    name: str
    """Short name for tables, e.g. `npo`, `target`, `retain`."""
    benchmark: BenchmarkUse
    """What it was measured on."""
    method: MethodUse | None
    """What made it; None for target, retain and base."""
    model_info: Mapping[str, Any]
    """`pretrained`, `fingerprint`, `dtype`, `quantisation`, `adapter_fingerprint`, `base_fingerprint`, ..."""
    data: Mapping[str, Any]
    """Where the rows came from, as `DataSource.describe()` says: synthetic, stand-in, subset, revision."""
    provenance: Provenance
    """Code, packages, device, seeds, command, time."""
    sets: Mapping[str, SetUse] = field(default_factory=dict)
    """How much of every set was asked."""
    metrics: tuple[MetricResult, ...] = ()
    """All metrics, all profiles."""
    gate: GateResult | None = None
    """Memorisation gate of the target model this record was compared with."""
    verdict: Verdict | None = None
    """What it comes to."""
    headline: Mapping[str, Estimate] = field(default_factory=dict)
    """`forget_score`, `utility`, `utility_ratio`, `overall` (what the table ranks by), the parts of the forget score,
    `gap` where rows have levels, and `excess/<task>/<attack>`: what is found above the retain model's rate."""
    replicates: Mapping[str, Replicates] = field(default_factory=dict)
    """The numbers of the headline that have a value, without each subject: what numbers over seeds are made of."""
    answer_states: tuple[AnswerStates, ...] = ()
    """How many answers were right, wrong, a refusal or gibberish, by task and attack; empty before version 9."""
    levels: tuple[LevelResult, ...] = ()
    """What is remembered by node of the hierarchy, a node before what is below it; empty for benchmarks without."""
    instances: tuple[InstanceResult, ...] = ()
    """A row for each subject where they were forgotten one at a time; empty otherwise."""
    sequence: SequenceResult | None = None
    """After each of several requests, how well everything is answered; None where all was forgotten at once."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """`wall_s`, `peak_memory_bytes`, `num_steps`, `num_trainable`, ... of the training that made the model; `tuning`:
    how its settings were chosen, where several were tried (`docs/tuning.md`)."""
    cost: Cost = field(default_factory=Cost)
    """What the evaluation consumed."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of the `target` and `retain` models it was compared with."""
    examples: tuple[AnswerExample, ...] = ()
    """A few answers for the page."""
    judge: Mapping[str, Any] = field(default_factory=dict)
    """Who gave the labels that metrics read: name, version of the prompt, ...; empty where nobody was asked."""
    files: Mapping[str, str] = field(default_factory=dict)
    """sha256 of the sample files it was computed from, by file name; filled in when it is stored."""
    rescored: Provenance | None = None
    """Where the numbers come from when they were computed again from stored samples; None when from the run itself."""
    num_nonfinite: int = 0
    """Numbers that were NaN or infinite and are null in the file."""
    schema_version: int = SCHEMA_VERSION
    """Version of this schema."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values. NaN and infinity become null and are counted in `num_nonfinite`.

        An infinite end of an estimate's range is no fault: it is written as null and read back as infinite.
        """
        plain, nonfinite = to_jsonable(self)
        faults = [path for path in nonfinite if ".range." not in path]
        document: dict[str, Any] = {**plain, "num_nonfinite": self.num_nonfinite + len(faults)}
        return document

    @classmethod
    def from_json(cls, document: Any, *, source: str) -> RunRecord:
        """A record from what `to_json` wrote, now or in an older version.

        Raises UserError naming `source` on any key that does not fit.
        """
        if not isinstance(document, dict):
            raise UserError(f"{source}: a run record is an object, found {type(document).__name__}")
        return _checked(from_json(cls, from_older(document, source=source), source=source), source=source)

    def metric(self, name: str, *, set: str, profile: str | None = None, attack: str | None = None) -> Estimate | None:
        """The estimate of a metric on a set, in `profile` or the first profile that has it; None where not measured."""
        for result in self.metrics:
            if (result.name, result.set, result.attack) == (name, set, attack) and profile in (None, result.profile):
                return result.estimate
        return None

    def replace(self, **changes: Any) -> RunRecord:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


MODEL_TEXTS = ("pretrained", "fingerprint", "base_fingerprint", "adapter_fingerprint")
"""Keys of `model_info` by which records are told apart and brought together."""


def _checked(record: RunRecord, *, source: str) -> RunRecord:
    """The record. Raises UserError where what identifies its model or data is no text, or codes and reasons differ."""
    told = [("model_info", name, record.model_info.get(name)) for name in MODEL_TEXTS]
    for part, name, value in (*told, *(("data", name, record.data.get(name)) for name in ("source", "path"))):
        if not isinstance(value, str | None):
            raise UserError(f"{source}: {part}.{name} is {shortened(value)}, which is no text")
    verdict = record.verdict
    if verdict is not None and verdict.codes and len(verdict.codes) != len(verdict.reasons):
        raise UserError(f"{source}: verdict has {len(verdict.codes)} codes of {len(verdict.reasons)} reasons")
    return record
