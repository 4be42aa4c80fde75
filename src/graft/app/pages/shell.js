// What all pages share: asking the app, texts, messages, keys, and news of the project.

const texts = JSON.parse(document.getElementById("texts").textContent);
const language = document.documentElement.lang;
const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);

// The text of a key, with {name} replaced; `count` chooses the plural form.
export function t(key, values = {}) {
  let text = texts[key];
  if (text === undefined) throw new Error(`there is no text ${key}`);
  if (typeof text === "object") text = text[plurals.select(values.count)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? numbers.format(value) : String(value);
  });
}

// element("p", { className: "note" }, "text", child): text is never read as HTML.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export async function getJson(path, query = {}) {
  const some = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const asked = new URLSearchParams(some).toString();
  return answered(await reach(asked ? `${path}?${asked}` : path, {}));
}

export async function sendJson(path, body = {}) {
  const headers = { "content-type": "application/json" };
  return answered(await reach(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

// Sends a file as it is: `query` says what it is.
export async function sendFile(path, query, blob) {
  const asked = new URLSearchParams(query).toString();
  return answered(await reach(`${path}?${asked}`, { method: "PUT", body: blob }));
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw failed(t("unreachable"));
  }
}

async function answered(response) {
  const said = await response.json().catch(() => ({}));
  if (response.ok) return said;
  throw failed(said.error ?? t("failed", { status: response.status }));
}

function failed(message) {
  toast(message, { error: true });
  return new Error(message);
}

const MOST = 2; // messages at a time
const SHORT = 5000; // ms that a message stays, unless it is pointed at
const LONG = 12000; // one that is an error or has to be read before it is answered

// A message; with `action` (what happens) and `label` it has a button. The button takes back the
// action of step Images called `undoes`, if that is given: it goes once something newer was done.
export function toast(message, { error = false, action = null, label = t("undo"), undoes = null } = {}) {
  const place = document.getElementById("toasts");
  for (const old of place.children) if (old.dataset.message === message) old.remove();
  const box = element("div", { className: error ? "toast error" : "toast" }, message);
  box.dataset.message = message;
  if (action) {
    if (label === t("undo")) dropUndos(); // only the last action can be taken back
    box.dataset.undo = undoes ?? "";
    box.dataset.since = performance.now();
    const press = () => { box.remove(); action(); };
    box.append(element("button", { type: "button", onclick: press }, label));
  } else {
    box.append(element("button", { type: "button", onclick: () => box.remove() }, t("close")));
  }
  place.append(box);
  while (place.children.length > MOST) place.firstChild.remove();
  const stays = error || label !== t("undo") ? LONG : SHORT;
  const expire = () => {
    if (box.matches(":hover, :focus-within")) setTimeout(expire, SHORT);
    else box.remove();
  };
  setTimeout(expire, stays);
}

// Takes away the messages that offer to take something back, but not that of the action `last`, as
// it was when that was `asked`: what was done since is not known to the answer.
export function dropUndos(last = null, asked = Infinity) {
  for (const box of document.querySelectorAll(".toast[data-undo]")) {
    if (box.dataset.undo !== last && Number(box.dataset.since) < asked) box.remove();
  }
}

// Shows the messages below this part of the page instead of over its end; null: there again.
export function toastsBelow(part) {
  const place = document.getElementById("toasts");
  place.classList.toggle("within", part !== null);
  if (part) part.after(place);
  else document.body.append(place);
}

// onKeys({ z: undo, Delete: remove }): keys do nothing while somebody types. Those of a dialog, given
// as `within`, are its own.
export function onKeys(actions, within = document) {
  within.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    if (within === document && document.querySelector("dialog[open]")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}

export function thumbnailImage(sha256, alt) {
  const image = element("img", { alt, decoding: "async", draggable: false });
  const gone = () => image.replaceWith(element("span", { className: "unreadable" }, t("unreadable")));
  if (!sha256) queueMicrotask(gone);
  image.onerror = gone;
  if (sha256) image.src = `/thumbnail/${sha256}`;
  return image;
}

const listeners = [];
let known = null;

// Calls f(project) now and whenever something in the project is new, in this tab or another.
export function onChange(listener) {
  listeners.push(listener);
  if (known) listener(known);
}

// Asks now instead of at the next turn: after something was changed here.
export async function refresh() {
  let project;
  try {
    const response = await fetch("/api/project");
    if (!response.ok) throw new Error(t("unreachable"));
    project = await response.json();
  } catch {
    document.body.dataset.lost = "";
    toast(t("unreachable"), { error: true });
    return null;
  }
  if ("lost" in document.body.dataset) {
    delete document.body.dataset.lost;
    for (const box of document.querySelectorAll(".toast.error")) {
      if (box.dataset.message === t("unreachable")) box.remove();
    }
  }
  const before = known;
  known = project;
  if (before && before.home !== project.home) location.reload();
  const same = before && ["revision", "read", "done", "open"].every((k) => before[k] === project[k]);
  if (!same) {
    document.getElementById("project-name").textContent = project.open ? project.source : "";
    for (const listener of listeners) await listener(project);
  }
  return project;
}

async function watch() {
  const project = document.hidden ? known : await refresh();
  setTimeout(watch, project && project.open && !project.done ? 700 : 2500);
}

queueMicrotask(watch);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
