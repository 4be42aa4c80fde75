"use strict";
// Finds a class by its name in the data of the page; shown only where scripts may run.
const place = document.getElementById("class-search");
const rows = JSON.parse(document.getElementById("class-data").textContent);
const names = rows.map((row) => row[0].toLowerCase());
const field = place.querySelector("input");
const body = place.querySelector("tbody");
const said = place.querySelector("output");
const MOST = 50;

function cell(text, number) {
  const made = document.createElement(number ? "td" : "th");
  if (number) made.className = "n";
  else made.scope = "row";
  const inner = document.createElement("bdi");
  inner.textContent = text;
  made.append(inner);
  return made;
}

function line([name, images, tested, precision, recall, f1, low, high]) {
  const made = document.createElement("tr");
  const share = (value) => (tested ? `${value.toFixed(1)}\u00a0%` : "–");
  const interval = tested ? `${low.toFixed(1)} to ${high.toFixed(1)}\u00a0%` : "–";
  made.append(cell(name, false));
  for (const text of [
    images.toLocaleString("en"),
    tested.toLocaleString("en"),
    share(precision),
    share(recall),
    share(f1),
    interval,
  ])
    made.append(cell(text, true));
  return made;
}

function show() {
  const wanted = field.value.trim().toLowerCase();
  const found = [];
  let count = 0;
  for (let i = 0; wanted && i < names.length; i++) {
    if (!names[i].includes(wanted)) continue;
    count++;
    if (found.length < MOST) found.push(rows[i]);
  }
  body.replaceChildren(...found.map(line));
  place.querySelector("table").hidden = !found.length;
  said.textContent = !wanted
    ? ""
    : count > MOST
      ? `${count.toLocaleString("en")} classes; the first ${MOST} are shown`
      : count === 1
        ? "1 class"
        : `${count.toLocaleString("en")} classes`;
}

field.addEventListener("input", show);
place.hidden = false;
