// Loading of shards, and the few helpers by which everything comes into the page: as text, never as markup.
const waiting = new Map();
window.shard = (name, packed) => { waiting.get(name)?.resolve(packed); };
const loaded = new Map();
let parsed = false;
const whenParsed = new Promise((resolve) => {
  document.addEventListener("DOMContentLoaded", () => { parsed = true; resolve(); });
});

async function bytesOf(name) {
  const find = () => document.querySelector(`script[data-shard="${CSS.escape(name)}"]`);
  let block = find();
  if (!block && !parsed && !manifest?.folder) { await whenParsed; block = find(); }
  const packed = block ? block.textContent : await fromFile(name);
  const raw = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).arrayBuffer();
}

function fromFile(name) {
  return new Promise((resolve, reject) => {
    waiting.set(name, { resolve });
    const script = document.createElement("script");
    script.src = `${manifest.folder}/${name}.js`;
    script.onerror = () => reject(new Error(`${script.src} is missing. Copy the whole folder.`));
    script.onload = () => { waiting.delete(name); script.remove(); };
    document.head.append(script);
  });
}

function shardOf(name, read = (bytes) => JSON.parse(new TextDecoder().decode(bytes))) {
  if (!loaded.has(name)) loaded.set(name, bytesOf(name).then(read));
  return loaded.get(name);
}
const floats = (bytes) => new Float32Array(bytes);

// The shard, of those that begin at `firsts`, that holds a place.
function shardAt(firsts, place) {
  let low = 0, high = firsts.length;
  while (high - low > 1) { const middle = (low + high) >> 1; if (firsts[middle] <= place) low = middle; else high = middle; }
  return low;
}

const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const clean = (value) => String(value ?? "").replace(UNSEEN, " ");

function el(tag, options = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, action] of Object.entries(value)) node.addEventListener(event, action);
    else if (name === "text") node.textContent = clean(value);
    else node.setAttribute(name, value === true ? "" : clean(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const text = (value, options = {}) => el("span", { class: "text", text: value, ...options });
const link = (address, value, options = {}) => el("a", { href: address, class: "text", text: value, ...options });
const number = (value, digits = 2) => value === null || value === undefined || Number.isNaN(value) ? "–" : Number(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (value, digits = 0) => value === null || value === undefined ? "–" : `${number(value * 100, digits)} %`;
const short = (value) => value === null || value === undefined ? "–" : Number(value) !== 0 && Math.abs(value) < 0.001 ? Number(value).toExponential(1) : String(Number(Number(value).toPrecision(3)));
const nothing = (said) => el("p", { class: "muted", text: said });

function table(columns, rows, caption) {
  const head = columns.map((column) => el("th", { scope: "col", class: column.number ? "number" : null }, column.node ?? column.title));
  const body = rows.map((row) => el("tr", {}, row.map((cell, place) => el("td", { class: columns[place].number ? "number" : null }, cell instanceof Node ? cell : text(cell)))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", { class: "hidden", text: caption }), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

function sql(statement) {
  const copy = el("button", { type: "button", text: "Copy", on: { click: async () => {
    await navigator.clipboard.writeText(statement);
    say("The query is copied.");
  } } });
  return el("details", { class: "sql" }, el("summary", { text: "SQL" }), el("pre", { text: "" }, statement), copy);
}
const said = () => document.getElementById("said");
function say(message) { said().textContent = message; }
const literal = (value) => `'${String(value).replace(/[\\']/g, "\\$&")}'`;
const inTable = (name) => `FROM ${manifest.namespace}.${name} WHERE dt = DATE '${manifest.dt}'`;
const part = (title, ...children) => el("section", {}, el("h2", { text: title }), ...children);
let manifest = null;
let overview = null;
