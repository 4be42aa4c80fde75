"""What a training is doing, of the lines that it says: those of graft.utils.progress."""

import re
from collections.abc import Sequence

from graft.app.json_routes import Record

BEGUN = re.compile(r"(?P<name>[^:]+): (?P<done>[\d,]+)(?: of (?P<total>[\d,]+))?(?: .*)?")
DONE = re.compile(r"(?P<name>[^:]+): [\d,]+ done in [\d.]+ s")
STARTING, READING, LEARNING, FINISHING = "starting", "reading", "learning", "finishing"
# How the names begin of what is read before the learning (graft.features.table), and of the
# learning itself (graft.training.recorder).
READ, LEARN = ("reading", "encoding", "checking"), ("fitting", "fine-tuning")
PROBE = "fitting the head"  # which fine-tuning begins with


def stage_of(lines: Sequence[str]) -> Record:
    """`stage`, one of the names above, with `done` and `total` of what is counted, None where that
    is not known. `lines` are the last of a training's log, which may begin with those of a training
    that was stopped before.
    """
    found, learned = _stage(STARTING), False
    for line in lines:
        if line.startswith("graft: "):  # how the one before it ended
            found, learned = _stage(STARTING), False
        elif told := DONE.fullmatch(line):
            learned = learned or (told["name"].startswith(LEARN) and told["name"] != PROBE)
            found = _stage(FINISHING if learned else READING)
        elif (told := BEGUN.fullmatch(line)) and told["name"].startswith(READ + LEARN):
            counts = [int(n.replace(",", "")) if n else None for n in told.group("done", "total")]
            learns = told["name"].startswith(LEARN)
            found = _stage(LEARNING if learns else READING, *counts)
            if learned and not learns:  # the test images are encoded at the end
                found = _stage(FINISHING)
    return found


def _stage(stage: str, done: int | None = None, total: int | None = None) -> Record:
    return {"stage": stage, "done": done, "total": total}
