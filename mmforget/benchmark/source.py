"""Where the rows of a benchmark come from, and the loader settings that `--metadata` may carry."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from mmforget.errors import UnknownName, UserError

Kind = Literal["hub", "synthetic", "path"]
KINDS: tuple[str, ...] = get_args(Kind)
PROFILES = ("clean", "released", "paper")

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "profile": PROFILES,
    "portraits": ("procedural",),
    "perturbed": ("borrowed",),
}
_COUNTS: Mapping[str, int] = {"num_subjects": 1, "seed": 0}
_TEXTS = ("revision", "setting", "data", "forget_path")
OPTION_NAMES = (*_CHOICES, *_COUNTS, *_TEXTS)

_MEANING = {
    "portraits": "images are procedurally drawn stand-ins, not the official ones",
    "perturbed": "missing perturbed answers are borrowed from other people asked the same question, and the "
    "answer itself stands for its missing paraphrase (a reconstruction)",
    "num_subjects": "a subset of the people, which is not the official protocol",
    "forget_path": "what is forgotten was chosen by its path, which is not the official split",
}


@dataclass(frozen=True)
class DataSource:
    """Where rows come from: `hub` (a pinned revision), `synthetic`, or `path` (a folder of official files).

    `metadata` holds loader settings as `--metadata` gives them; `OPTION_NAMES` are those every benchmark knows.
    """

    kind: Kind
    path: Path | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("data source", name=self.kind, known=KINDS)
        if (self.kind == "path") != (self.path is not None):
            raise UserError(f"data source '{self.kind}' with path {self.path}; a path goes with the kind 'path' only")
        check_options(self.metadata)

    @classmethod
    def parse(cls, text: str | None, model: str = "hf", *, metadata: Mapping[str, Any] | None = None) -> DataSource:
        """The source that `--data TEXT` names; without one, `synthetic` for the micro model and `hub` for others.

        Raises UserError where TEXT is neither `hub`, `synthetic` nor a path that exists.
        """
        settings = dict(metadata or {})
        named = settings.pop("data", None)
        if text is not None and named is not None and text != named:
            raise UserError(f"--data {text} and --metadata data={named!r} differ; give one of them")
        text = text or named or ("synthetic" if model == "micro" else "hub")
        if text in ("hub", "synthetic"):
            return cls("hub" if text == "hub" else "synthetic", metadata=settings)
        path = Path(text).expanduser()
        if not path.exists():
            raise UserError(f"--data {text}: no such file or folder; give 'hub', 'synthetic' or a folder that exists")
        # As it was typed: records and pages name it, and an absolute path would say who made them.
        return cls("path", path=path, metadata=settings)

    @property
    def profile(self) -> str:
        return str(self.metadata.get("profile", "clean"))

    def as_metadata(self) -> dict[str, Any]:
        """The keywords that a benchmark's loader gets: what goes to lm_eval's `--metadata`."""
        return {"data": str(self.path) if self.path else self.kind, **self.metadata}

    def describe(self) -> dict[str, Any]:
        """What a run record says about the data, stand-ins and reconstructions named as such. Plain JSON values."""
        notes = [meaning for name, meaning in _MEANING.items() if self.metadata.get(name) is not None]
        return {"source": self.kind, "path": str(self.path) if self.path else None, **self.metadata, "notes": notes}


@dataclass(frozen=True)
class LoadOptions:
    """The settings every loader understands, checked: the keywords that lm_eval passes to a `custom_dataset`."""

    source: DataSource
    profile: str = "clean"
    num_subjects: int | None = None
    portraits: str | None = None
    perturbed: str | None = None
    revision: str | None = None
    setting: str | None = None
    forget_path: str | None = None
    seed: int = 0


def options_from(keywords: Mapping[str, Any]) -> LoadOptions:
    """LoadOptions out of everything that lm_eval hands over (model arguments and its own keys are not ours).

    Raises UserError for a bad value of a key of ours and for a key that is nearly one of ours.
    """
    for name in keywords:
        close = difflib.get_close_matches(name, OPTION_NAMES, n=1, cutoff=0.8)
        if close and name not in OPTION_NAMES:
            raise UnknownName("--metadata key", name=name, known=OPTION_NAMES)
    given = {name: keywords[name] for name in OPTION_NAMES if keywords.get(name) is not None}
    check_options(given)
    data = given.pop("data", None)
    return LoadOptions(source=DataSource.parse(data, metadata=given), **given)


class Asked(NamedTuple):
    """Which set a task asks for, and in which setting; None where neither label nor metadata say."""

    set: str
    setting: str | None


def asked_for(
    unlearning: Mapping[str, Any],
    options: LoadOptions,
    *,
    benchmark: str,
    sets: Sequence[str],
    settings: Sequence[str],
) -> Asked:
    """Set and setting out of a task's label and `--metadata`.

    Raises UnknownName for a set or setting that the benchmark does not have, UserError where the two contradict.
    """
    name, fixed = unlearning.get("set"), unlearning.get("setting")
    if name not in sets:
        raise UnknownName(f"{benchmark} set", name=str(name), known=sets)
    for value in (fixed, options.setting):
        if value is not None and value not in settings:
            raise UnknownName(f"{benchmark} setting", name=str(value), known=settings)
    if fixed and options.setting and fixed != options.setting:
        raise UserError(
            f"--metadata setting is '{options.setting}', but the task asked for is '{fixed}'; leave one out"
        )
    return Asked(str(name), fixed or options.setting)


def check_options(metadata: Mapping[str, Any]) -> None:
    """Raise UserError where a setting that every benchmark knows has a value that it cannot have."""
    for name, allowed in _CHOICES.items():
        value = metadata.get(name)
        if value is not None and value not in allowed:
            raise UnknownName(f"value of --metadata {name}", name=str(value), known=allowed)
    for name, least in _COUNTS.items():
        value = metadata.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise UserError(f"--metadata {name} is {value!r}; give a whole number of at least {least}")
    for name in _TEXTS:
        value = metadata.get(name)
        if value is not None and not isinstance(value, str):
            raise UserError(f"--metadata {name} is {value!r}; give a text")
