"use strict";
// Places boxes and arrows. Each open box is laid out by dagre alone and is one node in the layout around it, so that
// opening a layer moves nothing inside of others. Arrows pass the edge of an open box at a port: a node without a size.

const layOutGraph = (() => {
  const EDGE = 7;  // between the border of an open box and what is inside
  const AT_BORDER = { weight: 100 };
  const isBox = (key) => /^\d+$/.test(key);

  // The steps of an arrow: out of the layers around its start, across, and into the layers around its end.
  function stepsOf([from, to], chain) {
    const [outward, inward] = [chain(from), chain(to)];
    const shared = outward.findIndex((box, n) => box !== inward[n]);
    const out = outward.slice(shared + 1).reverse()
      .map((box) => ({ level: box.in, start: String(box.at), end: `out ${from.at}` }));
    const across = { level: outward[shared].in, start: String(outward[shared].at), end: String(inward[shared].at) };
    const into = inward.slice(shared + 1).map((box) => ({ level: box.in, start: `in ${from.at}`, end: String(box.at) }));
    return [...out, across, ...into];
  }

  function graphOf(list, steps, sizeOf) {
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "TB", nodesep: 16, ranksep: 34 });
    for (const box of list) graph.setNode(String(box.at), sizeOf(box));
    for (const { start, end } of steps) {
      for (const key of [start, end]) if (!graph.hasNode(key)) graph.setNode(key, sizeOf(key));
      if (start.startsWith("in ")) graph.setNode("top", { width: 0, height: 0 }).setEdge("top", start, { ...AT_BORDER });
      if (end.startsWith("out ")) graph.setNode("foot", { width: 0, height: 0 }).setEdge(end, "foot", { ...AT_BORDER });
      graph.setEdge(start, end, {});
    }
    dagre.layout(graph);
    return graph;
  }

  function boundsOf(graph) {  // dagre's own size leaves out some arrows, and has the top and the foot
    const nodes = graph.nodes().filter((key) => key !== "top" && key !== "foot").map((key) => graph.node(key));
    const points = graph.edges().filter(({ v, w }) => v !== "top" && w !== "foot").flatMap((edge) => graph.edge(edge).points);
    const xs = [...nodes.flatMap(({ x, width }) => [x - width / 2, x + width / 2]), ...points.map(({ x }) => x)];
    const ys = [...nodes.flatMap(({ y, height }) => [y - height / 2, y + height / 2]), ...points.map(({ y }) => y)];
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    return { left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
  }

  // `arrows` are pairs of boxes that are drawn. `sizeOf` gives the size of a closed box, `head` is the height above what
  // is inside of an open box. Sets `place` of each box, and returns the size of all and the points of each arrow.
  return function layOutGraph(top, opened, arrows, sizeOf, head) {
    const chain = (box) => box.in < 0 ? [box] : [...chain(around.get(box.in)), box];
    const around = new Map([...opened].map((box) => [box.at, box]));
    const steps = new Map(arrows.map((arrow) => [arrow, stepsOf(arrow, chain)]));
    const byLevel = new Map();
    for (const step of [...steps.values()].flat()) byLevel.set(step.level, [...(byLevel.get(step.level) || []), step]);
    const levels = new Map();

    function measured(key) {
      if (typeof key === "string") return { width: 1, height: 1 };
      if (!opened.has(key)) return sizeOf(key);
      const { bounds } = measureLevel(key.boxes, key.at);
      return { width: Math.max(bounds.width + 2 * EDGE, 120), height: bounds.height + head + EDGE };
    }

    function measureLevel(list, at) {
      const graph = graphOf(list, byLevel.get(at) || [], measured);
      const level = { graph, list, bounds: boundsOf(graph) };
      levels.set(at, level);
      return level;
    }

    function place(level, left, upper) {
      const move = ({ x, y }) => ({ x: x - level.bounds.left + left, y: y - level.bounds.top + upper });
      level.move = move;
      for (const box of level.list) {
        const { width, height, ...center } = level.graph.node(String(box.at));
        box.place = { width, height, ...move(center) };
        if (!opened.has(box)) continue;
        const inner = levels.get(box.at);
        const margin = (width - inner.bounds.width) / 2;
        place(inner, box.place.x - width / 2 + margin, box.place.y - height / 2 + head);
      }
    }

    function route(arrow) {
      const listed = steps.get(arrow);
      return listed.flatMap(({ level, start, end }, n) => {
        const { graph, move } = levels.get(level);
        const points = graph.edge(start, end).points.map(move);
        // At an open box the arrow goes to the port, which the step before or behind has, with no bend on a short way.
        const [before, behind] = [n > 0, n < listed.length - 1];
        if (points.length === 3 && (before || behind)) points.splice(1, 1);
        if (before && isBox(start)) points.shift();
        if (behind && isBox(end)) points.pop();
        return points;
      });
    }

    const whole = measureLevel(top, -1);
    place(whole, 0, 0);
    return { width: whole.bounds.width, height: whole.bounds.height, lines: arrows.map(route) };
  };
})();
