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

function parts(effect) {
  const [training, test] = [moved(effect.from_training), moved(effect.from_test)];
  return t("parts", { before: percent(effect.before), training, test });
}

function hidden({ undoubted: count, undoubted_wrong: wrong, hidden_low: low, hidden_high: high, tested }) {
  if (count) return t("hidden", { count, wrong, low: percent(low), high: percent(high) });
  return tested ? t("not_blind", { count: tested }) : "";
}
