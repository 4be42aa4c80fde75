// Another image, or the same one changed: the network is here whole, so it can be asked again.
const CHANGES = document.getElementById("changes"), SIDE = 0.3;

function startChanges() {
  // What is not computed here but stored is true of the one image alone.
  if (!DATA.head || DATA.head.mirrored || Object.keys(DATA.stored).length) return;
  const original = PIXELS.slice(), gray = DATA.mean;
  const file = el("input", { type: "file", accept: "image/*", hidden: true, onchange: () => file.files[0] && another(file.files[0]) });
  const button = (text, act) => el("button", { type: "button", onclick: act }, text);
  CHANGES.append(el("b", {}, "Change the image:"), file,
    button("Another image …", () => file.click()),
    button("Mirror it", () => changed((y, x) => at(y, DATA.width - 1 - x))),
    button("Turn it over", () => changed((y, x) => at(DATA.height - 1 - y, DATA.width - 1 - x))),
    button("No colors", () => changed((y, x) => {
      const [r, g, b] = at(y, x), shade = Math.round(0.299 * r + 0.587 * g + 0.114 * b);
      return [shade, shade, shade];
    })),
    button("Cover the middle", () => cover(DATA.height / 2, DATA.width / 2)),
    button("The image as it was", () => again(original.slice(), false)),
    el("span.note", {}, "or click into the image to cover a part of it"));
  CHANGES.hidden = false;
  STRIP.classList.add("changeable");
  STRIP.addEventListener("click", (event) => {
    const map = event.target.closest(".image > .map");
    if (!map) return;
    const area = map.getBoundingClientRect();
    cover(((event.clientY - area.top) / area.height) * DATA.height, ((event.clientX - area.left) / area.width) * DATA.width);
  });

  function cover(y, x) {
    const half = [DATA.height, DATA.width].map((size) => (size * SIDE) / 2);
    changed((row, column) => (Math.abs(row + 0.5 - y) <= half[0] && Math.abs(column + 0.5 - x) <= half[1] ? gray : at(row, column)));
  }
}

const at = (y, x) => PIXELS.subarray(3 * (y * DATA.width + x), 3 * (y * DATA.width + x) + 3);

// Each pixel by its row and column.
function changed(pixel) {
  const made = new Uint8Array(PIXELS.length);
  for (let y = 0; y < DATA.height; y++) {
    for (let x = 0; x < DATA.width; x++) made.set([...pixel(y, x)].map(Math.round), 3 * (y * DATA.width + x));
  }
  return again(made, true);
}

// The middle of a file's image, in the network's size, as the browser shrinks it.
async function another(file) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    document.getElementById("changed").textContent = `${file.name} is no image that this browser can read.`;
    return;
  }
  const scale = Math.max(DATA.width / image.width, DATA.height / image.height);
  const canvas = el("canvas", { width: DATA.width, height: DATA.height }), context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (DATA.width - image.width * scale) / 2, (DATA.height - image.height * scale) / 2, image.width * scale, image.height * scale);
  const rgba = context.getImageData(0, 0, DATA.width, DATA.height).data;
  const made = Uint8Array.from({ length: PIXELS.length }, (_, i) => rgba[4 * Math.floor(i / 3) + (i % 3)]);
  await again(made, true);
  document.getElementById("changed").textContent = `${file.name}: ${DATA.classes[bestOf(ANSWER)]}, ${percent(Math.max(...ANSWER.probabilities))}. Browsers shrink images a little differently from graft: for its exact numbers, graft explore this image.`;
}

async function again(pixels, isChanged) {
  CHANGES.querySelectorAll("button").forEach((button) => { button.disabled = true; });
  const focused = document.activeElement;
  STRIP.classList.add("still");
  PIXELS = pixels;
  CHANGED = isChanged;
  await compute();
  focusable();
  if (S.layer !== null) buildChannel();
  CHANGES.querySelectorAll("button").forEach((button) => { button.disabled = false; });
  if (CHANGES.contains(focused)) focused.focus({ preventScroll: true });
}
