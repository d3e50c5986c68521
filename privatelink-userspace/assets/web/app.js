// The page: which view is shown, when it is refreshed, and whether the daemon answers.

import { ask } from './api.js';
import { Charts } from './charts.js';
import { byId, el, keyed, say, set } from './dom.js';
import { Drops } from './drops.js';
import { Flows } from './flows.js';
import { bytesPerSecond, count, duration, perSecond } from './format.js';
import { Rates } from './rates.js';
import { Topology } from './topology.js';

const REFRESH_MS = 2000;
/// A daemon that takes long to answer is left alone for so many times that long.
const REST = 4;
/// What is declared, and the history, change less often.
const SLOW_EVERY = 3;
const VIEWS = ['topology', 'flows', 'drops', 'charts'];

const rates = new Rates();
const views = { topology: new Topology(), flows: new Flows(() => refresh()), drops: new Drops(), charts: new Charts() };
let shown = null;
let turn = 0;
let declared = null;
let well = '';
let waiting = 0;
let round = 0;

/// Health of targets and number of everything: if it is another, what is declared is asked for at once.
const standing = (totals) => JSON.stringify([totals.pid, totals.endpoints.length, totals.services.length,
  totals.targets.map((target) => target.healthy)]);

async function declaredNow() {
  const [services, endpoints, targets, balancers] = await Promise.all(
    ['services', 'endpoints', 'targets', 'load-balancers'].map((kind) => ask(`/v1/${kind}`)));
  return { services, endpoints, targets, balancers };
}

async function refreshView(slow) {
  if (shown === 'flows' && views.flows.isDue) await views.flows.search();
  if (shown === 'drops') await views.drops.refresh();
  if (shown === 'charts' && slow) await views.charts.refresh();
}

async function refresh() {
  clearTimeout(waiting);
  waiting = 0;
  const [mine, began] = [++round, performance.now()];
  const slow = turn++ % SLOW_EVERY === 0;
  try {
    const totals = await ask('/v1/totals');
    rates.take(totals);
    const standsNow = standing(totals);
    if (!declared || slow || standsNow !== well) declared = await declaredNow();
    well = standsNow;
    figures(totals);
    if (shown === 'topology') views.topology.show(totals, rates, declared);
    await refreshView(slow);
    answered(totals);
  } catch (error) {
    unanswered(error);
  }
  // Another round has begun meanwhile, or nobody looks.
  if (mine !== round || document.hidden) return;
  waiting = setTimeout(refresh, Math.max(REFRESH_MS, REST * (performance.now() - began)));
}

// Of the fuller table, where flows with IPv6 have one of their own.
function fill({ capacity, held, ipv6_capacity: wide, ipv6_held: wideHeld }) {
  return Math.max(held / capacity, wide ? wideHeld / wide : 0);
}

function figures(totals) {
  const { flows, half_open: half } = totals.flow_table;
  const targets = totals.targets.length;
  const healthy = totals.targets.filter((target) => target.healthy).length;
  const all = [
    ['To targets', bytesPerSecond(rates.all.toTarget), ''],
    ['To clients', bytesPerSecond(rates.all.toClient), ''],
    ['Packets', perSecond(rates.all.packets), ''],
    ['New flows', perSecond(rates.all.opened), ''],
    ['Live flows', count(flows), `${(100 * fill(totals.flow_table)).toFixed(1)} % of the table`],
    ['Half-open', count(half), ''],
    ['Drops', perSecond(rates.dropped), ''],
    ['Healthy targets', `${healthy} of ${targets}`, healthy < targets ? '✕ not all' : '✓ all'],
  ];
  const make = () => el('div', { class: 'figure' }, el('dt'), el('dd', { class: 'value' }), el('dd', { class: 'muted' }));
  keyed(byId('figures'), all, ([name]) => name, make, (node, [name, value, more]) => {
    say(node.children[0], name);
    say(node.children[1], value);
    say(node.children[2], more);
    set(node, 'data-tone', name === 'Healthy targets' ? (healthy < targets ? 'bad' : 'good') : null);
  });
}

function answered(totals) {
  say(byId('daemon'), `${totals.version}, up ${duration(totals.uptime_ms)}`);
  set(byId('link'), 'data-tone', 'good');
  say(byId('link-text'), 'live');
  byId('alert').hidden = true;
}

/// Said once: whoever listens to the page is not told every two seconds.
function unanswered(error) {
  set(byId('link'), 'data-tone', 'bad');
  say(byId('link-text'), 'no answer');
  const alert = byId('alert');
  if (!alert.hidden) return;
  const since = new Date().toLocaleTimeString('en-GB');
  say(alert, `The daemon does not answer since ${since} (${error.message}). The figures are the last that are known.`);
  alert.hidden = false;
}

function show(view) {
  shown = view;
  for (const name of VIEWS) {
    const tab = byId(`tab-${name}`);
    set(tab, 'aria-selected', name === view);
    set(tab, 'tabindex', name === view ? null : '-1');
    byId(`view-${name}`).hidden = name !== view;
  }
}

/// The view that the address names, with its search.
function follow() {
  const [name, query] = location.hash.slice(1).split('?');
  const view = VIEWS.includes(name) ? name : shown ?? 'topology';
  if (view === 'flows') views.flows.fill(new URLSearchParams(query));
  show(view);
  turn = 0;
  refresh();
}

function choose(view) {
  if (view !== shown) location.hash = view;
}

for (const [place, name] of VIEWS.entries()) {
  const tab = byId(`tab-${name}`);
  tab.addEventListener('click', () => choose(name));
  tab.addEventListener('keydown', (event) => {
    const last = VIEWS.length - 1;
    const to = { ArrowRight: place === last ? 0 : place + 1, ArrowLeft: place === 0 ? last : place - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    byId(`tab-${VIEWS[to]}`).focus();
    choose(VIEWS[to]);
  });
}
addEventListener('hashchange', follow);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !waiting) refresh();
});
follow();
