import { drawCandles, drawDepth, drawLine } from "./chart.js";

const at = (id) => document.getElementById(id);
const EVERY_MS = 1000;
const equity = [];
let shown = "";

const number = (text) => (text === "" || text == null ? NaN : Number(text));
const told = (text, places) =>
  text === "" || text == null || Number.isNaN(Number(text))
    ? "–"
    : Number(text).toLocaleString("en", { minimumFractionDigits: places ?? 0, maximumFractionDigits: places ?? 8 });
const moment = (ms) => new Date(Number(ms)).toISOString().replace("T", " ").slice(0, 19);
const sign = (text) => (Number(text) > 0 ? "up" : Number(text) < 0 ? "down" : "");

function cell(content, kind) {
  const made = document.createElement("td");
  made.textContent = content;
  if (kind) made.className = kind;
  return made;
}

function line(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

/** Fill a table: heads are texts or [text, class], rows are lists of [text, class]. */
function fill(table, heads, rows, nothing) {
  const head = document.createElement("tr");
  for (const [text, kind] of heads.map((h) => [h].flat())) {
    const made = document.createElement("th");
    made.textContent = text;
    if (kind) made.className = kind;
    head.append(made);
  }
  if (!rows.length) {
    const empty = cell(nothing, "empty");
    empty.colSpan = heads.length;
    table.replaceChildren(line(empty));
    return;
  }
  table.replaceChildren(head, ...rows.map((row) => line(...row.map(([text, kind]) => cell(text, kind)))));
}

/** The market's name without the time it began, which no person reads. */
const sourceOf = (identity) => identity.replace(/ \d{12,}$/, "").replace(/^generator (\d+) .*$/, "generated, seed $1");

const stateOf = (market) => (market.ended ? "market ended" : market.started ? "running" : "waiting for start");

const kindOf = (row) => (row.stopOrderType && row.stopOrderType !== "UNKNOWN" ? row.stopOrderType : row.orderType);

function choose(select, values, chosen) {
  const known = [...select.options].map((o) => o.value);
  if (known.join() !== values.join())
    select.replaceChildren(...values.map((value) => new Option(value, value)));
  if (select.value !== chosen) select.value = chosen;
}

function showBook(book, last) {
  const rows = (side) => side.slice(0, 12).map(([price, size]) => [number(price), number(size)]);
  const [bids, asks] = [rows(book.b), rows(book.a)];
  const most = Math.max(...bids.map((l) => l[1]), ...asks.map((l) => l[1]), 0);
  const shownAs = ([price, size], kind) => {
    const made = line(cell(told(price), kind), cell(told(size)));
    const share = most ? (size / most) * 100 : 0;
    const tone = kind === "up" ? "--up" : "--down";
    made.style.background =
      `linear-gradient(to left, color-mix(in srgb, var(${tone}) 18%, transparent) ${share}%, transparent ${share}%)`;
    return made;
  };
  const middle = cell(told(last));
  middle.colSpan = 2;
  const between = line(middle);
  between.className = "last";
  at("book").replaceChildren(
    ...asks.reverse().map((level) => shownAs(level, "down")), between, ...bids.map((level) => shownAs(level, "up")),
  );
}

function showPositions(positions) {
  at("positions-count").textContent = positions.length || "";
  fill(
    at("positions"),
    ["Symbol", "Side", "Size", "Entry", "Mark", "Liquidation", "Stop", "Target", "Trailing", "Leverage", "Unrealised", "Realised"],
    positions.map((p) => [
      [p.symbol], [p.side, p.side === "Buy" ? "buy" : "sell"], [told(p.size)], [told(p.avgPrice)], [told(p.markPrice)],
      [told(p.liqPrice)], [told(p.stopLoss)], [told(p.takeProfit)], [p.trailingStop === "0" ? "–" : told(p.trailingStop)],
      [`${told(p.leverage)}×`], [told(p.unrealisedPnl, 2), sign(p.unrealisedPnl)], [told(p.curRealisedPnl, 2), sign(p.curRealisedPnl)],
    ]),
    "No position is open.",
  );
}

function showOrders(orders) {
  at("orders-count").textContent = orders.length || "";
  fill(
    at("orders"),
    ["Created", "Symbol", "Side", "Type", "Quantity", "Filled", "Price", "Trigger", "Status", "Link"],
    orders.map((o) => [
      [moment(o.createdTime)], [o.symbol], [o.side, o.side === "Buy" ? "buy" : "sell"],
      [`${kindOf(o)}${o.reduceOnly ? " · reduce" : ""}`],
      [told(o.qty)], [told(o.cumExecQty)], [o.price === "0" ? "–" : told(o.price)], [told(o.triggerPrice)],
      [o.orderStatus], [o.orderLinkId || o.parentOrderLinkId || "–"],
    ]),
    "No order is open.",
  );
}

function showExecutions(executions) {
  fill(
    at("executions"),
    ["Time", "Symbol", "Side", "Kind", "Quantity", "Price", "Value", "Fee", "Role", "Link"],
    executions.map((e) => [
      [moment(e.execTime)], [e.symbol], [e.side, e.side === "Buy" ? "buy" : "sell"],
      [e.execType === "Trade" ? kindOf(e) : e.execType], [told(e.execQty)], [told(e.execPrice)],
      [told(e.execValue, 2)], [told(e.execFee, 4)], [e.isMaker ? "maker" : "taker"], [e.orderLinkId || "–"],
    ]),
    "Nothing was executed yet.",
  );
}

function showFaults({ faults, strikes }) {
  at("faults-count").textContent = faults.length || "";
  fill(
    at("faults"),
    ["Name", "Kind", ["When", "text"], "Matched", "Struck"],
    faults.map((f) => [[f.name], [f.kind], [f.when, "wrap"], [told(f.matches)], [told(f.strikes), f.strikes ? "warn" : ""]]),
    "None: the exchange behaves.",
  );
  at("strikes").replaceChildren(
    ...strikes.map((text) => {
      const made = document.createElement("li");
      made.textContent = text;
      return made;
    }),
  );
}

function showWallet(wallet) {
  const coin = wallet.coin[0];
  const rows = [
    ["Equity", told(wallet.totalEquity, 2)], ["Wallet", told(wallet.totalWalletBalance, 2)],
    ["Available", told(wallet.totalAvailableBalance, 2)],
    ["Unrealised", told(wallet.totalPerpUPL, 2), sign(wallet.totalPerpUPL)],
    ["Realised, net", told(coin.cumRealisedPnl, 2), sign(coin.cumRealisedPnl)],
    ["Initial margin", told(wallet.totalInitialMargin, 2)],
    ["Maintenance", `${told(wallet.totalMaintenanceMargin, 2)} (${told(number(wallet.accountMMRate) * 100, 1)} %)`],
  ];
  at("wallet").replaceChildren(
    ...rows.flatMap(([name, value, kind]) => {
      const [term, said] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      said.textContent = value;
      if (kind) said.className = kind;
      return [term, said];
    }),
  );
}

function linesOf(positions, orders, symbol) {
  const lines = [];
  const add = (text, kind, label) => number(text) > 0 && lines.push({ price: number(text), kind, label });
  for (const p of positions.filter((row) => row.symbol === symbol)) {
    add(p.avgPrice, "entry", `${p.side === "Buy" ? "long" : "short"} ${told(p.size)}`);
    add(p.stopLoss, "stop", "stop");
    add(p.takeProfit, "target", "target");
    add(p.liqPrice, "liquidation", "liquidation");
  }
  for (const o of orders.filter((row) => row.symbol === symbol)) {
    const said = `${o.side.toLowerCase()} ${told(o.qty)}`;
    if (o.orderStatus !== "Untriggered") add(o.price, "order", said);
    else if (o.stopOrderType === "Stop") add(o.triggerPrice, "order", `${said}, conditional`);
  }
  return lines;
}

function show(seen) {
  const { symbol, account, ticker, book, candles, positions, orders, executions, market } = seen;
  choose(at("symbol"), seen.symbols, symbol);
  choose(at("account"), seen.accounts, account);
  if (shown !== account) equity.length = 0;
  shown = account;
  document.title = `${told(ticker.lastPrice)} ${symbol} · paper exchange`;
  const change = number(ticker.price24hPcnt) * 100;
  at("ticker").textContent =
    `${told(ticker.lastPrice)}  ${change >= 0 ? "+" : ""}${change.toFixed(2)} %   mark ${told(ticker.markPrice)}   ` +
    `index ${told(ticker.indexPrice)}   funding ${told(number(ticker.fundingRate) * 100, 4)} %`;
  at("ticker").className = sign(change);
  at("clock").textContent = `${moment(market.market_ms)} UTC · ${market.lockstep ? "lockstep" : `${told(market.speed)}×`} · ${sourceOf(market.source)}`;
  const faulty = seen.faults.faults.length;
  at("health").textContent = faulty ? `${faulty} fault${faulty > 1 ? "s" : ""} in force` : stateOf(market);
  at("health").className = faulty ? "warn" : "good";
  showBook(book, ticker.lastPrice);
  drawDepth(at("depth"), book.b.map((l) => l.map(Number)), book.a.map((l) => l.map(Number)));
  const minutes = candles.length > 1 ? Math.abs(candles[0][0] - candles[1][0]) / 60_000 : 1;
  at("interval").textContent = minutes === 1 ? "one minute" : `${minutes} minutes`;
  drawCandles(
    at("candles"),
    candles.map((c) => c.map(Number)).reverse(),
    linesOf(positions, orders, symbol),
    executions.filter((e) => e.symbol === symbol && e.execType !== "Funding")
      .map((e) => ({ ms: Number(e.execTime), price: Number(e.execPrice), side: e.side })),
  );
  equity.push([market.market_ms, number(seen.wallet.totalEquity)]);
  if (equity.length > 600) equity.shift();
  drawLine(at("equity"), equity);
  showWallet(seen.wallet);
  showPositions(positions);
  showOrders(orders);
  showExecutions(executions);
  showFaults(seen.faults);
}

async function refresh() {
  const wish = new URLSearchParams({ symbol: at("symbol").value, account: at("account").value });
  try {
    const answer = await fetch(`paper/window?${wish}`, { signal: AbortSignal.timeout(5000) });
    const seen = await answer.json();
    if (!answer.ok) throw new Error(seen.error);
    show(seen);
  } catch (error) {
    at("health").textContent = error.name === "TypeError" ? "exchange is away" : String(error.message);
    at("health").className = "bad";
  }
}

async function follow() {
  if (!document.hidden) await refresh();
  setTimeout(follow, EVERY_MS);
}

at("symbol").addEventListener("change", refresh);
at("account").addEventListener("change", refresh);
document.addEventListener("visibilitychange", refresh);
follow();
