// Draws props.value (JSON text of FrontData) as a plot and a table, and fires 'select' with an id.
// The table works without plotly.js, which is 4.8 MB and comes later or not at all.
// All texts go through textContent; what plotly gets is escaped.
const ROWS = 100;
const NARROW = 560; // px: a phone
const EDGES = 70; // px: margins left and right of the plot
const find = (selector) => element.querySelector(selector);
const root = find('.front-plot');
const plot = find('.plot');
const state = find('.state');
const search = find('input[type=search]');
const onlyFront = find('input[type=checkbox]');
const box = find('.box');
const body = find('tbody');

// Per class a path around (0, 0), in pixels, and plotly's symbol for the same shape.
const LOOKS = {
  front: { name: 'front', path: 'M0,-5A5,5 0 1,1 0,5A5,5 0 1,1 0,-5Z', symbol: 'circle', size: 10 },
  band: { name: '90 % interval of the front', path: 'M-8,-4H8V4H-8Z' },
  dominated: { name: 'dominated', path: 'M0,-4L4,0L0,4L-4,0Z', symbol: 'diamond', size: 7 },
  over: { name: 'over budget', path: 'M-4,-4L4,4M-4,4L4,-4', symbol: 'x-thin', size: 7 },
  best: {
    name: 'best under the budget', symbol: 'star', size: 20,
    path: 'M0,-8L2,-2.5H7.5L3,1L4.7,6.5L0,3.2L-4.7,6.5L-3,1L-7.5,-2.5H-2Z',
  },
  listed: { name: 'listed model', path: 'M-7,-7H7V7H-7Z', symbol: 'square-open', size: 15 },
  tuned: {
    name: 'fine-tuned', path: 'M-2.3,-7H2.3V-2.3H7V2.3H2.3V7H-2.3V2.3H-7V-2.3H-2.3Z',
    symbol: 'cross', size: 13,
  },
  published: {
    name: 'published elsewhere', path: 'M0,-6L6,5H-6Z', symbol: 'triangle-up', size: 12,
  },
  selected: { name: 'selected', path: 'M0,-7A7,7 0 1,1 0,7A7,7 0 1,1 0,-7Z' },
  picked: { name: 'picked for Compare', path: 'M-4,-7H4L8,0L4,7H-4L-8,0Z' },
};

let data = null; // FrontData.to_json()
let points = []; // one object per network
let tuned = []; // the same for networks with weights of their own
let byId = new Map();
let sort = { key: 'x', ascending: true };
let frame = 0; // the animation frame that will draw
let dark = null;
let swiped = false; // a finger moved: it scrolls the page, though plotly calls it a click

function make(tag, attributes = {}, text = '') {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

function icon(look) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  const path = document.createElementNS(space, 'path');
  svg.setAttribute('viewBox', '-9 -9 18 18');
  svg.setAttribute('class', look);
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', LOOKS[look].path);
  svg.append(path);
  return svg;
}

// --- numbers and texts ---
const count = (n) => n.toLocaleString('en-US');
const brief = (n) => (Math.abs(n) >= 100 ? count(Math.round(n)) : n.toPrecision(3));
const limit = () => `${Number(props.budget.toPrecision(3))} ${data.x.unit}`;
const interval = (p) => (p.low < p.high ? `${brief(p.low)}–${brief(p.high)}` : '');
const plain = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
const hasBudget = () => props.budget >= 0;
const best = () => hasBudget() && byId.get(props.best);

function lookOf(p) {
  if (p.kind === 'tuned') return 'tuned';
  if (hasBudget() && p.x > props.budget) return 'over';
  return p.front ? 'front' : 'dominated';
}

function className(p) {
  if (p.kind === 'tuned') {
    return hasBudget() && p.x > props.budget ? 'fine-tuned, over budget' : 'fine-tuned';
  }
  const look = lookOf(p);
  const also = [look === 'over' && p.front && 'front', p.kind !== 'search' && p.kind];
  return [LOOKS[look].name, ...also.filter(Boolean)].join(', ');
}

// What fine-tuning gained, in units of y; empty where that is not known.
function gain(p) {
  if (p.kind !== 'tuned' || p.before === null) return '';
  const size = Math.abs(p.y - p.before).toFixed(data.y.digits);
  return `${p.y < p.before ? '−' : '+'}${size}`;
}

function hoverText(p) {
  const { x, y } = data;
  const more = gain(p) && ` (${gain(p)} against once for all)`;
  const range = interval(p) && ` (90 %: ${interval(p)})`;
  return [
    `<b>${plain(p.title)}</b>${p.kind === 'tuned' ? ` ${plain(p.id)}` : ''}`,
    `${plain(x.name)} ${brief(p.x)} ${plain(x.unit)}${range}, ${plain(x.origin)}`,
    `${plain(y.name)} ${p.y.toFixed(data.y.digits)} ${plain(y.unit)}${more}, ${plain(y.origin)}`,
    `${brief(p.macs_g)} G MACs, ${brief(p.params_k)} K parameters, counted`,
  ].join('<br>');
}

function publishedText(p) {
  const { x, y } = data;
  const where = `${brief(p.x)} ${plain(x.unit)}, ${p.y.toFixed(data.y.digits)} ${plain(y.unit)}`;
  const lines = [`<b>${plain(p.name)}</b>, published`, where, plain(p.source), plain(p.note)];
  return lines.filter(Boolean).join('<br>');
}

function summary() {
  const { x, y } = data;
  const star = best();
  const at = star && `${star.y.toFixed(data.y.digits)} ${y.unit} at ${brief(star.x)} ${x.unit}`;
  return `${y.name} (${y.origin}) against ${x.name} (${x.origin}) of ${count(points.length)} `
    + `networks; ${points.filter((p) => p.front).length} on the front. `
    + (tuned.length ? `${tuned.length} fine-tuned. ` : '')
    + (star ? `Best under the budget of ${limit()}: ${star.title}, ${at}. ` : '')
    + 'The table below has the same points.';
}

// --- what comes in and what goes out ---
function rows(table) {
  const names = Object.keys(table);
  return table[names[0]].map((_, i) => Object.fromEntries(names.map((n) => [n, table[n][i]])));
}

function load() {
  if (!props.value) return;
  data = JSON.parse(props.value);
  points = rows(data.points);
  tuned = rows(data.tuned).map((p) => ({ ...p, kind: 'tuned', front: true }));
  byId = new Map([...points, ...tuned].map((p) => [p.id, p]));
  root.classList.toggle('no-points', points.length === 0);
  find('.note').textContent = data.note;
  if (points.length) fetchPlotly();
  refresh();
}

function refresh() {
  if (!points.length) return;
  plot.setAttribute('aria-label', summary());
  drawLegend();
  drawTable();
  schedule();
}

function highlight() {
  if (!points.length) return;
  drawTable();
  showSelectedRow();
  if (plot.data) Plotly.relayout(plot, { shapes: shapes(palette()) });
}

function choose(id) {
  props.selected = id;
  highlight();
  trigger('select', { value: id });
}

// --- plotly.js: one copy per page, however many plots ---
function fetchPlotly() {
  if (window.Plotly) return;
  window.plotlyArrives ??= new Promise((resolve, reject) => {
    const script = make('script', { src: new URL(PLOTLY_URL, document.baseURI) });
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  });
  state.replaceChildren(make('p', {}, 'Loading the chart …'));
  window.plotlyArrives.then(() => {
    state.replaceChildren();
    schedule();
  }, () => {
    window.plotlyArrives = undefined;
    const text = 'The chart could not be loaded. The table below has the same points.';
    const again = make('button', { type: 'button' }, 'Try again');
    again.addEventListener('click', fetchPlotly);
    state.replaceChildren(make('p', {}, text), again);
  });
}

// --- plot ---
function palette() {
  const style = getComputedStyle(root);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    text: read('--body-text-color'),
    grid: read('--border-color-primary'),
    paper: read('--background-fill-primary'),
    font: style.fontFamily,
    ...Object.fromEntries(Object.keys(LOOKS).map((look) => [look, read(`--${look}`)])),
  };
}

function markers(list, look, color, more = {}) {
  const { symbol, size } = LOOKS[look];
  return {
    mode: 'markers', x: list.map((p) => p.x), y: list.map((p) => p.y), hoverinfo: 'text',
    customdata: list.map((p) => p.id),
    marker: { symbol, size, color: color[look], line: { width: 0 }, ...more },
  };
}

function networks(list, look, color, more) {
  return { ...markers(list, look, color, more), hovertext: list.map(hoverText) };
}

// Markers that the mouse looks through: what it finds there is in another trace.
function passiveMarkers(list, look, color, rim) {
  return { ...markers(list, look, color, { line: rim }), hoverinfo: 'skip' };
}

// From each fine-tuned network down to its once-for-all self.
function gains(color) {
  const pairs = tuned.filter((p) => p.before !== null);
  return line(pairs.flatMap((p) => [p.x, p.x, null]), pairs.flatMap((p) => [p.before, p.y, null]), {
    line: { color: color.tuned, width: 2 },
  });
}

function line(x, y, more) {
  return { mode: 'lines', x, y, hoverinfo: 'skip', ...more };
}

function traces(color) {
  const of = (look) => points.filter((p) => lookOf(p) === look);
  const over = of('over');
  const front = points.filter((p) => p.front).sort((a, b) => a.x - b.x || a.y - b.y);
  const back = [...front].reverse();
  const edges = [...front.map((p) => p.low), ...back.map((p) => p.high)];
  const models = points.filter((p) => p.kind === 'listed');
  const published = rows(data.published);
  // Plotly gives overlapping markers to the smallest, that is to a dominated one.
  const target = { size: 6, opacity: 0 };
  const all = [
    line(edges, [...front, ...back].map((p) => p.y), {
      fill: 'toself', fillcolor: color.band, line: { width: 0 },
    }),
    networks(of('dominated'), 'dominated', color, { opacity: 0.5 }),
    line(front.map((p) => p.x), front.map((p) => p.y), { line: { color: color.front, width: 2 } }),
    networks(over, 'over', color, {
      size: over.map((p) => (p.front ? 9 : 6)), opacity: over.map((p) => (p.front ? 0.9 : 0.35)),
      line: { width: 1.2, color: color.over },
    }),
    passiveMarkers(of('front'), 'front', color, { width: 1, color: color.paper }),
    passiveMarkers(models, 'listed', color, { width: 1.5 }),
    passiveMarkers(published, 'published', color, { width: 1, color: color.text }),
    gains(color),
    passiveMarkers(tuned, 'tuned', color, { width: 1, color: color.text }),
    passiveMarkers(best() ? [best()] : [], 'best', color, { width: 1.5, color: color.text }),
    { ...markers(published, 'published', color, target), hovertext: published.map(publishedText) },
    networks(front, 'front', color, target),
    networks(tuned, 'tuned', color, target),
  ];
  return all.map((trace) => ({ type: 'scatter', showlegend: false, ...trace }));
}

// The selected network, and what fine-tuning made of it.
const isSelected = (p) => p.id === props.selected || p.of === props.selected;
const selection = () => [...byId.values()].filter(isSelected);

// A shape in pixels around a point. Rings are shapes because moving them redraws nothing else.
function ring(p, color, width, more) {
  return {
    xanchor: p.x, yanchor: p.y, xsizemode: 'pixel', ysizemode: 'pixel', line: { color, width },
    ...more,
  };
}

function budgetShapes(color) {
  if (!hasBudget()) return [];
  const tall = { yref: 'paper', x0: props.budget, y0: 0, y1: 1 };
  const dashes = { color: color.over, width: 2, dash: 'dash' };
  return [
    {
      ...tall, type: 'rect', x1: ranges().x[1], layer: 'below', fillcolor: color.over, opacity: 0.1,
      line: { width: 0 },
    },
    { ...tall, type: 'line', x1: props.budget, line: dashes },
  ];
}

function shapes(color) {
  const all = budgetShapes(color);
  if (data.baseline) {
    const { y } = data.baseline;
    const dots = { color: color.text, width: 1, dash: 'dot' };
    all.push({ type: 'line', xref: 'paper', x0: 0, x1: 1, y0: y, y1: y, line: dots });
  }
  for (const p of props.picked.map((id) => byId.get(id)).filter(Boolean)) {
    const path = 'M-7,-12H7L14,0L7,12H-7L-14,0Z';
    all.push(ring(p, color.picked, 3, { type: 'path', path }));
  }
  for (const p of selection()) {
    const thin = { color: color.selected, width: 2 };
    const circle = { type: 'circle', x0: -10, x1: 10, y0: -10, y1: 10 };
    all.push({ type: 'line', x0: p.low, x1: p.high, y0: p.y, y1: p.y, line: thin });
    all.push(ring(p, color.selected, 3.5, circle));
  }
  return all;
}

function labels(color, width) {
  const { y, baseline } = data;
  const [from, to] = ranges().x;
  const share = (x) => (x - from) / (to - from);
  const all = [];
  if (hasBudget()) {
    all.push({
      x: props.budget, xanchor: share(props.budget) > 0.75 ? 'right' : 'left',
      yref: 'paper', y: 1, yanchor: 'bottom', showarrow: false,
      text: `budget ${plain(limit())}`, font: { color: color.over },
    });
  }
  if (baseline) {
    all.push({
      xref: 'paper', x: 1, xanchor: 'right', y: baseline.y, yanchor: 'bottom', showarrow: false,
      text: `${plain(baseline.name)} ${baseline.y.toFixed(data.y.digits)} ${plain(y.unit)}`,
    });
  }
  if (best()) all.push(bestLabel(color, width, share(best().x)));
  return all;
}

// In the empty strip above all points; `share` of the width is left of the star.
function bestLabel(color, width, share) {
  const { x, y } = best();
  const where = width < NARROW ? '' : ` at ${brief(x)} ${plain(data.x.unit)}`;
  const half = width < NARROW ? 50 : 110; // px of text, with some to spare
  return {
    x, y, ayref: 'y', ay: strip(),
    ax: Math.max(half + 8 - share * (width - EDGES), -half - 20),
    text: `best: ${y.toFixed(data.y.digits)} ${plain(data.y.unit)}${where}`,
    arrowcolor: color.text, arrowwidth: 1, standoff: 10,
  };
}

// The middle of what `ranges` leaves free above all points.
function strip() {
  const [low, high] = ranges().y;
  return high - 0.05 * (high - low);
}

// Own ranges, so that intervals, budget and baseline are always in sight.
function ranges() {
  const { published, baseline } = data;
  const front = points.filter((p) => p.front);
  const xs = [...points, ...tuned, ...published.x.map((at) => ({ x: at }))].map((p) => p.x);
  xs.push(...front.map((p) => p.low), ...front.map((p) => p.high));
  if (props.budget > 0) xs.push(props.budget);
  const ys = [...points, ...tuned].map((p) => p.y).concat(published.y, baseline ? baseline.y : []);
  ys.push(...tuned.map((p) => p.before ?? p.y));
  const [left, right, low, high] = [
    Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys),
  ];
  const padX = (right - left) * 0.04 || 1;
  const padY = (high - low) * 0.06 || 1;
  return { x: [left - padX, right + padX], y: [low - padY, high + 2 * padY] };
}

function layout(color, width) {
  const { x, y } = data;
  const narrow = width < NARROW;
  const range = ranges();
  const font = { color: color.text, family: color.font, size: narrow ? 12 : 14 };
  const { grid } = color;
  const axis = { gridcolor: grid, linecolor: grid, zeroline: false, fixedrange: narrow };
  const title = (a, gap) => ({ text: plain(a.title) + gap + plain(`(${a.origin})`), font });
  return {
    width, height: narrow ? 360 : 480, font,
    margin: { l: EDGES - 14, r: 14, t: 26, b: narrow ? 60 : 54 },
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', hovermode: 'closest',
    hoverlabel: { bgcolor: color.paper, bordercolor: color.text, align: 'left', font },
    dragmode: narrow ? false : 'zoom', uirevision: `${x.title}${y.title}`,
    xaxis: {
      ...axis, type: 'linear', range: range.x, tickformat: '~r',
      nticks: narrow ? 5 : 0, title: { ...title(x, narrow ? '<br>' : ' '), standoff: 10 },
    },
    yaxis: { ...axis, range: range.y, title: title(y, ' ') },
    shapes: shapes(color), annotations: labels(color, width),
  };
}

function schedule() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(draw);
}

function draw() {
  const width = plot.parentElement.clientWidth; // 0 in a tab that is not open
  if (!window.Plotly || !points.length || !width) return;
  const first = !plot.data;
  const color = palette();
  // No mode bar: it covers points, and its buttons would be hidden inside an image.
  const config = {
    displayModeBar: false, displaylogo: false, showSendToCloud: false, showTips: false,
    doubleClick: 'reset',
  };
  Plotly.react(plot, traces(color), layout(color, width), config);
  if (first) {
    plot.on('plotly_click', ({ points: [hit] }) => {
      if (hit.customdata && !swiped) choose(hit.customdata);
    });
  }
}

function drawLegend() {
  const hidden = {
    band: !points.some((p) => p.front && interval(p)), over: !hasBudget(), best: !best(),
    listed: !points.some((p) => p.kind === 'listed'),
    published: !data.published.name.length, tuned: !tuned.length,
  };
  const items = Object.keys(LOOKS).filter((look) => !hidden[look]).map((look) => {
    const item = make('li');
    item.append(icon(look), LOOKS[look].name);
    return item;
  });
  const hint = make('li', { class: 'hint' }, 'Drag to zoom, double-click to reset.');
  find('.legend').replaceChildren(...items, hint);
}

// --- table ---
function columns() {
  const { x, y } = data;
  const range = points.some(interval) ? ' (90 % interval)' : '';
  const quality = (p) => p.y.toFixed(data.y.digits) + (gain(p) && ` (${gain(p)})`);
  const withRange = (p) => brief(p.x) + (interval(p) && ` (${interval(p)})`);
  return [
    { key: 'title', name: 'Network' },
    { key: 'x', name: `${x.name}, ${x.unit}${range}`, origin: x.origin, text: withRange },
    { key: 'y', name: `${y.name}, ${y.unit}`, origin: y.origin, text: quality },
    { key: 'macs_g', name: 'MACs, G', origin: 'counted', text: (p) => brief(p.macs_g) },
    { key: 'params_k', name: 'Parameters, K', origin: 'counted', text: (p) => brief(p.params_k) },
    { key: 'class', name: 'Class' },
  ];
}

function matching() {
  const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (p) => {
    const text = `${p.title} ${p.id}`.toLowerCase();
    return (p.front || !onlyFront.checked) && terms.every((term) => text.includes(term));
  };
  const field = (p) => (sort.key === 'class' ? className(p) : p[sort.key]);
  const compare = (a, b) => (
    typeof a === 'number' ? a - b : a.localeCompare(b, 'en', { numeric: true })
  );
  const sign = sort.ascending ? 1 : -1;
  return [...tuned, ...points].filter(fits).sort((a, b) => sign * compare(field(a), field(b)));
}

function headerRow() {
  const row = make('tr');
  for (const { key, name, origin } of columns()) {
    const cell = make('th', { scope: 'col' });
    if (key === sort.key) {
      cell.setAttribute('aria-sort', sort.ascending ? 'ascending' : 'descending');
    }
    const button = make('button', { type: 'button', 'data-key': key }, name);
    if (origin) button.append(make('small', {}, origin));
    cell.append(button);
    row.append(cell);
  }
  return row;
}

function bodyRow(p, numbers) {
  const selected = isSelected(p);
  const row = make('tr', { 'data-id': p.id, class: selected ? 'chosen' : '' });
  const name = make('th', { scope: 'row' });
  const attributes = { type: 'button', 'data-key': p.id, 'aria-pressed': selected };
  name.append(make('button', attributes, p.title), make('small', {}, p.id));
  const kind = make('td');
  kind.append(icon(lookOf(p)), className(p));
  row.append(name, ...numbers.map(({ text }) => make('td', {}, text(p))), kind);
  return row;
}

function drawTable() {
  const focused = box.contains(document.activeElement) && document.activeElement.dataset.key;
  const matches = matching();
  const visible = matches.slice(0, ROWS);
  const onTop = selection().filter((p) => !visible.includes(p));
  const numbers = columns().filter(({ text }) => text);
  find('thead').replaceChildren(headerRow());
  body.replaceChildren(...[...onTop, ...visible].map((p) => bodyRow(p, numbers)));
  const more = matches.length - visible.length;
  find('.count').textContent = `${count(matches.length)} of ${count(byId.size)} networks`
    + (more ? `; ${ROWS} shown, ${count(more)} more: narrow the search` : '')
    + (onTop.length ? '; the selected one on top' : '');
  const again = [...box.querySelectorAll('button')].find((b) => b.dataset.key === focused);
  if (again) again.focus({ preventScroll: true });
}

// Scrolls the box, never the page.
function showSelectedRow() {
  const row = find('tr.chosen');
  if (!row) return;
  const top = row.offsetTop - find('thead').offsetHeight;
  const bottom = row.offsetTop + row.offsetHeight - box.clientHeight;
  box.scrollTop = Math.min(top, Math.max(bottom, box.scrollTop));
}

find('thead').addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const { key } = button.dataset;
  sort = { key, ascending: key === sort.key ? !sort.ascending : true };
  drawTable();
});
body.addEventListener('click', (event) => choose(event.target.closest('tr').dataset.id));
search.addEventListener('input', drawTable);
onlyFront.addEventListener('change', drawTable);
plot.addEventListener('touchstart', () => { swiped = false; }, { passive: true });
plot.addEventListener('touchmove', () => { swiped = true; }, { passive: true });
new ResizeObserver(schedule).observe(plot.parentElement);
new MutationObserver(() => {
  const now = document.body.classList.contains('dark');
  if (now !== dark) schedule();
  dark = now;
}).observe(document.body, { attributes: true, attributeFilter: ['class'] });

load();
watch('value', load);
watch(['budget', 'best'], refresh);
watch(['selected', 'picked'], highlight);
