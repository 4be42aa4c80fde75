// Adding images to a class: chosen files, dropped files and folders, and the webcam.

import { undo } from "./images_undo.js";
import { refresh, sendFile, t, toast } from "./shell.js";

const find = (id) => document.getElementById(id);
const PICTURE = /\.(jpe?g|jpe|jfif|mpo|a?png|gif|bmp|webp|tiff?|p[pgbn]m|avif|jp2|tga|hei[cf]|hif)$/i;
const TAKE = 10; // frames of the webcam that stay together in one split
const PAUSE = 200; // ms between frames
const FRAME = 640; // pixels of a frame's longer side, at most

// Now, as the names of added images say it.
const stamp = () => new Date().toISOString().replace(/\D/g, "").slice(0, 17);

// Sends [{file, label}], two at a time, and says what came of it.
export async function addAll(wanted) {
  const some = wanted.filter(({ file }) => file.type.startsWith("image/") || PICTURE.test(file.name));
  const others = wanted.length - some.length;
  if (others) toast(t("not_images", { count: others }), { error: true });
  if (!some.length) return;
  const bar = find("adding-bar");
  find("adding").hidden = false;
  bar.max = some.length;
  let next = 0;
  let done = 0;
  let kept = 0;
  const batch = `${stamp()}d`;
  async function sender() {
    while (next < some.length) {
      const { file, label } = some[next++];
      try {
        await sendFile("/api/images/add", { class: label, name: file.name, batch }, file);
        kept += 1;
      } catch { /* was said */ }
      bar.value = ++done;
      find("adding-text").textContent = t("adding", { done, total: some.length });
    }
  }
  await Promise.all([sender(), sender()]);
  find("adding").hidden = true;
  if (kept) toast(t("added", { count: kept }), { action: undo });
  await refresh();
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

// `current()` is the class that images go to, or null if none is chosen.
export function startAdding(current) {
  find("pick").onclick = () => find("files").click();
  find("files").onchange = async (event) => {
    const wanted = [...event.target.files].map((file) => ({ file, label: current() }));
    event.target.value = "";
    await addAll(wanted);
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
    const wanted = await dropped(event.dataTransfer.items, label);
    const homeless = wanted.filter((each) => !each.label);
    if (homeless.length) toast(t("choose_class_first"), { error: true });
    await addAll(wanted.filter((each) => each.label));
  });
  startWebcam(current);
}

function startWebcam(current) {
  const video = find("video");
  const canvas = document.createElement("canvas");
  let stream = null;
  let recording = false;

  async function open() {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: FRAME } });
    } catch (error) {
      toast(t("no_webcam", { reason: error.message }), { error: true });
      return;
    }
    video.srcObject = stream;
    find("camera").hidden = false;
    find("record").focus();
  }

  function close() {
    recording = false;
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = video.srcObject = null;
    find("camera").hidden = true;
  }

  async function frame() {
    const scale = Math.min(1, FRAME / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  }

  async function record() {
    if (recording || !stream) return;
    recording = true;
    const label = current();
    const started = stamp();
    for (let count = 0; recording && stream; ) {
      const pause = new Promise((done) => setTimeout(done, PAUSE));
      const batch = `${started}w${Math.floor(count / TAKE)}`;
      try {
        const query = { class: label, name: t("frame"), batch };
        await sendFile("/api/images/add", query, await frame());
      } catch {
        break;
      }
      find("recorded").textContent = t("recorded", { count: ++count, label });
      await pause;
    }
    recording = false;
    await refresh();
  }

  const stop = () => { recording = false; };
  const button = find("record");
  button.onpointerdown = (event) => { button.setPointerCapture(event.pointerId); record(); };
  button.onpointerup = button.onpointercancel = button.onblur = stop;
  button.onkeydown = (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) record();
  };
  button.onkeyup = stop;
  find("webcam").onclick = () => (stream ? close() : open());
  find("camera-close").onclick = close;
  addEventListener("pagehide", close);
}
