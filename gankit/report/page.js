"use strict";
(() => {
  const boxes = [];
  const all = document.querySelector(".all");
  const together = all && all.querySelector("input");
  for (const element of document.querySelectorAll(".steps")) {
    const shown = element.querySelector("img");
    const control = element.querySelector(".control");
    const earlier = element.querySelector(".earlier");
    if (!shown || !control || !earlier) continue;
    const range = control.querySelector("input");
    const said = control.querySelector("output");
    const frames = [...earlier.querySelectorAll("img"), shown].map((image) => ({
      src: image.src,
      alt: image.alt,
      width: image.getAttribute("width"),
      height: image.getAttribute("height"),
      step: Number(image.dataset.step),
    }));
    const show = (index) => {
      const frame = frames[index];
      range.value = index;
      range.setAttribute("aria-valuetext", frame.alt);
      said.textContent = "step " + frame.step.toLocaleString("en");
      if (shown.src === frame.src) return;
      shown.src = frame.src;
      shown.alt = frame.alt;
      shown.setAttribute("width", frame.width);
      shown.setAttribute("height", frame.height);
    };
    const nearest = (step) => {
      const far = frames.map((frame) => Math.abs(frame.step - step));
      return far.indexOf(Math.min(...far));
    };
    const box = {name: element.dataset.name, show, nearest};
    boxes.push(box);
    range.addEventListener("input", () => {
      const index = Number(range.value);
      show(index);
      if (!together || !together.checked) return;
      for (const other of boxes) {
        if (other !== box && other.name === box.name) other.show(other.nearest(frames[index].step));
      }
    });
    earlier.hidden = true;
    control.hidden = false;
    show(frames.length - 1);
  }
  if (all && boxes.length > 1) all.hidden = false;
})();
