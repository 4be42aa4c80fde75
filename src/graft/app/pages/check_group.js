// Many images of one kind, "said rose, looks like tulip", confirmed at once.

import { element, t, thumbnailImage } from "./shell.js";

const find = (id) => document.getElementById(id);
const AT_ONCE = 24;
const LIKELY = 0.5; // marked from the start: more likely wrong than right
let chosen = new Set();
let shown = "";

export function showGroup(items, { open }) {
  const { label, suggested } = items[0];
  const some = items.slice(0, AT_ONCE);
  const named = t("group", { label, suggested, count: items.length });
  find("group").textContent = items.length > some.length ? t("group_first", { named, shown: some.length }) : named;
  const key = some.map((item) => item.sha256).join(" ");
  if (key !== shown) {
    shown = key;
    chosen = new Set(some.filter((item) => item.gain >= LIKELY).map((item) => item.sha256));
    find("grid").replaceChildren(...some.map((item) => cell(item, some, open)));
  }
  count(some);
}

function cell(item, some, open) {
  const mark = element("span", { className: "mark-label" });
  const made = element("button", { type: "button" }, thumbnailImage(item.sha256, ""), mark);
  const draw = () => {
    const marked = chosen.has(item.sha256);
    made.setAttribute("aria-pressed", marked);
    mark.textContent = marked ? item.suggested : item.label;
  };
  made.onclick = () => {
    if (!chosen.delete(item.sha256)) chosen.add(item.sha256);
    draw();
    count(some);
  };
  made.ondblclick = () => open(item.sha256);
  made.dataset.sha256 = item.sha256;
  draw();
  return made;
}

function count(some) {
  const { label, suggested } = some[0];
  const marked = chosen.size;
  const kept = some.length - marked;
  find("confirm").textContent = t("confirm", { count: marked, suggested, kept, label });
}

// What is to be told of the group that is shown.
export function confirmGroup(items) {
  const some = items.slice(0, AT_ONCE).map((item) => item.sha256);
  return {
    label: items[0].suggested,
    images: some.filter((sha256) => chosen.has(sha256)),
    kept: some.filter((sha256) => !chosen.has(sha256)),
  };
}
