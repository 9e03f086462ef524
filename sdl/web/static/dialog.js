// The token of this tab, requests that change something, and the one dialog that asks for what is not known.
export const $ = (id) => document.getElementById(id);

// Status messages, also for screen readers ----------------------------------------------------------------------
let fading = 0;
export function done(text) {
  const box = $("done");
  box.hidden = false;
  box.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { box.hidden = true; }, 8000);
}

// The token: in this tab alone, never in an address or a cookie ----------------------------------------------
export const held = (name) => sessionStorage.getItem(name) || "";
export const hold = (name, text) => text ? sessionStorage.setItem(name, text) : sessionStorage.removeItem(name);

export class Refused extends Error {
  constructor(status, text, reply = {}) { super(text); this.status = status; this.reply = reply; }
}

export async function post(path, body) {
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
    throw new Refused(0, "The server does not answer: it is not known whether this was done.");
  }
  const reply = await answer.json().catch(() => ({}));
  if (answer.ok) return reply;
  if (answer.status === 401 || answer.status === 403) hold("token", "");
  throw new Refused(answer.status, reply.error || "the server refused (" + answer.status + ")", reply);
}

// One dialog for everything: why, token; only what is not known is asked -----------------------------------
const dialog = $("ask");
let pending = null;
let back = null;

export function ask(work) {
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
export async function willing(work) {
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
  title: "Access token", yes: "Use this token", renew: true, text: held("token") ? "This tab has a token; type another to replace it." : "",
  run: async () => {
    if (!held("token")) return "";
    await post("/api/v1/whoami", {});
    document.dispatchEvent(new CustomEvent("sdl:token"));
    return "Token accepted";
  },
}));
