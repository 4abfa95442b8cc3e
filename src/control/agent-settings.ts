/**
 * The settings file of an agent (`agent.json`). The service writes the keys that follow from its own configuration; what
 * an administrator wrote beside them (`helper`, `parallel`, parts of `qemu`) stays, or every contact would undo it.
 */
type Settings = Readonly<Record<string, unknown>>;

/** @throws Error with a sentence when the file that is there is no JSON object */
export function mergedSettings(before: string | undefined, given: Settings, file: string): Settings {
  if (before === undefined) return given;
  let kept: unknown;
  try {
    kept = JSON.parse(before);
  } catch {
    kept = undefined;
  }
  if (!isObject(kept)) throw new Error(`${file} is no JSON object; mend it or remove it`);
  return merge(kept, given);
}

function merge(kept: Settings, given: Settings): Settings {
  const both = Object.entries(given).map(([key, value]) => {
    const old = kept[key];
    return [key, isObject(old) && isObject(value) ? merge(old, value) : value] as const;
  });
  return { ...kept, ...Object.fromEntries(both) };
}

const isObject = (v: unknown): v is Settings => typeof v === 'object' && v !== null && !Array.isArray(v);
