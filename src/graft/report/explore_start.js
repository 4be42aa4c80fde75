// From the top: compute layer by layer, and show each as soon as it is there.
const STATUS = document.getElementById("status");
let CHANGED = false;
const pause = () => new Promise((resolve) => setTimeout(resolve));

async function main() {
  PIXELS = await start();
  await compute();
  focusable();
  startPlayground();
  startChanges();
  fromAddress();
  addEventListener("hashchange", fromAddress);
  new ResizeObserver(drawEdges).observe(STRIP);
  DARK.addEventListener("change", repaint);
}

async function compute() {
  ANSWER = null;
  COLUMNS.splice(0).forEach((old) => old.node.remove());
  setInput(PIXELS);
  const began = performance.now();
  imageColumn();
  for (const [n, layer] of LAYERS.entries()) {
    STATUS.textContent = `computing convolution ${n + 1} of ${LAYERS.length} …`;
    await pause();
    computeLayer(layer);
    layerColumn(n);
  }
  ANSWER = classified();
  const seconds = (performance.now() - began) / 1000, work = LAYERS.reduce((sum, layer) => sum + workOf(layer), 0);
  if (DATA.head) featureColumn(ANSWER);
  else restColumn();
  classColumn(ANSWER);
  chooseClass(bestOf(ANSWER));
  STRIP.style.minWidth = `min(100%, ${11 * COLUMNS.length}rem)`;
  STATUS.textContent = `${whole(work / 1e6)} million multiply-adds in ${seconds.toFixed(1)} s.` + (DATA.head && !CHANGED ? ` ${deviation()}` : "");
  document.getElementById("changed").textContent = CHANGED ? comparison() : "";
  const more = STRIP.scrollWidth > STRIP.parentElement.clientWidth ? " Scroll sideways for the others." : "";
  READOUT.dataset.rest = READOUT.dataset.text + more;
  READOUT.textContent = READOUT.dataset.rest;
  drawEdges();
}

// What the changed image did to the probability of the class that the image had.
function comparison() {
  const before = DATA.probabilities, most = before.indexOf(Math.max(...before)), now = bestOf(ANSWER);
  const rest = now === most ? "" : ` It now says ${DATA.classes[now]}, ${percent(ANSWER.probabilities[now])}.`;
  return `With the changed image, ${DATA.classes[most]} goes from ${percent(before[most])} to ${percent(ANSWER.probabilities[most])}.${rest}`;
}

// How far the probabilities are from PyTorch's.
function deviation() {
  const off = Math.max(...ANSWER.probabilities.map((p, k) => Math.abs(p - DATA.probabilities[k])));
  return `The probabilities are PyTorch’s to within ${digits(10 ** Math.ceil(Math.log10(Math.max(off, 1e-9)))).replace("1.000 × ", "")}.`;
}

const focusable = () => { STRIP.querySelector(".thumb").tabIndex = 0; };

// The address says which pixel is open: #/layer/channel/row/column, from 1; layer 0 is the image.
function fromAddress() {
  const [, n, channel, y, x] = location.hash.match(/^#\/(\d+)\/(\d+)(?:\/(\d+)\/(\d+))?$/) || [];
  if (n === undefined || Number(n) > LAYERS.length) return;
  const layer = Number(n) - 1, chain = shownOf(layer).map(Number(channel) - 1) && chainOf(layer, Number(channel) - 1);
  if (!chain || (y && (Number(y) > chain[0].h || Number(x) > chain[0].w || !Number(y) || !Number(x)))) return;
  const same = S.layer === layer && S.channel === Number(channel) - 1 && S.y === y - 1 && S.x === x - 1;
  if (!same) openChannel(layer, Number(channel) - 1, y ? y - 1 : undefined, x ? x - 1 : undefined);
}

function repaint() {
  STRIP.querySelectorAll(".thumb[data-layer]").forEach((node) => {
    const maps = shownOf(Number(node.dataset.layer));
    paint(node.querySelector("canvas"), maps.map(Number(node.dataset.channel)), maps.h, maps.w);
  });
  if (S.layer !== null) buildChannel();
  showHead();
}

STRIP.addEventListener("animationend", () => ANSWER && drawEdges());
STRIP.addEventListener("keydown", moveInStrip);
STRIP.addEventListener("focusin", (event) => {
  STRIP.querySelectorAll('[tabindex="0"]').forEach((other) => { other.tabIndex = -1; });
  event.target.tabIndex = 0;
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && S.layer !== null) closeChannel();
});

window.explore = { data: DATA, state: S, layers: LAYERS, read: READ, shown: SHOWN, open: openChannel, receptiveField, answer: () => ANSWER };
window.explore.ready = main().catch((error) => {
  STATUS.textContent = `This page could not be computed: ${error.message}. A current browser is needed.`;
  STATUS.classList.add("careful");
  throw error;
});
