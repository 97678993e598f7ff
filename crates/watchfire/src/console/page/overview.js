// What runs here, and what has happened, at a glance.

import { h } from "./vendor/preact.mjs";
import { AlertTable, TimeLine, filterOf, useAlerts } from "./alerts.js";
import { Empty, Head, Problem, Section, Table, useData } from "./parts.js";
import { Text, count, counted, span } from "./text.js";

function Tile({ href, name, value, children, quiet }) {
  return h("a", { class: `tile ${quiet ? "is-quiet" : ""}`, href }, h("span", { class: "tile-name" }, name), h("span", { class: "tile-value" }, value), h("span", { class: "tile-more" }, children));
}

export function Overview() {
  const { data, error } = useData("/api/overview", ["alert", "answer", "reputation", "dots", "star"], 5000);
  const alerts = useAlerts(filterOf("span=1h"), 8);
  const none = "not in this process";
  return h("div", null,
    h(Head, { title: "Overview" }, data && h("p", { class: "quiet" }, `Watchfire ${data.version}, up for ${span((data.now - data.since) / 1e6)}`)),
    h(Problem, { error }),
    data && data.problems.length > 0 && h("div", { class: "problem", role: "status" }, h("strong", null, "Not ready"), h("ul", null, data.problems.map((line) => h("li", { key: line }, h(Text, { value: line, max: 300 }))))),
    data && h("div", { class: "tiles" },
      h(Tile, { href: "#/alerts", name: "Alerts", value: count(data.alerts), quiet: !data.has.alerts }, data.has.alerts ? "kept since the start" : none),
      h(Tile, { href: "#/sensors", name: "Sensors", value: count(data.connected), quiet: !data.has.alerts }, data.has.alerts ? "connected now" : none),
      h(Tile, { href: "#/broker", name: "Broker", value: count(data.answers), quiet: !data.has.answers }, data.has.answers ? `answers, ${counted(data.vetoes, "refusal")}` : none),
      h(Tile, { href: "#/reputations", name: "Reputations", value: count(data.reputations), quiet: !data.has.reputations }, data.has.reputations ? `from ${counted(data.raters, "rater")} here` : none),
      h(Tile, { href: "#/dots", name: "Mitigations", value: count(data.mitigations), quiet: !data.has.dots }, data.has.dots ? `${counted(data.sessions, "session")} up` : none),
      h(Tile, { href: "#/certificates", name: "Certificate orders", value: count(data.orders), quiet: !data.has.star }, data.has.star ? "that renew themselves" : none)),
    h(Section, { title: "The last hour" }, h(TimeLine, { line: alerts.line })),
    h(Section, { title: "Latest alerts", aside: h("a", { href: "#/alerts" }, "All alerts") },
      h(Problem, { error: alerts.error }),
      alerts.rows && (alerts.rows.length
        ? h(AlertTable, { rows: alerts.rows })
        : h(Empty, { title: "No alerts in the last hour" }, h("a", { href: "#/alerts" }, "See those from before.")))),
    data && h(Section, { title: "Services", aside: counted(data.services.length, "service") },
      data.services.length
        ? h(Table, { label: "Services", head: [{ name: "Service" }, { name: "Where", class: "address" }],
            rows: data.services.map((service, at) => ({ key: at, cells: [service.name, h(Text, { value: service.place })] })) })
        : h(Empty, { title: "Nothing runs" }, "Add a table such as [[iap.manager]] to the configuration.")));
}
