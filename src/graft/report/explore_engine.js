// The network, computed again in the browser: weights and image in, every map out.
"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);

async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// First all first bytes, then all second ones, and so on: put together again, float32 each.
async function floats(text) {
  const planes = await inflated(text);
  const count = planes.length / 4, bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < 4; plane++) {
    for (let i = 0; i < count; i++) bytes[4 * i + plane] = planes[plane * count + i];
  }
  const view = new DataView(bytes.buffer), found = new Float32Array(count);
  for (let i = 0; i < count; i++) found[i] = view.getFloat32(4 * i, true);
  return found;
}

let NUMBERS = new Float32Array(0);
const tensor = (place) => place && NUMBERS.subarray(place[0], place[0] + place[1]);

// A value: the maps of some or all of `c` channels, each h × w, one after the other. `rows` names
// the channels that there are, in order, or is null for all of them.
function value(c, h, w, rows, data) {
  const slots = rows && new Map(rows.map((channel, slot) => [channel, slot]));
  const map = (channel) => {
    const slot = slots ? slots.get(channel) : channel;
    return !(slot >= 0 && slot < (rows || { length: c }).length) ? null : data.subarray(slot * h * w, (slot + 1) * h * w);
  };
  return { c, h, w, rows, data, map, channels: rows || Array.from({ length: c }, (_, i) => i) };
}

// Numerical Recipes' erfcc: wrong by less than 1.2e-7 of itself everywhere.
function erfc(x) {
  const z = Math.abs(x), t = 1 / (1 + 0.5 * z);
  const y = t * Math.exp(-z * z - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418
    + t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587
    + t * (-0.82215223 + t * 0.17087277)))))))));
  return x >= 0 ? y : 2 - y;
}

const ACTIVATIONS = {
  relu: (x) => Math.max(0, x),
  relu6: (x) => Math.min(6, Math.max(0, x)),
  gelu: (x) => 0.5 * x * erfc(-x / Math.SQRT2),
  silu: (x) => x / (1 + Math.exp(-x)),
  hardswish: (x) => x * Math.min(6, Math.max(0, x + 3)) / 6,
};

const perGroup = (step) => tensor(step.weight).length / step.rows / (step.kernel[0] * step.kernel[1]);

// The input channels that an output channel reads: all of them, or those of its group.
function inputsOf(step, channel) {
  const each = perGroup(step), first = Math.floor(channel / (step.c / step.groups)) * each;
  return Array.from({ length: each }, (_, i) => first + i);
}

// The kernel of an output channel for one of its inputs, kh × kw.
function kernelOf(step, slot, i) {
  const size = step.kernel[0] * step.kernel[1], at = (slot * perGroup(step) + i) * size;
  return tensor(step.weight).subarray(at, at + size);
}

function convolved(step, x, rows) {
  const [c, h, w] = step.shape, [kh, kw] = step.kernel, [sy, sx] = step.stride;
  const [top, left] = step.pads, [dy, dx] = step.dilation, bias = tensor(step.bias);
  const out = new Float32Array((rows ? rows.length : c) * h * w), sums = new Float64Array(h * w);
  for (let slot = 0; slot < step.rows; slot++) {
    sums.fill(bias ? bias[slot] : 0);
    inputsOf(step, rows ? rows[slot] : slot).forEach((channel, i) => {
      const map = x.map(channel), kernel = kernelOf(step, slot, i);
      for (let ky = 0; ky < kh; ky++) {
        const y0 = ky * dy - top;
        const firstY = Math.max(0, Math.ceil(-y0 / sy)), lastY = Math.min(h - 1, Math.floor((x.h - 1 - y0) / sy));
        for (let kx = 0; kx < kw; kx++) {
          const weight = kernel[ky * kw + kx], x0 = kx * dx - left;
          const firstX = Math.max(0, Math.ceil(-x0 / sx)), lastX = Math.min(w - 1, Math.floor((x.w - 1 - x0) / sx));
          for (let y = firstY; y <= lastY; y++) {
            let to = y * w + firstX, from = (y * sy + y0) * x.w + firstX * sx + x0;
            for (let n = firstX; n <= lastX; n++, to++, from += sx) sums[to] += weight * map[from];
          }
        }
      }
    });
    out.set(sums, slot * h * w);
  }
  return value(c, h, w, rows, out);
}

// Scale and shift of a normalization: y = x × scale + shift.
function scaleShift(step, slot) {
  const scale = tensor(step.weight)[slot] / Math.sqrt(tensor(step.var)[slot] + step.eps);
  return [scale, tensor(step.bias)[slot] - tensor(step.mean)[slot] * scale];
}

// The pixels of a pooling's input that its pixel (y, x) is the largest of.
function windowOf(step, y, x, h, w) {
  const found = [];
  for (let ky = 0; ky < step.kernel[0]; ky++) {
    for (let kx = 0; kx < step.kernel[1]; kx++) {
      const iy = y * step.stride[0] + ky - step.pads[0], ix = x * step.stride[1] + kx - step.pads[1];
      found.push(iy >= 0 && ix >= 0 && iy < h && ix < w ? [iy, ix] : null);
    }
  }
  return found;
}

function pooled(step, x) {
  const [c, h, w] = step.shape, data = new Float32Array(x.channels.length * h * w);
  x.channels.forEach((channel, slot) => {
    const map = x.map(channel);
    for (let y = 0; y < h; y++) {
      for (let n = 0; n < w; n++) {
        let most = -Infinity;
        for (let ky = 0; ky < step.kernel[0]; ky++) {
          const iy = y * step.stride[0] + ky - step.pads[0];
          if (iy < 0 || iy >= x.h) continue;
          for (let kx = 0; kx < step.kernel[1]; kx++) {
            const ix = n * step.stride[1] + kx - step.pads[1];
            if (ix >= 0 && ix < x.w && map[iy * x.w + ix] > most) most = map[iy * x.w + ix];
          }
        }
        data[(slot * h + y) * w + n] = most;
      }
    }
  });
  return value(c, h, w, x.rows, data);
}

function computed(step, x, other) {
  if (step.kind === "pool") return pooled(step, x);
  const size = x.h * x.w, data = new Float32Array(x.data.length), act = ACTIVATIONS[step.kind];
  x.channels.forEach((channel, slot) => {
    const from = slot * size, map = other && other.map(channel);
    const [scale, shift] = step.kind === "norm" ? scaleShift(step, slot) : [1, 0];
    for (let i = 0; i < size; i++) {
      const v = x.data[from + i];
      data[from + i] = act ? act(v) : map ? v + map[i] : v * scale + shift;
    }
  });
  return value(x.c, x.h, x.w, x.rows, data);
}

// The values that the next layers read: held whole, or computed whole. And those that the page
// shows, of which some channels may be all that there is.
const READ = new Map(), SHOWN = new Map();
const LAYERS = DATA.layers;

async function start() {
  NUMBERS = await floats(DATA.floats);
  for (const [number, place] of Object.entries(DATA.stored)) {
    READ.set(Number(number), value(...DATA.shapes[number], null, tensor(place)));
  }
  for (const layer of LAYERS) {
    for (const step of layer.steps) {
      step.shape = DATA.shapes[step.out];
      step.c = step.shape[0];
      step.rows = layer.channels ? layer.channels.length : step.c;
    }
  }
  return inflated(DATA.pixels);
}

// Take the image's pixels, (height, width, 3) of 0..255, as the network reads them.
function setInput(pixels) {
  const size = DATA.height * DATA.width;
  const input = new Float32Array(3 * size);
  for (let i = 0; i < 3 * size; i++) {
    input[(i % 3) * size + Math.floor(i / 3)] = (pixels[i] - DATA.mean[i % 3]) / DATA.std[i % 3];
  }
  READ.set(0, value(3, DATA.height, DATA.width, null, input));
  SHOWN.set(0, READ.get(0));
}

function computeLayer(layer) {
  for (const step of layer.steps) {
    const before = step === layer.steps[0] ? READ.get(step.in[0]) : SHOWN.get(chainInput(layer, step));
    const found = step.kind === "conv" ? convolved(step, before, layer.channels)
      : computed(step, before, step.kind === "add" ? READ.get(otherInput(layer, step)) : null);
    SHOWN.set(step.out, found);
    if (!layer.channels) READ.set(step.out, found);
  }
}

// Of what a step reads, the output of the step before it; and of a sum, the other one.
const chainInput = (layer, step) => layer.steps[layer.steps.indexOf(step) - 1].out;
const otherInput = (layer, step) => {
  const own = chainInput(layer, step);
  return step.in.find((number) => number !== own) ?? own;
};

const outputOf = (layer) => layer.steps[layer.steps.length - 1].out;
const layerWith = (number) => LAYERS.findIndex((layer) => layer.steps.some((step) => step.out === number));

// Multiply-adds that the page does itself.
const workOf = (layer) => {
  const step = layer.steps[0];
  return tensor(step.weight).length * step.shape[1] * step.shape[2];
};

// What a pixel of a value sees of the image: [top, left, bottom, right], inclusive, unclipped.
function receptiveField(number, y, x) {
  const boxes = new Map([[number, [y, x, y, x]]]);
  const widen = (key, box) => {
    const old = boxes.get(key) || box;
    boxes.set(key, [Math.min(old[0], box[0]), Math.min(old[1], box[1]), Math.max(old[2], box[2]), Math.max(old[3], box[3])]);
  };
  const steps = LAYERS.flatMap((layer) => layer.steps).filter((step) => step.out <= number);
  for (const step of steps.reverse()) {
    const box = boxes.get(step.out);
    if (!box) continue;
    const reach = step.kind === "conv" || step.kind === "pool";
    const [sy, sx] = reach ? step.stride : [1, 1], [dy, dx] = step.dilation || [1, 1];
    const [top, left] = reach ? step.pads : [0, 0], [kh, kw] = reach ? step.kernel : [1, 1];
    const wider = [box[0] * sy - top, box[1] * sx - left,
      box[2] * sy - top + (kh - 1) * dy, box[3] * sx - left + (kw - 1) * dx];
    for (const source of step.in) widen(source, wider);
  }
  return boxes.get(0);
}

// The last part of a network that is there whole: features, logits, probabilities.
function classified() {
  const logits = DATA.logits.map(Number);
  let features = null;
  if (DATA.head) {
    const head = DATA.head, maps = READ.get(head.from), mirrored = tensor(head.mirrored);
    features = maps.channels.map((channel) => {
      const map = maps.map(channel), size = map.length;
      const most = head.pool === "max" ? map.reduce((a, b) => Math.max(a, b), -Infinity) : 0;
      const sum = map.reduce((a, b) => a + b, 0);
      const own = (head.pool === "max" ? most : sum / size) / head.divisor;
      const mixed = mirrored ? (own + mirrored[channel]) / 2 : own;
      const mean = tensor(head.mean)[channel], std = tensor(head.std)[channel];
      return { channel, size, sum, most, own, mirrored: mirrored && mirrored[channel], mixed, mean, std, standard: (mixed - mean) / std };
    });
    const weight = tensor(head.linear[0].weight), bias = tensor(head.linear[0].bias);
    DATA.classes.forEach((_, k) => {
      logits[k] = features.reduce((sum, f, i) => sum + f.standard * weight[k * features.length + i], bias[k]);
    });
  }
  const tempered = logits.map((logit) => logit / DATA.temperature);
  const exps = tempered.map(Math.exp), sum = exps.reduce((a, b) => a + b, 0);
  return { features, logits, tempered, exps, sum, probabilities: exps.map((e) => e / sum) };
}
