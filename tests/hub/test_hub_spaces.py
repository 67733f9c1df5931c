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
from hub_server import HubServer
from huggingface_hub import HfApi

from simxrd_hf.hub import make_result, write_result

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


def records():
    """Two models on two datasets, in configs the page has words for and in one it has not."""
    found = []
    for dataset, configs in (("lab/data", ("out_of_library", "my_own")), ("RRUFF", ("measured",))):
        for name, space_group, system in ((LONG, 0.8, 0.5), ("lab/second", 0.4, 0.9)):
            for config in configs:
                for target, accuracy in (("space_group", space_group), ("crystal_system", system)):
                    scores = {"n": 100, "accuracy": accuracy, "macro_f1": 1 - accuracy, "ece": accuracy / 10}
                    scores |= {"accuracy_in_cubic": accuracy / 2}
                    where = {"dataset_id": dataset, "config": config, "split": "test", "target": target}
                    notes = "<b>corrected</b>" if dataset == "RRUFF" else None
                    found.append(make_result(name, scores, model_revision="a" * 40, notes=notes, **where))
    return found


LONG = "lab/a-model-with-" + "a-long-name-" * 6 + "v2"


@pytest.fixture
def phone(browser):
    """The same browser as wide as a telephone."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def board(tmp_path):
    """The address of `simxrd leaderboard --serve`, with the pages it serves in a process of its own."""
    for record in records():
        write_result(record, tmp_path)
    code = "import sys; from simxrd_hf.cli import main; main(['leaderboard', sys.argv[1], '--serve', *sys.argv[2:]])"
    process, address = serve(code, tmp_path, "--port")
    yield address
    process.terminate()
    process.wait(20)


def table(browser):
    """Rows of the board: rank, model, and the scores that can be seen."""
    return browser.execute_script(
        "return [...document.querySelectorAll('tr.row')].map(row => [...row.cells]"
        ".filter(cell => cell.checkVisibility()).map(cell => cell.innerText.split('\\n')[0]))"
    )


def choose(browser, name, text):
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", name)).select_by_visible_text(text)


def test_leaderboard(browser, board):
    browser.get(board)
    wait(lambda: [row[1] for row in table(browser)] == [LONG, "lab/second"])
    assert "2 models, 12 results" in browser.find_element("tag name", "header").text
    assert table(browser)[0][:4] == ["1", LONG, "80.00", "20.00"]
    links = [e.get_attribute("href") for e in browser.find_elements("css selector", "#board a")]
    assert "https://huggingface.co/lab/second" in links
    assert f"https://huggingface.co/lab/second/commit/{'a' * 40}" in links
    # ranked by another score, then the other way round
    head = next(e for e in browser.find_elements("css selector", "th button") if e.text == "macro-F1")
    head.click()
    wait(lambda: [row[1] for row in table(browser)] == ["lab/second", LONG])
    choose(browser, "score", "ECE")
    wait(lambda: [row[:2] for row in table(browser)] == [["1", "lab/second"], ["2", LONG]])
    # the other question, another split, another dataset: each ranked by itself
    choose(browser, "score", "accuracy")
    choose(browser, "target", "crystal system")
    wait(lambda: [row[:3] for row in table(browser)] == [["1", "lab/second", "90.00"], ["2", LONG, "50.00"]])
    assert texts(browser, "#configs button") == ["out of library (2)", "my own (2)"]
    browser.find_elements("css selector", "#configs button")[1].click()
    wait(lambda: browser.find_element("id", "meaning").text == "")
    choose(browser, "dataset", "RRUFF")
    wait(lambda: "real instruments" in browser.find_element("id", "meaning").text and len(table(browser)) == 2)
    browser.find_element("id", "filter").send_keys("second")
    wait(lambda: [row[:2] for row in table(browser)] == [["1", "lab/second"]])
    browser.find_element("css selector", "tr.row td").click()
    more = browser.find_element("css selector", "tr.more").text
    assert "<b>corrected</b>" in more and "cubic" in more and "45.00" in more  # as text, whatever it says


def test_leaderboard_on_a_phone(phone, board):
    phone.get(board)
    wait(lambda: len(table(phone)) == 2)
    assert table(phone)[0] == ["1", LONG, "80.00"]  # the score is there, the others a tap away
    score = phone.find_element("css selector", "tr.row td.main").rect
    assert score["x"] + score["width"] <= 390
    assert phone.execute_script("return document.documentElement.scrollWidth") <= 390
    choose(phone, "score", "macro-F1")
    wait(lambda: [row[1:] for row in table(phone)] == [["lab/second", "60.00"], [LONG, "20.00"]])


def test_leaderboard_of_a_results_dataset(browser, tmp_path, monkeypatch):
    """As a Space: the page reads the Hub, and shows no record that was edited or is not its owner's to give."""
    page = tmp_path / "page"
    shutil.copytree(TESTS.parent / "simxrd_hf" / "hub" / "spaces" / "leaderboard", page)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with HubServer() as hub:
        api = HfApi(endpoint=hub.url, token="hf_test_write_token")
        api.create_repo("lab/results", repo_type="dataset")
        good = records()[0]
        contents = {
            "good": good,
            "newer": make_result("lab/second", {"n": 5, "accuracy": 0.25}, dataset_id="other/data", config="tiny",
                                 split="test", target="space_group"),
            "edited": {**good, "accuracy": 0.99},
            "foreign": make_result("other/model", {"n": 5, "accuracy": 1.0}, dataset_id="other/data", config="tiny",
                                   split="test", target="space_group"),
            "share": {**good, "macro_f1": 7.0},
        }  # fmt: skip
        for name, record in contents.items():
            text = json.dumps(record).encode()
            api.upload_file(path_or_fileobj=text, path_in_repo=f"results/{name}.json", repo_id="lab/results",
                            repo_type="dataset")  # fmt: skip
        api.upload_file(path_or_fileobj=b"<html>", path_in_repo="results/bad.json", repo_id="lab/results",
                        repo_type="dataset")  # fmt: skip
        variables = json.dumps({"variables": {"SIMXRD_RESULTS": "lab/results", "HF_ENDPOINT": hub.url}})
        script = browser.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument", {"source": f"window.huggingface = {variables}"}
        )
        process, address = serve(
            "import sys, http.server as h, functools as f; h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[2])), "
            "f.partial(h.SimpleHTTPRequestHandler, directory=sys.argv[1])).serve_forever()",
            page,
        )
        try:
            browser.get(address)
            wait(lambda: "2 models, 2 results" in browser.find_element("tag name", "header").text)
            browser.execute_script("document.getElementById('skipped').open = true")
            reasons = " ".join(texts(browser, "#skipped li"))
            for reason in (
                "edited.json: edited after it was made", "foreign.json: neither model nor dataset belongs",
                "share.json: macro_f1 is no share", "bad.json: not JSON",
            ):  # fmt: skip
                assert reason in reasons
        finally:
            browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
            process.terminate()
            process.wait(20)


def test_demo(browser, tmp_path):
    pytest.importorskip("gradio")
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
        assert "_1" not in browser.find_element("id", "groups").text  # symbols as printed: P3₁21
        label = browser.find_element("css selector", "#pattern label").rect
        for entry in browser.find_elements("css selector", "#pattern .legend .traces"):
            assert entry.rect["y"] > label["y"] + label["height"]  # the legend is not behind the label

        bad = tmp_path / "letter.txt"
        bad.write_text("This is a letter, not a diffractogram.\n")
        drop(bad)
        wait(lambda: "letter.txt" in " ".join(texts(browser, ".toast-body, .toast-wrap")))
    finally:
        process.terminate()
        process.wait(20)
