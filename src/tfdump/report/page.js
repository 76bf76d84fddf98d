"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  document.documentElement.classList.add("js");
  const table = find("tensors");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const words = rows.map((row) => row.dataset.words || row.cells[1].textContent.toLowerCase());
  const [text, group, kind, findings, differs] = ["text", "group", "class", "findings", "differs"].map(find);
  const count = (number) => number.toLocaleString("en");
  let order = rows;

  function filter() {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      const kept = wanted.every((word) => words[place].includes(word)) &&
        (!group.value || row.dataset.group === group.value) && (!kind.value || row.dataset.class === kind.value) &&
        (!findings.checked || row.dataset.found === "1") && (!(differs && differs.checked) || row.dataset.differs === "1");
      if (row.hidden === kept) row.hidden = !kept;
      shown += kept ? 1 : 0;
    });
    find("count").textContent = shown === rows.length ? `all ${count(shown)} tensors` : `${count(shown)} of ${count(rows.length)} tensors`;
  }

  let waiting = 0;
  text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 60); });
  for (const input of [group, kind, findings, differs]) if (input) input.addEventListener("change", filter);
  find("filter").addEventListener("submit", (event) => event.preventDefault());
  find("filter").addEventListener("reset", () => setTimeout(filter, 0));

  function value(row, column, numeric) {
    const cell = row.cells[column];
    if (!numeric) return cell.dataset.v || cell.textContent.trim();
    return cell.dataset.v === undefined ? NaN : Number(cell.dataset.v);
  }

  function sort(column, header) {
    const down = header.getAttribute("aria-sort") === "ascending";
    const numeric = header.dataset.sort === "n";
    const keyed = rows.map((row, place) => ({ row, place, key: value(row, column, numeric) }));
    const missing = (key) => numeric ? Number.isNaN(key) : key === "";
    keyed.sort((a, b) => {
      if (missing(a.key) || missing(b.key)) return missing(a.key) - missing(b.key) || a.place - b.place;
      const less = numeric ? Math.sign(a.key - b.key) || 0 : a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
      return (down ? -less : less) || a.place - b.place;
    });
    order = keyed.map((one) => one.row);
    const all = document.createDocumentFragment();
    for (const row of order) all.append(row);
    body.append(all);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    if (!header.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(column, header));
  });

  const dialog = find("dialog");
  let open = null;
  let opener = null;

  function show(number) {
    const article = find(`t${number}`);
    if (!article) return;
    const copy = article.cloneNode(true);
    copy.removeAttribute("id");
    copy.querySelector("h3").id = "dialog-title";
    find("dialog-body").replaceChildren(copy);
    open = find(`r${number}`);
    const shown = order.filter((row) => !row.hidden);
    const place = shown.indexOf(open);
    find("place").textContent = place < 0 ? "not in the list shown" : `${count(place + 1)} of ${count(shown.length)}`;
    find("before").disabled = place < 1;
    find("after").disabled = place < 0 || place + 1 >= shown.length;
    if (!dialog.open) { opener = document.activeElement; dialog.showModal(); }
    dialog.scrollTop = 0;
  }

  function move(by) {
    const shown = order.filter((row) => !row.hidden);
    const next = shown[shown.indexOf(open) + by];
    if (shown.includes(open) && next) show(next.id.slice(1));
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#t'], [data-row]");
    const found = link && (link.dataset.row || /^#t(\d+)$/.exec(link.getAttribute("href") || "")?.[1]);
    if (!found) return;
    event.preventDefault();
    show(found);
  });
  find("before").addEventListener("click", () => move(-1));
  find("after").addEventListener("click", () => move(1));
  find("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { if (opener && opener.isConnected) opener.focus(); });
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || dialog.open || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    text.focus();
  });

  filter();
  const asked = /^#t(\d+)$/.exec(location.hash);
  if (asked) show(asked[1]);
})();
