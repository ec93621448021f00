"""Facts from headers alone, and the adapter arithmetic against the field's published numbers."""

import json
import struct
from dataclasses import replace

import pytest

from studio.errors import ModelError
from studio.models.facts import LinearKind, ModelFacts, read_facts


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
        LinearKind(name="q_proj", shapes=((4, 4, 1),)),
        LinearKind(name="k_proj", shapes=((4, 2, 1),)),
        LinearKind(name="down_proj", shapes=((6, 4, 1),)),
    )
    assert facts.n_parameters == 40 + 16 + 8 + 24 + 4 + 4
    assert (facts.n_layers, facts.context_length, facts.dtype) == (1, 64, "F32")
    assert facts.export_problem == ""


def test_a_tied_head_that_is_written_counts_once(tmp_path):
    plain = read_facts(write_model(tmp_path / "a", LAYER))
    written = read_facts(write_model(tmp_path / "b", {**LAYER, "lm_head.weight": [10, 4]}))
    assert written.n_parameters == plain.n_parameters
    assert "lm_head" not in written.linear_names


def test_gpt2_keeps_its_layers_transposed(tmp_path):
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": 1}
    facts = read_facts(
        write_model(tmp_path, {"h.0.attn.c_attn.weight": [4, 12], "wte.weight": [10, 4]}, config)
    )
    assert facts.linear == (LinearKind(name="c_attn", shapes=((4, 12, 1),)),)
    assert facts.n_trainable(2, dora=True) == 2 * (4 + 12) + 12


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
    other = {**LLAMA, "architectures": ["GPT2LMHeadModel"]}
    assert "GPT2LMHeadModel" in read_facts(write_model(tmp_path, LAYER, other)).export_problem


def facts_of(**kinds: tuple[int, int, int]) -> ModelFacts:
    return ModelFacts(
        architecture="",
        n_parameters=0,
        size_bytes=0,
        dtype="",
        n_layers=0,
        hidden_size=0,
        vocab_size=0,
        context_length=0,
        tied=False,
        linear=tuple(LinearKind(name=name, shapes=(shape,)) for name, shape in kinds.items()),
        export_problem="",
    )


@pytest.mark.parametrize(
    ("shape", "r", "wanted"),
    [
        ((1000, 1000, 1), 200, 400_000),
        ((50, 50, 1), 5, 500),
        ((512, 64, 1), 8, 4_608),
        ((512, 64, 1), 64, 36_864),
    ],
)
def test_one_layer(shape, r, wanted):
    assert facts_of(layer=shape).n_trainable(r) == wanted


# (in, out, layers) of each published model; sources: the models' config.json files.
LLAMA_3_2_1B = facts_of(q_proj=(2048, 2048, 16), v_proj=(2048, 512, 16))
QWEN_2_5_3B = facts_of(q_proj=(2048, 2048, 36), v_proj=(2048, 256, 36))
LLAMA_2_7B = facts_of(q_proj=(4096, 4096, 32), v_proj=(4096, 4096, 32))
MISTRAL_7B = facts_of(q_proj=(4096, 4096, 32), v_proj=(4096, 1024, 32))
GPT3_175B = facts_of(q=(12288, 12288, 96), v=(12288, 12288, 96))
GPT2 = facts_of(c_attn=(768, 2304, 12), c_fc=(768, 3072, 12))


@pytest.mark.parametrize(
    ("facts", "r", "targets", "wanted"),
    [
        (LLAMA_3_2_1B, 8, ["q_proj"], 524_288),
        (QWEN_2_5_3B, 16, ["q_proj", "v_proj"], 3_686_400),
        (LLAMA_2_7B, 8, ["q_proj", "v_proj"], 4_194_304),
        (MISTRAL_7B, 64, ["q_proj", "v_proj"], 27_262_976),
        (GPT3_175B, 4, [], 18_874_368),
        (GPT2, 8, ["c_attn"], 294_912),
    ],
)
def test_published_counts(facts, r, targets, wanted):
    """Sources: peft's quicktour and README, llama-recipes, the LoRA paper, a GPT-2 adapter file."""
    assert facts.n_trainable(r, targets) == wanted


def test_dora_adds_the_outputs():
    assert replace(GPT2).n_trainable(8, ["c_attn"], dora=True) == 294_912 + 12 * 2304
