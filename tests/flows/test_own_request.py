"""A folder of twelve pictures with a CSV becomes a forget request and a report, on micro and LLaVA folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mmforget.protocols.request.twin import corpus
from mmforget.results.store import find_records
from tests.commands import command
from tests.helpers import tiny_llava

pytestmark = pytest.mark.long
SEED = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What somebody has: pictures, and a table with semicolons whose columns have names of its own."""
    place, made = tmp_path / "people", corpus(SEED)
    place.mkdir()
    lines = ["name;photo;prompt;response;keywords"]
    for entry in (*made.forget, *made.keep):
        picture = f"{entry.subject.split()[0].lower()}.png"
        assert entry.image is not None
        assert entry.image["bytes"] is not None
        (place / picture).write_bytes(entry.image["bytes"])
        lines.append(f"{entry.subject};{picture};{entry.question};{entry.answer};{entry.keywords[0]}")
    (place / "people.csv").write_text("\n".join(lines), encoding="utf-8")
    return place


def model_words(kind: str, *, place: Path) -> Sequence[str | Path]:
    if kind == "micro":
        return ("--model", "micro")
    made = corpus(SEED)
    texts = [f"{one.question} {one.answer}" for one in (*made.forget, *made.keep)]
    model = tiny_llava(place / "llava", texts=texts)
    return ("--model", "hf", "--model_args", f"pretrained={model}", "--recipe", "micro", "--device", "cpu")


@pytest.mark.parametrize("kind", ["micro", "llava"])
def test_twelve_pictures_and_a_csv_end_in_a_report(kind: str, folder: Path, tmp_path: Path, model_cache: Path) -> None:
    forgotten = [*dict.fromkeys(entry.subject for entry in corpus(SEED).forget)]
    named = [word for name in forgotten for word in ("--forget", name)]
    assert command("new", "request", folder, *named).status == 0
    assert len(list(folder.glob("*.png"))) == 12
    out = tmp_path / "out"
    said = command(
        "run", *model_words(kind, place=tmp_path), "--tasks", "request", "--data", folder, "--methods", "npo",
        "--workers", "1", "--quiet", "--allow_weak_target", "--output_path", out,
    )  # fmt: skip
    assert said.status == 0, said.err
    records = {run.record.name: run.record for run in find_records([out])}
    assert set(records) == {"target", "retain", "npo"}
    assert records["npo"].data["forgets"] == sorted(forgotten)
    assert records["npo"].gate is not None
    assert records["npo"].gate.passed, records["npo"].gate
    page = tmp_path / "report.html"
    assert command("report", out, "--output_path", page).status == 0
    text = page.read_text()
    assert all(name in text for name in forgotten)
    assert "What this does not show" in text
    assert "data:image" not in text
