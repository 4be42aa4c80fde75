// Numbers as text and maps as images.
const MINUS = "\u2212", SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

// Four digits of any number: 0.5765, −12.34, 4.851 × 10⁸.
function digits(v) {
  if (v === null || v === undefined) return "";
  if (v === 0) return "0";
  const size = Math.abs(v), sign = v < 0 ? MINUS : "";
  if (size >= 1e-4 && size < 99995) return sign + (size >= 999.95 ? Math.round(size).toString() : Number(size).toPrecision(4));
  const [mantissa, power] = size.toExponential(3).split("e");
  const raised = [...String(Math.abs(power))].map((digit) => SUPERSCRIPTS[digit]).join("");
  return `${sign}${mantissa} × 10${power < 0 ? "⁻" : ""}${raised}`;
}
const bracketed = (v) => (v < 0 ? `(${digits(v)})` : digits(v));
const percent = (p) => (p > 0.9995 && p < 1 ? "> 99.9 %" : p < 0.0005 && p > 0 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`);
const whole = (n) => Math.round(n).toLocaleString("en-US");

// An element with attributes and children; text is text, never markup.
function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag || "div");
  if (classes.length) made.className = classes.join(" ");
  for (const [key, v] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), v);
    else if (key === "style") Object.assign(made.style, v);
    else if (v !== null && v !== undefined && v !== false) made.setAttribute(key, v === true ? "" : v);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

// Zero is the paper's color; more is the accent, less is the warm color. Of a map without zeros, the
// smallest value is nearly the paper's, so that what varies can be seen.
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
function tones() {
  return DARK.matches
    ? { zero: [24, 30, 28], more: [126, 222, 198], less: [246, 150, 96] }
    : { zero: [250, 250, 247], more: [6, 74, 63], less: [178, 74, 22] };
}

function paint(canvas, map, h, w, scale) {
  const { zero, more, less } = tones(), largest = scale || extent(map), signed = map.some((v) => v * map[0] <= 0);
  const smallest = scale || signed ? 0 : 0.8 * map.reduce((least, v) => Math.min(least, Math.abs(v)), Infinity);
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d"), image = context.createImageData(w, h);
  for (let i = 0; i < map.length; i++) {
    const share = largest ? Math.min(1, Math.max(0, Math.abs(map[i]) - smallest) / (largest - smallest)) ** 0.75 : 0, end = map[i] < 0 ? less : more;
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = zero[k] + (end[k] - zero[k]) * share;
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function paintImage(canvas, pixels) {
  canvas.width = DATA.width;
  canvas.height = DATA.height;
  const context = canvas.getContext("2d"), image = context.createImageData(DATA.width, DATA.height);
  for (let i = 0; i < DATA.width * DATA.height; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = pixels[3 * i + k];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

const extent = (map) => map.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

// How much a map varies: its standard deviation.
function spread(map) {
  const mean = map.reduce((a, b) => a + b, 0) / map.length;
  return Math.sqrt(map.reduce((a, b) => a + (b - mean) ** 2, 0) / map.length);
}

// A number's color, as a tint behind its text.
function tint(v, largest) {
  const share = largest ? Math.min(1, Math.abs(v) / largest) : 0;
  return `rgb(var(--${v < 0 ? "miss" : "hit"}) / ${(0.5 * share).toFixed(3)})`;
}

// A small table of numbers. `marks`: cells to set off; `outside`: cells that are padding.
function matrix(cells, rows, columns, { largest, label, marks = [], outside = [], small = false } = {}) {
  const most = largest || extent(cells);
  const table = el("table.matrix-of" + (small ? ".tiny" : ""), { "aria-label": label });
  for (let y = 0; y < rows; y++) {
    const row = el("tr");
    for (let x = 0; x < columns; x++) {
      const i = y * columns + x, v = cells[i];
      const cell = el("td" + (marks.includes(i) ? ".marked" : "") + (outside[i] ? ".outside" : ""), {
        style: { backgroundImage: `linear-gradient(${tint(v, most)}, ${tint(v, most)})` },
        title: outside[i] ? "padding: outside the map, so 0" : digits(v),
      });
      if (!small) cell.textContent = digits(v);
      row.append(cell);
    }
    table.append(row);
  }
  return table;
}

// A map as large as its figure, with a frame around one pixel or an area of it.
function mapFigure({ title, draw, h, w, label, onpoint, onhover, onkey }) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const frame = el("span.frame"), hovered = el("span.frame.hovered");
  const box = el(".map", { style: { aspectRatio: `${w} / ${h}` } }, canvas, frame, hovered);
  if (onpoint) {
    box.tabIndex = 0;
    box.setAttribute("role", "application");
    box.setAttribute("aria-label", label);
    const at = (event) => {
      const area = box.getBoundingClientRect();
      const y = Math.floor(((event.clientY - area.top) / area.height) * h);
      const x = Math.floor(((event.clientX - area.left) / area.width) * w);
      return [Math.min(h - 1, Math.max(0, y)), Math.min(w - 1, Math.max(0, x))];
    };
    box.addEventListener("click", (event) => onpoint(...at(event)));
    box.addEventListener("pointermove", (event) => {
      const [y, x] = at(event);
      place(hovered, h, w, y, x, y, x);
      if (onhover) onhover(y, x);
    });
    box.addEventListener("pointerleave", () => {
      hovered.hidden = true;
      if (onhover) onhover(null, null);
    });
    box.addEventListener("keydown", (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (move && !event.altKey && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        onkey(...move.map((by) => by * (event.shiftKey ? 5 : 1)));
      }
    });
  }
  hovered.hidden = true;
  draw(canvas);
  const note = el("span.value");
  const figure = el("figure.step", {}, box, el("figcaption", {}, el("b", {}, title), note));
  return { figure, canvas, frame, note, box, draw: () => draw(canvas) };
}

// Frame an area of a map, given its first and last row and column.
function place(frame, h, w, top, left, bottom, right) {
  const [t, l, b, r] = [Math.max(0, top), Math.max(0, left), Math.min(h - 1, bottom), Math.min(w - 1, right)];
  frame.hidden = b < t || r < l;
  Object.assign(frame.style, {
    top: `${(100 * t) / h}%`, left: `${(100 * l) / w}%`,
    height: `${(100 * (b - t + 1)) / h}%`, width: `${(100 * (r - l + 1)) / w}%`,
  });
}
