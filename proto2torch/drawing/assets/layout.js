// The net, its tree of blocks, and where each box and arrow goes.

const net = JSON.parse(document.getElementById("net").textContent);
const canvas = document.getElementById("canvas"), scene = document.getElementById("scene");
const across = net.direction === "LR" || net.direction === "RL";
const ROW = 36, HEAD = 24, PAD = 12, LONGEST = 44;
const MANY = 1500; // boxes side by side in one block, which is more than dagre lays out in a second or two
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

// Boxes below, or beside, one another in the order of the file: what a layout of thousands of them comes to.
function column(graph) {
  const keys = graph.nodes(), backwards = net.direction === "BT" || net.direction === "RL";
  const length = across ? "width" : "height", breadth = across ? "height" : "width";
  const wide = Math.max(...keys.map((key) => graph.node(key)[breadth]));
  let at = PAD;
  for (const key of backwards ? keys.reverse() : keys) {
    const node = graph.node(key), along = at + node[length] / 2, middle = PAD + wide / 2;
    Object.assign(node, across ? { x: along, y: middle } : { x: middle, y: along });
    at += node[length] + 40;
  }
  for (const edge of graph.edges()) {
    const label = graph.edge(edge), ends = [graph.node(edge.v), graph.node(edge.w)].map(({ x, y }) => ({ x, y }));
    Object.assign(label, { points: ends, x: (ends[0].x + ends[1].x) / 2, y: (ends[0].y + ends[1].y) / 2 });
  }
  graph.setGraph({ ...graph.graph(), [breadth]: wide + 2 * PAD, [length]: at });
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
  if (graph.nodeCount() > MANY) column(graph);
  else dagre.layout(graph);
  const { width: w, height: h } = graph.graph();
  const title = block < 0 ? 0 : textSize("▾ " + net.blocks[block].title, net.blocks[block].about) + PAD;
  const shift = { x: Math.max(0, (title - w) / 2), y: block < 0 ? 0 : HEAD };
  return { graph, inner, shift, width: Math.max(w, title), height: h + shift.y };
}
