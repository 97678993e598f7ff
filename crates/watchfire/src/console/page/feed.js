// What comes from the server: answers to questions, and events as they happen.

const names = ["hello", "alert", "answer", "reputation", "dots", "star", "gap"];
const listeners = new Map();
let source;
let state = "connecting";
// What is under way ends with the session.
const underWay = new AbortController();

/** Calls `call` with the data of each event of this name, or with the state of the connection for "state". */
export function on(name, call) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(call);
  return () => listeners.get(name).delete(call);
}

function emit(name, data) {
  for (const call of [...(listeners.get(name) ?? [])]) call(data);
}

function become(next) {
  if (state !== next) emit("state", (state = next));
}

export const connection = () => state;

// What the server called the last event: a stream that begins there has missed nothing.
let at = "";
let again = 0;

function open() {
  clearTimeout(again);
  source?.close();
  source = new EventSource("/api/events");
  source.onopen = () => become("live");
  source.onerror = () => {
    become("waiting");
    // The browser comes again by itself, unless it was refused.
    if (source?.readyState === EventSource.CLOSED) {
      source.close();
      again = setTimeout(open, 5000);
    }
  };
  for (const name of names) {
    source.addEventListener(name, (event) => {
      const goesOn = name === "hello" && event.lastEventId === at;
      at = event.lastEventId;
      if (!goesOn) emit(name, JSON.parse(event.data));
    });
  }
}

/** Opens the stream of events, and opens it again whenever it ends. A page that nobody sees has none: browsers have few
    connections to one place, and those that are seen shall have them. */
export function start() {
  const look = () => {
    if (underWay.signal.aborted) return;
    if (!document.hidden) return open();
    clearTimeout(again);
    source?.close();
    become("waiting");
  };
  document.addEventListener("visibilitychange", look);
  look();
}

/** Ends the stream and all questions: this page is about to be left. */
export function stop() {
  clearTimeout(again);
  source?.close();
  underWay.abort();
}

/** Asks for JSON; throws an Error whose message is for people. */
export async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { signal: underWay.signal, ...options });
  } catch {
    throw new Error("Watchfire does not answer. This page goes on as soon as it does.");
  }
  if (answer.status === 401) {
    location.assign("/login");
    throw new Error("You are not logged in.");
  }
  let data;
  try {
    data = await answer.json();
  } catch {
    throw new Error(`Watchfire answered ${answer.status} without JSON.`);
  }
  if (!answer.ok) throw new Error(data.error ?? `Watchfire answered ${answer.status}.`);
  return data;
}

/** Asks with a JSON body. */
export function post(path, body) {
  return ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}
