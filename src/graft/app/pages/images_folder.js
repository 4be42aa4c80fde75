// Choosing the folder: the folders of this machine, one level at a time.

import { element, getJson, refresh, sendJson, t } from "./shell.js";

const find = (id) => document.getElementById(id);
let here = null;

export async function browse(path = "") {
  try {
    here = await getJson("/api/images/folders", { path });
  } catch {
    return;
  }
  find("path").value = here.path;
  find("here").textContent = t("here", { count: here.images });
  find("up").disabled = !here.parent;
  const enter = (name) => browse(`${here.path.replace(/[/\\]$/, "")}/${name}`);
  const rows = here.folders.map((name) => {
    const button = element("button", { type: "button", className: "plain" }, name);
    button.onclick = () => enter(name);
    return element("li", {}, button);
  });
  find("folders").replaceChildren(...rows);
}

async function open(path, isNew) {
  find("use").disabled = true;
  try {
    await sendJson("/api/images/open", { path, new: isNew });
    const project = await refresh();
    if (project?.open) location.assign("/images");
  } finally {
    find("use").disabled = false;
  }
}

export function startChoosing() {
  find("path-form").onsubmit = (event) => { event.preventDefault(); browse(find("path").value); };
  find("up").onclick = () => browse(here.parent);
  find("use").onclick = () => open(here.path, false).catch(() => {});
  find("empty-form").onsubmit = (event) => {
    event.preventDefault();
    open(`${here.path.replace(/[/\\]$/, "")}/${find("empty").value.trim()}`, true).catch(() => {});
  };
}
