"""MedForget's official layout in miniature, with the defects that its description knows of."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from pyarrow import parquet

Record = dict[str, Any]
OPTIONS = "A) clear B) nodule C) effusion D) fracture"


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (6, 4), shade).save(buffer, format="PNG")
    return buffer.getvalue()


def record(
    path: str,
    *pairs: tuple[str, Any],
    name: str | None,
    level: str | None = None,
    section: str | None = None,
    shade: int = 90,
    as_text: bool = True,
) -> Record:
    """A row: its ids in `hierarchy_metadata` where it has a level, else in `image_path` alone."""
    ids = dict(zip(("institution_id", "patient_id", "study_id"), path.split("/"), strict=False))
    known = {**ids, "section_name": section, "hierarchy_level": level} if level else None
    metadata = [{"Question": question, "Answer": answer} for question, answer in pairs]
    return {
        "ID": name,
        "image": {"bytes": picture(shade), "path": None},
        "image_path": path,
        "hierarchy_metadata": json.dumps(known) if known and as_text else known,
        "metadata": json.dumps(metadata) if as_text else metadata,
    }


def patient_rows(patient: str, *, shade: int) -> list[Record]:
    """Three rows about a patient of inst_03: two with a level and one without any metadata of the hierarchy."""
    path = f"inst_03/{patient}/study_{patient[-2:]}"
    return [
        record(
            path,
            ("What is the name of the patient?", f"Ann {patient}"),
            ("Which finding? " + OPTIONS, "B) nodule"),
            name=f"{patient}_a",
            level="patient",
            shade=shade,
        ),
        record(
            path,
            ("The FINDINGS show [blank].", ["a nodule", "", "left"]),
            ("What do the findings say?", "A small nodule."),
            name=f"{patient}_b",
            level="section",
            section="FINDINGS",
            shade=shade,
        ),
        record(
            path,
            ("Which hospital made this image?", "Orwick"),
            ("What is the patient's birth date?", "1 May 1950"),
            ("When was this imaging study made?", "2 June 2140"),
            ("What does the Impression say?", "Pneumonia."),
            ("What is seen?", "A shadow."),
            name=f"{patient}_c",
            shade=shade,
        ),
    ]


FORGET = patient_rows("pat_0012", shade=40)
RETAIN = [*patient_rows("pat_0013", shade=80), *patient_rows("pat_0014", shade=120)]
OTHERS = [record("inst_04/pat_0020/study_77", ("What is seen?", "Nothing."), name="far", shade=200)]


def write(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist([dict(one) for one in records]), path)
    return path


def write_medforget(folder: Path, *, training: bool = True, rephrase: bool = False) -> Path:
    """A folder with the patient level's files and, besides, the training parquet."""
    write(folder / "patient_level" / "forget_set_all.parquet", FORGET)
    write(folder / "patient_level" / "retain_set_all.parquet", RETAIN)
    if training:
        write(folder / "train.parquet", [*FORGET, *RETAIN, *OTHERS])
    if rephrase:
        asked = [record("inst_03/pat_0012/study_12", ("Say the patient's name.", "Ann pat_0012"), name="r")]
        write(folder / "patient_level" / "rephrase_set_all.parquet", asked)
    return folder
