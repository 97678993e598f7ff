// Text of strangers: never markup, never able to turn its surroundings around, and what cannot be seen is shown.

import { h } from "./vendor/preact.mjs";
import { useState } from "./vendor/hooks.mjs";

// Controls, format characters (all that steer bidirectional text among them), private use, and separators of lines.
const hidden = /[\p{Cc}\p{Cf}\p{Co}\u2028\u2029\u115f\u1160\u3164\uffa0]/u;
const pieces = /([\p{Cc}\p{Cf}\p{Co}\u2028\u2029\u115f\u1160\u3164\uffa0])/u;

/** Children that show a text, hidden characters as their numbers. `lines` leaves tabs and ends of lines as they are. */
export function shown(text, lines = false) {
  if (!hidden.test(text)) return [text];
  return text.split(pieces).map((piece) => {
    if (!hidden.test(piece) || (lines && (piece === "\n" || piece === "\t"))) return piece;
    const number = piece.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    return h("span", { class: "hidden-character", title: `U+${number}` }, number);
  });
}

/** A text by itself; a long one can be opened. */
export function Text({ value, max = 120, class: name }) {
  const [open, setOpen] = useState(false);
  const text = String(value ?? "");
  const characters = text.length > max ? [...text] : null;
  if (!characters || characters.length <= max) return h("bdi", { class: `text ${name ?? ""}` }, shown(text));
  const part = open ? text : characters.slice(0, max).join("");
  return h("span", { class: "long" },
    h("bdi", { class: `text ${name ?? ""}` }, shown(part), open ? null : "\u2026"),
    h("button", {
      type: "button", class: "more", "aria-expanded": String(open),
      onClick: (event) => { event.stopPropagation(); setOpen(!open); },
    }, open ? "less" : `all ${count(characters.length)} characters`));
}

const numbers = new Intl.NumberFormat("en");

/** A number, with its thousands apart. */
export const count = (number) => numbers.format(number ?? 0);

/** "1 alert", "2 alerts". */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

const two = (number) => String(number).padStart(2, "0");

function parts(date) {
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return { day, time };
}

/** A Date of microseconds since 1970. */
export const dateOf = (micros) => new Date(micros / 1000);

/** A moment in local time; the day only when it is not today. Takes a Date. */
export function Moment({ date, exact = false }) {
  if (Number.isNaN(date.getTime())) return h("span", null, "-");
  const { day, time } = parts(date);
  const today = parts(new Date()).day === day;
  return h("time", { dateTime: date.toISOString(), title: date.toISOString() }, exact || !today ? `${day} ${time}` : time);
}

/** A span of seconds in words: the largest two units. */
export function span(seconds) {
  const all = Math.max(0, Math.floor(seconds));
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => all >= size);
  if (first < 0) return "0 s";
  const words = [];
  let rest = all;
  for (const [size, name] of units.slice(first, first + 2)) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number) words.push(`${number} ${name}`);
  }
  return words.join(" ");
}
