// Numbers for people: units of 1000, three digits.

const UNITS = ['', 'k', 'M', 'G', 'T', 'P'];

/// 1234567 as "1.23 M".
function scaled(value, separator) {
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = value >= 99.95 || Number.isInteger(value) ? 0 : value >= 9.995 ? 1 : 2;
  const written = digits ? value.toFixed(digits).replace(/\.?0+$/, '') : Math.round(value);
  return `${written}${unit || separator === ' ' ? separator : ''}${UNITS[unit]}`;
}

export const count = (value) => scaled(value, ' ').trim();
export const bytes = (value) => `${scaled(value, ' ')}B`;
export const perSecond = (value) => (value === null ? '–' : `${count(value)}/s`);
export const bytesPerSecond = (value) => (value === null ? '–' : `${bytes(value)}/s`);
export const exact = (value) => value.toLocaleString('en-GB').replaceAll(',', '\u202f');

/// Milliseconds as "3h 2m", its two largest parts.
export function duration(ms) {
  if (ms < 1000) return `${ms}ms`;
  const parts = [['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1000]];
  const first = parts.findIndex(([, size]) => ms >= size);
  const written = [];
  for (const [unit, size] of parts.slice(first, first + 2)) {
    const number = Math.floor(ms / size);
    ms -= number * size;
    if (number || !written.length) written.push(`${number}${unit}`);
  }
  return written.join(' ');
}
