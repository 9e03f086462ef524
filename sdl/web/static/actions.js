// Buttons and forms of the pages: what a lab is told, runs continued and stopped, settings copied, notes.
import { $, ask, done, held, hold, post, willing } from "./dialog.js";
import { followAgain } from "./live.js";

// What a lab is told --------------------------------------------------------------------------------------------
const NAMES = {
  pause: "Pause", resume: "Resume", abort: "Abort", skip: "Skip", "run-now": "Run now", approve: "Approve", refuse: "Refuse",
};
const UNDER_WAY = { pause: "Pausing …", resume: "Resuming …", abort: "Aborting …" };
const REVIEW = ["approve", "refuse"];

// Says on the button what is under way, until the server draws it again
async function underWay(button, text, work) {
  const before = button.textContent;
  if (text) button.textContent = text;
  try {
    return await work();
  } catch (error) {
    button.textContent = before;
    throw error;
  }
}

function tell(button) {
  const { verb, target, title, quote, since = "" } = button.dataset;
  const work = {
    title: title || NAMES[verb] + ": " + (REVIEW.includes(verb) ? "submission " : "") + target, yes: title && verb === "resume" ? "End the pause" : NAMES[verb],
    reason: verb !== "resume" && verb !== "run-now",
    text: quote || (verb === "abort" ? "The campaign ends: instrument off, record closed." : ""),
    run: ({ reason }) => underWay(button, UNDER_WAY[verb], async () => {
      const body = REVIEW.includes(verb) ? { submission: target, reason } : verb === "run-now" ? { job: target } : verb === "resume" ? { target, since } : { target, reason };
      return (await post("/api/v1/" + verb, body)).done;
    }),
  };
  if (work.reason || title) ask(work); else willing(work);
}

// A run, continued ----------------------------------------------------------------------------------------------
const quoted = (text) => /^[\w@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'"; // as a shell does

function resume(button) {
  const { resume: run, title, command, changes } = button.dataset;
  const set = changes ? changes.split("\n") : [];
  const box = document.createElement("div");
  const inputs = JSON.parse(button.dataset.fields).map(([key, label, value], n) => {
    const line = box.appendChild(document.createElement("p"));
    const name = line.appendChild(document.createElement("label"));
    const input = line.appendChild(document.createElement("input"));
    line.className = "field";
    name.textContent = label;
    name.htmlFor = input.id = "resume-" + n;
    Object.assign(input, { value, inputMode: "decimal", maxLength: 40 });
    return [key, input];
  });
  const line = box.appendChild(document.createElement("p"));
  line.append("The same as ");
  const code = line.appendChild(document.createElement("code"));
  const all = () => [...set.filter((one) => !inputs.some(([key]) => one.startsWith(key + "="))),
    ...inputs.filter(([, input]) => input.value.trim()).map(([key, input]) => key + "=" + input.value.trim())];
  const show = () => {
    const start = set.length ? command.split(" --set ")[0] : command;
    code.textContent = start + all().map((one) => " --set " + quoted(one)).join("");
  };
  box.addEventListener("input", show);
  show();
  ask({
    title: title.replace("…", ""), text: "The record continues; nothing is measured twice.", yes: "Continue", fields: box,
    run: async () => {
      const reply = await post("/api/v1/resume-run", { run, changes: all().join("\n") });
      followAgain();
      return reply.done;
    },
  });
}

function interrupt(button) {
  willing({ title: "Stop this campaign", yes: "Stop", run: () => underWay(button, "Stopping …", async () =>
    (await post("/api/v1/interrupt", { run: button.dataset.interrupt })).done) });
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    done("Copied: " + button.dataset.copy);
  } catch {
    done(button.dataset.copy); // no access to the clipboard: it can be selected here
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.verb) tell(button);
  else if (button.dataset.resume) resume(button);
  else if (button.dataset.interrupt) interrupt(button);
  else if (button.dataset.copy) copy(button);
});

// Notes: what is typed survives a reload, and a change by others meanwhile ----------------------------------------
const notes = $("notes");
const draft = notes && "notes " + notes.dataset.path;

/** The notes that others saved meanwhile, with a button that adds them to those typed here. */
function beside(now) {
  const box = Object.assign(document.createElement("section"), { id: "theirs", className: "card outcome" });
  const text = (tag, content) => box.appendChild(Object.assign(document.createElement(tag), { textContent: content }));
  text("h3", "Saved by " + (now.by || "another user") + " meanwhile");
  text("pre", now.note || "(no note)").className = "scroll";
  if (now.tags.length) text("p", "Tags: " + now.tags.join(", "));
  text("p", "Save again to replace this by your text, or add it to yours first.");
  text("button", "Add to mine").type = "button";
  box.querySelector("button").addEventListener("click", () => {
    const typed = tags();
    $("note").value = [$("note").value, now.note].filter(Boolean).join("\n");
    $("tags").value = [...typed, ...now.tags.filter((tag) => !typed.includes(tag))].join(", ");
    keep();
    box.remove();
    $("note").focus();
  });
  $("theirs")?.remove();
  notes.prepend(box);
}

const tags = () => $("tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
const keep = () => hold(draft, JSON.stringify({ note: $("note").value, tags: $("tags").value, version: notes.dataset.version }));

if (notes && !$("note").readOnly) {
  const kept = JSON.parse(held(draft) || "null");
  if (kept && (kept.note !== $("note").value || kept.tags !== $("tags").value)) {
    $("note").value = kept.note;
    $("tags").value = kept.tags;
    notes.dataset.version = kept.version;
    done("Your notes that were not saved are back.");
  }
  notes.addEventListener("input", keep);
}

if (notes) notes.addEventListener("submit", (event) => {
  event.preventDefault();
  willing({
    title: "Save the notes", yes: "Save",
    run: async () => {
      const body = { note: $("note").value, tags: tags(), version: Number(notes.dataset.version) };
      try {
        const reply = await post(notes.dataset.path, body);
        notes.dataset.version = reply.version;
        hold(draft, "");
        $("theirs")?.remove();
        return reply.done;
      } catch (error) {
        if (!error.reply?.now) throw error;
        notes.dataset.version = error.reply.now.version;
        keep();
        beside(error.reply.now);
        return error.message + ".";
      }
    },
  });
});
