"""Which weights the kinds full, half and last_layers train, and how a result is told."""

from studio.models.facts import block_of
from studio.training.adapter import AdapterSettings
from studio.training.result_folder import adapter_kind, missing_file, tensors_path
from studio.training.whole_weights import n_trained, trained_names

ATTENTION = ("k_proj", "o_proj", "q_proj", "v_proj")
FEED_FORWARD = ("down_proj", "gate_proj", "up_proj")


def llama(n_layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (10, 4)}
    for n in range(n_layers):
        for name in ATTENTION:
            shapes[f"model.layers.{n}.self_attn.{name}.weight"] = (4, 4)
        shapes[f"model.layers.{n}.self_attn.q_proj.bias"] = (4,)
        for name in FEED_FORWARD:
            shapes[f"model.layers.{n}.mlp.{name}.weight"] = (4, 6)
        shapes[f"model.layers.{n}.input_layernorm.weight"] = (4,)
    return {**shapes, "model.norm.weight": (4,)}


def test_full_trains_every_weight():
    shapes = llama(2)
    assert trained_names(shapes, AdapterSettings(kind="full")) == tuple(shapes)
    assert n_trained(shapes, AdapterSettings(kind="full")) == 40 + 2 * (64 + 4 + 72 + 4) + 4


def test_half_trains_each_matrix_in_one_of_two_neighbouring_blocks():
    chosen = trained_names(llama(2), AdapterSettings(kind="half"))
    assert {name.removeprefix("model.layers.") for name in chosen} == {
        *("0.self_attn.k_proj.weight", "0.self_attn.q_proj.weight"),
        *("0.mlp.down_proj.weight", "0.mlp.up_proj.weight"),
        *("1.self_attn.o_proj.weight", "1.self_attn.v_proj.weight"),
        "1.mlp.gate_proj.weight",
    }
    # Half of the 2 * (64 + 72) numbers in matrices.
    assert n_trained(llama(2), AdapterSettings(kind="half")) == 136


def test_half_leaves_the_router_alone():
    shapes = {
        "model.layers.0.mlp.gate.weight": (3, 4),
        "model.layers.0.mlp.experts.gate_up_proj": (3, 12, 4),
        "model.layers.0.mlp.experts.down_proj": (3, 4, 6),
    }
    assert trained_names(shapes, AdapterSettings(kind="half")) == (
        "model.layers.0.mlp.experts.down_proj",
    )


def test_last_layers_trains_whole_blocks_from_the_end():
    settings = AdapterSettings(kind="last_layers", n_last_layers=2)
    chosen = trained_names(llama(12), settings)
    assert {block_of(name) for name in chosen} == {10, 11}
    assert len(chosen) == 2 * (4 + 1 + 3 + 1)


def test_gpt2_has_blocks_too():
    assert block_of("transformer.h.3.attn.c_attn.weight") == 3
    assert block_of("h.3.attn.c_attn.weight") == 3
    assert block_of("transformer.wte.weight") is None


def test_a_result_is_told_by_both_its_files(tmp_path):
    assert (adapter_kind(tmp_path), missing_file(tmp_path)) == (None, "adapter_config.json")
    (tmp_path / "adapter_config.json").write_text("{}")
    assert missing_file(tmp_path) == "adapter_model.safetensors"
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert (adapter_kind(tmp_path), missing_file(tmp_path)) == ("peft", "")
    assert tensors_path(tmp_path).name == "adapter_model.safetensors"
    other = tmp_path / "other"
    other.mkdir()
    (other / "trained_weights.safetensors").write_bytes(b"")
    assert (adapter_kind(other), missing_file(other)) == (None, "trained_weights.json")
    (other / "trained_weights.json").write_text("{}")
    assert adapter_kind(other) == "weights"
