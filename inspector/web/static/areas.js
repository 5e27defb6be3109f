// Areas of a label as the editor works on them: boxes, polygons and masks; their geometry, and to and from the API.
// { cls, kind: "box", x, y, width, height } · { cls, kind: "polygon", points: [[x, y], …] } · { cls, kind: "mask", pixels, bounds }
// `pixels` is a Uint8Array of a picture's width × height, 1 where it is marked; it is replaced and never changed in place, so
// that what undo keeps stays as it was. An area without `cls` does not count.
"use strict";
(() => {
  // COCO's run lengths go column after column and begin with unmarked pixels.
  const toRuns = (pixels, width, height) => {
    const counts = [];
    let value = 0, count = 0;
    for (let x = 0; x < width; x++)
      for (let at = x, y = 0; y < height; y++, at += width) {
        if (pixels[at] !== value) {
          counts.push(count);
          count = 0;
          value = pixels[at];
        }
        count++;
      }
    counts.push(count);
    return counts;
  };
  const fromRuns = (counts, width, height) => {
    const pixels = new Uint8Array(width * height);
    let place = 0, value = 0;
    for (const count of counts) {
      if (value)
        for (let n = place; n < place + count; n++) pixels[(n % height) * width + Math.floor(n / height)] = 1;
      place += count;
      value ^= 1;
    }
    return pixels;
  };

  const fromApi = (area, size) => {
    const cls = area.class;
    if (area.box) {
      const [x, y, width, height] = area.box;
      return { cls, kind: "box", x, y, width, height };
    }
    if (area.polygon) return { cls, kind: "polygon", points: area.polygon.map((point) => [...point]) };
    return { cls, kind: "mask", pixels: fromRuns(area.mask.counts, size.width, size.height) };
  };
  const toApi = (area, size) => {
    if (area.kind === "box") return { class: area.cls, box: [area.x, area.y, area.width, area.height] };
    if (area.kind === "polygon") return { class: area.cls, polygon: area.points };
    return { class: area.cls, mask: { size: [size.height, size.width], counts: toRuns(area.pixels, size.width, size.height) } };
  };

  const areaOf = (area) => {
    if (area.kind === "box") return area.width * area.height;
    if (area.kind === "mask") return area.pixels.reduce((sum, one) => sum + one, 0);
    let twice = 0;
    area.points.forEach(([x, y], n) => {
      const [nextX, nextY] = area.points[(n + 1) % area.points.length];
      twice += x * nextY - nextX * y;
    });
    return Math.abs(twice) / 2;
  };
  const corners = ({ x, y, width, height }) => [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
  const inPolygon = (points, [x, y]) => {
    let inside = false;
    for (let n = 0, last = points.length - 1; n < points.length; last = n++) {
      const [ax, ay] = points[n], [bx, by] = points[last];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    }
    return inside;
  };
  const holds = (area, place, size) => {
    if (area.kind === "polygon") return inPolygon(area.points, place);
    if (area.kind === "box") return inPolygon(corners(area), place);
    const [x, y] = place.map(Math.floor);
    return x >= 0 && y >= 0 && x < size.width && y < size.height && area.pixels[y * size.width + x] === 1;
  };
  const clamp = (value, most) => Math.min(most, Math.max(0, value));
  const movedBy = (area, dx, dy, size) => {
    if (area.kind === "box")
      return { ...area, x: clamp(Math.round(area.x + dx), size.width - area.width), y: clamp(Math.round(area.y + dy), size.height - area.height) };
    if (area.kind === "polygon") {
      const xs = area.points.map(([x]) => x), ys = area.points.map(([, y]) => y);
      const x = Math.min(Math.max(dx, -Math.min(...xs)), size.width - Math.max(...xs));
      const y = Math.min(Math.max(dy, -Math.min(...ys)), size.height - Math.max(...ys));
      return { ...area, points: area.points.map(([px, py]) => [px + x, py + y]) };
    }
    return area;
  };
  // A box from two corners, at the nearest edges of pixels and within the picture, one pixel at least.
  const boxOf = ([ax, ay], [bx, by], size) => {
    const x = clamp(Math.round(Math.min(ax, bx)), size.width - 1), y = clamp(Math.round(Math.min(ay, by)), size.height - 1);
    const right = clamp(Math.round(Math.max(ax, bx)), size.width), bottom = clamp(Math.round(Math.max(ay, by)), size.height);
    return { x, y, width: Math.max(1, right - x), height: Math.max(1, bottom - y) };
  };
  // The corner or edge of an area near a place: { corner } to drag, { edge, place } to add a corner at; null if none is near.
  const grip = (area, place, near) => {
    if (area.kind === "mask") return null;
    const points = area.kind === "box" ? corners(area) : area.points;
    let best = null, least = near;
    points.forEach(([x, y], corner) => {
      const apart = Math.hypot(x - place[0], y - place[1]);
      if (apart < least) [best, least] = [{ corner }, apart];
    });
    if (best || area.kind === "box") return best;
    points.forEach(([ax, ay], edge) => {
      const [bx, by] = points[(edge + 1) % points.length];
      const length = (bx - ax) ** 2 + (by - ay) ** 2 || 1;
      const share = clamp(((place[0] - ax) * (bx - ax) + (place[1] - ay) * (by - ay)) / length, 1);
      const on = [ax + share * (bx - ax), ay + share * (by - ay)];
      const apart = Math.hypot(on[0] - place[0], on[1] - place[1]);
      if (apart < least) [best, least] = [{ edge, place: on }, apart];
    });
    return best;
  };
  // A stroke of the brush or the eraser from one place to another: other pixels, or the same ones if nothing changes.
  const stroked = (pixels, size, from, to, radius, value) => {
    const left = Math.max(0, Math.floor(Math.min(from[0], to[0]) - radius)), right = Math.min(size.width - 1, Math.ceil(Math.max(from[0], to[0]) + radius));
    const top = Math.max(0, Math.floor(Math.min(from[1], to[1]) - radius)), bottom = Math.min(size.height - 1, Math.ceil(Math.max(from[1], to[1]) + radius));
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const length = dx * dx + dy * dy || 1;
    for (let y = top; y <= bottom; y++)
      for (let x = left; x <= right; x++) {
        const share = clamp(((x + 0.5 - from[0]) * dx + (y + 0.5 - from[1]) * dy) / length, 1);
        if (Math.hypot(x + 0.5 - from[0] - share * dx, y + 0.5 - from[1] - share * dy) <= radius) pixels[y * size.width + x] = value;
      }
  };
  // A mask as something to draw: its pixels in a colour, on a canvas of the picture's size.
  const pictured = (pixels, size, colour) => {
    const canvas = document.createElement("canvas");
    canvas.width = size.width;
    canvas.height = size.height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(size.width, size.height);
    const words = new Uint32Array(image.data.buffer);
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const word = (0xff << 24) | (blue << 16) | (green << 8) | red;
    for (let at = 0; at < pixels.length; at++) if (pixels[at]) words[at] = word;
    context.putImageData(image, 0, 0);
    return canvas;
  };

  window.areas = { toRuns, fromRuns, fromApi, toApi, areaOf, corners, holds, movedBy, boxOf, grip, stroked, pictured, clamp };
})();
