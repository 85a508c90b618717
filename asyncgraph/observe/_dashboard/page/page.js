// The page of the dashboard: it is told what has changed, keeps it in `known`, and shows it. Whatever comes
// from runs is put into the page as text, and never as HTML.

import { Picture } from "./picture.js";
import { Timeline } from "./timeline.js";

const STATES = ["waiting", "ready", "running", "finished", "failed", "not run", "cancelled"];
// What a bar is made of, from left to right.
const PARTS = ["finished", "running", "failed", "not run", "cancelled"];
const classOf = (state) => state.replace(" ", "-");
const known = { overview: null, runs: new Map(), selected: null, skew: 0 };
const $ = (id) => document.getElementById(id);
const picture = new Picture($("picture"), $("no-picture"), $("zoom"));
const timeline = new Timeline($("timeline"), $("window"), $("bar"));
let stream = null;
let switched = 0;

// -- elements

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("data-") || name.startsWith("aria-") || name === "scope") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// Children for these keys, in this order; those that are there already are kept, and so is the focus in them.
function keep(parent, keys, make) {
  const present = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  const kept = keys.map((key) => {
    let child = present.get(String(key));
    if (child) present.delete(String(key));
    else {
      child = make(key);
      child.dataset.key = key;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    return child;
  });
  for (const child of present.values()) child.remove();
  return kept;
}

function progressBar() {
  return element("div", { className: "bar" }, ...PARTS.map(
    (state) => element("span", { className: classOf(state) }),
  ));
}

function fill(bar, total, counts) {
  [...bar.children].forEach((part, index) => {
    part.style.width = total ? `${(100 * counts[index]) / total}%` : "0";
  });
}

function duration(seconds) {
  if (seconds < 0.9995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`;
}

const now = () => Date.now() / 1000 + known.skew;
const secondsOf = (run) => run.seconds ?? Math.max(0, now() - run.began);

// -- beside the run

function showOverview() {
  const { counts, runs, usage, workers } = known.overview;
  keep($("counts"), Object.keys(counts), () => element("span")).forEach((child) => {
    setText(child, `${counts[child.dataset.key]} ${child.dataset.key}`);
  });
  for (const id of [...known.runs.keys()]) if (!runs.includes(id)) known.runs.delete(id);
  showRuns(runs.filter((id) => known.runs.has(id)));
  const slots = usage.flatMap((own, index) => own.map((row) => [usage.length > 1 ? index + 1 : 0, ...row]));
  keep($("slots"), slots.map(([runtime, executor]) => `${runtime}/${executor}`), makeSlot).forEach(
    (child, index) => showSlot(child, slots[index]),
  );
  const byName = new Map(workers.map((worker) => [worker.worker, worker]));
  keep($("workers"), [...byName.keys()], makeWorker).forEach((child) => {
    const worker = byName.get(child.dataset.key);
    const isLost = worker.lost !== null;
    child.querySelector(".dot").dataset.state = isLost ? "failed" : worker.call ? "running" : "finished";
    setText(child.querySelector(".call"), isLost ? `lost: ${worker.reason}` : worker.call || "idle");
  });
  $("no-workers").hidden = workers.length > 0;
}

function makeSlot(key) {
  const [runtime, executor] = key.split("/");
  const label = runtime === "0" ? executor : `${executor} ${runtime}`;
  const bar = element("div", { className: "bar" }, element("span", { className: "running" }));
  return element("div", { className: "slot" }, element("span", { textContent: label }), bar,
    element("span", { className: "number" }), element("span", { className: "quiet", hidden: true }));
}

function showSlot(child, [, , used, capacity, waiting, heldBack]) {
  const [, bar, number, queue] = child.children;
  bar.firstChild.style.width = `${Math.min(100, (100 * used) / Math.max(1, capacity))}%`;
  setText(number, `${used} of ${capacity}`);
  const waits = waiting && `${waiting} ${waiting === 1 ? "run waits" : "runs wait"} for a slot`;
  const held = heldBack && `${heldBack} ${heldBack === 1 ? "node is" : "nodes are"} held back`;
  queue.hidden = !(waits || held);
  setText(queue, [waits, held].filter(Boolean).join(", "));
}

function makeWorker(name) {
  return element("li", {}, element("span", { className: "dot" }), element("span", { textContent: name }),
    element("span", { className: "call" }));
}

function showRuns(ids) {
  $("no-runs").hidden = ids.length > 0;
  keep($("runs"), ids, makeRun).forEach((child, index) => {
    const run = known.runs.get(ids[index]);
    const [button] = child.children;
    button.setAttribute("aria-current", String(run.id === known.selected));
    const [dot, name, time, bar] = button.children;
    dot.dataset.state = run.state;
    dot.title = run.state;
    setText(name, run.name);
    name.title = run.name;
    setText(time, duration(secondsOf(run)));
    fill(bar, run.statistics.nodes, PARTS.map((state) => run.statistics[state]));
  });
}

function makeRun(id) {
  const button = element("button", { type: "button" }, element("span", { className: "dot" }),
    element("span", { className: "name" }), element("span", { className: "time" }), progressBar());
  button.addEventListener("click", () => {
    $("follow").checked = false;
    select(Number(id));
  });
  return element("li", {}, button);
}

// -- the run

function showRun() {
  const run = known.runs.get(known.selected);
  $("nothing").hidden = Boolean(run);
  $("shown").hidden = !run;
  if (!run) return;
  setText($("name"), run.name);
  setText($("state"), run.state);
  $("state").dataset.state = run.state;
  $("cancel").hidden = !(known.overview.allow_cancel && run.state === "running");
  const chips = Object.entries({ ...run.statistics,
    retries: run.retries, "begun in": run.outer ? `run ${run.outer[0]}, ${run.outer[1]}` : 0 });
  const shown = chips.filter(([name, value]) => value || name === "nodes" || name === "finished");
  keep($("chips"), shown.map(([name]) => name), (name) => element("span", {}, element("b"), ` ${name}`)).forEach(
    (child, index) => setText(child.firstChild, String(shown[index][1])),
  );
  showFunctions(run);
  showFailures(run);
  showTimes();
}

function showFunctions(run) {
  const names = run.functions.map(([name]) => name);
  $("functions").closest("section").hidden = !names.length;
  timeline.name(names);
  // Columns that say nothing are left out.
  const table = $("functions").parentElement;
  table.classList.toggle("none-failed", run.functions.every((row) => !row[4]));
  table.classList.toggle("none-not-run", run.functions.every((row) => !row[5]));
  table.classList.toggle("none-cancelled", run.functions.every((row) => !row[6]));
  keep($("functions"), names, makeFunction).forEach((row, index) => {
    const [, total, running, finished, failed, notRun, cancelled] = run.functions[index];
    row.querySelector(".swatch").style.background = run.has_details ? `var(${Timeline.hueOf(index)})` : "none";
    fill(row.children[1].firstChild, total, [finished, running, failed, notRun, cancelled]);
    [total, running, finished, failed, notRun, cancelled].forEach((count, column) => {
      const cell = row.children[column + 2];
      setText(cell, String(count));
      cell.className = count ? "" : "none";
    });
  });
}

function makeFunction(name) {
  const swatch = element("span", { className: "swatch" });
  return element("tr", {}, element("td", {}, swatch, name), element("td", {}, progressBar()),
    ...Array.from({ length: 6 }, () => element("td")));
}

function showFailures(run) {
  const { failures, statistics } = run;
  $("failures-section").hidden = !failures.length;
  $("failures").replaceChildren(...failures.map((failure) => {
    const place = [failure.key && ` in ${failure.key}`, failure.site && `, built at ${failure.site}`];
    const message = failure.message === null ? [] : [element("div", { textContent: failure.message })];
    return element("li", {}, element("b", { textContent: failure.type }), ...place.filter(Boolean), ...message);
  }));
  const more = statistics.failed - failures.length;
  if (failures.length && more > 0) {
    const text = `${more} more`;
    $("failures").append(element("li", { className: "quiet", textContent: text }));
  }
}

function showTimes() {
  const run = known.runs.get(known.selected);
  if (!run) return;
  const began = new Date(run.began * 1000).toLocaleTimeString();
  setText($("time"), `${duration(secondsOf(run))}, began at ${began}`);
  for (const item of $("runs").children) {
    const each = known.runs.get(Number(item.dataset.key));
    if (each) setText(item.querySelector(".time"), duration(secondsOf(each)));
  }
  timeline.draw(secondsOf(run), run.state === "running");
}

// -- what is told

function hear(message) {
  known.skew = message.time - Date.now() / 1000;
  const { parts } = message;
  for (const [name, value] of Object.entries(parts)) {
    if (name.startsWith("run/")) known.runs.set(value.id, value);
  }
  if (parts.overview) known.overview = parts.overview;
  if (message.run === known.selected) {
    timeline.hear(message);
    picture.hear(parts);
    const run = known.runs.get(known.selected);
    $("timeline-section").hidden = !(run && run.has_details);
  }
  if (known.overview) {
    showOverview();
    choose();
    showRun();
  }
}

// Without a choice of the user's, the newest run is shown; but not more often than one can look.
function choose() {
  const ids = known.overview.runs.filter((id) => known.runs.has(id));
  const current = known.runs.get(known.selected);
  if (!ids.length || (current && !$("follow").checked)) return;
  const newest = Math.max(...ids);
  if (!current || (newest > known.selected && current.state !== "running" && Date.now() - switched > 2000)) {
    select(newest);
  }
}

function select(id) {
  if (id === known.selected) return;
  known.selected = id;
  switched = Date.now();
  $("answer").hidden = true;
  history.replaceState(null, "", `#run-${id}`);
  picture.clear();
  timeline.clear();
  showRun();
  if (known.overview) showOverview();
  listen();
}

function listen() {
  stream?.close();
  stream = new EventSource(known.selected === null ? "events" : `events?run=${known.selected}`);
  stream.onopen = () => link("open", "live");
  stream.onmessage = (event) => hear(JSON.parse(event.data));
  stream.onerror = () => {
    link("lost", "connection lost, trying again");
    // After some answers the browser does not try again by itself.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

function link(state, text) {
  $("link").dataset.link = state;
  setText($("link"), text);
}

async function cancel() {
  const id = known.selected;
  if (!confirm(`Cancel ${known.runs.get(id).name}?`)) return;
  let text = "The server cannot be reached.";
  try {
    text = await (await fetch(`runs/${id}/cancel`, { method: "POST" })).text();
  } catch (error) {
    console.info(error);
  }
  $("answer").hidden = false;
  setText($("answer"), text.trim());
}

$("cancel").addEventListener("click", cancel);
$("follow").addEventListener("change", () => known.overview && choose());
$("legend").append(...STATES.map((state) => element("span", {},
  element("span", { className: `swatch ${classOf(state)}` }), state)));
const wanted = /^#run-(\d+)$/.exec(location.hash);
if (wanted) {
  known.selected = Number(wanted[1]);
  $("follow").checked = false;
}
listen();
setInterval(() => {
  if (document.hidden || !known.overview) return;
  choose();
  showTimes();
}, 200);
