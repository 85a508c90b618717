// The picture of the graph: fetched when it was drawn anew, painted here as the states of its nodes change.

const STATES = ["waiting", "ready", "running", "finished", "failed", "cancelled"];

// Inside and around a shape: as the drawing has them, on light and on dark.
const COLORS = {
  waiting: ["#f1f3f5", "#adb5bd"], ready: ["#fff3bf", "#d9a400"], running: ["#c9e1fd", "#1c7ed6"],
  finished: ["#cdf0d5", "#2b9a58"], failed: ["#ffc9c9", "#e03131"], cancelled: ["#e6dcf7", "#8a5bd8"],
};

// Of many nodes that are drawn as one shape: what one wants to see first.
function stateOf(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (counts[4]) return "failed";
  if (counts[2]) return "running";
  if (counts[3] === total) return "finished";
  if (counts[5]) return "cancelled";
  return counts[1] ? "ready" : "waiting";
}

const inWords = (counts) => STATES.map((state, index) => counts[index] && `${counts[index]} ${state}`)
  .filter(Boolean).join(", ");

export class Picture {
  constructor(place, problem, zoom) {
    this.place = place;
    this.problem = problem;
    this.zoom = zoom;
    this.clear();
    zoom.addEventListener("click", (event) => this.scaleBy(event.target.dataset.zoom));
  }

  clear() {
    this.drawn = 0;
    this.wanted = 0;
    this.counts = {};
    this.size = 0;
    this.place.replaceChildren();
    this.zoom.hidden = true;
    this.say("The graph is being drawn.");
  }

  say(text) {
    this.problem.textContent = text;
    this.problem.hidden = !text;
  }

  hear({ picture, paint }) {
    if (paint) this.counts = paint;
    if (picture) {
      if (picture.problem) this.say(picture.problem);
      if (picture.drawn !== this.wanted) {
        this.wanted = picture.drawn;
        if (picture.drawn) this.load(picture.id, picture.drawn);
      }
    }
    if (paint) this.paint();
  }

  async load(id, drawn) {
    const answer = await fetch(`runs/${id}/picture.svg?drawn=${drawn}`);
    if (!answer.ok || drawn !== this.wanted) return;
    const text = await answer.text();
    if (drawn !== this.wanted) return;
    const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    this.place.replaceChildren(document.importNode(svg, true));
    this.drawn = drawn;
    const { width, height } = this.svg.viewBox.baseVal;
    this.natural = width;
    this.ratio = height / width;
    this.size ||= this.fitting();
    this.resize();
    this.zoom.hidden = false;
    this.say("");
    this.paint();
  }

  get svg() {
    return this.place.querySelector("svg");
  }

  // As large as it was drawn, unless it does not fit; but no smaller than one can read.
  fitting() {
    const across = this.place.clientWidth / this.natural;
    return this.natural * Math.min(1, Math.max(across, 0.5));
  }

  scaleBy(how) {
    if (!how || !this.svg) return;
    const factor = { in: 1.25, out: 0.8 }[how];
    this.size = factor ? this.size * factor : this.place.clientWidth;
    this.resize();
  }

  resize() {
    this.svg.setAttribute("width", this.size);
    this.svg.setAttribute("height", this.size * this.ratio);
  }

  paint() {
    if (!this.svg) return;
    for (const [id, counts] of Object.entries(this.counts)) {
      const shape = this.svg.getElementById(id);
      if (!shape) continue;
      const state = stateOf(counts);
      if (shape.dataset.state !== state) {
        shape.dataset.state = state;
        this.color(shape, ...COLORS[state]);
      }
      this.tell(shape, inWords(counts));
    }
  }

  color(shape, inside, around) {
    for (const outline of shape.querySelectorAll("rect, ellipse, circle, path, polygon")) {
      if (outline.getAttribute("fill") !== "none") outline.setAttribute("fill", inside);
      outline.setAttribute("stroke", around);
    }
  }

  tell(shape, words) {
    const title = shape.querySelector("title");
    if (!title) return;
    title.dataset.text ??= title.textContent;
    const text = `${title.dataset.text}\n${words}`;
    if (title.textContent !== text) title.textContent = text;
  }
}
