// Waits for a file that the server is making, and goes to it.
"use strict";
(() => {
  const box = document.getElementById("making");
  const PAUSE = 700; // ms between two looks
  const MOST = 180; // looks; the server gives up before that

  async function look(n) {
    let status = 0;
    try {
      status = (await fetch(location.href, { method: "HEAD", credentials: "omit", headers: { Accept: "text/html" } })).status;
    } catch {
      status = 202; // the server may come back
    }
    if (status === 202 && n < MOST) return setTimeout(look, PAUSE, n + 1);
    if (status === 202) return void (box.textContent = "The server does not answer. Load this page again.");
    if (box.dataset.ready) box.textContent = box.dataset.ready;
    location.replace(location.href);
  }

  setTimeout(look, PAUSE, 1);
})();
