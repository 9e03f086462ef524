// The page on which a campaign is made: a form and its YAML, each made from the other by the server, which checks both.
import { $, ask, done, held, post, willing } from "./dialog.js";

const form = $("start");
const DRAFT_PAUSE = 250; // ms without a key before the campaign is checked
const FORECAST_PAUSE = 900; // and before it is forecast
const HOW = [
  ["", "free"], ["target", "target"], ["at least", "at least"], ["at most", "at most"], ["between", "between"],
  ["maximise", "maximise"], ["minimise", "minimise"],
];
const FIELDS = ["name", "tolerance", "average", "solver", "trials", "minutes", "prior"];

if (form) {
  const setup = JSON.parse(form.dataset.setup);
  const chosen = () => setup.instruments.find((one) => one.name === $("instrument").value) || setup.instruments[0];
  const element = (name, given = {}, ...inside) => {
    const made = Object.assign(document.createElement(name), given);
    made.append(...inside);
    return made;
  };
  let drafted = 0; // number of the latest draft that was asked for
  let valid = false;
  let edited = "form"; // which of the two is the original

  // The rows of channels and inputs ---------------------------------------------------------------------------------
  function goalRow(channel, row) {
    const box = element("div", { className: "row" });
    box.dataset.path = "goal." + channel.name;
    box.dataset.channel = channel.name;
    const other = row.how === "other";
    const how = element("select", { ariaLabel: channel.name + ": what is wanted" },
      ...(other ? [...HOW, ["other", "as in the YAML"]] : HOW).map(([value, text]) => element("option", { value, textContent: text })));
    const field = (key, label, placeholder) => {
      const input = element("input", { value: row[key] || "", placeholder, maxLength: 40, ariaLabel: channel.name + ": " + label });
      input.inputMode = channel.low === undefined || channel.low < 0 ? "text" : "decimal";
      input.dataset.key = key;
      return input;
    };
    const range = [channel.low, channel.high ?? channel.saturation].map((end) => end === undefined || end === null ? "" : String(end));
    const value = field("value", "reading", range[0] || range[1] ? range[0] + " … " + range[1] : "");
    const high = field("high", "highest reading", "to");
    const tolerance = field("tolerance", "tolerance", "± tolerance");
    const show = () => {
      value.hidden = ["maximise", "minimise", "other"].includes(how.value);
      high.hidden = how.value !== "between";
      tolerance.hidden = how.value !== "target";
      box.classList.toggle("wanted-channel", how.value !== "");
    };
    how.value = row.how || "";
    how.dataset.key = "how";
    how.addEventListener("change", show);
    value.addEventListener("input", () => { // a number is a target, and no number none
      if (value.value.trim() && !how.value) how.value = "target";
      if (!value.value.trim() && how.value === "target") how.value = "";
      show();
    });
    show();
    box.append(element("span", { className: "name", textContent: channel.name }), how, value, high, tolerance,
      element("span", { className: "unit small faint", textContent: channel.unit || "" }));
    return box;
  }

  function inputRow(input, row) {
    const box = element("div", { className: "row" });
    box.dataset.path = "inputs." + input.name;
    box.dataset.input = input.name;
    box.dataset.how = row.how || "";
    const field = (key, label, placeholder) => {
      const made = element("input", { value: row[key] || "", placeholder, maxLength: 200, ariaLabel: input.name + ": " + label });
      made.inputMode = "text";
      made.dataset.key = key;
      return made;
    };
    const inside = row.how === "other" ? [element("span", { className: "faint small", textContent: "as in the YAML" })]
      : input.choices ? [field("choices", "choices, separated by commas", input.choices.join(", "))]
        : [field("low", "lowest", String(input.low ?? 0)), field("high", "highest", String(input.high ?? 1))];
    box.append(element("span", { className: "name", textContent: input.name }), ...inside,
      element("span", { className: "unit small faint", textContent: input.unit || "" }));
    return box;
  }

  function rows(shown) {
    const { channels, inputs, identity, simulated } = chosen();
    $("goal").replaceChildren(...channels.map((one) => goalRow(one, shown.goal[one.name] || {})));
    $("inputs").replaceChildren(...inputs.map((one) => inputRow(one, shown.inputs[one.name] || {})));
    if (Object.keys(shown.inputs).length) $("inputs").closest("details").open = true;
    $("instrument-note").textContent = identity + (simulated ? " (simulated)" : " (real)");
  }

  function fill(shown) {
    const active = document.activeElement;
    for (const key of FIELDS) if ($(key) !== active) $(key).value = shown[key] || (key === "solver" ? "auto" : "");
    const inside = active && active.closest && active.closest("#goal, #inputs");
    if (!inside) rows(shown);
  }

  const read = () => {
    const texts = (box) => Object.fromEntries([...box.querySelectorAll("[data-key]")].map((one) => [one.dataset.key, one.value]));
    return {
      ...Object.fromEntries(FIELDS.map((key) => [key, $(key).value])),
      goal: Object.fromEntries([...$("goal").children].map((box) => [box.dataset.channel, texts(box)])),
      inputs: Object.fromEntries([...$("inputs").children].map((box) => [box.dataset.input, { how: box.dataset.how, ...texts(box) }])),
    };
  };

  // What is wrong, at its field and in a list -----------------------------------------------------------------------
  function clear() {
    for (const one of form.querySelectorAll(".field-error")) one.remove();
    for (const one of form.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
  }

  function field(path) {
    const parts = path.split(".");
    for (let n = parts.length; n; n--) {
      const found = form.querySelector(`[data-path="${CSS.escape(parts.slice(0, n).join("."))}"]`);
      if (found) return found;
    }
    return null;
  }

  function say(lines, kind) {
    const list = element(lines.length > 1 ? "ul" : "p", { className: kind });
    for (const line of lines) (lines.length > 1 ? list.appendChild(element("li")) : list).textContent = line;
    $("check").replaceChildren(...(lines.length ? [list] : []));
  }

  function report(problems, kind) {
    for (const { path, message } of problems) {
      const found = path && field(path);
      if (!found) continue;
      if (kind === "bad" && found.matches("input, select")) found.setAttribute("aria-invalid", "true");
      const line = element("span", { className: "field-error small " + kind, textContent: message });
      if (found.matches("fieldset")) found.querySelector("legend").after(line);
      else if (found.matches("input, select")) found.after(line);
      else found.append(line);
    }
  }

  const sentence = ({ line, path, message }) => (line ? "line " + line + ": " : "") + (path ? path + ": " : "") + message;

  // Draft and forecast ----------------------------------------------------------------------------------------------
  async function draft() {
    const mine = ++drafted;
    const reply = await post("/api/v1/draft", {
      instrument: $("instrument").value, campaign: $("campaign").value, form: edited === "form" ? read() : null,
    });
    if (mine !== drafted) return null;
    if (edited === "form") $("campaign").value = reply.campaign;
    else if (reply.form) fill(reply.form);
    history.replaceState({ instrument: $("instrument").value, campaign: $("campaign").value }, ""); // for Back and Reload
    clear();
    valid = reply.valid;
    const pristine = !reply.form || !Object.keys(reply.form.goal).length;
    const only = reply.problems.length === 1 && reply.problems[0].path === "goal" && pristine;
    report(only ? [] : reply.problems, "bad");
    report(reply.cautions || [], "faint");
    if (valid) say(["Valid: " + reply.at_most + "."], "good");
    else say(reply.problems.map(sentence), only ? "faint" : "bad");
    return reply;
  }

  let forecasts = 0;
  async function forecast() {
    const mine = ++forecasts;
    const box = $("forecast");
    const { done: text, error } = await post("/api/v1/forecast", { instrument: $("instrument").value, campaign: $("campaign").value })
      .then((found) => ({ done: found.text }), (failed) => ({ error: failed.message }));
    if (mine !== forecasts) return;
    box.classList.remove("busy");
    box.textContent = text || "No forecast: " + error;
  }

  let [draftWait, forecastWait] = [0, 0];
  function soon(pause = DRAFT_PAUSE) {
    clearTimeout(draftWait);
    clearTimeout(forecastWait);
    drafted++; // what is under way is of another campaign
    forecasts++;
    $("need-token").hidden = Boolean(held("token"));
    if (!held("token")) return;
    $("forecast").classList.add("busy");
    draftWait = setTimeout(async () => {
      try {
        const reply = await draft();
        if (!reply) return;
        if (reply.valid) {
          $("forecast").textContent = "Simulating …";
          forecastWait = setTimeout(forecast, FORECAST_PAUSE);
        } else $("forecast").textContent = "";
      } catch (error) {
        say(error.message.split("\n"), "bad");
        $("forecast").textContent = "";
        $("need-token").hidden = Boolean(held("token"));
      }
    }, pause);
  }

  // What is typed ---------------------------------------------------------------------------------------------------
  $("builder").addEventListener("input", () => { edited = "form"; soon(); });
  $("campaign").addEventListener("input", () => { edited = "yaml"; soon(); });
  $("instrument").addEventListener("change", () => { rows(read()); edited = "form"; soon(0); });
  $("file").addEventListener("change", async () => {
    const file = $("file").files[0];
    if (!file) return;
    if (file.size > 12000) return say([file.name + ": larger than a campaign may be here (12 kB)"], "bad");
    $("campaign").value = await file.text();
    edited = "yaml";
    soon(0);
  });
  $("need-token-button").addEventListener("click", () => $("token-button").click());
  document.addEventListener("sdl:token", () => soon(0));

  // Check and start -------------------------------------------------------------------------------------------------
  const wrong = () => {
    const first = form.querySelector("[aria-invalid], .field-error.bad");
    (first && (first.matches("input, select") ? first : first.parentElement.querySelector("input, select")) || $("campaign")).focus();
    return "";
  };

  $("check-now").addEventListener("click", () => willing({ title: "Check", yes: "Check", run: async () => { await draft(); return ""; } }));

  async function start(real) {
    clearTimeout(draftWait); // the draft of what was typed last is this one
    const reply = await draft();
    if (!reply) return "Not started: the campaign was changed while it was checked.";
    if (!reply.valid) {
      $("forecast").textContent = "";
      say(reply.problems.map(sentence), "bad");
      report(reply.problems, "bad");
      return wrong();
    }
    try {
      const body = { campaign: $("campaign").value, instrument: $("instrument").value };
      const started = await post("/api/v1/start", setup.lab ? body : { ...body, real });
      done(started.done);
      setTimeout(() => { location.href = started.run ? "/runs/" + started.run.split("/").map(encodeURIComponent).join("/") : "/#main"; }, started.run ? 200 : 1200);
      return started.done;
    } catch (error) {
      if (error.status !== 409) throw error;
      say(error.message.split("\n"), "bad");
      return "Not started. The mistakes are listed above.";
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { identity, simulated } = chosen();
    const work = { title: "Start the campaign", yes: "Start", run: () => start(simulated ? "" : "yes") };
    if (simulated || setup.lab) return willing(work);
    ask({ ...work, title: "Drive a real instrument?", text: identity + " is no simulation: the campaign sets its inputs." });
  });

  $("instrument").append(...setup.instruments.map((one) => element("option", { value: one.name, textContent: one.name + (one.simulated ? "" : " (real)") })));
  $("solver").append(...setup.solvers.map((kind) => element("option", { value: kind, textContent: kind })));
  const kept = history.state;
  $("campaign").value = kept ? kept.campaign : setup.campaign;
  if (kept) [$("instrument").value, edited] = [kept.instrument, "yaml"];
  fill(setup.form);
  soon(0);
}
