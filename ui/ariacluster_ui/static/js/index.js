// What all components share: the state `A.s`, fed by the server once a second, words, numbers and ways.
//
// A.push(number, news)  the server's, once a second; whoever misses one asks for everything anew (A.boot)
// A.go(path)            another page of ours, without a load
// A.query(changes)      view state into the URL, without a new page: null takes a key away
// A.toast({text, tone, action, id})
import { reactive, watch, nextTick } from "vue";
import * as format from "./format.js";

export { format };
export { Icon } from "./icon.js";
export { Menu } from "./menu.js";

// The address of this file is the only thing that knows, from the first moment, what a reverse proxy put before our paths.
export const prefix = new URL(import.meta.url).pathname.split("/_nicegui/")[0];
export const url = (path) => prefix + path;

const SPAN = 300;
const HISTORY = 200;
const WORDS = window.AC_WORDS || {};

export function t(key, values = {}) {
  let text = (values.n === 1 && WORDS[`${key}.one`]) || WORDS[key] || key;
  for (const [name, value] of Object.entries(values)) {
    // A function: in a text that replaces another, `$&` and the like would mean something.
    text = text.replaceAll(`{${name}}`, () => (typeof value === "number" ? format.count(value) : String(value)));
  }
  return text;
}

export const s = reactive({
  n: 0, // number of the last tick
  ready: false, // whether anything was heard
  now: Date.now() / 1000, // the server's clock, in seconds
  glance: {},
  members: {}, // node id -> who it is
  loads: {}, // node id -> what it does
  speeds: {}, // node id -> [down, up]
  fast: [],
  history: [], // the newest first
  at: 0, // when the last point of the series was taken
  down: [],
  up: [],
  nodes: {}, // node id -> its download speeds of the last minutes
  sparks: {}, // task id -> its last speeds
  path: location.pathname.slice(prefix.length) || "/",
  search: location.search,
  online: true, // the server of the web app is there
  offlineSince: 0,
  theme: window.AC_THEME || "auto",
  dark: false,
  phone: false,
  calm: matchMedia("(prefers-reduced-motion: reduce)").matches,
  toasts: [],
  tick: 0, // ms, performance.now() of the last tick
});

let booting = null;
let waiting = [];

const bytes = (coarse) => coarse * 10000;

async function load() {
  // The first one was asked for in the head of the page, while this was still on its way.
  const early = window.AC_BOOT;
  window.AC_BOOT = null;
  const answer = (await early) || (await fetch(url("/ui/boot"), { cache: "no-store" }));
  if (!answer.ok) throw new Error(`boot: ${answer.status}`);
  const all = await answer.json();
  s.glance = all.glance;
  s.now = all.glance.now || s.now;
  s.members = all.members;
  s.loads = all.loads;
  s.speeds = all.speeds;
  s.fast = all.fast;
  s.history = all.history.reverse();
  s.at = all.series.at;
  s.down = all.series.down.map(bytes);
  s.up = all.series.up.map(bytes);
  s.nodes = Object.fromEntries(Object.entries(all.series.nodes).map(([id, row]) => [id, row.map(bytes)]));
  s.n = all.n;
  s.ready = true;
  s.tick = performance.now();
  keepSparks();
  return all.n;
}

// Everything anew; what is told meanwhile is kept and applied after it.
export function boot() {
  if (booting) return booting;
  booting = (async () => {
    for (let pause = 500; ; pause = Math.min(5000, pause * 2)) {
      try {
        const n = await load();
        const told = waiting;
        waiting = [];
        for (const [number, news] of told) {
          if (number > n) apply(number, news);
          else hear(news.filter((one) => !BOOTED.has(one.k)));
        }
        booting = null;
        return;
      } catch (error) {
        if (window.AC_UNLOADING) return;
        await new Promise((done) => setTimeout(done, pause));
      }
    }
  })();
  return booting;
}

function push(number, news) {
  if (booting) {
    waiting.push([number, news]);
    if (waiting.length > 20) waiting.shift();
  } else if (number > s.n + 1 || !s.ready) {
    waiting.push([number, news]);
    boot();
  } else if (number > s.n) {
    apply(number, news);
  } else {
    hear(news.filter((one) => !BOOTED.has(one.k)));
  }
}

// What `boot` tells, too. The rows of a page are told once only: they are not to be lost when boot was quicker.
const BOOTED = new Set(["glance", "members", "loads", "fast", "history"]);

const readers = {
  glance(news) {
    s.glance = news;
    s.now = news.now;
    s.at = news.now;
    extend(s.down, news.down || 0);
    extend(s.up, news.up || 0);
  },
  members(news) {
    merge(s.members, news);
    for (const id of news.gone) delete s.loads[id];
  },
  loads(news) {
    merge(s.loads, news);
    s.speeds = news.speeds;
    for (const id of Object.keys(s.nodes)) extend(s.nodes[id], news.speeds[id]?.[0] || 0);
    for (const id of Object.keys(news.speeds)) {
      if (!s.nodes[id]) s.nodes[id] = [...Array(Math.max(0, s.down.length - 1)).fill(0), news.speeds[id][0]];
    }
  },
  // Rows keep their places for a while: who reads is not to be chased by what he reads.
  fast(news) {
    const anew = s.n % 10 === 0;
    const now = new Map(news.rows.map((row) => [row.id, row]));
    const kept = anew ? [] : s.fast.map((row) => now.get(row.id)).filter(Boolean);
    const known = new Set(kept.map((row) => row.id));
    s.fast = [...kept, ...news.rows.filter((row) => !known.has(row.id))];
    keepSparks();
  },
  history(news) {
    const newest = s.history[0]?.seq ?? 0;
    const fresh = news.rows.filter((row) => row.seq > newest).reverse();
    if (fresh.length) s.history = [...fresh, ...s.history].slice(0, HISTORY);
  },
};

function apply(number, news) {
  s.n = number;
  s.tick = performance.now();
  // The order matters: the time axis first, then what is measured along it.
  const order = { glance: 0, members: 1 };
  news.sort((a, b) => (order[a.k] ?? 2) - (order[b.k] ?? 2));
  hear(news);
}

function hear(news) {
  for (const one of news) (readers[one.k] || (() => {}))(one);
}

// A page with rows of its own says how to read them; the answer takes it back.
export function reads(kind, reader) {
  readers[kind] = reader;
  return () => {
    if (readers[kind] === reader) delete readers[kind];
  };
}

// One piece of news for this tab alone.
export const tell = (news) => (readers[news.k] || (() => {}))(news);

function merge(into, news) {
  for (const [id, row] of Object.entries(news.set)) into[id] = Object.assign(into[id] || {}, row);
  for (const id of news.gone) delete into[id];
}

function extend(row, value) {
  row.push(value);
  if (row.length > SPAN) row.splice(0, row.length - SPAN);
}

function keepSparks() {
  const kept = {};
  for (const row of s.fast) {
    const points = s.sparks[row.id] || [row.speed];
    extend(points, row.speed);
    kept[row.id] = points.slice(-60);
  }
  s.sparks = kept;
}

// -- ways

// `seen`: how each page was looked at last, so that the way back to it leads to the same view.
const seen = { [s.path]: s.search };
export const asSeen = (path) => path + (seen[path] || "");
const place = () => {
  s.path = decodeURI(location.pathname).slice(prefix.length) || "/";
  s.search = location.search;
  if (s.search || seen[s.path]) seen[s.path] = s.search;
};
for (const name of ["pushState", "replaceState"]) {
  const before = history[name].bind(history);
  history[name] = (...rest) => {
    before(...rest);
    place();
  };
}
addEventListener("popstate", place);

export function go(path) {
  window.emitEvent("sub_pages_navigate", path);
}

export function params() {
  return new URLSearchParams(s.search);
}

export function query(changes) {
  const now = params();
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") now.delete(key);
    else now.set(key, value);
  }
  const text = now.toString();
  const path = (s.path || "/") + (text ? `?${text}` : "");
  history.replaceState({ page: path }, "", url(path));
}

// -- light and dark

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

export function theme(choice) {
  if (choice) {
    s.theme = choice;
    try {
      localStorage.setItem("ac-theme", choice);
    } catch {
      // a browser that keeps nothing goes by the system's choice again next time
    }
  }
  s.dark = s.theme === "dark" || (s.theme === "auto" && prefersDark.matches);
  document.documentElement.dataset.theme = s.dark ? "dark" : "light";
  window.Quasar?.Dark?.set(s.dark);
}
prefersDark.addEventListener("change", () => theme());

const narrow = matchMedia("(max-width: 820px)");
const measure = () => {
  s.phone = narrow.matches;
};
narrow.addEventListener("change", measure);
measure();
matchMedia("(prefers-reduced-motion: reduce)").addEventListener("change", (event) => {
  s.calm = event.matches;
});

// -- the line to the server of the web app

let told = null;
function attend() {
  const socket = window.socket;
  if (!socket || socket === told) return setTimeout(attend, 200);
  told = socket;
  const up = () => {
    s.online = true;
  };
  socket.on("connect", up);
  socket.on("disconnect", () => {
    s.online = false;
    s.offlineSince = Date.now() / 1000;
  });
  if (socket.connected) up();
  return undefined;
}
addEventListener("beforeunload", () => {
  window.AC_UNLOADING = true;
});

// -- what is told to a person

let toastId = 0;
export function toast(said) {
  const one = { tone: "plain", id: `t${(toastId += 1)}`, seconds: said.action ? 8 : 5, ...said };
  s.toasts = [...s.toasts.filter((other) => other.id !== one.id), one].slice(-3);
  setTimeout(() => dismiss(one.id), one.seconds * 1000);
}
export function dismiss(id) {
  s.toasts = s.toasts.filter((one) => one.id !== id);
}

// -- pictures

// A line through `values`, and the area below it, in a box of `width` by `height`.
export function spark(values, width, height, { top = 2, floor = 0, max = 0, least = 2 } = {}) {
  const points = values.length >= least ? values : [...Array(least - values.length).fill(values[0] || 0), ...values];
  const highest = Math.max(max, ...points, floor, 1);
  const step = width / (points.length - 1 || 1);
  const y = (v) => +(height - (v / highest) * (height - top)).toFixed(1);
  const line = points.map((v, i) => `${i ? "L" : "M"}${+(i * step).toFixed(1)} ${y(v)}`).join("");
  return { line, area: `${line}L${width} ${height}L0 ${height}Z` };
}

export const COLOURS = 8;
export const colour = (id) => {
  const member = s.members[id];
  return member ? `var(--ac-node-${member.c})` : "var(--ac-faint)";
};
export const nodeName = (id) => s.members[id]?.name || id || "";

// The text cut at the name in it, so that it can be set in another weight: never as HTML.
export function around(text, strong) {
  const at = strong ? text.indexOf(strong) : -1;
  return at < 0 ? [text, "", ""] : [text.slice(0, at), strong, text.slice(at + strong.length)];
}

// A square of the node's colour and its name.
export const NodeChip = {
  props: { id: String, link: Boolean },
  setup: () => ({ colour, nodeName, url }),
  template: `<a v-if="link && id" class="ac-chip-node" :href="url('/nodes/' + id)"><i :style="{background: colour(id)}"></i><bdi>{{ nodeName(id) }}</bdi></a>
    <span v-else class="ac-chip-node"><i :style="{background: colour(id)}"></i><bdi>{{ nodeName(id) }}</bdi></span>`,
};

export const A = { s, t, url, go, query, params, theme, toast, dismiss, boot, push, tell, reads, format, nextTick, watch };
window.A = A;
theme();
boot();
attend();
setTimeout(() => theme(), 0);
