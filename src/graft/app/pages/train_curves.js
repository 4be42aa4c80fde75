// Curves of a training, drawn as SVG: a line for each of some numbers, by epoch.

const SPACE = { width: 420, height: 190, left: 40, right: 16, top: 12, bottom: 26 };

function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// Round numbers that hold all values, and lines between them.
function scale(values, least, most) {
  const low = Math.min(least ?? Infinity, ...values);
  const high = Math.max(most ?? -Infinity, ...values);
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10].find((s) => (high - low) / s <= 4) ?? high - low;
  const to = Math.ceil(high / step - 1e-9) * step;
  const from = Math.min(Math.floor(low / step + 1e-9) * step, to - step); // nothing is above 100 %
  const ticks = [];
  for (let tick = from; tick <= to + step / 2; tick += step) ticks.push(tick);
  return { from, to, ticks };
}

// `lines` are [{name, values}], each with a value or null for each epoch; `label` is for those who
// cannot see it.
export function draw(place, lines, { label, format, least = null, most = null }) {
  const { width, height, left, right, top, bottom } = SPACE;
  const known = lines.flatMap((line) => line.values).filter((value) => value !== null);
  if (!known.length) {
    place.replaceChildren();
    return;
  }
  const count = Math.max(...lines.map((line) => line.values.length));
  const { from, to, ticks } = scale(known, least, most);
  const x = (epoch) => left + ((width - left - right) * (epoch - 1)) / Math.max(1, count - 1);
  const y = (value) => top + (height - top - bottom) * (1 - (value - from) / (to - from));
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const tick of ticks) {
    picture.append(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, format(tick)),
    );
  }
  for (const epoch of new Set([1, count])) {
    picture.append(svg("text", { x: x(epoch), y: height - 8, "text-anchor": "middle" }, epoch));
  }
  lines.forEach((line, i) => {
    const kind = i ? " second" : "";
    const points = line.values.map((value, n) => (value === null ? null : [x(n + 1), y(value)]));
    const some = points.filter(Boolean);
    picture.append(svg("polyline", { class: `line${kind}`, points: some.map((p) => p.join(",")).join(" ") }));
    const last = some.at(-1);
    if (!last) return;
    picture.append(svg("circle", { class: `dot${kind}`, cx: last[0], cy: last[1], r: 3.5 }));
    if (line.name) { // in the corner that falling lines leave free, one below the other
      const [end, row] = [width - right, top + 12 + 16 * i];
      picture.append(svg("text", { class: `name${kind}`, x: end, y: row, "text-anchor": "end" }, line.name));
    }
  });
  place.replaceChildren(picture);
}
