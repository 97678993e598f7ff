// What all views are made of.

import { h } from "./vendor/preact.mjs";
import { useEffect, useRef, useState } from "./vendor/hooks.mjs";
import { ask, on } from "./feed.js";
import { shown } from "./text.js";

/** Data of a path: asked for at once, when one of the events comes, and every so many milliseconds while the page is seen. */
export function useData(path, events = [], every = 0) {
  const [state, setState] = useState({ data: null, error: null });
  const again = useRef(() => {});
  useEffect(() => {
    let gone = false;
    let timer = 0;
    let busy = false;
    let wanted = false;
    const look = async () => {
      if (busy) {
        wanted = true;
        return;
      }
      busy = true;
      try {
        const data = await ask(path);
        if (!gone) setState({ data, error: null });
      } catch (error) {
        if (!gone) setState((old) => ({ data: old.data, error: error.message }));
      }
      busy = false;
      if (wanted && !gone) {
        wanted = false;
        soon();
      }
    };
    // Many events are one reason to look.
    const soon = () => {
      timer ||= setTimeout(() => {
        timer = 0;
        look();
      }, 200);
    };
    again.current = look;
    look();
    const offs = [...events, "gap", "state"].map((name) => on(name, soon));
    const beat = every ? setInterval(() => document.hidden || look(), every) : 0;
    return () => {
      gone = true;
      clearTimeout(timer);
      clearInterval(beat);
      offs.forEach((off) => off());
    };
  }, [path]);
  return { ...state, look: () => again.current() };
}

/** A table whose cells are named where it is too narrow to be one. */
export function Table({ caption, head, rows, label }) {
  return h("div", { class: "scroll", role: "region", "aria-label": label ?? caption, tabIndex: 0 },
    h("table", null,
      caption && h("caption", null, caption),
      h("thead", null, h("tr", null, head.map((column) =>
        h("th", { scope: "col", class: column.class }, column.name)))),
      h("tbody", null, rows.map((row) =>
        h("tr", { key: row.key, class: row.class }, row.cells.map((cell, at) =>
          h("td", { class: head[at].class, "data-label": head[at].name }, cell)))))));
}

/** Says that there is nothing, and what to do. */
export function Empty({ title, children }) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", null, children));
}

/** An error, or nothing. */
export function Problem({ error }) {
  return error ? h("p", { class: "problem", role: "alert" }, error) : null;
}

/** A head line with what stands beside it. */
export function Head({ title, children }) {
  return h("div", { class: "head" }, h("h1", { tabIndex: -1, id: "title" }, title), children);
}

/** A part of a page with a title of its own. */
export function Section({ title, aside, children }) {
  const id = `s-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section", { class: "section", "aria-labelledby": id },
    h("div", { class: "section-head" }, h("h2", { id }, title), aside && h("p", { class: "quiet" }, aside)),
    children);
}

/** A word in a frame; `kind` colours it. */
export function Badge({ kind, children }) {
  return h("span", { class: `badge ${kind}` }, children);
}

const severities = ["info", "low", "medium", "high"];

/** How severe: the word, not only a colour. */
export function Severity({ value }) {
  return severities.includes(value)
    ? h("span", { class: `severity ${value}` }, value)
    : h("span", { class: "severity none" }, value ? shown([...value].slice(0, 20).join("")) : "-");
}
