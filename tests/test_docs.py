"""The README and docs/ are run, not believed."""

import inspect
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What needs no weights and no finished comparison, and is over in a second.
QUICK = ("check", "predict", "evaluate", "augment", "models", "cache")


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


def commands(page):
    """Each `graft …` line of the page's bash blocks, as its arguments."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    written = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in written if words[:1] == ["graft"]]


def mentioned(page):
    """Each `graft …` within a sentence or a table."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    found = re.findall(r"`graft\s+([^`]+)`", text)
    return [line.replace("…", " ").replace("'", " ").split() for line in found]


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """A folder with photos of two classes in which the README's Python has been run."""
    folder = tmp_path_factory.mktemp("birds")
    random = np.random.default_rng(0)
    for label, shade in (("wren", 60), ("robin", 190)):
        (folder / "photos" / label).mkdir(parents=True)
        for i in range(24):
            pixels = (random.integers(0, 60, (20, 20, 3)) + shade).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{i}.png")
    shutil.copytree(folder / "photos", folder / "more_photos")
    for name in ("new", "new_photos"):
        shutil.copytree(folder / "photos" / "wren", folder / name)
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for code in blocks(ROOT / "README.md", "python"):
            exec(code, names)
    shutil.copytree(folder / "runs" / "birds", folder / "runs" / "flowers")
    return folder, names


def test_the_python_of_the_readme_trains_and_predicts(birds):
    folder, names = birds
    assert names["prediction"].best_guess in ("wren", "robin")
    assert (folder / "runs" / "birds" / "report.html").is_file()


@pytest.mark.parametrize("page", [p for p in PAGES[1:] if blocks(p, "python")], ids=name_of)
def test_the_python_of_each_page_runs(page, birds, monkeypatch):
    import graft
    from graft.config import TrainConfig, configs_of

    signature = inspect.signature(graft.train)

    def train(*arguments, **options):
        bound = signature.bind(*arguments, **options).arguments
        configs_of(bound["settings"] | {"model": bound["model"]}, TrainConfig)
        return graft.Run(bound["out"])  # the README has trained it

    monkeypatch.chdir(birds[0])
    monkeypatch.setattr(graft, "train", train)
    for code in blocks(page, "python"):
        exec(code, {})


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name_of)
def test_each_command_line_is_understood(page):
    from graft.cli.main import main

    for words in commands(page):
        if words[0] != "--version":
            main.commands[words[0]].make_context(words[0], words[1:])


def test_each_command_and_option_in_a_sentence_is_real():
    from graft.cli.main import main

    for page in PAGES:
        for words in mentioned(page):
            if not words[0].isalpha() or words[0].isupper():
                continue
            command = main.commands.get(words[0])
            assert command, f"{name_of(page)}: graft {words[0]}"
            known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
            known |= set(command.get_help_option_names(click.Context(command))) | {"--help"}
            for word in words[1:]:
                option = word.partition("=")[0]
                if option.startswith("--"):
                    assert option in known, f"{name_of(page)}: graft {words[0]} {option}"


@pytest.mark.parametrize("page", ["README.md", "docs/commands.md"])
def test_quick_commands_do_what_the_page_says(page, birds, graft_here, monkeypatch, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(birds[0], work)
    monkeypatch.chdir(work)
    for words in commands(ROOT / page):
        if words[0] in QUICK and "--model" not in words:
            ended = graft_here(*words)
            refused = "--max-error" in words and "cannot be kept" in ended.err  # 7 val images
            assert ended.code == 0 or refused, f"graft {' '.join(words)}: {ended.err}"


def anchors(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{name_of(page)}: {target}"


def test_every_source_file_that_contributors_are_sent_to_is_there():
    rows = re.findall(r"^\|.*\| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    named = re.findall(r"`([a-z_]+/(?:[a-z_]+\.py)?|[a-z_]+\.py|docs/\w+\.md)`", " ".join(rows))
    assert len(named) > 15
    for name in named:
        start = ROOT if name.startswith("docs/") else ROOT / "src" / "graft"
        assert (start / name).exists(), name


def test_every_benchmark_that_is_named_exists():
    for page in PAGES:
        for name in re.findall(r"python -m benchmarks (\w+)|`benchmarks\.(\w+)", page.read_text()):
            assert (ROOT / "benchmarks" / f"{''.join(name)}.py").is_file(), name_of(page)


def test_every_kind_of_finding_is_explained_with_its_severity():
    from graft.quality.finding import KINDS

    rows = re.findall(
        r"^\| (`.*?`) \| (blocking|matters|note) \|", (ROOT / "docs/findings.md").read_text(), re.M
    )
    told = {kind: severity for kinds, severity in rows for kind in re.findall(r"`(\w+)`", kinds)}
    assert told == {name: kind.severity for name, kind in KINDS.items()}


def test_every_file_of_a_run_is_explained():
    from graft.runs.folder import FILES, OPTIONAL

    text = (ROOT / "docs/run-folder.md").read_text()
    for name in (*FILES, *OPTIONAL):
        assert f"| `{name}" in text, name


def test_the_table_of_models_is_that_of_graft_models():
    from graft.models.zoo import list_models

    rows = re.findall(
        r"^\| `(\S+)` \| (\S+) M \| (\d+) px \|", (ROOT / "docs/models.md").read_text(), re.M
    )
    assert rows == [
        (row["name"], f"{row['parameters'] / 1e6:.1f}", str(row["input"]))
        for row in list_models()
        if not row["name"].endswith("_cnn")
    ]


def test_each_term_of_the_glossary_is_short_and_stands_there_once():
    text = (ROOT / "docs/glossary.md").read_text()
    entries = re.findall(r"^### (.+)\n((?:(?!#).+\n)+)", text, re.M)
    terms = [term for term, _ in entries]
    assert len(set(terms)) == len(terms) == text.count("\n### ")
    assert len(terms) > 50
    for term, words in entries:
        assert 30 < len(words) < 260, term


def test_every_dependency_is_accounted_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = (ROOT / "docs/dependencies.md").read_text()
    for line in project["dependencies"]:
        assert re.match(r"[a-z0-9]+", line)[0] in told, line
