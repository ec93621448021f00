"""The text of train.py: what the run did, as a short program on transformers, peft and trl alone.

People read it to learn how a run is written by hand; so it holds only what differs from the
libraries' defaults, and says why where that is not plain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Script:
    """What the text depends on. `adapter` and `arguments` are keyword arguments by name, of the
    class `adapter_class` of peft and of TRL's config; `last_step` is 0 for a run that went through.
    """

    title: str
    notes: tuple[str, ...]
    requirements: tuple[str, ...]
    model: str
    revision: str
    takes_pairs: bool
    adapter_class: str
    adapter: Mapping[str, Any]
    arguments: Mapping[str, Any]
    last_step: int

    @property
    def trainer(self) -> str:
        return "DPOTrainer" if self.takes_pairs else "SFTTrainer"

    @property
    def settings(self) -> str:
        return "DPOConfig" if self.takes_pairs else "SFTConfig"


def script_text(script: Script) -> str:
    """The whole program."""
    parts = [_order(), _trainer(script)]
    if script.last_step:
        parts.append(_end_at(script.last_step))
    return "\n\n\n".join([_head(script) + "\n\n" + _imports(script), *parts, _main(script)])


def _head(script: Script) -> str:
    requirements = "\n".join(f'#     "{requirement}",' for requirement in script.requirements)
    notes = "\n".join(script.notes)
    return (
        f"# /// script\n# dependencies = [\n{requirements}\n# ]\n# ///\n"
        f'"""{script.title}\n\n{notes}\n"""'
    )


def _imports(script: Script) -> str:
    extra = ", TrainerCallback" if script.last_step else ""
    return dedent(f"""\
        import argparse
        import json
        from pathlib import Path

        import torch
        from datasets import Dataset
        from peft import {script.adapter_class}
        from torch.utils.data import DataLoader, Sampler
        from transformers import AutoModelForCausalLM, AutoTokenizer{extra}
        from trl import {script.settings}, {script.trainer}

        HERE = Path(__file__).resolve().parent
        MODEL = {script.model!r}
        REVISION = {script.revision or None!r}""")


def _order() -> str:
    return dedent('''\
        class RunOrder(Sampler):
            """The batches of one epoch after the other, as the run took them."""

            def __init__(self, epochs):
                self.epochs = epochs
                self.n_done = 0

            def __len__(self):
                return len(self.epochs[0])

            def __iter__(self):
                self.n_done += 1
                return iter(self.epochs[self.n_done - 1])''')


def _trainer(script: Script) -> str:
    text = dedent(f'''\
        class InOrder({script.trainer}):
            """Takes ready tokens, in the order of the run; a Trainer would shuffle them."""

            def get_train_dataloader(self):
                epochs = json.loads((HERE / "order.json").read_text())
                return DataLoader(
                    self.train_dataset,
                    batch_sampler=RunOrder(epochs),
                    collate_fn=self.data_collator,
                )''')
    if script.takes_pairs:
        text += "\n\n" + indent(
            dedent("""\
                def _prepare_dataset(self, dataset, *args, **kwargs):
                    return dataset  # prompt_ids, chosen_ids and rejected_ids are there"""),
            "    ",
        )
    return text


def _end_at(step: int) -> str:
    return dedent(f'''\
        class EndEarly(TrainerCallback):
            """The run ended after step {step}; the learning rate falls as it was planned."""

            def on_step_end(self, args, state, control, **kwargs):
                if state.global_step >= {step}:
                    control.should_training_stop = True''')


def _main(script: Script) -> str:
    callbacks = "callbacks=[EndEarly()]," if script.last_step else ""
    trainer = [
        "model=model,",
        "args=arguments,",
        "train_dataset=rows,",
        "processing_class=AutoTokenizer.from_pretrained(options.model, revision=REVISION),",
        "peft_config=adapter,",
        *filter(None, [callbacks]),
    ]
    return f"""\
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=MODEL, help="a folder or a hub id")
    parser.add_argument("--out", default=str(HERE / "adapter"), help="where the adapter goes")
    options = parser.parse_args()

    lines = (HERE / "rows.jsonl").read_text().splitlines()
    rows = Dataset.from_list([json.loads(line) for line in lines])
    model = AutoModelForCausalLM.from_pretrained(
        options.model, revision=REVISION, dtype=torch.float32
    )
    adapter = {_call(script.adapter_class, script.adapter)}
    arguments = {_call(script.settings, {"output_dir": _Code("options.out"), **script.arguments})}
    trainer = InOrder(
{indent(chr(10).join(trainer), " " * 8)}
    )
    trainer.train()
    trainer.save_model(options.out)
    trainer.save_state()  # trainer_state.json: the loss of every step


if __name__ == "__main__":
    main()
"""


class _Code(str):
    """Stands in the program as it is, not as a text in quotes."""

    def __repr__(self) -> str:
        return str(self)


USE_CPU = _Code("not torch.cuda.is_available()")


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    lines = "".join(f"        {key}={value!r},\n" for key, value in arguments.items())
    return f"{name}(\n{lines}    )"
