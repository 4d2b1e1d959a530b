"""An attack that learns on rows to keep how states are read, on a model that holds one answer back for all alike."""

from __future__ import annotations

from pathlib import Path

from test_attacking import MIDDLE, NUM_LAYERS, adapter, asked_in_words, made, secretive, success

from mmforget.lm.adapter import MMForgetLM


def test_a_map_learned_on_rows_to_keep_leaves_the_last_layer_as_it_is(tmp_path: Path) -> None:
    """There the tuned lens is the lens. Rows to keep have the same answer, which is held back there, too: a map of the
    middle learns to, and finds nothing. One question at a time gives the same as several."""
    folder, lm = asked_in_words(tmp_path / "tasks", answer="blood"), adapter(secretive(tmp_path / "m"))
    last, middle = (f"tuned_lens(layers=[{layer}],rows=8)" for layer in (NUM_LAYERS, MIDDLE))
    done = made(folder, lm, last, middle, f"logit_lens(layers=[{NUM_LAYERS}])")
    keys = list(dict.fromkeys(sample.attack for sample in done.samples if sample.attack))
    lens, tuned, early = (
        [[s.ranks for s in done.samples if s.attack == key] for key in keys if key.startswith(begin)]
        for begin in ("logit_lens", "tuned_lens(layers=[6]", "tuned_lens(layers=[3]")
    )
    assert len(lens[0]) == len(tuned[0]) > 0
    assert lens == tuned
    assert [success(folder, done, key).value for key in keys] == [0.0, 0.0, 0.0]
    alone = made(folder, MMForgetLM(lm.loaded, batch_size=1, progress=False), middle)
    assert [[s.ranks for s in alone.samples if s.attack]] == early


def test_a_head_is_taught_for_each_layer(tmp_path: Path) -> None:
    """Rows to keep have the same answer, so that a head taught on them says it at every layer, whatever stands there;
    One question at a time gives the same as several."""
    folder, lm = asked_in_words(tmp_path / "tasks", answer="blood"), adapter(secretive(tmp_path / "m", knows=False))
    done = made(folder, lm, "truncated_probe(rows=8)")
    ranks = [sample.ranks for sample in done.samples if sample.attack]
    assert ranks == [(0,) * len(ranks[0])] * 6
    alone = made(folder, MMForgetLM(lm.loaded, batch_size=1, progress=False), "truncated_probe(rows=8)")
    assert [sample.ranks for sample in alone.samples if sample.attack] == ranks
