// Addresses, keys, and the start.
const VIEWS = { "": showOverview, concepts: showConcepts, concept: showConcept, term: showTerm, item: showItem, tune: showKnob, figures: showFigures };
const IN_BAR = [["#/", "Overview", [""]], ["#/concepts", "Concepts", ["concepts", "concept", "term", "item"]], ["#/tune", "Turn a concept", ["tune"]], ["#/figures", "Figures", ["figures"]]];
let shown = 0;

function showMissing(place, message) { place.append(el("h1", { text: "Not here" }), nothing(message), link("#/concepts", "All concepts")); }

async function show() {
  const turn = ++shown, [view, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  const place = el("div", {}), main = document.getElementById("main");
  document.getElementById("hits").hidden = true;
  document.getElementById("views").replaceChildren(...IN_BAR.map(([address, title, views]) => el("li", {}, el("a", { href: address, text: title, "aria-current": views.includes(view) ? "page" : null }))));
  const ready = (VIEWS[view] ?? ((node) => showMissing(node, "There is no such view.")))(place, rest);
  if (view === "") { main.replaceChildren(place); }
  try { await ready; } catch (failure) { place.replaceChildren(el("h1", { text: "This cannot be shown" }), nothing(failure.message)); }
  if (turn !== shown) return;
  if (view !== "") main.replaceChildren(place);
  const title = place.querySelector("h1")?.textContent ?? "";
  document.title = `${title} · ${manifest.namespace} ${manifest.dt}`;
  document.body.dataset.shown = location.hash;
  if (turn > 1) { window.scrollTo(0, 0); main.focus({ preventScroll: true }); say(title); }
}
function decoded(part) { try { return decodeURIComponent(part); } catch { return part; } }

document.addEventListener("keydown", (event) => {
  const query = document.getElementById("query"), box = document.getElementById("hits"), typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !typing) { event.preventDefault(); query.focus(); }
  else if (event.key === "Escape") { query.value = ""; box.hidden = true; }
  else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !box.hidden) {
    const stops = [query, ...box.querySelectorAll("a")], at = stops.indexOf(document.activeElement);
    if (at >= 0) { event.preventDefault(); stops[Math.max(0, Math.min(stops.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)))].focus(); }
  } else if (event.key === "Enter" && document.activeElement === query) { box.querySelector("a")?.click(); }
  else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && !typing && !event.altKey) { document.getElementById(event.key === "ArrowLeft" ? "before" : "after")?.click(); }
});
document.addEventListener("click", (event) => { if (!event.target.closest(".search")) document.getElementById("hits").hidden = true; });
window.addEventListener("hashchange", show);

(async () => {
  const first = await shardOf("overview");
  manifest = first.manifest;
  overview = first.overview;
  document.getElementById("query").addEventListener("input", (event) => showHits(event.target.value));
  await show();
  // What a search needs is there before anybody asks.
  await Promise.all([indexColumns(), directory("terms"), directory("items")]);
  document.body.dataset.ready = "yes";
})().catch((failure) => { document.getElementById("main").replaceChildren(el("h1", { text: "This page cannot be shown" }), nothing(failure.message)); });
