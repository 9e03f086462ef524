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
    const file = body instanceof Blob;
    try {
      answer = await fetch(path, {
        method: "POST", credentials: "omit", redirect: "error", body: file ? body : JSON.stringify(body),
        headers: {
          "Content-Type": file ? "application/octet-stream" : "application/json",
          Authorization: "Bearer " + held("token"),
        },
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
    $("ask-fields").replaceChildren(...(work.fields ? [work.fields] : []));
    $("ask-reason-field").hidden = !work.reason;
    $("ask-reason").value = "";
    $("ask-token").value = "";
    $("ask-yes").textContent = work.yes || "OK";
    token();
    dialog.showModal();
    const field = work.fields && work.fields.querySelector("input");
    (field || (work.reason ? $("ask-reason") : held("token") ? $("ask-yes") : $("ask-token"))).focus();
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

  // Other scripts of the page: `run(post)` of the event is done with the token of this tab
  document.addEventListener("sdl:do", ({ detail }) => willing({ ...detail, run: () => detail.run(post) }));

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
    if (id === "live-ask" && asks(box.innerHTML) && asks(box.innerHTML) === asks(html)) return; // keep what is typed
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

  // Which reading a form asks for, and who asks for the next one
  function asks(html) {
    const made = document.createElement("template");
    made.innerHTML = html;
    const [box, form] = [made.content.querySelector("[data-request]"), made.content.querySelector("form")];
    return box && form ? box.dataset.request + ("attended" in form.dataset) : "";
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

  // A person at the bench -----------------------------------------------------------------------------------------
  const run = $("run");

  class Typed extends Error {
    constructor(field, text) { super(text); this.field = field; }
  }

  // A number as people type it: a comma is a decimal mark, unless it may as well separate thousands
  function number(field, name) {
    const text = field.value.trim().replace("\u2212", "-");
    if (!text) throw new Typed(field, name + ": type the reading, or press “No reading…”");
    if (/^[+-]?[1-9]\d{0,2},\d{3}$/.test(text)) {
      throw new Typed(field, name + ": is " + text + " with three decimals, or thousands? Write a point, or leave the comma out");
    }
    const plain = text.replace(/^([+-]?\d*),(\d+)$/, "$1.$2");
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain)) throw new Typed(field, name + ": “" + text + "” is not a number");
    return Number(plain);
  }

  function reading(form) {
    const body = { run: run.dataset.run, trial: Number(form.dataset.trial), repeat: Number(form.dataset.repeat), readings: {} };
    for (const field of form.querySelectorAll("[data-channel]")) body.readings[field.dataset.channel] = number(field, field.dataset.channel);
    for (const field of form.querySelectorAll("[data-input]")) {
      if (!field.value.trim()) continue;
      body.applied = { ...body.applied };
      body.applied[field.dataset.input] = "choice" in field.dataset ? field.value : number(field, field.dataset.input);
    }
    const note = $("tell-note").value.trim();
    return note ? { ...body, note } : body;
  }

  // What a refusal of the values says stands beside them; the dialog is for the token
  async function answered(box, work) {
    box.textContent = "";
    try {
      return await work();
    } catch (error) {
      if (![400, 404, 409, 413].includes(error.status)) throw error;
      box.textContent = error.message;
      return null;
    }
  }

  const beside = (file, trial) => post(
    run.dataset.path + "/files?" + new URLSearchParams({ trial, name: file.name }), file);

  async function next(attended) {
    if (attended) return; // a process asks by itself
    try {
      const reply = await post("/api/v1/ask", { run: run.dataset.run });
      if (reply.settings === null && !source) location.reload();
    } catch (error) {
      done(error.message);
    }
  }

  async function tell(form) {
    const box = $("tell-error");
    let body;
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    try {
      body = reading(form);
    } catch (error) {
      box.textContent = error.message;
      error.field.setAttribute("aria-invalid", "true");
      error.field.closest("details")?.setAttribute("open", "");
      return error.field.focus();
    }
    const [file, attended, buttons] = [$("tell-file").files[0], "attended" in form.dataset, form.querySelectorAll("button")];
    await willing({ title: "Save the reading", yes: "Save", run: async () => {
      for (const button of buttons) button.disabled = true;
      try {
        const reply = await answered(box, () => post("/api/v1/tell", body));
        if (!reply) return "";
        const values = Object.entries(reply.mean || {}).map(([name, value]) => name + " " + Number(value.toPrecision(6)));
        done("Saved. Trial " + reply.trial + ": " + (values.join(", ") || reply.state) + (reply.ends ? ". " + reply.reason : ""));
        next(attended);
        if (file) beside(file, body.trial).catch((error) => done("The reading is saved, the file is not: " + error.message));
        return "";
      } finally {
        for (const button of buttons) button.disabled = false;
      }
    } });
  }

  function why(call, title, text, key) {
    const form = $("tell");
    const { trial, repeat } = form.dataset;
    const attended = "attended" in form.dataset;
    ask({ title, text, yes: title, reason: true, run: async ({ reason }) => {
      if (!reason) throw new Refused(0, "Say why.");
      const place = call === "skip" ? { trial: Number(trial) } : { trial: Number(trial), repeat: Number(repeat) };
      await post("/api/v1/" + call, { run: run.dataset.run, ...place, [key]: reason });
      next(attended);
      return call === "skip" ? "Trial skipped." : "Written down.";
    } });
  }

  function correct({ trial, repeat, values }) {
    const fields = document.createElement("div");
    const field = (name, type, value) => {
      const line = fields.appendChild(document.createElement("p"));
      const label = line.appendChild(document.createElement("label"));
      const input = document.createElement("input");
      line.className = "field";
      if (type === "checkbox") label.append(input, " " + name);
      else { label.textContent = name; label.htmlFor = input.id = "correct-" + fields.childElementCount; line.append(input); }
      Object.assign(input, { type, value, className: type });
      return input;
    };
    const inputs = JSON.parse(values).map(([name, value]) => [name, field(name, "text", value === null ? "" : String(value))]);
    const excluded = field("Exclude this reading", "checkbox", "yes");
    ask({ title: "Correct trial " + trial + ", reading " + (Number(repeat) + 1), yes: "Correct", reason: true, fields,
      text: "The record keeps what was told before. Solver, means and report follow the correction.",
      run: async ({ reason }) => {
        if (!reason) throw new Refused(0, "Say why.");
        const readings = excluded.checked ? null : Object.fromEntries(inputs.map(([name, input]) => [name, number(input, name)]));
        await post("/api/v1/correct", { run: run.dataset.run, trial: Number(trial), repeat: Number(repeat), readings, why: reason });
        if (!source) setTimeout(() => location.reload(), 600);
        return "Corrected.";
      } });
  }

  if (run) {
    document.addEventListener("submit", (event) => {
      if (event.target.id !== "tell") return;
      event.preventDefault();
      tell(event.target);
    });
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-tell]");
      if (!button) return;
      const what = button.dataset.tell;
      if (what === "ask") willing({ title: "Ask for the next settings", yes: "Ask", run: async () => { await next(false); return ""; } });
      else if (what === "failed") why("tell", "No reading", "The trial ends as failed.", "failed");
      else if (what === "skip") why("skip", "Skip the trial", "It counts as a trial, and is no failure.", "why");
      else correct(button.dataset);
    });
    const form = $("beside");
    if (form) form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [file, box] = [$("beside-file").files[0], $("beside-error")];
      if (!file) { box.textContent = "Choose a file."; return $("beside-file").focus(); }
      willing({ title: "Add the file", yes: "Add", run: async () => {
        const reply = await answered(box, () => beside(file, $("beside-trial").value.trim()));
        if (!reply) return "";
        form.reset();
        if (!source) setTimeout(() => location.reload(), 600);
        return reply.done;
      } });
    });
  }

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
