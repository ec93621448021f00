"""The Train tab without a browser: the form as a RunConfig and back, what is shown and kept."""

from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from components.forms import choice_label
from components.train.about import kind_html, method_choices, method_html
from components.train.cards import build_forms
from components.train.filling import sample_config
from components.train.forms import TARGETS, TrainForms, values_of
from components.train.kept import Kept, keep, read_kept
from components.train.plan import exportable
from components.train.shown import DECIDING, hidden_keys, hiding_style
from components.train.start import start_choices
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.models.facts import ModelFacts, read_facts
from studio.paths import STARTER_DIR, Workspace
from studio.settings import to_dict
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings
from studio.training.methods import NO_PPO, GrpoSettings, PreferenceSettings

RECIPE = DatasetRecipe(files=("rows.jsonl",))


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> TrainForms:
    workspace = Workspace.open(tmp_path_factory.mktemp("train"))
    with gr.Blocks():
        return build_forms(workspace, gr.State(""))[0]


@pytest.fixture(scope="module")
def facts() -> ModelFacts:
    return read_facts(STARTER_DIR)


def on_screen(forms: TrainForms, config: RunConfig, facts: ModelFacts) -> list[object]:
    """The values of the controls when they show `config`."""
    named = values_of(config)
    named[TARGETS] = named[TARGETS] or list(facts.linear_names)
    return [named[key] for key in forms.controls]


FULL = RunConfig(
    name="everything",
    method="dpo",
    dataset=RECIPE,
    adapter=AdapterSettings(
        r=8,
        lora_alpha=24,
        target_modules=("q_proj", "v_proj"),
        modules_to_save=("lm_head", "embed_tokens"),
        rank_pattern="q_proj=4",
        quantization="nf4",
        double_quantization=False,
    ),
    training=TrainSettings(
        learning_rate=3e-5,
        optim="adamw_8bit",
        adam_beta2=0.95,
        eval_strategy="steps",
        eval_steps=7,
        early_stopping_patience=2,
        early_stopping_threshold=0.01,
        keep_best=True,
    ),
    preference=PreferenceSettings(loss_type="ipo", beta=0.5, label_smoothing=0.1),
)


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(dataset=RECIPE),
        FULL,
        replace(
            FULL,
            method="kto",
            preference=PreferenceSettings(beta=0.3, undesirable_weight=4.0),
        ),
        replace(
            FULL,
            method="grpo",
            preference=PreferenceSettings(),
            grpo=GrpoSettings(num_generations=4, kl_beta=0.02, scale_rewards=False),
        ),
    ],
    ids=["defaults", "dpo", "kto", "grpo"],
)
def test_the_form_gives_the_run_config_back_that_it_shows(forms, facts, config):
    assert forms.config(on_screen(forms, config, facts), "starter", RECIPE, facts) == config


def test_all_ticked_layers_are_all_layers_and_none_is_refused(forms, facts):
    values = on_screen(forms, RunConfig(), facts)
    assert forms.config(values, "starter", RECIPE, facts).adapter.target_modules == ()
    values[list(forms.controls).index(TARGETS)] = []
    with pytest.raises(ConfigError, match="No target modules are ticked"):
        forms.config(values, "starter", RECIPE, facts)


def test_what_is_not_on_screen_is_not_set_and_cannot_stand_in_the_way(forms, facts):
    shown = {**values_of(RunConfig()), TARGETS: ["q_proj"]}
    shown |= {"preference.beta": None, "grpo.temperature": 99, "training.eval_steps": 3}
    shown["training.eval_strategy"] = "epoch"
    config = forms.config([shown[key] for key in forms.controls], "starter", RECIPE, facts)
    assert (config.preference, config.grpo) == (PreferenceSettings(), GrpoSettings())
    assert config.training == TrainSettings(eval_strategy="epoch")


def test_the_preferences_sample_shows_its_own_beta(forms, facts):
    sample = sample_config("sample:preferences")
    config = forms.config(on_screen(forms, sample, facts), sample.model, sample.dataset, facts)
    assert config.preference.beta == 0.5
    assert config == sample


def deciding(**changed: object) -> dict[str, object]:
    named = values_of(RunConfig())
    return {key: named[key] for key in DECIDING} | changed


PREFERENCE = {f"preference.{name}" for name in vars(PreferenceSettings())}
GRPO = {f"grpo.{name}" for name in vars(GrpoSettings())}


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        ("sft", set()),
        ("dpo", {"preference.loss_type", "preference.beta", "preference.label_smoothing"}),
        ("orpo", {"preference.beta"}),
        ("simpo", {"preference.beta", "preference.simpo_gamma"}),
        (
            "kto",
            {
                *("preference.beta", "preference.desirable_weight"),
                "preference.undesirable_weight",
            },
        ),
        ("reward", set()),
        ("grpo", GRPO),
    ],
)
def test_each_method_shows_its_own_settings_alone(method, shown):
    assert (PREFERENCE | GRPO) - hidden_keys(deciding(method=method)) == shown


ADAPTER = {f"adapter.{name}" for name in vars(AdapterSettings())}


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("prompt", {"n_virtual_tokens", "quantization"}),
        ("last_layers", {"n_last_layers"}),
        ("full", set()),
        ("ia3", {"target_modules", "modules_to_save", "quantization"}),
        (
            "lora",
            {
                *("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora"),
                *("init_lora_weights", "freeze_a", "bias", "layers", "rank_pattern"),
                *("alpha_pattern", "modules_to_save", "quantization"),
            },
        ),
    ],
)
def test_each_kind_shows_the_settings_that_matter_for_it_alone(kind, shown):
    hidden = hidden_keys(deciding(**{"adapter.kind": kind}))
    assert ADAPTER - hidden == {"adapter.kind", *(f"adapter.{name}" for name in shown)}


def test_settings_of_experts_are_there_for_a_mixture_of_experts_alone():
    experts = hidden_keys(deciding()) - hidden_keys(deciding(), has_experts=True)
    assert experts == {"adapter.train_experts", "adapter.train_router"}


def test_a_kind_that_never_becomes_gguf_says_so_before_training():
    assert "not exportable to GGUF</span>" in kind_html("prefix")
    assert "not exportable to GGUF</span>" not in kind_html("lora")
    assert "Learned tokens in every layer&#x27;s attention" in kind_html("lora")


@pytest.mark.parametrize(
    ("config", "possible"),
    [
        (RunConfig(), True),
        (RunConfig(adapter=AdapterSettings(kind="prompt")), False),
        (RunConfig(method="reward"), False),
        (RunConfig(adapter=AdapterSettings(kind="full")), True),
    ],
)
def test_what_can_become_gguf_hangs_on_kind_method_and_model(facts, config, possible):
    assert exportable(config, facts) is possible
    assert not exportable(config, replace(facts, export_problem="No."))


def test_settings_that_hang_on_another_one_come_and_go_with_it():
    usual = hidden_keys(deciding())
    assert {"adapter.double_quantization", "training.early_stopping_threshold"} <= usual
    assert not {"training.adam_beta1", "training.eval_steps"} & usual
    changed = {
        "adapter.quantization": "nf4",
        "training.early_stopping_patience": 1,
        "training.eval_strategy": "epoch",
        "training.optim": "sgd",
    }
    assert usual ^ hidden_keys(deciding(**changed)) == {
        *("adapter.double_quantization", "training.early_stopping_threshold"),
        *("training.adam_beta1", "training.adam_beta2", "training.eval_steps"),
    }


def test_a_card_without_a_control_that_matters_is_hidden_with_its_fold(forms):
    supervised, preferences = (forms.hiding(deciding(method=name)) for name in ("sft", "orpo"))
    for card in ("#preference-card", "#preference-more", "#grpo-card"):
        assert card in supervised
    assert "#preference-card" not in preferences
    assert "#preference-more" in preferences and "#grpo-card" in preferences


def test_nothing_to_hide_is_no_style():
    assert hiding_style(()) == ""
    assert hiding_style(("b", "a")) == (
        "<style>.gradio-container #a,.gradio-container #b{display:none!important}</style>"
    )


# --- methods ------------------------------------------------------------------------------------


def test_methods_that_cannot_take_the_rows_are_marked_and_say_why():
    labels = {name: label for label, name in method_choices("messages")}
    assert labels["sft"] == "Answers (SFT)"
    assert labels["dpo"] == "Preferences (DPO) – not for this dataset"
    told = method_html("dpo", "messages")
    assert "It needs a chosen and a rejected answer in each row." in told
    assert "The rows here are read as Messages." in told
    assert "s-finding bad" not in method_html("dpo", "preference")


def test_without_a_dataset_no_method_is_marked_and_ppo_is_explained():
    assert all("not for" not in label for label, _ in method_choices(""))
    assert NO_PPO in method_html("sft", "")


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("sft", "Answers (SFT)"),
        ("paged_adamw_8bit", "8-bit AdamW (paged)"),
        ("warmup_stable_decay", "Warm-up, stable, decay"),
        ("nf4", "4-bit (NF4)"),
        ("ipo", "IPO"),
        ("cosine", "Cosine"),
        ("all_answers", "All answers"),
    ],
)
def test_choices_read_as_words(choice, words):
    assert choice_label(choice) == words


# --- what a reload shows ------------------------------------------------------------------------


def test_what_was_typed_is_there_again_half_typed_numbers_too(tmp_path: Path):
    workspace = Workspace.open(tmp_path)
    assert read_kept(workspace) is None
    typed = {**values_of(FULL), "training.learning_rate": None}
    left = Kept(dataset="rows", model="starter", values=typed)
    keep(workspace, left)
    assert read_kept(workspace) == left


@pytest.mark.parametrize(
    "content", ["", "[]", '{"dataset": "a"}', '{"dataset": "", "model": "", "values": 1}']
)
def test_a_damaged_memory_of_the_form_is_no_memory(tmp_path: Path, content):
    workspace = Workspace.open(tmp_path)
    (workspace.root / "train-form.json").write_text(content, "utf-8")
    assert read_kept(workspace) is None


def test_a_choice_that_is_no_more_is_forgotten(tmp_path: Path):
    workspace = Workspace.open(tmp_path)
    keep(workspace, Kept(dataset="", model="", values={"method": "ppo", "name": "x"}))
    kept = read_kept(workspace)
    assert kept is not None and kept.values == {"name": "x"}


# --- starting from another run ------------------------------------------------------------------


def ended_run(workspace: Workspace, name: str, model: str = "starter") -> Job:
    """A finished run with an adapter and a whole checkpoint of step 20 beside a half one."""
    job = create_job(workspace, "train", name, to_dict(RunConfig(model=model)))
    events = EventWriter(job.events_path)
    events.write("started", pid=1)
    events.write("finished", step=30)
    (job.folder / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (job.folder / "adapter" / name).write_text("{}", "utf-8")
    for step in (10, 20):
        (job.folder / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
    (job.folder / "checkpoints" / "checkpoint-20" / "COMPLETE").touch()
    return job


def test_runs_on_the_chosen_model_are_offered_with_their_whole_checkpoints(tmp_path: Path):
    workspace = Workspace.open(tmp_path)
    job = ended_run(workspace, "talker")
    ended_run(workspace, "other", model="/models/other")
    create_job(workspace, "train", "waiting", to_dict(RunConfig()))
    assert start_choices(workspace, "starter")[1:] == [
        ("talker, as it ended", job.id),
        ("talker, step 20", f"{job.id}@20"),
    ]
    assert start_choices(workspace, "starter", "/my/adapter")[-1] == ("/my/adapter", "/my/adapter")


def test_what_a_run_starts_from_decides_the_adapter_but_not_how_the_base_is_held(forms, facts):
    hidden = hidden_keys(deciding(start_adapter="talker"))
    assert ADAPTER - hidden == {"adapter.quantization"}
    shown = {**values_of(RunConfig()), TARGETS: [], "start_adapter": " talker@20 "}
    shown["adapter.r"] = 99
    config = forms.config([shown[key] for key in forms.controls], "starter", RECIPE, facts)
    assert (config.start_adapter, config.adapter) == ("talker@20", AdapterSettings())
