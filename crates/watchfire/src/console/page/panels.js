// Sensors, brokers, reputations, DOTS and certificates.

import { h } from "./vendor/preact.mjs";
import { useState } from "./vendor/hooks.mjs";
import { post } from "./feed.js";
import { Badge, Empty, Head, Problem, Section, Table, useData } from "./parts.js";
import { Moment, Text, count, counted, dateOf, span } from "./text.js";

const when = (time) => h(Moment, { date: new Date(time) });
const number = "number";

export function Sensors() {
  const { data, error } = useData("/api/sensors", ["alert"], 5000);
  const head = [
    { name: "Sensor", class: "name" }, { name: "State", class: "narrow" }, { name: "From", class: "address" }, { name: "Connected for" },
    { name: "Last alert" }, { name: "Last minute", class: number }, { name: "5 minutes", class: number }, { name: "Since start", class: number },
  ];
  const ago = (micros) => `${span((data.now - micros) / 1e6)} ago`;
  return h("div", null, h(Head, { title: "Sensors" }, data && h("p", { class: "quiet" }, counted(data.count, "sensor"))),
    h(Problem, { error }),
    data && (data.sensors.length
      ? h(Table, { label: "Sensors", head, rows: data.sensors.map((sensor) => {
          const { connections, stats } = sensor;
          return { key: sensor.name, cells: [
            h(Text, { value: sensor.name, max: 60 }),
            connections.length ? h(Badge, { kind: "good" }, "connected") : h(Badge, { kind: "none" }, "away"),
            connections.length ? connections.map((one) => h("span", { class: "end", key: one.address }, one.address)) : "-",
            connections.length ? span((data.now - Math.min(...connections.map((one) => one.since))) / 1e6) : "-",
            stats ? h("span", { title: dateOf(stats.last).toISOString() }, ago(stats.last)) : "none yet",
            stats ? count(stats.minute) : "0", stats ? count(stats.five_minutes) : "0", stats ? count(stats.alerts) : "0",
          ] };
        }) })
      : h(Empty, { title: data.has_manager ? "No sensor has connected" : "No manager runs in this process" },
          data.has_manager ? "Start one: " : "Add one to the configuration: ",
          h("code", null, data.has_manager ? "watchfire iap sensor --connect HOST:PORT --manager-name NAME" : "[[iap.manager]]"))));
}

export function Broker() {
  const { data, error } = useData("/api/answers", ["answer"]);
  const [only, setOnly] = useState(false);
  const head = [
    { name: "Time", class: "time" }, { name: "Answer", class: "narrow" }, { name: "Question" }, { name: "Name", class: "wide" },
    { name: "Says", class: "wide" }, { name: "Account", class: "name" },
  ];
  const isVeto = (answer) => answer.status >= 300;
  // What an answer does not have is left out of it.
  const shown = data?.answers.filter((answer) => !only || isVeto(answer)).map((answer) => ({ names: [], addresses: [], ...answer })) ?? [];
  return h("div", null,
    h(Head, { title: "Broker" }, data && h("p", { class: "quiet" }, `${counted(data.total, "answer")}, of which ${counted(data.vetoes, "refusal")}`)),
    h(Problem, { error }),
    data && data.answers.length > 0 && h("label", { class: "check" }, h("input", { type: "checkbox", checked: only, onChange: (event) => setOnly(event.currentTarget.checked) }), "Refusals and vetoes only"),
    data && (shown.length
      ? h(Table, { label: "Answers of brokers", head, rows: shown.map((answer, at) => ({
          key: `${answer.time}/${data.answers.length - at}`,
          cells: [
            when(answer.time),
            h(Badge, { kind: isVeto(answer) ? "bad" : "good" }, isVeto(answer) ? `${answer.question.startsWith("Validate") ? "veto" : "refused"} ${answer.status}` : `${answer.status}`),
            answer.question.replace(/Request$/, ""),
            h("span", null, answer.names.map((name) => h("span", { class: "end", key: name }, h(Text, { value: name, max: 80 }))),
              answer.service && h("span", { class: "quiet" }, h(Text, { value: answer.service, max: 60 })), answer.port && h("span", { class: "quiet" }, ` port ${answer.port}`)),
            h("span", null, answer.description && h(Text, { value: answer.description, max: 160 }),
              answer.addresses.map((address) => h("span", { class: "end address", key: address }, h(Text, { value: address }))), answer.cached && h("span", { class: "quiet" }, " from memory")),
            answer.account ? h(Text, { value: answer.account, max: 48 }) : h("span", { class: "quiet" }, "none"),
          ],
        })) })
      : h(Empty, { title: only ? "Nothing was refused" : "No broker has answered yet" }, only ? "Every answer so far was positive." : "Bind a device and ask: ", !only && h("code", null, "watchfire obp connect --binding binding.json NAME SERVICE"))));
}

const score = (value) => (value === null || value === undefined ? "-" : value.toFixed(3));

function Opinions({ answer }) {
  const head = [{ name: "Rater", class: "name" }, { name: "Assertion" }, { name: "Rating", class: number }, { name: "Confidence", class: number }, { name: "Samples", class: number }, { name: "Made" }, { name: "Weight", class: number }];
  return h(Table, { label: "Who says what", head, rows: answer.opinions.map((one, at) => ({
    key: at,
    cells: [h(Text, { value: one.rater, max: 60 }), h(Text, { value: one.assertion, max: 40 }), score(one.rating), score(one.confidence), one.sample_size === null ? "-" : count(one.sample_size),
      one.generated ? h(Moment, { date: new Date(one.generated * 1000) }) : "-", one.reason ? h("span", { class: "quiet" }, one.reason) : score(one.weight)],
  })) });
}

function Found({ answer }) {
  return h("div", { class: "card found", "aria-live": "polite", id: "found" },
    h("h2", null, h(Text, { value: answer.subject, max: 80 })),
    answer.combined.length
      ? h("ul", { class: "ratings" }, answer.combined.map((one) => h("li", { key: one.assertion },
          h("span", { class: "rating-name" }, h(Text, { value: one.assertion })), h("meter", { min: 0, max: 1, value: one.rating, "aria-label": one.assertion }), h("span", { class: "rating-value" }, score(one.rating)),
          h("span", { class: "quiet" }, `${counted(one.opinions, "opinion")}, spread ${score(one.spread)}`))))
      : h("p", null, "No rater here has data that counts."),
    answer.opinions.length > 0 && h(Opinions, { answer }),
    answer.silent.length > 0 && h("p", { class: "quiet" }, "Nothing to say: ", answer.silent.map((name, at) => h("span", { key: name }, at ? ", " : "", h(Text, { value: name })))));
}

export function Reputations() {
  const { data, error } = useData("/api/reputations", ["reputation"]);
  const [question, setQuestion] = useState({ application: "", subject: "", assertion: "" });
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const send = async (event) => {
    event.preventDefault();
    try {
      setFound(await post("/api/reputations", { ...question, application: question.application || data.applications[0] || "email-id" }));
      setProblem(null);
    } catch (failure) {
      setProblem(failure.message);
    }
  };
  const input = (name, label, more) => h("div", { class: "field" }, h("label", { for: `r-${name}` }, label),
    h("input", { id: `r-${name}`, value: question[name], maxLength: 500, spellcheck: false, autocomplete: "off", ...more, onInput: (event) => setQuestion({ ...question, [name]: event.currentTarget.value }) }));
  const head = [{ name: "Time", class: "time" }, { name: "Subject", class: "wide" }, { name: "Asked by" }, { name: "Application" }, { name: "Who says what", class: "wide" }];
  return h("div", null,
    h(Head, { title: "Reputations" }, data && h("p", { class: "quiet" }, counted(data.raters.length, "rater"), " in this process")),
    h(Problem, { error }),
    data && (data.raters.length === 0
      ? h(Empty, { title: "No rater runs in this process" }, "Add one to the configuration: ", h("code", null, "[[repute.serve]]"))
      : h("form", { class: "filters", onSubmit: send, "aria-label": "Look up a reputation" },
          input("subject", "Name or address", { required: true, placeholder: "example.org" }),
          h("div", { class: "field" }, h("label", { for: "r-application" }, "Application"),
            h("select", { id: "r-application", value: question.application || data.applications[0] || "email-id", onChange: (event) => setQuestion({ ...question, application: event.currentTarget.value }) },
              (data.applications.length ? data.applications : ["email-id"]).map((name) => h("option", { value: name }, name)))),
          input("assertion", "Assertion", { placeholder: "all" }),
          h("button", { class: "primary", type: "submit" }, "Look up"))),
    h(Problem, { error: problem }),
    found && h(Found, { answer: found }),
    data && data.raters.length > 0 && h(Section, { title: "Recent answers" },
      data.answers.length
        ? h(Table, { label: "Recent answers", head, rows: data.answers.map((answer, at) => ({
            key: data.answers.length - at,
            cells: [when(answer.time), h(Text, { value: answer.subject, max: 80 }), answer.by, h(Text, { value: answer.application, max: 40 }),
              answer.opinions.length
                ? answer.opinions.slice(0, 6).map((one, at) => h("span", { class: "end", key: at }, h(Text, { value: one.rater, max: 40 }), h("span", { class: "quiet" }, ` ${one.assertion.slice(0, 40)} `), h("span", { class: "figure" }, score(one.rating))))
                : h("span", { class: "quiet" }, "no data")],
          })) })
        : h(Empty, { title: "Nobody has asked yet" }, "Look something up above, or ask with ", h("code", null, "watchfire repute query"))));
}

const good = /^attack-(mitigation-in-progress|successfully-mitigated|stopped)$/;
const list = (value) => (Array.isArray(value) ? value : value === undefined ? [] : [value]);
const prefixes = (mitigation, name) => list(mitigation[name]).map((one, at) => h("span", { class: "end address", key: at }, h(Text, { value: one })));

export function Dots() {
  const { data, error } = useData("/api/dots", ["dots"], 5000);
  const sessions = data?.states.flatMap((state, at) => state.sessions.map((session) => ({ ...session, role: state.role, key: `${at}/${session.peer}` }))) ?? [];
  const mitigations = data?.states.flatMap((state, at) => state.mitigations.map((mitigation) => ({ mitigation, role: state.role, key: `${at}/${mitigation.peer}/${mitigation.mid}` }))) ?? [];
  const dropped = (mitigation) => (mitigation["pkts-dropped"] === undefined ? "-" : `${count(Number(mitigation["pkts-dropped"]))} packets`);
  return h("div", null, h(Head, { title: "DOTS" }, h("p", { class: "quiet" }, "Call Home: attacks stopped at their source")),
    h(Problem, { error }),
    data && data.states.length === 0 && h(Empty, { title: "No DOTS service runs in this process" }, "Add one to the configuration: ", h("code", null, "[[dots.call-home-client]]"), " or ", h("code", null, "[[dots.call-home-server]]")),
    data && data.states.length > 0 && h("div", null,
      h(Section, { title: "Mitigations", aside: counted(mitigations.length, "mitigation") }, mitigations.length
        ? h(Table, { label: "Mitigations",
            head: [{ name: "Status" }, { name: "From", class: "address" }, { name: "To", class: "address" }, { name: "Peer", class: "name" }, { name: "mid", class: number }, { name: "Left", class: number }, { name: "Dropped", class: number }],
            rows: mitigations.map(({ mitigation, role, key }) => ({ key, cells: [
              h(Badge, { kind: good.test(mitigation.status ?? "") ? "good" : "none" }, h(Text, { value: mitigation.status ?? "asked for" })),
              prefixes(mitigation, "ietf-dots-call-home:source-prefix"), prefixes(mitigation, "target-prefix"),
              h("span", null, h("span", { class: "end" }, h(Text, { value: mitigation.peer, max: 48 })), h("span", { class: "quiet" }, `seen by ${role}`)), String(mitigation.mid), mitigation.lifetime === undefined ? "-" : mitigation.lifetime < 0 ? "no end" : span(mitigation.lifetime), dropped(mitigation),
            ] })) })
        : h(Empty, { title: "No mitigation is asked for" }, "Ask for one: ", h("code", null, "watchfire dots mitigate --api ADDR --peer NAME --mid 1 --source-prefix P --target-prefix P"))),
      h(Section, { title: "Sessions", aside: counted(sessions.filter((one) => one.session).length, "session up", "sessions up") }, sessions.length
        ? h(Table, { label: "Sessions", head: [{ name: "Peer", class: "name" }, { name: "State" }, { name: "Where", class: "address" }, { name: "Over" }, { name: "Seen by", class: "narrow" }],
            rows: sessions.map((one) => ({ key: one.key, cells: [h(Text, { value: one.peer, max: 60 }), h(Badge, { kind: one.session ? "good" : "bad" }, one.session ? "up" : "down"), one.session?.[0] ?? "-", one.session?.[1] ?? "-", one.role] })) })
        : h(Empty, { title: "Nobody has called yet" }, "Start ", h("code", null, "watchfire dots call-home-server"), " in the network of the sources.")),
      h(Section, { title: "What happened" }, data.changes.length
        ? h(Table, { label: "What happened", head: [{ name: "Time", class: "time" }, { name: "What" }, { name: "Status" }, { name: "Peer", class: "name" }, { name: "About", class: "address" }, { name: "Said by", class: "narrow" }],
            rows: data.changes.map((change, at) => ({ key: data.changes.length - at, cells: [when(change.time), change.kind, h(Text, { value: change.status, max: 80 }), h(Text, { value: change.peer, max: 48 }),
              change.kind === "session" ? h(Text, { value: change.members.address ?? "-", max: 60 }) : h("span", null, prefixes(change.members, "ietf-dots-call-home:source-prefix"), prefixes(change.members, "target-prefix")), change.role] })) })
        : h(Empty, { title: "Nothing yet" }, "Sessions and mitigations appear here as they change."))));
}

const closed = /cancel|invalid|revok/i;

export function Certificates() {
  const { data, error } = useData("/api/star", ["star"], 5000);
  const left = (order) => {
    if (order.not_after === null && order.status === "valid" && order.renews) {
      const [lifetime, end] = order.renews;
      return h("span", null, `at the CA, every ${span(lifetime)} or sooner`, h("span", { class: "quiet end" }, "until ", h(Moment, { date: new Date(end * 1000) })));
    }
    if (order.not_after === null) return h("span", { class: "quiet" }, order.status === "valid" ? "at the CA, where the delegate fetches it" : "no certificate yet");
    const seconds = order.not_after - data.now;
    return seconds > 0 ? h("span", null, "before ", h(Moment, { date: new Date(order.not_after * 1000) }), h("span", { class: "quiet" }, ` (in ${span(seconds)})`)) : h("span", { class: "quiet" }, `the last one ended ${span(-seconds)} ago`);
  };
  return h("div", null, h(Head, { title: "Certificates" }, data && h("p", { class: "quiet" }, counted(data.orders.length, "order"))),
    h(Problem, { error }),
    data && (data.orders.length
      ? h(Table, { label: "Orders", head: [{ name: "Names", class: "wide" }, { name: "Status" }, { name: "Rolls" }, { name: "Certificates", class: number }, { name: "Delegation" }, { name: "Held by", class: "narrow" }, { name: "Order", class: "name" }],
          rows: data.orders.map((order, at) => ({ key: at, cells: [
            order.names.map((name) => h("span", { class: "end", key: name }, h(Text, { value: name, max: 80 }))),
            h(Badge, { kind: closed.test(order.status) ? "bad" : order.status === "valid" ? "good" : "none" }, order.stopping ? "being stopped" : order.status),
            closed.test(order.status) ? h("span", { class: "quiet" }, "no more") : left(order), order.not_after === null ? "-" : count(order.certificates), order.delegation ? h(Text, { value: order.delegation, max: 40 }) : "-", order.role, h(Text, { value: order.order, max: 40 }),
          ] })) })
      : h(Empty, { title: "There are no orders" }, "Run a name owner, ", h("code", null, "[[lurk.ido]]"), ", or a delegate, ", h("code", null, "[[lurk.ndc]]"), ".")),
    data && data.changes.length > 0 && h(Section, { title: "What happened" },
      h(Table, { label: "What happened", head: [{ name: "Time", class: "time" }, { name: "What" }, { name: "Order", class: "name" }, { name: "Detail", class: "wide" }, { name: "Said by", class: "narrow" }],
        rows: data.changes.map((change, at) => ({ key: data.changes.length - at, cells: [when(change.time), change.what, h(Text, { value: change.order, max: 40 }), h(Text, { value: change.detail, max: 160 }), change.role] })) })));
}
