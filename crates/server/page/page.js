import { Events } from "/events.js";
import { WORDS } from "/words.js";
import { Zones, colourOf } from "/zones.js";

/** Colours by kind; the order is that of the legend. */
const COLOURS = {
  car: "#4ea8ff", armed_car: "#ff9f43", motorcycle: "#2ee6a8", foot: "#ffe066", helicopter: "#ff6bd6", drone: "#c792ff",
  boat: "#7fdbff", post: "#ffffff", video_post: "#b0bec5", unknown: "#d0d7de", community: "#5f7f6a",
};
const POLL_MS = 2000;
const PAGE = 1000;
const HALF_TURN = Math.PI / 180;

const canvas = document.getElementById("map");
const pen = canvas.getContext("2d");
const state = {
  units: new Map(), shown: new Set(Object.keys(COLOURS).filter((kind) => kind !== "community")), counts: {},
  centre: [108.36, 22.81], pixelsPerDegree: 1500, isFitted: false, answer: null, asked: null,
  heard: performance.now(), isLost: false, isLoggedOut: false, round: 0, hasFigures: true, who: JSON.parse(localStorage.getItem("who")), alarms: [], language: localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"),
};
const words = () => WORDS[state.language];
const element = (id) => document.getElementById(id);
const events = new Events(element("events"), words);
const zones = new Zones(() => { buildLegend(); draw(); });

/** Longitude and latitude to pixels: a plain projection, true to scale at the centre. */
function toScreen([lon, lat]) {
  const squeeze = Math.cos(state.centre[1] * HALF_TURN);
  return [canvas.width / 2 + (lon - state.centre[0]) * squeeze * state.pixelsPerDegree, canvas.height / 2 - (lat - state.centre[1]) * state.pixelsPerDegree];
}

function toPlace(x, y) {
  const squeeze = Math.cos(state.centre[1] * HALF_TURN);
  return [state.centre[0] + (x - canvas.width / 2) / squeeze / state.pixelsPerDegree, state.centre[1] - (y - canvas.height / 2) / state.pixelsPerDegree];
}

async function ask(path) {
  const answer = await fetch(path);
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail ?? body.title), { status: answer.status });
  return body;
}

/** Figures of the whole are not for those who see a part. Asked once only: each refusal is in the audit. */
async function askFigures() {
  if (!state.hasFigures) return null;
  try {
    return await ask("/v1/stats");
  } catch (error) {
    if (error.status !== 403) throw error;
    state.hasFigures = false;
    return null;
  }
}

/** One round over all pages of the kinds that are shown. */
async function poll() {
  const { round } = state;
  try {
    const units = new Map();
    const kinds = [...state.shown].join(",");
    for (let next = ""; kinds && next !== null;) {
      const page = await ask(`/v1/units?limit=${PAGE}&kind=${kinds}${next && `&next=${encodeURIComponent(next)}`}`);
      const at = performance.now();
      for (const { geometry, properties } of page.features) {
        if (geometry) units.set(properties.unit, { at, place: geometry.coordinates, ...properties });
      }
      next = page.next;
    }
    const stats = await askFigures();
    // Somebody logged off meanwhile: what was asked for before is not for whoever comes next.
    if (round !== state.round) return;
    state.units = units;
    if (stats) showFigures(stats);
    else countSeen();
    state.heard = performance.now();
    state.isLost = false;
    fitOnce();
  } catch (error) {
    if (round !== state.round) return;
    // No more questions until somebody logs on: each would be one refusal more in the audit.
    if (error.status === 401) return showLogOn();
    state.isLost = true;
  }
  showTrouble();
  draw();
  setTimeout(() => { if (round === state.round) poll(); }, POLL_MS);
}

/** Nothing that was seen before stays on the screen. */
function showLogOn(problem = "") {
  state.round += 1;
  Object.assign(state, { isLoggedOut: true, who: null, units: new Map(), counts: {}, alarms: [], answer: null, isLost: false });
  localStorage.removeItem("who");
  events.forget();
  zones.forget();
  element("nearest").hidden = true;
  element("figures").textContent = "";
  element("log-on").hidden = false;
  element("log-on").querySelector("p").textContent = problem;
  showWho();
  showTrouble();
  buildLegend();
  draw();
}

/** Trades a token for a session, whose cookie no script can read. */
async function logOn(token) {
  const answer = await fetch("/v1/session", { method: "POST", headers: { authorization: `Bearer ${token}` } });
  if (!answer.ok) return showLogOn(answer.status === 401 ? words().logOn.wrong : words().logOn.full);
  const { principal, role, org } = await answer.json();
  const wasLoggedOut = state.isLoggedOut;
  Object.assign(state, { who: { principal, role, org }, isLoggedOut: false, hasFigures: true });
  localStorage.setItem("who", JSON.stringify(state.who));
  element("log-on").hidden = true;
  showWho();
  if (wasLoggedOut) begin();
}

/** Everything that is asked for again and again. */
function begin() {
  poll();
  events.open();
  zones.open();
}

async function logOff() {
  await fetch("/v1/session", { method: "DELETE" });
  showLogOn();
}

/** A link may bring a token behind #: it goes at once, so that it is neither in the history nor in a bookmark. */
async function takeTokenOfAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname + location.search);
  await logOn(token);
}

function showWho() {
  const w = words();
  element("who").hidden = !state.who;
  element("who").querySelector("b").textContent = state.who ? `${state.who.principal} · ${w.roles[state.who.role] ?? state.who.role} · ${state.who.org ?? w.all}` : "";
  element("log-off").textContent = w.logOn.off;
}

/** Without figures of the whole: those of the kinds that are shown, as far as the caller sees them. */
function countSeen() {
  element("figures").textContent = "";
  state.alarms = [];
  state.counts = {};
  for (const unit of state.units.values()) state.counts[unit.kind] = (state.counts[unit.kind] ?? 0) + 1;
  for (const span of document.querySelectorAll("#legend span[data-kind]")) span.textContent = state.counts[span.dataset.kind] ?? 0;
}

function fitOnce() {
  if (state.isFitted || state.units.size < 50) return;
  state.isFitted = true;
  const places = [...state.units.values()].map((unit) => unit.place);
  const middle = (axis) => places.map((place) => place[axis]).sort((a, b) => a - b)[places.length >> 1];
  state.centre = [middle(0), middle(1)];
  state.pixelsPerDegree = canvas.height / 0.32;
}

function showFigures(stats) {
  const w = words();
  state.counts = stats.by_kind;
  state.alarms = stats.alarms;
  const age = stats.fix_age_s ? `${stats.fix_age_s.p50.toFixed(1)} / ${stats.fix_age_s.p99.toFixed(1)} s` : "–";
  const alarm = stats.emergencies ? ` · <b class="alarm">SOS ${Number(stats.emergencies)}</b>` : "";
  element("figures").innerHTML = `<b>${stats.units}</b> ${w.units} · <b>${stats.located}</b> ${w.located} · <b>${Math.round(stats.reports_per_s)}</b> ${w.rate} · ${w.age} <b>${age}</b>${alarm}`;
  for (const span of document.querySelectorAll("#legend span[data-kind]")) span.textContent = stats.by_kind[span.dataset.kind] ?? 0;
}

function showTrouble() {
  const trouble = element("trouble");
  const alarms = state.isLost ? [] : state.alarms;
  trouble.hidden = !state.isLost && alarms.length === 0;
  const lost = () => words().lost(Math.round((performance.now() - state.heard) / 1000));
  trouble.textContent = state.isLost ? lost() : alarms.map((alarm) => words().alarms[alarm] ?? alarm).join(" ");
}

/** A mark is as bright as its place is young; after two minutes it is a shadow. */
function brightness(unit) {
  const age = unit.fix_age_s + (performance.now() - unit.at) / 1000;
  return Math.max(0.18, 1 - age / 120) * (unit.out_of_contact ? 0.4 : 1);
}

function draw() {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  drawGround();
  zones.draw(pen, toScreen);
  const groups = new Map();
  for (const unit of state.units.values()) {
    const [x, y] = toScreen(unit.place);
    if (x < 0 || y < 0 || x > canvas.width || y > canvas.height) continue;
    const alpha = Math.round((state.isLost ? 0.25 : brightness(unit)) * 5) / 5;
    const key = `${state.isLost ? "#888888" : COLOURS[unit.kind]}|${alpha}|${unit.stale}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push([x, y]);
  }
  const size = Math.max(3, Math.min(9, state.pixelsPerDegree / 900)) * devicePixelRatio;
  for (const [key, places] of groups) {
    const [colour, alpha, stale] = key.split("|");
    pen.globalAlpha = Number(alpha);
    pen.fillStyle = pen.strokeStyle = colour;
    for (const [x, y] of places) {
      if (stale === "true") pen.strokeRect(x - size / 2, y - size / 2, size, size);
      else pen.fillRect(x - size / 2, y - size / 2, size, size);
    }
  }
  pen.globalAlpha = 1;
  drawAlarms();
  drawNearest();
}

function drawAlarms() {
  pen.strokeStyle = "#ff4d4d";
  pen.lineWidth = 3 * devicePixelRatio;
  for (const unit of state.units.values()) {
    if (!unit.emergency) continue;
    const [x, y] = toScreen(unit.place);
    pen.beginPath();
    pen.arc(x, y, 14 * devicePixelRatio, 0, 7);
    pen.stroke();
  }
}

/** Lines of latitude and longitude, and a scale. */
function drawGround() {
  const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 10, 30];
  const step = steps.find((one) => one * state.pixelsPerDegree > 110 * devicePixelRatio) ?? 30;
  const [west, north] = toPlace(0, 0);
  const [east, south] = toPlace(canvas.width, canvas.height);
  pen.strokeStyle = "#18232f";
  pen.fillStyle = "#4a5b6c";
  pen.lineWidth = 1;
  pen.font = `${11 * devicePixelRatio}px system-ui`;
  for (let lon = Math.ceil(west / step) * step; lon < east; lon += step) {
    const [x] = toScreen([lon, north]);
    line(x, 0, x, canvas.height);
    pen.fillText(lon.toFixed(3), x + 4, canvas.height - 48 * devicePixelRatio);
  }
  for (let lat = Math.ceil(south / step) * step; lat < north; lat += step) {
    const [, y] = toScreen([west, lat]);
    line(0, y, canvas.width, y);
    pen.fillText(lat.toFixed(3), canvas.width - 60 * devicePixelRatio, y - 4);
  }
  const metres = 10 ** Math.floor(Math.log10(160 / (state.pixelsPerDegree / 111195) / 1));
  const width = metres * state.pixelsPerDegree / 111195;
  const [x, y] = [canvas.width - width - 24, canvas.height - 20 * devicePixelRatio];
  pen.strokeStyle = pen.fillStyle = "#9fb0c0";
  line(x, y, x + width, y);
  pen.fillText(metres >= 1000 ? `${metres / 1000} km` : `${metres} m`, x, y - 6);
}

function line(x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function drawNearest() {
  if (!state.answer) return;
  const [x, y] = toScreen(state.asked);
  pen.strokeStyle = "#ffffff88";
  pen.lineWidth = devicePixelRatio;
  for (const { geometry } of state.answer.features) line(x, y, ...toScreen(geometry.coordinates));
  pen.strokeStyle = "#ffffff";
  pen.beginPath();
  pen.arc(x, y, 6 * devicePixelRatio, 0, 7);
  pen.stroke();
}

async function askNearest([lon, lat]) {
  state.asked = [lon, lat];
  try {
    state.answer = await ask(`/v1/nearest?lat=${lat.toFixed(7)}&lon=${lon.toFixed(7)}&k=10`);
    showNearest();
  } catch (error) {
    if (error.status === 401) return showLogOn();
    element("trouble").hidden = false;
    element("trouble").textContent = error.message;
  }
  draw();
}

function showNearest() {
  const w = words();
  const { features, omitted, as_of: asOf } = state.answer;
  const panel = element("nearest");
  panel.hidden = false;
  panel.querySelector("h2").textContent = `${w.nearest} ${state.asked[1].toFixed(5)}, ${state.asked[0].toFixed(5)}`;
  panel.querySelector("thead").replaceChildren(row("th", w.head));
  const metres = (m) => m >= 1000 ? `${(m / 1000).toFixed(2)} km` : `${Math.round(m)} m`;
  const seconds = (s) => s === null ? w.unknown : `${s.toFixed(1)} s`;
  const rows = features.map(({ properties: p }) => {
    const made = row("td", [p.unit, w.kinds[p.kind], metres(p.distance_m), `${Math.round(p.bearing_deg)}°`, seconds(p.fix_age_s) + (p.stale ? ` ${w.stale}` : ""), seconds(p.contact_age_s), p.accuracy_m === null ? w.unknown : `${Math.round(p.accuracy_m)} m`, p.source]);
    made.classList.toggle("stale", p.stale);
    return made;
  });
  panel.querySelector("tbody").replaceChildren(...rows);
  const out = Object.entries(omitted).map(([reason, units]) => `${units} ${w.reasons[reason] ?? reason}`);
  panel.querySelector(".omitted").textContent = [features.length ? "" : w.nobody, out.length ? `${w.left} ${out.join(", ")}` : ""].join(" ");
  panel.querySelector(".asof").textContent = `${w.asof} ${asOf}`;
}

function row(cell, texts) {
  const made = document.createElement("tr");
  made.append(...texts.map((text) => Object.assign(document.createElement(cell), { textContent: text })));
  return made;
}

function buildLegend() {
  const labels = Object.entries(COLOURS).map(([kind, colour]) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: state.shown.has(kind) });
    box.addEventListener("change", () => box.checked ? state.shown.add(kind) : state.shown.delete(kind));
    const dot = document.createElement("i");
    dot.style.background = colour;
    const count = Object.assign(document.createElement("span"), { textContent: state.counts[kind] ?? 0 });
    count.dataset.kind = kind;
    label.append(box, dot, words().kinds[kind], count);
    return label;
  });
  element("legend").replaceChildren(...labels, ...layerLabels());
}

function layerLabels() {
  const labels = [...zones.layers].map(([layer, { count }]) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: zones.shown.has(layer) });
    box.addEventListener("change", () => {
      if (box.checked) zones.shown.add(layer);
      else zones.shown.delete(layer);
      draw();
    });
    const dot = document.createElement("i");
    dot.style.background = colourOf(layer);
    label.append(box, dot, `${words().layer} ${layer}`, Object.assign(document.createElement("span"), { textContent: count }));
    return label;
  });
  return labels.length ? [document.createElement("hr"), ...labels] : [];
}

function speak() {
  document.documentElement.lang = state.language;
  element("language").textContent = words().other;
  element("hint").textContent = words().hint;
  const form = element("log-on");
  form.querySelector("h2").textContent = words().logOn.title;
  form.querySelector("span").textContent = words().logOn.label;
  form.querySelector("button").textContent = words().logOn.button;
  showWho();
  buildLegend();
  events.show();
  if (state.answer) showNearest();
}

function zoom(factor, x = canvas.width / 2, y = canvas.height / 2) {
  const before = toPlace(x, y);
  state.pixelsPerDegree = Math.min(2e6, Math.max(2, state.pixelsPerDegree * factor));
  const after = toPlace(x, y);
  state.centre = [state.centre[0] + before[0] - after[0], state.centre[1] + before[1] - after[1]];
  draw();
}

function listen() {
  let grip = null;
  const pixel = (event) => [event.clientX * devicePixelRatio, event.clientY * devicePixelRatio];
  canvas.addEventListener("pointerdown", (event) => { grip = { from: pixel(event), centre: state.centre, moved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const [x, y] = pixel(event);
    const [dx, dy] = [x - grip.from[0], y - grip.from[1]];
    grip.moved ||= Math.hypot(dx, dy) > 5;
    const squeeze = Math.cos(grip.centre[1] * HALF_TURN);
    if (grip.moved) state.centre = [grip.centre[0] - dx / squeeze / state.pixelsPerDegree, grip.centre[1] + dy / state.pixelsPerDegree];
    requestAnimationFrame(draw);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (grip && !grip.moved) askNearest(toPlace(...pixel(event)));
    grip = null;
  });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...pixel(event)); }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = 80 / state.pixelsPerDegree;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) state.centre = state.centre.map((at, axis) => at + moves[event.key][axis]);
    if (event.key === "+") zoom(1.2);
    if (event.key === "-") zoom(1 / 1.2);
    if (event.key === "Enter") askNearest(state.centre);
    draw();
  });
  element("language").addEventListener("click", () => {
    state.language = state.language === "en" ? "zh" : "en";
    localStorage.setItem("language", state.language);
    speak();
  });
  element("log-on").addEventListener("submit", (event) => {
    event.preventDefault();
    const input = event.target.querySelector("input");
    logOn(input.value.trim()).catch(() => showLogOn(words().logOn.full));
    input.value = "";
  });
  element("log-off").addEventListener("click", logOff);
  addEventListener("hashchange", takeTokenOfAddress);
  const resize = () => {
    [canvas.width, canvas.height] = [innerWidth * devicePixelRatio, innerHeight * devicePixelRatio];
    draw();
  };
  addEventListener("resize", resize);
  resize();
}

speak();
listen();
// Also when the server does not answer: the round says so.
takeTokenOfAddress().catch(() => {}).finally(() => { if (!state.isLoggedOut) begin(); });
