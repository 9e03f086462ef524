// The live page: the events of the server, patched into the page in place.
import { $, done } from "./dialog.js";
import { patch } from "./patch.js";
import { tick } from "./times.js";

const SILENT = 20000; // without a word for so many ms the stream is taken for dead: the server beats every 5 s

// Events --------------------------------------------------------------------------------------------------------
let path = document.body.dataset.events;
let source = null;
let heard = Date.now();
let over = false;
let hoping = 0; // until when an end may be that before the run goes on

function lost(is) {
  for (const one of document.querySelectorAll(".connection")) {
    one.classList.toggle("lost-now", is);
    one.textContent = is ? "not connected" : "live";
  }
  const box = $("lost");
  if (box.hidden === !is) return;
  box.hidden = !is;
  box.textContent = is
    ? "The server does not answer. What you see is from " + new Date(heard).toLocaleTimeString() + "; trying again."
    : "";
  if (!is) done("The server is back.");
}

const shown = new Map();
function show(id, html) {
  const box = $(id);
  if (!box || shown.get(id) === html) return;
  const key = box.contains(document.activeElement) ? document.activeElement.dataset.key || "" : null;
  patch(box, html); // made and escaped by our server; no script can run from it (Content-Security-Policy)
  shown.set(id, html);
  if (key !== null && document.activeElement === document.body) {
    const target = key.slice(key.indexOf(" ") + 1);
    const next = box.querySelector(`[data-key="${CSS.escape(key)}"]`)
      || box.querySelector(`[data-target="${CSS.escape(target)}"]`) || box.querySelector("button") || $("main");
    next.focus();
  }
}

/** Whether the page is updated by itself. */
export const following = () => source !== null;

function follow() {
  if (!path || over || source || document.hidden) return;
  source = new EventSource(path);
  heard = Math.max(heard, Date.now() - 1000);
  const alive = () => { heard = Date.now(); lost(false); };
  source.addEventListener("open", alive);
  source.addEventListener("beat", alive);
  source.addEventListener("parts", (event) => {
    alive();
    const content = JSON.parse(event.data);
    if (content.trouble) { $("lost").hidden = false; $("lost").textContent = content.trouble; return; }
    for (const [id, html] of Object.entries(content.parts)) show(id, html);
    tick();
    if ($("announcement").textContent !== content.announcement) $("announcement").textContent = content.announcement;
  });
  source.addEventListener("end", () => {
    alive();
    over = Date.now() > hoping;
    leave();
    if (!over) setTimeout(follow, 2000);
  });
  source.addEventListener("error", () => {
    lost(true);
    if (source && source.readyState === EventSource.CLOSED) { leave(); setTimeout(follow, 2000); }
  });
}

/** Follow a run that had ended and goes on. */
export function followAgain() {
  path = document.body.dataset.later;
  over = false;
  hoping = Date.now() + 60000;
  leave();
  follow();
}

function leave() {
  if (source) source.close();
  source = null;
}

// A browser has six connections to a server for all of its tabs: one that nobody looks at gives its own back.
document.addEventListener("visibilitychange", () => document.hidden ? leave() : follow());
window.addEventListener("pagehide", leave);
window.addEventListener("pageshow", follow);
setInterval(() => {
  if (source && Date.now() - heard > SILENT) { lost(true); leave(); follow(); }
}, 5000);
follow();
