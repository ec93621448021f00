"""A run's answers by step, as its events tell them."""

from studio.results.samples import Samples


def sample(step: int, **answers: str) -> dict[str, object]:
    told = [{"prompt": prompt, "answer": answer} for prompt, answer in answers.items()]
    return {"event": "sample", "step": step, "answers": told}


def test_answers_stand_by_step_and_prompt():
    samples = Samples()
    samples.add([sample(0, a="x", b="y"), {"event": "step", "step": 1, "loss": 1.0}])
    samples.add([sample(10, a="z", b="w")])
    assert samples.prompts == ("a", "b")
    assert samples.answers == [(0, ["x", "y"]), (10, ["z", "w"])]


def test_a_resume_takes_back_what_came_after_its_step():
    samples = Samples()
    samples.add([sample(0, a="x"), sample(10, a="void"), {"event": "resumed", "step": 5}])
    samples.add([sample(10, a="again")])
    assert samples.answers == [(0, ["x"]), (10, ["again"])]


def test_a_prompt_that_is_no_longer_answered_has_an_empty_place():
    samples = Samples()
    samples.add([sample(0, a="x", b="y"), sample(10, a="z")])
    assert samples.answers == [(0, ["x", "y"]), (10, ["z", ""])]
