// A box that is dragged over a frame, or written as four fractions; the value is "left,top,right,bottom", "" for none.
const svg = element.querySelector("svg"), rect = element.querySelector(".box");
const sides = [...element.querySelectorAll("input")];
const high = svg.viewBox.baseVal.height;
let from = null;

let lines = "";
for (const third of [1 / 3, 2 / 3]) lines += `M${100 * third},0V${high}M0,${high * third}H100`;
element.querySelector(".thirds").setAttribute("d", lines);

function show(box) {
  const [left, top, right, bottom] = box ?? [0, 0, 0, 0];
  rect.setAttribute("x", 100 * left);
  rect.setAttribute("y", high * top);
  rect.setAttribute("width", Math.max(0, 100 * (right - left)));
  rect.setAttribute("height", Math.max(0, high * (bottom - top)));
}

function tell(value) {
  props.value = value;
  trigger("change");
}

function written() { // as it stands, whole or not: the server says what is wrong with it
  const texts = sides.map((side) => side.value.trim());
  const numbers = texts.map(Number);
  show(texts.every((text) => text !== "") && numbers.every(Number.isFinite) ? numbers : null);
  tell(texts.some((text) => text !== "") ? texts.join(",") : "");
}

function at(event) {
  const place = svg.getBoundingClientRect();
  const part = (where, start, size) => Math.min(1, Math.max(0, (where - start) / size));
  return [part(event.clientX, place.left, place.width), part(event.clientY, place.top, place.height)];
}

function boxTo(event) {
  const [x, y] = at(event);
  return [Math.min(from[0], x), Math.min(from[1], y), Math.max(from[0], x), Math.max(from[1], y)];
}

svg.addEventListener("pointerdown", (event) => {
  from = at(event);
  svg.setPointerCapture(event.pointerId);
  event.preventDefault();
});
svg.addEventListener("pointermove", (event) => { if (from) show(boxTo(event)); });
svg.addEventListener("pointercancel", () => { from = null; written(); });
svg.addEventListener("pointerup", (event) => {
  if (!from) return;
  const box = boxTo(event);
  from = null;
  const drawn = box[2] - box[0] > 0.01 && box[3] - box[1] > 0.01; // a click is no box
  if (drawn) sides.forEach((side, index) => { side.value = box[index].toFixed(3); });
  written();
});
sides.forEach((side) => side.addEventListener("input", written));
element.querySelector("button").addEventListener("click", () => {
  sides.forEach((side) => { side.value = ""; });
  written();
});
