// The flow table: what the daemon finds, never more rows than a page can show.

import { Refused, ask } from './api.js';
import { byId, say } from './dom.js';
import { bytes, bytesPerSecond, count, duration, exact } from './format.js';
import { rate } from './rates.js';
import { Table } from './table.js';

const MOST = 200;
/// What the daemon sorts all flows by; by anything else only those that are shown are sorted.
const SORTED_THERE = { bytes: 'bytes', packets: 'packets', age: 'age', idle: 'idle' };

const carried = (row) => row.bytes_to_target + row.bytes_to_client;
const packets = (row) => row.packets_to_target + row.packets_to_client;
const again = (row) => row.retransmissions_to_target + row.retransmissions_to_client;
const milliseconds = (us) => (us === null ? '–' : `${(us / 1000).toFixed(3)} ms`);
const text = (name, title, of = name) => ({ name, title, text: (row) => row[of], order: (row) => row[of] });
const number = (name, title, order, shown) => ({ name, title, number: true, order, text: (row) => shown(order(row)) });

const COLUMNS = [
  text('client', 'Client'),
  text('vpc', 'VPC'),
  text('endpoint', 'Endpoint'),
  text('address', 'Asked for', 'endpoint_address'),
  text('nat', 'NAT'),
  text('target', 'Target'),
  text('protocol', 'Protocol'),
  text('state', 'State'),
  number('rate', 'Rate', (row) => row.rate, bytesPerSecond),
  number('bytes', 'Bytes', carried, bytes),
  number('to_target', '→ target', (row) => row.bytes_to_target, bytes),
  number('to_client', '← client', (row) => row.bytes_to_client, bytes),
  number('packets', 'Packets', packets, count),
  number('again', 'Sent again', again, exact),
  number('consumer_rtt', 'RTT client', (row) => row.consumer_rtt_us, milliseconds),
  number('provider_rtt', 'RTT target', (row) => row.provider_rtt_us, milliseconds),
  number('age', 'Age', (row) => row.age_ms, duration),
  number('idle', 'Idle', (row) => row.idle_ms, duration),
];

/// What stays the same of a flow while it lives.
const key = (row) => `${row.protocol} ${row.vpc} ${row.client} ${row.endpoint_address} ${row.nat} ${row.target}`;

export class Flows {
  #form = byId('flow-search');
  #table = new Table(byId('flow-table'), { columns: COLUMNS, key, by: 'bytes', sorted: () => this.#look() });
  #before = { at: 0, rows: new Map() };
  #due = true;
  #refresh;

  /// `refresh` is called when there is something else to look for.
  constructor(refresh) {
    this.#refresh = refresh;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      // The address has the search: it can be kept and sent.
      const fields = [...new FormData(this.#form)].filter(([, value]) => value !== '');
      history.replaceState(null, '', `#flows?${new URLSearchParams(fields)}`);
      this.#look();
    });
    this.#form.addEventListener('reset', () => setTimeout(() => this.#form.requestSubmit()));
    for (const name of ['protocol', 'state']) {
      this.#form.elements[name].addEventListener('change', () => this.#form.requestSubmit());
    }
  }

  /// Looks for what an address asks for.
  fill(query) {
    for (const field of this.#form.elements) {
      if (field.name) field.value = query.get(field.name) ?? '';
    }
    this.#due = true;
  }

  get isDue() {
    return this.#due || byId('flows-live').checked;
  }

  #look() {
    this.#due = true;
    this.#refresh();
  }

  async search() {
    this.#due = false;
    const fields = [...new FormData(this.#form)].map(([name, value]) => [name, value.trim()]);
    const sort = SORTED_THERE[this.#table.by];
    const query = { ...Object.fromEntries(fields), limit: MOST, sort: sort ?? 'bytes' };
    if (sort && this.#table.reverse) query.reverse = true;
    try {
      const rows = await ask('/v1/flows', query);
      // Nothing else is looked for meanwhile.
      if (!this.#due) this.#show(rows);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#refused(error.message);
    }
  }

  #show(rows) {
    const at = performance.now();
    const { at: then, rows: before } = this.#before;
    for (const row of rows) {
      const earlier = before.get(key(row));
      row.rate = rate(earlier && carried(earlier), carried(row), (at - then) / 1000);
    }
    this.#before = { at, rows: new Map(rows.map((row) => [key(row), row])) };
    this.#refused('');
    const found = rows.length === MOST ? `The first ${MOST} flows` : rows.length === 1 ? '1 flow' : `${rows.length} flows`;
    this.#table.show(rows, found);
  }

  #refused(words) {
    const fault = byId('flow-fault');
    fault.hidden = !words;
    say(fault, words);
  }
}
