// The first view: what the audit found, beside what nulls and baselines give.
const STATES = ["no name", "not interpretable", "interpretable", "confirmed"];

async function showOverview(place) {
  const m = manifest, o = overview;
  place.append(el("h1", { text: "What the recommender has learned" }), el("p", { class: "lead text", text: `${o.headline}.` }),
    ...o.warnings.map((sentence) => el("p", { class: "warn text", text: `${sentence}.` })));
  const interval = ([, low, high]) => low === null || high === null || low === undefined ? "" : ` (${number(low, 1)} to ${number(high, 1)})`;
  const drawn = (metric) => bars(`${metric} by kind of unit`, o.units.map((unit, row) => ({ label: unit.kind, value: unit[metric][0], low: unit[metric][1], high: unit[metric][2], own: row === 0 })),
    (row) => `${number(row.value, Number.isInteger(row.value) ? 0 : 1)}${interval([0, row.low, row.high])}`);
  const grid = el("div", { class: "grid" });
  const later = el("div", { class: "grid" });
  place.append(part("The SAE beside what nulls and baselines give",
    el("h3", { text: "Confirmed units: named, causal, and found again by another seed" }), drawn("confirmed_units"),
    el("h3", { text: "Interpretable units: a name that predicts held-out users" }), drawn("interpretable_units"),
    table(o.unit_columns.map((title, column) => ({ title: column ? title : "Unit", number: column > 0 })), o.unit_rows, "Figures of each kind of unit"),
    sql(`SELECT unit_kind, metric, value ${inTable("audit_metrics")} ORDER BY unit_kind, metric`)), grid, later);
  grid.append(audited(), fidelity(), coverageOf(), features());
  const columns = await indexColumns();
  later.append(mapOf(columns), densities(columns), overNights(), tuned());
}

function audited() {
  const m = manifest;
  const run = m.mlflow ? link(m.mlflow, "its version", { rel: "noreferrer" }) : text("no address for browsers (paths.tracking_uri)");
  const facts = [["Recommender", `${m.model}, version ${m.model_version} (${m.recommender_name})`], ["SAE", `version ${m.sae_version} (${m.sae_name})`], ["Date", m.dt],
    ["Published", `${m.published} UTC, as number ${m.publication}`], ["Tables", `${m.catalog}.${m.namespace}: ${m.tables.join(", ")}`], ["SAE in MLflow", run]];
  return part("What was audited", el("dl", { class: "facts" }, facts.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", {}, value instanceof Node ? value : text(value))])),
    sql(`SELECT publication, model_version, sae_version, finished_at ${inTable("audits")}`));
}

function fidelity() {
  const kinds = ["SAE", "untrained", "untrained, fitted decoder"].map((title) => ({ title, number: true }));
  return part("How much of the recommender the SAE keeps", table([{ title: "measure" }, ...kinds], overview.fidelity, "Fidelity"),
    sql(`SELECT unit_kind, metric, value ${inTable("audit_metrics")} AND metric IN ('fvu', 'l0', 'dead_fraction', 'ndcg_at_10_kept')`));
}

function coverageOf() {
  const own = overview.coverage.filter((row) => row.unit_kind === "sae");
  if (own.length === 0) return part("Coverage", nothing("This audit did not measure it."));
  const rows = own.map((row) => [`≥ ${number(row.min_confidence, 1)}`, row.units.toLocaleString("en"), percent(row.feature_coverage, 1), percent(row.shuffled_feature_coverage, 1), percent(row.item_coverage, 1), percent(row.user_coverage, 1)]);
  const columns = ["confidence", "units", "item features", "… shuffled labels", "items", "users"].map((title, place) => ({ title, number: place > 0 }));
  return part("Coverage: what interpretable concepts reach", table(columns, rows, "Coverage by confidence"), sql(`SELECT * ${inTable("concept_coverage")} ORDER BY unit_kind, min_confidence`));
}

function features() {
  const shown = overview.features.slice(0, 40);
  if (shown.length === 0) return part("Item features", nothing("The catalogue has no item features."));
  const most = Math.max(...shown.map((row) => row.items));
  const rows = shown.map((row) => {
    const bar = svg(120, 14, `${row.items} items`, el("svg:rect", { x: 0, y: 2, width: Math.max(1, (row.items / most) * 120), height: 10, class: row.concepts ? "own" : "other" }));
    const by = row.concepts ? el("span", {}, row.latents.slice(0, 6).flatMap((latent) => [link(`#/concept/${latent}`, latent), " "]), row.concepts > 6 ? `… ${row.concepts}` : null) : text("not covered", { class: "muted" });
    return [text(row.feature), bar, row.items.toLocaleString("en"), by];
  });
  return part("Item features, and the interpretable concepts of which each is a term", table([{ title: "feature" }, { title: "in the catalogue" }, { title: "items", number: true }, { title: "latents" }], rows, "Item features"),
    overview.features.length > shown.length ? nothing(`The ${shown.length} most frequent of ${overview.features.length}; the search finds all terms.`) : null,
    sql(`SELECT t.term, count(*) concepts FROM ${manifest.namespace}.concept_terms t JOIN ${manifest.namespace}.concepts c USING (dt, latent_id) WHERE t.dt = DATE '${manifest.dt}' AND t.significant AND c.interpretable AND t.kind <> 'word' GROUP BY t.term ORDER BY concepts DESC`));
}

function mapOf(columns) {
  const key = el("ul", { class: "chips" }, [["s0", "not judged"], ["s1", "< 0.6"], ["s2", "0.6 to 0.7"], ["s3", "0.7 to 0.8"], ["s4", "≥ 0.8"]].map(([shadeName, said]) =>
    el("li", { class: "chip" }, svg(12, 12, said, el("svg:circle", { cx: 6, cy: 6, r: 5, class: shadeName })), ` ${said}`)));
  if (!columns.x) return part("Map of concepts", nothing(manifest.missing.map ?? "This audit has none."));
  return part(`Map of concepts (${manifest.map} of decoder rows): near ones do alike`, conceptMap(columns), el("p", { class: "muted", text: "By confidence; those with a dark edge are confirmed." }), key);
}

function counted(values, low, high, bins) {
  const counts = Array(bins).fill(0);
  for (const value of values) if (value !== null) counts[Math.min(bins - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * bins)))] += 1;
  return counts;
}

function densities(columns) {
  const log = columns.users.map((users) => users > 0 ? Math.log10(users / manifest.users) : null);
  const least = Math.floor(log.reduce((low, value) => Math.min(low, value ?? 0), -1));
  return part("Confidence and density of the latents",
    el("h3", { text: "Confidence" }), histogram("Latents by confidence", counted(columns.confidence, 0.3, 1, 14), (bin) => number(0.3 + bin * 0.05)),
    el("h3", { text: "Share of users for whom a latent fires (log scale)" }), histogram("Latents by density", counted(log, least, 0, 14), (bin) => `${short(100 * 10 ** (least + (bin / 14) * -least))} %`),
    sql(`SELECT latent_id, confidence, density ${inTable("concepts")}`));
}

function overNights() {
  const nights = overview.nights, at = (name) => nights.map((night) => [night.dt, night[name]]);
  const counts = overview.changes.length ? table([{ title: "against" }, { title: "change" }, { title: "latents", number: true }], overview.changes.map((row) => [row.previous_dt, row.change, String(row.latents)]), "What became of latents") : nothing("There is no earlier audit to compare with.");
  const others = manifest.nights.filter((dt) => dt !== manifest.dt);
  const pages = others.length ? el("p", {}, "Pages of other nights: ", others.flatMap((dt) => [link(`../../${dt}/explorer/index.html`, dt), " "])) : null;
  return part("Over the nights", course("Confirmed units", at("confirmed_units"), (value) => number(value, 0)), course("Interpretable units", at("interpretable_units"), (value) => number(value, 0)),
    course("Mean confidence", at("mean_confidence"), (value) => number(value, 3)), course("Features by interpretable units", at("feature_coverage_of_interpretable"), (value) => percent(value, 1)),
    course("Found again by another seed", at("found_again_share"), (value) => percent(value)), course("NDCG@10 kept", at("ndcg_at_10_kept"), (value) => percent(value, 1)),
    course("Stable since the audit before", at("stable_share"), (value) => percent(value)), counts, pages,
    el("p", {}, link("../../../index.html", "All pages")),
    sql(`SELECT dt, metric, value FROM ${manifest.namespace}.audit_metrics WHERE unit_kind = 'sae' ORDER BY metric, dt`));
}

function tuned() {
  const rows = overview.tunings;
  if (rows.length === 0) return part("Tunings", nothing("This audit has no tunings (setting tunings)."));
  const groups = new Map();
  for (const row of rows) { const key = `${row.tuning}, at equal ${row.comparison}`; if (!groups.has(key)) groups.set(key, []); groups.get(key).push(row); }
  const pictures = [...groups].flatMap(([key, found]) => {
    const metrics = [...new Set(found.map((row) => row.metric))], methods = [...new Set(found.map((row) => row.method))];
    const cells = methods.map((method) => [method, ...metrics.map((metric) => { const row = found.find((one) => one.method === method && one.metric === metric); return row ? short(row.value) + (row.high === null || row.high === undefined || row.value === null ? "" : ` ± ${short(row.high - row.value)}`) : "–"; })]);
    return [el("h3", { text: key }), table([{ title: "method" }, ...metrics.map((title) => ({ title: title.replaceAll("_", " "), number: true }))], cells, key)];
  });
  return part("Tunings, on held-out users, beside what else could be done", ...overview.tuning_sentences.map((sentence) => el("p", { class: "text", text: `${sentence}.` })), ...pictures, sql(`SELECT * ${inTable("tuning_effects")}`));
}

async function showFigures(place) {
  const rows = overview.figures.map(([kind, metric, value]) => [overview.titles[kind] ?? kind, metric, short(value)]);
  place.append(el("h1", { text: "All figures" }), part("The table audit_metrics of this audit", table([{ title: "of" }, { title: "metric" }, { title: "value", number: true }], rows, "All figures"), sql(`SELECT * ${inTable("audit_metrics")}`)));
}
