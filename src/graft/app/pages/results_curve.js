// The curve of step Results: what is answered and what is wrong, by threshold.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 34, RIGHT = 392, TOP = 8, BOTTOM = 192;
const x = (least) => LEFT + least * (RIGHT - LEFT);
const y = (share) => BOTTOM - share * (BOTTOM - TOP);

function drawn(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

const line = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");

// Rows have min_probability, answered, wrong and error_interval; the first answers everything.
export function drawCurve(svg, rows) {
  const n = rows[0].answered;
  const some = rows.filter((row) => row.answered);
  const at = (row) => x(row.min_probability);
  const high = some.map((row) => [at(row), y(row.error_interval[1])]);
  const low = some.map((row) => [at(row), y(row.error_interval[0])]).reverse();
  const axes = [0, 0.5, 1].flatMap((share) => [
    drawn("line", { class: "axis", x1: LEFT, x2: RIGHT, y1: y(share), y2: y(share) }),
    drawn("text", { x: LEFT - 4, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`),
    drawn("text", { x: x(share), y: BOTTOM + 18, "text-anchor": share === 1 ? "end" : "middle" }, `${100 * share} %`),
  ]);
  svg.replaceChildren(
    ...axes,
    drawn("path", { class: "band", d: `${line([...high, ...low])}Z` }),
    drawn("path", { class: "good", d: line(rows.map((row) => [at(row), y(row.answered / n)])) }),
    drawn("path", { class: "bad", d: line(some.map((row) => [at(row), y(row.wrong / row.answered)])) }),
    drawn("line", { class: "now", y1: TOP, y2: BOTTOM }),
  );
}

// The threshold that is chosen, as a dashed line.
export function moveCurve(svg, least) {
  const now = svg.querySelector(".now");
  for (const end of ["x1", "x2"]) now.setAttribute(end, x(least));
}
