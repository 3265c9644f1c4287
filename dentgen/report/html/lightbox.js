// Shows the pictures of the report one at a time: click, arrow keys, swipe. Without scripts the page is complete.
"use strict";

const tiles = [...document.querySelectorAll("button.tile")];
const dialog = document.getElementById("lightbox");
const part = (name) => dialog.querySelector(`[data-part="${name}"]`);
const SWIPE_PIXELS = 40;
let current = 0;
let touchX = null;

function show(position) {
  current = (position + tiles.length) % tiles.length;
  const tile = tiles[current];
  const small = tile.querySelector("img");
  const large = part("picture");
  large.src = small.src;
  large.alt = small.alt;
  large.classList.toggle("map", small.classList.contains("map"));
  part("name").textContent = tile.dataset.name;
  part("key").textContent = tile.dataset.key;
  part("prompt").textContent = tile.dataset.prompt;
  part("position").textContent = `${current + 1} of ${tiles.length}`;
}

tiles.forEach((tile, position) => tile.addEventListener("click", () => {
  show(position);
  dialog.showModal();
}));
part("previous").addEventListener("click", () => show(current - 1));
part("next").addEventListener("click", () => show(current + 1));
part("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener("close", () => tiles[current].focus());
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") show(current - 1);
  else if (event.key === "ArrowRight") show(current + 1);
  else return;
  event.preventDefault();
});
dialog.addEventListener("touchstart", (event) => {
  touchX = event.touches.length === 1 ? event.touches[0].clientX : null;
}, { passive: true });
dialog.addEventListener("touchend", (event) => {
  if (touchX === null) return;
  const moved = event.changedTouches[0].clientX - touchX;
  if (Math.abs(moved) > SWIPE_PIXELS) show(current - Math.sign(moved));
  touchX = null;
});
