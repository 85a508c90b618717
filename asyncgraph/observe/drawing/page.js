"use strict";
{
  const one = (id) => document.getElementById(id);
  const picture = one("picture"), svg = picture.querySelector("svg");
  const full = svg.viewBox.baseVal, width = full.width, height = full.height;
  const shapes = [...svg.querySelectorAll("[data-shape]")];
  const edges = [...svg.querySelectorAll("[data-from]")];
  const shapeOf = new Map(shapes.map((shape) => [shape.dataset.shape, shape]));

  // What tooltips say is shown in a box of the page's own: the browser's would come a second later.
  const words = new Map();
  for (const shape of shapes) {
    const title = shape.querySelector("title");
    words.set(shape, title.textContent);
    shape.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  svg.removeAttribute("width");
  svg.removeAttribute("height");

  // --- pan and zoom: what part of the picture is seen, and how large ---

  const view = { x: 0, y: 0, scale: 1 };
  const size = () => picture.getBoundingClientRect();

  function show() {
    const { width: w, height: h } = size();
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${w / view.scale} ${h / view.scale}`);
  }

  function fit() {
    const { width: w, height: h } = size();
    view.scale = Math.min(w / width, h / height, 1.5);
    view.x = (width - w / view.scale) / 2;
    view.y = (height - h / view.scale) / 2;
    show();
  }

  // A point of the window stays where it is in the picture; by default the middle.
  function zoom(factor, clientX, clientY) {
    const box = size();
    const x = (clientX ?? box.left + box.width / 2) - box.left;
    const y = (clientY ?? box.top + box.height / 2) - box.top;
    const scale = Math.min(Math.max(view.scale * factor, 0.005), 20);
    view.x += x / view.scale - x / scale;
    view.y += y / view.scale - y / scale;
    view.scale = scale;
    show();
  }

  function move(dx, dy) {
    view.x += dx / view.scale;
    view.y += dy / view.scale;
    show();
  }

  one("in").onclick = () => zoom(1.25);
  one("out").onclick = () => zoom(0.8);
  one("fit").onclick = fit;
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX, event.clientY);
  }, { passive: false });

  const fingers = new Map();
  picture.addEventListener("pointerdown", (event) => {
    if (event.button === 0) {
      fingers.set(event.pointerId, event);
      picture.setPointerCapture(event.pointerId);
      picture.classList.add("moving");
    }
  });
  picture.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) {
      return;
    }
    fingers.set(event.pointerId, event);
    const other = [...fingers.values()].find((each) => each.pointerId !== event.pointerId);
    if (other) {
      const distance = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
      zoom(distance(event) / Math.max(distance(before), 1), other.clientX, other.clientY);
    } else {
      move(before.clientX - event.clientX, before.clientY - event.clientY);
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    picture.addEventListener(kind, (event) => {
      fingers.delete(event.pointerId);
      picture.classList.toggle("moving", fingers.size > 0);
    });
  }
  new ResizeObserver(show).observe(picture);

  // --- details of what the pointer is over, or of the match that the search is at ---

  const details = one("details");
  let held = null;

  function tell(shape) {
    for (const each of svg.querySelectorAll(".near")) {
      each.classList.remove("near");
    }
    details.hidden = !shape;
    if (!shape) {
      return;
    }
    details.textContent = words.get(shape);
    shape.classList.add("near");
    const number = shape.dataset.shape;
    for (const edge of edges) {
      if (edge.dataset.from === number || edge.dataset.to === number) {
        edge.classList.add("near");
      }
    }
  }

  picture.addEventListener("pointerover", (event) => {
    const shape = event.target.closest("[data-shape]");
    if (fingers.size === 0) {
      tell(shape ?? held);
    }
  });
  picture.addEventListener("pointerleave", () => tell(held));

  // --- search ---

  const query = one("query"), found = one("found");
  // Labels and keys, not what calls are made with.
  const names = new Map(shapes.map((shape) => [
    shape, `${shape.querySelector("text").textContent}\n${words.get(shape).split(" = ")[0]}`.toLowerCase(),
  ]));
  let matches = [], at = -1;

  function search() {
    const wanted = query.value.trim().toLowerCase();
    matches = wanted ? shapes.filter((shape) => names.get(shape).includes(wanted)) : [];
    for (const shape of shapes) {
      shape.classList.toggle("match", matches.includes(shape));
    }
    picture.classList.toggle("searching", matches.length > 0);
    at = -1;
    if (matches.length) {
      go(1);
    } else {
      held = null;
      mark();
      found.textContent = wanted ? "nothing" : "";
    }
  }

  function mark() {
    for (const each of svg.querySelectorAll(".current")) {
      each.classList.remove("current");
    }
    held?.classList.add("current");
    tell(held);
  }

  function go(step) {
    if (!matches.length) {
      return;
    }
    at = (at + step + matches.length) % matches.length;
    held = matches[at];
    found.textContent = `${at + 1} of ${matches.length}`;
    const box = held.getBBox(), offset = svg.querySelector("g[transform]").transform.baseVal[0].matrix;
    const { width: w, height: h } = size();
    view.scale = Math.max(view.scale, 0.8);
    view.x = box.x + offset.e + box.width / 2 - w / view.scale / 2;
    view.y = box.y + offset.f + box.height / 2 - h / view.scale / 2;
    show();
    mark();
  }

  query.oninput = search;
  one("search").onsubmit = (event) => {
    event.preventDefault();
    go(1);
  };
  one("previous").onclick = () => go(-1);
  query.onkeydown = (event) => {
    if (event.key === "Enter" && event.shiftKey) {
      event.preventDefault();
      go(-1);
    } else if (event.key === "Escape") {
      query.value = "";
      search();
      picture.focus();
    }
  };

  const keys = {
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "0": fit,
    ArrowLeft: () => move(-60, 0), ArrowRight: () => move(60, 0),
    ArrowUp: () => move(0, -60), ArrowDown: () => move(0, 60),
    "/": () => query.focus(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target === query || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) {
      return;
    }
    event.preventDefault();
    keys[event.key]();
  });

  fit();
}
