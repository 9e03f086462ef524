// Changes a part of the page into what the server has drawn, element by element: what stays the same keeps its
// selection, focus, scroll position, opened details and typed text.

const KEPT = new Set(["open", "aria-invalid"]); // attributes that people and scripts change
const TYPED = new Set(["INPUT", "TEXTAREA", "SELECT"]);

/** Make the children of `box` those of `html`. Elements with the same `data-id` are the same. */
export function patch(box, html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  children(box, made.content);
}

const id = (node) => node.nodeType === Node.ELEMENT_NODE ? node.dataset.id || node.id : "";
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && id(a) === id(b);

function children(old, wanted) {
  const known = new Map([...old.children].filter(id).map((element) => [id(element), element]));
  const needed = new Set([...wanted.children].map(id));
  let here = old.firstChild; // everything before it is as it should be
  for (const next of [...wanted.childNodes]) {
    let found = id(next) ? known.get(id(next)) : here;
    while (found && !alike(found, next)) found = id(next) ? null : found.nextSibling;
    if (!found) { old.insertBefore(next, here); continue; }
    const between = [];
    for (let node = here; node && node !== found; node = node.nextSibling) between.push(node);
    known.delete(id(next));
    if (between.some((node) => id(node) && needed.has(id(node)))) old.insertBefore(found, here); // they come later
    else {
      for (const node of between) node.remove();
      here = found.nextSibling;
    }
    update(found, next);
  }
  while (here) {
    const after = here.nextSibling;
    here.remove();
    here = after;
  }
}

function update(old, wanted) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  if (old.isEqualNode(wanted)) return;
  for (const { name, value } of [...wanted.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  if (!TYPED.has(old.nodeName) || old.nodeName === "SELECT") children(old, wanted);
}
