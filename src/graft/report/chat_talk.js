// A talk with a classifier: questions, and answers with their images and evidence. Used by the page
// of `graft chat --serve` and by that of `graft app`, a classic script so that both can have it; `ask`
// is how each of them reaches its server.

function made(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

function pictures(images) {
  const row = made("div", "shown");
  for (const each of images) {
    const figure = made("figure"), image = made("img");
    image.src = each.source;
    image.alt = each.caption;
    figure.append(image, made("figcaption", "", each.caption));
    row.append(figure);
  }
  return row;
}

function evidence(rows, word, open) {
  const box = made("details"), scroll = made("div", "rows"), table = made("table");
  box.open = open;
  for (const [name, value] of rows) {
    const row = made("tr"), head = made("th", "", name);
    head.scope = "row";
    row.append(head, made("td", "", value));
    table.append(row);
  }
  scroll.append(table);
  scroll.tabIndex = 0;
  box.append(made("summary", "", word), scroll);
  return box;
}

// A conversation in the list `talk`, with the questions of `form` and of the buttons in `offer`.
// `ask(text)` resolves to an answer, {text, intent, rows, images}, or fails with what is said then.
// One question at a time: until its answer has come, the next one stays in the box.
// `words.elapsed(seconds)` says how long it has been. `answered(text, answer)` is told of each answer.
// Returns {show(text, answer), clear()}; after `clear` an answer that is under way is not shown.
function conversation({ talk, form, offer, ask, words, openEvidence = true, answered = () => {} }) {
  const PATIENCE = 3; // seconds before it is said how long it takes
  const send = form.querySelector("button");
  let turn = 0;
  let busy = false;
  let clock = 0;

  function wait(reply) {
    const started = Date.now();
    const said = made("p", "thinking", words.computing), passed = made("span");
    passed.ariaHidden = "true"; // not read out every second
    said.append(passed);
    reply.append(said);
    clock = setInterval(() => {
      const seconds = Math.round((Date.now() - started) / 1000);
      if (seconds >= PATIENCE) passed.textContent = ` ${words.elapsed(seconds)}`;
    }, 1000);
  }

  function hold(value) {
    busy = send.disabled = value;
    for (const button of offer.querySelectorAll("button")) button.disabled = value;
    clearInterval(clock);
  }

  function clear() {
    turn += 1;
    hold(false);
    talk.replaceChildren();
  }

  function begun(text) {
    const reply = made("li", "reply");
    talk.append(made("li", "question", text), reply);
    return reply;
  }

  function fill(reply, found) {
    reply.replaceChildren(made("p", "", found.text));
    reply.classList.toggle("unknown", found.intent === null);
    if (found.images.length) reply.append(pictures(found.images));
    if (found.intent !== null && found.rows.length) reply.append(evidence(found.rows, words.evidence, openEvidence));
  }

  async function asked(text) {
    const mine = ++turn;
    hold(true);
    const reply = begun(text);
    wait(reply);
    reply.scrollIntoView({ block: "end" });
    try {
      const found = await ask(text);
      if (mine !== turn) return;
      fill(reply, found);
      answered(text, found);
    } catch (error) {
      if (mine !== turn) return;
      reply.replaceChildren(made("p", "thinking", words.none + error.message));
      reply.classList.add("unknown");
    }
    reply.scrollIntoView({ block: "nearest" });
    hold(false);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = form.elements.text.value;
    if (busy || !text.trim()) return;
    form.elements.text.value = "";
    asked(text);
  });
  offer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && !busy) asked(button.textContent);
  });
  return { clear, show: (text, found) => fill(begun(text), found) };
}
