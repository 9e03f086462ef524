// The page's one script: follows the server's events, and asks it to do things with the token of this tab.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SILENT = 20000; // without a word for so many ms the stream is taken for dead: the server beats every 5 s
  document.documentElement.classList.remove("no-script");

  // Status messages, also for screen readers ----------------------------------------------------------------------
  let fading = 0;
  function done(text) {
    const box = $("done");
    box.hidden = false;
    box.textContent = text;
    clearTimeout(fading);
    fading = setTimeout(() => { box.hidden = true; }, 8000);
  }

  // The token: in this tab alone, never in an address or a cookie ----------------------------------------------
  const held = (name) => sessionStorage.getItem(name) || "";
  const hold = (name, text) => text ? sessionStorage.setItem(name, text) : sessionStorage.removeItem(name);

  class Refused extends Error {
    constructor(status, text) { super(text); this.status = status; }
  }

  async function post(path, body) {
    let answer;
    try {
      answer = await fetch(path, {
        method: "POST", credentials: "omit", redirect: "error", body: JSON.stringify(body),
        headers: { "Content-Type": "application/json", Authorization: "Bearer " + held("token") },
      });
    } catch {
      throw new Refused(0, "the server does not answer; nothing is known to be done");
    }
    const reply = await answer.json().catch(() => ({}));
    if (answer.ok) return reply;
    if (answer.status === 401 || answer.status === 403) hold("token", "");
    throw new Refused(answer.status, reply.error || "the server refused (" + answer.status + ")");
  }

  // One dialog for everything: why, token; only what is not known is asked -----------------------------------
  const dialog = $("ask");
  let pending = null;
  let back = null;

  function ask(work) {
    pending = work;
    const from = document.activeElement;
    back = { element: from, key: from && from.dataset ? from.dataset.key : "" };
    $("ask-title").textContent = work.title;
    $("ask-text").textContent = work.text || "";
    $("ask-error").textContent = "";
    $("ask-reason-field").hidden = !work.reason;
    $("ask-reason").value = "";
    $("ask-token").value = "";
    $("ask-yes").textContent = work.yes || "OK";
    token();
    dialog.showModal();
    (work.reason ? $("ask-reason") : held("token") ? $("ask-yes") : $("ask-token")).focus();
  }

  function token() {
    const needed = !held("token") || (pending && pending.renew);
    $("ask-token-field").hidden = !needed;
    $("ask-where").hidden = !needed;
  }

  async function go() {
    if ($("ask-token").value.trim()) hold("token", $("ask-token").value.trim());
    $("ask-token").value = "";
    $("ask-error").textContent = "";
    try {
      const sentence = await pending.run({ reason: $("ask-reason").value.trim() });
      dialog.close();
      if (sentence) done(sentence);
    } catch (error) {
      $("ask-error").textContent = error.message;
      token();
      if (!held("token")) $("ask-token").focus();
    }
  }

  $("ask-form").addEventListener("submit", (event) => { event.preventDefault(); go(); });
  $("ask-no").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    pending = null;
    const sameControl = back && back.key && document.querySelector(`[data-key="${CSS.escape(back.key)}"]`);
    const to = back && back.element && back.element.isConnected ? back.element : sameControl || $("main");
    to.focus();
  });

  // Does it at once where the token is known, and asks for it where not
  async function willing(work) {
    if (!held("token")) return ask(work);
    try {
      const sentence = await work.run({ reason: "" });
      if (sentence) done(sentence);
    } catch (error) {
      ask(work);
      $("ask-error").textContent = error.message;
    }
  }

  $("token-button").addEventListener("click", () => ask({
    title: "Token", yes: "Keep it", renew: true, text: held("token") ? "This tab has one; type another to replace it." : "",
    run: async () => held("token") ? "this tab has the token now" : "",
  }));

  // Buttons -------------------------------------------------------------------------------------------------------
  const NAMES = {
    pause: "Pause", resume: "Resume", abort: "Abort", skip: "Skip", "run-now": "Run now", approve: "Approve", refuse: "Refuse",
  };
  const REVIEW = ["approve", "refuse"];
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-verb]");
    if (!button) return;
    const { verb, target, title, quote, since = "" } = button.dataset;
    const work = {
      title: title || NAMES[verb] + ": " + (REVIEW.includes(verb) ? "submission " : "") + target, yes: title && verb === "resume" ? "End the pause" : NAMES[verb],
      reason: verb !== "resume" && verb !== "run-now",
      text: quote || (verb === "abort" ? "It ends for good: light off, record closed." : ""),
      run: async ({ reason }) => {
        const body = REVIEW.includes(verb) ? { submission: target, reason } : verb === "run-now" ? { job: target } : verb === "resume" ? { target, since } : { target, reason };
        return (await post("/api/v1/" + verb, body)).done;
      },
    };
    if (work.reason || title) ask(work); else willing(work);
  });

  // Events --------------------------------------------------------------------------------------------------------
  const path = document.body.dataset.events;
  let source = null;
  let heard = Date.now();
  let over = false;

  function lost(is) {
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
    box.innerHTML = html; // made and escaped by our server; no script can run from it (Content-Security-Policy)
    shown.set(id, html);
    if (key !== null && document.activeElement === document.body) {
      const target = key.slice(key.indexOf(" ") + 1);
      const next = box.querySelector(`[data-key="${CSS.escape(key)}"]`)
        || box.querySelector(`[data-target="${CSS.escape(target)}"]`) || box.querySelector("button") || $("main");
      next.focus();
    }
  }

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
      if ($("announcement").textContent !== content.announcement) $("announcement").textContent = content.announcement;
    });
    source.addEventListener("end", () => { alive(); over = true; leave(); });
    source.addEventListener("error", () => {
      lost(true);
      if (source && source.readyState === EventSource.CLOSED) { leave(); setTimeout(follow, 2000); }
    });
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

  // Notes ---------------------------------------------------------------------------------------------------------
  const notes = $("notes");
  if (notes) notes.addEventListener("submit", (event) => {
    event.preventDefault();
    willing({
      title: "Save the notes", yes: "Save",
      run: async () => {
        const body = {
          note: $("note").value, tags: $("tags").value.split(",").map((tag) => tag.trim()).filter(Boolean),
          version: Number(notes.dataset.version),
        };
        const reply = await post(notes.dataset.path, body);
        notes.dataset.version = reply.version;
        return reply.done;
      },
    });
  });

  // Start ---------------------------------------------------------------------------------------------------------
  const start = $("start");
  if (start) {
    const given = () => ({ campaign: $("campaign").value, instrument: $("instrument").value });
    let checks = 0;

    function say(lines, kind) {
      const list = document.createElement(lines.length > 1 ? "ul" : "p");
      list.className = kind;
      for (const line of lines) {
        const item = lines.length > 1 ? list.appendChild(document.createElement("li")) : list;
        item.textContent = line;
      }
      $("check").replaceChildren(list);
    }

    async function check() {
      if (!held("token")) return;
      const mine = ++checks;
      try {
        const reply = await post("/api/v1/check", given());
        if (mine === checks) say(["Valid: " + reply.done], "good");
      } catch (error) {
        if (mine === checks) say(error.message.split("\n"), "bad");
      }
    }

    let waiting = 0;
    const soon = () => { clearTimeout(waiting); waiting = setTimeout(check, 400); };
    $("campaign").addEventListener("input", soon);
    $("instrument").addEventListener("change", soon);
    $("file").addEventListener("change", async () => {
      const file = $("file").files[0];
      if (!file) return;
      if (file.size > 12000) return say([file.name + ": larger than a campaign may be here (12 kB)"], "bad");
      $("campaign").value = await file.text();
      check();
    });
    $("check-now").addEventListener("click", () => {
      if (held("token")) return check();
      ask({ title: "Token", yes: "Check", run: async () => { await post("/api/v1/check", given()).then(
        (reply) => say(["Valid: " + reply.done], "good"),
        (error) => { if (error.status !== 409) throw error; say(error.message.split("\n"), "bad"); }); return ""; } });
    });
    start.addEventListener("submit", (event) => {
      event.preventDefault();
      const run = async () => {
        try {
          const reply = await post("/api/v1/start", given());
          say([reply.done], "good");
          setTimeout(() => { location.href = "/#main"; }, 1200);
          return reply.done;
        } catch (error) {
          if (error.status !== 409) throw error;
          say(error.message.split("\n"), "bad");
          return "not started: see what is wrong with it";
        }
      };
      willing({ title: "Start a campaign", yes: "Start", run });
    });
    check();
  }
})();
