// The way back: the last action of this step, in whichever tab it was done, and what it was.

import { dropUndos, refresh, sendJson, t, toast } from "./shell.js";

const SAID = {
  add: ({ count, new: label }) => (label ? t("undone_add", { count, label }) : t("undone_adds", { count })),
  move: ({ count, new: label }) => t("undone_move", { count, label }),
  delete: ({ count }) => t("undone_delete", { count }),
  rename: ({ old, new: label }) => t("undone_rename", { old, label }),
  rename_class: ({ old, new: label }) => t("undone_rename", { old, label }),
  make_class: ({ new: label }) => t("undone_make", { label }),
  delete_class: ({ old }) => t("undone_delete_class", { label: old }),
};

// Takes back the last action or, of a message, the one of this name and no other.
async function takeBack(body) {
  const done = await sendJson("/api/images/undo", body).catch(() => null);
  if (done) {
    dropUndos(); // what an older message offers to undo is undone by now
    toast(done.undone ? SAID[done.what](done) : t("nothing_to_undo"));
    if (done.what === "add") dispatchEvent(new Event("graft-add-undone"));
  }
  await refresh();
}

export const undo = () => takeBack({});
export const undoing = (action) => () => takeBack({ action });
