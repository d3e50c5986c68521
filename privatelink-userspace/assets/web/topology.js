// The topology: four columns of cards, and lines between them as thick as what they carry.

import { byId, el, keyed, say, set, svg } from './dom.js';
import { bytesPerSecond, count, exact } from './format.js';
import { COLUMNS, graph, joined, matching } from './graph.js';
import { both } from './rates.js';

/// Cards in a column, at most: the busiest.
const MOST = 60;
/// Names that a card says it leads to, at most.
const MOST_NAMES = 5;
const TITLES = { vpcs: 'Consumers', endpoints: 'Endpoints', services: 'Services', targets: 'Targets' };
const MARKS = { good: '✓', bad: '✕', wait: '…', none: '' };

export class Topology {
  #shown = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  #graph = null;
  #lines = svg('svg', { class: 'lines', 'aria-hidden': 'true' });
  #columns = {};

  constructor() {
    const parent = byId('graph');
    parent.append(this.#lines);
    for (const name of COLUMNS) {
      const heading = el('h3', { id: `column-${name}` });
      const list = el('ul', { 'aria-labelledby': heading.id });
      const rest = el('p', { class: 'muted rest', hidden: '' });
      this.#columns[name] = { heading, list, rest };
      parent.append(el('div', { class: 'column' }, heading, list, rest));
    }
    byId('find').addEventListener('input', () => this.#draw());
    byId('find').form.addEventListener('submit', (event) => event.preventDefault());
    new ResizeObserver(() => this.#drawLines()).observe(parent);
    for (const [type, on] of [['pointerover', true], ['pointerout', false], ['focusin', true], ['focusout', false]]) {
      parent.addEventListener(type, (event) => this.#trace(on ? event.target.closest('li') : null));
    }
  }

  show(totals, rates, declared) {
    this.#graph = graph(totals, rates, declared);
    this.#draw();
  }

  #draw() {
    if (!this.#graph) return;
    const found = matching(this.#graph, byId('find').value);
    let before = null;
    for (const name of COLUMNS) {
      const all = this.#graph[name].filter((node) => !found || found.has(node));
      const shown = all.length > MOST ? busiest(all, before) : all;
      this.#shown[name] = shown;
      before = new Set(shown);
      const { heading, list, rest } = this.#columns[name];
      say(heading, `${TITLES[name]} (${exact(this.#graph[name].length)})`);
      keyed(list, shown, (node) => node.key, card, update);
      rest.hidden = all.length <= MOST;
      say(rest, `The busiest ${MOST}. ${exact(all.length - MOST)} more are not shown: search to find them.`);
    }
    say(byId('found'), found ? (found.size ? `${exact(found.size)} found` : 'nothing has this text') : '');
    this.#drawLines();
  }

  #drawLines() {
    const parent = byId('graph').getBoundingClientRect();
    if (!parent.width || !this.#graph) return;
    set(this.#lines, 'viewBox', `0 0 ${parent.width} ${parent.height}`);
    const boxes = new Map();
    for (const name of COLUMNS) {
      const cards = this.#columns[name].list.children;
      this.#shown[name].forEach((node, place) => boxes.set(node, cards[place].getBoundingClientRect()));
    }
    const lines = [];
    for (const [from, start] of boxes) {
      for (const to of from.down) {
        const end = boxes.get(to);
        if (end) lines.push({ key: `${from.column} ${from.key} ${to.key}`, start, end, ...link(from, to) });
      }
    }
    const most = Math.max(1, ...lines.map((line) => line.carries));
    keyed(this.#lines, lines, (line) => line.key, () => svg('path'), (path, line) => {
      const [x1, x2] = [line.start.right - parent.left, line.end.left - parent.left];
      const [y1, y2] = [line.start, line.end].map((box) => (box.top + box.bottom) / 2 - parent.top);
      const middle = (x1 + x2) / 2;
      set(path, 'd', `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`);
      set(path, 'stroke-width', (1.5 + 6.5 * Math.sqrt(line.carries / most)).toFixed(1));
      path.classList.toggle('busy', line.carries > 0);
      set(path, 'data-tone', line.tone);
      path.ends = [line.from, line.to];
    });
  }

  /// Lets what is not joined to a card step back while it is pointed at.
  #trace(item) {
    const node = item && this.#shown[item.dataset.column]?.find((one) => one.key === item.dataset.key);
    const near = node ? joined([node]) : null;
    for (const name of COLUMNS) {
      const cards = this.#columns[name].list.children;
      this.#shown[name].forEach((one, place) => {
        cards[place]?.classList.toggle('aside', Boolean(near) && !near.has(one));
      });
    }
    for (const path of this.#lines.children) {
      path.classList.toggle('aside', Boolean(near) && !path.ends.every((end) => near.has(end)));
    }
  }
}

/// The busiest nodes, first of those that are joined to what is shown on their left.
function busiest(nodes, left) {
  const near = new Map(nodes.map((node) => [node, Number(!left || node.up.some((up) => left.has(up)))]));
  const order = (a, b) => near.get(b) - near.get(a) || both(b.rates) - both(a.rates) || b.flows - a.flows;
  return [...nodes].sort(order).slice(0, MOST);
}

/// What a line carries: of the two it joins, the one that others do not share.
function link(from, to) {
  const carries = Math.min(both(from.rates), both(to.rates));
  return { from, to, carries, tone: to.column === 'targets' ? to.tone : from.tone };
}

function card(node) {
  const title = el('a', { class: 'title' });
  const state = el('p', { class: 'state' }, el('span', { class: 'mark', 'aria-hidden': 'true' }), el('span'));
  const figure = (arrow, words) => el('span', {},
    el('span', { 'aria-hidden': 'true', class: 'arrow' }, arrow), el('span', { class: 'unseen' }, words), el('b'));
  const rates = el('p', { class: 'rates' }, figure('→', 'to targets '), figure('←', ', to clients '));
  return el('li', { class: 'card', 'data-column': node.column }, title, state,
    el('p', { class: 'facts muted' }), rates, el('p', { class: 'why' }), el('p', { class: 'joins muted' }));
}

/// In words what the lines say, for who does not see them.
function joins({ down }) {
  if (!down.length) return '';
  const names = down.slice(0, MOST_NAMES).map((node) => node.title).join(', ');
  return `leads to ${names}${down.length > MOST_NAMES ? ` and ${down.length - MOST_NAMES} more` : ''}`;
}

function update(item, node) {
  const [title, state, facts, rates, why, leads] = item.children;
  set(item, 'data-tone', node.tone);
  say(title, node.title);
  set(title, 'href', `#flows?${new URLSearchParams(node.search)}`);
  set(title, 'aria-label', `${node.title}: its flows`);
  state.hidden = !node.state;
  say(state.firstChild, MARKS[node.tone]);
  say(state.lastChild, node.state);
  const flows = node.flows === 1 ? '1 flow' : `${count(node.flows)} flows`;
  say(facts, [...node.facts, flows].filter(Boolean).join(' · '));
  say(rates.children[0].lastChild, bytesPerSecond(node.rates.toTarget));
  say(rates.children[1].lastChild, bytesPerSecond(node.rates.toClient));
  why.hidden = !node.why;
  say(why, node.why);
  say(leads, joins(node));
}
