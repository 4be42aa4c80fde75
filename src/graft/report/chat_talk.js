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
// `answered(text, answer)` is told of each. Returns {show(text, answer), ask(text)}.
function conversation({ talk, form, offer, ask, words, openEvidence = true, answered = () => {} }) {
  let busy = false;

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
    if (busy || !text.trim()) return;
    busy = true;
    const reply = begun(text);
    reply.append(made("p", "thinking", words.computing));
    reply.scrollIntoView({ block: "end" });
    try {
      const found = await ask(text);
      fill(reply, found);
      answered(text, found);
    } catch (error) {
      reply.replaceChildren(made("p", "thinking", words.none + error.message));
      reply.classList.add("unknown");
    }
    reply.scrollIntoView({ block: "nearest" });
    busy = false;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    asked(form.elements.text.value);
    form.elements.text.value = "";
  });
  offer.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) asked(button.textContent);
  });
  return { ask: asked, show: (text, found) => fill(begun(text), found) };
}
