// The timeline: calls as bars, a row for each thread, worker process, or coroutine of the loop at a time.

const ROW = 18;
const LABELS = 96;
const AXIS = 20;
const MOST_ROWS = 24;
// Seconds that are shown at once.
const LONGEST = 60;
const MOST_BARS = 600;
const OUTCOMES = { failed: "failed", cancelled: "cancelled", retrying: "ready" };
const HUES = 8;

const kindOf = (name) => ["loop", "thread", "process"].indexOf(name.split(" ")[0]);
const numberOf = (name) => Number(name.split(" ")[1] ?? 0);
const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60];

export class Timeline {
  constructor(canvas, window, said) {
    this.canvas = canvas;
    this.window = window;
    this.said = said;
    this.clear();
    canvas.addEventListener("mousemove", (event) => this.point(event));
  }

  // The color of a function, as in the table: the colors of those that come later are the same again.
  static hueOf(index) {
    return `--hue-${index % HUES}`;
  }

  name(functions) {
    this.functions = new Map(functions.map((name, index) => [name, index]));
  }

  clear() {
    this.functions ??= new Map();
    this.lanes = [];
    this.bars = [];
    this.open = [];
    this.shown = [];
    this.isStale = true;
  }

  hear({ full, parts, bars }) {
    if (full) this.clear();
    if (parts.lanes) this.lanes = parts.lanes;
    if (parts.open) this.open = parts.open;
    this.bars.push(...bars);
    this.bars.splice(0, this.bars.length - MOST_BARS);
    this.isStale = true;
  }

  // Up to `end` seconds after the beginning of the run; drawn anew only if something moves.
  draw(end, isGoingOn) {
    if (!this.isStale && !isGoingOn && this.width === this.canvas.clientWidth) return;
    this.isStale = false;
    this.width = this.canvas.clientWidth;
    const first = this.bars.length === MOST_BARS ? this.bars[0][2] : 0;
    const start = Math.max(0, first, end - LONGEST);
    this.start = start;
    this.scale = (this.width - LABELS - 8) / Math.max(end - start, 0.001);
    const last = this.open.map(([lane, began, key, name]) => (
      [lane, began, Math.max(began, end), key, name, "running"]));
    const bars = [...this.bars, ...last].filter((bar) => bar[2] >= start);
    const lanes = [...new Set(bars.map((bar) => bar[0]))].sort((one, other) => {
      const [a, b] = [this.lanes[one], this.lanes[other]];
      return kindOf(a) - kindOf(b) || numberOf(a) - numberOf(b);
    });
    const rows = new Map(lanes.slice(0, MOST_ROWS).map((lane, row) => [lane, row]));
    this.shown = bars.filter((bar) => rows.has(bar[0])).map((bar) => [...bar, rows.get(bar[0])]);
    this.paint(rows, end, lanes.length - rows.size);
  }

  paint(rows, end, more) {
    const ratio = devicePixelRatio || 1;
    const height = Math.max(1, rows.size) * ROW + AXIS;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = this.width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const color = (name) => style.getPropertyValue(`--${name}`);
    context.scale(ratio, ratio);
    context.font = `12px ${style.fontFamily}`;
    context.textBaseline = "middle";
    this.axis(context, color, height, end);
    for (const [lane, row] of rows) {
      context.fillStyle = color("quiet");
      context.textAlign = "left";
      context.fillText(this.lanes[lane], 0, row * ROW + ROW / 2, LABELS - 8);
    }
    for (const [, began, ended, , name, outcome, row] of this.shown) {
      const left = this.x(Math.max(began, this.start));
      const hue = Timeline.hueOf(this.functions.get(name) ?? 0).slice(2);
      context.fillStyle = color(OUTCOMES[outcome] ?? hue);
      context.fillRect(left, row * ROW + 3, Math.max(1.5, this.x(ended) - left - 0.5), ROW - 6);
    }
    const length = `the last ${(end - this.start).toFixed(1)} s`;
    const text = this.start > 0 ? length : "since the run began";
    this.window.textContent = more > 0 ? `${text}; ${more} more rows` : text;
    const calls = `${this.bars.length} calls that are over and ${this.open.length} that go on`;
    this.canvas.setAttribute("aria-label", `What ran where: ${calls}, in ${rows.size} rows`);
  }

  axis(context, color, height, end) {
    const step = steps.find((each) => each * this.scale > 70) ?? 120;
    context.textAlign = "center";
    for (let at = Math.ceil(this.start / step) * step; at <= end; at += step) {
      context.fillStyle = color("line");
      context.fillRect(this.x(at), 0, 1, height - AXIS + 3);
      context.fillStyle = color("quiet");
      const text = end < 1 ? `${Math.round(at * 1000)} ms` : `${at.toFixed(step < 1 ? 1 : 0)} s`;
      if (this.x(at) < this.width - 20) context.fillText(text, this.x(at), height - AXIS / 2 + 2);
    }
  }

  x(at) {
    return LABELS + (at - this.start) * this.scale;
  }

  point(event) {
    const row = Math.floor(event.offsetY / ROW);
    const found = this.shown.findLast(([, began, ended, , , , own]) => own === row
      && this.x(began) - 2 <= event.offsetX && event.offsetX <= Math.max(this.x(ended), this.x(began) + 2) + 2);
    if (!found) return;
    const [lane, began, ended, key, , outcome] = found;
    const milliseconds = (1000 * (ended - began)).toFixed(ended - began < 0.01 ? 2 : 0);
    this.said.textContent = `${key}: ${outcome}, ${milliseconds} ms on ${this.lanes[lane]}, `
      + `${began.toFixed(3)} s after the beginning`;
  }
}
