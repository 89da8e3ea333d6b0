// One concept.
async function showConcept(place, [wanted]) {
  const columns = await indexColumns(), row = columns.place.get(Number(wanted));
  if (row === undefined) return showMissing(place, `No live latent has the number ${wanted}.`);
  const at = shardAt(manifest.cards, Number(wanted)), card = (await shardOf(`cards/${at}`)).find((one) => one.latent_id === Number(wanted));
  if (!card) return showMissing(place, `Latent ${wanted} has no card.`);
  const state = columns.state[row], around = (step) => columns.id[row + step];
  place.append(
    el("div", { class: "pages" }, around(-1) === undefined ? text("") : link(`#/concept/${around(-1)}`, `← latent ${around(-1)}`, { id: "before" }), manifest.knob ? link(`#/tune/${card.latent_id}`, "Turn this concept") : null, around(1) === undefined ? text("") : link(`#/concept/${around(1)}`, `latent ${around(1)} →`, { id: "after" })),
    el("h1", { class: "text", text: state === 0 ? "unnamed" : card.label }), el("p", { class: "muted", text: `Latent ${card.latent_id} of SAE version ${manifest.sae_version}, named by ${card.interpreter === "llm" ? "a language model" : "its terms"}` }),
    el("p", { class: "lead text", text: card.description }), verdictOf(card, state),
    el("div", { class: "grid" }, termsOf(card), audienceOf(card), itemsOf("Items of the users for whom it fires", card.items_linked, (item) => `${item.users} users`), pushedOf(card), strengthOf(card), scoresOf(card), nearOf(card, columns), changesOf(card), casesOf(card)));
}

function verdictOf(card, state) {
  const limits = manifest.limits, missing = [];
  if (state === 0) missing.push("no significant term names it");
  else if (state === 1) {
    if (card.confidence === undefined) missing.push("it was not judged");
    else if (card.confidence < limits.confidence) missing.push(`confidence ${number(card.confidence)} of ${number(limits.confidence)} asked for`);
    if (card.q_value >= limits.significance) missing.push(`chance does as well (q ${short(card.q_value)})`);
  } else if (state === 2) {
    if (card.removal_effect === undefined) missing.push("removal was not measured");
    else if (card.removal_effect < limits.removal) missing.push(`removal takes ${percent(card.removal_effect)} of its name out of lists, ${percent(limits.removal)} asked for`);
    else if (card.removal_p_value >= limits.significance) missing.push(`another direction takes as much (p ${short(card.removal_p_value)})`);
    if (card.found_again === undefined) missing.push("there is no SAE of another seed");
    else if (card.found_again < limits.found_again) missing.push(`another seed finds it at r ${number(card.found_again)}, ${number(limits.found_again)} asked for`);
  }
  const facts = [["Verdict", el("span", {}, text(STATES[state], { class: `state s${state}` }), missing.length ? `: ${missing.join("; ")}` : "")],
    ["Confidence", card.confidence === undefined ? "not judged" : `${number(card.confidence)} (${number(card.confidence_low)} to ${number(card.confidence_high)}), judge ${card.judge}; chance does as well with q ${short(card.q_value)}; 0.50 is a coin`],
    ["Fires for", `${Number(card.active_users).toLocaleString("en")} users (${percent(card.density, 1)})`],
    ["Removal", card.removal_effect === undefined ? "not measured" : `takes ${percent(card.removal_effect)} (${percent(card.removal_low)} to ${percent(card.removal_high)}) of its name out of the lists; another direction takes ${percent(card.removal_other)} (p ${short(card.removal_p_value)})`],
    ["Found again", card.found_again === undefined ? "there is no SAE of another seed" : `r ${number(card.found_again)} in the SAE of another seed`],
    ["What makes it fire", card.best_feature === undefined ? "no feature stands out" : `${card.best_feature} (ROC-AUC ${number(card.best_feature_auc)})`],
    ["What it does", card.output_feature === undefined ? "no feature stands out" : `pushes up ${card.output_feature} (output score ${number(card.output_score)})`],
    ["Beware", card.artefact === undefined ? null : `its items stand next to each other in the order of ${card.artefact}: perhaps an artefact of a list (p ${short(card.artefact_p_value)})`],
    ["The same as", card.same_as === undefined ? null : link(`#/concept/${card.same_as}`, `latent ${card.same_as}, which has more users`)]];
  return part("Verdict", el("dl", { class: "facts" }, facts.filter(([, value]) => value !== null).flatMap(([name, value]) => [el("dt", { text: name }), el("dd", {}, value instanceof Node ? value : text(value))])), sql(`SELECT * ${inTable("concepts")} AND latent_id = ${card.latent_id}`));
}

function termsOf(card) {
  const terms = (card.terms ?? []).filter((term) => term.significant);
  if (terms.length === 0) return part("Terms", nothing("No term is significant."));
  return part("Terms, by how much more often than elsewhere (z score)", bars("Terms", terms.slice(0, 14).map((term) => ({ label: term.term, value: Math.max(0, term.z_score), own: term.kind !== "word" })), (term) => number(term.value, 1), 400),
    el("p", { class: "muted", text: "Item features are blue, words of item texts grey." }), sql(`SELECT term, kind, tfidf, z_score, q_value ${inTable("concept_terms")} AND latent_id = ${card.latent_id} ORDER BY rank`));
}

function itemsOf(title, items, more) {
  if (!items?.length) return part(title, nothing("None."));
  return part(title, el("ol", { class: "items" }, items.map((item) => el("li", {}, text(item.title ?? item.item_id), more ? text(` · ${more(item)}`, { class: "muted" }) : null, el("span", { class: "features text", text: (item.features ?? []).join(", ") })))));
}

function pushedOf(card) {
  if (!card.items_up?.length) return part("What it pushes up and down", nothing("Not measured in this audit: its recommender is not scored by item vectors, or the audit is of an earlier version."));
  const list = (items) => el("ol", { class: "items" }, items.map((item) => el("li", {}, text(item.title ?? item.item_id), el("span", { class: "features text", text: (item.features ?? []).join(", ") }))));
  const features = (card.output_features ?? []).filter((one) => one.q_value < manifest.limits.significance);
  return part("What it pushes up and down", el("h3", { text: "Up" }), list(card.items_up), el("h3", { text: "Down" }), list(card.items_down ?? []), el("h3", { text: "Features (output score)" }),
    features.length ? el("ul", { class: "chips" }, features.map((one) => el("li", { class: "chip text", text: `${one.output_score > 0 ? "▲" : "▼"} ${one.feature} ${number(one.output_score)}` }))) : nothing("No feature moves more than by chance."),
    sql(`SELECT * ${inTable("latent_effects")} AND latent_id = ${card.latent_id} ORDER BY kind, rank`));
}

function audienceOf(card) {
  const rows = (card.audience ?? []).map((one) => [one.feature, percent(one.share, 1), percent(one.of_all, 1)]);
  return part("Who the users are", rows.length ? table([{ title: "share of their history" }, { title: "these users", number: true }, { title: "all users", number: true }], rows, "Features of histories") : nothing("Their histories have no features."),
    rows.length ? el("p", { class: "muted", text: `Of ${card.audience[0].users.toLocaleString("en")} users in a sample, drawn by hash` }) : null);
}

function strengthOf(card) {
  if (!card.histogram) return part("How strongly it fires", nothing("Not kept."));
  const width = card.mean_activation / 4, all = card.histogram.reduce((sum, users) => sum + users, 0);
  const share = (from, to) => percent(card.histogram.slice(from, to).reduce((sum, users) => sum + users, 0) / all);
  return part("How strongly it fires", el("p", {}, `Below the mean activation for ${share(0, 4)} of its users, up to twice the mean for ${share(4, 8)}, above for ${share(8)}.`), histogram("Users by activation", card.histogram, (bin) => `${bin === card.histogram.length - 1 ? "≥ " : ""}${short(bin * width)}`), sql(`SELECT user_id, latent_ids, activations ${inTable("latent_activations")} AND array_contains(latent_ids, ${card.latent_id})`));
}

function scoresOf(card) {
  const rows = (card.scores ?? []).map((one) => [one.judge, number(one.confidence), number(one.shuffled_confidence), number(one.recall), number(one.specificity), number(one.hard_specificity), number(one.auc), String(one.cases)]);
  const titles = ["judge", "confidence", "… of another's terms", "recall", "specificity", "… hard", "AUC", "users"].map((title, column) => ({ title, number: column > 0 }));
  return part("Judges", rows.length ? table(titles, rows, "Scores by judge") : nothing("It was not judged."), sql(`SELECT * ${inTable("concept_scores")} AND latent_id = ${card.latent_id}`));
}

function nearOf(card, columns) {
  const near = card.near ?? [];
  return part("Nearest concepts, by what they write", near.length ? el("ol", { class: "items" }, near.map(([latent, cosine]) => el("li", {}, conceptLink(columns, latent), text(` · cosine ${number(cosine)}`, { class: "muted" })))) : nothing(manifest.missing.map ?? "None."));
}

function changesOf(card) {
  const rows = (card.changes ?? []).map((one) => [one.previous_dt, one.change, one.previous_label === undefined ? "–" : `${one.previous_label} (${one.previous_latent_id})`, number(one.similarity), number(one.term_similarity)]);
  return part("What became of it since the last audits", rows.length ? table(["audit", "change", "then", "similarity", "… of terms"].map((title, column) => ({ title, number: column > 2 })), rows, "Changes") : nothing("There is no earlier audit to compare with."), sql(`SELECT * ${inTable("concept_drift")} AND latent_id = ${card.latent_id}`));
}

function casesOf(card) {
  const cases = (card.cases ?? []).map((one) => el("div", {}, el("h3", { text: `${one.fires === one.judged ? "Right" : "Wrong"}: judge ${one.judge} says that it ${one.judged ? "fires" : "does not fire"}, and it ${one.fires ? "does" : "does not"}${one.user_id ? `, user ${one.user_id}` : ""}` }),
    el("p", { class: "text", text: (one.titles ?? []).join("; ") || "no items" })));
  return part("Some judged users, by their items", ...(cases.length ? cases : [nothing("No cases are kept.")]), sql(`SELECT * ${inTable("verification_cases")} AND latent_id = ${card.latent_id}`));
}
