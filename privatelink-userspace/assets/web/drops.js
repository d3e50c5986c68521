// Packets that were dropped, by reason and interface.

import { ask } from './api.js';
import { byId } from './dom.js';
import { exact, perSecond } from './format.js';
import { rate } from './rates.js';
import { Table } from './table.js';

const text = (name, title) => ({ name, title, text: (row) => row[name], order: (row) => row[name] });
const COLUMNS = [
  text('reason', 'Reason'),
  { name: 'packets', title: 'Packets', number: true, text: (row) => exact(row.packets), order: (row) => row.packets },
  { name: 'rate', title: 'Rate', number: true, text: (row) => perSecond(row.rate), order: (row) => row.rate },
  text('interface', 'Interface'),
  text('vpc', 'VPC'),
  text('meaning', 'Meaning'),
];

const key = (row) => `${row.reason} ${row.interface}`;

export class Drops {
  #table = new Table(byId('drop-table'), { columns: COLUMNS, key, by: 'packets' });
  #before = { at: 0, packets: new Map() };

  async refresh() {
    const rows = await ask('/v1/drops');
    const at = performance.now();
    const { at: then, packets } = this.#before;
    for (const row of rows) {
      // A reason that was not there had dropped nothing.
      const earlier = then ? packets.get(key(row)) ?? 0 : undefined;
      row.rate = rate(earlier, row.packets, (at - then) / 1000);
    }
    this.#before = { at, packets: new Map(rows.map((row) => [key(row), row.packets])) };
    const sum = rows.reduce((total, row) => total + row.packets, 0);
    this.#table.show(rows, rows.length ? `${exact(sum)} packets dropped since the start` : 'No packet was dropped');
  }
}
