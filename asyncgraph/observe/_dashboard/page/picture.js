// The picture of the graph: fetched when it was drawn anew, painted here as the states of its nodes change.

const STATES = ["waiting", "ready", "running", "finished", "failed", "not run", "cancelled"];

// Inside and around a shape: as the drawing has them, on light and on dark.
const COLORS = {
  waiting: ["#f1f3f5", "#adb5bd"], ready: ["#fff3bf", "#d9a400"], running: ["#c9e1fd", "#1c7ed6"],
  finished: ["#cdf0d5", "#2b9a58"], failed: ["#ffc9c9", "#e03131"],
  "not run": ["#fde2ee", "#c2628f"], cancelled: ["#e6dcf7", "#8a5bd8"],
};

// Of many nodes that are drawn as one shape: the first of these that one of them is in.
const SALIENT = [4, 2, 5, 6, 1, 0, 3];
const stateOf = (counts) => STATES[SALIENT.find((state) => counts[state]) ?? 0];

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
    this.wanted = 0;
    this.counts = [];
    this.shapes = new Map();
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
    this.shapes = new Map([...this.svg.querySelectorAll("[data-shape]")].map(
      (shape) => [Number(shape.dataset.shape), shape],
    ));
    this.dropLegend();
    this.size ||= this.fitting();
    this.resize();
    this.zoom.hidden = false;
    this.say("");
    this.paint();
  }

  // The page has one of its own, which knows all states.
  dropLegend() {
    const [graph, legend] = this.svg.querySelectorAll(":scope > g");
    legend?.remove();
    const { x, y, width, height } = graph.getBBox();
    this.natural = width + 24;
    this.ratio = (height + 24) / this.natural;
    const shift = graph.transform.baseVal.consolidate()?.matrix ?? { e: 0, f: 0 };
    const corner = [x + shift.e - 12, y + shift.f - 12];
    this.svg.setAttribute("viewBox", [...corner, this.natural, height + 24].join(" "));
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
    this.counts.forEach((counts, index) => {
      const shape = this.shapes.get(index);
      if (!shape) return;
      const state = stateOf(counts);
      if (shape.dataset.state !== state) {
        shape.dataset.state = state;
        const [inside, around] = COLORS[state];
        shape.setAttribute("fill", inside);
        shape.setAttribute("stroke", around);
      }
      this.tell(shape, inWords(counts));
    });
  }

  tell(shape, words) {
    const title = shape.querySelector("title");
    if (!title) return;
    title.dataset.text ??= title.textContent;
    const text = `${title.dataset.text}\n${words}`;
    if (title.textContent !== text) title.textContent = text;
  }
}
