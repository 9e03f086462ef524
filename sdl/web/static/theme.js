// The theme that was chosen, before anything is drawn; without a choice that of the system.
"use strict";
(() => {
  const THEMES = ["auto", "light", "dark"];
  const root = document.documentElement;
  const chosen = () => THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";

  function show() {
    if (chosen() === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = chosen();
    const button = document.getElementById("theme-button");
    if (button) button.textContent = "Theme: " + chosen();
    for (const link of document.querySelectorAll("a[data-themed]")) { // to a page without scripts
      const to = new URL(link.href);
      to.searchParams.delete("theme");
      if (chosen() !== "auto") to.searchParams.set("theme", chosen());
      link.href = to;
    }
  }

  show();
  window.addEventListener("storage", show); // chosen in another tab
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme-button").addEventListener("click", () => {
      localStorage.setItem("theme", THEMES[(THEMES.indexOf(chosen()) + 1) % THEMES.length]);
      show();
    });
    document.getElementById("compare")?.addEventListener("formdata", ({ formData }) => {
      if (chosen() !== "auto") formData.set("theme", chosen());
    });
  });
})();
