// Pictures, as SVG.
const svg = (width, height, title, ...children) => el("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": title }, ...children);
const svgText = (x, y, value, options = {}, title = null) => { const node = el("svg:text", { x, y, text: value, ...options }); if (title) node.append(el("svg:title", { text: title })); return node; };

// Bars side by side: rows of {label, value, low, high, second, own}; `second` is a lighter bar behind.
function bars(title, rows, format, widest = 640) {
  const width = Math.max(280, Math.min(widest, innerWidth - 60)), left = width * 0.36, right = width < 400 ? 90 : 130, step = 26, letters = Math.floor(left / 7);
  const most = Math.max(1e-9, ...rows.flatMap((row) => [row.value ?? 0, row.high ?? 0, row.second ?? 0]));
  const x = (value) => left + (value / most) * (width - left - right);
  const marks = rows.flatMap((row, place) => {
    const top = place * step + 4, middle = top + 13;
    const label = row.label.length > letters ? `${row.label.slice(0, letters - 1)}…` : row.label;
    const drawn = [svgText(left - 8, middle, label, { "text-anchor": "end" }, row.label)];
    if (row.second !== undefined && row.second !== null) drawn.push(el("svg:rect", { x: left, y: top, width: Math.max(0, x(row.second) - left), height: 18, class: `light ${row.own ? "own" : "other"}` }));
    if (row.value === null || row.value === undefined) return [...drawn, svgText(left + 4, middle, "not measured", { class: "muted" })];
    drawn.push(el("svg:rect", { x: left, y: top + 3, width: Math.max(1, x(row.value) - left), height: 12, class: row.own ? "own" : "other" }));
    const hasEnds = row.low !== null && row.low !== undefined && row.high !== null && row.high !== undefined;
    if (hasEnds) drawn.push(el("svg:line", { x1: x(row.low), x2: x(row.high), y1: top + 9, y2: top + 9, class: "whisker" }));
    drawn.push(svgText(x(Math.max(row.value, row.high ?? 0, row.second ?? 0)) + 6, middle, format(row)));
    return drawn;
  });
  return svg(width, rows.length * step + 6, title, ...marks);
}

function histogram(title, counts, labels) {
  const width = 420, height = 130, most = Math.max(1, ...counts), step = (width - 20) / counts.length;
  const marks = counts.map((count, place) => {
    const tall = (count / most) * (height - 40);
    return el("svg:rect", { x: 10 + place * step + 1, y: height - 20 - tall, width: step - 2, height: tall, class: "own" }, el("svg:title", { text: `${labels(place)}: ${count.toLocaleString("en")}` }));
  });
  const ends = [svgText(10, height - 5, labels(0), { class: "muted" }), svgText(width - 10, height - 5, labels(counts.length - 1), { class: "muted", "text-anchor": "end" }), svgText(10, 12, `most: ${most.toLocaleString("en")}`, { class: "muted" })];
  return svg(width, height, `${title}: ${counts.map((count, place) => `${labels(place)} ${count}`).join(", ")}`, el("svg:line", { x1: 10, x2: width - 10, y1: height - 20, y2: height - 20, class: "axis" }), ...marks, ...ends);
}

// A figure over the nights: points of [label, value].
function course(title, points, format) {
  const known = points.filter(([, value]) => value !== null && value !== undefined);
  if (known.length === 0) return nothing(`${title}: not measured`);
  if (known.length === 1) return el("p", { text: `${title}: ${format(known[0][1])}` });
  const width = 420, height = 96, values = known.map(([, value]) => value);
  const low = Math.min(...values), high = Math.max(...values), span = high > low ? high - low : 1;
  const x = (place) => 12 + ((place / (known.length - 1)) * (width - 24));
  const y = (value) => 70 - ((value - low) / span) * 44;
  const path = known.map(([, value], place) => `${place ? "L" : "M"}${x(place)} ${y(value)}`).join("");
  return svg(width, height, `${title}, ${known.map(([night, value]) => `${night}: ${format(value)}`).join(", ")}`,
    svgText(12, 14, `${title}: ${format(values.at(-1))}`), el("svg:path", { d: path, class: "line" }),
    ...known.map(([night, value], place) => el("svg:circle", { cx: x(place), cy: y(value), r: 3.5, class: "own" }, el("svg:title", { text: `${night}: ${format(value)}` }))),
    svgText(12, height - 4, known[0][0], { class: "muted" }), svgText(width - 12, height - 4, known.at(-1)[0], { class: "muted", "text-anchor": "end" }));
}

const shade = (confidence) => confidence === null ? "s0" : confidence < 0.6 ? "s1" : confidence < 0.7 ? "s2" : confidence < 0.8 ? "s3" : "s4";

// The map: at most 2,000 concepts as links, more as a drawing on a canvas.
function conceptMap(columns) {
  const size = 424, at = (value) => 12 + value;
  if (columns.id.length <= 2000) {
    const points = columns.id.map((id, place) => {
      const name = `${columns.label[place] || "unnamed"}, latent ${id}, confidence ${number(columns.confidence[place])}`;
      const spot = el("svg:circle", { cx: at(columns.x[place]), cy: at(columns.y[place]), r: columns.id.length > 300 ? 4 : 7, class: `point ${shade(columns.confidence[place])} ${columns.state[place] === 3 ? "sure" : ""}` }, el("svg:title", { text: name }));
      return el("svg:a", { href: `#/concept/${id}`, "aria-label": name }, spot);
    });
    return el("svg:svg", { viewBox: `0 0 ${size} ${size}`, width: size, height: size, role: "group", "aria-label": "Map of concepts" }, ...points);
  }
  const canvas = el("canvas", { width: 840, height: 840, role: "img", "aria-label": `Map of ${columns.id.length} concepts; the list of concepts has the same, to be read` });
  canvas.style.width = "min(100%, 420px)";
  const style = getComputedStyle(document.documentElement), pen = canvas.getContext("2d");
  columns.id.forEach((id, place) => { pen.fillStyle = style.getPropertyValue(`--${shade(columns.confidence[place])}`); pen.fillRect(columns.x[place] * 2.05 + 8, columns.y[place] * 2.05 + 8, 3, 3); });
  canvas.addEventListener("click", (event) => {
    const scale = 840 / canvas.clientWidth, x = event.offsetX * scale, y = event.offsetY * scale;
    let best = 0, nearest = Infinity;
    columns.id.forEach((id, place) => { const far = (columns.x[place] * 2.05 + 9 - x) ** 2 + (columns.y[place] * 2.05 + 9 - y) ** 2; if (far < nearest) { nearest = far; best = id; } });
    location.hash = `#/concept/${best}`;
  });
  return canvas;
}
