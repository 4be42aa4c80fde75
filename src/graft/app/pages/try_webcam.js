// The webcam of step Try: an answer for each frame as fast as they come, and one frame to look at.

import { t } from "./shell.js";
import { Webcam } from "./webcam.js";

const find = (id) => document.getElementById(id);
const PAUSE = 100; // ms between frames, at least

// `live(blob)` resolves to what a frame shows; `closer(blob)` looks at one frame closely.
export function startWebcam({ live, closer }) {
  const webcam = new Webcam(find("video"), () => {
    find("camera").hidden = true;
    find("webcam").setAttribute("aria-pressed", "false");
  });

  async function watch(mine) {
    while (webcam.stream === mine) {
      const pause = new Promise((done) => setTimeout(done, PAUSE));
      if (webcam.hasPicture && !document.hidden) {
        const found = await live(await webcam.frame()).catch(() => null);
        if (webcam.stream !== mine) return;
        if (!found) return webcam.close(); // what is wrong was said
        say(found);
      }
      await pause;
    }
  }

  function say(found) {
    const none = found.label === null;
    const place = find("live");
    place.classList.toggle("none", none);
    place.textContent = none ? t("live_none", { refusal: found.refusal })
      : t("live", { name: found.label, said: found.ranked[0].said });
    place.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail: found }));
  }

  async function open() {
    if (!(await webcam.open())) return;
    find("live").textContent = "";
    find("camera").hidden = false;
    find("webcam").setAttribute("aria-pressed", "true");
    find("keep-frame").focus();
    watch(webcam.stream);
  }

  find("webcam").onclick = () => (webcam.stream ? webcam.close() : open());
  find("camera-close").onclick = () => {
    webcam.close();
    find("webcam").focus();
  };
  find("keep-frame").onclick = async () => {
    if (!webcam.hasPicture) return;
    const blob = await webcam.frame();
    webcam.close();
    await closer(blob);
  };
}
