(() => {
  // Where something is wrong, wide charts and the long table begin there.
  const fault = document.querySelector('.facts a[href^="#row-taps-"]')?.hash.slice(1);
  const showFault = (box, mark) => {
    if (!mark) return;
    const inner = mark.getBoundingClientRect(), outer = box.getBoundingClientRect();
    box.scrollLeft += inner.left - outer.left - outer.width / 2;
  };
  const showFaults = () => {
    if (!fault) return;
    for (const box of all(".picture")) showFault(box, box.querySelector(`[data-row="${fault}"]`));
  };
  showFaults();
  const row = fault && document.getElementById(fault);
  if (row) row.closest(".scroll").scrollTop = row.offsetTop - 90;

  const checked = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
  const showChart = () => {
    for (const chart of all("[data-view]")) {
      chart.hidden = chart.dataset.view !== checked("view") || chart.dataset.statistic !== checked("statistic");
    }
    showFaults();
  };
  for (const input of all('input[name="view"], input[name="statistic"]')) input.addEventListener("change", showChart);

  function visible(element) {
    const copy = element.cloneNode(true);
    for (const text of all(".t", copy)) if (text.lang !== root.dataset.lang) text.remove();
    return copy.textContent.trim().replace(/\s+/g, " ");
  }
  function filter(input) {
    const name = input.dataset.filters;
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const only = document.querySelector(`input[data-only="${name}"]`);
    const rows = all(`#${name} tbody tr`);
    let shown = 0;
    for (const row of rows) {
      const text = visible(row).toLowerCase();
      const kept = words.every((word) => text.includes(word)) && !(only?.checked && !row.classList.contains(only.value));
      row.hidden = !kept;
      shown += kept;
    }
    document.querySelector(`[data-count="${name}"]`).textContent = `${shown} / ${rows.length}`;
  }
  for (const input of all("input[type=search]")) {
    input.addEventListener("input", () => filter(input));
    document.querySelector(`input[data-only="${input.dataset.filters}"]`)?.addEventListener("change", () => filter(input));
  }

  const refilter = () => all("input[type=search]").forEach(filter);
  root.addEventListener("reworded", refilter);
  refilter();

  // What a mark stands for is the row of a table, with that table's headings.
  const tip = document.getElementById("tip");
  const describe = (row) => {
    const list = document.createElement("dl");
    const heads = all("thead th", row.closest("table"));
    [...row.cells].forEach((cell, place) => {
      const term = document.createElement("dt"), value = document.createElement("dd");
      term.textContent = visible(heads[place]);
      value.textContent = visible(cell);
      list.append(term, value);
    });
    tip.replaceChildren(list);
  };
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.("[data-row]");
    const row = mark && document.getElementById(mark.dataset.row);
    tip.hidden = !row;
    if (row) describe(row);
  });
  document.addEventListener("pointermove", (event) => {
    if (tip.hidden) return;
    const { width, height } = tip.getBoundingClientRect();
    const x = Math.min(event.clientX + 14, innerWidth - width - 8);
    const y = event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18;
    tip.style.left = `${Math.max(8, x)}px`;
    tip.style.top = `${Math.max(8, y)}px`;
  });
  document.addEventListener("click", (event) => {
    const mark = event.target.closest?.("[data-row]");
    const row = mark && document.getElementById(mark.dataset.row);
    if (!row) return;
    row.closest("details")?.setAttribute("open", "");
    for (const lit of all(".lit")) lit.classList.remove("lit");
    row.classList.add("lit");
    row.hidden = false;
    row.scrollIntoView({ block: "center" });
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
})();
