// The accuracy after the decisions so far, and because of what it moved.

import { element, t } from "./shell.js";

const find = (id) => document.getElementById(id);
const language = document.documentElement.lang;
const form = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
const percents = new Intl.NumberFormat(language, { style: "percent", ...form });
const points = new Intl.NumberFormat(language, { signDisplay: "exceptZero", ...form });
const percent = (fraction) => percents.format(fraction);
const moved = (fraction) => points.format(100 * fraction);

export function showAccuracy({ effect, measuring, measured_every: every }) {
  find("measure").disabled = measuring;
  find("measure").textContent = measuring ? t("measuring") : t("measure");
  find("accuracy-parts").textContent = effect ? parts(effect) : "";
  find("accuracy-hidden").textContent = effect ? hidden(effect) : "";
  if (!effect) {
    find("accuracy").textContent = t("not_measured", { every });
    return;
  }
  const { n: count, of } = effect;
  const [low, high] = [percent(effect.low), percent(effect.high)];
  const said = t("accuracy_is", { value: "\0", low, high, count }).split("\0");
  const value = element("b", {}, percent(effect.accuracy));
  find("accuracy").replaceChildren(t("accuracy_of", { of }), " ", said[0], value, said[1]);
}

// What moved it, and whether that is more than chance: the interval's half is what a change has to be.
function parts(effect) {
  const said = [t("before", { before: percent(effect.before) })];
  const { from_training: training, from_test: test, low, high } = effect;
  if (effect.trained) said.push(t("by_training", { points: moved(training) }));
  if (effect.trained && Math.abs(training) < (high - low) / 2) said.push(t("by_chance"));
  if (effect.tested) said.push(t("by_test", { points: moved(test) }));
  else said.push(t("test_untouched"));
  return said.join(" ");
}

function hidden({ undoubted: count, undoubted_wrong: wrong, hidden_low: low, hidden_high: high, tested }) {
  if (count) return t("hidden", { count, wrong, low: percent(low), high: percent(high) });
  return tested ? t("not_blind", { count: tested }) : "";
}
