/** Lease times as people write them: `90m`, `2h`, `1d12h`, `PT2H30M`, or plain seconds. */
const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const SHORT = /^(?:\d{1,9}[smhdw])+$/;
const ISO = /^P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?$/;

/** Seconds, or undefined when the text is no duration or zero. */
export function parseDuration(text: string): number | undefined {
  const t = text.trim();
  const seconds = /^\d{1,12}$/.test(t) ? Number(t) : SHORT.test(t.toLowerCase()) ? short(t.toLowerCase()) : iso(t.toUpperCase());
  return seconds !== undefined && seconds > 0 && Number.isSafeInteger(seconds) ? seconds : undefined;
}

function short(t: string): number {
  return [...t.matchAll(/(\d+)([smhdw])/g)].reduce((sum, [, n, unit]) => sum + Number(n) * (UNITS[unit ?? ''] ?? NaN), 0);
}

function iso(t: string): number | undefined {
  const m = ISO.exec(t);
  if (m === null || t.endsWith('T') || t === 'P') return undefined;
  const [w, d, h, min, s] = m.slice(1).map((x) => Number(x ?? 0));
  return (w ?? 0) * 604_800 + (d ?? 0) * 86_400 + (h ?? 0) * 3600 + (min ?? 0) * 60 + (s ?? 0);
}

/** `93784` → `1d2h3m4s`. */
export function formatDuration(seconds: number): string {
  let rest = Math.max(0, Math.round(seconds));
  const parts = (['d', 'h', 'm', 's'] as const).map((unit) => {
    const n = Math.floor(rest / (UNITS[unit] ?? 1));
    rest -= n * (UNITS[unit] ?? 1);
    return n > 0 ? `${n}${unit}` : '';
  });
  return parts.join('') || '0s';
}
