"""Prepared set → files that any tool reads: messages as JSON lines or Parquet.

Enters: a Prepared. Leaves: a folder with one file for each part and kind of rows, and a
recipe.json that opens them as the same parts again. What was phrased, mended, repeated and mixed
is written as it is trained on. A folder is written whole or not at all.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from studio.data.messages import Conversation, Judged, Message, PlainText, Preference, Sample
from studio.data.prepared import Draw, Draws, Prepared
from studio.data.recipe import DatasetRecipe, MixPart
from studio.data.rows import file_sha256
from studio.errors import DataError
from studio.paths import write_json
from studio.settings import to_dict

FORMATS = ("jsonl", "parquet")
PARTS = ("train", "validation", "test")
RECIPE = "recipe.json"
_BATCH_ROWS = 1000
_NAMED = 5

Row = dict[str, Any]
_MAPPINGS = {
    "messages": {"messages": "messages", "tools": "tools"},
    "text": {"text": "text"},
    "preference": {name: name for name in ("prompt", "chosen", "rejected", "tools")},
    "kto": {name: name for name in ("prompt", "completion", "label", "tools")},
}


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """A file of the folder: rows of one `part` ("all" for all of them) and one layout."""

    path: Path
    part: str
    layout: str
    n_rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class WrittenSet:
    """What was written; `left_out` rows do not convert, the first of them named in `failures`."""

    folder: Path
    files: tuple[WrittenFile, ...]
    n_left_out: int
    failures: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def n_rows(self) -> int:
        """Rows in all files."""
        return sum(file.n_rows for file in self.files)


def write_set(
    prepared: Prepared,
    folder: Path,
    file_format: str = "jsonl",
    one_file: bool = False,
    progress: Callable[[int], None] | None = None,
) -> WrittenSet:
    """Write the set into `folder`, which must not hold anything yet.

    `one_file` puts all parts into one file with a column `part`; it then opens as one part.
    A row's class weight becomes the weight of its answers, the largest of all being 1: formats
    take weights from 0 to 1, and only their proportions count.
    Raises: DataError when the folder is taken, or nothing can be written.
    """
    if file_format not in FORMATS:
        raise DataError(
            f"There is no export format '{file_format}'.",
            f"Choose one of {', '.join(FORMATS)}.",
            "export_format",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"'{folder}' is not empty.",
            "Choose another folder, or a name that does not exist yet.",
            "folder_not_empty",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        written = _Writing(prepared, part, file_format, one_file).run(progress or (lambda n: None))
        write_json(part / RECIPE, to_dict(_recipe(prepared.recipe, written.files, one_file)))
        # mkdtemp makes a folder for its owner alone.
        part.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        if part.exists():
            shutil.rmtree(part)
    files = tuple(replace(file, path=folder / file.path.name) for file in written.files)
    return replace(written, folder=folder, files=files)


class _Writing:
    """One export under way; a file is begun with its first row."""

    def __init__(self, prepared: Prepared, folder: Path, file_format: str, one_file: bool) -> None:
        self._prepared = prepared
        self._folder = folder
        self._format = file_format
        self._one_file = one_file
        arrays = [weights for weights in prepared.weights if weights is not None]
        self._heaviest = max([1.0, *(float(weights.max()) for weights in arrays)])
        self._main = _layout_of(prepared.parts[0].recipe.layout)
        self._open: dict[tuple[str, str], _Writer] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._failures: list[DataError] = []

    def run(self, progress: Callable[[int], None]) -> WrittenSet:
        with ExitStack() as stack:
            for done, (part, draw, sample) in enumerate(self._samples(), 1):
                self._write(stack, part, draw, sample)
                if done % _BATCH_ROWS == 0:
                    progress(done)
        if not self._counts:
            first = self._failures[0].message if self._failures else "There are no rows."
            raise DataError(
                f"There is nothing to write. {first}",
                "Look at the rows on the Data tab.",
                "nothing_to_write",
            )
        return WrittenSet(
            folder=self._folder,
            files=tuple(self._file(*key) for key in self._counts),
            n_left_out=len(self._failures),
            failures=tuple(error.message for error in self._failures[:_NAMED]),
            notes=self._notes(),
        )

    def _samples(self) -> Iterator[tuple[str, Draw, Sample]]:
        draws: tuple[Draws, ...] = (
            self._prepared.train,
            self._prepared.validation,
            self._prepared.test,
        )
        for part, chosen in zip(PARTS, draws, strict=True):
            for draw, sample in self._prepared.samples(chosen, self._failures):
                yield part, draw, sample

    def _write(self, stack: ExitStack, part: str, draw: Draw, sample: Sample) -> None:
        weight = self._prepared.weight(draw) / self._heaviest if part == "train" else 1.0
        layout, row = as_row(sample, weight)
        key = ("all" if self._one_file else part, layout)
        if key not in self._open:
            make = _ParquetFile if self._format == "parquet" else _JsonLines
            self._open[key] = make(self._path(*key), layout, self._one_file)
            stack.callback(self._open[key].close)
        self._open[key].write({**row, "part": part} if self._one_file else row)
        self._counts[key] = self._counts.get(key, 0) + 1

    def _path(self, part: str, layout: str) -> Path:
        stem = part if layout == self._main else f"{part}-{layout}"
        return self._folder / f"{stem}.{self._format}"

    def _file(self, part: str, layout: str) -> WrittenFile:
        path = self._path(part, layout)
        n_rows = self._counts[part, layout]
        return WrittenFile(
            path=path, part=part, layout=layout, n_rows=n_rows, sha256=file_sha256(path)
        )

    def _notes(self) -> tuple[str, ...]:
        if all(weights is None for weights in self._prepared.weights):
            return ()
        notes = ["Class weights are the weights of the answers; the largest is written as 1."]
        if any(layout != "messages" for _, layout in self._counts):
            notes.append(
                "Of rows that are no conversations they are in the column 'weight', which the "
                "studio does not read."
            )
        return tuple(notes)


class _Writer(Protocol):
    def write(self, row: Row, /) -> None: ...

    def close(self) -> None: ...


class _JsonLines:
    def __init__(self, path: Path, layout: str, with_part: bool) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


class _ParquetFile:
    """Nested columns; what has no fixed form, arguments and tools, is JSON text."""

    def __init__(self, path: Path, layout: str, with_part: bool) -> None:
        fields = [*_FIELDS[layout], *([pa.field("part", pa.string())] if with_part else [])]
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows.append({name: _columnar(name, value) for name, value in row.items()})
        if len(self._rows) == _BATCH_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, self._schema))
        self._rows = []


_CALL = pa.struct(
    [
        ("id", pa.string()),
        ("type", pa.string()),
        ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())])),
    ]
)
_MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("tool_calls", pa.list_(_CALL)),
            ("name", pa.string()),
            ("reasoning_content", pa.string()),
            ("weight", pa.float64()),
        ]
    )
)
_TOOLS = pa.field("tools", pa.string())
_WEIGHT = pa.field("weight", pa.float64())
_FIELDS = {
    "messages": [pa.field("messages", _MESSAGES), _TOOLS],
    "text": [pa.field("text", pa.string()), _WEIGHT],
    "preference": [
        *(pa.field(name, _MESSAGES) for name in ("prompt", "chosen", "rejected")),
        _TOOLS,
        _WEIGHT,
    ],
    "kto": [
        *(pa.field(name, _MESSAGES) for name in ("prompt", "completion")),
        pa.field("label", pa.bool_()),
        _TOOLS,
        _WEIGHT,
    ],
}


def _columnar(name: str, value: Any) -> Any:
    if name == "tools":
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return [_columnar_message(message) for message in value]
    return value


def _columnar_message(message: Row) -> Row:
    calls = [
        {**call, "function": {**function, "arguments": _as_text(function["arguments"])}}
        for call in message.get("tool_calls", [])
        for function in (call["function"],)
    ]
    return {**message, "tool_calls": calls} if calls else message


def _as_text(arguments: Any) -> str:
    return json.dumps(arguments, ensure_ascii=False)


def as_row(sample: Sample, weight: float = 1.0) -> tuple[str, Row]:
    """(layout, row) of a sample: it reads as the same sample again under that layout.

    `weight`, 0 to 1, multiplies what the answers of a conversation weigh.
    """
    if isinstance(sample, PlainText):
        return "text", {"text": sample.text, **_weighted(weight)}
    if isinstance(sample, Conversation):
        messages = [_message(message, weight) for message in sample.messages]
        return "messages", {"messages": messages, **_tools(sample)}
    row: Row = {"prompt": _messages(sample.prompt)}
    if isinstance(sample, Judged):
        row |= {"completion": _messages(sample.answer), "label": sample.good}
        return "kto", {**row, **_tools(sample), **_weighted(weight)}
    row |= {"chosen": _messages(sample.chosen), "rejected": _messages(sample.rejected)}
    return "preference", {**row, **_tools(sample), **_weighted(weight)}


def _messages(messages: Sequence[Message]) -> list[Row]:
    return [_message(message) for message in messages]


def _message(message: Message, weight: float = 1.0) -> Row:
    answers = message.role == "assistant"
    return {**message.as_dict(), **_weighted(message.weight * (weight if answers else 1.0))}


def _tools(sample: Conversation | Preference | Judged) -> Row:
    return {"tools": [dict(tool) for tool in sample.tools]} if sample.tools else {}


def _weighted(weight: float) -> Row:
    return {} if weight == 1 else {"weight": weight}


def _layout_of(layout: str) -> str:
    """The layout in which rows of `layout` are written."""
    return layout if layout in ("text", "preference", "kto") else "messages"


def _recipe(recipe: DatasetRecipe, files: tuple[WrittenFile, ...], one_file: bool) -> DatasetRecipe:
    """Opens the files of the folder, named relative to it, as the parts they were."""
    main = _layout_of(recipe.layout)
    own = [file for file in files if file.layout == main]
    others = [file for file in files if file.layout != main and file.part in ("train", "all")]
    n_own = sum(file.n_rows for file in own if file.part in ("train", "all"))
    n_train = n_own + sum(file.n_rows for file in others)
    validation, test = (
        tuple(file.path.name for file in own if file.part == part) for part in PARTS[1:]
    )
    return DatasetRecipe(
        files=tuple(file.path.name for file in own),
        sha256=tuple(file.sha256 for file in own),
        layout=main,
        mapping=_MAPPINGS[main],
        chat_template=recipe.chat_template,
        train_on=recipe.train_on,
        validation_share=0.0,
        split_seed=recipe.split_seed,
        split_by="file" if validation or test else "random",
        validation_files=validation,
        test_files=test,
        mix=tuple(_mixed(file, file.n_rows / n_train) for file in others),
    )


def _mixed(file: WrittenFile, share: float) -> MixPart:
    recipe = DatasetRecipe(
        files=(file.path.name,),
        sha256=(file.sha256,),
        layout=file.layout,
        mapping=_MAPPINGS[file.layout],
        validation_share=0.0,
    )
    return MixPart(recipe=recipe, share=share, name=file.path.stem)
