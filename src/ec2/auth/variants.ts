/**
 * Clients sign other forms of host and path than they send. Host: Net::Amazon::EC2 and the ruby gem amazon-ec2 send
 * `name:port` and sign `name`; behind a proxy the public port may be missing. Path: boto 2 turns `/x` into `/x/`, the AWS
 * Java SDK signs `/` whatever the path, others sign it in lower case. Parameters: what encodes forms leaves `*` as it is, and
 * may write a space as `+` and `~` as an escape; each form stands for the same parameters and for no others. Nothing is decided by host or path, so accepting
 * these forms lets nobody do more than the signer meant.
 */
const MAX_PATH = 1024;
const MAX_QUERY = 65_536;

/** `ports`: the listener's own and the public one. */
export function hostVariants(host: string, ports: readonly string[]): readonly string[] {
  const sent = host.toLowerCase();
  const bare = sent.replace(/:\d{1,5}$/, '');
  const all = [sent, bare, ...ports.map((p) => `${bare}:${p}`)];
  return all.filter((h, i) => all.indexOf(h) === i);
}

export function pathVariants(path: string): readonly string[] {
  if (path === '/') return ROOT;
  if (path.length > MAX_PATH) return [path];
  const toggled = path.endsWith('/') ? path.slice(0, -1) : `${path}/`;
  const all = [path, toggled, path.toLowerCase(), toggled.toLowerCase(), '/'];
  return all.filter((p, i) => p !== '' && all.indexOf(p) === i);
}
const ROOT: readonly string[] = ['/'];

/** `query`: encoded by RFC 3986, of version 2. */
export function queryVariants(query: string): readonly string[] {
  if (query.length > MAX_QUERY || !/%2[0A]|~/.test(query)) return [query];
  const star = query.replaceAll('%2A', '*');
  const all = [query, star, star.replaceAll('%20', '+').replaceAll('~', '%7E')];
  return all.filter((q, i) => all.indexOf(q) === i);
}
