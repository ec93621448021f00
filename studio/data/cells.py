"""A row's values by the part they play, with the place they stand in for messages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.data.jinja import row_text
from studio.data.layouts import PARTS, value_at
from studio.errors import DataError


@dataclass(frozen=True)
class Cells:
    """A row under a layout and a mapping. In the layout "template" the mapping holds templates
    instead of columns."""

    row: dict[str, Any]
    layout: str
    mapping: Mapping[str, str]
    row_number: int

    def column(self, part: str) -> str:
        """The mapped column, "" where the part has none."""
        return self.mapping.get(part, "")

    def place(self, part: str) -> str:
        """Where the part's value comes from, in words."""
        if self.layout == "template":
            label = next(p.label for p in PARTS[self.layout] if p.name == part)
            return f"the template for '{label}'"
        return f"column '{self.column(part)}'"

    def value(self, part: str) -> Any:
        """The mapped value, None where an optional part has no column or the cell is null."""
        column = self.column(part)
        if not column:
            return None
        if self.layout == "template":
            return row_text(column, self.row, self.place(part), self.row_number)
        try:
            return value_at(self.row, column)
        except KeyError:
            if not next(p.required for p in PARTS[self.layout] if p.name == part):
                return None
            raise self.error(
                f"has no column '{column}'",
                "Choose another column in the mapping, or fill this row.",
                "missing_column",
            ) from None

    def text(self, part: str) -> str:
        """The value as text, "" for null. Raises: DataError for lists and objects."""
        value = self.value(part)
        if value is None:
            return ""
        if isinstance(value, dict | list):
            kind = "a list" if isinstance(value, list) else "an object"
            raise self.error(
                f"holds {kind} in {self.place(part)}, not text",
                "Choose a column with text, or a path into this one.",
                "not_text",
            )
        return self.clean(part, value if isinstance(value, str) else json.dumps(value))

    def clean(self, part: str, text: str) -> str:
        """`text`. Raises: DataError where it holds half a character."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.error(
                f"holds half a character (\\u{ord(text[error.start]):04x}) at position "
                f"{error.start + 1} of {self.place(part)}",
                "Remove the cut emoji or sign from this row.",
                "half_character",
            ) from error
        return text

    def error(self, what: str, fix: str, code: str) -> DataError:
        """The error that this row `what`."""
        return DataError(f"Row {self.row_number} {what}.", fix, code)

    def empty(self, part: str, code: str) -> DataError:
        """The error that a part has no text."""
        return self.error(
            f"has no text in {self.place(part)}",
            "Fill it in or remove the row; until then the row is left out of training.",
            code,
        )
