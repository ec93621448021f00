"""Going on from an adapter: it begins where the parent ended, and only where it fits."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from studio.engine.loading import load_base, load_tuned
from studio.errors import JobError, ModelError
from studio.jobs.job import Job, create_job, find_job, list_jobs, log_tail
from studio.jobs.process import wait_until_ended
from studio.jobs.start_adapter import copy_start, find_start, with_start
from studio.jobs.train import start_run
from studio.models.facts import read_facts
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.imported import settings_of
from studio.training.result_folder import tensors_path
from tests.integration.conftest import write_tokenizer
from tests.waiting import events_of

Train = Callable[..., Job]


def started(workspace: Workspace, config: RunConfig, start: str) -> Job:
    """The new run's folder as `start_run` makes it, without its worker."""
    facts = read_facts(ModelRef.parse(config.model).folder())
    config, found = with_start(workspace, replace(config, start_adapter=start), facts)
    assert found is not None
    job = create_job(workspace, "train", "", to_dict(config))
    copy_start(found, job)
    return job


def go_on(workspace: Workspace, train: Train, config: RunConfig, start: str, **more: Any) -> Job:
    job = started(workspace, config, start)
    settings = AdapterSettings(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in job.config()["adapter"].items()
        }
    )
    values = replace(config, start_adapter=job.config()["start_adapter"], adapter=settings)
    return train(workspace, values, job=job, **more)


@pytest.mark.parametrize(
    "adapter",
    [
        AdapterSettings(r=4, lora_alpha=8, use_rslora=True, use_dora=True),
        AdapterSettings(kind="full"),
        AdapterSettings(kind="half"),
    ],
    ids=["rsLoRA and DoRA", "full", "half"],
)
def test_a_run_begins_where_its_parent_ended(
    adapter: AdapterSettings, run_config: RunConfig, workspace: Workspace, train_here: Train
) -> None:
    training = replace(run_config.training, max_steps=4, learning_rate=1e-3)
    config = replace(run_config, adapter=adapter, training=training)
    parent = train_here(workspace, config)
    other = replace(config, adapter=AdapterSettings(r=64))
    child = go_on(workspace, train_here, other, parent.id)
    assert child.config()["start_adapter"] == f"{parent.id}@4"
    own = child.config()["adapter"]
    assert own["kind"] == adapter.kind
    if adapter.kind == "lora":
        assert (own["r"], own["lora_alpha"]) == (4, 8)
        assert (own["use_rslora"], own["use_dora"]) == (adapter.use_rslora, adapter.use_dora)
    ended = events_of(parent, "eval")[-1]
    began = events_of(child, "eval")[0]
    assert (ended["step"], began["step"]) == (4, 0)
    assert began["eval_loss"] == pytest.approx(ended["eval_loss"], abs=1e-6)
    assert events_of(child, "plan")[0]["n_trainable"] == events_of(parent, "plan")[0]["n_trainable"]
    before, after = (
        load_file(tensors_path(parent.folder / "adapter")),
        load_file(tensors_path(child.folder / "adapter")),
    )
    assert set(before) == set(after)
    assert any(not torch.equal(values, after[name]) for name, values in before.items())


def test_the_worker_goes_on_from_a_run(
    run_config: RunConfig, workspace: Workspace, train_here: Train
) -> None:
    config = replace(
        run_config,
        adapter=AdapterSettings(kind="last_layers", n_last_layers=1),
        training=replace(run_config.training, max_steps=2, learning_rate=1e-3),
    )
    parent = train_here(workspace, config)
    child = start_run(workspace, replace(config, start_adapter=parent.id))
    assert wait_until_ended(child, 300.0) == "finished", log_tail(child)
    assert child.config()["start_adapter"] == f"{parent.id}@2"
    began, ended = events_of(child, "eval")[0], events_of(parent, "eval")[-1]
    assert began["eval_loss"] == pytest.approx(ended["eval_loss"], abs=1e-6)


def test_a_checkpoint_is_a_place_to_go_on_from(
    run_config: RunConfig, workspace: Workspace, train_here: Train
) -> None:
    config = replace(run_config, training=replace(run_config.training, max_steps=6))
    parent = train_here(workspace, config)
    child = go_on(workspace, train_here, config, f"{parent.name}@4")
    assert child.config()["start_adapter"] == f"{parent.id}@4"
    [at_four] = [event for event in events_of(parent, "eval") if event["step"] == 4]
    assert events_of(child, "eval")[0]["eval_loss"] == pytest.approx(at_four["eval_loss"], abs=1e-6)
    with pytest.raises(JobError, match=r"no checkpoint of step 5") as info:
        find_start(workspace, f"{parent.id}@5")
    assert info.value.fix == "Choose one of: 4, 6."


def test_a_run_that_goes_on_is_resumed_bit_for_bit(
    run_config: RunConfig, workspace: Workspace, train_here: Train
) -> None:
    config = replace(run_config, training=replace(run_config.training, max_steps=4))
    parent = train_here(workspace, config)
    through = go_on(workspace, train_here, config, parent.id)
    stopped = go_on(workspace, train_here, config, parent.id, stop_after=2)
    values = replace(config, start_adapter=f"{parent.id}@4")
    values = replace(values, adapter=replace(config.adapter, target_modules=_targets(stopped)))
    resumed = train_here(workspace, values, job=stopped)
    expected, found = (
        tensors_path(job.folder / "adapter").read_bytes() for job in (through, resumed)
    )
    assert expected == found


def _targets(job: Job) -> tuple[str, ...]:
    return tuple(job.config()["adapter"]["target_modules"])


def test_what_a_run_went_on_from_must_stay_as_it_was(
    run_config: RunConfig, workspace: Workspace, train_here: Train
) -> None:
    config = replace(run_config, training=replace(run_config.training, max_steps=2))
    parent = train_here(workspace, config)
    job = started(workspace, config, parent.id)
    (job.folder / "start" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"start/adapter_config.json is missing or changed"):
        train_here(workspace, config, job=job)


def test_a_preference_run_is_held_close_to_the_adapter_that_it_went_on_from(
    run_config: RunConfig,
    preference_file: Path,
    workspace: Workspace,
    train_here: Train,
) -> None:
    parent = train_here(
        workspace, replace(run_config, training=replace(run_config.training, max_steps=6))
    )
    recipe = replace(run_config.dataset, files=(str(preference_file),))
    training = replace(run_config.training, max_steps=1)
    dpo = replace(run_config, method="dpo", dataset=recipe, training=training)
    first = events_of(go_on(workspace, train_here, dpo, parent.id), "eval")[0]
    # Against the bare base it would be another number: the parent has moved away from it.
    assert (first["eval_loss"], first["step"]) == (pytest.approx(0.693147, abs=1e-6), 0)
    other = events_of(train_here(workspace, dpo), "eval")[0]
    names = [name for name in first if "logps" in name or "logits" in name]
    assert names and all(abs(first[name] - other[name]) > 1e-3 for name in names)


def save_foreign(folder: Path, base: Path, **settings: Any) -> Path:
    """An adapter as a script with peft leaves it."""
    values = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], **settings}
    model = get_peft_model(load_base(base), LoraConfig(task_type="CAUSAL_LM", **values))
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data += 0.05 * torch.randn_like(weight)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def test_somebody_elses_adapter_is_gone_on_from(
    run_config: RunConfig,
    workspace: Workspace,
    train_here: Train,
    tmp_path: Path,
    llama_folder: Path,
) -> None:
    folder = save_foreign(tmp_path / "theirs", llama_folder)
    config = replace(run_config, training=replace(run_config.training, max_steps=1))
    child = go_on(workspace, train_here, config, str(folder))
    own = child.config()["adapter"]
    assert (own["r"], own["lora_alpha"], own["target_modules"]) == (4, 8, ["q_proj", "v_proj"])
    assert events_of(child, "warning") == []
    ids = torch.arange(12)[None]
    with torch.no_grad():
        theirs = load_tuned(load_base(llama_folder), folder)(ids).logits
        start = load_tuned(load_base(llama_folder), child.folder / "start")(ids).logits
    assert torch.equal(theirs, start)


def test_patterns_and_layers_of_somebody_elses_adapter_become_settings(
    tmp_path: Path, llama_folder: Path
) -> None:
    folder = save_foreign(
        tmp_path / "theirs",
        llama_folder,
        layers_to_transform=[1],
        rank_pattern={"q_proj": 2},
        alpha_pattern={"v_proj": 3},
        lora_dropout=0.1,
        bias="lora_only",
    )
    assert settings_of(folder, read_facts(llama_folder)) == AdapterSettings(
        r=4,
        lora_alpha=8,
        lora_dropout=0.1,
        target_modules=("q_proj", "v_proj"),
        layers="1",
        rank_pattern="q_proj=2",
        alpha_pattern="v_proj=3",
        bias="lora_only",
    )


def test_another_base_of_the_same_size_is_told(
    run_config: RunConfig,
    workspace: Workspace,
    train_here: Train,
    tmp_path: Path,
    llama_folder: Path,
) -> None:
    folder = save_foreign(tmp_path / "theirs", llama_folder)
    path = folder / "adapter_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "base_model_name_or_path": "someone/other-llama"}))
    config = replace(run_config, training=replace(run_config.training, max_steps=1))
    child = go_on(workspace, train_here, config, str(folder))
    [warning] = events_of(child, "warning")
    assert warning["code"] == "start_other_base"
    assert "someone/other-llama" in warning["message"]


def _change_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _as_pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _rename(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file({k.replace(old, new): v for k, v in load_file(path).items()}, path)

    return change


def _without_b(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "lora_B" not in k}, path)


@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        (_as_pickle, "model_pickle", "only as a pickle"),
        (_cut, "model_damaged", "not a whole safetensors file"),
        (_change_config(r=16), "adapter_damaged", r"says rank 16, the matrices of .* have 4, 4"),
        (_without_b, "adapter_damaged", "has only A of its two matrices"),
        (_rename("q_proj", "query"), "adapter_mismatch", "which this base does not have"),
        (_rename("base_model.model.", ""), "adapter_damaged", "in the layout that peft writes"),
        (_change_config(peft_type="PREFIX_TUNING"), "adapter_unsupported", "learned tokens"),
        (_change_config(peft_type="ADALORA"), "adapter_unsupported", "during its own run"),
        (_change_config(task_type="SEQ_CLS"), "adapter_unsupported", "for SEQ_CLS"),
        (_change_config(layer_replication=[[0, 1]]), "adapter_unsupported", "layer_replication"),
        (_change_config(init_lora_weights="pissa"), "adapter_unsupported", "start values"),
    ],
)
def test_an_adapter_that_does_not_fit_says_why(
    damage: Callable[[Path], None],
    code: str,
    message: str,
    run_config: RunConfig,
    workspace: Workspace,
    tmp_path: Path,
    llama_folder: Path,
) -> None:
    folder = save_foreign(tmp_path / "theirs", llama_folder)
    damage(folder)
    with pytest.raises(ModelError, match=message) as info:
        start_run(workspace, replace(run_config, start_adapter=str(folder)))
    assert info.value.code == code
    assert list_jobs(workspace) == []


def test_an_adapter_of_a_larger_base_names_both_sizes(
    run_config: RunConfig, workspace: Workspace, tmp_path: Path
) -> None:
    config = LlamaConfig(
        vocab_size=260, hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "larger")
    write_tokenizer(tmp_path / "larger")
    folder = save_foreign(tmp_path / "theirs", tmp_path / "larger")
    with pytest.raises(
        ModelError, match="takes 64 and gives 64, here it takes 32, gives 32"
    ) as info:
        start_run(workspace, replace(run_config, start_adapter=str(folder)))
    assert "larger" in info.value.fix


def test_learned_tokens_of_peft_are_refused(
    run_config: RunConfig, workspace: Workspace, tmp_path: Path, llama_folder: Path
) -> None:
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    get_peft_model(load_base(llama_folder), config).save_pretrained(str(tmp_path / "theirs"))
    with pytest.raises(ModelError, match="learned tokens cannot be trained on"):
        start_run(workspace, replace(run_config, start_adapter=str(tmp_path / "theirs")))


def test_a_run_that_is_not_there_names_those_that_are(
    run_config: RunConfig, workspace: Workspace
) -> None:
    job = create_job(workspace, "train", "first", to_dict(run_config))
    with pytest.raises(JobError, match="There is no train 'frist'") as info:
        find_start(workspace, "frist")
    assert job.id in info.value.fix
    with pytest.raises(JobError, match="is queued"):
        find_start(workspace, "first")
    assert find_job(workspace, "first").id == job.id
