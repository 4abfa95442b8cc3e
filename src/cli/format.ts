/** Figures as administrators read and write them. */
import { isIPv4 } from 'node:net';
import { InvalidArgumentError } from 'commander';
import { formatDuration, parseDuration } from '../lease/duration.ts';
import { UsageError } from './exit.ts';

/** `2026-11-22 17:31Z`: the zone of the log. */
export function time(ms: number | null): string {
  return ms === null ? '-' : `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')}Z`;
}

/** `2026-11-22 17:31:24.587Z`: what times after it are counted from. */
export const moment = (ms: number): string => new Date(ms).toISOString().replace('T', ' ');

/** What is left until `ms`, in its two largest units. */
export function left(ms: number | null, now: number): string {
  if (ms === null) return '-';
  if (ms <= now) return 'due';
  return formatDuration((ms - now) / 1000).replace(/^(\d+[dhms])(\d+[dhms])?.*$/, '$1$2');
}

export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let [value, unit] = [n, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `7d` (ago) or a date that ISO 8601 knows, as ms since the epoch. */
export function since(text: string, now: number): number {
  const seconds = parseDuration(text);
  return seconds === undefined ? date(text) : Math.max(0, now - seconds * 1000);
}

export function date(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(ms)) throw new UsageError(`"${text}" is no date; write e.g. 2026-12-01 or 2026-12-01T18:00Z`);
  return ms;
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number, 0 or more.');
  return Number(text);
}

export function ipv4(text: string): string {
  if (!isIPv4(text)) throw new InvalidArgumentError('It must be an IPv4 address.');
  return text;
}

export function list(text: string): string[] {
  return text.split(',').map((t) => t.trim()).filter((t) => t !== '');
}

/** `1 lease`, `2 leases` */
export const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** Between words; a longer word stands alone. */
export function wrapped(sentence: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of sentence.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || [...last].length + 1 + [...word].length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
