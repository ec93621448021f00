"""Experts: the names of a checkpoint and those in memory, counted by hand."""

from studio.models.experts import Piece, expert_names, memory_shapes, piece_of, router_names
from studio.models.facts import Linear, read_facts
from tests.unit.test_models_facts import write_model

QWEN = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_hidden_layers": 1,
    "hidden_size": 4,
    "vocab_size": 10,
    "tie_word_embeddings": True,
}


def expert_layer(block: str, gate: str, up: str, down: str) -> dict[str, list[int]]:
    """A layer of 3 experts with hidden 4 and width 6."""
    tensors: dict[str, list[int]] = {f"{block}.gate.weight": [3, 4]}
    for number in range(3):
        tensors[f"{block}.experts.{number}.{gate}.weight"] = [6, 4]
        tensors[f"{block}.experts.{number}.{up}.weight"] = [6, 4]
        tensors[f"{block}.experts.{number}.{down}.weight"] = [4, 6]
    return tensors


def test_experts_are_one_parameter_in_memory_and_the_router_is_told_apart(tmp_path):
    tensors = {
        "model.embed_tokens.weight": [10, 4],
        "model.layers.0.self_attn.q_proj.weight": [4, 4],
        **expert_layer("model.layers.0.mlp", "gate_proj", "up_proj", "down_proj"),
    }
    facts = read_facts(write_model(tmp_path, tensors, QWEN))
    assert facts.shapes == {
        "model.embed_tokens.weight": (10, 4),
        "model.layers.0.self_attn.q_proj.weight": (4, 4),
        "model.layers.0.mlp.gate.weight": (3, 4),
        "model.layers.0.mlp.experts.gate_up_proj": (3, 12, 4),
        "model.layers.0.mlp.experts.down_proj": (3, 4, 6),
    }
    assert facts.n_parameters == 40 + 16 + 12 + 3 * 12 * 4 + 3 * 4 * 6
    assert facts.n_experts == 3
    assert facts.linear == (Linear(name="model.layers.0.self_attn.q_proj", n_in=4, n_out=4),)
    assert facts.experts == (
        Linear(name="model.layers.0.mlp.experts.gate_up_proj", n_in=4, n_out=12, n_experts=3),
        Linear(name="model.layers.0.mlp.experts.down_proj", n_in=6, n_out=4, n_experts=3),
    )
    assert facts.routers == (Linear(name="model.layers.0.mlp.gate.weight", n_in=4, n_out=3),)


def test_mixtrals_names_become_the_same_ones():
    block = "model.layers.7.block_sparse_moe"
    shapes = {k: tuple(v) for k, v in expert_layer(block, "w1", "w3", "w2").items()}
    found = memory_shapes(shapes)
    assert found == {
        "model.layers.7.mlp.gate.weight": (3, 4),
        "model.layers.7.mlp.experts.gate_up_proj": (3, 12, 4),
        "model.layers.7.mlp.experts.down_proj": (3, 4, 6),
    }
    assert router_names(found) == ("model.layers.7.mlp.gate.weight",)
    assert len(expert_names(found)) == 2


def test_a_piece_names_its_expert_and_its_rows():
    piece = piece_of("model.layers.0.mlp.experts.2.up_proj.weight")
    assert piece == Piece("model.layers.0.mlp.experts.gate_up_proj", 2, "up")
    assert piece.rows(12) == slice(6, 12)
    assert piece_of("x.experts.0.gate_proj.weight").rows(12) == slice(0, 6)
    assert piece_of("x.experts.0.down_proj.weight").rows(12) == slice(0, 12)
    assert piece_of("model.norm.weight") == Piece("model.norm.weight")


def test_the_gate_of_a_shared_expert_and_dense_layers_beside_experts_are_no_targets(tmp_path):
    tensors = {
        "model.layers.0.self_attn.q_proj.weight": [4, 4],
        **expert_layer("model.layers.0.mlp", "gate_proj", "up_proj", "down_proj"),
        "model.layers.0.mlp.shared_expert.down_proj.weight": [4, 6],
        "model.layers.0.mlp.shared_expert_gate.weight": [1, 4],
    }
    assert read_facts(write_model(tmp_path, tensors, QWEN)).linear_names == ("q_proj",)
