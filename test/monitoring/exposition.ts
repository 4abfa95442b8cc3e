/**
 * Reads the text format of Prometheus (its documentation, "Exposition formats", version 0.0.4) and complains about whatever is not
 * exactly that. For tests.
 */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}
export interface Family {
  readonly name: string;
  readonly type: string;
  readonly samples: readonly Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/gy;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = { histogram: ['_bucket', '_sum', '_count'], summary: ['', '_sum', '_count'] };

export function readExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, { name: string; type: string; help: boolean; samples: Sample[] }>();
  let open: { name: string; type: string; help: boolean; samples: Sample[] } | undefined;
  for (const line of text.split('\n').filter((l) => l !== '')) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (comment === null) {
      if (open === undefined) throw new Error(`a sample before its family: ${line}`);
      open.samples.push(sampleOf(line, open));
      continue;
    }
    const [, what, name = '', rest = ''] = comment;
    if (!NAME.test(name)) throw new Error(`no name: ${line}`);
    if (what === 'HELP') {
      if (families.has(name)) throw new Error(`a second family ${name}`);
      families.set(name, (open = { name, type: '', help: true, samples: [] }));
    } else {
      if (open?.name !== name || open.type !== '' || open.samples.length > 0) throw new Error(`a type in the wrong place: ${line}`);
      if (!['counter', 'gauge', 'histogram', 'summary', 'untyped'].includes(rest)) throw new Error(`no type: ${line}`);
      open.type = rest;
    }
  }
  for (const family of families.values()) checkFamily(family);
  return families;
}

function sampleOf(line: string, family: { name: string; type: string }): Sample {
  const m = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/.exec(line);
  if (m === null) throw new Error(`no sample: ${line}`);
  const [, name = '', inner = '', figure = ''] = m;
  if (!(SUFFIXES[family.type] ?? ['']).some((s) => name === family.name + s)) throw new Error(`${name} is no sample of ${family.name}`);
  const value = figure === '+Inf' ? Infinity : figure === '-Inf' ? -Infinity : Number(figure);
  // Prometheus reads it in any case of letters (Go, strconv.ParseFloat).
  if (Number.isNaN(value) && figure.toLowerCase() !== 'nan') throw new Error(`no figure: ${line}`);
  return { name, labels: labelsOf(inner, line), value };
}

function labelsOf(inner: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let at = 0;
  LABEL.lastIndex = 0;
  for (let m = LABEL.exec(inner); m !== null; m = LABEL.exec(inner)) {
    const [, key = '', value = ''] = m;
    if (Object.hasOwn(labels, key)) throw new Error(`the label ${key} twice: ${line}`);
    labels[key] = value;
    at = LABEL.lastIndex;
  }
  if (at !== inner.length) throw new Error(`labels that cannot be read: ${line}`);
  return labels;
}

function checkFamily({ name, type, samples }: Family): void {
  if (type === '') throw new Error(`${name} has no type`);
  const seen = new Set<string>();
  for (const s of samples) {
    const key = `${s.name} ${JSON.stringify(Object.entries(s.labels).sort())}`;
    if (seen.has(key)) throw new Error(`twice: ${key}`);
    seen.add(key);
  }
  if (type === 'counter' && samples.some((s) => s.value < 0)) throw new Error(`${name} is negative`);
  if (type === 'histogram') checkHistogram(name, samples);
}

/** Of each series: buckets go up, in figures and bounds, and the last one is the count. */
function checkHistogram(name: string, samples: readonly Sample[]): void {
  const series = new Map<string, Sample[]>();
  for (const s of samples) {
    const { le: _le, ...rest } = s.labels;
    const key = JSON.stringify(Object.entries(rest).sort());
    series.set(key, [...(series.get(key) ?? []), s]);
  }
  for (const of of series.values()) {
    const buckets = of.filter((s) => s.name === `${name}_bucket`);
    const bounds = buckets.map((b) => (b.labels['le'] === '+Inf' ? Infinity : Number(b.labels['le'])));
    const rising = (all: readonly number[]): boolean => all.every((n, i) => i === 0 || n >= (all[i - 1] ?? 0));
    const count = of.find((s) => s.name === `${name}_count`)?.value;
    if (!rising(bounds) || bounds.at(-1) !== Infinity || !rising(buckets.map((b) => b.value)) || buckets.at(-1)?.value !== count) throw new Error(`${name} is no histogram`);
    if (!of.some((s) => s.name === `${name}_sum`)) throw new Error(`${name} has no sum`);
  }
}
