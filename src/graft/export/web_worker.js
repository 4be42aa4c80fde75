"use strict";
// Decodes an image, resizes it as graft does and runs the network, beside the page's own thread.
// Messages in: {start: settings}, {id, image: Blob or ImageBitmap}. Out: {ready}, {failed},
// {told}, {id, answer} or {id, problem}. A worker made from a blob: keeps the page's
// Content-Security-Policy.

const MOST_PIXELS = Math.floor(2 ** 28 / 3), STRIP = 4e6, THUMBNAIL = 320;
// Of a probability, between this browser's answer and the one the model was exported with.
const TOLERANCE = 2e-3;
let session = null, Tensor = null, settings = null;

async function bytesOf(file, what) {
  let problem = "";
  try {
    const response = await fetch(file.url, {
      integrity: file.integrity, credentials: "omit", referrerPolicy: "no-referrer",
    });
    if (response.ok) return await response.arrayBuffer();
    problem = `the server answered ${response.status}`;
  } catch (error) {
    problem = `not reached, or not the file that was pinned: ${error.message}`;
  }
  throw new Error(`${what} could not be loaded from ${file.url} (${problem})`);
}

// The runtime is run from bytes whose digest was checked, so nothing else can be run in its place.
async function opened(backend, model) {
  const runtime = settings.runtime[backend];
  const [script, wasm] = await Promise.all([
    bytesOf(runtime.script, "onnxruntime-web"), bytesOf(runtime.wasm, "onnxruntime-web"),
  ]);
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const ort = await import(address);
  URL.revokeObjectURL(address);
  Tensor = ort.Tensor;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: [backend] });
}

async function probabilitiesOf(pixels) {
  const { height, width } = settings.preprocess;
  const image = new Tensor("uint8", new Uint8Array(pixels.buffer), [1, height, width, 3]);
  const found = await session.run({ image }, ["probabilities", "ood_score"]);
  const answer = {
    probabilities: Array.from(await found.probabilities.getData()),
    oodScore: settings.detectsOod ? (await found.ood_score.getData())[0] : null,
  };
  for (const name in found) found[name].dispose?.();
  return answer;
}

// Whether this browser computes what the model's makers computed: "" or how far it is off.
async function disagreement() {
  let worst = 0;
  for (const vector of settings.vectors) {
    const data = await bytesOf(vector.image, "a test vector");
    const { pixels } = await decoded(new Blob([data])); // of the network's own size
    const answer = await probabilitiesOf(pixels.filter((_, i) => i % 4 < 3));
    vector.probabilities.forEach((p, k) => (worst = Math.max(worst, Math.abs(p - answer.probabilities[k]) || 0)));
    if (answer.probabilities.some(Number.isNaN)) worst = 1;
  }
  return worst > TOLERANCE ? `a probability of a test image is off by ${worst.toPrecision(2)}` : "";
}

async function start(given) {
  settings = given;
  const began = performance.now();
  const model = await bytesOf(settings.model, "the model");
  const backends = await wanted(settings.backend);
  for (const backend of backends) {
    const last = backend === backends.at(-1);
    try {
      await opened(backend, model);
      const problem = await disagreement();
      if (!problem) return { backend, milliseconds: performance.now() - began };
      throw new Error(`${NAMES[backend]} computes something else here: ${problem}`);
    } catch (error) {
      if (last) throw error;
      postMessage({ told: `${error.message}. WebAssembly is used instead.` });
    }
  }
}

const NAMES = { webgpu: "WebGPU", wasm: "WebAssembly" };
async function wanted(asked) {
  if (asked) return [asked];
  let adapter = null;
  try {
    adapter = settings.runtime.webgpu && navigator.gpu ? await navigator.gpu.requestAdapter() : null;
  } catch {
    // A browser that has the name and not the thing.
  }
  return adapter && !adapter.info?.isFallbackAdapter ? ["webgpu", "wasm"] : ["wasm"];
}

// Upright pixels (height, width, 4) over white, of the colors as they are in the file.
async function decoded(image) {
  let bitmap = image;
  if (image instanceof Blob) {
    try {
      bitmap = await createImageBitmap(image, { colorSpaceConversion: "none", imageOrientation: "from-image" });
    } catch {
      throw new Error("cannot be decoded: it is no image, it is damaged, or this browser does not know its format");
    }
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new Error(`is ${width} × ${height} pixels, more than ${MOST_PIXELS}`);
  // In strips, for browsers that limit how large a canvas can be.
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const pen = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let top = 0; top < height; top += rows) {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, rows);
    pen.drawImage(bitmap, 0, -top);
    const part = pen.getImageData(0, 0, width, Math.min(rows, height - top)).data;
    if (part[3] !== 255) throw new Error(`is ${width} × ${height} pixels, more than this browser can draw`);
    pixels.set(part, top * width * 4);
  }
  return { pixels, width, height, bitmap };
}

function thumbnail(bitmap) {
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, bitmap.width * scale), Math.max(1, bitmap.height * scale));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.transferToImageBitmap();
}

async function answered(image, withThumbnail) {
  const times = [performance.now()], mark = () => times.push(performance.now());
  const { pixels, width, height, bitmap } = await decoded(image);
  mark();
  const view = centerView(pixels, 4, width, height, settings.preprocess);
  mark();
  const answer = await probabilitiesOf(view);
  mark();
  const [decode, resize, network] = times.slice(1).map((t, i) => t - times[i]);
  const shown = withThumbnail ? thumbnail(bitmap) : null;
  bitmap.close();
  return { ...answer, width, height, thumbnail: shown, milliseconds: { decode, resize, network } };
}

// One at a time, in the order asked.
let before = Promise.resolve();
onmessage = ({ data }) => {
  before = before.then(async () => {
    try {
      if (data.start) postMessage({ ready: await start(data.start) });
      else {
        const answer = await answered(data.image, data.thumbnail);
        postMessage({ id: data.id, answer }, answer.thumbnail ? [answer.thumbnail] : []);
      }
    } catch (error) {
      if (data.start) postMessage({ failed: error.message });
      else postMessage({ id: data.id, problem: error.message });
    }
  });
};
