// Small charts in SVG. Every function draws into an <svg> and returns nothing.

const NS = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function canvas(svg) {
  const { width, height } = svg.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  return { width, height };
}

const digits = (span) => Math.max(0, Math.min(8, 2 - Math.floor(Math.log10(span || 1))));
const amount = (value, places) =>
  value.toLocaleString("en", { minimumFractionDigits: places ?? 0, maximumFractionDigits: places ?? 8 });
const time = (ms) => new Date(ms).toISOString().slice(11, 16);

/**
 * Candles with horizontal lines and marks.
 * candles: [[ms, open, high, low, close], …] oldest first; lines: [{price, kind, label}];
 * marks: [{ms, price, side}].
 */
export function drawCandles(svg, candles, lines, marks) {
  const { width, height } = canvas(svg);
  if (!candles.length) return;
  const right = 70, bottom = 18;
  const highs = candles.map((c) => c[2]), lows = candles.map((c) => c[3]);
  let top = Math.max(...highs), low = Math.min(...lows);
  const reach = top - low || top * 0.001;
  // What lies far off would flatten the candles: it is shown at the edge
  const near = lines.filter((l) => l.price < top + reach && l.price > low - reach);
  top = Math.max(top, ...near.map((l) => l.price));
  low = Math.min(low, ...near.map((l) => l.price));
  const pad = (top - low || top * 0.001) * 0.05;
  top += pad;
  low -= pad;
  const y = (price) => ((top - price) / (top - low)) * (height - bottom);
  const step = Math.min((width - right) / candles.length, 24);
  const places = digits(top - low);
  for (let i = 0; i <= 4; i++) {
    const price = low + ((top - low) * i) / 4;
    svg.append(element("line", { class: "grid", x1: 0, x2: width - right, y1: y(price), y2: y(price) }));
    svg.append(element("text", { x: width - right + 4, y: y(price) + 3 }, amount(price, places)));
  }
  candles.forEach(([ms, open, high, lowest, close], i) => {
    const x = (i + 0.5) * step;
    const group = element("g", { class: close >= open ? "up" : "down", stroke: "currentColor", fill: "currentColor" });
    group.append(element("line", { x1: x, x2: x, y1: y(high), y2: y(lowest) }));
    group.append(element("rect", {
      x: x - step * 0.35, width: Math.max(step * 0.7, 1), stroke: "none",
      y: y(Math.max(open, close)), height: Math.max(Math.abs(y(open) - y(close)), 1),
    }));
    svg.append(group);
    if (i % Math.ceil(70 / step) === 0)
      svg.append(element("text", { x: Math.max(x, 15), y: height - 4, "text-anchor": "middle" }, time(ms)));
  });
  for (const { price, kind, label } of near) {
    const at = y(price);
    svg.append(element("line", { class: kind, x1: 0, x2: width - right, y1: at, y2: at, "stroke-dasharray": "5 4" }));
    svg.append(element("text", { x: 4, y: at - 3, class: kind, style: "fill: currentColor; stroke: none" }, label));
  }
  const first = candles[0][0], minute = candles.length > 1 ? candles[1][0] - first : 60000;
  for (const { ms, price, side } of marks) {
    const x = ((ms - first) / minute) * step;
    if (x < 0 || x > width - right) continue;
    const bought = side === "Buy";
    svg.append(element("text", {
      x, y: y(price) + (bought ? 12 : -4), "text-anchor": "middle",
      class: bought ? "buy" : "sell", style: "fill: currentColor; font-size: 12px",
    }, bought ? "▲" : "▼"));
  }
}

/** Cumulated depth; bids and asks: [[price, size], …] best first. */
export function drawDepth(svg, bids, asks) {
  const { width, height } = canvas(svg);
  if (!bids.length || !asks.length) return;
  const summed = (side) => {
    let total = 0;
    return side.map(([price, size]) => [price, (total += size)]);
  };
  const [left, right] = [summed(bids), summed(asks)];
  const low = left.at(-1)[0], high = right.at(-1)[0];
  const most = Math.max(left.at(-1)[1], right.at(-1)[1]);
  const x = (price) => ((price - low) / (high - low || 1)) * width;
  const y = (total) => height - 14 - (total / most) * (height - 20);
  for (const [side, kind] of [[left, "up"], [right, "down"]]) {
    let path = `M ${x(side[0][0])} ${height - 14}`;
    let before = height - 14;
    for (const [price, total] of side) {
      path += ` L ${x(price)} ${before} L ${x(price)} ${y(total)}`;
      before = y(total);
    }
    path += ` L ${x(side.at(-1)[0])} ${height - 14} Z`;
    svg.append(element("path", { d: path, class: kind, fill: "currentColor", "fill-opacity": 0.25, stroke: "currentColor" }));
  }
  svg.append(element("text", { x: 0, y: height - 2 }, amount(low)));
  svg.append(element("text", { x: width, y: height - 2, "text-anchor": "end" }, amount(high)));
}

/** A line of values: [[ms, value], …] oldest first. */
export function drawLine(svg, points) {
  const { width, height } = canvas(svg);
  if (points.length < 2) return;
  const values = points.map((p) => p[1]);
  const top = Math.max(...values), low = Math.min(...values);
  const y = (value) => height - 16 - ((value - low) / (top - low || 1)) * (height - 30);
  const x = (i) => (i / (points.length - 1)) * width;
  const path = points.map((p, i) => `${i ? "L" : "M"} ${x(i)} ${y(p[1])}`).join(" ");
  const kind = values.at(-1) >= values[0] ? "up" : "down";
  svg.append(element("path", { d: path, class: kind, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }));
  const places = digits(top - low);
  svg.append(element("text", { x: 0, y: 9 }, amount(top, places)));
  svg.append(element("text", { x: 0, y: height - 3 }, amount(low, places)));
}
