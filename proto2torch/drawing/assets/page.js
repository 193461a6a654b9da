"use strict";
(() => {
  const net = JSON.parse(document.getElementById("net").textContent);
  const canvas = document.getElementById("canvas"), scene = document.getElementById("scene");
  const across = net.direction === "LR" || net.direction === "RL";
  const ROW = 36, HEAD = 24, PAD = 12, LONGEST = 44;
  const opened = new Set();
  const state = { phase: "", chosen: null, hits: new Set() };

  // Text is set as text: what a net calls its layers is never markup.
  function svg(tag, attributes, parent, text) {
    const element = document.createElementNS(canvas.namespaceURI, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }
  function html(tag, parent, text) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }
  const pen = document.createElement("canvas").getContext("2d");
  function width(text, font) {
    pen.font = font;
    return pen.measureText(text).width;
  }
  const short = (text) => (text.length > LONGEST ? text.slice(0, LONGEST - 1) + "…" : text) || " ";

  // The tree: what lies in a block, or at the top (-1), as keys "b3" of boxes and "g1" of blocks.
  const children = new Map([[-1, []]]);
  net.blocks.forEach((_, i) => children.set(i, []));
  const parents = (block) => {
    const found = [];
    for (let at = block; at !== null; at = net.blocks[at].parent) found.unshift(at);
    return found;
  };
  const listed = new Set();
  net.boxes.forEach((box, i) => {
    let above = -1;
    for (const block of parents(box.block)) {
      if (!listed.has(block)) children.get(above).push("g" + block);
      listed.add(block);
      above = block;
    }
    children.get(above).push("b" + i);
  });
  const path = net.boxes.map((box, i) => [...parents(box.block).map((g) => "g" + g), "b" + i]);

  const inPhase = (phases) => !state.phase || phases.includes(state.phase);
  const rowsOf = (box) => net.boxes[box].layers.map((layer, at) => ({ layer, at })).filter(({ layer }) => inPhase(layer.phases));
  const boxesIn = (block) => children.get(block).flatMap((key) => (key[0] === "b" ? [+key.slice(1)] : boxesIn(+key.slice(1))));
  const isShown = (key) => (key[0] === "b" ? rowsOf(+key.slice(1)).length > 0 : boxesIn(+key.slice(1)).some((b) => rowsOf(b).length));
  const isOpen = (key) => key[0] === "g" && opened.has(+key.slice(1));

  function aboutOf(layer) {
    const some = layer.phases.length < net.phases.length ? "  [" + layer.phases.join("/") + "]" : "";
    return short((layer.type + "  " + layer.summary).trim()) + some;
  }
  function textSize(name, about) {
    return Math.max(70, width(short(name), "600 12px system-ui, sans-serif"), width(about, "10.5px system-ui, sans-serif")) + 18;
  }
  function sizeOf(key) {
    const index = +key.slice(1);
    if (key[0] === "g") {
      const block = net.blocks[index];
      return { width: textSize("▸ " + block.title, block.about), height: ROW + 6 };
    }
    const rows = rowsOf(index);
    return { width: Math.max(...rows.map(({ layer }) => textSize(layer.name, aboutOf(layer)))), height: ROW * rows.length };
  }

  // A label goes from the data to the losses, past the whole net: in place of that arrow, its name stands by the loss.
  const kindOf = (box) => net.boxes[box].layers[0].kind;
  const isLabel = (arrow) => kindOf(arrow.source) === "data" && kindOf(arrow.target) === "loss";
  function tag(graph, arrow) {
    const key = "tag:" + arrow.target + ":" + arrow.blob, target = "b" + arrow.target;
    if (graph.hasNode(key)) return;
    graph.setNode(key, { width: width(short(arrow.blob), "600 12px system-ui, sans-serif") + 20, height: 22, arrow });
    graph.setEdge(key, target, { label: "", arrow, some: false }, key);
  }

  // Each open block is laid out by itself, so that blocks never overlap and opening one costs little. An arrow that
  // crosses the border of a block goes through a port there: "in:b3" for what comes from box 3, "out:b5" of box 5.
  function layout(block) {
    const graph = new dagre.graphlib.Graph({ multigraph: true });
    graph.setGraph({ rankdir: net.direction, ranksep: 26, nodesep: 20, edgesep: 12, marginx: PAD, marginy: PAD });
    const inner = new Map(), depth = block < 0 ? 0 : parents(block).length;
    for (const key of children.get(block)) {
      if (!isShown(key)) continue;
      if (isOpen(key)) inner.set(key, layout(+key.slice(1)));
      graph.setNode(key, isOpen(key) ? { width: inner.get(key).width, height: inner.get(key).height } : sizeOf(key));
    }
    const within = (box) => block < 0 || path[box].includes("g" + block);
    for (const arrow of net.arrows) {
      const from = within(arrow.source), to = within(arrow.target);
      if ((!from && !to) || !inPhase(arrow.phases)) continue;
      if (isLabel(arrow)) {
        if (to && path[arrow.target].length === depth + 1) tag(graph, arrow);
        continue;
      }
      const source = from ? path[arrow.source][depth] : "in:b" + arrow.source;
      const target = to ? path[arrow.target][depth] : "out:b" + arrow.source;
      if (source === target) continue;
      for (const key of [source, target]) if (!graph.hasNode(key)) graph.setNode(key, { width: 1, height: 1 });
      if (graph.hasEdge(source, target, String(arrow.source))) continue;
      const label = from && to ? arrow.label : "";
      const size = label ? { width: width(label, "10.5px system-ui, sans-serif") + 8, height: 14, labelpos: "c" } : {};
      graph.setEdge(source, target, { ...size, label, arrow, some: arrow.phases.length < net.phases.length }, String(arrow.source));
    }
    dagre.layout(graph);
    const { width: w, height: h } = graph.graph();
    const title = block < 0 ? 0 : textSize("▾ " + net.blocks[block].title, net.blocks[block].about) + PAD;
    const shift = { x: Math.max(0, (title - w) / 2), y: block < 0 ? 0 : HEAD };
    return { graph, inner, shift, width: Math.max(w, title), height: h + shift.y };
  }

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
        }
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
  // The end of an arrow that leaves or enters the block it is drawn in.
  function border(laid, corner, key, leaving) {
    const place = { ...corner, laid, port: portOf(laid, corner, key) };
    return onBorder(place, !leaving);
  }
  function curve(points) {
    const first = points[0], last = points[points.length - 1];
    let d = `M${first.x} ${first.y}`;
    for (let i = 1; i < points.length - 1; i++) {
      const end = i < points.length - 2 ? { x: (points[i].x + points[i + 1].x) / 2, y: (points[i].y + points[i + 1].y) / 2 } : last;
      d += `Q${points[i].x} ${points[i].y} ${end.x} ${end.y}`;
    }
    return points.length === 2 ? `${d}L${last.x} ${last.y}` : d;
  }

  function press(element, action) {
    element.setAttribute("tabindex", "0");
    element.setAttribute("role", "button");
    element.addEventListener("click", (event) => !dragged && action(event));
    element.addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), action(event)));
  }
  function paintBox(index, place, size, parent) {
    rowsOf(index).forEach(({ layer, at }, i) => {
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

  // What is chosen
  function toggle(index) {
    if (opened.has(index)) opened.delete(index);
    else opened.add(index);
    const before = placeOf(index);
    draw();
    const after = placeOf(index);
    if (before && after) {
      view.x += before.x - after.x;
      view.y += before.y - after.y;
      look();
    }
    describeBlock(index);
  }
  // The middle of a block's upper edge on the screen, which stays where it is when the block opens or closes.
  function placeOf(index) {
    const found = scene.querySelector(`[data-frame="${index}"]`);
    if (!found) return null;
    const box = found.getBoundingClientRect();
    return { x: (box.left + box.right) / 2, y: box.top };
  }
  function choose(key) {
    state.chosen = key;
    for (const row of scene.querySelectorAll(".chosen")) row.classList.remove("chosen");
    scene.querySelector(`[data-key="${key}"]`)?.classList.add("chosen");
    const [box, at] = key.split(".").map(Number);
    describe(net.boxes[box].layers[at]);
  }
  const about = document.getElementById("about");
  const counted = (n) => (n === null ? "" : n.toLocaleString("en"));
  function table(pairs) {
    const rows = html("table", about);
    for (const [key, value] of pairs) {
      if (value === "" || value === null) continue;
      const row = html("tr", rows);
      html("td", row, key);
      html("td", row, String(value));
    }
  }
  function describe(layer) {
    about.replaceChildren();
    html("h2", about, layer.name || "(no name)");
    const tops = layer.tops.map(([blob, shape]) => [blob, shape ? shape.join(" × ") || "scalar" : "?"]);
    table([["type", layer.type], ["phase", layer.phases.join(", ")], ["line", layer.line], ["parameters", counted(layer.parameters)], ["multiply-adds", counted(layer.multiply_adds)]]);
    html("h3", about, tops.length === 1 ? "Top" : "Tops");
    table(tops);
    html("h3", about, "Prototxt");
    html("pre", about, layer.prototxt);
    if (layer.torch) {
      html("h3", about, "PyTorch");
      html("pre", about, layer.torch);
    }
  }
  function describeBlock(index) {
    const block = net.blocks[index], layers = boxesIn(index).flatMap((b) => net.boxes[b].layers);
    const sum = (field) => counted(layers.reduce((total, layer) => total + (layer[field] || 0), 0));
    about.replaceChildren();
    html("h2", about, block.title);
    table([["block", block.about], ["layers", layers.length], ["parameters", sum("parameters")], ["multiply-adds", sum("multiply_adds")]]);
    html("p", about, opened.has(index) ? "A click on its title closes it." : "A click opens it.");
  }
  function describeNet() {
    about.replaceChildren();
    html("h2", about, net.name || "net");
    const layers = net.boxes.flatMap((box) => box.layers), known = layers.some((layer) => layer.parameters !== null);
    const sum = (field) => (known ? counted(layers.reduce((total, layer) => total + (layer[field] || 0), 0)) : "");
    table([["file", net.path], ["phases", net.phases.join(", ")], ["layers", layers.length], ["parameters", sum("parameters")], ["multiply-adds", sum("multiply_adds")]]);
    for (const note of net.notes) html("p", about, note);
    html("p", about, "A click on a layer shows its prototxt and its PyTorch; a click on a block opens it. The wheel zooms, a drag moves.");
  }

  // Search
  const query = document.getElementById("query"), hits = document.getElementById("hits");
  const index = net.boxes.flatMap((box, b) =>
    box.layers.map((layer, at) => ({ key: b + "." + at, box: b, layer, text: [layer.name, layer.type, ...layer.tops.map(([blob]) => blob)].join("\n").toLowerCase() })));
  let found = [], now = -1;
  function search() {
    const wanted = query.value.trim().toLowerCase();
    found = wanted ? index.filter((entry) => entry.text.includes(wanted) && inPhase(entry.layer.phases)) : [];
    state.hits = new Set(found.map((entry) => entry.key));
    now = -1;
    hits.replaceChildren();
    hits.hidden = !wanted;
    for (const entry of found.slice(0, 50)) {
      const item = html("li", hits, entry.layer.name + " ");
      html("small", item, entry.layer.type);
      item.addEventListener("mousedown", (event) => (event.preventDefault(), go(entry)));
    }
    if (wanted && found.length !== Math.min(found.length, 50)) html("li", hits, `… and ${found.length - 50} more`);
    if (wanted && !found.length) html("li", hits, "nothing found");
    draw();
  }
  function go(entry) {
    for (const key of path[entry.box]) if (key[0] === "g") opened.add(+key.slice(1));
    draw();
    choose(entry.key);
    centre(`[data-key="${entry.key}"]`);
    hits.hidden = true;
  }
  query.addEventListener("input", search);
  query.addEventListener("focus", () => (hits.hidden = !query.value.trim()));
  query.addEventListener("blur", () => (hits.hidden = true));
  query.addEventListener("keydown", (event) => {
    const most = Math.min(found.length, 50);
    if (event.key === "Escape") (query.value = ""), search(), query.blur();
    else if (event.key === "Enter" && most) go(found[Math.max(now, 0)]);
    else if (most && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      now = (now + (event.key === "ArrowDown" ? 1 : most - 1) + (now < 0 && event.key === "ArrowUp" ? 1 : 0)) % most;
      [...hits.children].forEach((item, i) => item.classList.toggle("now", i === now));
      hits.children[now].scrollIntoView({ block: "nearest" });
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== query) event.preventDefault(), query.focus();
  });

  // The view
  const view = { x: 0, y: 0, scale: 1 };
  let dragged = false;
  const look = () => scene.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
  function zoom(factor, x, y) {
    const scale = Math.min(4, Math.max(0.02, view.scale * factor));
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    look();
  }
  function fit() {
    const box = scene.getBBox(), room = canvas.getBoundingClientRect();
    if (!box.width || !room.width) return;
    view.scale = Math.min(1.25, (room.width - 32) / box.width, (room.height - 32) / box.height);
    view.x = (room.width - box.width * view.scale) / 2 - box.x * view.scale;
    view.y = (room.height - box.height * view.scale) / 2 - box.y * view.scale;
    look();
  }
  // A tall net begins at its top, at a size that can be read.
  function begin() {
    fit();
    const box = scene.getBBox(), room = canvas.getBoundingClientRect();
    if (view.scale >= 0.6) return;
    view.scale = Math.max(view.scale, Math.min(0.9, (room.width - 32) / (across ? 1 : box.width)));
    view.x = across ? 16 : (room.width - box.width * view.scale) / 2 - box.x * view.scale;
    view.y = across ? (room.height - box.height * view.scale) / 2 - box.y * view.scale : 16 - box.y * view.scale;
    look();
  }
  function centre(selector) {
    const element = scene.querySelector(selector);
    if (!element) return;
    view.scale = Math.max(view.scale, 0.7);
    look();
    const box = element.getBoundingClientRect(), room = canvas.getBoundingClientRect();
    view.x += room.left + room.width / 2 - (box.left + box.width / 2);
    view.y += room.top + room.height / 2 - (box.top + box.height / 2);
    look();
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const room = canvas.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - room.left, event.clientY - room.top);
  }, { passive: false });
  canvas.addEventListener("mousedown", (event) => (event.preventDefault(), query.blur())); // a drag selects no text
  canvas.addEventListener("pointerdown", (event) => {
    const start = { x: event.clientX - view.x, y: event.clientY - view.y, at: [event.clientX, event.clientY] };
    dragged = false;
    const move = (e) => {
      if (Math.hypot(e.clientX - start.at[0], e.clientY - start.at[1]) > 4) dragged = true;
      if (!dragged) return;
      canvas.classList.add("drag");
      view.x = e.clientX - start.x;
      view.y = e.clientY - start.y;
      look();
    };
    const stop = () => {
      canvas.classList.remove("drag");
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", stop);
      removeEventListener("pointercancel", stop);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", stop);
    addEventListener("pointercancel", stop);
  });

  // The buttons
  document.getElementById("fit").addEventListener("click", fit);
  document.getElementById("open").addEventListener("click", () => (net.blocks.forEach((_, i) => opened.add(i)), draw(), begin()));
  document.getElementById("close").addEventListener("click", () => (opened.clear(), draw(), begin()));
  for (const id of ["open", "close"]) document.getElementById(id).hidden = !net.blocks.length;
  const phase = document.getElementById("phase");
  if (net.phases.length > 1) {
    phase.hidden = false;
    for (const [value, text] of [["", "Both phases"], ...net.phases.map((p) => [p, p])]) html("option", phase, text).value = value;
    phase.addEventListener("change", () => ((state.phase = phase.value), draw(), begin()));
  }
  const used = new Set(net.boxes.flatMap((box) => box.layers.map((layer) => layer.kind)));
  if (net.blocks.length) used.add("block");
  html("h3", document.getElementById("legend"), "Colours");
  for (const [kind, colour] of Object.entries(net.colours)) {
    if (!used.has(kind)) continue;
    const entry = html("span", document.getElementById("legend"));
    html("i", entry).style.background = colour;
    entry.append(kind);
  }
  describeNet();
  draw();
  begin();
})();
