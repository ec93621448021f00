"""Facts from headers alone, and the adapter arithmetic against the field's published numbers."""

import json
import struct

import pytest

from studio.errors import ModelError
from studio.models.facts import Linear, block_of, read_facts
from studio.models.llama_cpp_folder import problem_with


def write_model(folder, tensors, config=None, name="model.safetensors"):
    """A folder with config.json and a whole safetensors file of zeros in F32."""
    folder.mkdir(parents=True, exist_ok=True)
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for key, shape in tensors.items():
        size = 4
        for n in shape:
            size *= n
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    (folder / "config.json").write_text(json.dumps(config or LLAMA))
    return folder


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 1,
    "hidden_size": 4,
    "vocab_size": 10,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
LAYER = {
    "model.embed_tokens.weight": [10, 4],
    "model.layers.0.self_attn.q_proj.weight": [4, 4],
    "model.layers.0.self_attn.k_proj.weight": [2, 4],
    "model.layers.0.mlp.down_proj.weight": [4, 6],
    "model.layers.0.input_layernorm.weight": [4],
    "model.norm.weight": [4],
}


def test_facts_of_a_small_llama(tmp_path):
    facts = read_facts(write_model(tmp_path, LAYER))
    assert facts.linear == (
        Linear(name="model.layers.0.self_attn.q_proj", n_in=4, n_out=4),
        Linear(name="model.layers.0.self_attn.k_proj", n_in=4, n_out=2),
        Linear(name="model.layers.0.mlp.down_proj", n_in=6, n_out=4),
    )
    assert facts.n_parameters == 40 + 16 + 8 + 24 + 4 + 4
    assert (facts.n_layers, facts.context_length, facts.dtype) == (1, 64, "F32")
    assert facts.linear_names == ("q_proj", "k_proj", "down_proj")
    assert facts.shapes["model.embed_tokens.weight"] == (10, 4)
    assert facts.export_problem == ""


@pytest.mark.parametrize(
    ("heads", "kv_size"),
    [
        ({}, 4),
        ({"num_attention_heads": 4, "num_key_value_heads": 2}, 2),
        ({"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}, 16),
    ],
)
def test_heads_that_share_keys_make_them_narrower(tmp_path, heads, kv_size):
    assert read_facts(write_model(tmp_path, LAYER, {**LLAMA, **heads})).kv_size == kv_size


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("model.layers.3.self_attn.q_proj", 3),
        ("h.0.attn.c_attn.weight", 0),
        ("transformer.h.11.mlp.c_proj", 11),
        ("model.layers.2.mlp.experts.7.w1", 2),
        ("lm_head", None),
    ],
)
def test_the_block_is_the_first_number_of_a_name(name, block):
    assert block_of(name) == block


def test_a_tied_head_that_is_written_counts_once(tmp_path):
    plain = read_facts(write_model(tmp_path / "a", LAYER))
    written = read_facts(write_model(tmp_path / "b", {**LAYER, "lm_head.weight": [10, 4]}))
    assert written.n_parameters == plain.n_parameters
    assert "lm_head" not in written.linear_names


def test_gpt2_keeps_its_layers_transposed(tmp_path):
    config = {"architectures": ["BloomForCausalLM"], "model_type": "gpt2", "n_layer": 1}
    weights = {"h.0.attn.c_attn.weight": [4, 12], "h.0.attn.c_attn.bias": [12]}
    facts = read_facts(write_model(tmp_path, {**weights, "wte.weight": [10, 4]}, config))
    assert facts.linear == (Linear(name="h.0.attn.c_attn", n_in=4, n_out=12, bias=True),)
    assert facts.conv1d


def test_shards_are_read_through_their_index(tmp_path):
    names = list(LAYER)
    for number, part in enumerate((names[:3], names[3:])):
        write_model(tmp_path, {name: LAYER[name] for name in part}, name=f"{number}.safetensors")
    index = {name: f"{int(at >= 3)}.safetensors" for at, name in enumerate(names)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert read_facts(tmp_path).n_parameters == 96


def test_a_cut_file_is_refused(tmp_path):
    folder = write_model(tmp_path, LAYER)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError) as caught:
        read_facts(folder)
    assert caught.value.code == "model_damaged"


@pytest.mark.parametrize("content", [b"", b"1234567", b"\xff" * 64, struct.pack("<Q", 2) + b"{}"])
def test_a_file_that_is_no_safetensors_is_refused(tmp_path, content):
    folder = write_model(tmp_path, LAYER)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_facts(folder)
    assert caught.value.code == "model_damaged"


def test_pickles_are_refused_with_the_way_out(tmp_path):
    folder = write_model(tmp_path, LAYER)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError) as caught:
        read_facts(folder)
    assert caught.value.code == "model_pickle"
    assert "safetensors" in caught.value.fix


def test_a_damaged_config_is_refused(tmp_path):
    folder = write_model(tmp_path, LAYER)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError) as caught:
        read_facts(folder)
    assert caught.value.code == "model_damaged"


def test_what_cannot_be_exported_is_said_before_training(tmp_path):
    other = {**LLAMA, "architectures": ["BloomForCausalLM"]}
    problem = read_facts(write_model(tmp_path, LAYER, other)).export_problem
    assert "BloomForCausalLM is not a family" in problem


def test_an_own_llama_cpp_opens_other_families_but_no_quantized_weights(tmp_path):
    other = {**LLAMA, "architectures": ["BloomForCausalLM"]}
    facts = read_facts(write_model(tmp_path / "other", LAYER, other))
    assert problem_with(facts, "") == facts.export_problem
    assert problem_with(facts, "/llama.cpp") == ""
    quantized = {**other, "quantization_config": {"quant_method": "gptq"}}
    facts = read_facts(write_model(tmp_path / "quantized", LAYER, quantized))
    assert "quantized already" in problem_with(facts, "/llama.cpp")
    known = read_facts(write_model(tmp_path / "known", LAYER))
    assert problem_with(known, "") == problem_with(known, "/llama.cpp") == ""
