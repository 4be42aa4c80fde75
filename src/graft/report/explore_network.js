// The row of stages: the image, each convolution's maps, and the classes.
const STRIP = document.getElementById("strip"), EDGES = document.getElementById("edges");
const READOUT = document.getElementById("readout");
const THUMBS = 8;
const NAMES = ["red", "green", "blue"];
const COLUMNS = [];
let PIXELS = null;

const titleOf = (n) => (n < 0 ? "Image" : `Convolution ${n + 1}`);
const shapeOf = (shape) => `${whole(shape[0])} × ${shape[1]} × ${shape[2]}`;
const channelName = (n, channel) => (n < 0 ? `${NAMES[channel]}` : `channel ${channel + 1}`);
const shownOf = (n) => SHOWN.get(n < 0 ? 0 : outputOf(LAYERS[n]));

// The channels of a layer, those that vary most over the image first; an image's as they are. Of
// the last layer, those first that add most to the best class, or take most away.
function ranked(n) {
  const maps = shownOf(n);
  if (n === LAYERS.length - 1 && DATA.head) {
    const answer = ANSWER || classified(), order = byContribution(answer, bestOf(answer));
    return order.map(({ f }) => f.channel).filter((channel) => maps.map(channel));
  }
  if (n < 0 || maps.rows) return maps.channels;
  const spreads = maps.channels.map((channel) => spread(maps.map(channel)));
  return [...maps.channels].sort((a, b) => spreads[b] - spreads[a]);
}

function thumb(n, channel) {
  const maps = shownOf(n), canvas = el("canvas");
  const button = el("button.thumb", {
    type: "button", tabindex: "-1", "data-layer": n, "data-channel": channel,
    "aria-label": `${titleOf(n)}, ${channelName(n, channel)}: open`,
    onclick: () => openChannel(n, channel),
    onfocus: () => highlight(n, channel),
    onpointerenter: () => highlight(n, channel),
    onpointermove: (event) => {
      const area = canvas.getBoundingClientRect();
      const y = Math.floor(((event.clientY - area.top) / area.height) * maps.h);
      const x = Math.floor(((event.clientX - area.left) / area.width) * maps.w);
      if (y >= 0 && x >= 0 && y < maps.h && x < maps.w) peek(n, channel, y, x);
    },
    onpointerleave: () => { unpeek(); highlight(null); },
  }, canvas);
  paint(canvas, maps.map(channel), maps.h, maps.w);
  return button;
}

// What the pixel under the pointer is, and what it sees of the image.
function peek(n, channel, y, x) {
  const maps = shownOf(n), v = maps.map(channel)[y * maps.w + x];
  const box = receptiveField(n < 0 ? 0 : outputOf(LAYERS[n]), y, x);
  place(COLUMNS[0].frame, DATA.height, DATA.width, ...box);
  READOUT.textContent = `${titleOf(n)}, ${channelName(n, channel)}, row ${y + 1}, column ${x + 1}: ${digits(v)}`
    + (n < 0 ? "" : ` · sees ${box[2] - box[0] + 1} × ${box[3] - box[1] + 1} pixels of the image`);
}
function unpeek() {
  COLUMNS[0].frame.hidden = true;
  READOUT.textContent = READOUT.dataset.rest;
}

function column(n, node) {
  STRIP.append(node);
  COLUMNS.push({ n, node, thumbs: [...node.querySelectorAll(".thumb")] });
  return COLUMNS[COLUMNS.length - 1];
}

function imageColumn() {
  const canvas = el("canvas"), frame = el("span.frame");
  frame.hidden = true;
  paintImage(canvas, PIXELS);
  const made = column(-1, el(".column.image", {},
    el("span.head", {}, el("b", {}, "Image"), el("small", {}, `${DATA.width} × ${DATA.height} pixels`)),
    el(".map", { style: { aspectRatio: `${DATA.width} / ${DATA.height}` } }, canvas, frame),
    el(".three", {}, [0, 1, 2].map((channel) => thumb(-1, channel))),
    el("small", {}, "red, green, blue")));
  made.frame = frame;
}

function layerColumn(n) {
  const layer = LAYERS[n], step = layer.steps[0], maps = shownOf(n), order = ranked(n).slice(0, THUMBS);
  column(n, el(".column", {},
    el("button.head", { type: "button", tabindex: "-1", "aria-label": `${titleOf(n)}: all its maps`, onclick: () => openChannel(n, ranked(n)[0]) },
      el("b", {}, `Conv ${n + 1}`), el("small", {}, `${step.kernel.join(" × ")}${step.stride[0] > 1 ? `, stride ${step.stride[0]}` : ""}`),
      el("small", {}, layer.steps.slice(1).map((s) => SHORT[s.kind]).join(", "))),
    el(".thumbs", {}, order.map((channel) => thumb(n, channel))),
    el("small", {}, shapeOf([maps.c, maps.h, maps.w]))));
}

const SHORT = { norm: "norm", pool: "max pool", add: "add", relu: "ReLU", relu6: "ReLU6", gelu: "GELU", silu: "SiLU", hardswish: "hard swish" };

function restColumn() {
  const rest = DATA.convolutions - LAYERS.length;
  column(LAYERS.length, el(".column.rest", {}, el("span.head", {}, el("b", {}, "From here on")),
    el("p", {}, rest > 0 ? `${whole(rest)} more convolutions and the head do the same with ever smaller maps. They are not on this page; what comes out stands to the right.`
      : "The rest of this network is no convolution. What comes out stands to the right.")));
}

function featureColumn(answer) {
  const best = bestOf(answer), all = byContribution(answer, best), most = Math.abs(all[0].part);
  const list = ranked(LAYERS.length - 1).slice(0, THUMBS).map((channel) => all.find(({ f }) => f.channel === channel));
  column(LAYERS.length, el(".column.features", {},
    el("a.head", { href: "#head", tabindex: "-1" }, el("b", {}, "Features"), el("small", {}, DATA.head.pool === "max" ? "largest of each map" : "mean of each map"), el("small", {}, "then × weight")),
    el(".thumbs", {}, list.map(({ f, part }) => el("button.thumb.feature", {
      type: "button", tabindex: "-1", "data-channel": f.channel, style: { background: tint(part, most) },
      "aria-label": `feature ${f.channel + 1}: ${digits(f.mixed)}, adds ${digits(part)} to ${DATA.classes[best]}`,
      onclick: () => { chooseFeature(best, f.channel); document.getElementById("head").scrollIntoView(); },
      onpointerenter: () => highlight(LAYERS.length, f.channel), onpointerleave: () => highlight(null), onfocus: () => highlight(LAYERS.length, f.channel),
    }, Math.abs(f.mixed) < 10 ? f.mixed.toFixed(3).replace("-", MINUS) : digits(f.mixed)))), el("small", {}, `${whole(answer.features.length)} numbers`)));
}

function classColumn(answer) {
  const order = answer.probabilities.map((p, k) => [p, k]).sort((a, b) => b[0] - a[0]).slice(0, 10);
  column(LAYERS.length + 1, el(".column.classes-of", {},
    el("a.head", { href: "#head", tabindex: "-1" }, el("b", {}, "Softmax"), el("small", {}, DATA.classes.length > 10 ? `10 of ${whole(DATA.classes.length)} classes` : `${DATA.classes.length} classes`)),
    el(".bars-of", {}, order.map(([p, k]) => el("button.thumb.class", {
      type: "button", tabindex: "-1", "data-class": k, "aria-label": `${DATA.classes[k]}: ${percent(p)}; how it is computed`,
      onclick: () => { chooseClass(k); document.getElementById("head").scrollIntoView(); },
    }, el("span", {}, el("bdi", {}, DATA.classes[k]), el("b", {}, percent(p))), el("i", { style: { width: `${100 * p}%` } }))))));
}

// Lines between neighbors: the wider, the more a map adds to the other, or takes away from it.
function drawEdges() {
  EDGES.replaceChildren();
  EDGES.setAttribute("width", STRIP.scrollWidth);
  EDGES.setAttribute("height", STRIP.scrollHeight);
  const base = STRIP.getBoundingClientRect(), middle = (node, right) => {
    const area = node.getBoundingClientRect();
    return [(right ? area.right : area.left) - base.left + STRIP.scrollLeft, area.top + area.height / 2 - base.top];
  };
  COLUMNS.slice(1).forEach((to) => {
    const weights = [];
    for (const target of to.thumbs) {
      for (const source of COLUMNS[to.n < LAYERS.length ? sourceColumn(to.n) : COLUMNS.indexOf(to) - 1].thumbs) {
        const weight = edgeWeight(to.n, target, source);
        if (weight) weights.push([weight, target, source]);
      }
    }
    const most = weights.reduce((m, [w]) => Math.max(m, Math.abs(w)), 0);
    for (const [weight, target, source] of weights) {
      const [x0, y0] = middle(source, true), [x1, y1] = middle(target, false), bend = (x1 - x0) / 2;
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path"), share = Math.abs(weight) / most;
      path.setAttribute("d", `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`);
      path.setAttribute("class", weight < 0 ? "less" : "more");
      path.dataset.to = `${target.dataset.layer ?? to.n} ${target.dataset.channel ?? target.dataset.class}`;
      path.style.strokeWidth = (0.5 + 2.5 * share).toFixed(2);
      path.style.opacity = (0.06 + 0.3 * share).toFixed(3);
      EDGES.append(path);
    }
  });
}
const sourceColumn = (n) => {
  const from = LAYERS[n].steps[0].in[0];
  return from === 0 ? 0 : layerWith(from) + 1;
};

// The mean that one map adds to another: mean of the map × sum of the kernel.
function edgeWeight(n, target, source) {
  const from = Number(source.dataset.channel), to = Number(target.dataset.channel);
  if (n < LAYERS.length) {
    const step = LAYERS[n].steps[0], i = inputsOf(step, to).indexOf(from);
    if (i < 0) return 0;
    const map = READ.get(step.in[0]).map(from), slot = SHOWN.get(step.out).channels.indexOf(to);
    return kernelOf(step, slot, i).reduce((a, b) => a + b, 0) * map.reduce((a, b) => a + b, 0) / map.length;
  }
  if (!DATA.head) return 0;
  if (n === LAYERS.length) return from === to ? 1 : 0;
  const k = Number(target.dataset.class), f = ANSWER.features[from];
  return f ? f.standard * tensor(DATA.head.linear[0].weight)[k * ANSWER.features.length + from] : 0;
}

function highlight(n, channel) {
  for (const path of EDGES.children) path.classList.toggle("on", n !== null && path.dataset.to === `${n} ${channel}`);
}

// One stop for the tab key; arrows move from map to map.
function moveInStrip(event) {
  const here = event.target.closest("button, a");
  const columns = COLUMNS.map((c) => [...c.node.querySelectorAll("button, a")]);
  const x = columns.findIndex((list) => list.includes(here));
  const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
  if (!step || x < 0) return;
  event.preventDefault();
  const y = columns[x].indexOf(here);
  let next = null;
  for (let to = x + step[0]; step[0] && to >= 0 && to < columns.length && !next; to += step[0]) {
    next = columns[to][Math.min(y, columns[to].length - 1)];
  }
  if (!step[0]) next = columns[x][y + step[1]];
  if (next) focusInStrip(next);
}
function focusInStrip(node) {
  STRIP.querySelectorAll('[tabindex="0"]').forEach((other) => { other.tabIndex = -1; });
  node.tabIndex = 0;
  node.focus();
  node.scrollIntoView({ block: "nearest", inline: "nearest" });
}
