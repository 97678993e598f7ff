// One alert, as a page to read.

import { h } from "./vendor/preact.mjs";
import { Badge, Empty, Head, Problem, Section, Severity, useData } from "./parts.js";
import { Moment, Text, count, dateOf, shown } from "./text.js";

const deepest = 24;
const longest = 200;

/** A name of IDMEF in words: "create_time" and "CreateTime" are both "create time". */
function words(name) {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/[_-]+/g, " ").toLowerCase();
}

const isPlain = (value) => value === null || typeof value !== "object";

/** Additional data: a value, and what it means. */
const isSaying = (part) => !isPlain(part) && typeof part.meaning === "string" && Object.keys(part).length === 2 && Object.values(part).every(isPlain);

function Saying({ part }) {
  const [, value] = Object.entries(part).find(([name]) => name !== "meaning");
  return h("div", null, h("dt", null, h(Text, { value: part.meaning, max: 80 })), h("dd", null, h(Text, { value: value ?? "-", max: 400 })));
}

/** A value as a list of names and what they say. */
function Tree({ value, depth = 0 }) {
  if (isPlain(value)) return h(Text, { value: value === null ? "-" : value, max: 400 });
  if (depth >= deepest) return h("span", { class: "quiet" }, "deeper than is shown here: see the raw message");
  if (Array.isArray(value)) {
    const parts = value.slice(0, longest);
    const rest = value.length - parts.length;
    if (parts.every(isSaying)) return h("dl", { class: "tree" }, parts.map((part, at) => h(Saying, { key: at, part })));
    if (parts.every(isPlain)) return h("ul", { class: "plain-list" }, parts.map((part, at) => h("li", { key: at }, h(Tree, { value: part, depth: depth + 1 }))));
    return h("div", { class: "parts" },
      parts.map((part, at) => h("div", { class: "part", key: at }, h(Tree, { value: part, depth: depth + 1 }))),
      rest > 0 && h("p", { class: "quiet" }, `and ${count(rest)} more: see the raw message`));
  }
  return h("dl", { class: "tree" }, Object.entries(value).map(([name, part]) => h("div", { key: name, class: isPlain(part) ? "" : "deep" },
    h("dt", null, h("bdi", null, shown(words(name)))), h("dd", null, h(Tree, { value: part, depth: depth + 1 })))));
}

function End({ title, list }) {
  return h("div", { class: "card" }, h("h3", null, title),
    list.length ? list.map((end, at) => h("p", { class: "address big", key: at }, h(Text, { value: end, max: 80 }))) : h("p", { class: "quiet" }, "not said"));
}

function Fact({ name, wide, children }) {
  return h("div", { class: wide ? "all" : "" }, h("dt", null, name), h("dd", null, children));
}

export function Detail({ id }) {
  const { data, error } = useData(`/api/alerts/${encodeURIComponent(id)}`);
  const back = h("a", { class: "plain", href: "#/alerts" }, "All alerts");
  if (!data) {
    return h("div", null, h(Head, { title: "Alert" }, back), h(Problem, { error }), !error && h("p", { class: "quiet" }, "Looking\u2026"));
  }
  const first = data.rows[0];
  return h("div", { class: "detail" },
    h(Head, { title: "Alert" }, back),
    data.rows.map((row) => h("section", { class: "summary", key: row.item, "aria-label": "Summary" },
      h("p", { class: "what" }, row.kind === "alert" ? h(Severity, { value: row.severity }) : h(Badge, { kind: "none" }, row.kind), " ", h(Text, { value: row.text, max: 240, class: "title" })),
      row.kind === "alert" && h("div", { class: "flow" }, h(End, { title: "Source", list: row.source }), h("span", { class: "arrow", "aria-hidden": "true" }, "\u2192"), h(End, { title: "Target", list: row.target })))),
    !first && h(Empty, { title: "This message has no alert" }, "Below is all that it says."),
    h(Section, { title: "How it came" }, h("dl", { class: "facts" },
      h(Fact, { name: "Received" }, h(Moment, { date: dateOf(data.received), exact: true })),
      h(Fact, { name: "Sensor" }, h(Text, { value: data.sensor })),
      h(Fact, { name: "Media type" }, h(Text, { value: data.content_type })),
      h(Fact, { name: "Size" }, `${count(data.octets)} octets`),
      h(Fact, { name: "SHA-256", wide: true }, h("code", { class: "digest" }, data.sha256)))),
    data.idmef && h(Section, { title: "What it says" }, h(Tree, { value: data.idmef })),
    h(Section, { title: "Raw message", aside: data.is_cut ? "the first 1 048 576 octets" : null },
      h("details", { class: "raw", open: !data.idmef },
        h("summary", null, data.raw === null ? "As base64: it is not text" : "As it was received"),
        h("pre", { tabIndex: 0, "aria-label": "Raw message" }, h("bdi", null, shown(data.raw ?? data.base64 ?? "", true))))));
}
