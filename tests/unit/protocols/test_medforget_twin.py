"""The synthetic hospitals: identifiers, questions, scans."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mmforget.errors import UserError
from mmforget.protocols.medforget import twin as hospital
from mmforget.protocols.medforget.scans import Scan, draw, pixels

STUDIES = list(hospital.studies())


def test_four_nested_levels() -> None:
    paths = [study.path for study in STUDIES]
    assert len(set(paths)) == 24
    assert [len({path[:size] for path in paths}) for size in (1, 2, 3)] == [3, 12, 24]
    assert paths[10] == ("inst_02", "pat_0006", "study_11")
    assert [name for name, _ in STUDIES[0].facts] == [
        "institution", "patient", "study", "INDICATION", "FINDINGS", "IMPRESSION",
    ]  # fmt: skip


def test_what_is_above_is_shared_and_what_is_below_is_not() -> None:
    """Two studies of a patient have the same patient and hospital facts; other patients other ones."""
    one, other, next_patient, next_hospital = (dict(STUDIES[k].facts) for k in (0, 1, 2, 8))
    assert one["patient"] == other["patient"] != next_patient["patient"]
    assert one["institution"] == next_patient["institution"] != next_hospital["institution"]
    assert one["study"] != other["study"]


def test_the_forgotten_of_a_setting_lie_in_one_another() -> None:
    paths = [hospital.FORGOTTEN[level] for level in hospital.LEVELS]
    assert [path.count("/") for path in paths] == [0, 1, 2, 3]
    assert all(long.startswith(short + "/") for short, long in zip(paths, paths[1:], strict=False))


def test_nine_wordings_of_which_six_are_trained() -> None:
    """Frame 0 leaves out noun 1 for fact 0, noun 2 for fact 1; the first trained is frame 0 with the first noun."""
    fact = dict(STUDIES[0].facts)["patient"][0]
    texts = hospital.wordings(fact, index=0, subject="X")
    assert len(texts) == len(set(texts)) == hospital.NUM_WORDINGS + hospital.NUM_HELD_OUT == 9
    assert texts[:2] == ["What is the name of X?", "What is the proper name of X?"]
    assert texts[6] == "What is the full name of X?"
    assert hospital.wordings(fact, index=1, subject="X")[6] == "What is the proper name of X?"


def test_records_have_the_official_columns() -> None:
    records = hospital.records()
    assert len(records) == 9 * 24 * 6
    assert len({record["ID"] for record in records}) == len(records)
    first = records[3]
    assert first["ID"] == "study_01_INDICATION_w0"
    assert first["image_path"] == "inst_01/pat_0001/study_01"
    assert first["hierarchy_metadata"] == {
        "institution_id": "inst_01",
        "patient_id": "pat_0001",
        "study_id": "study_01",
        "section_name": "INDICATION",
        "hierarchy_level": "section",
    }
    assert [set(pair) for pair in first["metadata"]] == [{"Question", "Answer"}] * 3
    assert sum(record["held_out"] for record in records) == 3 * 24 * 6


def test_the_same_seed_gives_the_same_records() -> None:
    assert hospital.records(seed=3) == hospital.records(seed=3) != hospital.records(seed=4)


def test_no_two_scans_look_alike() -> None:
    seen = [pixels(study.scan) for study in STUDIES]
    assert min(float(np.sqrt(np.mean((a - b) ** 2))) for a, b in combinations(seen, 2)) >= 0.1


def test_scans_are_grey_and_mostly_nearest_to_their_own_views() -> None:
    image = np.asarray(draw(STUDIES[0].scan))
    assert image.shape == (48, 48, 3)
    assert np.array_equal(image[..., 0], image[..., 2])
    straight = np.stack([np.asarray(draw(study.scan), dtype=float) for study in STUDIES])
    for view in (1, 2, 3, 4):
        seen = np.stack([np.asarray(draw(study.scan, view=view), dtype=float) for study in STUDIES])
        distance = np.abs(seen[:, None] - straight[None]).mean(axis=(2, 3, 4))
        assert (distance.argmin(axis=1) == np.arange(24)).mean() > 0.5
        assert (distance > 0).all()


def test_what_is_near_in_the_hierarchy_looks_alike() -> None:
    same_patient = [(STUDIES[k].scan, STUDIES[k + 1].scan) for k in range(0, 24, 2)]
    assert all(one.body == other.body and one.frame == other.frame for one, other in same_patient)
    assert len({study.scan.frame for study in STUDIES}) == 3
    assert len({study.scan.body for study in STUDIES}) == 12


def test_a_scan_as_plain_values_and_back() -> None:
    scan = STUDIES[5].scan
    assert Scan.from_dict(scan.as_dict()) == scan
    for spoilt in ({}, {**scan.as_dict(), "blobs": [{"shape": "disc"}]}):
        with pytest.raises(UserError, match="a scan needs frame, body and blobs"):
            Scan.from_dict(spoilt)
    blob = {**scan.as_dict()["blobs"][0], "shape": "star"}
    with pytest.raises(UserError, match="unknown marker or blob"):
        Scan.from_dict({**scan.as_dict(), "blobs": [blob]})
    with pytest.raises(UserError, match="cannot draw view"):
        draw(scan, size=8)
