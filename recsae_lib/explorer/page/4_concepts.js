// The list of concepts, with filters and orders, and the search.
const PAGE = 100;
let columnsOf = null;

async function indexColumns() {
  if (columnsOf) return columnsOf;
  const parts = await Promise.all(manifest.index.map((_, place) => shardOf(`index/${place}`)));
  const columns = { id: [], label: [], users: [], state: [], change: [], confidence: [], removal_effect: [], found_again: [] };
  for (const [block] of parts) { let id = 0; block.id = block.id.map((step) => id += step); }
  for (const rows of parts) for (const block of rows) for (const [name, values] of Object.entries(block)) columns[name] = (columns[name] ?? []).concat(values);
  for (const name of ["confidence", "removal_effect", "found_again"]) columns[name] = columns[name].map((value) => value === null ? null : value / 100);
  columns.place = new Map(columns.id.map((id, place) => [id, place]));
  columns.blob = blobOf(columns.label);
  columnsOf = columns;
  return columns;
}

// Texts in lower case, one after the other, so that one pass finds all that hold a word.
function blobOf(texts) {
  const starts = new Uint32Array(texts.length);
  let length = 0;
  const lower = texts.map((value, place) => { const one = clean(value).toLowerCase(); starts[place] = length; length += one.length + 1; return one; });
  return { starts, all: lower.join("\n") };
}

function found({ starts, all }, query, most) {
  const places = [];
  for (let at = all.indexOf(query); at >= 0 && places.length < most;) {
    let low = 0, high = starts.length;
    while (high - low > 1) { const middle = (low + high) >> 1; if (starts[middle] <= at) low = middle; else high = middle; }
    places.push(low);
    if (low + 1 >= starts.length) break;
    at = all.indexOf(query, starts[low + 1]);
  }
  return places;
}

const directories = new Map();
function directory(name) {
  if (!directories.has(name)) directories.set(name, Promise.all(manifest[name].words.map((_, place) => shardOf(`${name}/words/${place}`))).then((parts) => { const texts = parts.flat(); return { texts, blob: blobOf(texts) }; }));
  return directories.get(name);
}

async function directoryRow(name, place) {
  const firsts = manifest[name].rows, at = shardAt(firsts, place);
  return (await shardOf(`${name}/rows/${at}`))[place - firsts[at]];
}

async function search(query) {
  const wanted = clean(query).trim().toLowerCase();
  if (!wanted) return null;
  const columns = await indexColumns();
  const [terms, items] = await Promise.all([directory("terms"), directory("items")]);
  const exact = columns.place.get(Number(wanted));
  const latents = [...(exact === undefined || !/^\d+$/.test(wanted) ? [] : [exact]), ...found(columns.blob, wanted, 300)];
  latents.sort((one, other) => (columns.state[other] - columns.state[one]) || ((columns.confidence[other] ?? 0) - (columns.confidence[one] ?? 0)));
  return { latents: latents.slice(0, 12).map((place) => [`#/concept/${columns.id[place]}`, `${columns.label[place] || "unnamed"} (latent ${columns.id[place]})`]),
    terms: found(terms.blob, wanted, 8).map((place) => [`#/term/${place}`, terms.texts[place]]),
    items: found(items.blob, wanted, 12).map((place) => [`#/item/${place}`, items.texts[place]]) };
}

async function showHits(query) {
  const box = document.getElementById("hits"), hits = await search(query);
  if (document.getElementById("query").value !== query) return;
  box.replaceChildren();
  box.hidden = hits === null;
  if (hits === null) return;
  const groups = [["Concepts", hits.latents], ["Terms and features", hits.terms], ["Items", hits.items]].filter(([, list]) => list.length);
  for (const [title, list] of groups) box.append(el("h2", { text: title }), el("ul", {}, list.map(([address, said]) => el("li", {}, link(address, said)))));
  if (groups.length === 0) box.append(nothing("Nothing has this text."));
  say(`${hits.latents.length} concepts, ${hits.terms.length} terms, ${hits.items.length} items`);
}

const conceptLink = (columns, latent) => { const place = columns.place.get(latent); return link(`#/concept/${latent}`, place === undefined ? `latent ${latent}` : `${columns.label[place] || "unnamed"} (${latent})`); };
const conceptRow = (columns, place) => [conceptLink(columns, columns.id[place]), STATES[columns.state[place]], number(columns.confidence[place]), columns.users[place].toLocaleString("en"), percent(columns.removal_effect[place]), number(columns.found_again[place]), columns.change[place] || "–"];

const FILTERS = { all: ["All", () => true], confirmed: ["Confirmed", (c, p) => c.state[p] === 3], interpretable: ["Interpretable", (c, p) => c.state[p] >= 2], unlabelled: ["Unnamed", (c, p) => c.state[p] === 0],
  drifted: ["Drifted", (c, p) => c.change[p] === "drifted"], born: ["Born", (c, p) => c.change[p] === "born"] };
const ORDERS = { verdict: "Concept", confidence: "Confidence", users: "Users", removal_effect: "Removal effect", found_again: "Found again" };

async function showConcepts(place, [filter = "all", order = "verdict", page = "0"]) {
  const columns = await indexColumns(), keep = (FILTERS[filter] ?? FILTERS.all)[1];
  const chosen = columns.id.map((_, row) => row).filter((row) => keep(columns, row));
  const value = (row) => columns[order]?.[row] ?? -Infinity;
  chosen.sort(order === "verdict" ? (one, other) => (columns.state[other] - columns.state[one]) || ((columns.confidence[other] ?? -1) - (columns.confidence[one] ?? -1)) || one - other : (one, other) => value(other) - value(one) || one - other);
  const first = Number(page) * PAGE || 0, shown = chosen.slice(first, first + PAGE);
  const filters = el("div", { class: "controls", role: "group", "aria-label": "Show" }, Object.entries(FILTERS).map(([name, [title]]) => el("button", { type: "button", text: title, "aria-pressed": String(name === filter), on: { click: () => { location.hash = `#/concepts/${name}/${order}`; } } })));
  const heads = Object.entries(ORDERS).map(([name, title]) => ({ node: el("button", { type: "button", text: title, "aria-label": `Order by ${title}`, on: { click: () => { location.hash = `#/concepts/${filter}/${name}`; } } }), number: name !== "verdict", name }));
  const at = (name) => heads.find((head) => head.name === name);
  const titles = [at("verdict"), { title: "Verdict" }, at("confidence"), at("users"), at("removal_effect"), at("found_again"), { title: "Since the last audit" }];
  const pages = el("div", { class: "pages" }, first > 0 ? link(`#/concepts/${filter}/${order}/${Number(page) - 1}`, "← before") : text(""), text(`${chosen.length ? first + 1 : 0} to ${first + shown.length} of ${chosen.length.toLocaleString("en")}`), first + PAGE < chosen.length ? link(`#/concepts/${filter}/${order}/${Number(page) + 1}`, "next →") : text(""));
  place.append(el("h1", { text: "Concepts" }), filters, part("Latents of the SAE", table(titles, shown.map((row) => conceptRow(columns, row)), "Concepts"), pages, sql(`SELECT * ${inTable("concepts")} ORDER BY confirmed DESC, interpretable DESC, confidence DESC`)));
}

async function showTerm(place, [at]) {
  const columns = await indexColumns(), { texts } = await directory("terms"), row = texts[at] === undefined ? null : await directoryRow("terms", Number(at));
  if (!row) return showMissing(place, "There is no such term.");
  const kinds = { word: "a word of item texts", feature: "an item feature", derived: "a derived feature" };
  place.append(el("h1", { class: "text", text: texts[at] }), el("p", { class: "muted", text: `${kinds[row.kind] ?? row.kind}; a significant term of ${row.latents.length} concepts, those that it says most of first` }),
    part("Concepts", table(["Concept", "Verdict", "Confidence", "Users", "Removal", "Found again", "Change"].map((title, column) => ({ title, number: column > 1 && column < 6 })), row.latents.map((latent) => conceptRow(columns, columns.place.get(latent))), "Concepts of the term"),
      sql(`SELECT latent_id, rank, z_score, q_value ${inTable("concept_terms")} AND significant AND term = ${literal(texts[at])} ORDER BY rank`)));
}

async function showItem(place, [at]) {
  const columns = await indexColumns(), { texts } = await directory("items"), row = texts[at] === undefined ? null : await directoryRow("items", Number(at));
  if (!row) return showMissing(place, "There is no such item.");
  const list = (title, latents) => part(title, latents?.length ? el("ol", { class: "items" }, latents.map((latent) => el("li", {}, conceptLink(columns, latent)))) : nothing("None."));
  place.append(el("h1", { class: "text", text: texts[at] }), el("p", { class: "muted text", text: `Item ${row.item_id}` }),
    el("div", { class: "grid" }, list("Fire for users of this item", row.linked), list("Push it up", row.up), list("Push it down", row.down)),
    sql(`SELECT latent_id, rank, weight, users ${inTable("latent_items")} AND item_id = ${literal(row.item_id)} ORDER BY rank`));
}
