// Draws props.value (a candidate's JSON) as a table and writes edits back to it.
// All texts go through textContent; the server validates every value it receives.
const box = element.querySelector('.layer-table');
const copy = (value) => JSON.parse(JSON.stringify(value));
let state = null; // the candidate as edited here
let known = ''; // the value that page and server agree on
let timer = 0;

function make(tag, attributes = {}, text = '') {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

function choice(label, options, selected, onChange) {
  const select = make('select', { 'aria-label': label });
  for (const option of options) select.append(make('option', { value: option }, option));
  select.value = selected;
  select.addEventListener('change', () => onChange(select.value));
  return select;
}

function minimum(scheme) {
  return scheme === 'pattern' ? props.vocabulary.pattern_min_ratio : 0.05;
}

function commit() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    known = JSON.stringify(state);
    props.value = copy(state);
    trigger('input');
  }, 60);
}

function layerCells(label, layer, schemes) {
  const range = make('input', {
    type: 'range', 'aria-label': `${label} share removed`, step: 0.01,
    min: minimum(layer.scheme), max: props.vocabulary.max_ratio,
  });
  const shown = make('output');
  function refresh() {
    range.disabled = layer.scheme === 'dense';
    range.min = minimum(layer.scheme);
    range.value = layer.ratio;
    shown.textContent = layer.scheme === 'dense' ? '–' : `${Math.round(layer.ratio * 100)} %`;
  }
  const scheme = choice(`${label} scheme`, schemes, layer.scheme, (picked) => {
    layer.scheme = picked;
    if (picked === 'dense') layer.ratio = 0;
    else layer.ratio = Math.max(layer.ratio || 0.5, minimum(picked));
    refresh();
    commit();
  });
  range.addEventListener('input', () => {
    layer.ratio = Math.max(Number(range.value), minimum(layer.scheme));
    shown.textContent = `${Math.round(layer.ratio * 100)} %`;
    commit();
  });
  refresh();
  const cells = [make('td'), make('td', { class: 'ratio' })];
  cells[0].append(scheme);
  cells[1].append(range, shown);
  return cells;
}

function cellRows(cell, index) {
  const { blocks, summaries } = props.vocabulary;
  const layers = blocks[cell.block];
  const rows = Math.max(1, layers.length);
  const number = make('th', { scope: 'rowgroup', rowspan: rows }, `${index + 1}`);
  const blockCell = make('td', { rowspan: rows });
  const pick = choice(`Cell ${index + 1} block`, Object.keys(blocks), cell.block, (picked) => {
    cell.block = picked;
    cell.layers = blocks[picked].map(() => ({ scheme: 'dense', ratio: 0 }));
    build();
    commit();
  });
  pick.title = summaries[cell.block];
  blockCell.append(pick);
  const body = make('tbody');
  for (let i = 0; i < rows; i++) {
    const row = make('tr');
    if (i === 0) row.append(number, blockCell);
    if (layers.length) {
      const label = `Cell ${index + 1} ${layers[i].name}`;
      row.append(make('td', {}, layers[i].name), ...layerCells(label, cell.layers[i], layers[i].schemes));
    } else {
      row.append(make('td', { colspan: 3, class: 'quiet' }, 'left out'));
    }
    body.append(row);
  }
  return body;
}

function build() {
  const table = make('table');
  const head = make('tr');
  for (const title of ['Cell', 'Block', 'Layer', 'Scheme', 'Share removed']) {
    head.append(make('th', { scope: 'col' }, title));
  }
  const thead = make('thead');
  thead.append(head);
  const tail = make('tbody');
  const row = make('tr');
  row.append(make('th', { scope: 'row' }, 'tail'), make('td', { class: 'quiet' }, 'always there'));
  row.append(make('td', {}, '3×3'), ...layerCells('Tail', state.tail, props.vocabulary.tail));
  tail.append(row);
  table.append(thead, ...state.cells.map(cellRows), tail);
  const top = box.scrollTop;
  box.replaceChildren(table);
  box.scrollTop = top;
}

function load() {
  const json = JSON.stringify(props.value);
  if (!props.value || !props.value.cells || json === known) return;
  known = json;
  state = copy(props.value);
  build();
}

load();
watch('value', load);
