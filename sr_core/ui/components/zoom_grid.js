// Draws props.value (a Comparison as JSON): the same spot of up to six images of equal size.
// One view for all of them: `zoom` in CSS pixels per image pixel, and the centre (cx, cy) in
// fractions of the image. Tiles get whole-pixel sizes, so that every image is resampled alike.
// All texts go through textContent. EMPTY, the sentence shown without images, comes from
// zoom_grid.py.
const root = element.querySelector('.zoom-grid');
const ORIGINS = { measured: '●', estimated: '◐', published: '◇', counted: '#' };
const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 73, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];
const GAIN = 8; // the difference map saturates at 255 / 8, about 32 grey levels
const WINDOW = 32; // pixels a side of the worst spot
const COLUMNS = [1, 1, 2, 3, 4, 3, 3]; // by number of tiles, where there is room
const GAP = 12, NARROW_TILE = 220, MAX_ZOOM = 32, STEP = 1.25;
const PIXELATED = 3; // above this zoom single pixels are shown as squares
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

let comparison = { tiles: [], width: 0, height: 0, truth: '' };
let panes = []; // one per tile, in order; kept while a tile's image stays the same
let mode = 'grid';
let pair = ['', '']; // keys of the images left and right of the divider
let split = 50; // % of the slider's width left of the divider
let view = { zoom: 1, cx: 0.5, cy: 0.5 };
let moved = false; // until then, the view follows the size of the tiles
let worst = null; // left and top of the worst spot, in pixels of the image
let tile = { width: 0, height: 0 }; // CSS pixels

function make(tag, attributes = {}, ...content) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...content);
  return node;
}

function button(text, attributes, onClick) {
  const node = make('button', { type: 'button', ...attributes }, text);
  node.addEventListener('click', onClick);
  return node;
}

function originMark(origin) {
  const mark = ORIGINS[origin] || '?';
  return make('span', { class: 'glyph', role: 'img', 'aria-label': origin, title: origin }, mark);
}

// ---- the fixed parts -------------------------------------------------------------------------

const modes = ['grid', 'slider', 'difference'].map((name) => button(
  name[0].toUpperCase() + name.slice(1), { 'data-mode': name }, () => setMode(name)));
const readout = make('output', { 'aria-label': 'Zoom, screen pixels per image pixel' });
const [left, right] = ['First image', 'Second image'].map((label, side) => {
  const select = make('select', { 'aria-label': label });
  select.addEventListener('change', () => choose(side, select.value));
  return select;
});
const pairTools = make('div', { class: 'tools pair' }, left, ' | ', right,
  button('Worst spot', { title: 'Go to where these two differ most' }, toWorst));
const divider = make('div', { class: 'divider', role: 'slider', tabindex: 0,
  'aria-label': 'Divider', 'aria-valuemin': 0, 'aria-valuemax': 100 });
const stage = make('div', { class: 'stage' });
const status = make('p', { class: 'status', role: 'status' });
const hint = make('p', { class: 'hint' },
  make('span', { class: 'mouse' }, 'Drag to move, double-click to reset. Ctrl + wheel zooms; click '
    + 'an image and the wheel alone does (Esc gives it back). Keys: + − 0 and arrows.'),
  make('span', { class: 'touch' }, 'Tap an image, then drag to move it and pinch to zoom; tap '
    + 'twice to reset.'));
const origins = make('p', { class: 'origins' });
const empty = make('p', { class: 'nothing' }, EMPTY);
const content = make('div', {},
  make('div', { class: 'bar' },
    make('div', { class: 'segments', role: 'group', 'aria-label': 'View' }, ...modes),
    make('div', { class: 'tools', role: 'group', 'aria-label': 'Zoom' },
      button('−', { 'aria-label': 'Zoom out' }, () => zoomBy(1 / STEP)), readout,
      button('+', { 'aria-label': 'Zoom in' }, () => zoomBy(STEP)),
      button('Reset', {}, reset)),
    pairTools),
  status, hint, scaleLegend(), stage, origins);
root.append(empty, content);

function scaleLegend() {
  const stops = VIRIDIS.map((rgb) => `rgb(${rgb})`).join();
  const ticks = make('div', { class: 'ticks' }, ...['0', '8', '16', '24', '32+'].map(
    (text) => make('span', {}, text)));
  return make('div', { class: 'scale' },
    make('span', {}, '|image − truth| in grey levels (of 255), luma of BT.601'),
    make('div', {}, make('div', { class: 'ramp', style: `background: linear-gradient(to right, ${
      stops})` }), ticks));
}

// ---- one pane per tile -----------------------------------------------------------------------

function newPane(src) {
  const pane = { src, against: '', meanGrey: null, title: make('strong'), subtitle: make('span'),
    img: make('img', { draggable: 'false', alt: '' }), canvas: make('canvas'),
    mark: make('div', { class: 'spot' }), message: make('p', { class: 'message' }, 'Loading …'),
    facts: make('dl'), download: make('a', {}, 'Download PNG') };
  pane.layer = make('div', { class: 'layer' }, pane.img, pane.canvas);
  pane.view = make('div', { class: 'view', role: 'group', tabindex: 0 },
    pane.layer, pane.mark, pane.message);
  pane.figure = make('figure', {}, make('div', { class: 'head' }, pane.title, pane.subtitle),
    pane.view, make('figcaption', {}, pane.facts, pane.download));
  pane.img.addEventListener('load', () => {
    const { naturalWidth: width, naturalHeight: height } = pane.img;
    const fits = width === comparison.width && height === comparison.height;
    say(pane, fits ? '' : `This image has ${width}×${height} pixels, not ${comparison.width}×${
      comparison.height}.`);
  });
  pane.img.addEventListener('error', () => say(pane,
    'This image is no longer on the server: compute it again.'));
  pane.img.src = src;
  return pane;
}

function say(pane, text) {
  pane.message.textContent = text;
  pane.view.classList.toggle('silent', !text);
}

function fill(pane, info) {
  pane.info = info;
  pane.title.textContent = info.title;
  pane.subtitle.textContent = info.subtitle;
  pane.img.alt = info.title;
  pane.view.setAttribute('aria-label', `${info.title}: zoomable image`);
  pane.download.href = info.href || pane.src;
  pane.download.download = info.download;
  pane.download.hidden = !info.download;
  pane.download.setAttribute('aria-label', `Download PNG: ${info.title}`);
}

function fillFacts(pane) {
  const facts = [...pane.info.facts];
  if (mode === 'difference' && pane.meanGrey !== null) {
    facts.unshift(['Mean |difference|', `${pane.meanGrey.toFixed(2)} grey levels`, 'measured']);
  }
  pane.facts.replaceChildren(...facts.map(([label, value, origin]) => make('div', {},
    make('dt', {}, label), make('dd', {}, value, originMark(origin)))));
  return facts.map((fact) => fact[2]);
}

function showFacts() {
  const used = new Set(panes.flatMap(fillFacts));
  origins.replaceChildren(...Object.entries(ORIGINS).filter(([name]) => used.has(name)).map(
    ([name, mark]) => make('span', {}, `${mark} ${name}`)));
}

// ---- value, view mode and pair ---------------------------------------------------------------

function update() {
  const before = JSON.stringify([comparison.width, comparison.height, panes[0]?.src]);
  comparison = JSON.parse(JSON.stringify(props.value)) || { tiles: [] };
  const byKey = new Map(panes.map((pane) => [pane.info.key + pane.src, pane]));
  const next = comparison.tiles.map((info) => byKey.get(info.key + info.src) || newPane(info.src));
  next.forEach((pane, index) => fill(pane, comparison.tiles[index]));
  if (next.some((pane, index) => pane !== panes[index]) || next.length !== panes.length) {
    panes = next;
    stage.replaceChildren(...panes.map((pane) => pane.figure), divider);
    worst = null;
    status.textContent = '';
  }
  const after = JSON.stringify([comparison.width, comparison.height, panes[0]?.src]);
  if (after !== before) moved = false;
  empty.hidden = panes.length > 0;
  content.hidden = panes.length === 0;
  stage.style.setProperty('--image-width', `${comparison.width}px`);
  stage.style.setProperty('--image-height', `${comparison.height}px`);
  fillPair();
  modes[1].hidden = pairTools.hidden = panes.length < 2;
  modes[2].hidden = !comparison.truth || panes.length < 2;
  setMode(modes.find((node) => node.dataset.mode === mode).hidden ? 'grid' : mode);
}

function fillPair() {
  const keys = panes.map((pane) => pane.info.key);
  if (!pair.every((key) => keys.includes(key))) {
    const results = keys.filter((key) => key !== comparison.truth);
    const first = results.includes('bicubic') ? 'bicubic' : keys[0];
    pair = [first, results.find((key) => key !== first) ?? keys.find((key) => key !== first)];
  }
  [left, right].forEach((select, side) => {
    select.replaceChildren(...panes.map(({ info }) => make('option', { value: info.key },
      info.title)));
    select.value = pair[side];
  });
}

function choose(side, key) {
  if (pair[1 - side] === key) pair[1 - side] = pair[side]; // the other one's: they swap
  pair[side] = key;
  worst = null;
  status.textContent = '';
  [left.value, right.value] = pair;
  layout();
}

function setMode(name) {
  mode = name;
  for (const node of modes) node.setAttribute('aria-pressed', node.dataset.mode === mode);
  root.dataset.mode = mode;
  showFacts();
  layout();
  if (mode === 'difference') mapDifferences();
}

function layout() {
  const room = stage.clientWidth;
  if (!room || !panes.length) return; // in a closed tab: ResizeObserver calls again
  const most = mode === 'slider' ? 1 : COLUMNS[panes.length];
  const columns = room / most >= NARROW_TILE ? most : Math.min(2, most);
  const aspect = clamp(comparison.width / comparison.height, 0.75, 2);
  // Two rows of images fit the window, so that they can be compared without scrolling.
  const tallest = window.innerHeight * (columns < panes.length && mode !== 'slider' ? 0.42 : 0.75);
  const width = Math.floor((room - GAP * (columns - 1)) / columns);
  tile.width = columns > 1 ? width : 2 * Math.floor(Math.min(width, tallest * aspect) / 2);
  tile.height = Math.round(Math.min(tile.width / aspect, tallest));
  stage.style.setProperty('--columns', columns);
  stage.style.setProperty('--tile-width', `${tile.width}px`);
  stage.style.setProperty('--tile-height', `${tile.height}px`);
  for (const pane of panes) {
    const side = pair.indexOf(pane.info.key);
    pane.figure.className = ['left', 'right'][side] ?? 'unpaired';
    // Both halves of the slider do the same: one stop for the keyboard is enough.
    pane.view.tabIndex = mode === 'slider' && side !== 0 ? -1 : 0;
  }
  setSplit(split);
  draw();
}

function setSplit(percent) {
  split = clamp(percent, 0, 100);
  stage.style.setProperty('--split', split);
  divider.setAttribute('aria-valuenow', Math.round(split));
  const [a, b] = pair.map((key) => paneOf(key)?.info.title);
  divider.setAttribute('aria-valuetext', `${Math.round(split)} % ${a}, the rest ${b}`);
}

function paneOf(key) {
  return panes.find((pane) => pane.info.key === key);
}

// ---- the shared zoom -------------------------------------------------------------------------

function fitZoom() {
  return Math.min(tile.width / comparison.width, tile.height / comparison.height, MAX_ZOOM);
}

// Large images start at one screen pixel per pixel: shrunk to fit, all results look alike.
function startZoom() {
  return fitZoom() < 0.5 ? 1 : fitZoom();
}

function draw() {
  if (!moved) view = { zoom: startZoom(), cx: 0.5, cy: 0.5 };
  view.zoom = clamp(view.zoom, Math.min(fitZoom(), 1), MAX_ZOOM);
  const [x, cx] = place(view.cx, comparison.width, tile.width);
  const [y, cy] = place(view.cy, comparison.height, tile.height);
  Object.assign(view, { cx, cy });
  stage.classList.toggle('pixelated', view.zoom > PIXELATED);
  readout.textContent = `${view.zoom.toFixed(view.zoom < 0.95 ? 2 : 1)}×`;
  for (const { layer, mark } of panes) {
    layer.style.transform = `translate(${x}px, ${y}px) scale(${view.zoom})`;
    mark.hidden = !worst;
    if (worst) placeMark(mark, x, y);
  }
}

function placeMark(mark, x, y) {
  mark.style.left = `${x + worst.left * view.zoom}px`;
  mark.style.top = `${y + worst.top * view.zoom}px`;
  mark.style.width = `${Math.min(WINDOW, comparison.width) * view.zoom}px`;
  mark.style.height = `${Math.min(WINDOW, comparison.height) * view.zoom}px`;
}

// Offset of the image in its tile, in whole CSS pixels, and the centre held inside the image.
function place(centre, pixels, room) {
  const whole = pixels * view.zoom;
  const margin = Math.min(room / 2 / whole, 0.5);
  const inside = clamp(centre, margin, 1 - margin);
  return [Math.round(room / 2 - inside * whole), inside];
}

function panBy(dx, dy) {
  moved = true;
  view.cx -= dx / (comparison.width * view.zoom);
  view.cy -= dy / (comparison.height * view.zoom);
  draw();
}

// `x` and `y` are where in the tile the image stays put, in CSS pixels.
function zoomBy(factor, x = tile.width / 2, y = tile.height / 2) {
  const old = view.zoom;
  moved = true;
  view.zoom = clamp(old * factor, Math.min(fitZoom(), 1), MAX_ZOOM);
  const shift = 1 / old - 1 / view.zoom;
  view.cx += (x - tile.width / 2) / comparison.width * shift;
  view.cy += (y - tile.height / 2) / comparison.height * shift;
  draw();
}

function reset() {
  moved = false;
  worst = null;
  status.textContent = '';
  draw();
}

function within(event, view) {
  const box = view.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

stage.addEventListener('wheel', (event) => {
  const target = event.target.closest('.view');
  const engaged = event.ctrlKey || event.metaKey || stage.contains(document.activeElement);
  if (!target || !engaged) return;
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
  const { x, y } = within(event, target);
  zoomBy(Math.exp(-clamp(pixels, -200, 200) / 400), x, y);
}, { passive: false });

const pointers = new Map(); // pointer id -> position within its tile, for those that are down

function gesture() {
  const all = [...pointers.values()];
  const mean = (axis) => all.reduce((sum, point) => sum + point[axis], 0) / all.length;
  const apart = all.length === 2 ? Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) : 1;
  return { x: mean('x'), y: mean('y'), apart: Math.max(apart, 1) };
}

stage.addEventListener('pointerdown', (event) => {
  const target = event.target.closest('.view');
  if (!target || event.button !== 0 || pointers.size === 2) return;
  target.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, within(event, target));
});
stage.addEventListener('pointermove', (event) => {
  if (!pointers.has(event.pointerId)) return;
  const before = gesture();
  pointers.set(event.pointerId, within(event, event.target.closest('.view')));
  const after = gesture();
  panBy(after.x - before.x, after.y - before.y);
  zoomBy(after.apart / before.apart, after.x, after.y);
});
for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
  stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
}
stage.addEventListener('dblclick', (event) => event.target.closest('.view') && reset());

const KEYS = {
  '+': () => zoomBy(STEP), '=': () => zoomBy(STEP), '-': () => zoomBy(1 / STEP), 0: reset,
  ArrowLeft: () => panBy(tile.width / 8, 0), ArrowRight: () => panBy(-tile.width / 8, 0),
  ArrowUp: () => panBy(0, tile.height / 8), ArrowDown: () => panBy(0, -tile.height / 8),
  Escape: () => document.activeElement.blur(),
};
const DIVIDER_KEYS = {
  ArrowLeft: () => split - 1, ArrowDown: () => split - 1, ArrowRight: () => split + 1,
  ArrowUp: () => split + 1, PageDown: () => split - 10, PageUp: () => split + 10,
  Home: () => 0, End: () => 100,
};
stage.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === divider && event.key in DIVIDER_KEYS) setSplit(DIVIDER_KEYS[event.key]());
  else if (event.target.closest('.view, .divider') && event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
});

divider.addEventListener('pointerdown', (event) => divider.setPointerCapture(event.pointerId));
divider.addEventListener('pointermove', (event) => {
  if (!divider.hasPointerCapture(event.pointerId)) return;
  setSplit(within(event, paneOf(pair[0]).view).x / tile.width * 100);
});

// ---- differences -----------------------------------------------------------------------------

// The luma of BT.601 of each pixel of the PNG, in thousandths of a grey level.
async function luma(pane) {
  const { width, height } = comparison;
  const answer = await fetch(pane.src);
  if (!answer.ok) throw new Error(`${answer.status}`);
  const bitmap = await createImageBitmap(await answer.blob(), { colorSpaceConversion: 'none' });
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Int32Array(width * height);
  for (let i = 0, at = 0; i < values.length; i++, at += 4) {
    values[i] = 299 * data[at] + 587 * data[at + 1] + 114 * data[at + 2];
  }
  return values;
}

async function mapDifferences() {
  const truth = paneOf(comparison.truth), current = panes;
  const missing = panes.filter((pane) => pane !== truth && pane.against !== truth.src);
  [truth, ...missing].forEach(forgetMap);
  try {
    const reference = missing.length ? await luma(truth) : null;
    for (const pane of missing) {
      const values = await luma(pane);
      if (panes !== current || paneOf(comparison.truth) !== truth) return; // other images have come
      paint(pane, values, reference, truth.src);
    }
  } catch {
    status.textContent = 'The differences cannot be computed: an image cannot be read.';
  }
  showFacts();
}

function forgetMap(pane) {
  Object.assign(pane, { against: '', meanGrey: null });
  pane.view.classList.remove('mapped');
}

// Writes the map to the pane's canvas and its mean to `meanGrey`.
function paint(pane, values, reference, against) {
  const { width, height } = comparison;
  const pixels = new ImageData(width, height);
  const colours = new Uint32Array(pixels.data.buffer);
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    const difference = Math.abs(values[i] - reference[i]);
    sum += difference;
    colours[i] = PALETTE[Math.min(255, Math.floor((difference * GAIN + 500) / 1000))];
  }
  Object.assign(pane.canvas, { width, height });
  pane.canvas.getContext('2d').putImageData(pixels, 0, 0);
  pane.view.classList.add('mapped');
  Object.assign(pane, { against, meanGrey: sum / values.length / 1000 });
}

// 256 pixels as ImageData holds them, interpolated from VIRIDIS.
const PALETTE = new Uint32Array(Uint8ClampedArray.from({ length: 1024 }, (_, i) => {
  const place = Math.floor(i / 4) / 255 * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const [a, b] = [VIRIDIS[low][i % 4], VIRIDIS[low + 1][i % 4]];
  return i % 4 === 3 ? 255 : a + (b - a) * (place - low);
}).buffer);

// Where a WINDOW x WINDOW square of `a` and `b` differs most: { left, top, mean } in pixels and
// thousandths of a grey level. Sums run down the columns first, then along them.
function worstWindow(a, b, width, height) {
  const [wide, tall] = [Math.min(WINDOW, width), Math.min(WINDOW, height)];
  const columns = new Float64Array(width);
  const best = { left: 0, top: 0, mean: -1 };
  for (let y = 0; y < height; y++) {
    let sum = 0;
    for (let x = 0; x < width; x++) {
      const here = y * width + x, above = here - tall * width;
      columns[x] += Math.abs(a[here] - b[here]) - (y < tall ? 0 : Math.abs(a[above] - b[above]));
      sum += columns[x] - (x < wide ? 0 : columns[x - wide]);
      if (y < tall - 1 || x < wide - 1 || sum <= best.mean) continue;
      Object.assign(best, { left: x - wide + 1, top: y - tall + 1, mean: sum });
    }
  }
  return { ...best, mean: best.mean / (wide * tall) };
}

async function toWorst() {
  const { width, height } = comparison, current = panes;
  const titles = pair.map((key) => paneOf(key).info.title).join(' and ');
  try {
    const [a, b] = await Promise.all(pair.map((key) => luma(paneOf(key))));
    const spot = worstWindow(a, b, width, height);
    if (panes !== current) return; // other images have come
    status.textContent = spot.mean === 0 ? `${titles} are identical.`
      : `${titles} differ most at x ${spot.left}, y ${spot.top}: ${(spot.mean / 1000).toFixed(1)
      } grey levels on average over ${WINDOW}×${WINDOW} pixels (measured).`;
    if (spot.mean > 0) goTo(spot);
  } catch {
    status.textContent = 'The worst spot cannot be found: an image cannot be read.';
  }
}

function goTo(spot) {
  moved = true;
  worst = spot;
  view = { zoom: Math.min(tile.width, tile.height) / (2.5 * WINDOW),
    cx: (spot.left + WINDOW / 2) / comparison.width,
    cy: (spot.top + WINDOW / 2) / comparison.height };
  draw();
}

update();
watch('value', update);
new ResizeObserver(layout).observe(root);
