// Questions to the daemon that serves this page.

const PATIENCE_MS = 8000;

/// What the daemon has refused, in its own words.
export class Refused extends Error {}

/// The answer to a question. Throws `Refused` where the question is wrong, another error where nobody answers.
export async function ask(path, query = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ''));
  const target = asked.size ? `${path}?${asked}` : path;
  const response = await fetch(target, { signal: AbortSignal.timeout(PATIENCE_MS) });
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  if (response.status < 500) throw new Refused(words(text));
  throw new Error(words(text));
}

function words(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return text.trim();
  }
}
