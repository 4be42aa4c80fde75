// Step 3: one button, what it will cost, the curves while it trains, and all runs.

import { element, getJson, onChange, refresh, sendJson, t, toast } from "./shell.js";
import { percent, span } from "./run_choice.js";
import { draw } from "./train_curves.js";

const find = (id) => document.getElementById(id);
const whole = (value) => `${Math.round(100 * value)}\u00a0%`;
let runs = [];
let running = null;
let watched = null; // the run whose curves are shown
let asked = 0;
const PATIENCE = 20; // seconds until it is said that measuring takes long

function duration(seconds) {
  if (seconds < 90) return t("seconds", { count: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return t("minutes", { count: Math.round(seconds / 60) });
  return t("hours", { count: Math.round(seconds / 360) / 10 });
}

// A guess is not shown to the second.
function roughly(seconds) {
  const step = seconds < 20 ? 5 : seconds < 90 ? 10 : 60;
  return duration(Math.max(step, Math.round(seconds / step) * step));
}

const settings = () => ({
  model: find("model").value,
  unfreeze: find("model").value.endsWith("_cnn") ? "none" : find("unfreeze").value,
  epochs: find("epochs").value ? Number(find("epochs").value) : null,
  image_size: find("image-size").value ? Number(find("image-size").value) : null,
  seed: find("seed").value ? Number(find("seed").value) : null,
  flip: find("flip").checked ? null : false,
});

// What the last finished run took: it is said while the time is being measured.
function measuring(polls) {
  const last = runs.find((run) => run.state === "finished" && run.seconds);
  if (last) return t("measuring_last", { name: last.name, time: duration(last.seconds) });
  return polls < PATIENCE ? t("measuring") : t("measuring_long");
}

async function showCost() {
  const mine = ++asked;
  for (let polls = 0; ; polls++) {
    if (mine !== asked || running) return;
    let told;
    try {
      told = await sendJson("/api/train/predict", { settings: settings() });
    } catch {
      find("cost").textContent = "";
      return;
    }
    if (mine !== asked || running) return;
    if (told.error) find("cost").textContent = told.error;
    else if (told.pending) find("cost").textContent = measuring(polls);
    else {
      const values = { time: roughly(told.seconds), count: told.new };
      find("cost").textContent = t(told.new ? "cost" : "cost_cached", values);
    }
    if (!told.pending) return;
    await new Promise((done) => setTimeout(done, 1000));
  }
}

function showCurves(name, epochs) {
  watched = name;
  find("curves").hidden = epochs.length === 0;
  find("curves-title").textContent = t("curves_of", { name });
  const column = (key) => epochs.map((each) => each[key]);
  const best = Math.max(...column("val_accuracy").filter((value) => value !== null));
  const label = t("accuracy_label", { count: epochs.length, best: percent(best) });
  draw(find("accuracy-chart"), [{ values: column("val_accuracy") }], {
    label, format: whole, most: 1,
  });
  const lines = [
    { name: t("validation"), values: column("val_loss") },
    { name: t("training"), values: column("train_loss") },
  ];
  draw(find("loss-chart"), lines, { label: t("loss_curve"), format: (v) => String(Math.round(v * 100) / 100) });
}

function cell(text, { name = "", number = false } = {}) {
  const made = element("td", { className: number ? "n" : "" }, text ?? "");
  if (name && text) made.dataset.name = name;
  return made;
}

function row(run) {
  const box = element("input", { type: "checkbox", value: run.name, onchange: showCompare });
  box.setAttribute("aria-label", t("choose_run", { name: run.name }));
  box.hidden = run.state !== "finished";
  const { accuracy } = run;
  const interval = accuracy && t("interval", { value: percent(accuracy.value), interval: span([accuracy.low, accuracy.high]) });
  const tools = element("div", { className: "toolbar" }); // a cell that is a flex box loses its line
  if (run.state === "finished") tools.append(element("a", { className: "button", href: `/report/${run.name}`, target: "_blank" }, t("report")));
  if (run.state === "stopped") tools.append(element("button", { type: "button", onclick: () => resume(run.name) }, t("resume")));
  if (run.state !== "failed") {
    const show = async () => showCurves(run.name, (await getJson(`/api/train/curves/${run.name}`)).epochs);
    tools.append(element("button", { type: "button", onclick: () => show().catch(() => {}) }, t("curves")));
  }
  const how = run.unfreeze === "none" ? run.model : t("how_depth", { model: run.model, depth: run.unfreeze });
  const state = element("td", {}, element("span", { className: `tag ${run.state}` }, t(`state_${run.state}`)));
  const made = element(
    "tr", {},
    element("td", {}, box), element("th", { scope: "row" }, run.name), state,
    cell(interval, { name: t("accuracy"), number: true }),
    cell(new Intl.NumberFormat(document.documentElement.lang).format(run.images), { name: t("images"), number: true }),
    cell(run.seconds ? duration(run.seconds) : "", { name: t("time"), number: true }),
    run.problem ? element("td", { className: "problem" }, run.problem) : cell(how),
    element("td", {}, tools),
  );
  made.dataset.run = run.name;
  return made;
}

const chosen = () => [...find("runs").querySelectorAll("input:checked")].map((box) => box.value);

function showCompare() {
  find("compare").disabled = chosen().length < 2;
}

async function showRuns() {
  const before = new Set(chosen());
  runs = (await getJson("/api/train/runs")).runs;
  find("no-runs").hidden = runs.length > 0;
  find("runs").hidden = runs.length === 0;
  find("runs").tBodies[0].replaceChildren(...runs.map(row));
  for (const box of find("runs").querySelectorAll("input")) box.checked = before.has(box.value);
  showCompare();
}

function showStage({ stage, done, total }) {
  const said = {
    starting: () => t("stage_starting"),
    reading: () => (total ? t("stage_reading", { done, total }) : t("stage_reading_on")),
    learning: () => (total ? t("stage_learning", { share: whole(done / total) }) : t("stage_learning_on")),
    finishing: () => t("stage_finishing"),
  };
  find("said").textContent = said[stage]();
  const bar = find("training-bar");
  if (total) bar.value = done / total;
  else bar.removeAttribute("value");
}

async function showRunning() {
  const now = await getJson("/api/train/running");
  const ended = running && running !== now.name;
  running = now.name;
  find("running").hidden = !running;
  find("train").disabled = Boolean(running);
  if (running) {
    find("running-title").textContent = t("is_trained", { name: running });
    showStage(now);
    find("cost").textContent = t("one_at_a_time", { name: running });
    showCurves(running, now.epochs);
  }
  if (ended) {
    const name = watched;
    await showRuns();
    const run = runs.find((each) => each.name === name);
    if (run?.state === "failed") toast(run.problem, { error: true });
    if (run?.state === "finished") toast(t("is_done", { name, value: percent(run.accuracy.value) }));
    showCurves(name, (await getJson(`/api/train/curves/${name}`)).epochs);
    showCost();
  }
  return running;
}

async function watch() {
  try {
    if (!document.hidden) await showRunning();
  } catch { /* was said */ }
  setTimeout(watch, running ? 1000 : 3000);
}

async function resume(name) {
  await sendJson("/api/train/resume", { name }).catch(() => null);
  await afterwards();
}

async function afterwards() {
  await showRunning();
  await showRuns();
  await refresh();
}

find("train").onclick = async () => {
  find("train").disabled = true;
  find("cost").textContent = "";
  await sendJson("/api/train/start", { settings: settings() }).catch(() => null);
  await afterwards();
  find("running").scrollIntoView({ block: "center" }); // far below the settings where those are open
};
find("stop").onclick = async () => {
  find("stop").disabled = true;
  const name = running;
  await sendJson("/api/train/stop", { name }).catch(() => null);
  for (let i = 0; i < 60 && (await showRunning()); i++) await new Promise((done) => setTimeout(done, 500));
  find("stop").disabled = false;
  await afterwards();
  if (running) return;
  const { epochs } = await getJson(`/api/train/curves/${name}`).catch(() => ({ epochs: [] }));
  toast(epochs.length ? t("was_stopped", { name }) : t("was_stopped_early", { name }));
};
find("compare").onclick = async () => {
  const found = await sendJson("/api/train/compare", { names: chosen() }).catch(() => null);
  find("comparison").hidden = !found;
  find("comparison").replaceChildren(...(found?.sentences ?? []).map((each) => element("p", {}, each)));
};
find("settings").onchange = () => {
  find("unfreeze").disabled = find("model").value.endsWith("_cnn");
  showCost();
};
find("settings").onsubmit = (event) => event.preventDefault();

async function showModels() {
  if (find("model").options.length) return;
  const { models, words } = await getJson("/api/train/models");
  find("word-list").replaceChildren(...words.map(({ name, meaning }) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, meaning))));
  const named = (each) => element("option", { value: each.name }, each.note ? `${each.name} – ${each.note}` : each.name);
  find("model").replaceChildren(...models.map(named));
}

onChange(async (project) => {
  if (!project.open) {
    location.assign("/images");
    return;
  }
  await showModels();
  const { classes } = await getJson("/api/images/classes");
  const named = classes.filter((each) => each.name);
  const total = named.reduce((sum, each) => sum + each.count, 0);
  find("lead").textContent = t("lead", { count: named.length, images: total });
  await showRuns();
  if (!running) showCost();
});
watch();
