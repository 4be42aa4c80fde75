// The webcam in a page: shown in a <video>, and its frames as JPEG.

import { t, toast, toastsBelow } from "./shell.js";

const FRAME = 640; // pixels of a frame's longer side, at most

export class Webcam {
  #canvas = document.createElement("canvas");
  stream = null; // null while it is off

  // `closed` is called whenever it is turned off.
  constructor(video, closed) {
    Object.assign(this, { video, closed });
    addEventListener("pagehide", () => this.close());
  }

  // Whether it could be turned on; if not, why was said.
  async open() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { width: FRAME } });
    } catch (error) {
      toast(t("no_webcam", { reason: error.message }), { error: true });
      return false;
    }
    this.video.srcObject = this.stream;
    toastsBelow(this.video.closest(".card").querySelector(".toolbar")); // not over its buttons
    return true;
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
    toastsBelow(null);
    this.closed();
  }

  get hasPicture() {
    return this.stream !== null && this.video.videoWidth > 0;
  }

  async frame() {
    const { video } = this;
    const scale = Math.min(1, FRAME / Math.max(video.videoWidth, video.videoHeight));
    this.#canvas.width = Math.round(video.videoWidth * scale);
    this.#canvas.height = Math.round(video.videoHeight * scale);
    this.#canvas.getContext("2d").drawImage(video, 0, 0, this.#canvas.width, this.#canvas.height);
    return new Promise((done) => this.#canvas.toBlob(done, "image/jpeg", 0.92));
  }
}
