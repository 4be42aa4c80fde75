// The confusion matrix of step Results, and the images of the cell that was pressed.

import { element, getJson, t, thumbnailImage } from "./shell.js";
import { percent } from "./run_choice.js";

const find = (id) => document.getElementById(id);
const MOST = 40; // classes; with more, the pairs that were confused are listed instead
const PAIRS = 100;
const AT_ONCE = 60; // images
let pressed = null; // {label, predicted}, or {label, abstained: true}
let asked = 0;

const same = (a, b) => a && b && a.label === b.label && a.predicted === b.predicted;

// `test` has the counts; `open(cell)` is called for the cell that is pressed.
export function showMatrix(place, classes, test, open) {
  const focus = place.contains(document.activeElement) ? document.activeElement.dataset.cell : null;
  const press = async (cell, scroll) => {
    pressed = cell;
    mark(place);
    await open(cell);
    if (scroll) find("cell").scrollIntoView({ block: "nearest" });
  };
  place.replaceChildren(classes.length > MOST ? pairs(classes, test, press) : table(classes, test, press));
  find("matrix-note").textContent = classes.length > MOST ? t("many_classes") : t("matrix_note");
  mark(place);
  if (focus) place.querySelector(`[data-cell="${focus}"]`)?.focus();
  if (pressed && classes.includes(pressed.label) && !find("cell").hidden) open(pressed);
}

// Presses the number of the most frequent mistake, so that the page begins with its images.
export function openWorst(place) {
  const wrong = [...place.querySelectorAll("button")].filter(({ cell }) => cell.predicted && cell.predicted !== cell.label);
  const worst = wrong.filter((each) => each.count).sort((a, b) => b.count - a.count)[0];
  worst?.show();
}

function mark(place) {
  for (const button of place.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(Boolean(same(button.cell, pressed))));
  }
}

function button(cell, place, text, said, press, count) {
  const made = element("button", { type: "button", "aria-label": said, title: said }, text);
  made.cell = cell;
  made.dataset.cell = place;
  made.count = count;
  made.show = () => press(cell, false);
  made.onclick = () => press(cell, true);
  return made;
}

function table(classes, test, press) {
  const turned = (name) => element("span", { className: "turned", title: name }, name);
  const axis = element("td", { className: "axis" }, t("predicted"), element("br"), t("true"));
  const head = element("tr", {}, axis, ...classes.map((name) => element("th", { scope: "col" }, turned(name))));
  if (test.abstained) head.append(element("th", { scope: "col", className: "left" }, turned(t("not_answered"))));
  const body = element("tbody");
  classes.forEach((label, i) => {
    const left = test.abstained_by_class[i];
    const n = test.confusion[i].reduce((sum, count) => sum + count, left);
    const row = element("tr", {}, element("th", { scope: "row" }, label));
    classes.forEach((predicted, j) => {
      const count = test.confusion[i][j];
      const said = t("cell", { label, predicted, count, n });
      const made = button({ label, predicted }, `${i}-${j}`, String(count), said, press, count);
      made.className = count ? "" : "none";
      const strength = n ? (0.12 + 0.6 * count / n) : 0;
      if (count) made.style.background = `rgb(var(--${i === j ? "hit" : "miss"}) / ${strength.toFixed(2)})`;
      row.append(element("td", {}, made));
    });
    if (test.abstained) {
      const said = t("cell_left", { label, count: left, n });
      const cell = { label, abstained: true };
      row.append(element("td", { className: "left" }, button(cell, `${i}-${classes.length}`, String(left), said, press)));
    }
    body.append(row);
  });
  const made = element("table", { className: "matrix" }, element("thead", {}, head), body);
  made.onkeydown = walk;
  return made;
}

// Arrow keys go from number to number.
function walk(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const from = event.target.dataset.cell;
  if (!step || !from) return;
  const [i, j] = from.split("-").map(Number);
  const next = event.currentTarget.querySelector(`[data-cell="${i + step[0]}-${j + step[1]}"]`);
  if (!next) return;
  event.preventDefault();
  next.focus();
}

function pairs(classes, test, press) {
  const found = [];
  test.confusion.forEach((row, i) => row.forEach((count, j) => { if (count && i !== j) found.push({ i, j, count }); }));
  found.sort((a, b) => b.count - a.count);
  if (!found.length) return element("p", {}, t("no_confusion"));
  return element("ul", { className: "pairs" }, ...found.slice(0, PAIRS).map(({ i, j, count }) => {
    const n = test.confusion[i].reduce((sum, each) => sum + each, test.abstained_by_class[i]);
    const said = t("cell", { label: classes[i], predicted: classes[j], count, n });
    return element("li", {}, button({ label: classes[i], predicted: classes[j] }, `${i}-${j}`, said, said, press, count));
  }));
}

// The images of a cell, the most confident answers first.
export async function showImages(run, least, cell) {
  const mine = ++asked;
  const query = { run, from: least, label: cell.label, predicted: cell.predicted, abstained: cell.abstained ? "yes" : null };
  const first = await getJson("/api/results/images", { ...query, count: AT_ONCE }).catch(() => null);
  if (!first || mine !== asked) return;
  const { label, predicted } = cell;
  find("cell").hidden = false;
  find("cell-title").textContent = cell.abstained ? t("left", { label })
    : label === predicted ? t("right", { label }) : t("wrong", { label, predicted });
  find("cell-count").textContent = first.total ? t("images", { count: first.total }) : t("no_images");
  find("cell-images").replaceChildren(...first.images.map(photo));
  const more = find("more");
  const shown = () => find("cell-images").children.length;
  more.hidden = shown() >= first.total;
  more.onclick = async () => {
    const next = await getJson("/api/results/images", { ...query, start: shown(), count: AT_ONCE }).catch(() => null);
    if (!next || mine !== asked) return;
    find("cell-images").append(...next.images.map(photo));
    more.hidden = shown() >= next.total;
  };
}

function photo(image) {
  const { label, predicted } = image;
  const probability = percent(image.probability);
  const said = label === predicted ? t("caption", { predicted, probability })
    : t("caption_wrong", { predicted, probability, label, own: percent(image.label_probability) });
  const open = () => {
    find("view-image").src = `/image/${image.sha256}`;
    find("view-image").alt = image.name;
    find("view-name").textContent = `${image.name}: ${said}`;
    find("view").showModal();
  };
  return element("li", {}, element("button", { type: "button", onclick: open, title: image.name },
    thumbnailImage(image.sha256, image.name), element("small", {}, said)));
}
