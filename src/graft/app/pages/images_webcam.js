// Recording from the webcam into the class that is chosen, while a button is held.

import { stamp } from "./images_adding.js";
import { refresh, sendFile, t, thumbnailImage } from "./shell.js";
import { Webcam } from "./webcam.js";

const find = (id) => document.getElementById(id);
const TAKE = 10; // frames that stay together in one split
const PAUSE = 200; // ms between frames
const LAST = 6; // frames that are shown beside the image

// `current()` is the class that images go to.
export function startWebcam(current) {
  const box = find("camera");
  const webcam = new Webcam(find("video"), () => {
    recording = false;
    box.hidden = true;
  });
  let recording = false;
  let known = { label: null, count: 0 }; // recorded since the webcam was turned on

  async function open() {
    if (!(await webcam.open())) return;
    known = { label: null, count: 0 };
    find("recorded").textContent = "";
    find("last-frames").replaceChildren();
    box.hidden = false;
    find("record").focus();
  }

  // `busy` lasts until the last frame is kept: afterwards what is said is final.
  async function record() {
    if (recording || !webcam.hasPicture) return;
    recording = true;
    box.setAttribute("aria-busy", "true");
    const label = current();
    if (known.label !== label) known = { label, count: 0 };
    const started = stamp();
    for (let count = 0; recording && webcam.hasPicture; count++) {
      const pause = new Promise((done) => setTimeout(done, PAUSE));
      const batch = `${started}w${Math.floor(count / TAKE)}`;
      try {
        const query = { class: label, name: t("frame"), batch };
        show(await sendFile("/api/images/add", query, await webcam.frame()));
      } catch {
        break;
      }
      find("recorded").textContent = t("recorded", { count: ++known.count, label });
      await pause;
    }
    recording = false;
    await refresh();
    box.removeAttribute("aria-busy");
  }

  function show({ sha256 }) {
    find("last-frames").prepend(thumbnailImage(sha256, ""));
    while (find("last-frames").children.length > LAST) find("last-frames").lastChild.remove();
  }

  // What was recorded last is gone; what is said of it goes, too.
  addEventListener("graft-add-undone", () => {
    known = { label: null, count: 0 };
    find("recorded").textContent = "";
    find("last-frames").replaceChildren();
  });
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
  find("webcam").onclick = () => (webcam.stream ? webcam.close() : open());
  find("camera-close").onclick = () => webcam.close();
}
