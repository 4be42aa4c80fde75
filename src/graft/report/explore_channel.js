// One channel of one layer, and one pixel of it: where its number comes from and where it goes.
const PANEL = document.getElementById("channel"), LIVE = document.getElementById("live");
const S = { layer: null, channel: 0, y: 0, x: 0, pinned: null };
let FIGURES = [];

const EXPLAINED = {
  conv: "Sum of products", norm: "Batch normalization", pool: "Max pooling", add: "Plus the shortcut",
  relu: "ReLU", relu6: "ReLU6", gelu: "GELU", silu: "SiLU", hardswish: "Hard swish",
};

// The maps that a channel goes through within its layer.
function chainOf(n, channel) {
  if (n < 0) return [{ step: null, map: READ.get(0).map(channel), h: DATA.height, w: DATA.width, number: 0 }];
  return LAYERS[n].steps.map((step) => {
    const maps = SHOWN.get(step.out);
    return { step, map: maps.map(channel), h: maps.h, w: maps.w, number: step.out };
  });
}

// Where a pixel of the convolution is found in each later map: null once a pooling leaves it out.
function pathOf(chain, y, x) {
  let at = [y, x];
  return chain.map(({ step, h, w }) => {
    if (at && step && step.kind === "pool") {
      const to = at.map((v, axis) => Math.floor((v + step.pads[axis]) / step.stride[axis]));
      at = to[0] < h && to[1] < w ? to : null;
    }
    return at;
  });
}

// The pixel of the convolution that a pixel of its map number `index` comes from: of a pooling's
// window the largest.
function backTo(chain, index, y, x) {
  let at = [y, x];
  for (let i = index; i > 0; i--) {
    if (chain[i].step.kind !== "pool") continue;
    const before = chain[i - 1], all = windowOf(chain[i].step, ...at, before.h, before.w).filter(Boolean);
    at = all.reduce((a, b) => (before.map[b[0] * before.w + b[1]] > before.map[a[0] * before.w + a[1]] ? b : a));
  }
  return at;
}

// Shows it and scrolls there; with `focus`, a selector, it stays where it is and focuses that.
function openChannel(n, channel, y, x, focus) {
  const chain = chainOf(n, channel), last = chain[chain.length - 1];
  if (y === undefined) {
    const most = last.map.reduce((best, v, i) => (Math.abs(v) > Math.abs(last.map[best]) ? i : best), 0);
    [y, x] = backTo(chain, chain.length - 1, Math.floor(most / last.w), most % last.w);
  }
  if (S.layer !== n || S.channel !== channel) S.pinned = null;
  Object.assign(S, { layer: n, channel, y, x });
  PANEL.hidden = false;
  buildChannel();
  document.querySelectorAll(".thumb.open").forEach((node) => node.classList.remove("open"));
  const own = STRIP.querySelector(`[data-layer="${n}"][data-channel="${channel}"]`);
  if (own) own.classList.add("open");
  if (!focus) PANEL.scrollIntoView({ block: "start" });
  PANEL.querySelector(focus || ".map[tabindex]").focus({ preventScroll: true });
}

function closeChannel() {
  const own = STRIP.querySelector(`[data-layer="${S.layer}"][data-channel="${S.channel}"]`)
    || COLUMNS[S.layer + 1].node.querySelector("button");
  document.querySelectorAll(".thumb.open").forEach((node) => node.classList.remove("open"));
  PANEL.hidden = true;
  S.layer = null;
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("network").scrollIntoView({ block: "start" });
  focusInStrip(own);
}

function sentenceOf(n) {
  if (n < 0) return `An image is numbers: for each pixel how much red, green and blue, from 0 to 255. Before the network reads them, each is shifted and scaled: minus ${digits(DATA.mean[S.channel])}, divided by ${digits(DATA.std[S.channel])}.`;
  const step = LAYERS[n].steps[0], inputs = perGroup(step), [kh, kw] = step.kernel, size = inputs * kh * kw;
  const alone = step.groups > 1 && inputs === 1;
  const bias = step.bias ? ` and a bias` : "";
  return `${alone ? `Each of the ${whole(step.c)} maps has a kernel of its own (a depthwise convolution)` : `${whole(step.c)} kernels read ${n === 0 || inputs > 1 ? "all " : ""}${inputs === 3 && n === 0 ? "three colors" : inputs === 1 ? "one map" : `${whole(inputs)} maps`}`}`
    + `: ${kh} × ${kw}${alone ? "" : ` × ${whole(inputs)}`} = ${whole(size)} weights${bias} each, ${whole(step.c * size + (step.bias ? step.c : 0))} in all.`
    + ` Every pixel of this map is one sum of ${whole(size)} ${size > 1 ? "products" : "product"}.`;
}

function buildChannel() {
  const { layer: n, channel } = S, chain = chainOf(n, channel), order = ranked(n), at = order.indexOf(channel);
  const go = (by) => openChannel(n, order[(at + by + order.length) % order.length], undefined, undefined, by < 0 ? ".before" : ".after");
  const last = chain[chain.length - 1];
  FIGURES = [];
  const image = mapFigure({ title: "What it sees", h: DATA.height, w: DATA.width, draw: (canvas) => paintImage(canvas, PIXELS) });
  FIGURES.push({ ...image, image: true });
  chain.forEach(({ step, map, h, w, number }, index) => {
    const figure = mapFigure({
      title: step ? EXPLAINED[step.kind] : "As the network reads it", h, w,
      label: `${step ? EXPLAINED[step.kind] : "The image"}, ${channelName(n, channel)}, ${h} rows and ${w} columns; arrow keys move the pixel, Escape goes back`,
      draw: (canvas) => paint(canvas, map, h, w),
      onpoint: (y, x) => { [S.y, S.x] = backTo(chain, index, y, x); showPixel(); },
      onhover: (y, x) => showReach(y === null ? null : [number, y, x, map[y * w + x]], index),
      onkey: (dy, dx) => {
        const here = pathOf(chain, S.y, S.x)[index] || [h - 1, w - 1];
        const to = [Math.min(h - 1, Math.max(0, here[0] + dy)), Math.min(w - 1, Math.max(0, here[1] + dx))];
        [S.y, S.x] = backTo(chain, index, ...to);
        showPixel();
      },
    });
    FIGURES.push(figure);
  });
  const all = el("details.all", {}, el("summary", {}, shownOf(n).rows ? `The ${order.length} channels of this page (of ${whole(shownOf(n).c)}: those that ${n === LAYERS.length - 1 && DATA.head ? "add or take away most" : "vary most over this image"})` : `All ${whole(order.length)} channels`));
  all.addEventListener("toggle", () => {
    if (all.open && all.children.length === 1) {
      all.append(el(".grid-of", {}, order.map((other) => {
        const node = thumb(n, other);
        node.tabIndex = 0;
        return el("figure", {}, node, el("figcaption", {}, String(other + 1)));
      })));
    }
  });
  PANEL.replaceChildren(
    el(".bar", {}, el("h2", { id: "channel-title" }, `${titleOf(n)}, ${channelName(n, channel)}`),
      el(".buttons", {},
        el("button.before", { type: "button", onclick: () => go(-1), "aria-label": "channel before" }, "‹"),
        el("span.note", {}, `${at + 1} of ${order.length}`),
        el("button.after", { type: "button", onclick: () => go(1), "aria-label": "next channel" }, "›"),
        el("button", { type: "button", onclick: closeChannel }, "Back to the network"))),
    el("p", {}, sentenceOf(n)),
    n < 0 ? "" : el("p.note", {}, `In the code: ${LAYERS[n].name || "the first layer"}. Each map has its own scale; the color is the sign: `, el("span.tone.more", {}, "above zero"), " and ", el("span.tone.less", {}, "below"), "."),
    el(".chain", {}, FIGURES.map((f) => f.figure)),
    n < 0 ? "" : kernels(n, channel),
    el("p.hint.note", {}, `${last.h} × ${last.w} numbers leave this layer. Click a pixel of any map, or move with the arrow keys.`),
    el(".pixel", { id: "pixel" }), n < 0 ? "" : all);
  showPixel();
}

// The kernels of a channel, one for each map that it reads, on one scale.
function kernels(n, channel) {
  const step = LAYERS[n].steps[0], slot = SHOWN.get(step.out).channels.indexOf(channel), [kh, kw] = step.kernel;
  const inputs = inputsOf(step, channel), from = layerWith(step.in[0]), all = inputs.map((_, i) => kernelOf(step, slot, i));
  const most = Math.max(...all.map(extent));
  return el("div", {}, el("h3", {}, inputs.length === 1 ? "Its kernel" : `Its ${whole(inputs.length)} kernels, one for each ${from < 0 ? "color" : "map"} that it reads`),
    el(".kernels", {}, inputs.map((input, i) => {
      const canvas = el("canvas");
      paint(canvas, all[i], kh, kw, most);
      return el("button", { type: "button", title: channelName(from, input), "aria-label": `kernel for ${channelName(from, input)}`, "data-kernel": input, onclick: () => { S.pinned = input; showPixel(); } }, canvas);
    })));
}

// Frame what a pixel sees; without one, what the chosen pixel sees.
function showReach(hovered) {
  const chain = chainOf(S.layer, S.channel), path = pathOf(chain, S.y, S.x);
  const number = hovered ? hovered[0] : chain[0].number;
  const box = hovered ? receptiveField(number, hovered[1], hovered[2]) : receptiveField(number, ...path[0]);
  const image = FIGURES[0];
  place(image.frame, DATA.height, DATA.width, ...box);
  image.note.textContent = `${box[2] - box[0] + 1} × ${box[3] - box[1] + 1} pixels`;
  FIGURES.slice(1).forEach((figure, i) => {
    const at = path[i], { map, w, h, number: own } = chain[i];
    figure.frame.hidden = !at;
    if (at) place(figure.frame, h, w, ...at, ...at);
    const v = hovered && hovered[0] === own ? hovered[3] : at ? map[at[0] * w + at[1]] : null;
    figure.note.textContent = v === null ? "left out" : digits(v);
    figure.note.classList.toggle("hovering", Boolean(hovered && hovered[0] === own));
  });
}

function showPixel() {
  const { layer: n, channel, y, x } = S, chain = chainOf(n, channel), pixel = document.getElementById("pixel");
  showReach(null);
  history.replaceState(null, "", `#/${n + 1}/${channel + 1}/${y + 1}/${x + 1}`);
  const first = chain[0].map[y * chain[0].w + x];
  LIVE.textContent = `row ${y + 1}, column ${x + 1}: ${digits(first)}`;
  const title = el("h3", {}, `The pixel in row ${y + 1}, column ${x + 1}`);
  if (n < 0) {
    const raw = PIXELS[3 * (y * DATA.width + x) + channel];
    pixel.replaceChildren(title, el("ol.steps", {}, row("Pixel", `${NAMES[channel]}: ${raw}`),
      row("Normalized", `(${raw} ${MINUS} ${digits(DATA.mean[channel])}) ÷ ${digits(DATA.std[channel])} = `, first)), readers(n, channel, y, x));
    return;
  }
  const path = pathOf(chain, y, x), step = chain[0].step, parts = partsOf(step, channel, y, x);
  pixel.replaceChildren(title, products(step, parts), el("ol.steps", {}, sumRow(step, channel, parts, first),
    chain.slice(1).map((_, i) => laterRow(chain, path, i + 1))), readers(n, channel, ...(path[path.length - 1] || [null, null])));
}

// What each input channel adds to a pixel: its patch, its kernel, the products and their sum.
function partsOf(step, channel, y, x) {
  const maps = READ.get(step.in[0]), slot = SHOWN.get(step.out).channels.indexOf(channel);
  const [kh, kw] = step.kernel;
  return inputsOf(step, channel).map((input, i) => {
    const map = maps.map(input), kernel = kernelOf(step, slot, i);
    const top = y * step.stride[0] - step.pads[0], left = x * step.stride[1] - step.pads[1];
    const patch = [], outside = [], product = [];
    for (let ky = 0; ky < kh; ky++) {
      for (let kx = 0; kx < kw; kx++) {
        const iy = top + ky * step.dilation[0], ix = left + kx * step.dilation[1];
        const inside = iy >= 0 && ix >= 0 && iy < maps.h && ix < maps.w;
        const v = inside ? map[iy * maps.w + ix] : 0;
        patch.push(v);
        outside.push(!inside);
        product.push(v * kernel[ky * kw + kx]);
      }
    }
    const box = [top, left, top + (kh - 1) * step.dilation[0], left + (kw - 1) * step.dilation[1]];
    return { input, patch, kernel: [...kernel], outside, product, box, map, sum: product.reduce((a, b) => a + b, 0) };
  });
}

function products(step, parts) {
  const from = layerWith(step.in[0]), order = from < 0 ? parts : [...parts].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
  const most = Math.max(...parts.map((part) => Math.abs(part.sum))), single = step.kernel[0] * step.kernel[1] === 1;
  const pinned = order.find((part) => part.input === S.pinned);
  const shown = (pinned ? [pinned, ...order.filter((part) => part !== pinned)] : order).slice(0, step.kernel[0] > 3 || single ? 1 : 3);
  const list = el("ul.parts", { "aria-label": "what each input channel adds" }, order.map((part) => el("li", {}, el("button.part" + (shown.includes(part) ? ".chosen" : ""), {
    type: "button", "data-input": part.input, "aria-pressed": String(shown.includes(part)),
    onclick: () => { S.pinned = part.input; showPixel(); PANEL.querySelector(`[data-input="${part.input}"]`).focus(); },
  }, el("span", {}, channelName(from, part.input)), single ? el("span.note", {}, `${digits(part.patch[0])} × ${bracketed(part.kernel[0])}`) : "",
  el("span.signed", { "aria-hidden": "true" }, el("i." + (part.sum < 0 ? "less" : "more"), { style: { width: `${(50 * Math.abs(part.sum)) / (most || 1)}%` } })),
  el("b.number", {}, digits(part.sum))))));
  const blocks = shown.map((part) => block(step, from, part));
  const many = parts.length > shown.length;
  return el(".products" + (many ? "" : ".few") + (single ? ".single" : ""), {}, el(".blocks", {}, blocks), many ? el("div", {}, el("h4", {}, `What each of the ${whole(parts.length)} ${from < 0 ? "colors" : "maps"} adds`), list) : "");
}

function block(step, from, part) {
  const [kh, kw] = step.kernel, small = kh > 7, maps = READ.get(step.in[0]);
  const figure = mapFigure({ title: "", h: maps.h, w: maps.w, draw: (canvas) => paint(canvas, part.map, maps.h, maps.w) });
  place(figure.frame, maps.h, maps.w, ...part.box);
  const partial = from >= 0 && !SHOWN.get(outputOf(LAYERS[from])).map(part.input);
  const middle = [Math.round((part.box[0] + part.box[2]) / 2), Math.round((part.box[1] + part.box[3]) / 2)];
  const back = () => {
    const chain = chainOf(from, part.input), last = chain[chain.length - 1];
    const y = Math.min(last.h - 1, Math.max(0, middle[0])), x = Math.min(last.w - 1, Math.max(0, middle[1]));
    openChannel(from, part.input, ...backTo(chain, chain.length - 1, y, x), ".map[tabindex]");
  };
  return el(".block", { "data-input": part.input }, el("h4", {}, from < 0 ? `${NAMES[part.input]} of the image` : `${channelName(from, part.input)} of convolution ${from + 1}`,
    partial ? el("small.note", {}, "its own kernel is not on this page") : el("button.link", { type: "button", onclick: back }, from < 0 ? "see it" : "where it comes from")),
  el(".equation", {}, el(".source", { "aria-hidden": "true" }, figure.box),
    named("patch", matrix(part.patch, kh, kw, { label: "patch", outside: part.outside, small })), el("span.sign", {}, "×"),
    named("kernel", matrix(part.kernel, kh, kw, { label: "kernel", small })), el("span.sign", {}, "="),
    named("products", matrix(part.product, kh, kw, { label: "products", small })), el("span.sign", {}, "→"),
    named("their sum", el("b.number.sum", {}, digits(part.sum)))));
}
const named = (name, node) => el(".named", {}, node, el("small", {}, name));

// One line of arithmetic that ends in a number.
function row(name, equation, result, note, more) {
  return el("li", {}, el("b", {}, name), el("span.equals", {}, equation, result === undefined ? "" : el("strong.number", {}, digits(result))), more || "", note ? el("small.note", {}, note) : "");
}

function sumRow(step, channel, parts, result) {
  const bias = tensor(step.bias), slot = SHOWN.get(step.out).channels.indexOf(channel);
  const sum = parts.reduce((total, part) => total + part.sum, 0);
  const written = parts.length < 5 ? parts.map((part, i) => (i ? bracketed(part.sum) : digits(part.sum))).join(" + ")
    : `the ${whole(parts.length)} sums together${bias ? `, ${digits(sum)},` : ""}`;
  return row("Sum", written + (bias ? ` + bias ${bracketed(bias[slot])}` : "") + " = ", result,
    bias ? "" : "No bias: the normalization that follows has a shift of its own.");
}

function laterRow(chain, path, i) {
  const { step, map, w } = chain[i], before = chain[i - 1], at = path[i], from = path[i - 1];
  const name = EXPLAINED[step.kind];
  if (!from) return row(name, "not reached: the pooling left this pixel out");
  const v = before.map[from[0] * before.w + from[1]], slot = SHOWN.get(step.out).channels.indexOf(S.channel);
  if (step.kind === "pool") return poolRow(chain, path, i, name);
  const result = map[at[0] * w + at[1]];
  if (step.kind === "norm") {
    const [scale, shift] = scaleShift(step, slot), [mean, variance, weight, bias] = ["mean", "var", "weight", "bias"].map((key) => tensor(step[key])[slot]);
    return row(name, `(${digits(v)} ${MINUS} ${bracketed(mean)}) ÷ √(${digits(variance)} + ${step.eps}) × ${bracketed(weight)} + ${bracketed(bias)} = `, result,
      `Mean and variance are those of the training images; the other two were learned. Together: × ${digits(scale)}, then + ${bracketed(shift)}.`);
  }
  if (step.kind === "add") {
    const other = otherInput(LAYERS[S.layer], step), where = layerWith(other), maps = READ.get(other);
    return row(name, `${digits(v)} + ${bracketed(maps.map(S.channel)[at[0] * maps.w + at[1]])} = `, result,
      `The shortcut: what ${where < 0 ? "the image" : `convolution ${where + 1}`} gave at this place is added, so that the layers between need to learn only the difference.`);
  }
  const said = {
    relu: [`max(0, ${digits(v)}) = `, "Below zero becomes zero."], relu6: [`min(6, max(0, ${digits(v)})) = `, "Below zero becomes zero, above six becomes six."],
    gelu: [`${digits(v)} × Φ(${digits(v)}) = ${digits(v)} × ${digits(v ? result / v : 0.5)} = `, "Φ is the normal distribution: a ReLU with a soft bend."],
    silu: [`${digits(v)} ÷ (1 + e^${bracketed(-v)}) = `, "A ReLU with a soft bend."], hardswish: [`${digits(v)} × min(6, max(0, ${digits(v)} + 3)) ÷ 6 = `, "A ReLU with a bend."],
  };
  return row(name, said[step.kind][0], result, said[step.kind][1]);
}

function poolRow(chain, path, i, name) {
  const { step, map, w } = chain[i], before = chain[i - 1], at = path[i], from = path[i - 1];
  if (!at) return row(name, "left out", undefined, `${before.h} × ${before.w} pixels do not divide by ${step.stride[0]}: the last row and column are in no window.`);
  const cells = windowOf(step, ...at, before.h, before.w);
  const values = cells.map((cell) => (cell ? before.map[cell[0] * before.w + cell[1]] : 0));
  const own = cells.findIndex((cell) => cell && cell[0] === from[0] && cell[1] === from[1]);
  const table = matrix(values, ...step.kernel, { label: "window", marks: [own], outside: cells.map((cell) => !cell) });
  table.querySelectorAll("td").forEach((cell, k) => {
    if (cells[k]) cell.addEventListener("click", () => { [S.y, S.x] = backTo(chain.slice(0, i), i - 1, ...cells[k]); showPixel(); });
  });
  const result = map[at[0] * w + at[1]], wins = values[own] === result;
  return row(name, `the largest of ${step.kernel[0]} × ${step.kernel[1]} = `, result,
    wins ? "The pixel above (framed) is the largest, and stays." : "Another pixel is larger: the one above (framed) ends here. Click a number to look at it.", table);
}

// The layers that read this value next, or the features.
function readers(n, channel, y, x) {
  const own = n < 0 ? 0 : outputOf(LAYERS[n]), found = [];
  LAYERS.forEach((layer, to) => {
    const step = layer.steps[0];
    if (step.in[0] !== own || y === null) return;
    found.push(el("button", { type: "button", onclick: () => {
      const order = ranked(to).filter((c) => inputsOf(step, c).includes(channel)), next = order[0];
      const at = [y, x].map((v, a) => Math.min(step.shape[1 + a] - 1, Math.max(0, Math.floor((v + step.pads[a] - (step.kernel[a] - 1) / 2) / step.stride[a]))));
      openChannel(to, next, ...at, ".map[tabindex]");
      S.pinned = channel;
      showPixel();
    } }, `Follow it into convolution ${to + 1}`));
  });
  if (DATA.head && n === LAYERS.length - 1) found.push(el("button", { type: "button", onclick: () => { chooseFeature(CHOSEN.k, channel); document.getElementById("head").scrollIntoView(); } }, "Follow it into the features"));
  return el("p.next", {}, found);
}
