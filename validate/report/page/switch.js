"use strict";
const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
(() => {
  // A page opened from a file may be kept from storing a choice; then it is not stored.
  const recall = (name) => { try { return localStorage.getItem("mindport-" + name); } catch { return null; } };
  const keep = (name, value) => { try { localStorage.setItem("mindport-" + name, value); } catch { /* not kept */ } };

  for (const element of all("#switches, .needs-script")) element.hidden = false;

  const choose = (name, first, apply) => {
    for (const input of all(`input[name="${name}"]`)) {
      input.checked = input.value === first;
      input.addEventListener("change", () => { keep(name, input.value); apply(input.value); });
    }
    apply(first);
  };
  choose("language", recall("language") || (navigator.language.startsWith("zh") ? "zh" : "en"), (tag) => {
    root.dataset.lang = tag;
    root.lang = tag;
    root.dispatchEvent(new Event("reworded"));
  });
  choose("theme", recall("theme") || "auto", (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  });
})();
