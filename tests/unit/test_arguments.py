"""Arguments as they are typed."""

from __future__ import annotations

from mmforget.arguments import arguments_in, typed_arguments


def test_texts_get_the_type_they_are_written_as_and_values_of_json_keep_theirs() -> None:
    """A revision of digits in a JSON object is a text."""
    assert typed_arguments("n=3,x=1e-3,on=true,name=anna", owner="--x") == {
        "n": 3, "x": 1e-3, "on": True, "name": "anna",
    }  # fmt: skip
    assert typed_arguments('{"revision": "0012", "n": 3}', owner="--x") == {"revision": "0012", "n": 3}
    assert arguments_in("n=3", owner="--x") == {"n": "3"}
