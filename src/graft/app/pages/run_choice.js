// The run that a page is about (run_choice.html), from which probability on it answers, what is kept
// in the page's address, and how numbers are written: as in the reports (report/numbers.py).

import { element, getJson, onChange, sendJson, t, toast } from "./shell.js";

const find = (id) => document.getElementById(id);
const NBSP = "\u00a0";
const LINKED = ["from", "budget"]; // what a link may choose: the app keeps it, the address does not
let answers = { from: 0, budget: null, own: null };

// How the run that is chosen answers: from a probability, because of a budget ("2%") or null; `own` is
// the last threshold that was set by hand. All steps, tabs and restarts have the same.
export const answering = () => answers;

// Chooses { budget } or { from } for a run.
export async function choose(run, chosen) {
  answers = await sendJson("/api/results/answering", { run, ...chosen });
}

// A value of the page's address, such as ?run=birds: it survives a reload and goes with a link.
export function kept(name) {
  return new URLSearchParams(location.search).get(name);
}

export function keep(values) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === "" || value === 0) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

// The address of another step with the run of this page.
export function withRun(path) {
  return kept("run") === null ? path : `${path}?${new URLSearchParams({ run: kept("run") })}`;
}

export function percent(value) {
  if (value > 0 && value < 0.0005) return `<${NBSP}0.1${NBSP}%`;
  if (value >= 0.9995 && value < 1) return `>${NBSP}99.9${NBSP}%`;
  return `${hundredths(value)}${NBSP}%`;
}

export function span([low, high]) {
  return `${hundredths(low)} to ${hundredths(high)}${NBSP}%`;
}

function hundredths(value) {
  const whole = Math.abs(value - Math.round(value)) < 1e-9;
  return (100 * value).toFixed(whole ? 0 : 1);
}

// What a link chooses is chosen for the run, and kept as any other choice.
async function takeLinked(run) {
  const chosen = Object.fromEntries(LINKED.map((name) => [name, kept(name)]).filter(([, value]) => value !== null));
  if (!Object.keys(chosen).length) return;
  keep({ from: null, budget: null });
  await choose(run, chosen).catch(() => {});
}

// Calls show(run) for the run that is chosen, now and when it changes, or when it answers otherwise than
// is known here; `areas` are hidden while there is none, and what to do is said instead. What it returns
// resolves when the runs are known: to the name of the run, or undefined where there is none.
export function onRun(areas, show) {
  let shown = null;
  let runs = [];
  let known;
  const first = new Promise((done) => { known = done; });

  async function choice(found) {
    runs = found.runs;
    const run = runs.find((each) => each.name === kept("run")) ?? runs[0];
    const some = run !== undefined;
    find("no-run").hidden = some;
    for (const id of [...areas, "run-choice"]) find(id).hidden = !some;
    if (!some) {
      const closed = !found.open;
      find("no-run-text").textContent = closed ? t("no_folder") : found.begun.length ? t("begun_run") : t("no_run");
      find("no-run-go").textContent = closed ? t("go_images") : t("go_train");
      find("no-run-go").href = closed ? "/images" : "/train";
      shown = null;
      known();
      return;
    }
    const { name } = run;
    const said = (each) => t("run_named", { name: each.name, accuracy: percent(each.accuracy.value) });
    find("run").replaceChildren(
      ...runs.map((each) => element("option", { value: each.name, selected: each.name === name }, said(each))));
    find("run-note").textContent = found.begun.length ? t("one_begun") : "";
    const before = JSON.stringify(answers);
    answers = run.answering;
    if (shown !== name) await takeLinked(name);
    if (shown === name && JSON.stringify(answers) === before) return;
    shown = name;
    show(name);
    known(name);
  }

  async function look() {
    const found = await getJson("/api/results/runs").catch(() => null);
    if (!found) return;
    await choice(found);
    for (const { name, reason } of found.damaged) toast(t("damaged_run", { name, reason }), { error: true });
  }

  find("run").onchange = async () => {
    const name = find("run").value;
    keep({ run: name });
    shown = null; // it may answer otherwise than when the runs were listed
    await look();
  };
  onChange(look);
  return first;
}
