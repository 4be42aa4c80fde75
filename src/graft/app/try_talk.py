"""The chat of step Try: `graft.Chat` about the image that is tried, one talk for each tab."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from graft.app.chat_page_routes import first_questions, refuse_long
from graft.app.json_routes import Record
from graft.app.results_runs import predictor_of
from graft.app.try_answer import explained
from graft.app.try_images import TriedImage
from graft.chat.conversation import Chat
from graft.report.chat_page import answer_data
from graft.runs.run import Run

TALKS = 8  # that are held in memory; an older one is begun anew from its last questions
AGAIN = 2  # questions of which a talk is begun anew: a follow-up is about the last


class Talks:
    """The talks that are going on, by tab and image."""

    def __init__(self) -> None:
        self.talks: OrderedDict[tuple[str, str, str], tuple[Chat, Lock]] = OrderedDict()
        self.lock = Lock()

    def ask(
        self, run: Run, image: TriedImage | None, tab: str, before: Sequence[str], text: str
    ) -> Record:
        """The answer to a question, as the page of `graft chat --serve` takes it.

        `before` are the questions of this talk so far: after a restart the last of them are asked
        again, so that "and why?" still has something to be about.
        """
        refuse_long(text)
        chat, lock, new = self._talk(run, image, tab)
        with lock:  # one talk: a question at a time
            for earlier in before[-AGAIN:] if new else ():
                chat.ask(earlier)
            found = chat.ask(text)
        return answer_data(found.to_json(), found.shown)

    def _talk(self, run: Run, image: TriedImage | None, tab: str) -> tuple[Chat, Lock, bool]:
        key = (str(run.path), image.sha256 if image else "", tab)
        with self.lock:
            new = key not in self.talks
            if new:
                self.talks[key] = chat_about(run, image), Lock()
                while len(self.talks) > TALKS:
                    self.talks.popitem(last=False)
            self.talks.move_to_end(key)
            return *self.talks[key], new


def chat_about(run: Run, image: TriedImage | None) -> Chat:
    """A chat that shares the classifier of the page and its way of explaining, and that speaks of
    the steps of the app instead of commands.
    """
    chat = Chat(run.path, [image.file] if image else [])
    chat.subject.predictor, chat.subject.explain = predictor_of(run), explained
    chat.subject.in_app = True
    return chat


def questions(run: Run, image: TriedImage | None) -> list[str]:
    """Questions to begin with."""
    return first_questions(chat_about(run, image).subject)
