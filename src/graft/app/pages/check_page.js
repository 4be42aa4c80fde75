// Step 2, Check: what is left to look at, in three ways; a key decides, and the next image is there.

import { dropUndos, getJson, onChange, onKeys, refresh, sendJson, t, toast } from "./shell.js";
import { showAccuracy } from "./check_accuracy.js";
import { confirmGroup, showGroup } from "./check_group.js";
import { MOST_CLASSES, showOne } from "./check_image.js";

const find = (id) => document.getElementById(id);
let state = null;
let way = sessionStorage.getItem("check-way") || "one";
let front = []; // shown first: the image that is in view, and what was just taken back
let sent = Promise.resolve(); // decisions go out one after the other
let waiting = 0;
const gone = new Set(); // decided here; what the app said may be older
let told = []; // of these, what the app knows by now
let asked = 0;
let answered = 0;
const past = []; // what was done here: the images of a skip, null for decisions
const ended = new Set(); // ways whose list was finished: what is new there is announced, not shown
const skipped = new Set(JSON.parse(sessionStorage.getItem("check-skipped") || "[]"));

function inOrder(items) {
  const place = (item) => {
    const first = front.indexOf(item.sha256);
    if (first >= 0) return first - front.length;
    return skipped.has(item.sha256) ? 1 : 0;
  };
  const left = items.filter((item) => !gone.has(item.sha256));
  return left.sort((a, b) => place(a) - place(b)); // stable: otherwise as the app has them
}

const listed = () => inOrder([...(way === "blind" ? state.blind : state.suspects)]);
const current = () => listed()[0];

function group() {
  const items = listed().filter((item) => item.suggested);
  if (!items.length) return [];
  const { label, suggested } = items[0];
  return items.filter((item) => item.label === label && item.suggested === suggested);
}

// Decided are those that the app knows of and those that are on their way to it.
function decided() {
  const known = new Set([...state.suspects, ...state.blind].map((item) => item.sha256));
  return state.decided + [...gone].filter((image) => known.has(image)).length;
}

// What to do when nothing is left here: the test images, then the next step.
function showEnd(blind, fresh) {
  const more = way !== "blind" && blind > 0;
  find("nothing-text").textContent = more ? t("nothing_but_test", { count: blind }) : t("nothing");
  find("go-blind").hidden = !more;
  find("again").textContent = fresh ? t("new_images", { count: fresh }) : state.measuring ? t("list_again") : "";
  find("show-new").hidden = !fresh;
}

// Which test images are in the pass, and why.
function aboutTest({ of, doubted, random }) {
  return `${t("blind_which", { count: doubted + random, of, doubted, random })} ${t("blind_note")}`;
}

function show() {
  if (!state) return;
  find("reading").hidden = state.ready || Boolean(state.problem);
  find("problem").hidden = !state.problem;
  find("problem").textContent = state.problem;
  find("work").hidden = !state.ready;
  find("undo").disabled = !state.ready; // what would be taken back cannot be seen yet
  if (!state.ready) {
    find("lead").textContent = "";
    showReading(state.progress);
    return;
  }
  const found = inOrder([...state.suspects]).length;
  const [count, blind] = [ended.has("one") ? 0 : found, inOrder([...state.blind]).length];
  find("lead").textContent = t("lead", { count, decided: decided() });
  find("way-blind").textContent = t("way_blind", { left: blind });
  for (const button of document.querySelectorAll("[data-way]")) {
    button.setAttribute("aria-pressed", button.dataset.way === way);
  }
  find("blind-note").hidden = way !== "blind";
  find("blind-note").textContent = aboutTest(state.test);
  const fresh = way === "many" ? group().length : listed().length;
  if (!fresh) ended.add(way);
  const calm = ended.has(way);
  const many = way === "many" && !calm ? group() : [];
  const one = way === "many" || calm ? null : current();
  find("one").hidden = !one;
  find("many").hidden = !many.length;
  find("nothing").hidden = Boolean(one || many.length);
  showEnd(blind, fresh);
  find("keys").hidden = !(one || many.length);
  const numbers = state.classes.length <= MOST_CLASSES ? t("keys_numbers") : "";
  find("keys").textContent = way === "many" ? t("keys_many")
    : way === "blind" ? t("keys_blind", { numbers }) : t("keys_one", { numbers });
  if (one) {
    front = [one.sha256];
    showOne(one, listed().slice(1, 4), state.classes, { decide, skip });
  }
  if (many.length) showGroup(many, { open });
  showAccuracy(state, decided(), blind);
}

function showReading({ done, total, files }) {
  const bar = find("reading-bar");
  const last = Boolean(total) && done >= total && !files; // how long the rest takes is not known
  bar.max = total || 1;
  if (last) bar.removeAttribute("value");
  else bar.value = done;
  find("reading-text").textContent = last ? t("comparing")
    : files ? t("reading_files", { done, total }) : total ? t("reading", { done, total }) : t("loading");
}

async function load() {
  const known = told;
  told = [];
  asked += 1;
  const number = asked;
  const found = await getJson("/api/check/state").catch(() => null);
  if (!found) {
    told.push(...known);
    return;
  }
  if (number < answered) return; // a later question was answered before
  answered = number;
  for (const image of known) gone.delete(image);
  state = found;
  show();
  if (state.measuring || !(state.ready || state.problem)) setTimeout(load, 1000);
}

// Decides about images; the page shows the next one at once, the app is told meanwhile.
function act(body) {
  const images = [...body.images, ...(body.kept ?? [])];
  for (const image of images) gone.add(image);
  past.push(null);
  front = [];
  waiting += 1;
  show();
  sent = sent
    .then(() => sendJson("/api/check/decide", body))
    .then(
      () => { told.push(...images); },
      () => { for (const image of images) gone.delete(image); },
    )
    .then(() => {
      waiting -= 1;
      if (!waiting) load();
    });
}

function decide(decision, label) {
  const item = current();
  if (!item || find("one").hidden) return;
  if (decision === "relabel" && !label) return;
  act({ decision, images: [item.sha256], ...(label ? { label } : {}) });
}

function skip() {
  const some = way === "many" ? group().slice(0, 24) : [current()].filter(Boolean);
  for (const item of some) {
    skipped.delete(item.sha256); // once more to the end
    skipped.add(item.sha256);
  }
  sessionStorage.setItem("check-skipped", JSON.stringify([...skipped]));
  if (some.length) past.push(some.map((item) => item.sha256));
  front = [];
  show();
}

// Takes images back that were skipped last.
function unskip(images) {
  for (const image of images) skipped.delete(image);
  sessionStorage.setItem("check-skipped", JSON.stringify([...skipped]));
  front = images;
  toast(t("unskipped", { count: images.length }));
  show();
}

function confirm() {
  if (way !== "many" || find("many").hidden) return;
  const chosen = confirmGroup(group());
  act({ decision: "relabel", ...chosen });
  toast(t("confirmed", { count: chosen.images.length + chosen.kept.length }), { action: undo });
}

async function undo() {
  const before = past.pop();
  if (before) return unskip(before);
  await sent;
  const done = await sendJson("/api/check/undo").catch(() => null);
  if (!done) return;
  const count = done.images.length;
  dropUndos();
  toast(count ? t("undone", { count }) : t("nothing_to_undo"));
  for (const image of done.images) {
    skipped.delete(image);
    gone.delete(image);
  }
  front = done.images;
  ended.clear();
  await load();
}

function open(sha256) {
  front = [sha256];
  choose("one");
}

function choose(name) {
  way = name;
  ended.delete(name);
  sessionStorage.setItem("check-way", name);
  show();
}

for (const button of document.querySelectorAll("[data-way]")) {
  button.onclick = () => { front = []; choose(button.dataset.way); };
}
find("go-blind").onclick = () => { front = []; choose("blind"); };
find("show-new").onclick = () => choose(way);
find("undo").onclick = undo;
find("confirm").onclick = confirm;
find("skip-group").onclick = skip;
find("measure").onclick = async () => {
  await sent;
  await sendJson("/api/check/measure").catch(() => null);
  await load();
};
const numbered = {};
for (let n = 1; n <= 9; n += 1) {
  numbered[n] = () => state && state.classes.length <= MOST_CLASSES && decide("relabel", state.classes[n - 1]);
}
const pressed = (event) => event.target.closest("button") !== null && event.target.id !== "main";
onKeys({
  ...numbered,
  r: () => state && decide("relabel", current()?.suggested),
  k: () => state && decide("keep"),
  x: () => state && decide("keep_out"),
  s: () => state && skip(),
  z: () => state?.ready && undo(),
  Enter: (event) => (pressed(event) ? event.target.click() : confirm()),
});
onChange((project) => {
  if (project.open) return load();
  find("reading").hidden = true;
  find("problem").hidden = false;
  find("problem").textContent = t("choose_first");
  return null;
});
refresh();
