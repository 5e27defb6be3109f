// A picture on a canvas, at full resolution: zoom, pan, a heat map over it, boxes, and what a page draws besides.
// Coordinates of the picture are its pixels, (0, 0) its upper left corner. Two viewers may share one look.
"use strict";
(() => {
  const LEAST = 0.02, MOST = 64;

  class Viewer {
    constructor(host, { drag = true } = {}) {
      this.host = host;
      this.canvas = document.createElement("canvas");
      this.canvas.className = "viewer-canvas";
      host.append(this.canvas);
      this.context = this.canvas.getContext("2d");
      this.picture = null;
      this.heat = null;
      this.opacity = 0.55;
      this.boxes = [];
      this.layers = [];
      this.scale = 1;
      this.left = 0;
      this.top = 0;
      this.fitted = true;
      this.twin = null;
      this.dragging = drag;
      this.pointers = new Map();
      this.onDrawn = null;
      new ResizeObserver(() => this.resized()).observe(host);
      this.listen();
      this.resized();
    }

    // What is shown. `picture` and `heat` are image bitmaps, or null.
    show(picture, heat = null, boxes = []) {
      const other = !this.picture || !picture || this.picture.width !== picture.width || this.picture.height !== picture.height;
      this.picture = picture;
      this.heat = heat;
      this.boxes = boxes;
      if (other || this.fitted) this.fit();
      else this.draw();
    }

    resized() {
      const ratio = devicePixelRatio || 1;
      const { clientWidth: width, clientHeight: height } = this.host;
      if (!width || !height) return;
      this.ratio = ratio;
      this.width = width;
      this.height = height;
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      if (this.fitted) this.fit();
      else this.draw();
    }

    // All of the picture, as large as it gets.
    fit() {
      this.fitted = true;
      if (this.picture && this.width) {
        this.scale = Math.min(this.width / this.picture.width, this.height / this.picture.height) * 0.98;
        this.left = (this.width - this.picture.width * this.scale) / 2;
        this.top = (this.height - this.picture.height * this.scale) / 2;
      }
      this.draw();
    }

    // By a factor around a place of the canvas, its middle without one.
    zoom(factor, x = this.width / 2, y = this.height / 2) {
      const scale = Math.min(MOST, Math.max(LEAST, this.scale * factor));
      this.left = x - ((x - this.left) * scale) / this.scale;
      this.top = y - ((y - this.top) * scale) / this.scale;
      this.scale = scale;
      this.fitted = false;
      this.moved();
    }

    pan(x, y) {
      this.left += x;
      this.top += y;
      this.fitted = false;
      this.moved();
    }

    // The twin looks at the same place, whatever size its canvas is.
    moved() {
      this.draw();
      const twin = this.twin;
      if (!twin || !twin.picture || !this.picture) return;
      const share = twin.picture.width / this.picture.width;
      const [x, y] = this.at(this.width / 2, this.height / 2);
      twin.scale = this.scale / share;
      twin.left = twin.width / 2 - x * share * twin.scale;
      twin.top = twin.height / 2 - y * share * twin.scale;
      twin.fitted = false;
      twin.draw();
    }

    // From the canvas to the picture.
    at(x, y) {
      return [(x - this.left) / this.scale, (y - this.top) / this.scale];
    }

    place(event) {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    }

    draw() {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        this.paint();
        if (this.onDrawn) this.onDrawn();
      });
    }

    paint() {
      const { context: c, ratio, scale, left, top, picture } = this;
      if (!ratio) return;
      c.setTransform(1, 0, 0, 1, 0, 0);
      c.clearRect(0, 0, this.canvas.width, this.canvas.height);
      if (!picture) return;
      c.setTransform(scale * ratio, 0, 0, scale * ratio, left * ratio, top * ratio);
      c.imageSmoothingEnabled = scale < 2;
      c.imageSmoothingQuality = "high";
      c.drawImage(picture, 0, 0);
      if (this.heat && this.opacity > 0) {
        c.globalAlpha = this.opacity;
        c.imageSmoothingEnabled = true;
        c.drawImage(this.heat, 0, 0, picture.width, picture.height);
        c.globalAlpha = 1;
      }
      for (const box of this.boxes) this.frame(box);
      for (const layer of this.layers) layer(c, this);
    }

    // A box with its words; dark and bright lines, so that it is seen on any ground.
    frame({ x, y, width, height, text, colour = "#ffd166" }) {
      const { context: c, scale } = this;
      c.lineWidth = 4 / scale;
      c.strokeStyle = "rgb(0 0 0 / 70%)";
      c.strokeRect(x, y, width, height);
      c.lineWidth = 2 / scale;
      c.strokeStyle = colour;
      c.strokeRect(x, y, width, height);
      if (!text) return;
      const size = 12 / scale;
      c.font = `600 ${size}px system-ui, sans-serif`;
      const wide = c.measureText(text).width + size * 0.8;
      const up = y - size * 1.5 < -this.top / scale ? y + height : y - size * 1.5;
      c.fillStyle = "rgb(10 16 22 / 82%)";
      c.fillRect(x, up, wide, size * 1.5);
      c.fillStyle = colour;
      c.fillText(text, x + size * 0.4, up + size * 1.1);
    }

    listen() {
      const canvas = this.canvas;
      canvas.addEventListener("wheel", (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...this.place(event));
      }, { passive: false });
      canvas.addEventListener("pointerdown", (event) => {
        this.pointers.set(event.pointerId, this.place(event));
        if (this.pointers.size === 2 || this.dragging || event.button === 1) canvas.setPointerCapture(event.pointerId);
        if (event.button === 1) event.preventDefault();
      });
      canvas.addEventListener("pointermove", (event) => this.follow(event));
      for (const over of ["pointerup", "pointercancel", "pointerleave"])
        canvas.addEventListener(over, (event) => this.pointers.delete(event.pointerId));
      canvas.addEventListener("dblclick", () => this.dragging && this.fit());
      canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    }

    // One pointer pans, if this viewer is dragged or the middle button is down; two pinch.
    follow(event) {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const now = this.place(event);
      if (this.pointers.size === 2) {
        const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        const apart = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
        this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
        this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else if (this.dragging || event.buttons & 4) {
        this.pan(now[0] - before[0], now[1] - before[1]);
      }
      this.pointers.set(event.pointerId, now);
    }

    get pinching() {
      return this.pointers.size > 1;
    }
  }

  // A picture of the desk, decoded beside the page's own work; null if it is not there.
  const load = async (path) => {
    if (!path) return null;
    try {
      const answer = await fetch(path, { credentials: "same-origin" });
      return answer.ok ? await createImageBitmap(await answer.blob()) : null;
    } catch {
      return null;
    }
  };

  // Calls `start(root, about)` once the page has made the element `id`; `about` is what it says of itself.
  const whenThere = (id, start) => {
    const look = () => {
      const root = document.getElementById(id);
      if (!root) return setTimeout(look, 20);
      start(root, JSON.parse(document.getElementById(`${id}-about`).textContent));
    };
    look();
  };

  // An element with attributes, properties and children; text is text, whatever it looks like.
  const make = (tag, about = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(about)) {
      if (value === undefined || value === null || value === false) continue;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (key === "class") element.className = value;
      else if (key === "style") element.style.cssText = value;
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };

  // Where to log in again and come back.
  const loginPath = () => `/login?next=${encodeURIComponent(location.pathname + location.search)}&why=over`;

  // A request of the API. Throws { status, kind, message }; status 0 if the desk cannot be reached. A login that is over
  // leads to /login, unless the page `stays` to say what it keeps until then.
  const ask = async (method, path, body, stays = false) => {
    let answer;
    try {
      answer = await fetch(path, {
        method,
        credentials: "same-origin",
        headers: body === undefined ? {} : { "Content-Type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch {
      throw { status: 0, kind: "Unreachable", message: "the desk cannot be reached: it is tried again" };
    }
    const said = answer.status === 204 ? null : await answer.json().catch(() => null);
    if (answer.ok) return said;
    if (answer.status === 401 && !stays) location.assign(loginPath());
    const error = said?.error ?? { kind: "HttpError", message: `the desk answered ${answer.status}` };
    throw { status: answer.status, ...error };
  };

  // Whether a key is for the page, and not for a field that somebody types in.
  const isTyped = (event) => !!event.target.closest?.("input, textarea, select, [contenteditable=true], dialog");

  window.viewer = { Viewer, load, whenThere, make, ask, loginPath, isTyped };
})();
