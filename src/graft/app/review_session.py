"""The review of a project's labels: what is left to look at, decisions, and what they did.

What was decided is in the project's journal; the rest is computed by a process of its own
(graft.review.review_process), again after every MEASURED decisions.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from threading import RLock, Thread
from typing import Any

from graft.app.decided_images import ProjectImage, decide
from graft.app.json_routes import Record
from graft.app.last_action import undo_last
from graft.app.project import Project
from graft.app.review_memory import digest_of, next_pass, read_memory, write_memory
from graft.choices import DEFAULT_MODEL
from graft.errors import UsageError
from graft.quality import corrections
from graft.quality.correction import REVIEWING, Correction

MEASURED = 20


class ReviewSession:
    """One for a project; any thread may use it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.lock = RLock()
        self._begun: object = None  # what the process was begun with
        self._process: subprocess.Popen[str] | None = None
        self._forget()

    def _forget(self) -> None:
        self.problem = ""
        self.progress: Record = {"done": 0, "total": None}
        self.left: Record | None = None
        self.effect: Record | None = None  # with the digest of what it was measured at
        self.test: list[Record] = []  # the pass over test images: sha256, and whether doubted
        self.tested = 0  # test images in all
        self.asked = ""  # the digest of what is being measured
        self.measuring = False

    def begin(self) -> None:
        """Have the images looked through, unless they are or no class has any."""
        with self.lock:
            if not (self.project.is_open and self.project.index.done):
                return
            # Of 20,000 images their listing would take longer than a key may.
            others = [one for one in self._standing() if one.decision not in REVIEWING]
            begun = (str(self.project.home), self.project.index.revision, tuple(others))
            if begun == self._begun:
                return
            self.end()
            self._begun = begun
            self._forget()
            known = read_memory(self.project.home)
            self.effect, self.test = known["effect"], known["test"]
            files = decide(list(self.project.index.files), others)
            images = [image for image in files if image.label and image.sha256]
            if not images:
                self.problem = "no image has a class yet; put some into classes first"
                return
            self._process = subprocess.Popen(
                [sys.executable, "-m", "graft.review.review_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            Thread(target=self._listen, args=(self._process,), daemon=True).start()
            work = {
                "source": self.project.source,
                "images": [
                    {
                        "path": i.path,
                        "file": str(i.file),
                        "label": i.label,
                        "split": i.split,
                        "group": i.group,
                    }
                    for i in images
                ],
                "settings": {"model": DEFAULT_MODEL} | self.project.review_settings,
                "labels": self._labels(),
            }
            Thread(target=self._tell, args=(self._process, work), daemon=True).start()

    def end(self) -> None:
        """Stop the process."""
        with self.lock:
            if self._process is not None:
                self._process.kill()
                self._process = None
            self._begun = None

    def state(self) -> Record:
        """What is left to look at, with current labels, and what was decided."""
        self.begin()
        with self.lock:
            images = {image.sha256: image for image in self.project.images()}
            decided = self.decided()
            left = self.left or {"suspects": [], "classes": []}
            test = [one for one in self.test if one["sha256"] in images]
            return {
                "ready": self.left is not None,
                "problem": self.problem,
                "progress": self._read() or self.progress,
                "classes": sorted(set(left["classes"]) | set(self.project.counts()) - {""}),
                "suspects": [
                    self._shown(one, images)
                    for one in left["suspects"]
                    if one["sha256"] in images and one["sha256"] not in decided
                ],
                "blind": [
                    {"sha256": one["sha256"], "label": images[one["sha256"]].label}
                    for one in test
                    if one["sha256"] not in decided
                ],
                "test": {
                    "of": self.tested,
                    "doubted": sum(one["doubted"] for one in test),
                    "random": sum(not one["doubted"] for one in test),
                    "decided": sum(one["sha256"] in decided for one in test),
                },
                "decided": len(decided),
                "effect": self.effect,
                "current": self._is_current(),
                "measuring": self.measuring,
                "measured_every": MEASURED,
            }

    def decide(
        self, digests: Sequence[str], decision: str, label: str = "", kept: Sequence[str] = ()
    ) -> int:
        """Decide about some images at once, as one action: "keep", "keep_out", or "relabel" to a
        `label`; `kept` ones keep theirs. Those that were decided about before are left as they
        are. Returns how many are decided by now.
        """
        if decision not in REVIEWING:
            raise UsageError(f"a decision is one of {', '.join(REVIEWING)}, not {decision!r}")
        with self.lock:
            images = {image.sha256: image for image in self.project.images()}
            gone = [digest for digest in (*digests, *kept) if digest not in images]
            if gone:
                raise UsageError(f"{len(gone)} images are no longer there; reload the page")
            done = self.decided()
            wanted = dict.fromkeys(kept, "keep") | dict.fromkeys(digests, decision)
            if decision == "relabel" and label not in self.project.counts():
                raise UsageError(f"there is no class {label!r}; it was renamed or deleted")
            lines = [_line(images[d], what, label) for d, what in wanted.items() if d not in done]
            if lines:
                self.project.record(lines)
            if self._is_due():
                self.measure()
            return len(self.decided())

    def undo(self) -> list[str]:
        """Take back the last action of this step; the images that it was about."""
        with self.lock:
            undone = undo_last(self.project, REVIEWING)
            return [*undone.images] if undone else []

    def measure(self) -> None:
        """Fit and test again with the decisions so far, in the background."""
        with self.lock:
            if self._process is None or self.left is None or self.measuring:
                return
            self.measuring = True
            self.asked = self._digest()
            work = {"labels": self._labels()}
            Thread(target=self._tell, args=(self._process, work), daemon=True).start()

    def decided(self) -> dict[str, str]:
        """The labels of the images that were decided about here, "" for those kept out."""
        return {one.sha256: one.new for one in self._reviewed()}

    def _read(self) -> Record:
        """How many files were read, while that goes on; it comes before all else."""
        index = self.project.index
        return {} if index.done else {"done": len(index.files), "total": index.total, "files": True}

    def _labels(self) -> dict[str, str]:
        """The labels that decided images have now, "" for those kept out."""
        now = {i.sha256: "" if i.kept_out else i.label for i in self.project.images()}
        return {d: now[d] for d in self.decided() if d in now}

    def _digest(self) -> str:
        images = [(image.sha256, image.label) for image in self.project.images()]
        return digest_of(images, self.decided())

    def _is_current(self) -> bool:
        return self.effect is not None and self.effect["digest"] == self._digest()

    def _measured(self) -> int:
        return int(self.effect["of"]) if self.effect else 0

    def _standing(self) -> tuple[Correction, ...]:
        return corrections.read_journal(self.project.journal).standing

    def _reviewed(self) -> list[Correction]:
        return [one for one in self._standing() if one.decision in REVIEWING]

    def _is_due(self) -> bool:
        """Whether so much was decided since the last measurement that another one is due."""
        return len(self.decided()) // MEASURED > self._measured() // MEASURED

    def _shown(self, one: Record, images: dict[str, ProjectImage]) -> Record:
        beside = [
            {"sha256": digest, "label": images[digest].label}
            for digest in one["beside"]
            if digest in images
        ]
        return one | {"label": images[one["sha256"]].label, "beside": beside}

    def _tell(self, process: "subprocess.Popen[str]", value: Record) -> None:
        try:
            if process.stdin is not None:
                process.stdin.write(json.dumps(value) + "\n")
                process.stdin.flush()
        except OSError:
            pass  # it has ended, which its other end says

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            found = json.loads(line)
            with self.lock:
                if process is not self._process:
                    return
                self._heard(found["what"], found["value"], found.get("left"))
        process.wait()
        with self.lock:
            if process is self._process and not self.problem:
                self.problem = "the process that looks at the images has ended; read them again"
                self.measuring = False

    def _heard(self, what: str, value: Record, left: Record | None) -> None:
        if what == "progress":
            self.progress = value
        elif what == "error":
            self.problem, self.measuring = str(value["message"]), False
        elif what == "ready":
            self.left, self.tested = value, value["tested"]
            self._keep(next_pass(self.test, value["blind"], self.decided()))
            if not self._is_current():
                self.measure()
        else:
            self.left, self.measuring = left or self.left, False
            self.effect = value | {"digest": self.asked}
            decided = self.decided()
            done = all(one["sha256"] in decided for one in self.test)
            fresh = left["blind"] if left and done else self.test
            self._keep(next_pass(self.test, fresh, decided))
            if self._is_due():
                self.measure()
        if what != "progress":
            self.project.changed()

    def _keep(self, test: list[Record]) -> None:
        self.test = [{"sha256": one["sha256"], "doubted": one["doubted"]} for one in test]
        write_memory(self.project.home, self.effect, self.test)


def _line(image: ProjectImage, decision: str, label: str) -> Correction:
    old = image.label
    if decision == "relabel" and label == old:
        decision = "keep"
    new: Any = {"keep": old, "keep_out": "", "relabel": label}[decision]
    return Correction(decision, image.sha256, image.path, old, new)
