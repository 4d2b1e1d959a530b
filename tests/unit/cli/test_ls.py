"""`mmforget ls`: everything by name, as text and as JSON, quickly, and what is broken named."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mmforget.cli import flags, ls
from mmforget.registry import Registry


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    ls.add_arguments(parser)
    return ls.execute(parser.parse_args(arguments))


def test_every_kind_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == [*ls.KINDS, "faults"]
    assert {"fiubench", "fiubench_forget_gen"} <= {item["name"] for item in document["tasks"]}
    assert {"ga", "npo"} <= {item["name"] for item in document["methods"]}
    assert [item["name"] for item in document["models"]] == list(flags.MODELS)
    for kind in ls.KINDS:
        assert all(item["origin"] and item["summary"] for item in document[kind])


def test_one_kind_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("methods") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "methods"
    names = [line.split()[0] for line in lines[1:]]
    assert names == sorted(names)
    assert "mmforget" in lines[1]


def test_an_included_folder_and_a_broken_file_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\ndataset_path: json\n")
    assert run("tasks", "--include_path", str(tmp_path)) == 0
    assert re.search(rf"^ *mine +{re.escape(str(tmp_path))}", capsys.readouterr().out, flags=re.M)
    (tmp_path / "broken.yaml").write_text("task: [\n")
    assert run("tasks", "--include_path", str(tmp_path), "--json") == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out)["faults"] == [shown.err.removeprefix("mmforget: error: ").strip()]
    assert "broken.yaml:2:1: not valid YAML" in shown.err
    assert "mine" in shown.out


def test_two_plugins_with_one_name_are_named_and_the_others_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def entry_points(*, group: str) -> list[metadata.EntryPoint]:
        return [metadata.EntryPoint("npo", "other.npo", group)] if group == "mmforget.methods" else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    assert run("methods") == 2
    shown = capsys.readouterr()
    assert "two plugins are named 'npo' (method): mmforget and other.npo" in shown.err
    names = [line.split()[0] for line in shown.out.splitlines()[1:]]
    assert "npo" not in names
    assert {"ga", "kl"} <= set(names)


def test_attacks_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(*, group: str) -> list[metadata.EntryPoint]:
        return [metadata.EntryPoint("mine", "my_package.mine", group)] if group == "mmforget.attacks" else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    assert Registry("attack", package=None, attribute="ATTACK").names() == ["mine"]
    items = ls.collect(["attacks"]).items["attacks"]
    assert ("mine", "my_package.mine", "from my_package.mine") in items


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import argparse, sys; from mmforget.cli import ls; ls.collect(ls.KINDS);"
        "print(sorted({'torch', 'datasets', 'lm_eval', 'transformers', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
