/** Addresses as people configure them: `host:port`, `[::1]:port`, `host`, or a URL of which only these parts count. */
export function hostAndPort(address: string): { host: string; port: string } {
  const m = /^(?:https?:\/\/)?(\[[0-9A-Fa-f:.]+\]|[^:/[\]]*)(?::(\d{1,5}))?(?:\/.*)?$/.exec(address);
  if (m === null) return { host: '', port: '' };
  return { host: (m[1] ?? '').replace(/^\[|\]$/g, ''), port: m[2] ?? '' };
}

/** The host part of a URL that leads here: loopback when the listener takes every address. */
export function urlHost(host: string): string {
  if (host === '' || host === '*' || host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
