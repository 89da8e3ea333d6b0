// The knob: one concept turned for one user, in the page. The same arithmetic as `recsae tune`.
const round = Math.fround;

async function rowsOf(name, rows, wanted, width) {
  const values = await shardOf(`${name}/${Math.floor(wanted / rows)}`, floats);
  return values.subarray((wanted % rows) * width, (wanted % rows) * width + width);
}

function movedBy(x, direction, amount) {
  const moved = Float32Array.from(x);
  if (amount !== 0) for (let d = 0; d < moved.length; d += 1) moved[d] = round(moved[d] + round(amount * direction[d]));
  return moved;
}

// The ten best items that the user has not seen; of equal scores the first.
function best(parts, x, seen, width, length = 10) {
  const items = [], scores = [];
  let item = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += width, item += 1) {
      let score = 0;
      for (let d = 0; d < width; d += 1) score += x[d] * part[at + d];
      score = round(score);
      if (items.length === length && score <= scores[length - 1]) continue;
      if (seen.has(item)) continue;
      let place = items.length === length ? length - 1 : items.length;
      while (place > 0 && scores[place - 1] < score) { items[place] = items[place - 1]; scores[place] = scores[place - 1]; place -= 1; }
      items[place] = item; scores[place] = score;
    }
  }
  return items;
}

async function nameOf(item) {
  const names = await shardOf(`names/${Math.floor(item / manifest.knob.name_rows)}`);
  return names[item % manifest.knob.name_rows] || `item ${item}`;
}

async function showKnob(place, [wanted]) {
  place.append(el("h1", { text: "Turn a concept" }));
  if (!manifest.knob) { place.append(nothing(`It cannot be turned here: ${manifest.missing.knob}.`)); return; }
  const { width, items, rows } = manifest.knob;
  const columns = await indexColumns(), users = await shardOf("users");
  const order = columns.id.map((_, row) => row).sort((one, other) => (columns.state[other] - columns.state[one]) || ((columns.confidence[other] ?? -1) - (columns.confidence[one] ?? -1)));
  const latent = columns.place.has(Number(wanted)) && wanted !== undefined ? Number(wanted) : columns.id[order[0]];
  const direction = await rowsOf("decoder", rows, columns.place.get(latent), width);
  const parts = await Promise.all(Array.from({ length: Math.ceil(items / rows) }, (_, part) => shardOf(`vectors/${part}`, floats)));

  const concept = el("input", { id: "latent", type: "number", min: 0, value: latent, list: "latents" });
  const fires = users.map((user) => user.latents.includes(latent));
  const user = el("select", { id: "user" }, users.map((one, row) => [one, row]).sort(([, one], [, other]) => fires[other] - fires[one] || one - other).map(([one, row]) => el("option", { value: row, text: `${one.id === null ? `sample user ${row + 1}` : one.id}${fires[row] ? " (it fires)" : ""}` })));
  const mode = el("select", { id: "mode" }, el("option", { value: "multiply", text: "multiply (users for whom it fires)" }), el("option", { value: "add", text: "add (everybody)" }));
  if (!fires.some(Boolean)) mode.value = "add";
  const strength = el("input", { id: "strength", type: "range", "aria-describedby": "turned" }), exact = el("input", { id: "exact", type: "number", step: "any", "aria-label": "Strength as a number" });
  const lists = el("div", { id: "lists", "aria-live": "polite" }), turned = el("p", { id: "turned", class: "muted" });
  const ends = () => {
    const [low, high, step, start] = mode.value === "multiply" ? [0, 5, 0.1, 0] : [-10, 10, 0.1, 2];
    for (const [name, value] of Object.entries({ min: low, max: high, step })) strength.setAttribute(name, value);
    strength.value = start; exact.value = start;
  };
  const turn = async () => {
    const chosen = users[Number(user.value)], x = Float32Array.from(chosen.x), seen = new Set(chosen.seen), amount = Number(exact.value);
    const at = chosen.latents.indexOf(latent);
    const step = mode.value === "add" ? movedBy(x, addition(amount, direction), 1) : movedBy(x, direction, at < 0 ? 0 : round(round(amount - 1) * round(chosen.activations[at])));
    const before = best(parts, x, seen, width), after = best(parts, step, seen, width);
    const rowsShown = await Promise.all(before.map(async (item, row) => [String(row + 1), await nameOf(item), after[row] === undefined ? "" : el("span", {}, text(await nameOf(after[row])), before.includes(after[row]) ? null : text(" new", { class: "new" }))]));
    const latest = await Promise.all(chosen.latest.map(nameOf));
    turned.textContent = clean(`${at < 0 ? "It does not fire for this user" : `Fires with ${short(chosen.activations[at])}`}. ${before.filter((item) => after.includes(item)).length} of ${before.length} items stay. Some of what the user has seen: ${latest.join("; ")}.`);
    lists.replaceChildren(table([{ title: "#", number: true }, { title: "before" }, { title: "after" }], rowsShown, "Recommendations before and after"));
    lists.dataset.before = before.join(" "); lists.dataset.after = after.join(" ");
  };
  strength.addEventListener("input", () => { exact.value = strength.value; turn(); });
  exact.addEventListener("input", () => { strength.value = exact.value; turn(); });
  user.addEventListener("change", turn);
  mode.addEventListener("change", () => { ends(); turn(); });
  concept.addEventListener("change", () => { location.hash = `#/tune/${Number(concept.value)}`; });
  const labelled = (name, node) => el("label", {}, `${name} `, node);
  place.append(part("One concept, one user", el("p", {}, conceptLink(columns, latent)),
    el("div", { class: "controls" }, labelled("Latent", concept), labelled("User", user), labelled("How", mode), labelled("Strength", strength), exact), turned, lists,
    el("p", { class: "muted", text: `For all users, beside what else could be done: recsae tune --latent ${latent} --multiply 0` })), tuned());
  ends();
  await turn();
}

// The step of `add`: strength times the decoder row, to float32.
const addition = (amount, direction) => Float32Array.from(direction, (value) => round(amount * value));
