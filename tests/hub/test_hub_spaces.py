"""Both Spaces, driven in a real browser; skipped where there is no chromium, no selenium or no gradio."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from simxrd_hf.hub import make_result, write_result

pytest.importorskip("gradio")
pytest.importorskip("selenium")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromedriver here"),
]
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    folder = tmp_path_factory.mktemp("downloads")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1400,1300",
    ):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.downloads = folder
    yield driver
    driver.quit()


def serve(code, *arguments):
    """Start a page in a process of its own; returns the process and the address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, "-c", code, *map(str, arguments), str(port)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return process, address
        except OSError:
            if process.poll() is not None:
                raise AssertionError(process.stdout.read().decode()[-2000:]) from None
            time.sleep(0.25)
    process.kill()
    raise AssertionError("the page did not come up")


def wait(condition, seconds=40):
    from selenium.common.exceptions import WebDriverException

    for _ in range(seconds * 5):
        try:
            if found := condition():
                return found
        except WebDriverException:
            pass  # the page is being redrawn
        time.sleep(0.2)
    raise AssertionError("waited in vain")


def texts(browser, selector):
    return [element.text for element in browser.find_elements("css selector", selector)]


def click_tab(browser, name):
    """Tabs exist twice in the page: the hidden ones serve to measure their width."""
    tabs = browser.find_elements("xpath", f"//button[@role='tab'][contains(., '{name}')]")
    next(tab for tab in tabs if tab.is_displayed()).click()


def test_leaderboard(browser, tmp_path):
    for name, space_group, system in (("lab/first", 0.8, 0.5), ("lab/second", 0.4, 0.9)):
        for config in ("out_of_library", "measured"):
            for target, accuracy in (("space_group", space_group), ("crystal_system", system)):
                scores = {"n": 100, "accuracy": accuracy, "macro_f1": 1 - accuracy, "accuracy_in_cubic": accuracy / 2}
                where = {"dataset_id": "lab/data", "config": config, "split": "test", "target": target}
                write_result(make_result(name, scores, model_revision="a" * 40, **where), tmp_path)
    code = "import sys; from simxrd_hf.cli import main; main(['leaderboard', sys.argv[1], '--serve', *sys.argv[2:]])"
    process, address = serve(code, tmp_path, "--port")
    try:
        browser.get(address)

        def models():
            shown = [e for e in browser.find_elements("css selector", "a[href*='lab/']") if e.is_displayed()]
            return [e.text for e in shown if e.text.startswith("lab/")]

        wait(lambda: models()[:2] == ["lab/first", "lab/second"])
        assert "2 models, 8 results" in browser.find_element("tag name", "body").text
        links = [e.get_attribute("href") for e in browser.find_elements("css selector", "a[href*='lab/']")]
        assert "https://huggingface.co/lab/first" in links
        assert f"https://huggingface.co/lab/first/commit/{'a' * 40}" in links
        # sorted by another column: macro-F1 ranks them the other way round
        heads = [e for e in browser.find_elements("css selector", "table.board th") if e.text == "macro-F1"]
        heads[0].click()
        wait(lambda: models()[:2] == ["lab/second", "lab/first"])
        heads[0].click()
        wait(lambda: models()[:2] == ["lab/first", "lab/second"])
        # the other question
        browser.find_element("xpath", "//label[contains(., 'Crystal system')]//input[@type='radio']").click()
        wait(lambda: models()[:2] == ["lab/second", "lab/first"] and "top 2" in texts(browser, "table.board th"))
        click_tab(browser, "Measured patterns (2)")
        wait(lambda: "real instruments" in browser.find_element("tag name", "body").text)
        wait(lambda: "90.00" in browser.find_element("tag name", "body").text)
        click_tab(browser, "Hidden test (0)")
        wait(lambda: "No results yet" in browser.find_element("tag name", "body").text)
    finally:
        process.terminate()
        process.wait(20)


def test_demo(browser, tmp_path):
    code = "import sys; from simxrd_hf.hub.serve import serve_demo; serve_demo(sys.argv[1], port=int(sys.argv[2]))"
    process, address = serve(code, TESTS / "models" / "dummy-simxrd-former")
    examples = TESTS.parent / "simxrd_hf" / "hub" / "spaces" / "demo" / "examples"
    try:
        browser.get(address)

        def drop(path):
            def there():
                return browser.find_elements("css selector", "#file input[type=file]")

            for button in browser.find_elements("css selector", "#file button[aria-label='Clear']"):
                button.click()  # another file lies there
            wait(there)[0].send_keys(str(path))

        drop(examples / "halite.cif")
        wait(lambda: "Fm-3m (225), cubic" in browser.find_element("id", "notes").text, 90)
        assert len(browser.find_element("id", "groups").text.split("%")) >= 6  # ranked, with probabilities
        assert "cubic" in browser.find_element("id", "systems").text
        wait(lambda: browser.find_elements("css selector", "#pattern .scatterlayer .point"))
        points = browser.find_elements("css selector", "#pattern .scatterlayer .point")
        assert len(points) == 8  # reflections of halite between 10 and 80°, 111 … 422
        links = wait(lambda: browser.find_elements("css selector", "#export a[href*='halite-answer.json']"))
        with urllib.request.urlopen(links[0].get_attribute("href")) as answer:
            exported = json.load(answer)
        assert exported["file"] == "halite.cif" and len(exported["answer"]["crystal_system"]) == 7
        assert abs(exported["reflections"][1]["two_theta_deg"] - 31.73) < 0.1  # 200

        drop(examples / "quartz_simulated.xy")
        wait(
            lambda: (
                "Ticks" in browser.find_element("id", "notes").text
                or "No ticks" in browser.find_element("id", "notes").text
            )
        )
        wait(lambda: "quartz_simulated" in browser.find_element("id", "export").text)

        bad = tmp_path / "letter.txt"
        bad.write_text("This is a letter, not a diffractogram.\n")
        drop(bad)
        wait(lambda: "letter.txt" in " ".join(texts(browser, ".toast-body, .toast-wrap")))
    finally:
        process.terminate()
        process.wait(20)
