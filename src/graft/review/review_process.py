"""`python -m graft.review.review_process`: a LabelReview in a process of its own, so that whoever
asks it can answer others meanwhile. It ends with its stdin.

A line of JSON in, lines of JSON out. The first line in is the work: `source`, a name, `images` with
path, file, label, split and group each, `settings` of TrainConfig and SplitConfig, and `labels`, by
sha256, that were decided before. Out come "progress" lines, then "ready" with what to look at.
Each further line in has `labels`, as `LabelReview.effect` takes them; out comes "effect" with what
they did and what is left to look at.
What cannot be done is an "error", after which it ends.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from graft.config import TrainConfig, configs_of
from graft.data.dataset import Dataset, Example
from graft.errors import GraftError
from graft.review.label_review import LabelReview, review_of
from graft.utils.cache_folder import cache_in_use
from graft.utils.progress import Progress


class _Told(Progress):
    """Progress as lines of JSON."""

    def start(self, name: str, total: int | None) -> None:
        self.total, self.last = total, -1
        self.advance(0)

    def advance(self, done: int, note: str = "") -> None:
        step = max(1, (self.total or 0) // 200)
        if done // step > self.last:
            self.last = done // step
            _say("progress", {"done": done, "total": self.total})

    def finish(self) -> None:
        if self.total:  # what comes afterwards has no count
            _say("progress", {"done": self.total, "total": self.total})


def main() -> None:
    """Read the work, then answer until stdin ends."""
    if hasattr(os, "nice"):  # not on Windows
        os.nice(10)  # whoever asks answers a person meanwhile
    lines: SimpleQueue[str] = SimpleQueue()
    Thread(target=_listen, args=(lines,), daemon=True).start()
    try:
        with cache_in_use():
            work = json.loads(lines.get())
            review = _begun(work)
        review.suspects()  # by the labels as given: what they doubt in test is doubted from now on
        _say("ready", _left(review, work.get("labels", {})))
        while True:
            asked = json.loads(lines.get())
            found = review.effect(asked["labels"]).to_json()
            _say("effect", {"of": len(asked["labels"]), **found}, _left(review, asked["labels"]))
    except BrokenPipeError:
        os._exit(0)  # whoever asked has ended; Python would try to write what is left
    except (GraftError, OSError) as error:
        _say("error", {"message": str(error)})


def _listen(lines: "SimpleQueue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)  # whoever asked has ended: at once, whatever is being computed


def _begun(work: Mapping[str, Any]) -> LabelReview:
    examples = tuple(
        Example(i["path"], Path(i["file"]), i["label"], i["split"] or None, i["group"] or None)
        for i in work["images"]
    )
    config, split_config = configs_of(work["settings"], TrainConfig)
    return review_of(Dataset(work["source"], examples), config, split_config, _Told())


def _left(review: LabelReview, labels: Mapping[str, str]) -> dict[str, Any]:
    suspects, blind = review.suspects(labels)
    return {
        "suspects": [one.to_json() for one in suspects],
        "blind": [one.to_json() | {"doubted": review.is_doubted(one.sha256)} for one in blind],
        "tested": len(review.refit.split.rows("test")),
        "classes": list(review.classes),
    }


def _say(what: str, value: Mapping[str, Any], left: Mapping[str, Any] | None = None) -> None:
    line = {"what": what, "value": value} | ({"left": left} if left is not None else {})
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
