"use strict";
// The pixels that the network is fed, as `center_view` of graft.data.decode gives them: bit for bit
// those of Pillow's resize. 22-bit fixed point, two passes, rounded to 8 bits in between.

const PRECISION = 22, ELONGATED = 32;

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}
const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight(at) {
      const x = Math.abs(at), a = -0.5;
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

// Python's round: halves go to the even neighbor.
function rounded(x) {
  const low = Math.floor(x), rest = x - low;
  if (rest !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

// For each of the output places from..to of one axis: where its taps begin, how many there are,
// and their weights. `box` is the stretch [start, end] of the input that `size` places cover.
function taps(length, size, [start, end], filter, from, to) {
  const { support, weight } = FILTERS[filter];
  // Pillow keeps boxes in single precision.
  const scale = Math.fround(Math.fround(end) - Math.fround(start)) / size;
  const wide = Math.max(scale, 1), reach = support * wide, stretch = 1 / wide;
  const most = Math.ceil(reach) * 2 + 1, count = to - from;
  const first = new Int32Array(count), lengths = new Int32Array(count), weights = new Int32Array(count * most);
  for (let i = 0; i < count; i++) {
    const center = Math.fround(start) + (i + from + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - reach + 0.5));
    const high = Math.min(length, Math.trunc(center + reach + 0.5));
    const own = new Float64Array(high - low);
    let total = 0;
    for (let j = 0; j < own.length; j++) total += own[j] = weight((j + low - center + 0.5) * stretch);
    for (let j = 0; j < own.length; j++) {
      const scaled = (total === 0 ? own[j] : own[j] / total) * 2 ** PRECISION;
      weights[i * most + j] = Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
    }
    first[i] = low;
    lengths[i] = own.length;
  }
  return { first, lengths, weights, most, count };
}

// One pass. The input is rows of pixels, `channels` (3 or 4) numbers each, of which three are used;
// the output has 3. Along x, `lines` are rows from `line0`; along y, they are columns from `line0`.
function pass(pixels, channels, stride, along, across, line0, lines, axis) {
  const { first, lengths, weights, most, count } = axis;
  const out = new Uint8ClampedArray(count * lines * 3), half = 1 << (PRECISION - 1);
  const step = along === "x" ? channels : stride, side = along === "x" ? stride : channels;
  const place = along === "x" ? 3 : lines * 3, line = along === "x" ? count * 3 : 3;
  for (let n = 0; n < lines; n++) {
    const base = (n + line0) * side;
    for (let i = 0; i < count; i++) {
      let at = base + first[i] * step, red = half, green = half, blue = half;
      for (let j = i * most, end = j + lengths[i]; j < end; j++, at += step) {
        const w = weights[j];
        red = (red + Math.imul(pixels[at], w)) | 0;
        green = (green + Math.imul(pixels[at + 1], w)) | 0;
        blue = (blue + Math.imul(pixels[at + 2], w)) | 0;
      }
      const to = n * line + i * place;
      out[to] = red >> PRECISION;
      out[to + 1] = green >> PRECISION;
      out[to + 2] = blue >> PRECISION;
    }
  }
  return out;
}

function nearest(pixels, channels, width, size, box, cut) {
  const [newWidth, newHeight] = size, [left, top, right, bottom] = box, [x0, y0, x1, y1] = cut;
  const places = (n, start, end) => {
    const scale = (end - start) / n, found = [];
    for (let i = 0, at = start + scale * 0.5; i < n; i++, at += scale) found.push(Math.floor(at));
    return found;
  };
  const xs = places(newWidth, left, right), ys = places(newHeight, top, bottom);
  const out = new Uint8ClampedArray((x1 - x0) * (y1 - y0) * 3);
  let to = 0;
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++, to += 3) {
      const at = (ys[y] * width + xs[x]) * channels;
      for (let c = 0; c < 3; c++) out[to + c] = pixels[at + c];
    }
  }
  return out;
}

// Pixels (height, width, channels) resized from `box` to `size`, of which the rectangle `cut`
// is returned, (rows, columns, 3).
function resized(pixels, channels, width, height, filter, size, box, cut) {
  const [newWidth, newHeight] = size, [left, top, right, bottom] = box, [x0, y0, x1, y1] = cut;
  if (filter === "nearest") return nearest(pixels, channels, width, size, box, cut);
  const sameX = newWidth === width && left === 0 && right === width;
  const sameY = newHeight === height && top === 0 && bottom === height;
  const whole = (from, to) => ({
    first: Int32Array.from({ length: to - from }, (_, i) => from + i),
    lengths: new Int32Array(to - from).fill(1),
    weights: new Int32Array(to - from).fill(1 << PRECISION),
    most: 1,
    count: to - from,
  });
  const xs = sameX ? whole(x0, x1) : taps(width, newWidth, [left, right], filter, x0, x1);
  const ys = sameY ? whole(y0, y1) : taps(height, newHeight, [top, bottom], filter, y0, y1);
  const reach = ({ first, lengths, count }) => [first[0], first[count - 1] + lengths[count - 1]];
  const shifted = (axis, by) => ({ ...axis, first: axis.first.map((at) => at - by) });
  // Pillow takes rows first in images that are far taller than what is made of them.
  const tall = !sameX && !sameY && height - newHeight > 2 * Math.max(0, width - newWidth);
  if (tall) {
    const [from, to] = reach(xs);
    const between = pass(pixels, channels, width * channels, "y", "x", from, to - from, ys);
    return pass(between, 3, (to - from) * 3, "x", "y", 0, ys.count, shifted(xs, from));
  }
  const [from, to] = reach(ys);
  const between = pass(pixels, channels, width * channels, "x", "y", from, to - from, xs);
  return pass(between, 3, xs.count * 3, "y", "x", 0, xs.count, shifted(ys, from));
}

// What the network is fed of an image: RGB or RGBA pixels to (height, width, 3).
function centerView(pixels, channels, width, height, preprocess) {
  const { height: rows, width: columns, crop, resize, interpolation } = preprocess;
  const side = Math.trunc(Math.max(rows, columns) / crop);
  let newWidth = side, newHeight = side;
  if (resize === "squash") {
    newWidth = Math.trunc(columns / crop);
    newHeight = Math.trunc(rows / crop);
  } else if (width <= height) newHeight = Math.max(side, Math.trunc((side * height) / width));
  else newWidth = Math.max(side, Math.trunc((side * width) / height));
  const left = rounded((newWidth - columns) / 2), top = rounded((newHeight - rows) / 2);
  const cut = [left, top, left + columns, top + rows];
  if (Math.max(newWidth, newHeight) <= ELONGATED * side) {
    return resized(pixels, channels, width, height, interpolation, [newWidth, newHeight], [0, 0, width, height], cut);
  }
  const x = width / newWidth, y = height / newHeight;
  const box = [
    Math.max(cut[0] * x, 0), Math.max(cut[1] * y, 0), Math.min(cut[2] * x, width), Math.min(cut[3] * y, height),
  ];
  return resized(pixels, channels, width, height, interpolation, [columns, rows], box, [0, 0, columns, rows]);
}
