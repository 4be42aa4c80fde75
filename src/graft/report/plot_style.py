"""How all plots look, and how a figure becomes an SVG that stands straight in a page.

Text stays text and colors are the page's own variables, so a plot follows the page's fonts and its
light or dark scheme. Nothing here needs pyplot, whose import and global state cost more than the
drawing.
"""

import html
import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Stand-ins that matplotlib can parse, for page variables that it cannot; the second color is for
# a reader without the page's style sheet.
INK, MUTED, RULE, ACCENT, SECOND = "#010203", "#010204", "#010205", "#010206", "#010207"
PAGE_COLORS = {
    INK: "var(--ink, #1d2723)",
    MUTED: "var(--muted, #5c6963)",
    RULE: "var(--rule, #d9e0dc)",
    ACCENT: "var(--accent, #0f6b5c)",
    SECOND: "var(--second, #b0762c)",
}


def frame(ink: str, muted: str, rule: str) -> dict[Any, Any]:
    """Matplotlib settings that plots on pages and slides share, in these colors."""
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib; a page's own font is used on display
        "axes.edgecolor": rule,
        "axes.labelcolor": muted,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": rule,
        "text.color": ink,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        # What the plots rely on, whatever a notebook has set for its own.
        "axes.titlelocation": "center",
        "figure.constrained_layout.use": False,
    }


STYLE = frame(INK, MUTED, RULE) | {
    "font.size": 9,
    "svg.fonttype": "none",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
}
PERCENT = FuncFormatter(lambda fraction, _: f"{100 * fraction:.4g}\u00a0%")
RIGHT_RGB, WRONG_RGB = (20, 124, 107), (190, 92, 44)  # legible on a light and on a dark page


def svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an `<svg>` element that can stand beside others in one page. `name` keeps its
    ids apart from theirs; `label` is read to those who cannot see it.
    """
    buffer = io.StringIO()
    nobody = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nobody)
    _, _, root = buffer.getvalue().partition("<svg")
    attributes, _, body = root.partition(">")
    # matplotlib's <style> would apply to the whole page; its one rule is on the root element below.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    needed = set(re.findall(r'(?:href="|url\()#([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in needed else "", body)
    body = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", body)
    for stand_in, color in PAGE_COLORS.items():
        body = body.replace(stand_in, color)
    box = re.search(r'viewBox="[^"]*"', attributes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box[0] if box else ""} role="img" '
        f'aria-label="{html.escape(label)}" '
        f'style="stroke-linejoin: round; stroke-linecap: butt">{body}'
    )
