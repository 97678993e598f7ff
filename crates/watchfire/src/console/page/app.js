// The frame: navigation, the theme, the state of the connection, and which view is shown.

import { h, render } from "./vendor/preact.mjs";
import { useEffect, useRef, useState } from "./vendor/hooks.mjs";
import { Alerts } from "./alerts.js";
import { Detail } from "./detail.js";
import { connection, on, start, stop } from "./feed.js";
import { Overview } from "./overview.js";
import { Broker, Certificates, Dots, Reputations, Sensors } from "./panels.js";
import { useData } from "./parts.js";

const views = [
  ["", "Overview", Overview], ["alerts", "Alerts", Alerts], ["sensors", "Sensors", Sensors], ["broker", "Broker", Broker],
  ["reputations", "Reputations", Reputations], ["dots", "DOTS", Dots], ["certificates", "Certificates", Certificates],
];

function place() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  let id = null;
  try {
    id = rest.length ? decodeURIComponent(rest.join("/")) : null;
  } catch {
    id = rest.join("/");
  }
  return { name, search, id };
}

function Theme() {
  const [theme, setTheme] = useState(globalThis.watchfireTheme.get());
  const choose = (event) => {
    globalThis.watchfireTheme.set(event.currentTarget.value);
    setTheme(event.currentTarget.value);
  };
  return h("label", { class: "theme" }, h("span", null, "Theme"),
    h("select", { id: "theme", value: theme, onChange: choose },
      [["auto", "System"], ["light", "Light"], ["dark", "Dark"]].map(([value, word]) => h("option", { value }, word))));
}

const said = { connecting: "Connecting", live: "Live", waiting: "Not connected: trying again" };

function State() {
  const [state, setState] = useState(connection());
  useEffect(() => on("state", setState), []);
  return h("p", { class: `state ${state}`, role: "status", id: "state" }, h("span", { class: "dot", "aria-hidden": "true" }), said[state]);
}

function LogOut() {
  const { data } = useData("/api/overview");
  return data?.has_token ? h("form", { method: "post", action: "/logout", onSubmit: stop }, h("button", { class: "plain", type: "submit" }, "Log out")) : null;
}

function App() {
  const [at, setAt] = useState(place);
  const main = useRef(null);
  const before = useRef(at.name + (at.id ?? ""));
  useEffect(() => {
    const move = () => setAt(place());
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);
  const [, title, View] = views.find(([name]) => name === at.name) ?? views[0];
  useEffect(() => {
    document.title = `${title} - Watchfire`;
    const now = at.name + (at.id ?? "");
    // Another view begins at its head line, for eyes and for screen readers.
    if (before.current !== now) {
      before.current = now;
      scrollTo(0, 0);
      main.current?.querySelector("h1")?.focus({ preventScroll: true });
    }
  }, [at.name, at.id]);
  const skip = (event) => {
    event.preventDefault();
    main.current?.focus();
  };
  return h("div", { class: "frame" },
    h("a", { class: "skip", href: "#main", onClick: skip }, "Skip to the content"),
    h("header", { class: "top" },
      h("a", { class: "brand", href: "#/" }, h("img", { src: "/assets/icon.svg", alt: "", width: 24, height: 24 }), "Watchfire"),
      h("nav", { "aria-label": "Views" }, h("ul", null, views.map(([name, word]) =>
        h("li", { key: name }, h("a", { href: `#/${name}`, "aria-current": name === at.name ? "page" : null }, word))))),
      h("div", { class: "tools" }, h(State), h(Theme), h(LogOut))),
    h("main", { id: "main", ref: main, tabIndex: -1 },
      at.name === "alerts" && at.id ? h(Detail, { id: at.id, key: at.id }) : h(View, { search: at.search, key: at.name })));
}

start();
render(h(App), document.getElementById("app"));
