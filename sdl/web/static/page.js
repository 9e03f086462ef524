// What every page does; the modules say what.
import "./dialog.js";
import "./actions.js";
import "./bench.js";
import "./live.js";
import "./times.js";

document.documentElement.classList.remove("no-script");
