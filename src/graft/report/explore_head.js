// From the last maps to probabilities: features, head, temperature, softmax.
const HEAD = document.getElementById("head-body");
const CHOSEN = { k: 0, feature: 0 };
let ANSWER = null;

const bestOf = (answer) => answer.probabilities.indexOf(Math.max(...answer.probabilities));

// The features with what each adds to a class's logit, the largest first.
function byContribution(answer, k) {
  const weight = tensor(DATA.head.linear[0].weight), count = answer.features.length;
  return answer.features.map((f, i) => ({ f, weight: weight[k * count + i], part: f.standard * weight[k * count + i] }))
    .sort((a, b) => Math.abs(b.part) - Math.abs(a.part));
}

function chooseClass(k) {
  CHOSEN.k = k;
  if (DATA.head) CHOSEN.feature = byContribution(ANSWER, k)[0].f.channel;
  showHead();
}
function chooseFeature(k, feature) {
  Object.assign(CHOSEN, { k, feature });
  showHead();
}

function showHead() {
  const focused = document.activeElement && HEAD.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  HEAD.replaceChildren(DATA.head ? features() : el("p.note", {}, "The layers between are not on this page; these are the logits that PyTorch computed."), softmaxTable());
  const again = focused && HEAD.querySelector(`[data-key="${CSS.escape(focused)}"]`);
  if (again) again.focus({ preventScroll: true });
}

function features() {
  const { k } = CHOSEN, list = byContribution(ANSWER, k), name = DATA.classes[k], most = Math.abs(list[0].part);
  const chosen = list.find(({ f }) => f.channel === CHOSEN.feature) || list[0], { f, weight, part } = chosen;
  const max = DATA.head.pool === "max", bias = tensor(DATA.head.linear[0].bias)[k];
  const map = SHOWN.get(DATA.head.from).map(f.channel) || READ.get(DATA.head.from).map(f.channel), maps = READ.get(DATA.head.from);
  const figure = mapFigure({ title: `Map ${f.channel + 1}`, h: maps.h, w: maps.w, draw: (canvas) => paint(canvas, map, maps.h, maps.w) });
  const top = map.indexOf(f.most);
  if (max) place(figure.frame, maps.h, maps.w, Math.floor(top / maps.w), top % maps.w, Math.floor(top / maps.w), top % maps.w);
  else figure.frame.hidden = true;
  const pooled = max ? row("Global pooling", `largest of ${whole(f.size)} ÷ ${DATA.head.divisor} = ${digits(f.most)} ÷ ${DATA.head.divisor} = `, f.own)
    : row("Global pooling", `mean of ${whole(f.size)} pixels = ${digits(f.sum)} ÷ ${whole(f.size)} = `, f.own, "Where in the image it was is forgotten here; how much there was of it stays.");
  const sum = list.reduce((total, one) => total + one.part, 0);
  return el(".head-grid", {},
    el("div", {}, el("h3", {}, "How ", el("bdi", {}, name), " gets its logit"),
      el("p", {}, `Each of the ${whole(list.length)} features, times its weight for this class, adds to the logit or takes away from it.`),
      el("ul.parts.tall", {}, list.map((one) => el("li", {}, el("button.part" + (one === chosen ? ".chosen" : ""), {
        type: "button", "aria-pressed": String(one === chosen), "data-key": `feature ${one.f.channel}`, onclick: () => chooseFeature(k, one.f.channel),
      }, el("span", {}, `feature ${one.f.channel + 1}`), el("span.signed", { "aria-hidden": "true" }, el("i." + (one.part < 0 ? "less" : "more"), { style: { width: `${(50 * Math.abs(one.part)) / most}%` } })), el("b.number", {}, digits(one.part))))))),
    el("div", {}, el("h3", {}, `Feature ${f.channel + 1}`),
      el(".feature-figure", {}, figure.figure),
      el("ol.steps", {}, pooled,
        f.mirrored === null || f.mirrored === undefined ? "" : row("Mirror image", `(${digits(f.own)} + ${bracketed(f.mirrored)}) ÷ 2 = `, f.mixed, "This network looks at the image and at its mirror image, and takes the mean of both."),
        !f.mean && f.std === 1 ? "" : row("Standardized", `(${digits(f.mixed)} ${MINUS} ${bracketed(f.mean)}) ÷ ${digits(f.std)} = `, f.standard, "How unusual it is among the training images: mean and spread are theirs."),
        row("Times weight", `${digits(f.standard)} × ${bracketed(weight)} = `, part),
        row("Logit", `all ${whole(list.length)} together ${digits(sum)} + bias ${bracketed(bias)} = `, ANSWER.logits[k])),
      SHOWN.get(DATA.head.from).map(f.channel) ? el("p.next", {}, el("button", { type: "button", "data-key": "open map", onclick: () => openChannel(LAYERS.length - 1, f.channel) }, "Open its map")) : el("p.note", {}, "The kernels of this map are not on this page.")));
}

function softmaxTable() {
  const { logits, tempered, exps, sum, probabilities } = ANSWER;
  const order = probabilities.map((_, k) => k).sort((a, b) => probabilities[b] - probabilities[a]), top = order.slice(0, 10);
  const rest = order.slice(10), restExp = rest.reduce((total, k) => total + exps[k], 0);
  const line = (k) => el("tr" + (k === CHOSEN.k && DATA.head ? ".chosen" : ""), {},
    el("th", { scope: "row" }, DATA.head ? el("button.link", { type: "button", "data-key": `class ${k}`, onclick: () => chooseClass(k) }, el("bdi", {}, DATA.classes[k])) : el("bdi", {}, DATA.classes[k])),
    el("td.n", {}, digits(logits[k])), el("td.n", {}, digits(tempered[k])), el("td.n", {}, digits(exps[k])),
    el("td.n", {}, digits(probabilities[k])), el("td.n", {}, el("b", {}, percent(probabilities[k]))), el("td.bar-cell", {}, el("i", { style: { width: `${100 * probabilities[k]}%` } })));
  const best = order[0];
  return el("div", {}, el("h3", {}, "Softmax"),
    el("p", {}, "The logits are any numbers. ", DATA.temperature === 1 ? "" : `They are divided by the temperature, ${digits(DATA.temperature)}, which was set on validation images so that the probabilities mean what they say. `,
      "The number e to the power of each is above zero; divided by their sum, they add up to 1."),
    el(".wide", {}, el("table.softmax", {}, el("thead", {}, el("tr", {}, ["class", "logit", "÷ temperature", "e to that power", "÷ sum", "", ""].map((name, i) => el("th" + (i && i < 6 ? ".n" : ""), { scope: "col" }, name)))),
      el("tbody", {}, top.map(line), rest.length ? el("tr", {}, el("th", { scope: "row" }, `${whole(rest.length)} others`), el("td"), el("td"), el("td.n", {}, digits(restExp)), el("td.n", {}, digits(restExp / sum)), el("td.n", {}, percent(restExp / sum)), el("td")) : ""),
      el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, "sum"), el("td"), el("td"), el("td.n", {}, digits(sum)), el("td.n", {}, "1"), el("td"), el("td"))))),
    el("p", {}, el("bdi", {}, DATA.classes[best]), ": e", el("sup", {}, digits(tempered[best])), ` ÷ ${digits(sum)} = ${digits(exps[best])} ÷ ${digits(sum)} = `, el("b", {}, digits(probabilities[best]))));
}
