// A person at the bench: readings typed, trials skipped, readings corrected, files added.
import { $, Refused, ask, done, post, willing } from "./dialog.js";
import { following } from "./live.js";

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
    if (reply.settings === null && !following()) location.reload();
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
    return call === "skip" ? "Trial skipped." : "Saved.";
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
    text: "The record keeps the earlier reading as well. Solver, means and report use the correction.",
    run: async ({ reason }) => {
      if (!reason) throw new Refused(0, "Say why.");
      const readings = excluded.checked ? null : Object.fromEntries(inputs.map(([name, input]) => [name, number(input, name)]));
      await post("/api/v1/correct", { run: run.dataset.run, trial: Number(trial), repeat: Number(repeat), readings, why: reason });
      if (!following()) setTimeout(() => location.reload(), 600);
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
    else if (what === "skip") why("skip", "Skip the trial", "It counts as a trial, not as a failure.", "why");
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
      if (!following()) setTimeout(() => location.reload(), 600);
      return reply.done;
    } });
  });
}
