"use strict";
// The boxes and arrows of the graph as SVG elements, and the size that their text needs.

const graphArtist = (drawing) => {
  const WIDEST = 236, NARROWEST = 84, LINE = 15, PADDING = 7, HEAD = 18;
  const SPREADING = ["bad", "severe", "clear", "slight"];
  const KINDS = { absent: "not on the page", input: "input of the model", run: "several layers" };

  function svg(name, attributes, ...children) {
    const element = document.createElementNS(drawing.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) if (value !== "") element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  const widthOf = (() => {
    const pen = document.createElement("canvas").getContext("2d");
    const fonts = Object.fromEntries(["name", "small"].map((kind) => {
      const text = drawing.appendChild(svg("text", { class: kind }));
      const { fontSize, fontFamily } = getComputedStyle(text);
      text.remove();
      return [kind, `${fontSize} ${fontFamily}`];
    }));
    return (text, kind) => { pen.font = fonts[kind.split(" ")[0]]; return pen.measureText(text).width; };
  })();

  function clipped(text, width, kind) {
    const letters = Array.from(text);
    for (let most = letters.length; most > 2; most -= 1) {
      const tail = Math.floor(most / 3);
      const whole = most === letters.length;
      const shorter = whole ? text : `${letters.slice(0, most - tail).join("")}…${letters.slice(-tail).join("")}`;
      if (widthOf(shorter, kind) <= width) return shorter;
    }
    return "…";
  }

  const isParent = (box) => box.boxes.length > 0;

  function linesOf(box) {
    const name = (isParent(box) ? "▸ " : "") + (box.start ? "▶ " : "") + box.name;
    const far = box.far.map((source) => ["small far", `← ${source.name}`]);
    return [["name", name], ["small", box.text], ["small", box.note], ...far].filter((line) => line[1]);
  }

  // What a box says in full, to those who point at it and those who hear it.
  function wordsOf(box) {
    const kind = isParent(box) && box.kind !== "run" ? "layer" : KINDS[box.kind];
    const far = box.far.map((source) => `reads ${source.address || source.name}`);
    return [box.address || box.name, kind, box.text, box.dtype, box.note, box.start, ...far].filter(Boolean).join(", ");
  }

  function sizeOf(box) {
    const lines = linesOf(box);
    const wide = Math.max(...lines.map(([kind, text]) => widthOf(text, kind)));
    return { width: Math.min(WIDEST, Math.max(NARROWEST, wide + 2 * PADDING)), height: lines.length * LINE + 2 * PADDING };
  }

  function group(box, kind, ...children) {
    const classes = [kind, box.kind || "tensor", box.level, box.start && "start"].filter(Boolean).join(" ");
    box.element = svg("g", {
      class: `node ${classes}`, role: "button", tabindex: "-1", "aria-label": wordsOf(box),
      "aria-expanded": isParent(box) ? String(kind === "opened") : "", "data-at": box.at,
    }, svg("title", {}, wordsOf(box)), ...children);
    return box.element;
  }

  function closedBox(box) {
    const { x, y, width, height } = box.place;
    const [left, upper] = [x - width / 2, y - height / 2];
    const texts = linesOf(box).map(([kind, text], n) => svg("text", {
      class: kind, x: left + PADDING, y: upper + PADDING + LINE * (n + 0.75),
    }, clipped(text, width - 2 * PADDING + 1, kind)));
    return group(box, "closed", svg("rect", { x: left, y: upper, width, height, rx: 5 }), ...texts);
  }

  function openBox(box) {
    const { x, y, width, height } = box.place;
    const [left, upper] = [x - width / 2, y - height / 2];
    const name = clipped(`▾ ${box.name}${box.text ? `  ${box.text}` : ""}`, width - 2 * PADDING, "small");
    return group(box, "opened",
      svg("rect", { class: "frame", x: left, y: upper, width, height, rx: 7 }),
      svg("rect", { class: "head", x: left, y: upper, width, height: HEAD, rx: 7 }),
      svg("text", { class: "small", x: left + PADDING, y: upper + HEAD - 5 }, name));
  }

  function curve(points) {
    const middle = (a, b) => `${(a.x + b.x) / 2} ${(a.y + b.y) / 2}`;
    const last = points[points.length - 1];
    const bends = points.slice(1, -1).map((point, n) => `Q${point.x} ${point.y} ${middle(point, points[n + 2])}`);
    return `M${points[0].x} ${points[0].y}L${middle(points[0], points[1])}${bends.join("")}L${last.x} ${last.y}`;
  }

  function arrow(from, to, points) {
    const [end, before] = [points[points.length - 1], points[points.length - 2]];
    const angle = Math.atan2(end.y - before.y, end.x - before.x);
    const corner = (turn) => `${end.x - 8 * Math.cos(angle + turn)} ${end.y - 8 * Math.sin(angle + turn)}`;
    const spreads = SPREADING.includes(from.level) && SPREADING.includes(to.level);
    return svg("g", { class: `arrow${spreads ? " spreads" : ""}`, "data-from": from.at, "data-to": to.at },
      svg("path", { class: "line", d: curve(points) }),
      svg("path", { class: "tip", d: `M${end.x} ${end.y}L${corner(0.4)}L${corner(-0.4)}z` }));
  }

  return { HEAD: HEAD + 4, arrow, closedBox, isParent, openBox, sizeOf, wordsOf };
};
