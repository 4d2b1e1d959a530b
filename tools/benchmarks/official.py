"""Training as the official scripts do it: Hugging Face Trainer, one question a row, padded, every image again.

Stock model class, PEFT's LoRA, the processor's own tensors, NLL of the answer tokens by the model's own loss; for NPO a
second, frozen model in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import AutoModelForImageTextToText, AutoProcessor, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from benchmarks.measuring import Seconds, Watch
from benchmarks.world import Question
from mmforget.model.families.llava import LANGUAGE_TARGETS

BATCH_SIZE = 4
"""Questions a forward pass, as the official scripts have it."""
BETA = 0.1
IGNORED = -100


class Update(NamedTuple):
    """One update that the Trainer made: from the first row to the gradients, and those gradients by name."""

    seconds: Seconds
    gradients: dict[str, Tensor]


class Official:
    """The official way to train on some questions.

    Args:
        folder: a saved model.
        lora: adapter weights to start from, by name; None takes PEFT's own start.
        npo: train with NPO against a frozen copy of the whole model, instead of NLL.
    """

    def __init__(
        self, folder: Path, *, rank: int, alpha: float, lora: dict[str, Tensor] | None = None, npo: bool = False
    ) -> None:
        self.processor = AutoProcessor.from_pretrained(str(folder))
        self.reference = _stock(folder).requires_grad_(False) if npo else None
        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=LANGUAGE_TARGETS, bias="none")
        self.model = get_peft_model(_stock(folder).requires_grad_(False), config)
        if lora is not None:
            self.model.load_state_dict(lora, strict=False)

    @property
    def cores(self) -> list[Any]:
        """All models that compute: the one that trains, and the reference where there is one."""
        return [self.model.get_base_model(), *([self.reference] if self.reference is not None else [])]

    def update(self, questions: Sequence[Question], *, output: Path, watch: Watch | None = None) -> Update:
        """The gradients of all questions together, in as many micro-batches as it takes; the weights stay."""
        probe = _Probe(self.model)
        trainer = _Trainer(
            model=self.model,
            args=_arguments(output, num_rows=len(questions)),
            train_dataset=_Rows(questions),
            data_collator=_Collator(self.processor),
            callbacks=[probe],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.reference = self.reference
        # The NPO loss is a mean over answers, to be averaged over micro-batches; the model's own knows all tokens.
        trainer.model_accepts_loss_kwargs = self.reference is None
        if watch is not None:
            backward = trainer.accelerator.backward

            def watched(*args: Any, **kwargs: Any) -> None:
                with watch.computing():
                    backward(*args, **kwargs)

            trainer.accelerator.backward = watched
        trainer.train()
        return Update(probe.seconds, probe.gradients)


def _stock(folder: Path) -> Any:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return AutoModelForImageTextToText.from_pretrained(str(folder), dtype=torch.float32).to(device)


def _arguments(output: Path, *, num_rows: int) -> TrainingArguments:
    """One update over all rows that changes nothing: learning rate 0, no decay, no clipping."""
    return TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=BATCH_SIZE,
        gradient_accumulation_steps=num_rows // BATCH_SIZE,
        max_steps=1,
        learning_rate=0.0,
        weight_decay=0.0,
        max_grad_norm=0.0,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
    )


class _Rows(Dataset[Question]):
    """One question and its first answer a row."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = questions

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> Question:
        return self.questions[index]


class _Collator:
    """The processor's tensors of some rows, padded on the right, with labels on the answers alone."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, rows: Sequence[Question]) -> dict[str, Tensor]:
        texts, images = [one.context + one.answers[0] for one in rows], [one.image for one in rows]
        inputs = self.processor(text=texts, images=images, padding=True, padding_side="right", return_tensors="pt")
        labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, IGNORED)
        for row, one in enumerate(rows):
            answer = self.processor.tokenizer.encode(one.answers[0], add_special_tokens=False)
            labels[row, : int(inputs["attention_mask"][row].sum()) - len(answer)] = IGNORED
        return {**inputs, "labels": labels}


class _Trainer(Trainer):
    """Hugging Face's Trainer, with NPO as its loss where there is a reference model."""

    reference: Any = None

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        if self.reference is None:
            return super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        labels = inputs.pop("labels")
        with torch.no_grad():
            before = _answer_logprob(self.reference, inputs, labels=labels)
        now = _answer_logprob(model, inputs, labels=labels)
        return -(2 / BETA) * functional.logsigmoid(-BETA * (now - before)).mean()


def _answer_logprob(model: Any, inputs: dict[str, Tensor], *, labels: Tensor) -> Tensor:
    """[B] log-probability of every answer."""
    logprobs = model(**inputs).logits[:, :-1].float().log_softmax(-1)
    target = labels[:, 1:]
    found = logprobs.gather(2, target.clamp(min=0)[..., None])[..., 0]
    return (found * (target != IGNORED)).sum(-1)


class _Probe(TrainerCallback):
    """Takes the time and the gradients of the one update."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.start = self.seconds = Seconds(0.0, 0.0)
        self.gradients: dict[str, Tensor] = {}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Rows are fetched and processed before the step begins: that belongs to it.
        self.start = Seconds.now()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds = self.start.passed()
        trained = self.model.named_parameters()
        self.gradients = {name: weight.grad.clone() for name, weight in trained if weight.grad is not None}
