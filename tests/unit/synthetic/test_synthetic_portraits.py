"""Faces are deterministic, distinct, and moved only a little by a view."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mmforget.errors import UserError
from mmforget.synthetic.portrait_params import PortraitParams
from mmforget.synthetic.portraits import cast, draw
from mmforget.synthetic.views import HELD_OUT_VIEW, TRAIN_VIEWS, view_of


@pytest.fixture
def face() -> PortraitParams:
    return PortraitParams.sample(random.Random(3))


def test_the_same_arguments_give_the_same_pixels(face: PortraitParams) -> None:
    first, second = draw(face, view=2, size=48), draw(face, view=2, size=48)
    assert first.mode == "RGB"
    assert first.size == (48, 48)
    assert first.tobytes() == second.tobytes()


def test_any_size_shows_the_same_face(face: PortraitParams) -> None:
    small, large = draw(face, size=48), draw(face, size=192).resize((48, 48))
    assert large.size == small.size
    assert _difference(small, large) < 6


def test_views_differ_less_than_people(face: PortraitParams) -> None:
    other = PortraitParams.sample(random.Random(4))
    views = [draw(face, view=view) for view in (*TRAIN_VIEWS, HELD_OUT_VIEW)]
    assert len({view.tobytes() for view in views}) == 5
    nearest = min(_difference(views[0], view) for view in views[1:])
    assert 0 < nearest < _difference(views[0], draw(other))


def test_views_shift_by_at_most_two_of_48_pixels() -> None:
    for index in range(50):
        camera = view_of(index)
        assert np.hypot(camera.dx, camera.dy) * 48 <= 2.1
    assert view_of(0) == (0.0, 0.0, 1.0, 1.0)
    assert HELD_OUT_VIEW not in TRAIN_VIEWS


def test_the_vector_lies_in_the_unit_interval_and_names_every_choice(face: PortraitParams) -> None:
    """8 hairstyles, 4 hats, 4 glasses, 4 beards, 4 mouths, 4 patterns; 6 colours of 3 shares; 5 shapes and 3 marks."""
    vector = face.as_vector()
    assert vector.dtype == np.float32
    assert vector.shape == (8 + 4 * 5 + 6 * 3 + 5 + 3,)
    assert vector.min() >= 0
    assert vector.max() <= 1
    assert vector[:28].sum() == 6


def test_params_survive_json(face: PortraitParams) -> None:
    assert PortraitParams.from_dict(face.as_dict()) == face


def test_wrong_params_are_refused(face: PortraitParams) -> None:
    with pytest.raises(UserError, match="fields missing or unknown: hat, hut"):
        PortraitParams.from_dict({("hut" if k == "hat" else k): v for k, v in face.as_dict().items()})
    with pytest.raises(UserError, match="portrait hat is 'fez'; allowed: none"):
        PortraitParams.from_dict({**face.as_dict(), "hat": "fez"})
    with pytest.raises(UserError, match="eye_size is 2"):
        PortraitParams.from_dict({**face.as_dict(), "eye_size": 2})


@pytest.mark.parametrize("wrong", [{"view": -1}, {"size": 8}])
def test_what_cannot_be_drawn_is_refused(face: PortraitParams, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="views start at 0 and sizes at 16 px"):
        draw(face, **wrong)


def test_a_cast_is_distinct_and_does_not_depend_on_its_size() -> None:
    faces = cast(40, seed=1)
    assert cast(12, seed=1) == faces[:12]
    vectors = np.stack([face.as_vector() for face in faces])
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2) + 9 * np.eye(40)
    assert distances.min() >= 2.2


def test_a_cast_follows_genders() -> None:
    women = cast(30, seed=0, genders=["female"] * 30)
    assert {face.beard for face in women} == {"none"}
    assert "bald" not in {face.hairstyle for face in women}


def test_too_many_distinct_faces_are_refused() -> None:
    with pytest.raises(UserError, match="ask for at most 1 people"):
        cast(3, seed=0, min_distance=50.0)


def _difference(one, other) -> float:
    """Mean absolute difference of two pictures, in grey levels."""
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())
