// What goes on in a second, from two answers to the same question.

/// Growth of a counter in a second; null where there is none to tell yet, or where it has gone back.
export function rate(before, now, seconds) {
  if (before === undefined || now < before || seconds <= 0) return null;
  return (now - before) / seconds;
}

const SUMS = {
  toTarget: (counts) => counts.bytes_to_target,
  toClient: (counts) => counts.bytes_to_client,
  packets: (counts) => counts.packets_to_target + counts.packets_to_client,
  opened: (counts) => counts.new_flows,
};

const KEYS = {
  endpoints: (row) => row.endpoint,
  services: (row) => row.service,
  targets: (row) => targetKey(row),
};

export const targetKey = (row) => `${row.target_group} ${row.target}`;
export const NONE = { toTarget: null, toClient: null, packets: null, opened: null };

/// Sum of rates, of which unknown ones are left out.
export function sum(all) {
  const total = { ...NONE };
  for (const one of all) {
    for (const name of Object.keys(total)) {
      if (one[name] !== null) total[name] = (total[name] ?? 0) + one[name];
    }
  }
  return total;
}

/// Bytes in a second, both ways.
export const both = (rates) => (rates.toTarget ?? 0) + (rates.toClient ?? 0);

/// Rates of everything between two answers to /v1/totals.
export class Rates {
  #before = null;
  #of = { endpoints: new Map(), services: new Map(), targets: new Map() };
  dropped = null;
  all = NONE;

  take(totals) {
    const before = this.#before?.pid === totals.pid ? this.#before : null;
    // The same answer again: it is kept for a second.
    if (before && before.uptime_ms === totals.uptime_ms) return;
    this.#before = totals;
    const seconds = before ? (totals.uptime_ms - before.uptime_ms) / 1000 : 0;
    for (const [kind, key] of Object.entries(KEYS)) {
      const earlier = new Map((before?.[kind] ?? []).map((row) => [key(row), row.counts]));
      this.#of[kind] = new Map(totals[kind].map((row) => {
        const then = earlier.get(key(row));
        const rates = Object.entries(SUMS).map(([name, of]) =>
          [name, rate(then && of(then), of(row.counts), seconds)]);
        return [key(row), Object.fromEntries(rates)];
      }));
    }
    this.all = sum(this.#of.endpoints.values());
    const drops = (answer) => answer.drops.reduce((total, row) => total + row.packets, 0);
    this.dropped = before ? rate(drops(before), drops(totals), seconds) : null;
  }

  of(kind, key) {
    return this.#of[kind].get(key) ?? NONE;
  }
}
