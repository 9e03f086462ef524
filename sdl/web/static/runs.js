// The list of runs: filters while typing, tags and notes in place, and a choice of runs that survives filters.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const form = $("filter");
  const PAUSE = 150; // ms without a key before the list is asked for

  // Filters while typing; the address is that of the list --------------------------------------------------------
  let waiting = 0;
  let asked = 0;

  function address() {
    const filled = [...new FormData(form)].filter(([name, value]) => value && !(name === "sort" && value === "-started"));
    return "/runs" + (filled.length ? "?" + new URLSearchParams(filled) : "");
  }

  async function load(path) {
    const mine = ++asked;
    $("found").setAttribute("aria-busy", "true");
    let text = "";
    try {
      const answer = await fetch(path, { credentials: "omit" });
      text = await answer.text();
    } catch {
      text = "";
    }
    if (mine !== asked) return; // a later question has been asked
    const found = new DOMParser().parseFromString(text, "text/html");
    const list = found.getElementById("found");
    const said = list ? "" : found.querySelector("main p")?.textContent || "The server does not answer.";
    if (list) $("found").replaceChildren(...list.childNodes);
    else $("found").querySelector("[role=status]").textContent = said;
    for (const field of form.querySelectorAll("select")) {
      const fresh = found.getElementById(field.id);
      if (!fresh || fresh.options.length === field.options.length) continue;
      const chosen = field.value; // of now: it may have been chosen meanwhile
      field.replaceChildren(...fresh.childNodes);
      field.value = chosen;
    }
    $("found").removeAttribute("aria-busy");
    tick();
    follow(path);
  }

  // While the records are being read, the list is asked for again
  function follow(path) {
    const mine = asked;
    if (!$("found").querySelector(".card[role=status]")) return;
    setTimeout(() => {
      if (mine !== asked) return;
      if ($("found").querySelector(".editing")) follow(path); // what is typed there is kept
      else load(path);
    }, 1500);
  }

  function filter() {
    clearTimeout(waiting);
    const path = address();
    history.replaceState(null, "", path);
    load(path);
  }

  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, event.target.type === "search" ? PAUSE : 0);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });

  // Runs to compare, kept in this tab --------------------------------------------------------------------------------
  const KEY = "compare";
  const picked = new Set(JSON.parse(sessionStorage.getItem(KEY) || "[]"));

  function tick() {
    const here = new Set();
    for (const box of document.querySelectorAll("#found input[name=run]")) {
      box.checked = picked.has(box.value);
      here.add(box.value);
    }
    const others = [...picked].filter((run) => !here.has(run)).map((run) => Object.assign(
      document.createElement("input"), { type: "hidden", name: "run", value: run }));
    $("picked-others").replaceChildren(...others);
    sessionStorage.setItem(KEY, JSON.stringify([...picked]));
    $("picked").classList.toggle("some", picked.size > 0);
    $("picked-none").hidden = !picked.size;
    $("picked-text").textContent = picked.size
      ? picked.size + (picked.size === 1 ? " run" : " runs") + " chosen" : "Tick runs to compare them.";
    $("picked-go").disabled = !picked.size;
  }

  $("compare").addEventListener("change", ({ target }) => {
    if (target.name !== "run") return;
    if (target.checked) picked.add(target.value); else picked.delete(target.value);
    tick();
  });
  $("picked-none").addEventListener("click", () => { picked.clear(); tick(); });

  // Tags and note in place ------------------------------------------------------------------------------------------
  function edit(cell) {
    const shown = cell.querySelector(".shown");
    const box = cell.appendChild(document.createElement("div"));
    box.className = "editing";
    const field = (text, input) => {
      const line = box.appendChild(document.createElement("p"));
      const label = line.appendChild(document.createElement("label"));
      line.className = "field";
      label.textContent = text;
      label.append(input);
      return input;
    };
    const tags = field("Tags, separated by commas", Object.assign(document.createElement("input"), { maxLength: 900, value: cell.dataset.tags }));
    const note = field("Note", Object.assign(document.createElement("textarea"), { maxLength: 8000, rows: 3, value: cell.dataset.note }));
    const theirs = box.appendChild(Object.assign(document.createElement("p"), { className: "small" }));
    const buttons = box.appendChild(document.createElement("p"));
    buttons.className = "buttons";
    const button = (text, act) => {
      const made = buttons.appendChild(Object.assign(document.createElement("button"), { type: "button", textContent: text }));
      made.addEventListener("click", act);
      return made;
    };
    const close = () => { box.remove(); shown.hidden = false; shown.querySelector("button").focus(); };
    const save = () => document.dispatchEvent(new CustomEvent("sdl:do", { detail: {
      title: "Save tags and note", yes: "Save",
      run: async (post) => {
        let reply;
        try {
          reply = await post(cell.dataset.path, {
            note: note.value, tags: tags.value.split(",").map((tag) => tag.trim()).filter(Boolean),
            version: Number(cell.dataset.version),
          });
        } catch (error) {
          const now = error.reply?.now; // saved by others meanwhile: what is typed here stays
          if (!now) throw error;
          cell.dataset.version = now.version;
          theirs.textContent = `Saved by ${now.by || "another user"} meanwhile: ${[now.tags.join(", "), now.note].filter(Boolean).join("; ") || "nothing"}. Save again to replace it.`;
          return error.message + ".";
        }
        await load(location.pathname + location.search);
        document.querySelector(`[data-path="${CSS.escape(cell.dataset.path)}"] button`)?.focus();
        return reply.done;
      },
    } }));
    button("Save", save).className = "main";
    button("Cancel", close);
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); close(); }
      if (event.key === "Enter" && event.target === tags) { event.preventDefault(); save(); }
    });
    shown.hidden = true;
    tags.focus();
  }

  $("found").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-edit]");
    if (button) edit(button.closest("td"));
  });

  tick();
  follow(location.pathname + location.search);
})();
