// The accuracy after the decisions so far, and because of what it moved.

import { percent } from "./run_choice.js";
import { element, t } from "./shell.js";

const find = (id) => document.getElementById(id);
const language = document.documentElement.lang;
const form = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
const points = new Intl.NumberFormat(language, { signDisplay: "exceptZero", ...form });
const moved = (fraction) => points.format(100 * fraction);
const ENOUGH = 20; // images looked at, from which on an interval of errors says something

// `decided`: how many decisions there are by now; `left`: test images that are still to be looked at.
export function showAccuracy({ effect, current, measuring, measured_every: every, test }, decided, left) {
  find("measure").disabled = measuring;
  find("measure").textContent = measuring ? t("measuring") : t("measure");
  find("accuracy-now").textContent = effect ? now({ effect, current, measuring, every, decided }) : "";
  find("accuracy-parts").textContent = effect?.of ? parts(effect, test, left) : "";
  find("accuracy-hidden").textContent = effect ? hidden(effect, left) : "";
  if (!effect) {
    find("accuracy").textContent = measuring ? t("measuring_first") : t("not_measured", { every });
    return;
  }
  const { n: count, of } = effect;
  const [low, high] = [percent(effect.low).replace(/\s*%$/, ""), percent(effect.high)];
  const said = t("accuracy_is", { value: "\0", low, high, count }).split("\0");
  const value = element("b", {}, percent(effect.accuracy));
  const when = of ? t("accuracy_of", { count: of }) : t("accuracy_first");
  find("accuracy").replaceChildren(when, " ", said[0], value, said[1]);
}

// Whether that is what holds now, and when it is measured again.
function now({ effect, current, measuring, every, decided }) {
  if (measuring) return t("again", { count: decided });
  if (decided !== effect.of) return t("since", { count: decided, every });
  return current ? t("every", { every }) : t("before_changes");
}

// What moved it, and whether that is more than chance: the interval's half is what a change has to be.
function parts(effect, test, left) {
  const said = [t("before", { before: percent(effect.before) })];
  const { from_training: training, from_test: corrected, low, high } = effect;
  if (effect.trained) said.push(t("by_training", { points: moved(training) }));
  if (effect.trained && Math.abs(training) < (high - low) / 2) said.push(t("by_chance"));
  if (effect.tested) said.push(t("by_test", { points: moved(corrected) }));
  else if (left) said.push(t("test_untouched"));
  else if (test.decided) said.push(t("test_right", { count: test.decided }));
  return said.join(" ");
}

function hidden({ undoubted: count, undoubted_wrong: wrong, hidden_low: low, hidden_high: high, tested }, left) {
  if (count >= ENOUGH) {
    return t("hidden", { count, wrong, low: percent(low).replace(/\s*%$/, ""), high: percent(high) });
  }
  if (count) return [t("hidden_few", { count, wrong, enough: ENOUGH }), left ? t("left_here", { count: left }) : ""].join(" ");
  return tested ? t("not_blind", { count: tested }) : "";
}
