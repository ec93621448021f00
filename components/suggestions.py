"""Prompts to try: what a run's own validation rows ask, which it has never been trained on."""

from itertools import islice

import gradio as gr

from studio.data.dataset import open_dataset
from studio.data.messages import Conversation, Judged, Message, PlainText, Preference
from studio.data.recipe import DatasetRecipe
from studio.errors import StudioError
from studio.jobs.job import find_job
from studio.paths import Workspace
from studio.settings import from_dict

_MOST = 5
_LONGEST = 600


def suggest(workspace: Workspace, run_id: str) -> tuple[list[str], str]:
    """First questions of validation rows, and the system message they come with ("" for none).

    Nothing where the files are gone or the rows hold no questions: suggestions are an extra.
    """
    if not run_id:
        return [], ""
    try:
        values = find_job(workspace, run_id, "train").config()["dataset"]
        recipe = from_dict(DatasetRecipe, values, "the run's config.json")
        dataset = open_dataset(recipe, workspace.cache_dir)
        held_out = dataset.split().validation[: 2 * _MOST]
        rows = islice(dataset.samples(held_out, failures=[]), 2 * _MOST)
        starts = [_start(sample) for _, sample in rows if not isinstance(sample, PlainText)]
    except StudioError:
        return [], ""
    asked = [(system, prompt) for system, prompt in starts if 0 < len(prompt) <= _LONGEST]
    prompts = list(dict.fromkeys(prompt for _, prompt in asked))[:_MOST]
    return prompts, asked[0][0] if asked else ""


def _start(sample: Conversation | Preference | Judged) -> tuple[str, str]:
    """System message and first question of a sample, "" where it has none."""
    messages = sample.messages if isinstance(sample, Conversation) else sample.prompt
    return _first(messages, "system"), _first(messages, "user")


def _first(messages: tuple[Message, ...], role: str) -> str:
    return next((message.content for message in messages if message.role == role), "")


def suggested_text(event: gr.EventData) -> str:
    """The text of the suggestion that was pressed; "" where another control sent the event."""
    values = event._data
    return str(values.get("text", "")) if isinstance(values, dict) else ""
