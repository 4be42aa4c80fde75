// Adding images to a class: chosen files, dropped files, folders and archives.

import { undoing } from "./images_undo.js";
import { getJson, refresh, sendJson, sendFile, t, toast } from "./shell.js";

const find = (id) => document.getElementById(id);
const PICTURE = /\.(jpe?g|jpe|jfif|mpo|a?png|gif|bmp|webp|tiff?|p[pgbn]m|avif|jp2|tga|hei[cf]|hif)$/i;
const ARCHIVE = /\.(zip|tar|tgz|tar\.(gz|xz|bz2))$/i;
const OTHER_ARCHIVE = /\.(rar|7z|gz|xz|bz2|zst|dmg|iso)$/i; // to be unpacked by hand
const NAMED = 3; // files that are named among those left out

// Now, as the names of added images say it.
export const stamp = () => new Date().toISOString().replace(/\D/g, "").slice(0, 17);

// Sends [{file, label}], two at a time, and gives what came of each: graft.app.arrivals says what.
async function addImages(some, batch) {
  const came = [];
  let next = 0;
  let done = 0;
  async function sender() {
    while (next < some.length) {
      const { file, label } = some[next++];
      try {
        const one = await sendFile("/api/images/add", { class: label, name: file.name, batch }, file);
        came.push({ ...one, name: file.name, wanted: label });
      } catch { /* was said */ }
      working(t("adding", { done: ++done, total: some.length }), done, some.length);
    }
  }
  await Promise.all([sender(), sender()]);
  return came;
}

// Sends an archive; its class folders become classes. How many images it had, and those left out.
async function addArchive({ file, label }, batch) {
  working(t("unpacking", { name: file.name }));
  const query = { name: file.name, batch, ...(label ? { class: label } : {}) };
  const found = await sendFile("/api/images/add-archive", query, file).catch(() => null);
  return found ?? { count: 0, others: [], left_out: 0, named: [] };
}

function working(text, done = null, total = 1) {
  const bar = find("adding-bar");
  find("adding").hidden = false;
  find("adding-text").textContent = text;
  bar.max = total;
  if (done === null) bar.removeAttribute("value");
  else bar.value = done;
}

const listed = (some, name) => some.slice(0, NAMED).map(name).join(", ") + (some.length > NAMED ? ", …" : "");

const isIn = ({ label, wanted }) => label.toLowerCase() === wanted.toLowerCase();

// Says how many images are new, which can be undone as one, and which were there already.
async function sayAdded(count, others, batch) {
  const of = (state, same) => others.filter((each) => each.state === state && same === isIn(each));
  const back = others.filter((each) => each.state === "back");
  const there = of("there", true);
  const elsewhere = of("there", false);
  const said = [
    count ? t("added", { count }) : "",
    back.length ? t("back", { count: back.length, names: listed(back, (each) => each.name) }) : "",
    there.length ? t("there", { count: there.length, names: listed(there, (each) => each.name) }) : "",
  ].filter(Boolean).join(" ");
  const { action } = await getJson("/api/images/classes").catch(() => ({ action: "" }));
  // Only what is new is undone here, and only while nothing newer was done.
  if (said) toast(said, count && action === batch ? { action: undoing(batch), undoes: batch } : {});
  if (elsewhere.length) sayElsewhere(elsewhere, action);
}

// Images that another class has: nothing is done with them unless the user says so.
function sayElsewhere(some, last) {
  const names = listed(some, ({ name, label }) =>
    label ? t("in_class", { name, label }) : t("in_no_class", { name }));
  const to = some[0].wanted;
  const move = async () => {
    const paths = [...new Set(some.map((each) => each.id))];
    const done = await sendJson("/api/images/move", { paths, to }).catch(() => null);
    if (done) toast(t("moved", { count: done.count, to }), { action: undoing(done.action), undoes: done.action });
    await refresh();
  };
  const one = some.every((each) => each.wanted === to);
  toast(t("elsewhere", { count: some.length, names }), {
    error: true, ...(one ? { action: move, label: t("move_anyway", { to }), undoes: last } : {}),
  });
}

function sayLeftOut(count, names) {
  if (!count) return;
  const some = names.slice(0, NAMED).join(", ");
  const text = count > NAMED ? t("not_images_more", { names: some, count: count - NAMED }) : t("not_images", { names: some });
  toast(text, { error: true });
}

const isArchive = ({ file }) => ARCHIVE.test(file.name);
const isImage = ({ file }) => !isArchive({ file }) && (file.type.startsWith("image/") || PICTURE.test(file.name));

// Adds [{file, label}]; `added` is told of the images that came as files.
async function addAll(wanted, added) {
  const archives = wanted.filter(isArchive);
  const images = wanted.filter(isImage);
  const homeless = images.filter((each) => !each.label);
  if (homeless.length) toast(t("choose_class_first"), { error: true });
  const others = wanted.filter((each) => !isArchive(each) && !isImage(each)).map(({ file }) => file.name);
  const packed = others.filter((name) => OTHER_ARCHIVE.test(name));
  if (packed.length) toast(t("unpack_first", { name: packed[0] }), { error: true });
  else sayLeftOut(others.length, others);
  const batch = `${stamp()}d`;
  const came = await addImages(images.filter((each) => each.label), batch);
  const first = new Map(); // of two copies of an image one is new
  for (const each of came) if (each.state === "new" && !first.has(each.id)) first.set(each.id, each);
  const ids = [...first.keys()];
  const known = came
    .filter((each) => first.get(each.id) !== each)
    .map((each) => ({ ...each, state: each.state === "new" ? "there" : each.state }));
  let kept = ids.length;
  const left = { count: 0, names: [] };
  for (const archive of archives) {
    const found = await addArchive(archive, batch);
    kept += found.count;
    known.push(...found.others);
    left.count += found.left_out;
    left.names.push(...found.named);
  }
  find("adding").hidden = true;
  sayLeftOut(left.count, left.names);
  await refresh();
  await sayAdded(kept, known, batch);
  const labels = [...new Set(images.map((each) => each.label))];
  const seen = ids.length ? ids : known.map((each) => each.id);
  if (images.length && seen.length) await added(seen, ids.length && labels.length === 1 ? labels[0] : null);
}

// The files of a drop, those in folders with the folder's name as their class.
async function dropped(items, label) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.() ?? null);
  const files = [...items].map((item) => item.getAsFile());
  const found = [];
  async function walk(entry, within) {
    if (entry.isFile) {
      const file = await new Promise((yes, no) => entry.file(yes, no));
      if (!file.name.startsWith(".")) found.push({ file, label: within });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((yes, no) => reader.readEntries(yes, no));
      if (!some.length) return;
      for (const each of some) await walk(each, entry.name);
    }
  }
  for (const [i, entry] of entries.entries()) {
    if (entry?.isDirectory) await walk(entry, label);
    else if (files[i]) found.push({ file: files[i], label });
  }
  return found;
}

// `current()` is the class that images go to, or null if none is chosen; `added(ids, label)` is
// told of those that were added, and to which one if it was one.
export function startAdding(current, added) {
  find("pick").onclick = () => find("files").click();
  find("files").onchange = async (event) => {
    const wanted = [...event.target.files].map((file) => ({ file, label: current() }));
    event.target.value = "";
    await addAll(wanted, added);
  };
  addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const label = event.target.closest?.("[data-class]")?.dataset.class ?? current();
    await addAll(await dropped(event.dataTransfer.items, label), added);
  });
}
