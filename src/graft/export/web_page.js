"use strict";
// The page: takes images from files, the clipboard and the webcam, and shows what the worker
// answers. Nothing is sent anywhere: the page's Content-Security-Policy forbids it.

const find = (selector) => document.querySelector(selector);
const SETTINGS = JSON.parse(find("#settings").textContent);
const SHOWN = 5; // classes an answer lists
const list = find("#answers"), state = find("#state"), news = find("#news");
const here = (file) => ({ ...file, url: new URL(file.url, document.baseURI).href });
const waiting = new Map();
let started = null, ready = false, count = 0;

function made(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}
function percent(p) {
  if (p > 0 && p < 0.0005) return "< 0.1 %";
  if (p < 1 && p >= 0.9995) return "> 99.9 %";
  return `${(100 * p).toFixed(1)} %`;
}

// What is said of an image, as `graft predict` says it: a label, or why none.
function verdict({ probabilities, oodScore }) {
  const ranked = probabilities.map((p, k) => [SETTINGS.classes[k], p]).sort((a, b) => b[1] - a[1]);
  const [guess, probability] = ranked[0];
  const unlike = oodScore !== null && oodScore > 1;
  const reason = unlike ? `unlike the training images: ${oodScore.toFixed(2)} times the limit` : "";
  return { label: unlike ? null : guess, best_guess: guess, probability, ranked, reason, ood_score: oodScore };
}

function bars(ranked) {
  const table = made("table", "shares"), body = made("tbody");
  for (const [name, p] of ranked.slice(0, SHOWN)) {
    const row = made("tr"), head = made("th", "", name), cell = made("td"), bar = made("div", "bar"), part = made("i");
    head.scope = "row";
    part.style.width = `${100 * p}%`;
    bar.append(part);
    cell.append(bar);
    row.append(head, cell, made("td", "n", percent(p)));
    body.append(row);
  }
  table.append(body);
  const rest = ranked.length - SHOWN;
  if (rest > 0) table.append(made("caption", "note", `and ${rest} more ${rest === 1 ? "class" : "classes"}`));
  return table;
}
function say(card, answer) {
  const found = verdict(answer), text = card.querySelector(".told");
  const title = made("h3", found.label ? "label" : "label none", found.label ?? "None of these");
  if (found.label) title.append(" ", made("span", "sure", percent(found.probability)));
  text.replaceChildren(title);
  card.classList.toggle("refused", !found.label);
  if (!found.label) {
    const why = `It is ${found.reason}. The best guess would be ${found.best_guess}, ${percent(found.probability)}.`;
    text.append(made("p", "note", why));
  }
  text.append(bars(found.ranked));
  return found;
}

function newCard(name) {
  const card = made("li", "card"), text = made("div", "told"), picture = made("canvas");
  picture.hidden = true;
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", name);
  const figure = made("figure"), caption = made("figcaption");
  caption.append(made("bdi", "", name));
  figure.append(picture, caption);
  text.append(made("p", "note", ready ? "Computing …" : "Waiting for the model …"));
  card.append(figure, text);
  list.prepend(card);
  return card;
}
async function classify(image, name) {
  const card = newCard(name);
  find("#clear").hidden = false;
  try {
    const answer = await ask(image, true);
    const picture = card.querySelector("canvas");
    picture.width = answer.thumbnail.width;
    picture.height = answer.thumbnail.height;
    picture.getContext("bitmaprenderer").transferFromImageBitmap(answer.thumbnail);
    picture.hidden = false;
    const found = say(card, answer), { decode, resize, network } = answer.milliseconds;
    const spent = `${answer.width} × ${answer.height} pixels · ${Math.round(decode + resize + network)} ms`;
    card.querySelector("figcaption").append(made("span", "fraction", ` ${spent}`));
    news.textContent = `${name}: ${found.label ?? "none of these"}`;
    card.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail: { name, ...found, ...answer, thumbnail: null } }));
  } catch (error) {
    card.classList.add("failed");
    card.querySelector(".told").replaceChildren(made("h3", "label none", "Not readable"), made("p", "note", `It ${error.message}.`));
    news.textContent = `${name} ${error.message}`;
    card.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail: { name, problem: error.message } }));
  }
}
function ask(image, thumbnail) {
  const id = ++count;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    started.postMessage({ id, image, thumbnail }, image instanceof ImageBitmap ? [image] : []);
  });
}

// The worker, and what it says.
function heard({ data }) {
  if (data.told) find("#told").textContent = data.told;
  else if (data.ready) {
    ready = true;
    const { backend, milliseconds } = data.ready;
    document.body.dataset.backend = backend;
    document.body.dataset.ready = String(Math.round(performance.now()));
    const checked = SETTINGS.vectors.length ? "; it agrees with the model’s test images" : "";
    state.textContent = `Ready. ${backend === "webgpu" ? "WebGPU" : "WebAssembly"} took ${(milliseconds / 1000).toFixed(1)} s to start${checked}.`;
  } else if (data.failed) {
    document.body.dataset.failed = data.failed;
    state.textContent = `The model cannot be run here: ${data.failed}.`;
    state.classList.add("careful");
    for (const { reject } of waiting.values()) reject(new Error("was not looked at: the model cannot be run here"));
  } else {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.problem) reject(new Error(data.problem));
    else resolve(data.answer);
  }
}
function begin() {
  const script = new Blob([find("#worker").textContent], { type: "text/javascript" });
  const thread = new Worker(URL.createObjectURL(script));
  thread.onmessage = heard;
  thread.onerror = (event) => heard({ data: { failed: event.message || "its worker did not start" } });
  const { model, runtime, vectors } = SETTINGS;
  const both = Object.entries(runtime).map(([name, { script, wasm }]) => [name, { script: here(script), wasm: here(wasm) }]);
  const asked = new URLSearchParams(location.search).get("backend"); // ?backend=wasm or webgpu
  thread.postMessage({
    start: {
      ...SETTINGS,
      model: here(model),
      runtime: Object.fromEntries(both),
      vectors: vectors.map((vector) => ({ ...vector, image: here(vector.image) })),
      backend: Object.hasOwn(runtime, asked) ? asked : null,
    },
  });
  return thread;
}
if (location.protocol === "file:") {
  state.textContent = "A browser lets no page that was opened as a file load its model. In this folder run python -m http.server, then open http://localhost:8000.";
  state.classList.add("careful");
  find("#sources").hidden = true;
} else started = begin();

// Files: chosen, dropped or pasted.
function takeAll(files) {
  for (const file of files) classify(file, file.name || "pasted image");
}
const drop = find("#drop"), input = find("#files");
input.addEventListener("change", () => {
  takeAll([...input.files]);
  input.value = "";
});
find("#choose").addEventListener("click", () => input.click());
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget === null && drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (started) takeAll([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length || !started) return;
  event.preventDefault();
  takeAll(files);
});
find("#clear").addEventListener("click", () => {
  for (const card of [...list.children]) if (!card.querySelector(".told > p:only-child")) card.remove();
  find("#clear").hidden = list.children.length === 0;
  find("#choose").focus();
});

// The webcam: the last frame is looked at as soon as the one before is answered.
const camera = find("#camera"), video = find("#video"), button = find("#webcam");
let stream = null;
async function watch() {
  while (stream) {
    if (video.readyState >= 2) {
      const frame = await createImageBitmap(video);
      try {
        const answer = await ask(frame, false);
        if (!stream) return;
        const found = say(camera, answer);
        camera.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail: { name: "webcam", ...found } }));
      } catch (error) {
        camera.querySelector(".told").textContent = error.message;
        return;
      }
    }
    await new Promise(requestAnimationFrame);
  }
}
function stopCamera() {
  for (const track of stream.getTracks()) track.stop();
  stream = video.srcObject = null;
  camera.hidden = true;
  button.textContent = "Use the webcam";
}
button.addEventListener("click", async () => {
  if (stream) return stopCamera();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    news.textContent = find("#told").textContent = `No webcam: ${error.message}.`;
    return;
  }
  video.srcObject = stream;
  await video.play();
  camera.hidden = false;
  button.textContent = "Stop the webcam";
  watch();
});
if (!navigator.mediaDevices) {
  button.disabled = true;
  button.title = "A browser gives the webcam to pages at https: or localhost only";
}
