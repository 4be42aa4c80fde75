// Step 6, Use it: exports, a server, and the lines that do all this without the app.

import { element, getJson, sendJson, t, toast } from "./shell.js";
import { answering, choose, keep, kept, onRun, percent } from "./run_choice.js";

const find = (id) => document.getElementById(id);
const AREAS = ["abstain", "others", "programs", "lines"];
const FOR_ALL = "web"; // the format that needs no program; the others are shown on request
const WATCH = 1500; // ms between looks at what is being made
// What each format is called, and what it is for.
const FORMATS = {
  web: () => [t("web"), t("web_note")],
  onnx: () => [t("onnx"), t("onnx_note")],
  openvino: () => [t("openvino"), t("openvino_note")],
  torch: () => [t("torch"), t("torch_note")],
  "hub-folder": () => [t("hub"), t("hub_note")],
  repository: () => [t("repository"), t("repository_note")],
};
const STEPS = {
  check: () => t("check"),
  train: () => t("train"),
  results: () => t("results"),
  predict: () => t("predict"),
  explain: () => t("explain"),
  chat: () => t("chat"),
  serve: () => t("serve"),
};
let run = null;
let lines = [];
let language = kept("language") === "python" ? "python" : "command";
let watching = null;
let drawn = ""; // what is in view: drawn again only when it changed, so that the focus stays

const query = () => {
  const { budget, from } = answering();
  return { run, budget, from: budget ? null : from };
};

onRun(AREAS, async (name) => {
  run = name;
  drawn = "";
  await Promise.all([showLines(), watch()]);
});

async function showLines() {
  const found = await getJson("/api/use/lines", query()).catch(() => null);
  if (!found) return;
  lines = found.lines;
  showBudgets(found.budgets);
  showSteps();
  const asked = new URLSearchParams(Object.entries(query()).filter(([, value]) => value));
  find("notebook").href = `/use/lines/notebook?${asked}`;
  find("script").href = `/use/lines/script?${asked}`;
}

// Always; the threshold that was last set in step Results; and how much may be wrong, of which is grayed
// what cannot be promised.
function showBudgets(budgets) {
  const { budget, from, own } = answering();
  const options = [["", t("always"), false]];
  if (own) options.push(["own", t("own", { share: percent(own) }), false]);
  for (const each of budgets) {
    const share = each.budget.replace("%", "\u00a0%");
    const possible = each.from !== null;
    options.push([each.budget, possible ? t("budget", { share }) : t("budget_unknown", { share }), !possible]);
  }
  const chosen = budget ?? (from ? "own" : "");
  find("budget").replaceChildren(...options.map(([value, text, disabled]) =>
    element("option", { value, disabled, selected: value === chosen }, text)));
  find("abstain-note").textContent = chosen === "own" ? t("own_note") : t("abstain_note");
}

find("budget").onchange = async () => {
  const value = find("budget").value;
  const chosen = { "": { from: 0 }, own: { from: answering().own } }[value] ?? { budget: value };
  await choose(run, chosen).catch(() => {});
  await showLines();
};

function nameOf(step) {
  const to = step.startsWith("export ") ? step.slice("export ".length) : null;
  return to ? t("export", { name: FORMATS[to]()[0] }) : STEPS[step]();
}

function showSteps() {
  for (const [id, value] of [["terminal", "command"], ["python", "python"]]) {
    find(id).setAttribute("aria-pressed", String(language === value));
  }
  find("python-note").hidden = language !== "python";
  const some = lines.filter((line) => line[language]);
  find("steps").replaceChildren(...some.map((line) => {
    const name = nameOf(line.step);
    return element("li", { "data-step": line.step }, element("h3", {}, name), copyable(line[language], name));
  }));
}

function copyable(text, name) {
  const button = element("button", { type: "button", "aria-label": t("copy_named", { name }) }, t("copy_line"));
  button.onclick = () => copy(text);
  return element("div", { className: "line" }, element("pre", { tabIndex: 0 }, text), button);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("copied"));
  } catch {
    toast(t("copy_failed"), { error: true });
  }
}

for (const [id, value] of [["terminal", "command"], ["python", "python"]]) {
  find(id).onclick = () => {
    language = value;
    keep({ language: value === "python" ? value : null });
    showSteps();
  };
}
find("copy-all").onclick = () => {
  const some = lines.filter((line) => line[language]).map((line) => `# ${nameOf(line.step)}\n${line[language]}`);
  copy([...(language === "python" ? ["import graft"] : []), ...some].join("\n\n") + "\n");
};

// How the exports and the server are doing; asked again while something is going on.
async function watch() {
  clearTimeout(watching);
  const mine = run;
  const found = await getJson("/api/use/state", { run }).catch(() => null);
  if (!found || mine !== run) return;
  const told = JSON.stringify(found);
  if (told !== drawn) {
    drawn = told;
    const focus = document.activeElement?.dataset?.to;
    const cards = found.exports.map((each) => card(each, found.busy));
    find("exports").replaceChildren(...cards.filter((each) => each.dataset.format === FOR_ALL));
    find("more-exports").replaceChildren(...cards.filter((each) => each.dataset.format !== FOR_ALL));
    if (found.exports.some((each) => each.to !== FOR_ALL && each.state !== "new")) find("formats").open = true;
    find("one-at-a-time").hidden = !found.busy;
    if (focus) find("others").querySelector(`[data-to="${focus}"]`)?.focus();
    showServing(found.serving);
  }
  if (found.busy || found.serving.state === "starting") watching = setTimeout(watch, WATCH);
}

function card(found, busy) {
  const [name, note] = FORMATS[found.to]();
  const parts = [element("h3", {}, name), element("p", { className: "note" }, note)];
  if (found.state === "done") {
    const size = Object.values(found.files).reduce((sum, each) => sum + each, 0) / 1e6;
    const where = `/use/export/${found.to}?run=${encodeURIComponent(run)}`;
    const link = element("a", { className: "button", href: where, download: "", "aria-label": t("download_named", { name }) }, t("download"));
    link.dataset.to = found.to;
    parts.push(element("div", {}, link), said(t("made", { size: size.toFixed(1), folder: found.folder })));
    if (found.parity) parts.push(said(t("compared", { count: found.parity.images, labels: found.parity.labels_changed })));
  } else if (found.state === "running") {
    const stop = element("button", { type: "button", "aria-label": t("stop_named", { name }) }, t("stop_making"));
    stop.dataset.to = found.to;
    stop.onclick = () => sendJson("/api/use/stop-export").catch(() => {}).then(watch);
    parts.push(element("progress", { "aria-label": name }), said(found.said ? t("making_now", { said: found.said }) : t("making")), element("div", {}, stop));
  } else {
    const button = element("button", { type: "button", disabled: busy, "aria-label": t("make_named", { name }) }, t("make"));
    button.dataset.to = found.to;
    button.onclick = () => sendJson("/api/use/export", { run, to: found.to }).catch(() => {}).then(watch);
    parts.push(element("div", {}, button));
    if (found.state === "failed") {
      const failed = said(t("export_failed", { said: found.said }));
      failed.classList.add("failed");
      parts.push(failed);
    }
  }
  const made = element("li", { className: "card" }, ...parts);
  made.dataset.format = found.to;
  made.dataset.state = found.state;
  return made;
}

const said = (text) => element("p", { className: "said", role: "status" }, text);

function showServing(found) {
  const on = found.state === "on";
  find("start").hidden = on || found.state === "starting";
  find("stop").hidden = !on;
  find("docs").hidden = !on;
  find("docs").href = `${found.address}/docs`;
  const said = { on: () => t("serving", { run: found.run }), starting: () => t("starting"), failed: () => t("serve_failed", { said: found.said }) };
  find("serving").textContent = said[found.state]?.() ?? "";
  const where = `${found.address}/v1/models/${encodeURIComponent(found.run)}:predict`;
  find("ask-line").replaceChildren(...(on ? [copyable(`curl --data-binary @photo.jpg ${where}`, t("serve"))] : []));
}

find("start").onclick = () => sendJson("/api/use/serve", { run, budget: answering().budget }).catch(() => {}).then(watch);
find("stop").onclick = () => sendJson("/api/use/stop-serving").catch(() => {}).then(watch);
