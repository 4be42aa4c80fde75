"""The README is run, not believed."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]


def test_the_python_of_the_readme_runs_on_a_folder_of_images(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for label, shade in (("wren", 60), ("robin", 190)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(24):
            noise = random.integers(0, 60, (20, 20, 3))
            Image.fromarray((noise + shade).astype(np.uint8)).save(
                tmp_path / "photos" / label / f"{i}.png"
            )
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names["answer"].best_guess in ("wren", "robin")
    assert (tmp_path / "runs/birds/report.html").is_file()


def test_every_page_that_the_documents_link_to_is_there():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_dependency_is_accounted_for():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = (ROOT / "docs/dependencies.md").read_text()
    for line in project["dependencies"]:
        assert re.match(r"[a-z0-9]+", line)[0] in told, line
