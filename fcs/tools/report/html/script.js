"use strict";
const $ = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll(".card")];
const filters = ["kind", "score", "run"].map($);
let shown = cards;

// A small screen begins with a few cards and without figures; the rest is one press away.
const narrow = matchMedia("(max-width: 40rem)").matches;
const FEW = 6, MORE = 12;
let most = narrow ? FEW : Infinity;
if (narrow) for (const fold of document.querySelectorAll(".fold")) fold.open = false;

document.documentElement.classList.add("script");

// Filters: a record stays where one of its reasons has all that was chosen, and its text what was typed.
function filter() {
  const wanted = filters.map((field) => (field ? field.value : ""));
  const text = $("text").value.trim().toLowerCase();
  shown = cards.filter((card) => {
    const badges = [...card.querySelectorAll(".badge")];
    const fitting = badges.filter((badge) => {
      const mark = badge.dataset.mark.split("|");
      return wanted.every((value, i) => !value || mark[i] === value);
    });
    card.rank = Math.min(...fitting.map((badge) => Number(badge.dataset.mark.split("|")[3])));
    // Three reasons are enough; of those that were asked for.
    for (const badge of badges) badge.hidden = !fitting.slice(0, 3).includes(badge);
    const words = card.querySelector("h3").textContent + " " + card.querySelector(".prompt").textContent;
    return fitting.length && words.toLowerCase().includes(text);
  });
  if (wanted[0]) shown.sort((one, other) => one.rank - other.rank);
  document.querySelector(".cards").append(...shown);
  const visible = new Set(shown.slice(0, most));
  for (const card of cards) card.hidden = !visible.has(card);
  $("more").hidden = shown.length <= most;
  $("more").textContent = `${Math.min(MORE, shown.length - most)} more`;
  $("count").textContent = `${shown.length} of ${cards.length}`;
  $("none").hidden = shown.length > 0;
}

$("more").addEventListener("click", () => {
  most += MORE;
  filter();
});
for (const field of filters) if (field) field.addEventListener("change", filter);
$("text").addEventListener("input", filter);
document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
filter();

// The viewer: two pictures of a record over each other, parted by a slider.
const viewer = $("viewer");
let current = null;

function pictures() {
  return [...current.querySelectorAll(".shot img")];
}

function part() {
  const at = $("split").value;
  $("over").style.clipPath = `inset(0 0 0 ${at}%)`;
  $("edge").style.left = `${at}%`;
}

function lay() {
  for (const [side, layer] of [["left", "under"], ["right", "over"]]) {
    const picture = pictures()[$(side).value];
    if (!picture) continue;
    $(layer).src = picture.src;
    $(layer).alt = picture.alt;
    $(layer).classList.toggle("fine", picture.classList.contains("fine"));
  }
  part();
}

function enlarge() {
  const stage = $("stage"), before = $("canvas").offsetWidth || 1;
  const middle = [(stage.scrollLeft + stage.clientWidth / 2) / before, (stage.scrollTop + stage.clientHeight / 2) / before];
  $("canvas").style.width = `${100 * $("zoom").value}%`;
  const after = $("canvas").offsetWidth;
  stage.scrollLeft = middle[0] * after - stage.clientWidth / 2;
  stage.scrollTop = middle[1] * after - stage.clientHeight / 2;
}

function show(card) {
  const names = (select) => [...select.options].map((option) => option.textContent);
  const kept = ["left", "right"].map((side) => names($(side))[$(side).value]);
  current = card;
  const labels = pictures().map((picture) => picture.dataset.label);
  const made = labels.findIndex((label) => label !== "input" && label !== "mask");
  for (const [side, usual, last] of [["left", 0, kept[0]], ["right", Math.max(made, 0), kept[1]]]) {
    $(side).replaceChildren(...labels.map((label, i) => new Option(label, i)));
    $(side).value = labels.includes(last) ? labels.indexOf(last) : usual;
  }
  $("viewed").textContent = card.querySelector("h3").textContent;
  const badges = [...card.querySelectorAll(".badge:not([hidden])")].map((badge) => badge.textContent);
  $("told").textContent = [card.querySelector(".prompt").textContent, ...badges].filter(Boolean).join(" · ");
  const place = shown.indexOf(card);
  $("previous").disabled = place <= 0;
  $("next").disabled = place < 0 || place === shown.length - 1;
  lay();
}

function turn(by) {
  const next = shown[shown.indexOf(current) + by];
  if (next) show(next);
}

for (const card of cards) {
  const strip = card.querySelector(".strip");
  if (!strip.querySelector("img")) strip.disabled = true;
  strip.addEventListener("click", () => {
    show(card);
    viewer.showModal();
    enlarge();
    $("split").focus();
  });
}
for (const side of ["left", "right"]) $(side).addEventListener("change", lay);
$("split").addEventListener("input", part);
$("zoom").addEventListener("input", enlarge);
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
viewer.addEventListener("close", () => current && current.querySelector(".strip").focus());
viewer.addEventListener("keydown", (event) => {
  if (event.target.tagName === "SELECT") return;
  if (event.key === "n" || event.key === "p") turn(event.key === "n" ? 1 : -1);
});

// A mouse parts the pictures where it is pressed; a finger leaves the stage to scrolling.
function drag(event) {
  if (event.pointerType === "touch" && event.type === "pointermove") return;
  if (event.type === "pointermove" && event.buttons !== 1) return;
  const box = $("canvas").getBoundingClientRect();
  $("split").value = (100 * (event.clientX - box.left)) / box.width;
  part();
}
for (const kind of ["pointerdown", "pointermove"]) $("canvas").addEventListener(kind, drag);
