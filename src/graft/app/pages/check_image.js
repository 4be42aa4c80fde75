// One image to decide about, with what speaks for and against its label.

import { element, t, thumbnailImage } from "./shell.js";

const find = (id) => document.getElementById(id);
const share = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
// Never rounded to certainty.
const percent = (value) => (value > 0.99 ? `> ${share.format(0.99)}` : share.format(value));
export const MOST_CLASSES = 9; // each has a number; beyond that a list is chosen from

const why = (kind) =>
  ({
    outlier: t("why_outlier"),
    blank: t("why_blank"),
    dark: t("why_dark"),
    two_labels: t("why_two_labels"),
    near_two_labels: t("why_near_two_labels"),
  })[kind] ?? t("why_test");

function button(keys, text, action, main = false) {
  const made = element("button", { type: "button", onclick: action, className: main ? "main" : "" });
  made.dataset.key = keys[0];
  made.append(...keys.map((key) => element("kbd", {}, key)));
  made.append(element("span", {}, text));
  return made;
}

// `next` are fetched ahead, so that a key shows the next image at once.
export function showOne(item, next, classes, { decide, skip }) {
  const image = find("image");
  const address = `/image/${item.sha256}`;
  if (image.getAttribute("src") !== address) image.src = address;
  image.alt = t("shown_image");
  for (const each of next) new Image().src = `/image/${each.sha256}`;
  const { label, suggested } = item;
  find("said").textContent = suggested ? t("said", { label, suggested }) : t("said_plain", { label });
  const known = item.gain !== undefined && item.gain !== null;
  find("why").textContent = known ? t("gain", { gain: percent(item.gain) }) : why(item.kind);
  find("path").textContent = item.path ?? "";
  find("buttons").replaceChildren(...choices(item, classes, decide), button(["s"], t("skip_image"), skip));
  const beside = item.beside ?? [];
  find("beside-part").hidden = !beside.length;
  find("beside-title").textContent = item.kind === "label_error" ? t("nearest") : t("copies");
  find("beside").replaceChildren(
    ...beside.map((each) =>
      element(
        "figure",
        {},
        thumbnailImage(each.sha256, each.label),
        element("figcaption", {}, each.label),
      ),
    ),
  );
}

function choices(item, classes, decide) {
  const { label, suggested } = item;
  const relabel = (name) => () => decide("relabel", name);
  const made = [];
  const few = classes.length <= MOST_CLASSES;
  const number = (name) => (few ? String(classes.indexOf(name) + 1) : "");
  if (suggested) made.push(button(`r${number(suggested)}`.split(""), t("relabel", { label: suggested }), relabel(suggested), true));
  made.push(button(`k${number(label)}`.split(""), t("keep", { label }), () => decide("keep"), !suggested));
  const out = button(["x"], t("keep_out"), () => decide("keep_out"));
  const others = classes.filter((name) => name !== label && name !== suggested);
  if (!others.length) return [...made, out];
  if (few) {
    return [...made, ...others.map((name) => button([number(name)], t("relabel", { label: name }), relabel(name))), out];
  }
  const list = element(
    "select",
    { onchange: (event) => event.target.value && decide("relabel", event.target.value) },
    element("option", { value: "" }, t("other_class")),
    ...others.map((name) => element("option", { value: name }, name)),
  );
  list.setAttribute("aria-label", t("other_class"));
  return [...made, list, out];
}
