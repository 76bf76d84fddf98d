"use strict";
(() => {
  const MOST = 300;   // boxes at once, so that no click takes long
  const FIRST = 40;   // boxes that open by themselves
  const READERS = 6;  // what reads nothing, such as a mask, is named in its readers where these are more
  const MARGIN = 12;
  const find = (id) => document.getElementById(id);
  const [drawing, scroller, panel] = ["graph-drawing", "graph-scroll", "graph-panel"].map(find);
  const data = JSON.parse(find("graph-data").textContent);
  const boxes = data.boxes.map((box, at) => ({
    ...box, at, boxes: [], far: [], reads: new Set(), readers: new Set(),
  }));
  const top = boxes.filter((box) => box.in < 0);
  for (const box of boxes) if (box.in >= 0) boxes[box.in].boxes.push(box);
  const { isParent, ...artist } = graphArtist(drawing);
  const opened = new Set();
  const count = (number) => number.toLocaleString("en");
  let placed = [];       // the boxes that are drawn, from top left to bottom right
  let current = top[0];  // the box that Tab reaches
  let selected = null;
  let zoom = 1;
  let size = { width: 1, height: 1 };

  // What is drawn.

  const around = (box) => box.in < 0 ? [] : [...around(boxes[box.in]), boxes[box.in]];
  const drawnFor = (box) => around(box).find((outer) => !opened.has(outer)) || box;

  function shown(list = top, open = opened) {
    return list.flatMap((box) => open.has(box) ? [box, ...shown(box.boxes, open)] : [box]);
  }

  // The arrows between boxes that are drawn, in pairs; those inside of a closed box are not, and many may become one.
  function arrows() {
    const pairs = new Map();
    for (let n = 0; n < data.arrows.length; n += 2) {
      const [from, to] = [data.arrows[n], data.arrows[n + 1]].map((at) => drawnFor(boxes[at]));
      if (from !== to) pairs.set(`${from.at} ${to.at}`, [from, to]);
    }
    for (const box of boxes) { box.far = []; box.reads.clear(); box.readers.clear(); }
    for (const [from, to] of pairs.values()) { from.readers.add(to); to.reads.add(from); }
    const isFar = (box) => box.reads.size === 0 && box.readers.size > READERS;
    for (const [from, to] of pairs.values()) if (isFar(from)) to.far.push(from);
    return [...pairs.values()].filter(([from]) => !isFar(from));
  }

  function draw() {
    const pairs = arrows();
    const list = shown();
    const layout = layOutGraph(top, opened, pairs, artist.sizeOf, artist.HEAD);
    drawing.replaceChildren(
      ...list.filter((box) => opened.has(box)).map(artist.openBox),
      ...pairs.map(([from, to], n) => artist.arrow(from, to, layout.lines[n])),
      ...list.filter((box) => !opened.has(box)).map(artist.closedBox));
    size = { width: layout.width + 2 * MARGIN, height: layout.height + 2 * MARGIN };
    placed = [...list].sort((a, b) => topOf(a) - topOf(b) || a.place.x - b.place.x);
    if (!list.includes(current)) current = drawnFor(current);
    if (!list.includes(current)) current = list[0];
    current.element.setAttribute("tabindex", "0");
    mark();
    scale();
    tell();
  }

  const topOf = (box) => box.place.y - box.place.height / 2;

  function scale() {
    drawing.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${size.width} ${size.height}`);
    drawing.setAttribute("width", size.width * zoom);
    drawing.setAttribute("height", size.height * zoom);
  }

  function mark() {
    const ends = selected && drawnFor(selected);
    for (const element of drawing.querySelectorAll(".selected")) element.classList.remove("selected");
    if (!ends) return;
    ends.element.classList.add("selected");
    const near = `.arrow[data-from="${ends.at}"], .arrow[data-to="${ends.at}"]`;
    for (const element of drawing.querySelectorAll(near)) element.classList.add("selected");
  }

  function tell(text = "") {
    const closed = boxes.filter((box) => isParent(box) && !opened.has(box)).length;
    find("graph-status").textContent = text || `${count(placed.length)} boxes, ${count(closed)} layers closed`;
  }

  // Opening and closing.

  function fits(more) {
    return shown(top, new Set([...opened, ...more])).length <= MOST;
  }

  function toggle(box) {
    if (!opened.has(box) && !fits([box])) {
      tell(`${box.name} does not fit: at most ${MOST} boxes are drawn at once. Close another layer first.`);
      return;
    }
    const before = box.element.getBoundingClientRect();
    if (!opened.delete(box)) opened.add(box);
    current = box;
    draw();
    const after = box.element.getBoundingClientRect();
    scroller.scrollBy(after.left - before.left, after.top - before.top);
    box.element.focus({ preventScroll: true });
  }

  function openLevels(most) {
    for (let level = top.filter(isParent); level.length; level = level.flatMap((box) => box.boxes).filter(isParent)) {
      for (const box of level) {
        if (shown(top, new Set([...opened, box])).length > most) return false;
        opened.add(box);
      }
    }
    return true;
  }

  function openFirst() {
    for (let level = top; ;) {
      const closed = level.filter(isParent);
      const trial = new Set([...opened, ...closed]);
      if (!closed.length || (shown(top, trial).length > FIRST && level.length > 1)) return;
      for (const box of closed) opened.add(box);
      level = closed.flatMap((box) => box.boxes);
    }
  }

  function uncover(box) {
    const outer = around(box);
    if (!fits(outer)) opened.clear();
    for (const one of outer) opened.add(one);
  }

  function center(box) {  // without moving the page
    const [outer, inner] = [scroller.getBoundingClientRect(), box.element.getBoundingClientRect()];
    scroller.scrollBy(inner.left + inner.width / 2 - outer.left - outer.width / 2,
      inner.top + inner.height / 2 - outer.top - outer.height / 2);
  }

  function go(box) {
    uncover(box);
    current = box;
    draw();
    select(box);
    scroller.scrollIntoView({ block: "nearest" });
    center(box);
    box.element.focus({ preventScroll: true });
  }

  // One tensor.

  function select(box) {
    selected = box;
    const article = box.row && find(`t${box.row}`);
    if (!article) {
      panel.replaceChildren(Object.assign(document.createElement("p"), { textContent: `${artist.wordsOf(box)}.` }));
    } else {
      const copy = article.cloneNode(true);
      copy.removeAttribute("id");
      panel.replaceChildren(copy);
    }
    panel.scrollTop = 0;
    mark();
  }

  function activate(box) {
    current = box;
    if (isParent(box)) { toggle(box); return; }
    select(box);
    focus(box);
    tell(`${box.name} is shown beside the graph`);
  }

  function focus(box) {
    for (const element of drawing.querySelectorAll("[tabindex='0']")) element.setAttribute("tabindex", "-1");
    current = box;
    box.element.setAttribute("tabindex", "0");
    box.element.focus({ preventScroll: true });
    box.element.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // Keys.

  const nearest = (list) => [...list].sort((a, b) =>
    Math.abs(a.place.x - current.place.x) - Math.abs(b.place.x - current.place.x) || a.at - b.at)[0];
  const beside = (by) => placed[placed.indexOf(current) + by];
  const keys = {
    ArrowDown: () => nearest(opened.has(current) ? current.boxes : current.readers),
    ArrowUp: () => nearest(current.reads) || boxes[current.in],
    ArrowRight: () => beside(1),
    ArrowLeft: () => beside(-1),
    Home: () => placed[0],
    End: () => placed[placed.length - 1],
  };

  function press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") activate(current);
    else if (event.key === "Escape" && (opened.has(current) || current.in >= 0)) {
      toggle(opened.has(current) ? current : boxes[current.in]);
    } else if (keys[event.key]) {
      const next = keys[event.key]();
      if (next) focus(next);
    } else return;
    event.preventDefault();
  }

  // Start.

  const boxOfRow = (row) => boxes.find((box) => box.row === Number(row));
  const starts = boxes.filter((box) => box.start && !isParent(box));
  let start = -1;

  const buttons = {
    all: () => {
      const whole = openLevels(MOST);
      draw();
      if (!whole) tell(`open as far as ${MOST} boxes go; close layers to open others`);
    },
    none: () => { opened.clear(); draw(); },
    start: () => { start = (start + 1) % starts.length; go(starts[start]); },
    out: () => { zoom = Math.max(zoom / 1.25, 0.1); scale(); },
    in: () => { zoom = Math.min(zoom * 1.25, 4); scale(); },
    fit: () => {
      zoom = Math.min(1, (scroller.clientWidth - 2) / size.width, (scroller.clientHeight - 2) / size.height);
      scale();
    },
  };
  for (const [name, act] of Object.entries(buttons)) find(`graph-${name}`).addEventListener("click", act);
  find("graph-start").hidden = !starts.length;

  drawing.addEventListener("click", (event) => {
    const element = event.target.closest("[data-at]");
    if (element) activate(boxes[element.dataset.at]);
  });
  drawing.addEventListener("keydown", press);
  panel.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#t']");
    const box = link && boxOfRow(link.getAttribute("href").slice(2));
    if (!box) return;
    event.preventDefault();
    event.stopPropagation();
    go(box);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-graph]");
    const box = link && boxOfRow(link.dataset.graph);
    if (!box) return;
    event.preventDefault();
    const dialog = find("dialog");
    if (dialog.open) dialog.close();
    go(box);
  });

  openFirst();
  if (starts.length) uncover(starts[0]);
  draw();
  if (starts.length) center(starts[0]);
})();
