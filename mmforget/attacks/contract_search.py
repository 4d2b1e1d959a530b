"""What a search by gradients must keep to, tried on a toy model that likes one word, one shade and one direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.changes import Searching, searched_for, to_json
from mmforget.errors import PluginError, UserError

if TYPE_CHECKING:
    from torch import Tensor

TOLD, THROUGH = ("own", "others"), ("words", "pixels", "states")
LIKED = "w7"
WIDTH = 4


class ToyBox:
    """Stands in for `lm.whitebox.WhiteBox`: tokens are words, and an answer is the likelier the more `LIKED` there are,
    the brighter its picture and the larger the first number of a shift.
    """

    num_layers = 2
    likes = 1.0

    @property
    def pieces(self) -> Mapping[int, str]:
        return {0: "!", **{number: f"w{number}" for number in range(1, 12)}}

    def text(self, tokens: Sequence[int]) -> str:
        return " ".join(self.pieces[token] for token in tokens)

    def place(self, ask: Ask, tokens: Sequence[int]) -> int | None:
        at = ask.context.find(self.text(tokens))
        return None if at < 0 else len(ask.context[:at].split())

    def score(self, asks: Sequence[Ask]) -> Tensor:
        import torch

        return torch.tensor([self._score(ask) for ask in asks], dtype=torch.float64)

    def rises(self, asks: Sequence[Ask], *, places: Sequence[int], num: int) -> Tensor:
        import torch

        return torch.tensor([[float(word == LIKED) for word in self.pieces.values()]] * num)

    def shift_slope(self, asks: Sequence[Ask], *, layer: int, vector: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        return self.score(asks).float() + vector[0], torch.eye(WIDTH)[0]

    def usual_length(self, asks: Sequence[Ask], *, layer: int) -> float:
        return 2.0

    def width(self) -> int:
        return WIDTH

    def seen(self, image: Image.Image) -> Image.Image:
        return image.convert("RGB")

    def pixel_slopes(self, ask: Ask) -> list[Tensor]:
        import torch

        return [torch.ones(image.height, image.width, 3) for image in ask.images]

    def _score(self, ask: Ask) -> float:
        shades = sum(sum(image.convert("L").resize((1, 1)).tobytes()) for image in ask.images)
        return self.likes * ask.context.split().count(LIKED) + shades / 1000


def check_search(attack: Searching, asks: Sequence[Ask], *, name: str) -> None:
    """Raises PluginError where a search gives no changes, too few, or others when it is made again."""
    if attack.told not in TOLD or attack.through not in THROUGH:
        raise PluginError(
            f"attack '{name}': told '{attack.told}' has to be one of {', '.join(TOLD)}, through '{attack.through}' of "
            f"{', '.join(THROUGH)}"
        )
    require_stops(attack.at, name=name, of="steps")
    if attack.told == "others" and not (getattr(attack, "rows", 0) >= 1 and hasattr(attack, "seed")):
        raise PluginError(f"attack '{name}': told the answers of others it needs rows, how many, and a seed")
    for ask in asks:
        first, again = (_searched(attack, ask, name=name) for _ in range(2))
        if first != again:
            raise PluginError(f"attack '{name}': search finds something else when it is made again")


def _searched(attack: Searching, ask: Ask, *, name: str) -> Any:
    box: Any = ToyBox()
    try:
        found = searched_for(attack, [ask], box, name=name)
    except PluginError:
        raise
    except UserError:
        return None  # a toy of so few layers is none for it
    return found.reason if isinstance(found, Lacking) else [to_json(one) for one in found]


def require_stops(at: Sequence[int], *, name: str, of: str) -> None:
    """Raises PluginError where an attack says wrongly after how many updates or steps it is tried."""
    if not at or list(at) != sorted({*at}) or at[0] < 1:
        raise PluginError(f"attack '{name}': at has to give numbers of {of} in order, from 1, not {tuple(at)}")
