// A list box of any number of images, of which only those in view are in the page.

import { t, thumbnailImage } from "./shell.js";

const CHUNK = 100; // images that are asked for at once
const KEPT = 30; // chunks that are remembered
const GAP = 6;
const BEYOND = 400; // pixels above and below the view that are filled, too
const PATIENCE = 60; // ms until an image is asked for that may be scrolled past

export class WindowedGrid extends EventTarget {
  // `load(start, count)` gives items with `id`, `sha256` and `label`; `decorate(cell, item)` may
  // add to a cell. Events: "select" when the selection has changed, "open" with the item.
  constructor(list, { load, side = 128, decorate = () => {} }) {
    super();
    Object.assign(this, { list, load, decorate, total: 0, active: 0, side });
    this.selected = new Set();
    this.cells = new Map();
    this.chunks = new Map();
    list.classList.add("windowed");
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-multiselectable", "true");
    list.tabIndex = 0;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("click", (event) => this.#click(event));
    list.addEventListener("dblclick", () => this.#open());
    const draw = () => this.#later();
    addEventListener("scroll", draw, { passive: true });
    new ResizeObserver(draw).observe(list);
  }

  // Shows `total` images anew; what was selected stays so unless `keep` is false.
  show(total, { keep = true } = {}) {
    this.total = total;
    this.chunks.clear();
    for (const cell of this.cells.values()) this.#drop(cell);
    this.cells.clear();
    this.active = Math.min(this.active, Math.max(0, total - 1));
    if (!keep) this.select([]);
    this.#draw();
  }

  // Selects exactly these.
  select(ids) {
    this.selected = new Set(ids);
    this.#marked();
  }

  // Makes this image the one that keys are about, and scrolls to it.
  moveTo(index) {
    return this.#go(index, false);
  }

  async item(index) {
    if (index < 0 || index >= this.total) return undefined;
    const number = Math.floor(index / CHUNK);
    if (!this.chunks.has(number)) {
      this.chunks.set(number, Promise.resolve(this.load(number * CHUNK, CHUNK)));
      if (this.chunks.size > KEPT) this.chunks.delete(this.chunks.keys().next().value);
    }
    return (await this.chunks.get(number))[index % CHUNK];
  }

  #later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.#draw(); });
  }

  get columns() {
    const fit = Math.floor((this.list.clientWidth + GAP) / (this.side + GAP));
    return Math.max(3, fit);
  }

  get step() {
    return (this.list.clientWidth + GAP) / this.columns;
  }

  #draw() {
    const { columns, step, list } = this;
    if (!list.clientWidth) return;
    list.style.height = `${Math.max(0, Math.ceil(this.total / columns) * step - GAP)}px`;
    const top = list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((-top - BEYOND) / step) * columns);
    const last = Math.min(this.total, Math.ceil((innerHeight - top + BEYOND) / step) * columns);
    for (const [index, cell] of this.cells) {
      if (index >= first && index < last) continue;
      this.#drop(cell);
      this.cells.delete(index);
    }
    for (let index = first; index < last; index++) {
      if (!this.cells.has(index)) this.#make(index);
      const { style } = this.cells.get(index);
      style.width = style.height = `${step - GAP}px`;
      style.transform = `translate(${(index % columns) * step}px, ${Math.floor(index / columns) * step}px)`;
    }
    this.#marked(false);
  }

  #make(index) {
    const cell = document.createElement("div");
    cell.className = "cell";
    cell.id = `${this.list.id}-${index}`;
    cell.setAttribute("role", "option");
    cell.setAttribute("aria-setsize", this.total);
    cell.setAttribute("aria-posinset", index + 1);
    cell.dataset.index = index;
    this.cells.set(index, cell);
    this.list.append(cell);
    this.#fill(cell, index);
  }

  async #fill(cell, index) {
    const patience = new Promise((done) => setTimeout(done, PATIENCE));
    const item = await this.item(index);
    await patience;
    if (!item || this.cells.get(index) !== cell) return;
    cell.dataset.id = item.id;
    const label = item.label || t("no_class");
    cell.append(thumbnailImage(item.sha256, t("image_of", { label, number: index + 1, total: this.total })));
    this.decorate(cell, item);
    cell.setAttribute("aria-selected", this.selected.has(item.id));
  }

  #drop(cell) {
    cell.querySelector("img")?.removeAttribute("src"); // ends a request that is under way
    cell.remove();
  }

  #marked(told = true) {
    for (const [index, cell] of this.cells) {
      if (cell.dataset.id) cell.setAttribute("aria-selected", this.selected.has(cell.dataset.id));
      cell.classList.toggle("active", index === this.active);
    }
    const active = this.cells.get(this.active);
    if (active) this.list.setAttribute("aria-activedescendant", active.id);
    else this.list.removeAttribute("aria-activedescendant");
    if (told) this.dispatchEvent(new CustomEvent("select"));
  }

  #click(event) {
    const cell = event.target.closest(".cell");
    if (cell?.dataset.id) this.#choose(Number(cell.dataset.index), event.shiftKey);
  }

  async #choose(index, range) {
    const [from, to] = range ? [this.active, index].sort((a, b) => a - b) : [index, index];
    const toggled = !range && this.selected.has((await this.item(index)).id);
    for (let each = from; each <= to; each++) {
      const { id } = await this.item(each);
      if (toggled) this.selected.delete(id);
      else this.selected.add(id);
    }
    this.active = index;
    this.#marked();
  }

  async #open() {
    const item = await this.item(this.active);
    if (item) this.dispatchEvent(new CustomEvent("open", { detail: item }));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = this.columns * Math.max(1, Math.floor(innerHeight / this.step) - 1);
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
      PageDown: page, PageUp: -page, Home: -this.total, End: this.total,
    };
    if (event.key in steps) this.#go(this.active + steps[event.key], event.shiftKey);
    else if (event.key === " ") this.#choose(this.active, false);
    else if (event.key === "Enter") this.#open();
    else if (event.key === "Escape") this.select([]);
    else return;
    event.preventDefault();
  }

  async #go(wanted, range) {
    const index = Math.min(Math.max(wanted, 0), this.total - 1);
    if (index < 0) return;
    if (range) await this.#choose(index, true);
    this.active = index;
    const row = Math.floor(index / this.columns) * this.step;
    const top = this.list.getBoundingClientRect().top + row;
    const bar = document.querySelector(".toolbar.sticky")?.offsetHeight ?? 0;
    if (top < bar + GAP) scrollBy({ top: top - bar - GAP });
    else if (top + this.step > innerHeight) scrollBy({ top: top + this.step - innerHeight });
    this.#draw();
  }
}
