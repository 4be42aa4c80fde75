// A convolution of any size on paper: what comes out, and what cannot be.
const GRID = document.getElementById("grid"), FORMULA = document.getElementById("formula"), VERDICT = document.getElementById("verdict");
const FIELDS = ["size", "kernel", "padding", "stride"].map((name) => document.getElementById(`play-${name}`));
const PLAY = { y: 0, x: 0, timer: null };
const DRAWN = 16;

function playground() {
  const [n, k, p, s] = FIELDS.map((field) => field.valueAsNumber), fits = [1, 1, 0, 1];
  const bad = FIELDS.map((field, i) => !(Number.isInteger(field.valueAsNumber) && field.valueAsNumber >= fits[i] && field.valueAsNumber <= Number(field.max)));
  stopSlide();
  if (bad.some(Boolean)) return playResult(bad, "Whole numbers, please: size, kernel and stride of at least 1, padding of at least 0.", null);
  const room = n + 2 * p - k, out = Math.floor(room / s) + 1, rest = room % s;
  const formula = `⌊(${n} + 2 × ${p} ${MINUS} ${k}) ÷ ${s}⌋ + 1 = ⌊${room < 0 ? MINUS + -room : room} ÷ ${s}⌋ + 1 = ${room < 0 ? "nothing" : out}`;
  if (room < 0) return playResult([true, true, true, false], `Impossible: a kernel of ${k} does not fit into ${n} + 2 × ${p} = ${n + 2 * p} pixels. Take a smaller kernel, or more padding.`, formula);
  const same = s === 1 && out === n ? " As large as the input: this is called “same” padding." : p === 0 ? " Without padding: “valid”." : "";
  if (p >= k) return playResult([false, true, true, false], `Possible, but wasteful: with padding ${p} and kernel ${k}, the outermost windows see nothing but padding.`, formula, out, "careful");
  if (rest) return playResult([false, false, false, true], `Does not come out even: the last ${rest === 1 ? "row and column are" : `${rest} rows and columns are`} in no window (hatched). PyTorch rounds down and says nothing.`, formula, out, "careful");
  return playResult([false, false, false, false], `Possible: ${out} × ${out} numbers come out.${same}`, formula, out, "fine");
}

function playResult(bad, verdict, formula, out = 0, kind = "impossible") {
  FIELDS.forEach((field, i) => field.setAttribute("aria-invalid", String(bad[i])));
  FORMULA.textContent = formula || "";
  VERDICT.textContent = verdict;
  VERDICT.className = `verdict ${kind}`;
  GRID.replaceChildren();
  document.getElementById("slide").disabled = !out;
  if (!out) return;
  const [n, k, p, s] = FIELDS.map((field) => field.valueAsNumber), size = n + 2 * p;
  if (size > DRAWN) return GRID.append(el("p.note", {}, `Drawn up to ${DRAWN} pixels with padding; the formula holds for any size.`));
  const read = (out - 1) * s + k;
  const board = (count, kind, name) => el(`.board.${kind}`, { style: { gridTemplateColumns: `repeat(${count}, 1fr)`, width: `${count * 1.65}rem` }, role: "img", "aria-label": name },
    Array.from({ length: count * count }, (_, i) => {
      const y = Math.floor(i / count), x = i % count, outside = kind === "in" && (y < p || x < p || y >= n + p || x >= n + p);
      const missed = kind === "in" && (y >= read || x >= read);
      const cell = el("span" + (outside ? ".pad" : "") + (missed ? ".missed" : ""), {}, outside ? "0" : "");
      if (kind === "out") cell.addEventListener("pointerenter", () => { stopSlide(); pointAt(y, x); });
      return cell;
    }));
  GRID.append(el("figure", {}, board(size, "in", `input of ${n} × ${n} with padding ${p}`), el("figcaption.note", {}, `input ${n} × ${n}${p ? `, padding ${p}` : ""}`)),
    el("figure", {}, board(out, "out", `output of ${out} × ${out}`), el("figcaption.note", {}, `output ${out} × ${out}: point at one`)));
  pointAt(Math.min(PLAY.y, out - 1), Math.min(PLAY.x, out - 1));
}

function pointAt(y, x) {
  const [n, k, p, s] = FIELDS.map((field) => field.valueAsNumber), size = n + 2 * p, out = Math.floor((size - k) / s) + 1;
  Object.assign(PLAY, { y, x });
  GRID.querySelectorAll(".in span").forEach((cell, i) => {
    const iy = Math.floor(i / size), ix = i % size;
    cell.classList.toggle("seen", iy >= y * s && iy < y * s + k && ix >= x * s && ix < x * s + k);
  });
  GRID.querySelectorAll(".out span").forEach((cell, i) => cell.classList.toggle("made", i === y * out + x));
}

function stopSlide() {
  clearInterval(PLAY.timer);
  PLAY.timer = null;
  document.getElementById("slide").textContent = "Slide the kernel";
}
function slide() {
  if (PLAY.timer) return stopSlide();
  document.getElementById("slide").textContent = "Stop";
  PLAY.timer = setInterval(() => {
    const out = Math.sqrt(GRID.querySelectorAll(".out span").length), next = (PLAY.y * out + PLAY.x + 1) % (out * out);
    if (out) pointAt(Math.floor(next / out), next % out);
  }, 450);
}

function startPlayground() {
  FIELDS.forEach((field) => field.addEventListener("input", playground));
  document.getElementById("slide").addEventListener("click", slide);
  const seen = new Set(), presets = [["a small example", 5, 2, 0, 1]];
  LAYERS.forEach((layer, n) => {
    const step = layer.steps[0], shape = layer.steps[0].in[0] === 0 ? [3, DATA.height, DATA.width] : DATA.shapes[step.in[0]];
    const key = [shape[1], step.kernel[0], step.pads[0], step.stride[0]];
    if (seen.size < 5 && !seen.has(String(key)) && step.pads[0] === step.pads[2]) {
      seen.add(String(key));
      presets.push([`convolution ${n + 1} of this network`, ...key]);
    }
  });
  document.getElementById("presets").replaceChildren(...presets.map(([name, ...values]) => el("button", {
    type: "button", onclick: () => { FIELDS.forEach((field, i) => { field.value = values[i]; }); playground(); },
  }, name)));
  playground();
}
