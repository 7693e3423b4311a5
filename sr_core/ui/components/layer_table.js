// Draws props.value (a candidate's JSON) as a table and writes edits back to it. On every edit it
// asks the server what the network costs (props.view says where), and which weights the selected
// layer keeps. All texts go through textContent; the server validates every value it receives.
const root = element.querySelector('.layer-table');
const SCHEMES = ['dense', 'channel', 'block', 'pattern', 'unstructured'];
const WEAK = ['extrapolated', 'assumed']; // hatched: nobody measured or published such a layer
const SOON_MS = 60, SETTLED_MS = 400; // from an edit to `input`: a choice, a slider
const GESTURE_MS = 600; // key presses closer than this are one step of undo
const MASK_MS = 200;
const MOST_STEPS = 100;
const copy = (value) => JSON.parse(JSON.stringify(value));
const DENSE = { scheme: 'dense', ratio: 0 };
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

let state = null; // the candidate as edited here, with its input skip also where that is dense
let lastJson = ''; // the last value that page or table wrote to props
let rowBlocks = ''; // the family, and the blocks that have rows
let rows = []; // one per layer, in forward order
let selected = ''; // name of a layer
let timer = 0;

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

function family() { // by name
  return `x${state.scale}${state.colour ? `-${state.colour}` : ''}`;
}

function canonical() { // as the server writes it: a dense input skip is left out
  const { input_skip: skip, colour, ...first } = state;
  return { ...first, ...(skip.scheme === 'dense' ? {} : { input_skip: skip }),
    ...(colour ? { colour } : {}) };
}

// ---- the fixed parts -------------------------------------------------------------------------

const undoButton = button('↶ Undo', { title: 'Ctrl+Z' }, () => step(past, future));
const redoButton = button('↷ Redo', { title: 'Ctrl+Shift+Z' }, () => step(future, past));
const totals = make('div', { class: 'totals' });
const alarm = make('p', { class: 'alarm', role: 'alert' });
const strip = make('div', { class: 'strip', role: 'group', 'aria-label': 'Latency by layer' });
const readout = make('p', { class: 'readout' });
const note = make('p', { class: 'note' });
const legend = make('ul', { class: 'legend', 'aria-label': 'Legend' }, ...SCHEMES.map(
  (scheme) => make('li', { 'data-scheme': scheme }, make('i'), scheme)));
const tools = make('div', { class: 'tools' }, undoButton, redoButton);
const scroller = make('div', { class: 'rows', role: 'region', 'aria-label': 'Layers', tabindex: 0 });
const maskTitle = make('strong'), maskImage = make('img', { alt: '' });
const maskCaption = make('figcaption');
const maskPanel = make('figure', { class: 'mask' }, maskTitle, maskImage, maskCaption);
const body = make('div', { class: 'body' }, scroller);

if (server.price) {
  legend.append(make('li', { 'data-scheme': 'dense' }, make('i', { class: 'weak' }),
    WEAK.join(' or ')));
  root.append(make('div', { class: 'summary' }, make('div', { class: 'bar' }, totals, tools),
    alarm, strip, make('div', { class: 'bar' }, readout, legend), note));
} else {
  tools.prepend(legend);
  root.append(tools);
}
if (server.mask) body.append(maskPanel);
root.append(body);

// ---- edits and their undo --------------------------------------------------------------------

let past = [], future = []; // candidates as JSON, the nearest last
let gesture = null; // the control whose edits belong to the step that is already in `past`
let gestureTimer = 0;

function remember(json) {
  past.push(json);
  if (past.length > MOST_STEPS) past.shift();
  future = [];
}

function edit(control, change, delay = SETTLED_MS) {
  clearTimeout(gestureTimer);
  const before = JSON.stringify(state);
  change();
  if (JSON.stringify(state) === before) return;
  if (gesture !== control) remember(before);
  gesture = control;
  changed(delay);
}

function choose(control, change) {
  gesture = null;
  edit(control, change, SOON_MS);
  settle();
}

function step(from, to) {
  if (!from.length) return;
  to.push(JSON.stringify(state));
  state = JSON.parse(from.pop());
  settle();
  changed(SETTLED_MS);
}

function settle() { // the gesture is over
  gesture = null;
  store();
}

function store() { // not while a slider moves: Gradio evaluates the styles anew
  const json = JSON.stringify(canonical());
  if (json === lastJson) return;
  lastJson = json;
  props.value = copy(canonical());
}

function changed(delay) {
  show();
  reprice();
  clearTimeout(timer);
  timer = setTimeout(() => { store(); trigger('input'); }, delay);
}

function load() {
  const json = JSON.stringify(props.value);
  if (!props.value || !props.value.cells || json === lastJson) return;
  lastJson = json;
  if (state && json === JSON.stringify(canonical())) return;
  if (state) remember(JSON.stringify(state));
  clearTimeout(timer);
  gesture = null;
  state = { input_skip: { ...DENSE }, ...copy(props.value) };
  show();
  reprice();
}

root.addEventListener('keydown', (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.key.toLowerCase() !== 'z') return;
  event.preventDefault();
  if (event.shiftKey) step(future, past);
  else step(past, future);
});

// ---- rows ------------------------------------------------------------------------------------

function options(label, names, onChange) {
  const select = make('select', { 'aria-label': label });
  for (const name of names) select.append(make('option', { value: name }, name));
  select.addEventListener('change', () => choose(select, () => onChange(select.value)));
  return select;
}

const hundredths = (percent) => Math.round(percent * 100) / 10000; // percent -> ratio
const percentOf = (ratio) => Math.round(ratio * 10000) / 100;

function lowest(scheme) { // percent
  return scheme === 'pattern' ? percentOf(VOCABULARY.pattern_min_ratio) : 0.01;
}

function addControls(row, schemes) {
  const highest = percentOf(VOCABULARY.max_ratio);
  row.select = options(`${row.label} scheme`, schemes, (scheme) => {
    const layer = row.layer();
    layer.scheme = scheme;
    layer.ratio = scheme === 'dense' ? 0
      : Math.max(layer.ratio || 0.5, lowest(scheme) / 100);
  });
  row.range = make('input', {
    type: 'range', min: 1, max: highest, step: 1, 'aria-label': `${row.label} share removed`,
  });
  row.number = make('input', {
    type: 'number', max: highest, step: 'any', inputmode: 'decimal', autocomplete: 'off',
    'aria-label': `${row.label} percent removed, exactly`,
  });
  const remove = (control, percent) => edit(control, () => {
    row.layer().ratio = hundredths(clamp(percent, lowest(row.layer().scheme), highest));
  });
  row.range.addEventListener('pointerdown', settle);
  row.range.addEventListener('input', () => remove(row.range, row.range.valueAsNumber));
  row.number.addEventListener('input', () => {
    const percent = row.number.valueAsNumber;
    if (percent >= lowest(row.layer().scheme) && percent <= highest) remove(row.number, percent);
  });
  row.number.addEventListener('change', () => {
    if (!rows.includes(row)) return; // it had the focus when its row was taken away
    const percent = row.number.valueAsNumber;
    if (!Number.isNaN(percent)) remove(row.number, percent);
    showRow(row, true);
  });
  for (const control of [row.range, row.number]) {
    control.addEventListener('change', () => {
      store();
      clearTimeout(gestureTimer);
      gestureTimer = setTimeout(settle, GESTURE_MS);
    });
  }
  row.tr.append(make('td', { class: 'scheme' }, row.select),
    make('td', { class: 'ratio' }, row.range, row.number, ' %'));
}

function addRow(name, label, short, layer, schemes) {
  const row = { name, label, layer, tr: make('tr', { 'data-layer': name }) };
  row.button = button(short, { class: 'name', 'aria-label': label }, () => select(row.name));
  for (const type of ['focusin', 'input']) row.tr.addEventListener(type, () => select(row.name));
  return Object.assign(row, {
    fill() { // after the cell's own columns
      row.tr.append(make('td', { class: 'layer' }, row.button));
      if (schemes) addControls(row, schemes);
      else row.tr.append(make('td', { class: 'quiet', colspan: 2 }, 'never pruned'));
      if (server.price) addCost(row);
      rows.push(row);
      return row.tr;
    },
  });
}

function addCost(row) {
  row.bar = make('i');
  row.ms = make('span');
  row.gmacs = make('span', { class: 'gmacs' });
  row.cost = make('td', { class: 'cost' }, make('div', {},
    make('span', { class: 'track' }, row.bar),
    make('span', { class: 'figures' }, row.ms, row.gmacs)));
  row.tr.append(row.cost);
  row.segment = button('', { tabindex: -1, 'aria-label': row.label }, () => reveal(row));
  row.segment.addEventListener('focus', () => tell(row));
  row.segment.addEventListener('pointerenter', () => tell(row));
}

function cellRows(cell, index) {
  const { blocks, summaries, offered } = VOCABULARY;
  const layers = blocks[cell.block];
  const menu = offered[family()]?.blocks ?? Object.keys(blocks);
  const span = Math.max(1, layers.length);
  const pick = options(`Cell ${index + 1} block`, menu, (block) => {
    const dense = () => ({ ...DENSE });
    state.cells[index] = { block, layers: blocks[block].map(dense) };
  });
  pick.value = cell.block;
  pick.title = summaries[cell.block];
  const first = [make('th', { class: 'cell', scope: 'rowgroup', rowspan: span },
    make('span', {}, 'Cell '), `${index + 1}`),
  make('td', { class: 'block', rowspan: span }, pick)];
  const layerRows = layers.map(({ key, name, schemes }, i) => addRow(
    `cells.${index}.${cell.block}.${key}`, `Cell ${index + 1} ${name}`, name,
    () => state.cells[index].layers[i], schemes));
  if (!layerRows.length) {
    return make('tbody', {}, make('tr', {}, ...first,
      make('td', { class: 'quiet', colspan: server.price ? 4 : 3 }, 'left out')));
  }
  layerRows[0].tr.append(...first);
  return make('tbody', {}, ...layerRows.map((row) => row.fill()));
}

function endRow(name, title, schemes) {
  const short = VOCABULARY.ends[name] ?? 'bicubic';
  const row = addRow(name, `${title} ${short}`, short, () => state[name], schemes);
  row.tr.append(make('th', { class: 'cell end', scope: 'row', colspan: 2 }, title));
  return make('tbody', {}, row.fill());
}

function build() {
  const focused = scroller.contains(document.activeElement)
    ? document.activeElement.getAttribute('aria-label') : '';
  const skipMenu = VOCABULARY.offered[family()]?.skip_schemes ?? ['dense'];
  const skipSchemes = skipMenu.length > 1 ? skipMenu : null;
  const titles = ['Cell', 'Block', 'Layer', 'Scheme', 'Share removed',
    ...(server.price ? ['Latency, MACs'] : [])];
  rows = [];
  const head = server.price ? [endRow('head', 'Head')] : [];
  const cells = state.cells.map(cellRows);
  const ends = [endRow('tail', 'Tail', VOCABULARY.tail),
    ...(server.price || skipSchemes ? [endRow('input_skip', 'Input skip', skipSchemes)] : []),
    ...(server.price && state.colour ? [endRow('chroma', 'Chroma')] : [])];
  const table = make('table', {}, make('thead', {}, make('tr', {}, ...titles.map(
    (title) => make('th', { scope: 'col' }, title)))), ...head, ...cells, ...ends);
  const top = scroller.scrollTop;
  scroller.replaceChildren(table);
  scroller.scrollTop = top;
  if (server.price) buildStrip();
  if (!rows.some((row) => row.name === selected)) selected = '';
  if (focused) {
    const again = [...scroller.querySelectorAll('[aria-label]')].find(
      (node) => node.getAttribute('aria-label') === focused);
    (again || scroller).focus({ preventScroll: true });
  }
}

function show() {
  const blocks = [family(), ...state.cells.map((cell) => cell.block)].join();
  if (blocks !== rowBlocks) {
    rowBlocks = blocks;
    build();
  }
  rows.forEach((row) => showRow(row, gesture !== row.number));
  undoButton.setAttribute('aria-disabled', !past.length);
  redoButton.setAttribute('aria-disabled', !future.length);
  showSelection();
}

function showRow(row, numberToo) {
  const { scheme, ratio } = row.select ? row.layer() : DENSE;
  row.tr.dataset.scheme = scheme;
  if (row.segment) row.segment.dataset.scheme = scheme;
  if (!row.select) return;
  const dense = scheme === 'dense', percent = percentOf(ratio);
  row.select.value = scheme;
  row.range.disabled = row.number.disabled = dense;
  row.range.min = Math.max(1, Math.floor(lowest(scheme)));
  row.range.value = percent;
  row.range.style.setProperty('--share', `${100 * (percent - row.range.min)
    / (row.range.max - row.range.min)}%`);
  row.range.setAttribute('aria-valuetext', `${percent} %`);
  row.number.min = lowest(scheme);
  if (numberToo) row.number.value = dense ? '' : percent; // not while somebody types
}

// ---- costs -----------------------------------------------------------------------------------

let asking = false, outdated = false;

function ask(answer, question) { // undefined where there is no answer
  return answer(question).catch(() => undefined);
}

async function reprice() { // one question at a time, always with the latest candidate
  if (!server.price) return;
  outdated = true;
  if (asking) return;
  asking = true;
  while (outdated) {
    outdated = false;
    showPrice(await ask(server.price, { candidate: state, view: props.view }));
  }
  asking = false;
}

function showPrice(answer) {
  const failed = !answer || answer.error;
  root.classList.toggle('outdated', Boolean(failed));
  const sentence = !failed ? ''
    : (answer && answer.error) || 'No latency: the server does not answer. Any edit asks it again.';
  if (alarm.textContent !== sentence) alarm.textContent = sentence;
  if (failed) return;
  showTotals(answer.totals);
  note.textContent = answer.note;
  const most = Math.max(...Object.values(answer.layers).map((cost) => cost.ms));
  for (const row of rows) {
    const cost = answer.layers[row.name];
    if (cost) showCost(row, cost, most);
  }
}

function showTotals(tiles) {
  while (totals.children.length > tiles.length) totals.lastChild.remove();
  while (totals.children.length < tiles.length) {
    totals.append(make('div', {}, make('span'), make('strong'), make('small')));
  }
  tiles.forEach((texts, i) => {
    texts.forEach((text, j) => { totals.children[i].children[j].textContent = text; });
  });
}

function showCost(row, cost, most) {
  const weak = WEAK.includes(cost.basis), ms = `${cost.ms.toFixed(2)} ms`;
  row.summary = `${row.label}, ${row.tr.dataset.scheme}: ${cost.title}`;
  row.bar.style.width = `${most > 0 ? 100 * cost.ms / most : 0}%`;
  row.bar.classList.toggle('weak', weak);
  row.ms.textContent = ms;
  row.gmacs.textContent = `${cost.gmacs.toFixed(2)} GMACs`;
  row.cost.title = cost.title;
  row.segment.style.flexGrow = cost.ms;
  row.segment.classList.toggle('weak', weak);
  row.segment.setAttribute('aria-label', `${row.label}, ${ms}`);
  if (readout.dataset.layer === row.name) readout.textContent = row.summary;
}

// ---- the strip of all layers -----------------------------------------------------------------

function buildStrip() {
  rows.forEach((row, i) => {
    const before = i ? rows[i - 1].name.split('.')[1] : '';
    row.segment.classList.toggle('first', i > 0 && row.name.split('.')[1] !== before);
  });
  strip.replaceChildren(...rows.map((row) => row.segment));
  rows[0].segment.tabIndex = 0;
  untell();
}

function tell(row) {
  readout.dataset.layer = row.name;
  readout.textContent = row.summary || '';
}

function untell() {
  readout.dataset.layer = '';
  readout.textContent = 'Each segment is a layer, as wide as its share of the time.';
}

strip.addEventListener('pointerleave', untell);
strip.addEventListener('focusout', () => { if (!strip.matches(':hover')) untell(); });
strip.addEventListener('keydown', (event) => {
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const here = rows.findIndex((row) => row.segment === event.target);
  const next = way && rows[here + way];
  if (!next) return;
  event.preventDefault();
  rows[here].segment.tabIndex = -1;
  next.segment.tabIndex = 0;
  next.segment.focus();
});

function reveal(row) {
  const at = row.tr.getBoundingClientRect(), box = scroller.getBoundingClientRect();
  scroller.scrollBy({ top: at.top - box.top - (box.height - at.height) / 2 });
  row.button.focus({ preventScroll: true });
}

// ---- the selected layer and its mask ---------------------------------------------------------

let lastQuestion = ''; // the question whose answer is shown or under way
let maskTimer = 0;

function select(name) {
  if (name === selected) return;
  selected = name;
  showSelection();
}

function showSelection() {
  for (const row of rows) {
    row.tr.classList.toggle('selected', row.name === selected);
    if (row.name === selected) row.button.setAttribute('aria-current', 'true');
    else row.button.removeAttribute('aria-current');
  }
  if (server.mask) askMask();
}

function askMask() {
  const row = rows.find((one) => one.name === selected);
  if (!row) {
    lastQuestion = '';
    showMask('Mask', { caption: 'Select a layer to see which of its weights are kept.' });
    return;
  }
  if (row.name === 'chroma') {
    lastQuestion = '';
    showMask(row.label, { caption: 'The colours are interpolated: nothing here is trained.' });
    return;
  }
  // A mask depends on the layer and on those before it in its cell.
  const cell = state.cells[Number(selected.split('.')[1])];
  const question = JSON.stringify([selected, family(), state.width, cell || state[selected]]);
  if (question === lastQuestion) return;
  lastQuestion = question;
  clearTimeout(maskTimer);
  maskPanel.setAttribute('aria-busy', 'true');
  maskTimer = setTimeout(async () => {
    const answer = await ask(server.mask, { candidate: state, layer: row.name });
    if (question !== lastQuestion) return;
    const sentence = answer ? answer.error
      : 'No mask: the server does not answer. Select the layer again to ask it again.';
    if (sentence) lastQuestion = '';
    showMask(`${row.label}, ${row.tr.dataset.scheme}`, sentence ? { caption: sentence } : answer);
  }, MASK_MS);
}

function showMask(title, { src = '', caption, alt = '' }) {
  clearTimeout(maskTimer);
  maskPanel.removeAttribute('aria-busy');
  maskTitle.textContent = title;
  maskImage.hidden = !src;
  maskImage.alt = alt;
  if (src) maskImage.src = src;
  maskCaption.textContent = caption;
}

load();
watch('value', load);
watch('view', reprice);
