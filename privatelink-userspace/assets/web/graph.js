// Who is joined to whom: consumers' vpcs, endpoints, services, targets.

import { NONE, sum, targetKey } from './rates.js';

export const COLUMNS = ['vpcs', 'endpoints', 'services', 'targets'];

/// Words and tone of a state; colour is never all that tells it.
const TONES = {
  healthy: 'good', available: 'good', Available: 'good',
  unhealthy: 'bad', rejected: 'bad', failed: 'bad', Failed: 'bad', expired: 'bad',
  initial: 'wait', draining: 'wait', pendingAcceptance: 'wait', Pending: 'wait',
  deleting: 'wait', Deleting: 'wait',
};

/// The graph of what the daemon has answered; `declared` are services, endpoints, targets and load balancers.
export function graph(totals, rates, { services, endpoints, targets, balancers }) {
  const columns = { vpcs: new Map(), endpoints: new Map(), services: new Map(), targets: new Map() };
  const add = (column, key, node) => {
    columns[column].set(key, { column, key, up: [], down: [], ...node });
  };
  const join = (upper, lower) => {
    if (!upper || !lower) return;
    upper.down.push(lower);
    lower.up.push(upper);
  };

  const counted = new Map(totals.targets.map((row) => [targetKey(row), row]));
  const inGroup = new Map();
  for (const row of targets) {
    const key = targetKey(row);
    add('targets', key, {
      title: row.target,
      facts: [row.target_group, row.vpc],
      state: row.health,
      why: row.description || row.reason,
      tone: TONES[row.health] ?? 'none',
      flows: counted.get(key)?.flows ?? row.flows,
      rates: rates.of('targets', key),
      search: { target: row.target },
    });
    if (!inGroup.has(row.target_group)) inGroup.set(row.target_group, []);
    inGroup.get(row.target_group).push(columns.targets.get(key));
  }

  const groupsOf = new Map(balancers.map(({ id, settings }) =>
    [id, (settings.listener ?? []).map((listener) => listener.target_group)]));
  const used = new Map(totals.services.map((row) => [row.service, row.flows]));
  for (const row of services) {
    const names = row.load_balancers ? row.load_balancers.split(',') : [];
    const behind = new Set(names.flatMap((name) => groupsOf.get(name) ?? [])
      .flatMap((group) => inGroup.get(group) ?? []));
    const well = [...behind].filter((target) => target.state === 'healthy').length;
    const tone = TONES[row.state] !== 'good' ? TONES[row.state]
      : well === behind.size && well ? 'good' : well ? 'wait' : 'bad';
    add('services', row.service, {
      title: row.service,
      facts: [row.listeners.replaceAll(',', ', '), row.load_balancers.replaceAll(',', ', ')],
      state: tone === TONES[row.state] && tone !== 'good' ? row.state : `${well} of ${behind.size} targets healthy`,
      why: '',
      words: row.name,
      tone,
      flows: used.get(row.service) ?? row.flows,
      rates: rates.of('services', row.service),
      search: { service: row.service },
    });
    for (const target of behind) join(columns.services.get(row.service), target);
  }

  const live = new Map(totals.endpoints.map((row) => [row.endpoint, row]));
  for (const row of endpoints) {
    add('endpoints', row.endpoint, {
      title: row.endpoint,
      facts: [row.addresses.replaceAll(',', ', ')],
      state: row.state,
      why: '',
      tone: TONES[row.state] ?? 'none',
      flows: live.get(row.endpoint)?.flows ?? row.flows,
      rates: rates.of('endpoints', row.endpoint),
      search: { endpoint: row.endpoint },
    });
    const node = columns.endpoints.get(row.endpoint);
    if (!columns.vpcs.has(row.vpc)) {
      add('vpcs', row.vpc, { title: row.vpc, facts: [], state: '', why: '', tone: 'none', search: { vpc: row.vpc } });
    }
    join(columns.vpcs.get(row.vpc), node);
    join(node, columns.services.get(row.service));
  }
  for (const vpc of columns.vpcs.values()) {
    vpc.facts = [vpc.down.length === 1 ? '1 endpoint' : `${vpc.down.length} endpoints`];
    vpc.flows = vpc.down.reduce((flows, endpoint) => flows + endpoint.flows, 0);
    vpc.rates = vpc.down.length ? sum(vpc.down.map((endpoint) => endpoint.rates)) : NONE;
  }
  return inOrder(columns);
}

/// Each column in the order of what is joined to it on the left, so that few lines cross.
function inOrder(columns) {
  const ordered = { vpcs: [...columns.vpcs.values()] };
  for (const [place, name] of COLUMNS.entries()) {
    if (!place) continue;
    const left = new Map(ordered[COLUMNS[place - 1]].map((node, at) => [node, at]));
    const middle = ({ up }) => up.reduce((sum, node) => sum + left.get(node), 0) / up.length;
    const at = new Map([...columns[name].values()].map((node) => [node, node.up.length ? middle(node) : Infinity]));
    ordered[name] = [...at.keys()].sort((a, b) => (at.get(a) === at.get(b) ? 0 : at.get(a) - at.get(b)));
  }
  return ordered;
}

/// Nodes with all that is joined to them, towards the clients and towards the targets.
export function joined(nodes) {
  const found = new Set(nodes);
  for (const way of ['up', 'down']) {
    const [passed, waiting] = [new Set(nodes), [...nodes]];
    while (waiting.length) {
      for (const next of waiting.pop()[way]) {
        if (passed.has(next)) continue;
        passed.add(next);
        found.add(next);
        waiting.push(next);
      }
    }
  }
  return found;
}

/// The nodes that have this text somewhere, with all that is joined to them; null if nothing is looked for.
export function matching(graph, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  const has = (node) =>
    [node.title, node.state, node.why, node.words, ...node.facts].join(' ').toLowerCase().includes(wanted);
  return joined(COLUMNS.flatMap((column) => graph[column].filter(has)));
}
