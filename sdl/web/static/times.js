// Times: how long ago, counted on; and of every time of day, on hover, how far from now.
const offset = Number(document.body.dataset.now || Date.now() / 1000) - Date.now() / 1000; // of the server's clock
const now = () => Date.now() / 1000 + offset;

/** `12 s`, `3 min 05 s`, `2 h 03 min`, `4 d 2 h`. */
export function duration(seconds) {
  const s = Math.max(Math.round(seconds), 0);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + String(s % 60).padStart(2, "0") + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + String(Math.floor(s % 3600 / 60)).padStart(2, "0") + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}

/** Bring all times up to date. */
export function tick() {
  for (const element of document.querySelectorAll("[data-ago]")) {
    const text = duration(now() - Number(element.dataset.ago));
    if (element.textContent !== text) element.textContent = text;
  }
}

function hint(event) {
  const element = event.target.closest && event.target.closest("time[datetime]");
  if (!element) return;
  const seconds = Date.parse(element.dateTime) / 1000 - now();
  element.title = seconds > 0 ? "in " + duration(seconds) : duration(-seconds) + " ago";
}

document.addEventListener("pointerover", hint);
document.addEventListener("focusin", hint);
setInterval(tick, 1000);
tick();
