// The picture: boxes, blocks and arrows as elements of the SVG.

// Where the line through a port meets the border of its block.
function onBorder(place, entering) {
  const low = net.direction === "TB" || net.direction === "LR" ? entering : !entering;
  if (across) return { x: low ? place.x : place.x + place.laid.width, y: place.port.y };
  return { x: place.port.x, y: low ? place.y : place.y + place.laid.height };
}
function portOf(laid, corner, key) {
  const node = laid.graph.node(key);
  return node && { x: corner.x + laid.shift.x + node.x, y: corner.y + laid.shift.y + node.y };
}

function draw() {
  scene.replaceChildren();
  const lines = svg("g", {}, scene), boxes = svg("g", {}, scene), labels = svg("g", {}, scene);
  const whole = layout(-1);
  paint(whole, { x: 0, y: 0 }, { lines, boxes, labels });
  return whole;
}
function paint(laid, corner, layers) {
  const { graph, inner, shift } = laid;
  const at = (point) => ({ x: corner.x + shift.x + point.x, y: corner.y + shift.y + point.y });
  const corners = new Map();
  for (const key of graph.nodes()) {
    const node = graph.node(key), middle = at(node);
    const place = { x: middle.x - node.width / 2, y: middle.y - node.height / 2 };
    if (key.startsWith("tag:")) paintTag(node, place, layers.boxes);
    if (key.includes(":")) continue;
    corners.set(key, place);
    if (inner.has(key)) {
      paintGroup(+key.slice(1), place, node, layers);
      paint(inner.get(key), place, layers);
    } else if (key[0] === "g") paintBlock(+key.slice(1), place, node, layers.boxes);
    else paintBox(+key.slice(1), place, node, layers.boxes);
  }
  for (const edge of graph.edges()) {
    const { points, label, x, y, some, arrow } = graph.edge(edge);
    const line = points.map(at);
    const ends = [[edge.v, 0, "out:b" + arrow.source, false], [edge.w, line.length - 1, "in:b" + arrow.source, true]];
    for (const [key, end, name, entering] of ends) {
      if (key.startsWith("tag:")) continue;
      if (key.includes(":")) line[end] = border(laid, corner, key, entering);
      else if (inner.has(key)) {
        const place = { ...corners.get(key), laid: inner.get(key) };
        place.port = portOf(place.laid, place, name);
        if (place.port) line[end] = onBorder(place, entering);
      } else line[end] = onEdge(line[end], corners.get(key), graph.node(key), entering);
    }
    const classes = some ? "edge some" : "edge";
    const element = svg("path", { class: classes, d: curve(line) }, layers.lines);
    if (!edge.w.startsWith("out:") && !inner.has(edge.w)) element.setAttribute("marker-end", "url(#tip)");
    if (label) {
      const middle = at({ x, y });
      svg("text", { class: "shape", x: middle.x, y: middle.y + 4 }, layers.labels, label);
    }
  }
}
// An arrow begins and ends on the edge of a box that faces the net's direction, not on its sides.
function onEdge(point, place, { width, height }, entering) {
  const within = (value, low, length) => Math.min(Math.max(value, low + 8), low + length - 8);
  const low = net.direction === "TB" || net.direction === "LR" ? entering : !entering;
  if (across) return { x: low ? place.x : place.x + width, y: within(point.y, place.y, height) };
  return { x: within(point.x, place.x, width), y: low ? place.y : place.y + height };
}
// The end of an arrow that leaves or enters the block it is drawn in.
function border(laid, corner, key, leaving) {
  const place = { ...corner, laid, port: portOf(laid, corner, key) };
  return onBorder(place, !leaving);
}
// Through every point, in the net's direction where it passes one: a label lies on its line.
function curve(points) {
  let d = `M${points[0].x} ${points[0].y}`;
  for (let i = 1; i < points.length; i++) {
    const from = points[i - 1], to = points[i];
    const middle = across ? (from.x + to.x) / 2 : (from.y + to.y) / 2;
    d += across ? `C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}` : `C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${to.y}`;
  }
  return d;
}

function press(element, action) {
  element.setAttribute("tabindex", "0");
  element.setAttribute("role", "button");
  element.addEventListener("click", (event) => !dragged && action(event));
  element.addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), action(event)));
}
function paintBox(index, place, size, parent) {
  const rows = rowsOf(index);
  if (net.direction === "BT") rows.reverse();
  rows.forEach(({ layer, at }, i) => {
    const key = index + "." + at;
    const classes = ["row", state.hits.has(key) ? "hit" : "", state.chosen === key ? "chosen" : "", layer.phases.length < net.phases.length ? "some" : ""];
    const row = svg("g", { class: classes.join(" ").trim(), "data-key": key }, parent);
    const y = place.y + i * ROW;
    svg("rect", { x: place.x, y, width: size.width, height: ROW, rx: 4, fill: net.colours[layer.kind] }, row);
    svg("text", { class: "name", x: place.x + 9, y: y + 15 }, row, short(layer.name));
    svg("text", { class: "about", x: place.x + 9, y: y + 29 }, row, aboutOf(layer));
    svg("title", {}, row, layer.name);
    press(row, () => choose(key));
  });
}
function paintTag({ arrow, width: wide, height }, place, parent) {
  const row = svg("g", { class: "row" }, parent);
  svg("rect", { ...place, width: wide, height, rx: 11, fill: net.colours.data }, row);
  svg("text", { class: "name", x: place.x + 10, y: place.y + 15 }, row, short(arrow.blob));
  svg("title", {}, row, `from ${net.boxes[arrow.source].layers[0].name}`);
  press(row, () => go(index.find((entry) => entry.box === arrow.source)));
}
function paintBlock(index, place, size, parent) {
  const block = net.blocks[index];
  const hit = boxesIn(index).some((b) => rowsOf(b).some(({ at }) => state.hits.has(b + "." + at)));
  const row = svg("g", { class: hit ? "row hit" : "row", "data-block": index }, parent);
  svg("rect", { x: place.x + 3, y: place.y + 3, width: size.width - 3, height: ROW + 3, rx: 6, fill: "#cfdbe8" }, row);
  svg("rect", { "data-frame": index, x: place.x, y: place.y, width: size.width - 3, height: ROW + 3, rx: 6, fill: net.colours.block }, row);
  svg("text", { class: "name", x: place.x + 9, y: place.y + 16 }, row, "▸ " + short(block.title));
  svg("text", { class: "about", x: place.x + 9, y: place.y + 31 }, row, block.about);
  press(row, () => toggle(index));
}
function paintGroup(index, place, size, layers) {
  const block = net.blocks[index];
  svg("rect", { class: "group", "data-frame": index, ...place, width: size.width, height: size.height, rx: 8 }, layers.lines);
  const head = svg("g", { class: "row", "data-block": index }, layers.boxes);
  const wide = textSize("▾ " + block.title, block.about);
  svg("rect", { x: place.x, y: place.y, width: Math.min(size.width, wide), height: 20, rx: 6, fill: net.colours.block }, head);
  svg("text", { class: "name", x: place.x + 8, y: place.y + 14 }, head, "▾ " + short(block.title));
  press(head, () => toggle(index));
}
