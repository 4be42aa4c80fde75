// The way back: the last action, in whichever tab it was done.

import { refresh, sendJson, t, toast } from "./shell.js";

export async function undo() {
  const done = await sendJson("/api/images/undo").catch(() => null);
  if (done?.count) toast(t("undone", { count: done.count }));
  else if (done) toast(t(done.undone ? "undone_class" : "nothing_to_undo"));
  await refresh();
}
