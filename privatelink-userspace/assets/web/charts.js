// Charts of the last hour, and the same as tables.

import { ask } from './api.js';
import { byId, el, say, set, svg } from './dom.js';
import { bytesPerSecond, count, exact, perSecond } from './format.js';

const HOUR_MS = 3_600_000;
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [600, 200, 70, 10, 12, 26];
const perS = (name) => (sample) => (sample[name] * 1000) / sample.over_ms;
const CHARTS = [
  { title: 'Throughput', shown: bytesPerSecond, series: [['to targets', perS('bytes_to_target')], ['to clients', perS('bytes_to_client')]] },
  { title: 'Packets', shown: perSecond, series: [['to targets', perS('packets_to_target')], ['to clients', perS('packets_to_client')]] },
  { title: 'New flows', shown: perSecond, series: [['opened', perS('new_flows')]] },
  { title: 'Live flows', shown: count, series: [['alive', (sample) => sample.flows]] },
  { title: 'Drops', shown: perSecond, series: [['dropped', perS('packets_dropped')]] },
];

export class Charts {
  #charts = CHARTS.map((chart) => new Chart(chart));

  constructor() {
    byId('chart-grid').append(...this.#charts.map((chart) => chart.node));
  }

  async refresh() {
    const { samples, step_ms } = await ask('/v1/history');
    for (const chart of this.#charts) chart.show(samples, step_ms);
  }
}

class Chart {
  #of;
  #plot = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img' });
  #now = el('p', { class: 'now' });
  #details = el('details', {}, el('summary', {}, 'Figures'));
  #samples = [];

  constructor(of) {
    this.#of = of;
    const legend = of.series.length > 1
      ? el('p', { class: 'legend muted' }, ...of.series.map(([name], place) => el('span', { class: `series-${place}` }, name)))
      : '';
    say(this.#details.firstChild, `${of.title}: figures`);
    this.#details.addEventListener('toggle', () => this.#tabulate());
    this.node = el('figure', { class: 'panel' },
      el('figcaption', {}, el('h3', {}, of.title), this.#now, legend), this.#plot, this.#details);
  }

  show(samples, step) {
    this.#samples = samples;
    const { title, shown, series } = this.#of;
    const top = nice(Math.max(0, ...series.flatMap(([, value]) => samples.map(value))));
    const x = (age) => LEFT + (WIDTH - LEFT - RIGHT) * (1 - Math.min(age, HOUR_MS) / HOUR_MS);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const grid = [0, 0.5, 1].flatMap((part) => [
      svg('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(top * part), y2: y(top * part) }),
      svg('text', { x: LEFT - 8, y: y(top * part) + 4, 'text-anchor': 'end' }, shown(top * part)),
    ]);
    const times = [60, 45, 30, 15, 0].map((minutes) => svg('text',
      { x: x(minutes * 60_000), y: HEIGHT - 6, 'text-anchor': minutes ? 'middle' : 'end' }, minutes ? `−${minutes} min` : 'now'));
    set(times[0], 'text-anchor', 'start');
    const lines = series.flatMap(([, value], place) => {
      const parts = runs(samples, step);
      return parts.flatMap((part) => {
        const points = part.map((sample) => `${x(sample.age_ms).toFixed(1)} ${y(value(sample)).toFixed(1)}`);
        const line = svg('path', { class: `series-${place}`, d: `M${points.join('L')}` });
        const [first, last] = [part[0], part.at(-1)].map((sample) => x(sample.age_ms).toFixed(1));
        const area = `M${first} ${y(0)}L${points.join('L')}L${last} ${y(0)}Z`;
        return [svg('path', { class: `area series-${place}`, d: area }), line];
      });
    });
    this.#plot.replaceChildren(...grid, ...times, ...lines);
    const said = series.map(([name, value]) => summary(samples, value, shown, series.length > 1 ? ` ${name}` : ''));
    set(this.#plot, 'aria-label', samples.length
      ? `${title}, last ${Math.ceil(samples[0].age_ms / 60_000)} minutes: ${said.join('; ')}`
      : `${title}: no samples yet`);
    say(this.#now, samples.length
      ? series.map(([, value]) => shown(value(samples.at(-1)))).join('  ·  ')
      : 'first sample within 10 s');
    if (this.#details.open) this.#tabulate();
  }

  /// The figures by minute, made when they are looked at.
  #tabulate() {
    this.#details.querySelector('div')?.remove();
    if (!this.#details.open) return;
    const { title, shown, series } = this.#of;
    const minutes = new Map();
    for (const sample of this.#samples) {
      const minute = Math.floor(sample.age_ms / 60_000);
      minutes.set(minute, [...(minutes.get(minute) ?? []), sample]);
    }
    const lines = [...minutes].reverse().map(([minute, samples]) => el('tr', {},
      el('th', { scope: 'row' }, minute ? `${minute} min ago` : 'last minute'),
      ...series.map(([, value]) => el('td', { class: 'number' }, shown(mean(samples, value))))));
    this.#details.append(el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${title} by minute` },
      el('table', {},
        el('caption', {}, `${title} by minute, mean of ${exact(this.#samples.length)} samples`),
        el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'When'),
          ...series.map(([name]) => el('th', { scope: 'col', class: 'number' }, name)))),
        el('tbody', {}, ...lines))));
  }
}

const mean = (samples, value) => samples.reduce((sum, sample) => sum + value(sample), 0) / samples.length;

function summary(samples, value, shown, name) {
  if (!samples.length) return '';
  const values = samples.map(value);
  return `now ${shown(values.at(-1))}${name}, mean ${shown(mean(samples, value))}, most ${shown(Math.max(...values))}`;
}

/// Samples that follow each other; where some are missing the line breaks.
function runs(samples, step) {
  const parts = [];
  for (const sample of samples) {
    const last = parts.at(-1)?.at(-1);
    if (last && last.age_ms - sample.age_ms <= Math.max(3 * step, 2 * sample.over_ms)) parts.at(-1).push(sample);
    else parts.push([sample]);
  }
  return parts;
}

/// The next of 1, 2, 5, 10, 20 … that is not less.
function nice(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((top) => top >= most);
}
