"""Text and images to token ids: contexts, answers and prompts, with `<image>` expanded by ourselves.

The split between context and answer follows lm_eval: trailing blanks of the context belong to the answer, both are
tokenised together, and the answer is what lies behind the tokens of the context alone. Where a chat template ends the
context, the answer begins where generation begins: what is trained, scored and generated is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmforget.errors import UserError, one_line
from mmforget.model.chat import PLACEHOLDER
from mmforget.model.families import written_images
from mmforget.results.fingerprint import hash_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmforget.asking import Avoid
    from mmforget.model.loaded import LoadedModel

Ints = NDArray[np.int64]
BLOCK_TOKENS = 64
DERIVED = ("array", "positions", "image_positions", "prefixes")
"""What an `Encoded` keeps that is the same under any edit."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids of a context and its answer. Make it once and use it in every step: derived arrays are kept.

    Attributes:
        ids: all token ids, every image expanded to its number of image tokens.
        num_context: how many of them are context; the rest is the answer (empty for a prompt).
        images: the images, in the order of their tokens.
        image_keys: hash of the pixels of each.
        image_at: positions of image tokens in `ids`.
        image_sizes: number of image tokens of each image.
        grid_positions: int64 [3, length] in time, height and width, for families whose rotary embeddings have these.
        lead: of a prompt, the last blanks of its context, where the tokenizer joins them to the word that comes.
        edit: of the edits that a model has side by side, the number of the one that it is computed under.
        avoid: of a prompt, the words that its text is kept from.
        is_joined: whether one token is made of the context's end and the answer's beginning; it counts as context, as
            lm_eval has it, so that the answer lacks its beginning.
        labels: tokens that the answer is scored against, one for each of its own, -1 for none; None: its own.
    """

    ids: tuple[int, ...]
    num_context: int
    images: tuple[Image, ...] = ()
    image_keys: tuple[str, ...] = ()
    image_at: tuple[int, ...] = ()
    image_sizes: tuple[int, ...] = ()
    grid_positions: Ints | None = None
    lead: str = ""
    edit: int | None = None
    is_joined: bool = False
    avoid: Avoid | None = None
    labels: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_answer(self) -> int:
        return len(self.ids) - self.num_context

    @cached_property
    def array(self) -> Ints:
        """`ids` as int64 [length]."""
        return np.asarray(self.ids, dtype=np.int64)

    @cached_property
    def targets(self) -> Ints:
        """What each token is scored against, int64 [length]: itself where it has no label."""
        if self.labels is None:
            return self.array
        found, labels = self.array.copy(), np.asarray(self.labels, dtype=np.int64)
        found[self.num_context :] = np.where(labels < 0, found[self.num_context :], labels)
        return found

    @cached_property
    def positions(self) -> Ints:
        """int64 [1 or 3, length], position of every token along each axis."""
        return self.grid_positions if self.grid_positions is not None else np.arange(len(self.ids))[None]

    @cached_property
    def image_positions(self) -> Ints:
        """`image_at` as int64 [image tokens]."""
        return np.asarray(self.image_at, dtype=np.int64)

    def followed_by(self, tokens: Sequence[int]) -> Encoded:
        """The same sequence with text tokens behind it, which count as answer."""
        grid = self.grid_positions
        if grid is not None:
            after = np.arange(1, len(tokens) + 1) + grid.max()
            grid = np.concatenate([grid, np.broadcast_to(after, (len(grid), len(tokens)))], axis=1)
        return replace(self, ids=(*self.ids, *tokens), grid_positions=grid)

    def avoiding(self, avoid: Avoid | None) -> Encoded:
        """The same prompt whose text is kept from words."""
        return self if avoid == self.avoid else replace(self, avoid=avoid)

    def under(self, edit: int | None) -> Encoded:
        """The same tokens under an edit; the same object whenever asked again."""
        if edit == self.edit:
            return self
        if edit not in self._under:
            self._under[edit] = other = replace(self, edit=edit)
            vars(other).update({name: value for name, value in vars(self).items() if name in DERIVED})
        return self._under[edit]

    @cached_property
    def prefixes(self) -> tuple[bytes, ...]:
        """Names of what the sequence begins with, up to the end of each block of `BLOCK_TOKENS`, edits left out."""
        digest = hashlib.sha256(" ".join(self.image_keys).encode())
        found = []
        for start in range(0, len(self.ids), BLOCK_TOKENS):
            block = slice(start, start + BLOCK_TOKENS)
            digest.update(self.array[block].tobytes())
            if self.grid_positions is not None:
                digest.update(self.grid_positions[:, block].tobytes())
            found.append(digest.digest())
        return tuple(found)

    @cached_property
    def _under(self) -> dict[int | None, Encoded]:
        return {}


def encode(
    loaded: LoadedModel,
    context: str,
    answer: str,
    images: Sequence[Image] = (),
    *,
    image_keys: Sequence[str] | None = None,
    append_eos: bool = False,
) -> Encoded:
    """A context and the answer to score or learn behind it.

    An empty context becomes the BOS token, and images are then ignored (lm_eval's acc_mutual_info asks so).

    Args:
        context: holds one literal `<image>` (or the model's own image token) per image.
        answer: with its delimiter in front, usually a blank.
        image_keys: `hash_image` of each image where it is known already.
        append_eos: end the answer with the end-of-sequence token.

    Raises:
        UserError: wrong number of placeholders, an empty answer, or more tokens than the model was made for.
    """
    context, blanks = _split(loaded, context)
    answer = blanks + answer
    if not context:
        images, image_keys = (), None
    _check_images(loaded, context, answer=answer, num_images=len(images))
    if context:
        whole, front = (_ids(loaded, text, images=images) for text in (context + answer, context))
    else:
        front = _empty_context(loaded)
        whole = front + _plain_ids(loaded, answer, images=())
    num_context = len(front)
    if len(whole) <= num_context:
        raise UserError(f"the answer {_short(answer)!r} has no tokens behind the context {_short(context)!r}")
    eos = loaded.tokenizer.eos_token_id
    if append_eos and eos is not None and whole[-1] != eos:
        whole = [*whole, eos]
    is_joined = whole[:num_context] != front
    found = _expand(loaded, whole, num_context=num_context, images=images, image_keys=image_keys, text=context)
    return replace(found, is_joined=True) if is_joined else found


def encode_prompt(
    loaded: LoadedModel, context: str, images: Sequence[Image] = (), *, image_keys: Sequence[str] | None = None
) -> Encoded:
    """A context to generate from. Raises UserError as `encode` does."""
    lead = ""
    if _is_templated(loaded, context):
        context, lead = _split(loaded, context)
    if not context:
        images, image_keys = (), None
    _check_images(loaded, context, answer="", num_images=len(images))
    ids = _ids(loaded, context, images=images) if context else _empty_context(loaded)
    found = _expand(loaded, ids, num_context=len(ids), images=images, image_keys=image_keys, text=context)
    return replace(found, lead=lead)


def document_windows(loaded: LoadedModel, text: str) -> list[Encoded]:
    """A whole document as the windows in which lm_eval reads it: every token is predicted once, the first from BOS.

    A window predicts as many tokens as the model takes, each from all before it in the window; the last window begins
    further back, so that it is as long as the others.

    Raises UserError for a text that holds an image.
    """
    ids, size = list(loaded.token_ids(text)), loaded.max_length
    if loaded.is_multimodal and loaded.image_token in ids:
        raise UserError(f"a document cannot hold an image, but {_short(text)!r} does")
    whole = [start_token(loaded), *ids]
    found = []
    for begin in range(0, len(ids), size):
        stop = min(begin + size, len(ids))
        first = max(0, stop - size) if begin else 0
        # Nothing is predicted from the last token, so that it may stand at a place that the model has.
        places = np.minimum(np.arange(stop + 1 - first, dtype=np.int64), size - 1)[None]
        found.append(Encoded(tuple(whole[first : stop + 1]), begin + 1 - first, grid_positions=places))
    return found


def _split(loaded: LoadedModel, context: str) -> tuple[str, str]:
    """A context, and its last blanks where they belong to what comes: all of them, but in a chat template those only
    that the tokenizer joins to a word."""
    size = len(loaded.joined_blanks) if _is_templated(loaded, context) else len(context) - len(context.rstrip())
    return context[: len(context) - size], context[len(context) - size :]


def _is_templated(loaded: LoadedModel, context: str) -> bool:
    """Whether a context ends as the model's chat template ends a question."""
    return bool(loaded.reply_opening) and context.endswith(loaded.reply_opening)


def _expand(
    loaded: LoadedModel,
    ids: list[int],
    *,
    num_context: int,
    images: Sequence[Image],
    image_keys: Sequence[str] | None,
    text: str,
) -> Encoded:
    """Ids with every image as many tokens long as it is, and where those are."""
    token, counts = loaded.image_token, [_num_image_tokens(loaded, image) for image in images]
    places = [at for at, one in enumerate(ids) if one == token] if images else []
    if loaded.writes_images:
        expanded, image_at = ids, places
    else:
        expanded, image_at = _repeated(ids, places=places, counts=counts)
    _check_length(loaded, num_tokens=len(expanded), num_image_tokens=sum(counts), text=text)
    _check_embedded(loaded, ids, text=text)
    keys = tuple(image_keys) if image_keys is not None else tuple(map(hash_image, images))
    num_context += len(expanded) - len(ids)
    positions = loaded.family.grid_positions(
        loaded.core.config,
        loaded.processor,
        num_tokens=len(expanded),
        image_at=image_at,
        sizes=[image.size for image in images],
    )
    return Encoded(tuple(expanded), num_context, tuple(images), keys, tuple(image_at), tuple(counts), positions)


def _repeated(ids: list[int], *, places: list[int], counts: list[int]) -> tuple[list[int], list[int]]:
    """Ids with the one at each of the places repeated, and where the repeated ones are."""
    expanded, image_at, start = list[int](), list[int](), 0
    for at, count in zip(places, counts, strict=True):
        expanded += ids[start:at]
        image_at += range(len(expanded), len(expanded) + count)
        expanded += [ids[at]] * count
        start = at + 1
    return expanded + ids[start:], image_at


def _num_image_tokens(loaded: LoadedModel, image: Image) -> int:
    with _readable(loaded, image):
        return loaded.family.num_image_tokens(loaded.core.config, loaded.processor, size=image.size)


def _written_image(loaded: LoadedModel, image: Image) -> str:
    with _readable(loaded, image):
        return written_images.written(loaded.processor, size=image.size)


@contextmanager
def _readable(loaded: LoadedModel, image: Image) -> Iterator[None]:
    """Turns what processors say about sizes that they do not take into a message that names the image's."""
    try:
        yield
    except ValueError as error:
        width, height = image.size
        raise UserError(
            f"{loaded.spec.pretrained} cannot read an image of {width} x {height} pixels ({one_line(error)}); crop it"
        ) from error


def _check_images(loaded: LoadedModel, context: str, *, answer: str, num_images: int) -> None:
    if not loaded.is_multimodal:
        if num_images:
            raise UserError(
                f"{loaded.spec.pretrained} reads text only, but {_short(context)!r} comes with {num_images} image(s); "
                "use an image-text model or the task's _text twin"
            )
        return
    if _written(loaded, answer).count(str(loaded.image_text)):
        raise UserError(
            f"an answer cannot hold an image, but the one behind {_short(context)!r} has {PLACEHOLDER} in it"
        )
    num_places = _written(loaded, context).count(str(loaded.image_text))
    if num_places != num_images:
        raise UserError(
            f"{_short(context)!r} holds {num_places} {PLACEHOLDER} placeholder(s) for {num_images} image(s); "
            "write exactly one per image"
        )


def _check_length(loaded: LoadedModel, *, num_tokens: int, num_image_tokens: int, text: str) -> None:
    if num_tokens > loaded.max_length:
        raise UserError(
            f"{_short(text)!r} and its answer have {num_tokens} tokens, {num_image_tokens} of them image tokens; "
            f"{loaded.spec.pretrained} takes {loaded.max_length}; shorten the text or use a model with a longer context"
        )


def _check_embedded(loaded: LoadedModel, ids: Sequence[int], *, text: str) -> None:
    last = max(ids)
    if last >= loaded.num_embeddings:
        raise UserError(
            f"{_short(text)!r} or its answer has token {last} ({loaded.tokenizer.convert_ids_to_tokens(last)!r}), but "
            f"{loaded.spec.pretrained} has embeddings for {loaded.num_embeddings} tokens; use the tokenizer that "
            "it was saved with"
        )


def _ids(loaded: LoadedModel, text: str, *, images: Sequence[Image]) -> list[int]:
    """Token ids with the special tokens that the tokenizer puts in front, unless the text has them already."""
    front, ids = list(loaded.front_tokens), _plain_ids(loaded, text, images=images)
    return ids if ids[: len(front)] == front else front + ids


def _plain_ids(loaded: LoadedModel, text: str, *, images: Sequence[Image]) -> list[int]:
    text = _written(loaded, text)
    if loaded.writes_images and images:
        first, *rest = text.split(str(loaded.image_text))
        written = [_written_image(loaded, image) for image in images]
        text = first + "".join(image + part for image, part in zip(written, rest, strict=True))
    return list(loaded.token_ids(text))


def _written(loaded: LoadedModel, text: str) -> str:
    """The text with the model's own image token in place of `<image>`."""
    return text if loaded.image_text is None else text.replace(PLACEHOLDER, loaded.image_text)


def _empty_context(loaded: LoadedModel) -> list[int]:
    return list(loaded.front_tokens) or [start_token(loaded)]


def start_token(loaded: LoadedModel) -> int:
    """What stands in for an empty context: BOS, or EOS where there is none, as lm_eval has it.

    Raises UserError where the tokenizer has neither.
    """
    bos, eos = loaded.tokenizer.bos_token_id, loaded.tokenizer.eos_token_id
    if bos is None and eos is None:
        raise UserError(f"the tokenizer of {loaded.spec.pretrained} has neither BOS nor EOS, so no empty context")
    return int(bos if bos is not None else eos)


def _short(text: str, *, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
