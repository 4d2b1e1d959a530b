"""Values between two processes: who has what afterwards, and what happens when one of them fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mmforget import parallel
from mmforget.errors import RunFailed, UnknownName, UserError
from mmforget.model.spec import ModelSpec
from tests.processes import launch


def test_one_process_needs_nothing() -> None:
    parallel.start(cpu=True)
    assert (parallel.world_size(), parallel.rank(), parallel.is_main(), parallel.device()) == (1, 0, True, None)
    assert parallel.gather("a") == ["a"]
    assert parallel.broadcast("a") == parallel.on_main(lambda: "a") == "a"
    assert parallel.failed_before(2) is None
    weight = torch.nn.Parameter(torch.ones(2))
    parallel.sum_gradients([weight])
    assert weight.grad is None


def exchange() -> dict[str, Any]:
    parallel.start(cpu=True)
    rank = parallel.rank()
    found = {
        "who": (rank, parallel.world_size(), parallel.is_main(), str(parallel.device())),
        "gathered": parallel.gather({"rank": rank}),
        "broadcast": parallel.broadcast(f"from {rank}"),
        "on_main": parallel.on_main(lambda: f"computed by {rank}"),
    }
    parallel.stop()
    return found


def test_values_go_round(tmp_path: Path) -> None:
    first, second = (ended.value for ended in launch(exchange, home=tmp_path))
    assert first.pop("who") == [0, 2, True, "cpu"]
    assert second.pop("who") == [1, 2, False, "cpu"]
    assert first == second
    assert first == {
        "gathered": [{"rank": 0}, {"rank": 1}],
        "broadcast": "from 0",
        "on_main": "computed by 0",
    }


def summed(bucket_bytes: int) -> list[Any]:
    parallel.BUCKET_BYTES = bucket_bytes
    parallel.start(cpu=True)
    rank = parallel.rank()
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), (3,), (1,), (2,))]
    weights.append(torch.nn.Parameter(torch.zeros(2, dtype=torch.float64)))
    weights[0].grad = torch.full((2, 2), 1.0 + rank)
    if rank == 1:
        weights[1].grad = torch.tensor([1.0, 2.0, 3.0])
    weights[3].grad = torch.tensor([0.5, -0.5])
    weights[4].grad = torch.tensor([1.0, 10.0], dtype=torch.float64) * (rank + 1)
    parallel.sum_gradients(weights)
    return [None if weight.grad is None else weight.grad.tolist() for weight in weights]


@pytest.mark.parametrize("bucket_bytes", [2**20, 16])
def test_gradients_are_summed(bucket_bytes: int, tmp_path: Path) -> None:
    """1 + 2 = 3; a gradient that only one has counts as zero in the other; one that nobody has stays away."""
    for ended in launch(summed, bucket_bytes, home=tmp_path):
        assert ended.value == [[[3.0, 3.0], [3.0, 3.0]], [1.0, 2.0, 3.0], None, [1.0, -1.0], [3.0, 30.0]], ended.err


def fails_on_main(kind: str) -> str:
    parallel.start(cpu=True)

    def compute() -> None:
        raise UnknownName("task", name="a", known=["b"]) if kind == "user" else RunFailed("no more disk")

    try:
        parallel.on_main(compute)
    except (UserError, RunFailed) as error:
        return f"{isinstance(error, UserError)}: {error}"
    return "nothing"


@pytest.mark.parametrize("kind", ["user", "run"])
def test_an_error_of_the_main_process_is_everybodys(kind: str, tmp_path: Path) -> None:
    first, second = (ended.value for ended in launch(fails_on_main, kind, home=tmp_path))
    assert first == second == ("True: unknown task 'a'; known: b" if kind == "user" else "False: no more disk")


def waits_for_the_dead() -> str:
    parallel.start(cpu=True)
    parallel.gather(0)
    if parallel.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        parallel.gather(1)
    except parallel.LostContact as error:
        return str(error)
    return "nothing"


def test_whoever_waits_for_a_dead_process_is_told(tmp_path: Path) -> None:
    first, second = launch(waits_for_the_dead, home=tmp_path)
    assert "another process of this run has ended" in first.value
    assert second.status == -signal.SIGKILL


def fails_one_after_another() -> int | None:
    parallel.start(cpu=True)
    if parallel.rank() == 0:
        parallel.gather(0)
        before = parallel.failed_before(1)
    else:
        before = parallel.failed_before(2)
        parallel.gather(0)
    parallel.gather(0)
    return before


def test_the_first_to_fail_is_known_to_the_others(tmp_path: Path) -> None:
    assert [ended.value for ended in launch(fails_one_after_another, home=tmp_path)] == [2, None]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "mixed_precision: bf16"),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "4"}, "zero_stage is 4; give one of"),
        (
            {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "cpu"},
            "offload_param_device is cpu, and mmforget allows none alone; see configs/deepspeed.yaml",
        ),
        (
            {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": "ds.json"},
            "config_file is ds.json",
        ),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "fsdp_version is 1"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params is true"),
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, "accelerate launch --cpu starts one process"),
    ],
)
def test_launcher_settings_that_would_change_numbers_are_refused(
    settings: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        parallel.start()


@pytest.mark.parametrize(("stage", "reshards"), [("3", "true"), ("2", "false"), ("1", "false")])
def test_a_zero_stage_divides_by_pytorchs_own_means(stage: str, reshards: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else finds DeepSpeed's flag afterwards; stage 3 takes layers apart again behind their forward pass."""
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", stage)
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "")
    assert parallel._launcher_settings() is True
    assert "ACCELERATE_USE_DEEPSPEED" not in os.environ
    assert os.environ["FSDP_RESHARD_AFTER_FORWARD"] == reshards


def test_zero_stage_0_divides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "0")
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "")
    assert parallel._launcher_settings() is False


def test_the_deepspeed_file_asks_for_what_is_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    """configs/deepspeed.yaml, through accelerate's own reading of it, as far as it goes without the library."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    config = str(Path(__file__).parents[2] / "configs" / "deepspeed.yaml")
    args = launch_command_parser().parse_args(["--config_file", config, "-m", "mmforget"])
    args, _, _ = _validate_launch_command(args)
    args.deepspeed_fields_from_accelerate_config = ""
    _, env = prepare_deepspeed_cmd_env(args)
    for name, value in env.items():
        if name.startswith(("ACCELERATE_", "FSDP_")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("FSDP_RESHARD_AFTER_FORWARD", "")
    assert parallel._launcher_settings() is True
    assert os.environ["FSDP_RESHARD_AFTER_FORWARD"] == "true"


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = torch.device("cuda:1")
    monkeypatch.setattr(parallel, "device", lambda: own)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert ModelSpec("model").target_device() == own
    assert ModelSpec("model", device="cuda").target_device() == own
    assert ModelSpec("model", device="cpu").target_device() == torch.device("cpu")
    with pytest.raises(UserError, match="device 'cuda:1' was asked for"):
        ModelSpec("model", device="cuda:1").target_device()
