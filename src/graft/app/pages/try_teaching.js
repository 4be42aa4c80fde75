// What an image really is: one of the classes, into which it is put, or none of them.

import { element, sendJson, t, toast } from "./shell.js";

const find = (id) => document.getElementById(id);

// Offers these classes, and that it is none of them.
export function fillTeaching(classes) {
  const none = element("option", { value: "" }, t("teach_none"));
  none.dataset.none = "";
  find("teach").replaceChildren(
    element("option", { value: "", disabled: true, hidden: true }, t("teach_choose")),
    ...classes.map((each) => element("option", { value: each }, each)),
    none,
  );
}

// Returns teaching(found), which is to be told of each answer that is shown.
export function startTeaching() {
  let shown = null;

  function chosen() {
    const none = "none" in (find("teach").selectedOptions[0]?.dataset ?? {});
    find("teach-button").disabled = find("teach").value === "";
    find("teach-note").hidden = !none;
    if (!none) return;
    find("teach-note").textContent =
      shown.label === null ? t("teach_none_right", { refusal: shown.refusal }) : t("teach_none_wrong");
  }

  find("teach").onchange = chosen;
  find("teach-form").onsubmit = async (event) => {
    event.preventDefault();
    const done = await sendJson("/api/try/teach", { image: shown.image, label: find("teach").value }).catch(() => null);
    if (!done) return;
    const { label, before } = done;
    if (before === null) toast(t("taught", { label }));
    else if (before === label) toast(t("taught_before", { label }));
    else toast(t("taught_moved", { label, before: before || t("no_class") }));
  };
  return (found) => {
    shown = found;
    find("teach").selectedIndex = 0; // without a right guess the user chooses
    if (found.label !== null) find("teach").value = found.label;
    chosen();
  };
}
