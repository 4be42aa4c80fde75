// The chat of step Try: the same script as the page of `graft chat --serve` (report/chat_talk.js).

import { element, getJson, sendJson, t } from "./shell.js";

const find = (id) => document.getElementById(id);
// A talk of its own for each tab; what was said survives a reload.
const tab = (sessionStorage.tab ??= crypto.randomUUID());
let about = null; // {run, image, name}
let said = []; // [question, answer] of this talk

const place = () => `talk ${about.run} ${about.image ?? ""}`;

const talk = window.conversation({
  talk: find("talk"),
  form: find("ask-form"),
  offer: find("offer"),
  words: { computing: t("computing"), elapsed: (seconds) => t("going", { seconds }), evidence: t("evidence_rows"), none: t("no_answer") },
  openEvidence: false, // it has names of files and of numbers, for those who want to know
  ask: async (text) => {
    const mine = about;
    const before = said.map(([question]) => question);
    return sendJson("/api/try/ask", { run: mine.run, image: mine.image, tab, text, before });
  },
  answered: (text, found) => {
    said.push([text, found]);
    remember();
  },
});

// Drawings may be too many for the browser to keep: the words always fit.
function remember() {
  try {
    sessionStorage.setItem(place(), JSON.stringify(said));
  } catch {
    const plain = said.map(([text, found]) => [text, { ...found, images: [] }]);
    try {
      sessionStorage.setItem(place(), JSON.stringify(plain));
    } catch { /* then it lasts as long as the page */ }
  }
}

// Talk about the image of an answer, or with null about the run alone.
export async function talkAbout(run, answer) {
  if (about?.run === run && about.image === (answer?.image ?? null)) return;
  about = { run, image: answer?.image ?? null };
  talk.clear();
  said = JSON.parse(sessionStorage.getItem(place()) ?? "[]");
  for (const [text, found] of said) talk.show(text, found);
  find("chat-about").textContent = answer ? t("chat_image", { name: answer.name }) : t("chat_none");
  const mine = about;
  const found = await getJson("/api/try/questions", { run, image: about.image }).catch(() => null);
  if (!found || mine !== about) return;
  find("offer").replaceChildren(...found.questions.map((each) => element("button", { type: "button" }, each)));
}
