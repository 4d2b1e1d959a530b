"""What every loader does: settings checked, files read once, rows made and checked once, empty sets told by name.

LOADER = Loader("towns", sets=("forget", "keep"), settings=("all",), default="all", official=read, twin=invent,
                docs=rows, files=("*.json",), hub="--data hub: there is none; give --data FOLDER")
load = LOADER.load

@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]: ...

`load` and what is decorated with `telling` take the keywords that lm_eval hands to a task's `custom_dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from mmforget.benchmark.files import stamp
from mmforget.benchmark.rows import EmptySet, check_rows, make_dataset
from mmforget.benchmark.source import Asked, LoadOptions, asked_for, options_from
from mmforget.errors import UserError

if TYPE_CHECKING:
    import datasets

Corpus = TypeVar("Corpus")
Told = TypeVar("Told")
Stamp = tuple[tuple[str, int, int, int], ...]


class Request(NamedTuple):
    """Which rows are asked for: hashable, so that each is made once a process.

    Attributes:
        setting: the one asked for, else the loader's default.
        data: `synthetic`, `hub` or a path.
    """

    set: str
    setting: str
    modality: str
    data: str
    profile: str
    revision: str | None
    num_subjects: int | None
    forget_path: str | None
    portraits: str | None
    perturbed: str | None
    seed: int


class Origin(NamedTuple):
    """Where everything that the files say comes from; `stamp` has their names, sizes and times, so that edited files
    are read again.
    """

    data: str
    setting: str
    revision: str | None
    seed: int
    stamp: Stamp


@dataclass(frozen=True, eq=False)
class Loader(Generic[Corpus]):
    """A benchmark's loader: what is its own, as functions; the rest is here.

    Attributes:
        default: the setting where neither the task nor `--metadata` names one.
        official: reads the files at a path; `setting` is the empty text unless `has_files_by_setting`.
        twin: makes the same up from a seed.
        docs: the rows of a request, as `make_dataset` takes them; none where the data cannot fill the set.
        files: glob patterns of the files that `official` reads, below the folder; at most `max_files` are looked at.
        hub: reads a pinned revision, or the text that says why nothing can be fetched.
        has_text_twin: rows differ by modality; otherwise every request counts as one for images.
        unused: settings of `--metadata` that mean nothing here.
        check: raises UserError where set, setting and settings of `--metadata` do not go together.
        why_empty: what the data lack for a set, and what to do.
    """

    name: str
    sets: tuple[str, ...]
    settings: tuple[str, ...]
    default: str
    official: Callable[[Origin], Corpus]
    twin: Callable[[int], Corpus]
    docs: Callable[[Request, Corpus], Iterable[Mapping[str, Any]]]
    files: tuple[str, ...]
    hub: Callable[[Origin], Corpus] | str
    has_text_twin: bool = False
    has_files_by_setting: bool = False
    max_files: int | None = None
    unused: tuple[str, ...] = ()
    check: Callable[[Asked, LoadOptions], None] | None = None
    why_empty: Callable[[Request], str] | None = None

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Loader[Corpus]:
        # lm_eval copies the configuration of every task, `load` included, and a copy would read everything again.
        return self

    def load(self, *, unlearning: Mapping[str, Any], **keywords: Any) -> dict[str, datasets.Dataset]:
        """The rows of a set as `{"test": Dataset}`: a task's `custom_dataset`.

        Args:
            unlearning: the label of the task that asks: `set`, `modality`, and `setting` where the task fixes one.
            keywords: `--metadata` settings (`source.OPTION_NAMES`) among whatever else lm_eval passes on.

        Raises UserError, BadData naming every broken row, and EmptySet where the data cannot fill the set.
        """
        request = self.request(unlearning, options_from(keywords))
        return {"test": _dataset(self, request, self._stamp(request.data))}

    def telling(self, function: Callable[[Request, Corpus], Told]) -> Callable[..., Told]:
        """What a function says of a request and of the data, called as `load` is."""

        @wraps(function)
        def told(*, unlearning: Mapping[str, Any], **keywords: Any) -> Told:
            request = self.request(unlearning, options_from(keywords))
            return function(request, self.corpus(request))

        return told

    def request(self, unlearning: Mapping[str, Any], options: LoadOptions) -> Request:
        """The request of a task's label and settings. Raises UserError for what this benchmark does not have."""
        asked = asked_for(unlearning, options, benchmark=self.name, sets=self.sets, settings=self.settings)
        given = [key for key in self.unused if getattr(options, key) is not None]
        if given:
            raise UserError(f"--metadata {', '.join(given)} means nothing for {self.name}; leave it out")
        if self.check is not None:
            self.check(asked, options)
        if options.source.kind == "hub" and isinstance(self.hub, str):
            raise UserError(self.hub)
        return Request(
            set=asked.set,
            setting=asked.setting or self.default,
            modality=str(unlearning.get("modality", "image")) if self.has_text_twin else "image",
            data=str(options.source.path or options.source.kind),
            profile=options.profile,
            revision=options.revision,
            num_subjects=options.num_subjects,
            forget_path=options.forget_path,
            portraits=options.portraits,
            perturbed=options.perturbed,
            seed=options.seed,
        )

    def corpus(self, request: Request) -> Corpus:
        """Everything that the data say, read once a process and again where files have changed."""
        setting = request.setting if self.has_files_by_setting else ""
        origin = Origin(request.data, setting, request.revision, request.seed, self._stamp(request.data))
        found: Corpus = _corpus(self, origin)
        return found

    def _stamp(self, data: str) -> Stamp:
        return stamp(data, *self.files, at_most=self.max_files)


@lru_cache(maxsize=256)
def _dataset(loader: Loader[Any], request: Request, stamp: Stamp) -> datasets.Dataset:
    docs = list(loader.docs(request, loader.corpus(request)))
    if not docs:
        why = loader.why_empty or _nothing_for
        raise EmptySet(f"{loader.name} set '{request.set}' is empty with --data {request.data}: {why(request)}")
    check_rows(docs, source=f"{loader.name} {request.set} ({request.data})")
    return make_dataset(docs)


def _nothing_for(request: Request) -> str:
    return f"its files hold nothing for it; leave the {request.set} tasks out"


@lru_cache(maxsize=32)
def _corpus(loader: Loader[Any], origin: Origin) -> Any:
    if origin.data == "synthetic":
        return loader.twin(origin.seed)
    if origin.data == "hub" and not isinstance(loader.hub, str):
        return loader.hub(origin)
    return loader.official(origin)
