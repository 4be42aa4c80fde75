// One image, large: the next and the one before by the arrow keys or the buttons.

import { onKeys, toastsBelow } from "./shell.js";

const find = (id) => document.getElementById(id);

// `nameOf(label)` is what a class is called; `remove(item)` deletes an image.
export function startViewing(grid, { nameOf, remove }) {
  const dialog = find("view");
  let shown = null;

  async function show(index) {
    const item = await grid.item(index);
    if (!item) return;
    shown = item;
    grid.moveTo(index);
    find("view-image").src = `/image/${item.sha256}`;
    find("view-image").alt = nameOf(item.label);
    find("view-name").textContent = `${nameOf(item.label)}: ${item.id}`;
    find("view-before").disabled = index === 0;
    find("view-next").disabled = index >= grid.total - 1;
    if (dialog.open) return;
    dialog.showModal();
    toastsBelow(dialog.querySelector(".toolbar")); // the rest of the page is behind it
  }

  dialog.addEventListener("close", () => toastsBelow(null));
  const step = (by) => {
    const index = grid.active + by;
    if (index >= 0 && index < grid.total) show(index);
  };
  grid.addEventListener("open", () => show(grid.active));
  find("view-before").onclick = () => step(-1);
  find("view-next").onclick = () => step(1);
  find("view-delete").onclick = async () => {
    const { active } = grid;
    await remove(shown);
    if (grid.total) await show(Math.min(active, grid.total - 1));
    else dialog.close();
  };
  onKeys(
    {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      Delete: () => find("view-delete").click(),
      Backspace: () => find("view-delete").click(),
    },
    dialog,
  );
}
