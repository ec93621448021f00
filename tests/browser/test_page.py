"""The page as such: it opens from this computer alone, fits a phone, and comes back as it was."""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import expect

from studio.paths import PROJECT_DIR
from tests.browser.conftest import OpenPage, Studio, open_studio


def test_importing_the_screen_leaves_torch_out() -> None:
    code = (
        "import sys, components.app; "
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_page_opens_in_its_own_fonts_with_meters_and_a_word_on_the_state(
    open_page: OpenPage,
) -> None:
    page = open_page()
    expect(page.locator(".s-meter b").first).to_contain_text("%")
    expect(page.get_by_role("heading", level=1)).to_have_text("LoRA Studio")
    expect(page.locator(".s-meter", has_text="RAM")).to_contain_text("GB")
    page.evaluate("document.fonts.ready")
    loaded = page.evaluate("[...document.fonts].filter(f => f.status === 'loaded').length")
    assert loaded >= 3
    assert page.evaluate("document.fonts.check('14px \"IBM Plex Sans\"', 'Run')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_scrolls_sideways_on_a_phone(open_page: OpenPage, scheme: str) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    for name in ("Data", "Train"):
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tabpanel")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_chosen_colours_outlive_a_reload(open_page: OpenPage) -> None:
    page = open_page(color_scheme="light")
    page.get_by_role("button", name="Switch to dark colours").click()
    page.reload()
    expect(page.get_by_role("button", name="Switch to light colours")).to_be_visible()
    assert page.evaluate("document.body.classList.contains('dark')") is True


def test_a_reload_comes_back_to_the_same_tab_dataset_and_model(
    open_page: OpenPage, studio: Studio, chat_file: Path, model_folder: Path
) -> None:
    page = open_page(f"?model={quote(str(model_folder))}")
    page.set_input_files("#bring-files input[type=file]", chat_file)
    expect(page.locator(".s-project")).to_have_text("chat")
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#plan")).to_contain_text("chat")
    page.reload()
    expect(page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#plan")).to_contain_text("chat")
    expect(page.locator("#model-chooser input")).to_have_value(str(model_folder))


def test_a_taken_port_means_the_next_one_and_the_end_is_quiet(tmp_path: Path) -> None:
    first = open_studio(tmp_path / "one")
    port = urlsplit(first.address).port
    assert port
    second = open_studio(tmp_path / "two", port=port)
    said = second.log.read_text("utf-8")
    assert f"Port {port} is taken; using {urlsplit(second.address).port} instead." in said
    assert (first.stop(), second.stop()) == (0, 0)
    assert "Traceback" not in first.log.read_text("utf-8")


def test_another_address_needs_a_password(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "components.app", "--host", "0.0.0.0"]
    done = subprocess.run(
        [*command, "--workspace", str(tmp_path), "--no-browser"],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Add --password" in done.stderr
    assert "[password_needed]" in done.stderr


def _ask(studio: Studio, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    address = urlsplit(studio.address)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 0)
    body = json.dumps({"data": [], "fn_index": 0}) if method == "POST" else None
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    return answer.status, answer.headers.get("Content-Security-Policy", "")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"Host": "evil.example"}, 403),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_only_the_studios_own_page_is_answered(
    studio: Studio, method: str, headers: dict[str, str], status: int
) -> None:
    path = "/" if method == "GET" else "/gradio_api/run/predict"
    assert _ask(studio, method, path, headers)[0] == status


def test_every_answer_forbids_other_sources(studio: Studio) -> None:
    _, policy = _ask(studio, "GET", "/", {})
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
