// Step 4, Results: the numbers of a run, at the threshold that is chosen here.

import { element, getJson, t } from "./shell.js";
import { answering, choose, onRun, percent, span, withRun } from "./run_choice.js";
import { drawCurve, moveCurve } from "./results_curve.js";
import { openWorst, showMatrix, showImages } from "./results_matrix.js";

const find = (id) => document.getElementById(id);
const AREAS = ["summary", "threshold", "confusions", "words", "next"];
const slider = find("least");
const typed = find("least-percent");
let run = null;
let summary = null;
let least = 0;
let asking = null; // the threshold that is asked for while another answer is awaited

onRun(AREAS, async (name) => {
  run = name;
  const found = await getJson("/api/results/summary", { run }).catch(() => null);
  if (!found || run !== name) return;
  summary = found;
  find("headline").textContent = summary.headline;
  find("baseline").textContent = summary.baseline;
  find("report").hidden = !summary.report;
  find("report").href = `/results/report?run=${encodeURIComponent(run)}`;
  find("ood").hidden = summary.abstained_ood === null;
  if (summary.abstained_ood !== null) {
    find("ood").textContent = t("ood", { count: summary.abstained_ood, n: summary.n });
  }
  find("word-list").replaceChildren(...summary.words.map(({ name, meaning }) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, meaning))));
  showBudgets();
  drawCurve(find("curve"), summary.curve);
  find("cell").hidden = true;
  await move(answering().from);
  openWorst(find("matrix"));
});

// The buttons that set the threshold by how many answers may be wrong.
function showBudgets() {
  const rows = [{ max_error: null, min_probability: 0 }, ...summary.error_budgets];
  find("budgets").replaceChildren(...rows.map((row) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = row.max_error === null ? t("always") : t("budget", { share: `${Math.round(100 * row.max_error)} %` });
    button.disabled = row.min_probability === null;
    if (row.max_error !== null) button.title = button.disabled ? t("budget_unknown") : t("budget_certain");
    button.value = row.min_probability ?? "";
    const chosen = row.max_error === null ? { from: 0 } : { budget: `${Math.round(100 * row.max_error)}%` };
    button.onclick = () => Promise.all([move(row.min_probability), choose(run, chosen).catch(() => {})]);
    return button;
  }));
  find("budget-note").hidden = rows.every((row) => row.min_probability !== null);
}

// Shows what is answered from this probability on.
async function move(value) {
  least = value;
  slider.value = value;
  slider.setAttribute("aria-valuetext", percent(value));
  if (document.activeElement !== typed) typed.value = Number((100 * value).toFixed(2));
  for (const button of find("budgets").children) {
    button.setAttribute("aria-pressed", String(button.value !== "" && Number(button.value) === value));
  }
  moveCurve(find("curve"), value);
  if (asking !== null) {
    asking = value;
    return;
  }
  asking = value;
  const found = await getJson("/api/results/threshold", { run, from: value }).catch(() => null);
  const next = asking;
  asking = null;
  if (found) show(found);
  if (next !== value) await move(next);
}

function show({ test, val }) {
  const share = (some, of) => percent(of ? some / of : 0);
  find("answered").textContent = share(test.answered, test.n);
  find("answered-of").textContent = t("answered_of", { answered: test.answered, n: test.n, span: span(test.answered_interval) });
  find("errors").textContent = test.answered ? share(test.wrong, test.answered) : "–";
  find("errors-of").textContent = test.answered
    ? t("errors_of", { wrong: test.wrong, answered: test.answered, span: span(test.error_interval) })
    : t("nothing_answered");
  find("abstained-name").textContent = t("abstained", { count: test.abstained });
  find("abstained").textContent = share(test.abstained, test.n);
  find("abstained-of").textContent = t("abstained_of", { count: test.wrong_abstained });
  find("validation").textContent = t("validation", {
    n: val.n, answered: share(val.answered, val.n), errors: share(val.wrong, val.answered), span: span(val.error_interval),
  });
  showMatrix(find("matrix"), summary.classes, test, (cell) => showImages(run, least, cell));
  find("next-link").href = withRun("/try");
}

// While the slider is moved the numbers follow; where it is let go is what is kept.
const choosing = (value) => Promise.all([move(value), choose(run, { from: value }).catch(() => {})]);
slider.oninput = () => move(Number(slider.value));
slider.onchange = () => choosing(Number(slider.value));
typed.onchange = () => {
  const value = Math.min(1, Math.max(0, Number(typed.value) / 100 || 0));
  typed.value = Number((100 * value).toFixed(2)); // what holds, where the box had something else
  return choosing(value);
};
