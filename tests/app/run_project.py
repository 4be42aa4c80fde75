"""A project with finished runs, served, for the tests of the steps that come after training."""

import csv
import json
import shutil
from contextlib import contextmanager

import numpy as np
from app_client import Client, served

import graft


def guessing(run):
    """Give a copy of a run other probabilities, many of them wrong."""
    random = np.random.default_rng(0)
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    guessed = [[*line[:3], *random.dirichlet([1] * len(line[3:]))] for line in lines]
    with (run / "predictions.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *guessed])


def promising(run):
    """Let a copy of a run promise at most 5 % wrong, from a probability of 0.9 on."""
    file = run / "metrics.json"
    metrics = json.loads(file.read_text())
    for row in metrics["selective_prediction"]["error_budgets"]:
        row["min_probability"] = None
        if row["max_error"] == 0.05:
            row |= {"min_probability": 0.9, "answered": 9, "answered_interval": [0.4, 0.9]}
            row |= {"wrong": 0, "error_interval": [0.0, 0.3]}
    file.write_text(json.dumps(metrics))


@contextmanager
def project_with_runs(folder, source, run):
    """Serves a copy of `source` whose project holds `run` as "first" and, an older one, "guess",
    with other probabilities; gives the client.
    """
    photos, runs = folder / "photos", folder / "photos-graft" / "runs"
    shutil.copytree(source, photos)
    with graft.Project(photos):  # makes the project folder
        pass
    shutil.copytree(run, runs / "guess")
    guessing(runs / "guess")
    shutil.copytree(run, runs / "first")
    promising(runs / "first")
    with served(photos) as address:
        client = Client(address)
        client.wait_until_read()
        client.address, client.photos, client.runs = address, photos, runs
        yield client


@contextmanager
def page_of(browser, client, path, width=1200):
    """The page of a step in a browser; nothing fails in it and nothing leaves the machine."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(120_000)
    page = context.new_page()
    problems, asked = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(client.address)
    page.goto(client.base + path)
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
    assert problems == []
    own = (client.base + "/", "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []
