"""What a power cut, a full or a read-only disk leaves: readers go on, nothing crashes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.header import newest_job
from components.runs.live import LiveRuns
from studio.errors import JobError
from studio.events import EventReader, EventWriter, read_events
from studio.jobs.job import Job, create_job, find_job, last_event, list_jobs, state_of
from studio.jobs.space import check_space, needed_bytes
from studio.models.facts import read_facts
from studio.paths import STARTER_DIR, Workspace
from studio.results.runs import list_runs
from studio.settings import to_dict
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.curves import CurveFollower
from tests.mounts import python_on


def run_of_five_steps(workspace: Workspace) -> Job:
    job = create_job(workspace, "train", "owl", to_dict(RunConfig()))
    job.log_path.touch()
    events = EventWriter(job.events_path)
    events.write("started", pid=1)
    events.write("plan", n_steps=9)
    for step in range(1, 6):
        events.write("step", step=step, loss=1.0, tokens_per_second=1.0, elapsed_seconds=1.0)
    events.close()
    return job


def cut(content: bytes) -> bytes:
    return content[:-20]


def nul_at_the_end(content: bytes) -> bytes:
    return content[:-20] + bytes(70_000)


def nul_inside(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines[4] = bytes(len(lines[4]) - 1) + b"\n"
    return b"".join(lines)


def half_a_line_inside(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines[4] = lines[4][:25] + b"\n"
    return b"".join(lines)


@pytest.mark.parametrize(
    ("damage", "steps"),
    [
        (cut, [1, 2, 3, 4]),
        (nul_at_the_end, [1, 2, 3, 4]),
        (nul_inside, [1, 2, 4, 5]),
        (half_a_line_inside, [1, 2, 4, 5]),
        (lambda content: b"", []),
        (lambda content: bytes(len(content)), []),
        (None, []),
    ],
)
def test_garbled_events_are_passed_over_by_every_reader(
    damage: Callable[[bytes], bytes] | None, steps: list[int], workspace: Workspace
) -> None:
    job = run_of_five_steps(workspace)
    content = job.events_path.read_bytes()
    job.events_path.unlink()
    if damage:
        job.events_path.write_bytes(damage(content))
    found = [event["step"] for event in read_events(job.events_path) if event["event"] == "step"]
    assert found == steps
    assert state_of(job) == "lost"
    assert list(CurveFollower(job.events_path).update(0, 0).traces["loss"].steps) == steps
    run = list_runs(workspace)[0]
    assert (run.state, run.step) == ("lost", steps[-1] if steps else 0)
    assert LiveRuns(workspace).poll({"job": job.id})["state"] == "lost"
    pill = newest_job(workspace)
    assert pill is not None and pill["state"] == "lost"
    # The next worker writes on, and everybody reads on.
    events = EventWriter(job.events_path)
    events.write("started", pid=2)
    events.write("stopped", step=7)
    events.close()
    assert [event["event"] for event in read_events(job.events_path)][-2:] == [
        "started", "stopped",
    ]  # fmt: skip
    assert (state_of(job), list_runs(workspace)[0].step) == ("stopped", 7)


def test_a_reader_follows_a_file_that_has_become_shorter(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventWriter(path)
    for step in range(9):
        events.write("step", step=step)
    reader = EventReader(path)
    assert len(reader.read()) == 9
    path.write_bytes(path.read_bytes()[:120])
    EventWriter(path).write("step", step=99)
    assert [event["step"] for event in reader.read()][-1] == 99


def test_the_last_event_is_the_last_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventWriter(path).write("finished", n=1)
    with path.open("ab") as file:
        file.write(b'{"event": "st\n' + bytes(9) + b"\n[1]\n" + b'{"event"')
    last = last_event(path)
    assert last is not None and (last["event"], last["n"]) == ("finished", 1)


def test_a_job_whose_files_are_damaged_does_not_hide_the_others(workspace: Workspace) -> None:
    whole, cut_settings, cut_job = (run_of_five_steps(workspace) for _ in range(3))
    (cut_settings.folder / "config.json").write_bytes(bytes(50))
    (cut_job.folder / "job.json").write_bytes(bytes(50))
    assert {job.id for job in list_jobs(workspace)} == {whole.id, cut_settings.id}
    assert {run.id for run in list_runs(workspace)} == {whole.id, cut_settings.id}
    with pytest.raises(JobError) as caught:
        cut_settings.config()
    assert caught.value.code == "job_damaged"


def test_events_are_whole_or_not_there_where_the_disk_is_full(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from studio.events import EventWriter, read_events\n"
        "path = Path('/mnt/events.jsonl'); events = EventWriter(path); n = 0\n"
        "try:\n    while True:\n        events.write('step', step=n, text='x' * 1000); n += 1\n"
        "except OSError as error:\n    print(error.errno)\n"
        "Path('/mnt/ballast').unlink(); events.write('failed', code='disk_full'); events.close()\n"
        "lines = path.read_bytes().splitlines()\n"
        "print(n, len(lines), len(read_events(path)), read_events(path)[-1]['event'])"
    )
    mount = "mount -t tmpfs -o size=64k tmpfs /mnt && head -c 16384 /dev/zero > /mnt/ballast"
    errno, figures = python_on(mount, code).splitlines()
    n, n_lines, n_read, last = figures.split()
    assert errno == "28"
    assert int(n_lines) == int(n_read) == int(n) + 1
    assert last == "failed"


def test_a_read_only_workspace_can_be_looked_at_and_says_why_nothing_starts(
    workspace: Workspace, tmp_path: Path
) -> None:
    job = run_of_five_steps(workspace)
    job.lock_path.touch()
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 5, "utf-8")
    (tmp_path / "run.json").write_text(json.dumps({"dataset": {"files": ["rows.jsonl"]}}), "utf-8")
    before = sorted(workspace.root.rglob("*"))
    code = (
        "import sys; from studio.cli import main\n"
        "root, config, run = sys.argv[1:]\n"
        "for words in (['runs'], ['train', config], ['resume', run]):\n"
        "    print(main([*words, '--workspace', root, '--json']))\n"
        "print(main(['runs', '--workspace', root + '/new', '--json']))\n"
    )
    root = str(workspace.root)
    mount = f"mount --bind {root} {root} && mount -o remount,bind,ro {root}"
    said = python_on(mount, code, root, str(tmp_path / "run.json"), job.id).splitlines()
    assert [line for line in said if line in ("0", "1")] == ["0", "1", "1", "1"]
    answers = [json.loads(line) for line in said if line.startswith("{")]
    assert [run["state"] for run in answers[0]["runs"]] == ["lost"]
    for answer in answers[1:]:
        assert answer["error"]["code"] == "workspace_read_only"
        assert root in answer["error"]["message"]
    assert sorted(workspace.root.rglob("*")) == before


def test_the_space_of_checkpoints_is_told_before_the_start(tmp_path: Path) -> None:
    facts = read_facts(STARTER_DIR)
    config = RunConfig(adapter=AdapterSettings(r=16))
    # 417,792 weights: three checkpoints of FP32 weights with two moments, and the adapter.
    assert needed_bytes(config, facts) == 417_792 * (3 * 12 + 4) + 2_000_000
    check_space(tmp_path, config, facts)
    code = (
        "from pathlib import Path; from studio.errors import JobError\n"
        "from studio.jobs.space import check_space; from studio.models.facts import read_facts\n"
        "from studio.paths import STARTER_DIR; from studio.training.config import RunConfig\n"
        "try:\n    check_space(Path('/mnt'), RunConfig(), read_facts(STARTER_DIR))\n"
        "except JobError as error:\n    print(error.code, error.message)"
    )
    said = python_on("mount -t tmpfs -o size=9m tmpfs /mnt", code)
    assert said.startswith("disk_full ") and "18.7 MB" in said and "9.4 MB" in said


def test_paths_into_the_workspace_are_found_again_where_it_lies_now(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    workspace = Workspace.open(old)
    inside, outside, alike = f"{old}/datasets/a/x.jsonl", "/data/x.jsonl", f"{old}er/x.jsonl"
    config = {"model": f"{old}/m", "dataset": {"files": [inside, outside, alike]}, "name": "old"}
    job_id = create_job(workspace, "train", "owl", config).id
    old.rename(new)
    moved = find_job(Workspace.open(new), job_id).config()
    assert moved == {
        "model": f"{new}/m",
        "dataset": {"files": [f"{new}/datasets/a/x.jsonl", outside, alike]},
        "name": "old",
    }
