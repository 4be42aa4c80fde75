// The webcam of step Try: an answer for each frame as fast as they come, and one frame to look at.

import { t, toast } from "./shell.js";

const find = (id) => document.getElementById(id);
const FRAME = 640; // pixels of a frame's longer side, at most
const PAUSE = 100; // ms between frames, at least

// `live(blob)` resolves to what a frame shows; `closer(blob)` looks at one frame closely.
export function startWebcam({ live, closer }) {
  const video = find("video");
  const canvas = document.createElement("canvas");
  let stream = null;

  async function frame() {
    const scale = Math.min(1, FRAME / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  }

  async function watch(mine) {
    while (stream === mine) {
      const pause = new Promise((done) => setTimeout(done, PAUSE));
      if (video.videoWidth && !document.hidden) {
        const found = await live(await frame()).catch(() => null);
        if (stream !== mine) return;
        if (!found) return close(); // what is wrong was said
        say(found);
      }
      await pause;
    }
  }

  function say(found) {
    const none = found.label === null;
    const place = find("live");
    place.classList.toggle("none", none);
    place.textContent = none ? t("live_none", { refusal: found.refusal, reason: found.reason })
      : t("live", { name: found.label, said: found.ranked[0].said });
    place.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail: found }));
  }

  async function open() {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: FRAME } });
    } catch (error) {
      toast(t("no_webcam", { reason: error.message }), { error: true });
      return;
    }
    video.srcObject = stream;
    find("live").textContent = "";
    find("camera").hidden = false;
    find("webcam").setAttribute("aria-pressed", "true");
    find("keep-frame").focus();
    watch(stream);
  }

  function close() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = video.srcObject = null;
    find("camera").hidden = true;
    find("webcam").setAttribute("aria-pressed", "false");
  }

  find("webcam").onclick = () => (stream ? close() : open());
  find("camera-close").onclick = () => {
    close();
    find("webcam").focus();
  };
  find("keep-frame").onclick = async () => {
    if (!stream || !video.videoWidth) return;
    const blob = await frame();
    close();
    await closer(blob);
  };
  addEventListener("pagehide", close);
}
