import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parents[1] / "notebooks"
# What a learner replaces: `my_answer = None  # your turn` or `return None  # your turn`.
BLANK = re.compile(r"^(\s*)((?:\w+ = )|(?:return ))None  # your turn.*$", re.M)


def filled(source, answer):
    """A cell's source with the learner's answer in place of its None."""
    lines = answer.strip("\n").splitlines()
    if len(lines) == 1:
        return BLANK.sub(lambda m: f"{m[1]}{m[2]}{answer.strip()}", source, count=1)
    return BLANK.sub(lambda m: "\n".join(f"{m[1]}{line}" for line in lines), source, count=1)


class Learner:
    """Runs one notebook in a kernel of its own without network, and answers its questions."""

    def __init__(self, file, folder):
        self.notebook = nbformat.read(file, as_version=4)
        self.client = NotebookClient(
            self.notebook,
            timeout=300,
            kernel_name="python3",  # Jupyter's own name for the Python that runs this
            resources={"metadata": {"path": str(folder)}},
        )

    def run(self, i):
        """Run a cell, and what it says."""
        self.client.execute_cell(self.notebook.cells[i], i)
        return self.said(i)

    def read(self):
        """Run all cells, from top to bottom."""
        for i, cell in enumerate(self.notebook.cells):
            self.client.execute_cell(cell, i)

    def processor_seconds(self):
        """What the kernel has used so far."""
        cell = nbformat.v4.new_code_cell("import time; time.process_time()")
        self.client.execute_cell(cell, 0)
        return float(cell.outputs[-1]["data"]["text/plain"])

    def question(self, name):
        """The place of the cell that asks this."""
        found = [
            i
            for i, cell in enumerate(self.notebook.cells)
            if cell.cell_type == "code"
            and BLANK.search(cell.source)
            and re.search(rf'check\.\w+\(\s*"{re.escape(name)}"', cell.source)
        ]
        assert len(found) == 1, f"{len(found)} cells ask {name!r}"
        return found[0]

    def said(self, i):
        """What the last line of the cell shows, as plain text."""
        last = self.notebook.cells[i].outputs[-1]
        return last["data"]["text/plain"]

    def answer(self, name, answer):
        """What the notebook says to this answer."""
        i = self.question(name)
        asked = self.notebook.cells[i].source
        self.notebook.cells[i].source = filled(asked, answer)
        try:
            return self.run(i)
        finally:
            self.notebook.cells[i].source = asked
