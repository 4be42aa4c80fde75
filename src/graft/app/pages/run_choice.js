// The run that a page is about (run_choice.html), what is kept in the page's address, and how numbers
// are written: as in the reports (report/numbers.py).

import { element, getJson, onChange, t, toast } from "./shell.js";

const find = (id) => document.getElementById(id);
const NBSP = "\u00a0";

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

// The address of another step with the run and the threshold of this page.
export function withRun(path, names = ["run", "from", "budget"]) {
  const query = new URLSearchParams();
  for (const name of names) if (kept(name) !== null) query.set(name, kept(name));
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export function percent(value) {
  if (value > 0 && value < 0.0005) return `<${NBSP}0.1${NBSP}%`;
  if (value >= 0.9995 && value < 1) return `>${NBSP}99.9${NBSP}%`;
  return `${hundredths(value)}${NBSP}%`;
}

export function span([low, high]) {
  return `${hundredths(low)}–${hundredths(high)}${NBSP}%`;
}

function hundredths(value) {
  const whole = Math.abs(value - Math.round(value)) < 1e-9;
  return (100 * value).toFixed(whole ? 0 : 1);
}

// Calls show(run) for the run that is chosen, now and when it changes; `areas` are hidden while there
// is none, and what to do is said instead. What it returns resolves when the runs are known: to the
// name of the run, or undefined where there is none.
export function onRun(areas, show) {
  let shown = null;
  let known;
  const first = new Promise((done) => { known = done; });

  function choose(found) {
    const name = found.runs.find((each) => each.name === kept("run"))?.name ?? found.runs[0]?.name;
    const some = name !== undefined;
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
    const said = (run) => t("run_named", { name: run.name, accuracy: percent(run.accuracy.value) });
    find("run").replaceChildren(
      ...found.runs.map((run) => element("option", { value: run.name, selected: run.name === name }, said(run))));
    find("run-note").textContent = found.begun.length ? t("one_begun") : "";
    if (name === shown) return;
    shown = name;
    show(name);
    known(name);
  }

  async function look() {
    const found = await getJson("/api/results/runs").catch(() => null);
    if (!found) return;
    choose(found);
    for (const { name, reason } of found.damaged) toast(t("damaged_run", { name, reason }), { error: true });
  }

  find("run").onchange = () => {
    keep({ run: find("run").value });
    shown = find("run").value;
    show(shown);
  };
  onChange(look);
  return first;
}
