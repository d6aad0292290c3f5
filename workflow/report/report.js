"use strict";
// Everything here adds to a page that can be read without it.

// Tables: a click on a column's head sorts by it, once up and once down.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.value;
      const text = (row) => row.cells[column].textContent.trim();
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x !== undefined && y !== undefined) return (x - y) * (up ? 1 : -1);
        if (x !== y) return x === undefined ? 1 : -1; // cells without a number come last
        return text(a).localeCompare(text(b)) * (up ? 1 : -1);
      });
      body.append(...rows);
    });
  });
}

// Figures: a click, or Enter, shows them as large as the window.
const dialog = document.querySelector("dialog");
const large = new Image();
dialog.querySelector(".stage").append(large);
for (const image of document.querySelectorAll(".picture > img, .grid > img")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.setAttribute("aria-label", "Enlarge: " + image.alt);
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", () => {
    large.src = image.src;
    large.alt = image.alt;
    large.className = image.classList.contains("pixels") ? "pixels" : "";
    dialog.showModal();
  });
}
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

// Sliders: each shows one column of a sheet of small images, 32 pixels wide; a long one goes on below.
const told = {
  interpolation: (numbers, at) => "\u03b1 = " + numbers.alphas[at],
  latents: (numbers, at) =>
    `rank ${at + 1} of ${numbers.order.length}: i = ${numbers.order[at]}, effect ${numbers.effects[at]} grey levels` +
    (numbers.meanings[at] && `, ${numbers.meanings[at]}`),
};
for (const viewer of document.querySelectorAll(".viewer")) {
  const numbers = JSON.parse(viewer.dataset.numbers);
  const [input, output] = [viewer.querySelector("input"), viewer.querySelector("output")];
  const sheet = viewer.querySelector(".sheet");
  const [columns, lines] = [sheet.getAttribute("width") / 32, sheet.getAttribute("height") / 32];
  const show = () => {
    const at = Number(input.value);
    for (const frame of viewer.querySelectorAll(".frame")) {
      const [row, rows] = [Number(frame.dataset.row), Number(frame.dataset.rows)];
      const [column, line] = [at % columns, rows * Math.floor(at / columns) + row];
      frame.style.backgroundImage = `url("${sheet.src}")`;
      frame.style.backgroundSize = `${100 * columns}% ${100 * lines}%`;
      frame.style.backgroundPosition = `${columns > 1 ? (100 * column) / (columns - 1) : 0}% ${(100 * line) / (lines - 1)}%`;
    }
    output.textContent = told[viewer.dataset.kind](numbers, at);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", show);
  viewer.hidden = false;
  show();
}
// On paper all settings are to be read.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
for (const caption of document.querySelectorAll(".viewers-caption")) caption.hidden = false;
