"use strict";
const byId = (id) => document.getElementById(id);
const sharp = [];
let seen = -1;
const SVG = "http://www.w3.org/2000/svg";

function share(value) { return (100 * value).toFixed(value < 0.1 ? 2 : 1) + " %"; }

function drawHistogram(bins) {
  const top = Math.max(...bins) || 1, svg = byId("histogram"), width = 256 / bins.length;
  svg.replaceChildren(...bins.map((bin, place) => {
    const bar = document.createElementNS(SVG, "rect"), height = 80 * bin / top;
    bar.setAttribute("x", place * width); bar.setAttribute("width", width);
    bar.setAttribute("y", 80 - height); bar.setAttribute("height", height);
    if (place === bins.length - 1) bar.setAttribute("class", "end");
    return bar;
  }));
}

function drawCourse(best) {
  const top = Math.max(best, ...sharp, 1e-9);
  byId("curve").setAttribute("points", sharp.map((value, place) => `${240 - 2 * (sharp.length - 1 - place)},${60 - 56 * value / top}`).join(" "));
}

function show(state) {
  byId("camera").textContent = state.camera;
  byId("task").textContent = state.task;
  byId("told").textContent = state.told;
  byId("count").textContent = state.wanted ? `${state.taken} of ${state.wanted}` : "";
  byId("progress").hidden = !state.wanted;
  byId("progress").value = state.wanted ? state.taken / state.wanted : 0;
  byId("go").disabled = state.taking || state.step === "done";
  byId("skip").disabled = !state.can_skip;
  let past = true;
  for (const item of byId("steps").children) {
    item.hidden = !state.steps.includes(item.dataset.step);
    const now = item.dataset.step === state.step;
    if (now) past = false;
    item.className = now ? "now" : past ? "past" : "";
  }
  const reading = state.reading;
  if (!reading || state.frames === seen) return;
  seen = state.frames;
  byId("picture").src = "/picture.jpg?" + seen;
  byId("size").textContent = `${reading.width_px} × ${reading.height_px} px, frame ${state.frames}`;
  byId("sharpness").textContent = reading.sharpness.toFixed(1);
  byId("best").textContent = state.best.toFixed(1);
  byId("mean").textContent = reading.mean.toFixed(1) + " of 255";
  byId("saturated").textContent = share(reading.saturated);
  byId("dark").textContent = share(reading.dark);
  byId("advice").textContent = reading.advice;
  sharp.push(reading.sharpness);
  if (sharp.length > 120) sharp.shift();
  drawCourse(state.best);
  drawHistogram(reading.histogram);
}

async function tell(path) {
  const answer = await fetch(path, { method: "POST", headers: { "X-Commissioning": "1" } });
  if (answer.ok) show(await answer.json());
}

async function look() {
  try {
    const answer = await fetch("/state");
    if (answer.ok) show(await answer.json()); else byId("told").textContent = await answer.text();
  } catch { byId("told").textContent = "the program has ended"; }
  setTimeout(look, 200);
}

byId("go").addEventListener("click", () => tell("/go-on"));
byId("skip").addEventListener("click", () => tell("/skip"));
document.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLButtonElement || event.repeat) return;
  if (event.key === "Enter") tell("/go-on");
  if (event.key === "s") tell("/skip");
});
look();
