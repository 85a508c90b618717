// The page's timeline: a canvas of calls and two of counters, which show the same stretch of time.
"use strict";
(() => {
  const GUTTER = 118, AXIS = 22, COLORS = 8, TIP = document.getElementById("tip");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const duration = seconds => {
    const digits = value => +value.toPrecision(3);
    if (seconds < 0.9995e-3) return seconds >= 0.5e-6 ? `${digits(seconds * 1e6)} µs` : "0 s";
    if (seconds < 0.9995) return `${digits(seconds * 1e3)} ms`;
    if (seconds < 99.95) return `${digits(seconds)} s`;
    const whole = Math.round(seconds);
    return whole < 3600
      ? `${Math.floor(whole / 60)} min ${whole % 60} s`
      : `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
  };
  const size = count => {
    for (const unit of ["B", "kB", "MB", "GB"]) {
      if (count < 999.5) return `${+count.toPrecision(3)} ${unit}`;
      count /= 1000;
    }
    return `${+count.toPrecision(3)} TB`;
  };

  const column = (values, count) => Array.isArray(values) ? values : new Array(count).fill(values);

  // The first index at which an ascending array has a value above `limit`.
  const above = (values, limit) => {
    let low = 0, high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] > limit) high = middle; else low = middle + 1;
    }
    return low;
  };

  class Track {
    constructor(raw, names) {
      const count = raw.gap.length;
      this.name = raw.name;
      this.count = count;
      this.starts = new Float64Array(count);
      this.ends = new Float64Array(count);
      let at = 0;
      for (let index = 0; index < count; index++) {
        this.starts[index] = at += raw.gap[index];
        this.ends[index] = at += raw.long[index];
      }
      this.nameOf = raw.name_of;
      this.keys = raw.key;
      this.names = names;
      for (const each of ["outcome", "attempt", "waited", "size", "path"]) this[each] = column(raw[each], count);
    }
    keyOf(index) {
      const key = this.keys[index];
      return typeof key === "number" ? `${this.names[this.nameOf[index]]}-${key}` : key;
    }
  }

  class Timeline {
    constructor(root, data) {
      this.root = root;
      this.data = data;
      this.tracks = data.tracks.map(raw => new Track(raw, data.names));
      this.whole = Math.max(data.seconds / data.unit, 1);
      this.from = 0;
      this.to = this.whole;
      this.calls = root.querySelector("canvas.calls");
      this.counts = root.querySelector("canvas.counts");
      this.bytes = root.querySelector("canvas.bytes");
      this.found = root.querySelector("output");
      this.search = root.querySelector("input[type=search]");
      this.pathButton = root.querySelector("[data-do=path]");
      this.onlyPath = false;
      this.matches = null;
      this.match = -1;
      this.mark = null;
      this.rank();
      this.legend();
      this.listen();
      this.draw();
    }

    // Colors go to the functions that took most time.
    rank() {
      const totals = new Float64Array(this.data.names.length);
      for (const track of this.tracks)
        for (let index = 0; index < track.count; index++)
          totals[track.nameOf[index]] += track.ends[index] - track.starts[index];
      this.order = [...totals.keys()].sort((a, b) => totals[b] - totals[a] || a - b);
      this.colorOf = new Array(totals.length).fill(COLORS);
      this.order.slice(0, COLORS).forEach((name, place) => { this.colorOf[name] = place; });
    }

    legend() {
      const legend = this.root.querySelector(".legend"), names = this.data.names;
      const add = (text, color, search) => {
        const button = document.createElement("button"), dot = document.createElement("i");
        dot.style.background = `var(--c${color})`;
        button.append(dot, text);
        button.title = search === null ? "" : `find the calls of ${text}`;
        if (search !== null) button.addEventListener("click", () => {
          this.search.value = this.search.value === search ? "" : search;
          this.find();
        });
        legend.append(button);
      };
      for (const name of this.order.slice(0, COLORS)) add(names[name], this.colorOf[name], names[name]);
      if (this.order.length > COLORS) add(`${this.order.length - COLORS} others`, "x", null);
    }

    listen() {
      const act = { in: () => this.zoom(0.5), out: () => this.zoom(2), all: () => this.show(0, this.whole),
        path: () => { this.onlyPath = !this.onlyPath; this.pathButton.setAttribute("aria-pressed", this.onlyPath); } };
      for (const button of this.root.querySelectorAll("[data-do]"))
        button.addEventListener("click", () => { act[button.dataset.do](); this.soon(); });
      this.search.addEventListener("input", () => this.find());
      this.search.addEventListener("keydown", event => { if (event.key === "Enter") this.next(); });
      for (const canvas of [this.calls, this.counts, this.bytes]) this.listenTo(canvas);
      new ResizeObserver(() => this.soon()).observe(this.root);
      dark.addEventListener("change", () => this.soon());
    }

    listenTo(canvas) {
      let held = null;
      canvas.addEventListener("wheel", event => {
        const zooms = event.ctrlKey || event.metaKey || event.altKey;
        if (zooms) this.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 200))), this.timeAt(event));
        else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(event.deltaX / this.width());
        else return;
        event.preventDefault();
      }, { passive: false });
      canvas.addEventListener("pointerdown", event => {
        if (event.button) return;
        held = event.offsetX;
        canvas.setPointerCapture(event.pointerId);
        canvas.classList.add("held");
      });
      canvas.addEventListener("pointermove", event => {
        if (held !== null) {
          this.pan((held - event.offsetX) / this.width());
          held = event.offsetX;
        } else this.hover(event, canvas);
      });
      const release = () => { held = null; canvas.classList.remove("held"); };
      canvas.addEventListener("pointerup", release);
      canvas.addEventListener("pointercancel", release);
      canvas.addEventListener("pointerleave", () => this.leave());
      canvas.addEventListener("dblclick", event => this.zoom(event.shiftKey ? 2 : 0.5, this.timeAt(event)));
      canvas.addEventListener("keydown", event => {
        const act = { ArrowLeft: () => this.pan(-0.1), ArrowRight: () => this.pan(0.1), "+": () => this.zoom(0.5),
          "=": () => this.zoom(0.5), "-": () => this.zoom(2), "0": () => this.show(0, this.whole) }[event.key];
        if (act) { act(); event.preventDefault(); }
      });
    }

    // -- what stretch of time is shown

    width() { return Math.max(this.calls.clientWidth - GUTTER - 8, 1); }
    x(time) { return GUTTER + (time - this.from) / (this.to - this.from) * this.width(); }
    timeAt(event) { return this.from + (event.offsetX - GUTTER) / this.width() * (this.to - this.from); }

    show(from, to) {
      const span = Math.min(Math.max(to - from, 5), this.whole);
      const middle = (from + to) / 2;
      this.from = Math.min(Math.max(middle - span / 2, 0), this.whole - span);
      this.to = this.from + span;
      this.soon();
    }
    zoom(factor, around = (this.from + this.to) / 2) {
      const at = Math.min(Math.max(around, this.from), this.to);
      this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
    }
    pan(part) {
      const span = this.to - this.from;
      const from = Math.min(Math.max(this.from + part * span, 0), this.whole - span);
      this.show(from, from + span);
    }

    // -- finding

    find() {
      const wanted = this.search.value.trim().toLowerCase();
      this.match = -1;
      this.mark = null;
      if (!wanted) { this.matches = null; this.found.textContent = ""; this.soon(); return; }
      this.matches = [];
      this.tracks.forEach((track, row) => {
        for (let index = 0; index < track.count; index++)
          if (track.keyOf(index).toLowerCase().includes(wanted)
              || track.names[track.nameOf[index]].toLowerCase() === wanted) this.matches.push([row, index]);
      });
      this.matches.sort((a, b) => this.tracks[a[0]].starts[a[1]] - this.tracks[b[0]].starts[b[1]]);
      this.isMatch = this.tracks.map(track => new Uint8Array(track.count));
      for (const [row, index] of this.matches) this.isMatch[row][index] = 1;
      const count = this.matches.length;
      this.found.textContent = count === 1 ? "1 call" : `${count} calls`;
      this.soon();
    }
    next() {
      if (!this.matches || !this.matches.length) return;
      this.match = (this.match + 1) % this.matches.length;
      const [row, index] = this.matches[this.match], track = this.tracks[row];
      this.mark = [row, index];
      const long = track.ends[index] - track.starts[index], middle = track.starts[index] + long / 2;
      const span = Math.min(this.to - this.from, Math.max(long * 8, this.whole / 50));
      this.show(middle - span / 2, middle + span / 2);
      const top = this.top(row), box = this.calls.parentElement;
      if (top < box.scrollTop || top + this.rowHeight > box.scrollTop + box.clientHeight)
        box.scrollTop = top - box.clientHeight / 2;
      this.found.textContent = `${this.match + 1} of ${this.matches.length}: ${track.keyOf(index)}`;
    }

    // -- pointing

    // The call at a place of the canvas, as [row, index], or null; within two pixels, as calls may be thin.
    at(offsetX, offsetY) {
      const row = Math.floor((offsetY - AXIS) / this.rowHeight), track = this.tracks[row];
      if (!track || offsetX < GUTTER - 2) return null;
      const time = this.from + (offsetX - GUTTER) / this.width() * (this.to - this.from);
      const near = 2 / this.width() * (this.to - this.from);
      const first = above(track.ends, time - near);
      let best = null, distance = Infinity;
      for (let index = first; index < track.count && track.starts[index] <= time + near; index++) {
        const away = Math.max(track.starts[index] - time, time - track.ends[index], 0);
        if (away < distance) { best = [row, index]; distance = away; }
        if (!away) break;
      }
      return best;
    }
    hover(event, canvas) {
      this.cursor = Math.min(Math.max(this.timeAt(event), this.from), this.to);
      const hit = canvas === this.calls ? this.at(event.offsetX, event.offsetY) : null;
      this.mark = hit;
      TIP.textContent = hit ? this.about(...hit) : canvas === this.calls ? "" : this.values(this.cursor);
      TIP.hidden = !TIP.textContent;
      if (!TIP.hidden) {
        const wide = TIP.offsetWidth, high = TIP.offsetHeight;
        TIP.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - wide - 8))}px`;
        TIP.style.top = `${event.clientY + 18 + high > innerHeight ? event.clientY - high - 10 : event.clientY + 18}px`;
      }
      this.soon(true);
    }
    leave() { TIP.hidden = true; this.mark = null; this.cursor = undefined; this.soon(true); }

    about(row, index) {
      const track = this.tracks[row], unit = this.data.unit, outcome = this.data.outcomes[track.outcome[index]];
      const lines = [track.keyOf(index), `${track.name}, ${duration((track.ends[index] - track.starts[index]) * unit)}`
        + ` from ${duration(track.starts[index] * unit)} on`];
      if (track.waited[index] > 0) lines.push(`waited ${duration(track.waited[index] * unit)} for it`);
      if (track.attempt[index] > 1) lines.push(`attempt ${track.attempt[index]}`);
      if (outcome === "retried") lines.push("failed, and was tried again");
      else if (outcome === "expanded") lines.push("returned a node");
      else if (outcome !== "finished") lines.push(outcome);
      if (track.size[index] >= 0) lines.push(`value: about ${size(track.size[index])}`);
      if (track.path[index]) lines.push("on the critical path");
      return lines.join("\n");
    }
    valueAt([times, values], time) {
      const index = above(times, time) - 1;
      return index < 0 ? 0 : values[index];
    }
    values(time) {
      return `${duration(time * this.data.unit)}: ${this.valueAt(this.data.running, time)} running, `
        + `${this.valueAt(this.data.ready, time)} ready\nlive results: about ${size(this.valueAt(this.data.alive, time))}`;
    }

    // -- drawing

    // Asks for a new picture; `lightly`, if only what is pointed at has changed.
    soon(lightly = false) {
      if (!lightly) this.base = null;
      if (this.asked) return;
      this.asked = true;
      requestAnimationFrame(() => { this.asked = false; this.draw(); });
    }
    top(row) { return AXIS + row * this.rowHeight; }

    prepare(canvas, height) {
      const ratio = devicePixelRatio || 1, width = canvas.parentElement.clientWidth;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
        canvas.style.height = `${height}px`;
      }
      const pen = canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      pen.font = "12px system-ui, sans-serif";
      pen.textBaseline = "middle";
      return pen;
    }

    draw() {
      if (!this.root.offsetParent) return;
      const rows = this.tracks.length;
      this.rowHeight = Math.max(7, Math.min(24, 600 / Math.max(rows, 1)));
      this.ink = { text: css("--text"), soft: css("--soft"), line: css("--line"), fill: css("--fill"), bad: css("--bad"),
        label: css("--label"), call: css("--accent"), slot: css("--slot"), worker: css("--c2"),
        colors: [...Array(COLORS).keys()].map(each => css(`--c${each}`)).concat(css("--cx")) };
      this.drawCalls();
      this.drawStrip(this.counts, [[this.data.ready, this.ink.slot, 0.35], [this.data.running, this.ink.call, 0]], String);
      this.drawStrip(this.bytes, [[this.data.alive, this.ink.worker, 0.3]], size);
      this.drawn = (this.drawn || 0) + 1;
    }

    axis(pen, height) {
      const seconds = (this.to - this.from) * this.data.unit, rough = seconds / Math.max(this.width() / 110, 1);
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].find(each => each * power >= rough) * power;
      pen.fillStyle = this.ink.soft;
      pen.strokeStyle = this.ink.line;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.textAlign = "center";
      for (let time = Math.ceil(this.from * this.data.unit / step) * step; time <= this.to * this.data.unit * 1.000001; time += step) {
        const x = this.x(time / this.data.unit), text = duration(time), half = pen.measureText(text).width / 2;
        pen.moveTo(x, AXIS - 4);
        pen.lineTo(x, height);
        pen.fillText(text, Math.min(Math.max(x, GUTTER + half), GUTTER + this.width() + 8 - half), 9);
      }
      pen.stroke();
    }

    drawCalls() {
      const height = AXIS + this.rowHeight * Math.max(this.tracks.length, 1) + 4, pen = this.prepare(this.calls, height);
      const bar = Math.max(this.rowHeight - (this.rowHeight > 10 ? 4 : 1), 2);
      const { width } = this.calls.getBoundingClientRect();
      if (this.base) pen.drawImage(this.base, 0, 0, width, height);
      else {
        this.axis(pen, height);
        this.drawStalls(pen, height);
        this.tracks.forEach((track, row) => this.drawTrack(pen, track, row, bar));
        pen.globalAlpha = 1;
        this.drawNames(pen, height);
        this.base = new OffscreenCanvas(this.calls.width, this.calls.height);
        this.base.getContext("2d").drawImage(this.calls, 0, 0);
      }
      if (this.mark) this.drawMark(pen, ...this.mark, bar);
      this.drawCursor(pen, height);
    }
    drawStalls(pen, height) {
      pen.fillStyle = this.ink.bad;
      for (const [began, long] of this.data.stalls) {
        const left = Math.max(this.x(began), GUTTER), right = Math.min(this.x(began + long), GUTTER + this.width());
        if (right < left) continue;
        pen.globalAlpha = 0.14;
        pen.fillRect(left, AXIS, Math.max(right - left, 1), height - AXIS);
        pen.globalAlpha = 1;
        pen.fillRect(left, AXIS - 4, Math.max(right - left, 2), 3);
      }
    }
    drawTrack(pen, track, row, bar) {
      const y = this.top(row) + (this.rowHeight - bar) / 2, edge = GUTTER + this.width();
      let filled = -1, ink = "", alpha = -1;
      const paint = (color, opacity) => {
        if (color !== ink) pen.fillStyle = ink = color;
        if (opacity !== alpha) pen.globalAlpha = alpha = opacity;
      };
      pen.textAlign = "left";
      pen.font = `${bar < 14 ? 10 : 12}px system-ui, sans-serif`;
      for (let index = above(track.ends, this.from - 1e-9); index < track.count && track.starts[index] <= this.to; index++) {
        const left = Math.max(this.x(track.starts[index]), GUTTER), right = Math.min(this.x(track.ends[index]), edge);
        const lit = (!this.matches || this.isMatch[row][index]) && (!this.onlyPath || track.path[index]);
        const thin = right - left < 1;
        // Of what falls on one column of pixels, one is drawn, and what is looked for before all others.
        if (thin && Math.floor(left) === filled && !(lit && (this.matches || this.onlyPath))) continue;
        paint(this.ink.colors[this.colorOf[track.nameOf[index]]], lit ? 1 : 0.16);
        const wide = Math.max(right - left - (right - left > 4 ? 1 : 0), 1);
        pen.fillRect(left, y, wide, bar);
        if (thin) filled = Math.floor(left);
        if (track.outcome[index] && track.outcome[index] !== 4) {
          paint(this.ink.bad, alpha);
          pen.fillRect(left, y + bar - 3, wide, 3);
        }
        if (track.path[index] && bar > 6) {
          paint(this.ink.text, alpha);
          pen.fillRect(left, y, wide, 2);
        }
        if (bar >= 10 && wide > 30) {
          paint(this.ink.label, alpha);
          this.label(pen, track, index, left, wide, y + bar / 2 + 0.5);
        }
      }
    }
    label(pen, track, index, left, wide, y) {
      const key = track.keyOf(index), name = track.names[track.nameOf[index]];
      const text = [key, name].find(each => pen.measureText(each).width < wide - 8);
      if (text) pen.fillText(text, left + 4, y);
    }
    drawMark(pen, row, index, bar) {
      const track = this.tracks[row], left = Math.max(this.x(track.starts[index]), GUTTER);
      const right = Math.min(this.x(track.ends[index]), GUTTER + this.width());
      if (right < GUTTER || left > GUTTER + this.width()) return;
      pen.strokeStyle = this.ink.text;
      pen.lineWidth = 2;
      pen.strokeRect(left - 1, this.top(row) + (this.rowHeight - bar) / 2 - 1, Math.max(right - left, 1) + 2, bar + 2);
    }
    drawNames(pen, height) {
      pen.font = "12px system-ui, sans-serif";
      pen.clearRect(0, 0, GUTTER - 2, height);
      pen.fillStyle = this.ink.soft;
      pen.textAlign = "right";
      const every = Math.ceil(13 / this.rowHeight);
      this.tracks.forEach((track, row) => {
        if (row % every === 0) pen.fillText(track.name, GUTTER - 10, this.top(row) + this.rowHeight / 2 + 0.5, GUTTER - 12);
      });
    }
    drawCursor(pen, height) {
      if (this.cursor === undefined) return;
      const x = this.x(this.cursor);
      pen.globalAlpha = 0.5;
      pen.fillStyle = this.ink.text;
      pen.fillRect(x, AXIS - 4, 1, height);
      pen.globalAlpha = 1;
    }

    drawStrip(canvas, lines, words) {
      const height = 74, pen = this.prepare(canvas, height), floor = height - 4, roof = 8;
      const most = Math.max(1, ...lines.map(([[, values]]) => values.reduce((a, b) => Math.max(a, b), 0)));
      pen.strokeStyle = this.ink.line;
      pen.lineWidth = 1;
      pen.strokeRect(GUTTER - 0.5, roof - 0.5, this.width() + 1, floor - roof + 1);
      pen.save();
      pen.beginPath();
      pen.rect(GUTTER, 0, this.width(), height);
      pen.clip();
      for (const [[times, values], color, fill] of lines) {
        const y = value => floor - value / most * (floor - roof);
        let index = Math.max(above(times, this.from) - 1, 0), level = floor;
        pen.beginPath();
        pen.moveTo(GUTTER, floor);
        if (times.length && times[index] <= this.from) pen.lineTo(GUTTER, level = y(values[index]));
        for (; index < times.length && times[index] <= this.to; index++) {
          const x = Math.max(this.x(times[index]), GUTTER);
          pen.lineTo(x, level);
          pen.lineTo(x, level = y(values[index]));
        }
        pen.lineTo(GUTTER + this.width(), level);
        pen.strokeStyle = pen.fillStyle = color;
        pen.lineWidth = 1.5;
        pen.stroke();
        if (fill) {
          pen.lineTo(GUTTER + this.width(), floor);
          pen.globalAlpha = fill;
          pen.fill();
          pen.globalAlpha = 1;
        }
      }
      pen.restore();
      pen.fillStyle = this.ink.soft;
      pen.textAlign = "right";
      pen.fillText(words(most), GUTTER - 10, roof + 4);
      pen.fillText("0", GUTTER - 10, floor - 4);
      this.drawCursor(pen, height);
    }
  }

  // -- the rest of the page

  const sortable = table => {
    table.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
      const head = button.closest("th"), place = [...head.parentElement.children].indexOf(head);
      const way = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
      for (const each of head.parentElement.children) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", way);
      const value = row => {
        const text = row.children[place].dataset.value;
        return text === undefined ? row.children[place].textContent : +text;
      };
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => { const [x, y] = [value(a), value(b)]; return (x > y) - (x < y); });
      if (way === "descending") rows.reverse();
      table.tBodies[0].append(...rows);
    }));
  };

  const timelines = {}, articles = [...document.querySelectorAll("article")];
  const show = id => {
    for (const article of articles) article.hidden = article.dataset.run !== id;
    if (!timelines[id]) {
      const data = document.getElementById(`data-${id}`), root = document.querySelector(`#run-${id} .timeline`);
      if (data && root) timelines[id] = new Timeline(root, JSON.parse(data.textContent));
    } else timelines[id].soon();
  };
  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll("[data-whole]").forEach(button => button.addEventListener("click", () => {
    const whole = button.closest("section").querySelector(".graph").classList.toggle("whole");
    button.setAttribute("aria-pressed", whole);
  }));
  const choice = document.getElementById("choice");
  if (choice) choice.addEventListener("change", () => show(choice.value));
  if (articles.length) show(choice ? choice.value : articles[0].dataset.run);
  window.report = { timelines };
})();
