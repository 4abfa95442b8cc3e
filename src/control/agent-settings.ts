/**
 * The settings file of an agent (`agent.json`). The service writes the keys that follow from its own configuration; what
 * an administrator wrote beside them (`helper`, `qemu`, `parallel`) stays, or every upgrade would undo it.
 */
type Settings = Readonly<Record<string, unknown>>;

/** IPv4 in dotted form, or a host name: what the agent's `reachHost` takes. User-mode networks forward IPv4 only. */
const NAME_OR_IPV4 = /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/;
const LOOPBACK = /^(?:127\.|localhost$)/;

/** @throws Error with a sentence when the file that is there is no JSON object */
export function mergedSettings(before: string | undefined, given: Settings, file: string): Settings {
  if (before === undefined) return given;
  let kept: unknown;
  try {
    kept = JSON.parse(before);
  } catch {
    kept = undefined;
  }
  if (typeof kept !== 'object' || kept === null || Array.isArray(kept)) throw new Error(`${file} is no JSON object; mend it or remove it`);
  return { ...kept, ...given };
}

/**
 * Guests of user-mode networks are reached through ports of their node. On another machine these must be open beyond its
 * loopback, and the address that users are told is the one by which the administrator named the machine. An
 * administrator's own `qemu` settings go first.
 */
export function withReach(settings: Settings, host: string): Settings {
  if (settings['qemu'] !== undefined || LOOPBACK.test(host) || !NAME_OR_IPV4.test(host)) return settings;
  return { ...settings, qemu: { bindAddress: '0.0.0.0', reachHost: host } };
}
