"""How a run asks: lm_eval's settings as the flags say, in words for the record, and where answers are kept."""

from __future__ import annotations

from pathlib import Path

from mmforget import parallel
from mmforget.evaluation.run import Settings
from mmforget.lm.cache import ResponseCache
from mmforget.pipeline.config import RunConfig


def settings_of(config: RunConfig) -> Settings:
    """lm_eval's settings as the flags say; examples are turns of their own under a chat template, as in lm_eval."""
    asking = config.asking
    as_turns = asking.fewshot_as_multiturn
    return Settings(
        num_fewshot=config.num_fewshot,
        gen_kwargs=config.gen_kwargs,
        apply_chat_template=config.apply_chat_template,
        system_instruction=asking.system_instruction,
        fewshot_as_multiturn=bool(config.apply_chat_template) if as_turns is None else as_turns,
        samples=asking.samples,
        seeds=asking.seeds,
    )


def cache_file(config: RunConfig) -> Path:
    """The response cache: where the user says, else inside the output folder."""
    return Path(config.use_cache).expanduser() if config.use_cache else config.output / "responses.sqlite"


def response_cache(config: RunConfig) -> ResponseCache | None:
    """The cache, of the main process alone; None where nobody says where it is kept."""
    is_kept = parallel.is_main() and (config.use_cache or config.output_path)
    return ResponseCache(cache_file(config)) if is_kept else None


def in_words(config: RunConfig) -> str:
    """What the flags change in how questions are asked, in words; empty where nothing."""
    template, asking = config.apply_chat_template, config.asking
    words = [f"chat template {template}" if isinstance(template, str) else "chat template" if template else ""]
    words += [",".join(f"{key}={value}" for key, value in config.gen_kwargs.items())]
    words += [f"system instruction {asking.system_instruction!r}" * bool(asking.system_instruction)]
    words += ["chosen documents" if asking.samples else ""]
    return "; ".join(filter(None, words))
