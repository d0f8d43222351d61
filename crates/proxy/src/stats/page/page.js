// Keeps the page up to date. The server renders everything; this replaces what has changed, draws the lines, and
// fetches what is only wanted on demand. Without it the page is complete, and reloads itself.
"use strict";

const setup = JSON.parse(document.getElementById("setup").textContent);
const words = setup.words;
const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

/** An element with attributes and children; text is never taken for HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const remembered = {
  get(key) { try { return localStorage.getItem("stats." + key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem("stats." + key, value); } catch { /* private windows */ } },
};

// Light or dark.

const theme = remembered.get("theme");
if (theme) root.dataset.theme = theme;
root.classList.add("scripted");
byId("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remembered.set("theme", root.dataset.theme);
});

// Lines: the last minutes of each row.

const history = { points: 150, rows: {} };
let trend = Number(remembered.get("trend") ?? 0);

/** Which of a point's numbers a line shows: sessions, rate, octets in and out. */
const LINES = [[0], [1], [2, 3]];
const SVG = "http://www.w3.org/2000/svg";

function drawing(points, places, width, height) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(1, ...points.flatMap((point) => places.map((place) => point[place])));
  const step = width / Math.max(1, history.points - 1);
  const start = width - (points.length - 1) * step;
  places.forEach((place, number) => {
    const line = points.map((point, index) => {
      const x = (start + index * step).toFixed(1);
      const y = (height - 1 - (point[place] / most) * (height - 2)).toFixed(1);
      return `${x},${y}`;
    });
    if (line.length === 0) return;
    if (number === 0) {
      const area = document.createElementNS(SVG, "path");
      area.setAttribute("class", "area");
      area.setAttribute("d", `M${line[0].split(",")[0]},${height}L${line.join("L")}L${width},${height}Z`);
      svg.append(area);
    }
    const path = document.createElementNS(SVG, "path");
    if (number > 0) path.setAttribute("class", "second");
    path.setAttribute("d", "M" + line.join("L"));
    svg.append(path);
  });
  return svg;
}

function drawLines() {
  for (const row of all("tr[data-key]")) {
    const cell = row.querySelector("td.line");
    const points = history.rows[row.dataset.key];
    if (cell && points) cell.replaceChildren(drawing(points, LINES[trend], 112, 22));
  }
}

for (const button of all("[data-trend]")) {
  const choose = () => {
    for (const other of all("[data-trend]")) other.setAttribute("aria-pressed", String(other === button));
  };
  if (Number(button.dataset.trend) === trend) choose();
  button.addEventListener("click", () => {
    trend = Number(button.dataset.trend);
    remembered.set("trend", trend);
    choose();
    drawLines();
  });
}

// The table.

/** What is paler than the rest, so that the rest is seen. */
const NOTHING = ["0", "-", "?", "0s", "0\u202fB"];

function put(cell, text, tip) {
  if (cell.textContent !== text) {
    cell.textContent = text;
    if (cell.matches("td")) cell.classList.toggle("nil", NOTHING.includes(text));
  }
  if ((cell.title || "") !== (tip || "")) {
    if (tip) cell.title = tip; else cell.removeAttribute("title");
  }
}

function update(look) {
  for (const [name, [, value, note]] of look.tiles) {
    const tile = document.querySelector(`[data-tile="${name}"]`);
    if (!tile) continue;
    put(tile.querySelector(".value"), value);
    put(tile.querySelector(".note"), note);
  }
  const rows = new Map(all("tr[data-key]").map((row) => [row.dataset.key, row]));
  if (rows.size !== look.rows.length || look.rows.some((row) => !rows.has(row.key))) {
    rebuild();
    return;
  }
  for (const view of look.rows) {
    const row = rows.get(view.key);
    if (row.className !== view.look) {
      row.className = view.look;
      const status = row.querySelector(".status");
      status.classList.remove("changed");
      void status.offsetWidth;
      status.classList.add("changed");
    }
    put(row.querySelector("th.name"), view.name, view.tip);
    const cells = all("td", row).filter((cell) => !cell.matches(".pick, .line"));
    view.cells.forEach((cell, place) => put(cells[place], cell.t, cell.h));
  }
  for (const [key, point] of Object.entries(look.points)) {
    const points = (history.rows[key] ??= []);
    points.push(point);
    if (points.length > history.points) points.shift();
  }
  drawLines();
  applyFilter();
}

/** Servers came or went, or the configuration changed: the server renders all of it anew. */
async function rebuild() {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  byId("proxies").replaceWith(fresh.getElementById("proxies"));
  prepare();
  drawLines();
  applyFilter();
}

/** What has to be done for a table that was just rendered. */
function prepare() {
  // A group's title spans those of its columns that are shown.
  const widths = [matchMedia("(max-width: 740px)"), matchMedia("(max-width: 1280px)")];
  const shown = widths[0].matches ? 1 : widths[1].matches ? 2 : 3;
  for (const group of all("th.group")) {
    const columns = [...group.dataset.ranks].filter((rank) => Number(rank) <= shown).length;
    group.hidden = columns === 0;
    group.colSpan = Math.max(1, columns);
  }
}
addEventListener("resize", prepare);

// What is shown.

const filter = byId("filter");
const hideDown = byId("hide-down");
let down = hideDown.dataset.on === "true";

function applyFilter() {
  const wanted = filter.value.trim().toLowerCase();
  for (const proxy of all(".proxy")) {
    const whole = proxy.dataset.proxy.toLowerCase().includes(wanted);
    let some = false;
    for (const row of all("tr[data-key]", proxy)) {
      const server = !row.matches(".frontend, .backend, .socket");
      const status = row.querySelector(".status").textContent;
      const text = [row.dataset.key, row.querySelector("th.name").title, status].join(" ").toLowerCase();
      const matches = (whole || text.includes(wanted)) && !(down && server && /\b(DOWN|MAINT)\b/.test(status));
      row.hidden = !matches;
      some ||= matches;
    }
    proxy.hidden = !some;
  }
}
filter.addEventListener("input", applyFilter);
hideDown.addEventListener("click", (event) => {
  event.preventDefault();
  // The server left them out, so it has to be asked again.
  if (new URL(location.href).pathname.includes(";up")) { location.href = hideDown.href; return; }
  down = !down;
  hideDown.dataset.on = String(down);
  hideDown.textContent = down ? words.show_all : words.hide_down;
  applyFilter();
});
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input, select, textarea")) {
    event.preventDefault();
    filter.focus();
  }
});

// Events.

const pulse = byId("pulse");
const pause = byId("pause");
let events = null;

function tell(state) {
  pulse.dataset.state = state;
  pulse.lastElementChild.textContent = words[state];
}

function watch() {
  events = new EventSource(setup.live);
  events.addEventListener("open", () => tell("live"));
  events.addEventListener("error", () => tell("reconnecting"));
  events.addEventListener("history", (event) => {
    Object.assign(history, JSON.parse(event.data));
    drawLines();
  });
  events.addEventListener("look", (event) => {
    tell("live");
    update(JSON.parse(event.data));
    refreshClients();
    pulse.classList.remove("beat");
    void pulse.offsetWidth;
    pulse.classList.add("beat");
  });
}

function stop() {
  events?.close();
  events = null;
  tell("paused");
}

function say() {
  pause.textContent = events ? words.pause : words.resume;
}
pause.addEventListener("click", () => {
  if (events) stop(); else watch();
  say();
});
// Nobody looks: nothing is asked for.
document.addEventListener("visibilitychange", () => {
  if (pause.dataset.hidden === "true" && !document.hidden) {
    delete pause.dataset.hidden;
    watch();
  } else if (document.hidden && events) {
    pause.dataset.hidden = "true";
    stop();
  }
  say();
});

// Actions: sent without leaving the page.

async function send(form) {
  const answer = await fetch(setup.action, { method: "POST", body: form, redirect: "follow" });
  const code = /;st=([A-Z]+)/.exec(answer.url)?.[1] ?? "UNKN";
  announce(code);
}

function announce(code) {
  document.querySelector(".told")?.remove();
  const kind = { DONE: "good", NONE: "note", PART: "note" }[code] ?? "bad";
  const said = words["told_" + code.toLowerCase()] ?? words.told_unkn;
  const close = element("a", { href: "#", title: words.dismiss, "aria-label": words.dismiss }, "×");
  const note = element("p", { class: "told " + kind, role: "status" }, said, close);
  close.addEventListener("click", (event) => { event.preventDefault(); note.remove(); });
  byId("process").before(note);
}

addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  event.preventDefault();
  send(new URLSearchParams(new FormData(form))).then(() => {
    form.reset();
  });
});
addEventListener("change", (event) => {
  if (!event.target.matches("input.all")) return;
  const rows = all("tr[data-key]:not([hidden]) .pick input", event.target.closest(".proxy"));
  for (const box of rows) box.checked = event.target.checked;
});

// Connections.

const clients = byId("clients");
const before = new Map();
let sort = { column: "age", descending: true };

const units = ["B", "kB", "MB", "GB", "TB", "PB"];
function octets(count) {
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) { count /= 1000; unit += 1; }
  const digits = unit === 0 || count >= 99.95 ? 0 : count >= 9.995 ? 1 : 2;
  return count.toFixed(digits) + "\u202f" + units[unit];
}
function time(millis) {
  const seconds = Math.floor(millis / 1000);
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0s";
  const [size, unit] = parts[first];
  const rest = parts[first + 1];
  const more = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  return Math.floor(seconds / size) + unit + (more ? more + rest[1] : "");
}

/** Name, title, whether a number, and how it is shown. */
const COLUMNS = [
  ["client", words.c_client, false, (it) => it.client + (it.tls ? " 🔒" : "")],
  ["frontend", words.c_frontend, false],
  ["server", words.c_server, false],
  ["state", words.c_state, false],
  ["user", words.c_user, false],
  ["vhost", words.c_vhost, false],
  ["program", words.c_program, false],
  ["heartbeat", words.c_heartbeat, true, (it) => it.heartbeat == null ? "" : it.heartbeat + "s"],
  ["channels", words.c_channels, true],
  ["age", words.c_age, true, (it) => time(it.age)],
  ["idle", words.c_idle, true, (it) => time(it.idle)],
  ["inRate", words.c_in_rate, true, (it) => octets(it.inRate)],
  ["outRate", words.c_out_rate, true, (it) => octets(it.outRate)],
  ["in", words.c_in, true, (it) => octets(it.in)],
  ["out", words.c_out, true, (it) => octets(it.out)],
  ["unsent", words.c_unsent, true, (it) => it.unsent ? octets(it.unsent) : ""],
  ["blocked", words.c_blocked, false],
];

function clientsHead() {
  const titles = COLUMNS.map(([name, title, number]) => {
    const button = element("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      sort = { column: name, descending: sort.column === name ? !sort.descending : number };
      clientsHead();
      refreshClients();
    });
    const direction = sort.column === name && (sort.descending ? "descending" : "ascending");
    return element("th", { class: number && "number", "aria-sort": direction }, button);
  });
  if (setup.admin) titles.push(element("th"));
  clients.querySelector("thead tr").replaceChildren(...titles);
}

async function refreshClients() {
  if (!clients.open) return;
  const answer = await fetch(setup.sessions, { cache: "no-store" });
  if (!answer.ok) return;
  const { total, sessions } = await answer.json();
  const now = performance.now();
  for (const session of sessions) {
    const last = before.get(session.id);
    const seconds = last ? (now - last.at) / 1000 : session.age / 1000;
    const rate = (count, old) => (seconds > 0.2 ? Math.max(0, (count - old) / seconds) : 0);
    session.inRate = rate(session.in, last?.in ?? 0);
    session.outRate = rate(session.out, last?.out ?? 0);
  }
  before.clear();
  for (const { id, in: read, out } of sessions) before.set(id, { at: now, in: read, out });
  const direction = sort.descending ? -1 : 1;
  const value = (session) => session[sort.column] ?? "";
  sessions.sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    return direction * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  });
  const wanted = filter.value.trim().toLowerCase();
  const rows = sessions.filter((session) => !wanted || JSON.stringify(session).toLowerCase().includes(wanted)).map((session) => {
    const cells = COLUMNS.map(([name, , number, show]) =>
      element("td", { class: [number && "number", name === "blocked" && "blocked"].filter(Boolean).join(" "), title: name === "client" ? session.name : name === "server" ? session.address : undefined },
        String(show ? show(session) : session[name] ?? "")));
    if (setup.admin) {
      const kill = element("button", { type: "button" }, words.kill);
      kill.addEventListener("click", () => {
        if (confirm(words.kill_question + "\n" + session.client)) {
          send(new URLSearchParams({ action: "end-session", session: session.id })).then(refreshClients);
        }
      });
      cells.push(element("td", {}, kill));
    }
    return element("tr", { "data-session": session.id }, ...cells);
  });
  clients.querySelector("tbody").replaceChildren(...rows);
  const shown = total > sessions.length ? `${sessions.length} ${words.clients_shown} ${total}` : String(total);
  clients.querySelector(".count").textContent = total === 0 ? words.clients_none : shown;
}
clients.addEventListener("toggle", () => { clientsHead(); refreshClients(); });

// More about one row.

const dialog = byId("detail");

addEventListener("click", (event) => {
  const row = event.target.closest("tbody th.name")?.closest("tr[data-key]");
  if (row) openDetail(row.dataset.key);
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

async function openDetail(key) {
  const answer = await fetch(setup.detail + encodeURIComponent(key) + ";lang=" + setup.lang, { cache: "no-store" });
  if (!answer.ok) return;
  const detail = await answer.json();
  const close = element("button", { type: "button" }, words.close);
  close.addEventListener("click", () => dialog.close());
  const head = element("header", { class: detail.look },
    element("h2", { tabindex: "-1", autofocus: "" }, `${detail.proxy} / ${detail.name}`),
    element("span", {}, `${detail.status} · ${words.since} ${detail.since}`),
    close);
  const sections = [];
  const meaning = document.querySelector(`tr[data-key="${CSS.escape(key)}"] .status`)?.title;
  if (meaning) sections.push(element("section", {}, meaning));
  const points = history.rows[key] ?? [];
  const chart = (title, places, show) => element("figure", {},
    element("figcaption", {}, element("span", {}, title),
      element("span", {}, places.map((place) => show(points.at(-1)?.[place] ?? 0)).join(" / "))),
    drawing(points, places, 300, 50));
  const perSecond = (count) => octets(count) + words.per_second;
  sections.push(element("section", {}, element("h3", {}, `${words.history} · ${words.trend}`),
    element("div", { class: "charts" },
      chart(words.trend_sessions, [0], String),
      chart(words.trend_rate, [1], (rate) => rate + words.per_second),
      chart(`${words.c_in} / ${words.c_out}`, [2, 3], perSecond))));
  if (detail.facts.length) {
    sections.push(element("section", {},
      element("dl", {}, ...detail.facts.flatMap(([label, value]) => [element("dt", {}, label), element("dd", {}, value)]))));
  }
  if (detail.server) {
    const strip = detail.checks.map((check) =>
      element("i", { class: !check.passed && "failed", title: `${check.status} ${time(check.ago * 1000)}` }));
    const results = detail.checks.toReversed().slice(0, 12).map((check) => element("tr", { class: !check.passed && "failed" },
      element("td", {}, "−" + time(check.ago * 1000)),
      element("td", { title: check.words }, check.status + (check.code ? "/" + check.code : "")),
      element("td", {}, check.ms + "ms"),
      element("td", {}, check.detail)));
    sections.push(element("section", {}, element("h3", {}, words.checks),
      detail.checks.length
        ? element("div", {}, element("div", { class: "strip" }, ...strip), element("table", { class: "results" }, element("tbody", {}, ...results)))
        : words.checks_none));
  }
  // All numbers of the row, also those for which the table has no room.
  const columns = all("thead tr:last-child th", document.querySelector(`tr[data-key="${CSS.escape(key)}"]`)?.closest("table") ?? document);
  const groups = all("thead th.group", columns[0]?.closest("table") ?? document).flatMap((group) => [...group.dataset.ranks].map(() => group.textContent));
  const numbers = detail.cells.flatMap((cell, place) => cell.t === "" ? [] : [element("div", {},
    element("dt", { title: columns[place]?.title }, `${groups[place] ?? ""} · ${columns[place]?.textContent ?? ""}`),
    element("dd", { title: cell.h }, cell.t))]);
  sections.push(element("section", {}, element("dl", { class: "numbers" }, ...numbers)));
  dialog.replaceChildren(head, ...sections);
  if (!dialog.open) dialog.showModal();
}

prepare();
applyFilter();
if (setup.running) watch(); else stop();
say();
