// What a person does: choosing, searching, zooming, the buttons.

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
