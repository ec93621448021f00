"""Which base model: the bundled starter, a folder, or a hub id with an optional revision."""

import re
from dataclasses import dataclass
from pathlib import Path

from studio.errors import ModelError
from studio.paths import STARTER_DIR

STARTER = "starter"
# Weights as safetensors only: pickles can run code.
MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class ModelRef:
    """`source` is "starter", a folder or a hub id; `revision` is for hub ids only."""

    source: str
    revision: str = ""

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """From what a person types: starter, /path/to/folder, owner/name or owner/name@revision.

        Raises: ModelError for anything else.
        """
        text = text.strip()
        # Path("") is the current folder.
        if text == STARTER or (text and Path(text).expanduser().is_dir()):
            return cls(text)
        source, _, revision = text.partition("@")
        if _HUB_ID.fullmatch(source) and not Path(text).is_absolute():
            return cls(source, revision)
        raise ModelError(
            f"There is no model at '{text}': it is neither a folder nor a hub id.",
            "Type the folder that holds config.json, a hub id like owner/name, or 'starter'.",
            "model_not_found",
        )

    def __str__(self) -> str:
        return f"{self.source}@{self.revision}" if self.revision else self.source

    @property
    def is_local(self) -> bool:
        return self.source == STARTER or Path(self.source).expanduser().is_dir()

    def folder(self, *, download: bool = False) -> Path:
        """The local folder with config, tokenizer and weights.

        A hub id is looked up in the local hub cache; with `download` it is fetched when it is not
        there (weights as safetensors only: pickles can run code).

        Raises: ModelError when the folder has no config.json or the hub cannot be reached.
        """
        if self.source == STARTER:
            folder = STARTER_DIR
        elif self.is_local:
            folder = Path(self.source).expanduser().resolve()
        else:
            folder = self._hub_folder(download)
        if not (folder / "config.json").is_file():
            hint = (
                "This folder holds an adapter: choose the base model it was trained on."
                if (folder / "adapter_config.json").is_file()
                else "Choose a folder as save_pretrained writes it."
            )
            raise ModelError(
                f"The model folder '{folder.name}' has no config.json.", hint, "model_not_found"
            )
        return folder

    def _hub_folder(self, download: bool) -> Path:
        from huggingface_hub import snapshot_download  # noqa: PLC0415  (1 s, hub ids only)
        from huggingface_hub.errors import (  # noqa: PLC0415
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        try:
            return Path(
                snapshot_download(
                    self.source,
                    revision=self.revision or None,
                    local_files_only=not download,
                    allow_patterns=list(MODEL_FILES),
                )
            )
        except GatedRepoError as error:
            raise ModelError(
                f"'{self.source}' is gated: its owner wants you to accept a licence first.",
                "Accept it on the model's page, then run 'hf auth login' with your token.",
                "model_gated",
            ) from error
        except RepositoryNotFoundError as error:
            raise ModelError(
                f"The hub has no model '{self.source}' (or it is private).",
                "Check the spelling, or choose a folder.",
                "model_not_found",
            ) from error
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            raise ModelError(
                f"'{self.source}' is not on this computer and the hub cannot be reached.",
                "Connect to the internet once, or choose a folder or the bundled starter.",
                "hub_unreachable",
            ) from error
