"""A synthesis job: one answer of the chat's model for each row, kept as a proposal.

In: the job's config. Out: lines of proposals.jsonl, and an event for each row. The model, its
prompt and its tokens are those of chat; here they only take turns row by row.
"""

from collections import Counter
from dataclasses import replace

from studio.data.dataset import open_dataset
from studio.data.jinja import row_text
from studio.data.messages import Message
from studio.data.proposals import Proposal, ProposalWriter, mark_of
from studio.data.writing_back import answer_of, asked, question_of
from studio.engine.chat.model import ChatModel, load_chat
from studio.errors import StudioError
from studio.events import EventWriter
from studio.jobs.chat_target import resolve_target
from studio.jobs.job import Job
from studio.jobs.synthesis import INSTRUCTION, chosen_rows, config_of, model_name
from studio.jobs.worker import StopRequested
from studio.paths import Workspace

_SEEDS = 2**31


def run_synthesis(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """Propose for every chosen row; gives the values of the `finished` event.

    Raises: StopRequested with the number of proposals so far, which are kept.
    """
    return _Synthesis(job, workspace, events).run()


class _Synthesis:
    def __init__(self, job: Job, workspace: Workspace, events: EventWriter) -> None:
        self._job = job
        self._events = events
        self._config = config_of(job)
        self._dataset = open_dataset(self._config.dataset, workspace.cache_dir)
        self._rows = chosen_rows(self._config, self._dataset)
        self._target = resolve_target(workspace, self._config.model)
        self._failures: list[StudioError] = []

    def run(self) -> dict[str, object]:
        self._events.write("phase", name="loading model")
        model = load_chat(self._target)
        writer = ProposalWriter(self._job.folder)
        n_all = len(self._rows) * self._config.n_per_row
        self._events.write("plan", n_rows=len(self._rows), n_proposals=n_all)
        self._events.write("phase", name="proposing")
        try:
            for done, number in enumerate(self._rows, 1):
                self._propose(model, writer, number)
                self._events.write(
                    "progress",
                    done=done,
                    n=len(self._rows),
                    row=number,
                    n_proposals=len(writer.written),
                )
        finally:
            writer.close()
        self._report()
        return self._summary(writer)

    def _propose(self, model: ChatModel, writer: ProposalWriter, number: int) -> None:
        """All proposals for one row that are not there yet."""
        earlier = [proposal for proposal in writer.written if proposal.row == number]
        try:
            messages, prompt, known = self._asked(number)
            for place in range(len(earlier), self._config.n_per_row):
                text, reason = self._answer(model, messages, self._seed(number, place), writer)
                others = [*known, *(proposal.text for proposal in earlier)]
                mark = mark_of(text, others, cut=reason != "stop")
                proposal = Proposal(
                    number=0,
                    row=number,
                    kind="answer" if self._config.kind == "answer" else "paraphrase",
                    prompt=prompt,
                    text=text,
                    model=model_name(self._target),
                    mark=mark,
                )
                earlier.append(writer.write(proposal))
        except StudioError as error:
            self._failures.append(error)

    def _asked(self, number: int) -> tuple[tuple[Message, ...], str, list[str]]:
        """What the model reads, the instruction in it, and texts that are no news."""
        recipe = self._dataset.recipe
        row = self._dataset.edited.row(number - 1)
        if self._config.kind == "paraphrase":
            question = question_of(row, recipe, number)
            prompt = self._instruction(row, question, number)
            return (Message("user", prompt),), prompt, [question]
        before = asked(row, recipe, number)
        place = max(i for i, message in enumerate(before) if message.role == "user")
        question = before[place].content
        prompt = self._instruction(row, question, number)
        messages = (*before[:place], replace(before[place], content=prompt), *before[place + 1 :])
        known = [question, *filter(None, [answer_of(row, recipe, number)])]
        return messages, prompt, known

    def _instruction(self, row: dict[str, object], question: str, number: int) -> str:
        columns = dict.fromkeys(self._dataset.rows.columns)
        values = {**columns, **row, "prompt": question, "row": row}
        return row_text(self._config.asked_with, values, INSTRUCTION, number)

    def _seed(self, number: int, place: int) -> int:
        """Each proposal's own: a resumed job goes on as if it had never stopped."""
        return (self._config.sampling.seed + number * self._config.n_per_row + place) % _SEEDS

    def _answer(
        self, model: ChatModel, messages: tuple[Message, ...], seed: int, writer: ProposalWriter
    ) -> tuple[str, str]:
        """The model's text, and why it ended. Raises: StopRequested between two tokens."""
        stream = model.start(messages, replace(self._config.sampling, seed=seed), tuned=True)
        pieces: list[str] = []
        try:
            while True:
                if self._job.stop_path.exists():
                    raise StopRequested(self._summary(writer))
                step = stream.step()
                pieces.append(step.delta)
                if step.stop_reason:
                    return "".join(pieces).strip(), step.stop_reason
        finally:
            stream.close()

    def _report(self) -> None:
        if self._failures:
            first = self._failures[0]
            self._events.write(
                "warning",
                code="rows_left_out",
                n=len(self._failures),
                message=f"{len(self._failures):,} rows got no proposal. The first: {first.message}",
                fix=first.fix,
            )

    def _summary(self, writer: ProposalWriter) -> dict[str, object]:
        marks = Counter(proposal.mark or "good" for proposal in writer.written)
        return {"n_proposals": len(writer.written), "marks": dict(marks)}
