"""What a person types for a model, and what becomes of it."""

import pytest

from studio.errors import ModelError
from studio.models.reference import ModelRef


@pytest.mark.parametrize(
    ("text", "source", "revision"),
    [
        ("starter", "starter", ""),
        (" owner/name ", "owner/name", ""),
        ("owner/name@v1.0", "owner/name", "v1.0"),
    ],
)
def test_starter_and_hub_ids(text, source, revision):
    assert ModelRef.parse(text) == ModelRef(source, revision)
    assert str(ModelRef.parse(text)) == text.strip()


def test_a_folder_is_taken_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    reference = ModelRef.parse(str(tmp_path))
    assert reference.is_local
    assert reference.folder() == tmp_path


@pytest.mark.parametrize("text", ["", "no-such-folder", "/no/such/folder", "a/b/c", "x y/z"])
def test_anything_else_is_refused(text):
    with pytest.raises(ModelError) as caught:
        ModelRef.parse(text)
    assert caught.value.code == "model_not_found"


def test_a_folder_without_config_and_an_adapter_folder_are_told_apart(tmp_path):
    with pytest.raises(ModelError) as caught:
        ModelRef(str(tmp_path)).folder()
    assert caught.value.fix == "Choose a folder as save_pretrained writes it."
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        ModelRef(str(tmp_path)).folder()
    assert "adapter" in caught.value.fix


def test_a_hub_id_that_is_not_on_this_computer_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        ModelRef("owner/name").folder()
    assert caught.value.code == "hub_unreachable"
