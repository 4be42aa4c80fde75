// Step 5, Try: an image, and what the classifier makes of it.

import { element, getJson, sendFile, sendJson, t, thumbnailImage, toast } from "./shell.js";
import { answering, keep, kept, onRun, percent, withRun } from "./run_choice.js";
import { fillTeaching, startTeaching } from "./try_teaching.js";
import { startWebcam } from "./try_webcam.js";
import { talkAbout } from "./try_chat.js";

const find = (id) => document.getElementById(id);
const AREAS = ["show", "chat", "next"];
const BARS = 5;
let run = null;
let shown = null; // the answer that is in view
let asked = 0;
let within = 1; // the share of images like the validation ones that count as like them
const least = () => answering().from;

const listed = onRun(AREAS, async (name) => {
  run = name;
  shown = null;
  find("result").hidden = true;
  find("loading").hidden = false;
  find("threshold").hidden = least() === 0;
  find("threshold-text").textContent = t("threshold_note", { share: percent(least()) });
  find("threshold-link").href = withRun("/results");
  find("next-link").href = withRun("/use");
  const ready = await getJson("/api/try/ready", { run }).catch(() => null);
  if (!ready || run !== name) return;
  find("loading").hidden = true;
  within = ready.within;
  fillTeaching([...new Set([...ready.classes, ...ready.project_classes])]);
  find("evidence-for").replaceChildren(...ready.classes.map((each) => element("option", { value: each }, each)));
  document.body.dataset.ready = run;
  const image = kept("image");
  if (image) await show(() => getJson("/api/try/answer", { run, image, from: least() }));
  else {
    talkAbout(run, null);
    await showTried();
  }
});

// Sends an image and shows what is said of it.
async function tryImage(blob, name) {
  if (!blob.type.startsWith("image/") && !/\.\w{3,5}$/.test(name)) {
    toast(t("not_an_image"), { error: true });
    return;
  }
  if (!(await known())) return;
  await show(() => sendFile("/api/try/image", { run, name, from: least() }, blob));
}

// Whether there is a run to ask: what is dropped before the runs are known waits for them.
async function known() {
  const some = await listed;
  if (!run && !some) toast(t("no_run"), { error: true });
  return run !== null;
}

async function show(ask) {
  const mine = ++asked;
  const found = await ask().catch(() => null);
  if (mine !== asked) return;
  if (!found) {
    keep({ image: null });
    return;
  }
  shown = found;
  keep({ image: found.image });
  fill(found);
  talkAbout(run, found);
  showTried();
  await showMap(found.best_guess);
}

function fill(found) {
  find("result").hidden = false;
  find("picture").src = `/try/image/${found.image}`;
  find("picture").alt = found.name;
  find("picture-name").textContent = found.name;
  const none = found.label === null;
  const said = found.ranked[0].said;
  find("label").textContent = none ? found.refusal : found.label;
  find("label").classList.toggle("none", none);
  find("sure").textContent = none ? t("closest", { name: found.best_guess }) : t("sure", { said });
  find("reason").hidden = !none;
  find("reason").textContent = none ? whyNot(found) : "";
  find("seen").hidden = !found.seen;
  find("seen").textContent = found.seen ? t("seen", { seen: found.seen }) : "";
  find("bars").replaceChildren(...found.ranked.slice(0, BARS).map(bar));
  const rest = found.ranked.length - BARS;
  find("others").hidden = rest <= 0;
  if (rest > 0) find("others").textContent = t("other_classes", { count: rest });
  teaching(found);
  find("evidence-for").value = found.best_guess;
  find("nearest").replaceChildren(...found.nearest.map(neighbor));
  if (!found.nearest.length) find("nearest").append(element("li", { className: "note" }, t("no_nearest")));
}

function whyNot(found) {
  const unsure = found.probability < least();
  const values = { share: percent(within), said: found.ranked[0].said, name: found.best_guess, least: percent(least()) };
  if (found.unlike && unsure) return t("why_both", values);
  return found.unlike ? t("why_unlike", values) : t("why_unsure", values);
}

function bar({ name, probability, said }) {
  const filled = element("i");
  filled.style.width = `${100 * probability}%`;
  return element("li", {}, element("span", { className: "name" }, name), element("span", { className: "share" }, said),
    element("span", { className: "bar", "aria-hidden": "true" }, filled));
}

function neighbor({ sha256, label, said, path }) {
  return element("li", { title: path }, thumbnailImage(sha256, path),
    element("small", {}, t("nearest_caption", { label, said })));
}

// The heat map comes after the answer: it takes several looks at the image.
async function showMap(label) {
  const mine = asked;
  const place = find("maps");
  place.replaceChildren(element("p", { className: "note" }, t("drawing")));
  find("map-sentence").textContent = "";
  find("map-careful").hidden = true;
  const found = await getJson("/api/try/map", { run, image: shown.image, label }).catch(() => null);
  if (mine !== asked) return;
  place.replaceChildren();
  if (!found) return;
  place.append(
    drawing(found.seen_by_network, t("seen_alt"), t("seen_caption")),
    drawing(found.overlay, t("map_alt", { label }), t("map_caption", { label })),
    drawing(found.covered, t("covered_alt"), t("covered_caption")),
  );
  const sentence = found.sentence[0].toUpperCase() + found.sentence.slice(1);
  find("map-sentence").textContent = t("sentence", { sentence, comparison: found.comparison });
  find("map-careful").hidden = !found.suspicious;
  find("map-careful").textContent = found.suspicious;
}

const drawing = (src, alt, caption) =>
  element("figure", {}, element("img", { src, alt }), element("figcaption", {}, caption));

async function showTried() {
  const found = await getJson("/api/try/tried").catch(() => null);
  if (!found) return;
  find("tried-before").hidden = !found.images.length;
  find("tried").replaceChildren(...found.images.map(({ image, name }) => {
    const again = () => show(() => getJson("/api/try/answer", { run, image, from: least() }));
    const alt = t("again", { name });
    const picture = element("img", { src: `/try/image/${image}?small`, alt, loading: "lazy" });
    const button = element("button", { type: "button", title: name, onclick: again }, picture);
    button.setAttribute("aria-pressed", String(shown?.image === image));
    return element("li", {}, button);
  }));
}

find("evidence-for").onchange = () => shown && showMap(find("evidence-for").value);
find("pick").onclick = () => find("file").click();
find("file").onchange = async ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) await tryImage(file, file.name);
};
find("forget").onclick = async () => {
  const { image, name } = shown;
  if (!(await sendJson("/api/try/forget", { image }).catch(() => null))) return;
  shown = null;
  asked += 1;
  keep({ image: null });
  find("result").hidden = true;
  talkAbout(run, null);
  toast(t("forgotten", { name }));
  await showTried();
};
const teaching = startTeaching();
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file, ...more] = event.dataTransfer.files;
  if (more.length) toast(t("one_image", { name: file.name }));
  if (file) await tryImage(file, file.name);
  else toast(t("not_an_image"), { error: true });
});
addEventListener("paste", async (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (!file) return; // text that is pasted into the question stays there
  event.preventDefault();
  await tryImage(file, file.name === "image.png" ? t("pasted") : file.name);
});
startWebcam({ live: (blob) => sendFile("/api/try/frame", { run, from: least() }, blob), closer: (blob) => tryImage(blob, t("frame")) });
