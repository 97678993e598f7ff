// Alerts: filters, the time line, and the list that grows at its top.

import { h } from "./vendor/preact.mjs";
import { useEffect, useRef, useState } from "./vendor/hooks.mjs";
import { ask, on } from "./feed.js";
import { Empty, Head, Problem, Severity, Table } from "./parts.js";
import { Moment, Text, count, counted, dateOf } from "./text.js";

const most = 500;
const spans = { "15m": 900, "1h": 3600, "24h": 86400, "7d": 604800, "30d": 2592000 };
const names = { "15m": "Last 15 minutes", "1h": "Last hour", "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days" };
const members = ["source", "target", "text", "severity", "sensor", "span", "since", "until"];

/** The filter that an address names. */
export function filterOf(search) {
  const from = new URLSearchParams(search);
  return Object.fromEntries(members.map((name) => [name, from.get(name) ?? ""]));
}

function addressOf(filter) {
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value));
  return `#/alerts${query.size ? `?${query}` : ""}`;
}

function queryOf(filter) {
  const query = new URLSearchParams();
  for (const name of ["source", "target", "text", "severity", "sensor", "since", "until"]) {
    if (filter[name]) query.set(name, filter[name]);
  }
  if (!filter.since && spans[filter.span]) query.set("since", String((Date.now() - spans[filter.span] * 1000) * 1000));
  return query;
}

/** Whether the server has to say which of the new alerts are wanted. */
const isNarrow = (filter) => ["source", "target", "text", "severity", "sensor", "since", "until"].some((name) => filter[name]);

const keyOf = (row) => `${row.id}/${row.item}`;

/** Alerts that a filter admits: those there are, and those that come. */
export function useAlerts(filter, limit) {
  const query = queryOf(filter).toString();
  const key = JSON.stringify(filter);
  const [state, setState] = useState({ rows: null, line: null, error: null, waiting: [], fresh: 0 });
  const [paused, setPaused] = useState(false);
  const hold = useRef(false);
  hold.current = paused;
  useEffect(() => {
    let gone = false;
    let last = 0;
    let begins = 0;
    let timer = 0;
    let loads = 0;
    let meanwhile = [];
    const add = (rows) => {
      if (gone || !rows.length) return;
      // An answer that is under way may not have them.
      if (loads) meanwhile = [...rows, ...meanwhile].slice(0, most);
      setState((old) => {
        if (!old.rows) return old;
        const known = new Set([...old.rows, ...old.waiting].map(keyOf));
        const fresh = rows.filter((row) => !known.has(keyOf(row)));
        if (!fresh.length) return old;
        if (hold.current) return { ...old, waiting: [...fresh, ...old.waiting].slice(0, most) };
        return merged(old, fresh, limit);
      });
    };
    const load = async () => {
      const asked = queryOf(filter);
      asked.set("limit", String(limit));
      loads += 1;
      try {
        const found = await ask(`/api/alerts?${asked}`);
        if (gone) return;
        last = found.last;
        setState((old) => ({ ...old, ...found, error: null, waiting: [], fresh: 0 }));
        loads -= 1;
        const late = meanwhile;
        if (!loads) meanwhile = [];
        add(late);
        // Events come from there on, and this answer is older.
        if (begins > last) load();
      } catch (error) {
        loads -= 1;
        if (!gone) setState((old) => ({ ...old, error: error.message }));
      }
    };
    const more = () => {
      timer ||= setTimeout(async () => {
        timer = 0;
        const asked = queryOf(filter);
        asked.set("after", String(last));
        try {
          const found = await ask(`/api/alerts?${asked}`);
          last = found.last;
          add(found.rows);
        } catch {
          // The next event asks again, and the state of the connection is shown.
        }
      }, 150);
    };
    load();
    const offs = [
      on("alert", (rows) => (isNarrow(filter) ? more() : add(rows))),
      on("gap", load),
      on("hello", (number) => {
        begins = number;
        if (!loads && number > last) load();
      }),
    ];
    return () => {
      gone = true;
      clearTimeout(timer);
      offs.forEach((off) => off());
    };
  }, [key, limit]);
  const release = () => {
    setPaused(false);
    setState((old) => (old.waiting.length ? merged({ ...old, waiting: [] }, old.waiting, limit) : old));
  };
  return { ...state, query, paused, pause: () => setPaused(true), release };
}

function merged(old, fresh, limit) {
  const rows = [...fresh, ...old.rows].sort((a, b) => b.received - a.received).slice(0, limit);
  return {
    ...old, rows, matched: old.matched + fresh.length, fresh: old.fresh + fresh.length,
    line: fresh.reduce(counting, old.line),
  };
}

const ranks = { info: 1, low: 2, medium: 3, high: 4 };

/** The time line with one alert more; it moves on when the alert is later than its end. */
function counting(line, row) {
  let { start, bars } = line;
  const { width } = line;
  let at = Math.floor((row.received - start) / width);
  if (at < 0) return line;
  bars = bars.slice();
  if (at >= bars.length) {
    const steps = at - bars.length + 1;
    bars = [...bars.slice(steps), ...Array.from({ length: Math.min(steps, bars.length) }, () => [0, 0, 0, 0, 0])];
    start += steps * width;
    at = bars.length - 1;
  }
  bars[at] = bars[at].map((number, rank) => (rank === (ranks[row.severity] ?? 0) ? number + 1 : number));
  return { start, width, bars };
}

const kinds = ["none", "info", "low", "medium", "high"];
const height = 72;

/** Alerts by time, as bars whose parts are severities. */
export function TimeLine({ line, onPick }) {
  if (!line) return h("div", { class: "timeline", "aria-hidden": "true" });
  const totals = line.bars.map((bar) => bar.reduce((sum, number) => sum + number, 0));
  const top = Math.max(1, ...totals);
  const all = totals.reduce((sum, number) => sum + number, 0);
  const from = dateOf(line.start);
  const to = dateOf(line.start + line.width * line.bars.length);
  const wide = 10;
  const bars = line.bars.flatMap((bar, at) => {
    if (!totals[at]) return [];
    const begin = dateOf(line.start + at * line.width);
    let y = height;
    const pieces = bar.map((number, rank) => {
      const size = number ? Math.max(2, (number / top) * (height - 4)) : 0;
      y -= size;
      return size ? h("rect", { class: `bar ${kinds[rank]}`, x: at * wide + 1, y: Math.max(0, y), width: wide - 2, height: size }) : null;
    });
    const pick = onPick && (() => onPick(line.start + at * line.width, line.start + (at + 1) * line.width));
    return [h("g", { class: onPick ? "pick" : "", onClick: pick },
      h("title", null, `${counted(totals[at], "alert")} from ${begin.toLocaleString()}`),
      h("rect", { class: "field", x: at * wide, y: 0, width: wide, height }), pieces)];
  });
  const busiest = totals.indexOf(Math.max(...totals));
  const words = all
    ? `${counted(all, "alert")} between ${from.toLocaleString()} and ${to.toLocaleString()}; most, ${count(totals[busiest])}, from ${dateOf(line.start + busiest * line.width).toLocaleString()}`
    : `No alerts between ${from.toLocaleString()} and ${to.toLocaleString()}`;
  return h("figure", { class: "timeline" },
    h("svg", { viewBox: `0 0 ${line.bars.length * wide} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": words }, bars),
    h("figcaption", null,
      h("span", null, h(Moment, { date: from })),
      h("span", { class: "legend" }, kinds.slice(1).reverse().map((kind) => h("span", { class: `key ${kind}` }, kind)),
        h("span", { class: "quiet" }, `peak ${count(Math.max(...totals))}`)),
      h("span", null, h(Moment, { date: to }))));
}

const ends = (list) => list.length
  ? list.map((end, at) => h("span", { class: "end", key: at }, h(Text, { value: end, max: 48 })))
  : h("span", { class: "quiet" }, "-");

/** The list of alerts. */
export function AlertTable({ rows, caption }) {
  const head = [
    { name: "Time", class: "time" }, { name: "Severity", class: "narrow" }, { name: "Alert", class: "wide" },
    { name: "Source", class: "address" }, { name: "Target", class: "address" }, { name: "Sensor", class: "name" },
  ];
  return h(Table, {
    caption, head, label: "Alerts",
    rows: rows.map((row) => ({
      key: keyOf(row), class: row.severity === "high" ? "urgent" : "",
      cells: [
        h(Moment, { date: dateOf(row.received) }),
        row.kind === "alert" ? h(Severity, { value: row.severity }) : h("span", { class: "quiet" }, row.kind),
        h(Titled, { row }),
        ends(row.source), ends(row.target),
        h(Text, { value: row.sensor, max: 32 }),
      ],
    })),
  });
}

/** The classification is the link; what opens a long one stands beside it. */
function Titled({ row }) {
  const max = 100;
  const characters = [...row.text];
  const [open, setOpen] = useState(false);
  const is = characters.length > max;
  return h("span", { class: "long" },
    h("a", { href: `#/alerts/${row.id}`, class: "title" },
      h(Text, { value: is && !open ? `${characters.slice(0, max).join("")}\u2026` : row.text || "(no text)", max: 100000 })),
    is && h("button", { type: "button", class: "more", "aria-expanded": String(open), onClick: () => setOpen(!open) }, open ? "less" : "more"));
}

const local = (micros) => {
  if (!micros) return "";
  const date = dateOf(Number(micros));
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
};
const micros = (text) => (text ? String(new Date(text).getTime() * 1000) : "");

function Filters({ filter, set }) {
  // What is typed counts a moment after the last key.
  const [typed, setTyped] = useState(filter);
  const timer = useRef(0);
  useEffect(() => setTyped(filter), [JSON.stringify(filter)]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const change = (name, value, wait) => {
    const next = { ...typed, [name]: value };
    if (name === "span") next.since = next.until = "";
    setTyped(next);
    clearTimeout(timer.current);
    if (wait) timer.current = setTimeout(() => set(next), 250);
    else set(next);
  };
  const field = (name, label, hint) => h("div", { class: "field" },
    h("label", { for: `f-${name}` }, label),
    h("input", { id: `f-${name}`, type: "search", value: typed[name], placeholder: hint, maxLength: 200, spellcheck: false, autocomplete: "off",
      onInput: (event) => change(name, event.currentTarget.value, true) }));
  const time = (name, label) => h("div", { class: "field" },
    h("label", { for: `f-${name}` }, label),
    h("input", { id: `f-${name}`, type: "datetime-local", step: 1, value: local(typed[name]),
      onChange: (event) => change(name, micros(event.currentTarget.value), false) }));
  const choice = (name, label, first, options) => h("div", { class: "field" },
    h("label", { for: `f-${name}` }, label),
    h("select", { id: `f-${name}`, value: typed[name], onChange: (event) => change(name, event.currentTarget.value, false) },
      h("option", { value: "" }, first), options.map(([value, word]) => h("option", { value }, word))));
  const used = members.filter((name) => filter[name]).length;
  return h("form", { class: "filters", role: "search", "aria-label": "Filter alerts", onSubmit: (event) => { event.preventDefault(); set(typed); } },
    field("text", "Text", "name or id"),
    field("source", "Source", "192.0.2.0/24"),
    field("target", "Target", "2001:db8::/32"),
    field("sensor", "Sensor", "name"),
    choice("severity", "Severity", "any", [["info", "info and above"], ["low", "low and above"], ["medium", "medium and above"], ["high", "high"]]),
    choice("span", "Time", "all", Object.entries(names)),
    h("details", { class: "times", open: Boolean(filter.since || filter.until) },
      h("summary", null, "From and until"), h("div", { class: "pair" }, time("since", "From"), time("until", "Until"))),
    h("button", { type: "button", class: "plain clear", disabled: !used, onClick: () => set(filterOf("")) }, "Clear filters"));
}

/** Tells what is new, aloud but seldom. */
function News({ fresh }) {
  const [words, setWords] = useState("");
  const told = useRef(0);
  const timer = useRef(0);
  const now = useRef(fresh);
  now.current = fresh;
  useEffect(() => {
    if (fresh < told.current) told.current = fresh;
    if (fresh === told.current || timer.current) return;
    timer.current = setTimeout(() => {
      timer.current = 0;
      setWords(`${counted(now.current - told.current, "new alert")}`);
      told.current = now.current;
    }, 3000);
  }, [fresh]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return h("p", { class: "unseen", "aria-live": "polite", "aria-atomic": "true", id: "news" }, words);
}

export function Alerts({ search }) {
  const filter = filterOf(search);
  const alerts = useAlerts(filter, most);
  const { rows, waiting, paused } = alerts;
  const set = (next) => {
    // No entry of the history for each letter.
    history.replaceState(null, "", addressOf(next));
    dispatchEvent(new HashChangeEvent("hashchange"));
  };
  const is = members.some((name) => filter[name]);
  const about = rows && [
    `${counted(alerts.matched, "alert")}${is ? " match" : ""}`,
    alerts.matched > rows.length ? `the newest ${count(rows.length)} are shown` : null,
    alerts.is_cut ? `of the newest ${count(alerts.scanned)} that were looked at` : null,
    alerts.is_stored ? null : "kept in memory only",
  ].filter(Boolean).join(", ");
  return h("div", null,
    h(Head, { title: "Alerts" },
      h("button", { type: "button", class: "plain", "aria-pressed": String(paused), onClick: paused ? alerts.release : alerts.pause, id: "pause" },
        paused ? `Go on${waiting.length ? ` (${count(waiting.length)} new)` : ""}` : "Pause")),
    h(Filters, { filter, set }),
    h(Problem, { error: alerts.error }),
    h(TimeLine, { line: alerts.line, onPick: (since, until) => set({ ...filter, span: "", since: String(since), until: String(until) }) }),
    h("p", { class: "quiet about", id: "about" }, about ?? (alerts.error ? "" : "Looking\u2026")),
    h(News, { fresh: alerts.fresh }),
    rows && rows.length > 0 && h(AlertTable, { rows }),
    rows && rows.length === 0 && (is
      ? h(Empty, { title: "No alert matches" }, "Take a filter away, or choose a longer time.")
      : h(Empty, { title: "No alerts yet" }, "They appear here as soon as a sensor sends one: start ", h("code", null, "watchfire iap sensor --eve eve.json"), " and let it connect to the manager of this process.")));
}
