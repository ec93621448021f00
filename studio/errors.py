"""The errors a user can meet: what happened and where, the next step, and a stable code.

Third-party exceptions become one of these only at the edge that knows the cause. The README
lists every code; a test holds the list equal to this file.
"""


class StudioError(Exception):
    """What happened (`message`), the next step in screen words (`fix`), a stable `code`."""

    code = "studio"

    def __init__(self, message: str, fix: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


class DataError(StudioError):
    """A file, a row or a mapping that cannot become training data."""

    code = "data"


class TemplateError(StudioError):
    """A chat template that does not render, or whose trained part cannot be told exactly."""

    code = "template"


class ModelError(StudioError):
    """A base model that is missing, damaged, or of a kind the studio does not take."""

    code = "model"


class ConfigError(StudioError):
    """A setting that is unknown, out of bounds, or does not go with the others."""

    code = "config"


class JobError(StudioError):
    """A job that is unknown, in the wrong state, or died."""

    code = "job"


class ExportError(StudioError):
    """A model that cannot be written as GGUF, or a file that failed its checks."""

    code = "export"


class SetupError(StudioError):
    """The machine or the environment lacks something."""

    code = "setup"
