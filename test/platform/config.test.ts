import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'smol-toml';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfigError, configSchema, parseConfig, readConfig } from '../../src/platform/config.ts';

const TLS = join(import.meta.dirname, '..', 'fixtures', 'ec2-tls');
const file = join(import.meta.dirname, '..', '..', 'etc', 'nimbus.toml');
const text = readFileSync(file, 'utf8');
const defaults = configSchema.parse({});

test('etc/nimbus.toml says what the program does without it', () => {
  expect(readConfig(file)).toEqual(defaults);
});

/** `a.b.c` of every value, with [] for the entries of lists. */
function keys(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.length === 0 ? [path] : value.flatMap((v) => keys(v, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([k, v]) => keys(v, `${path}.${k}`));
}

test('etc/nimbus.toml shows every key that there is', () => {
  expect(keys(parse(text)).sort()).toEqual(keys(defaults).sort());
});

test('each mistake is named with its key and what is allowed, all of them at once', () => {
  const wrong = '[ec2]\nlisten = "nowhere"\nport = 1\n[lease]\ndefault_duration = "soon"\n';
  expect(() => parseConfig(wrong, 'my.toml')).toThrow(ConfigError);
  expect(() => parseConfig(wrong, 'my.toml')).toThrow(/my\.toml: 3 mistakes\n.*ec2\.listen: must be HOST:PORT.*ec2: unknown key port.*lease\.default_duration: "soon" is no duration/s);
});

test('a syntax error is named with its line', () => {
  expect(() => parseConfig('[ec2]\nlisten = ', 'my.toml')).toThrow(/my\.toml: one mistake\n {2}line 2: /);
});

test('a file that is not there is named', () => {
  expect(() => readConfig('/nowhere/nimbus.toml')).toThrow(/nowhere\/nimbus\.toml: .*cannot be read: no such file/s);
});

test('keys that contradict each other, and wrong types, are told with what is allowed; nothing hides anything else', () => {
  const wrong = [
    'color = "red"', '[ec2]', 'listen = "0.0.0.0:9000"', 'prot = 1', 'tls_certificate = "/nowhere.pem"', '[monitoring]', 'listen = "127.0.0.1:9000"',
    '[lease]', 'default_type = "big"', 'max_duration = "1h"', 'default_duration = true', '[network]', 'forward_ports = "70000-1"',
    '[[local_nodes]]', 'name = "a"', '[[local_nodes]]', 'name = "a"', 'cpu = 3', '[types.y]', 'memory_mb = 10', '[database]', 'pool = 1000', '[scheduler]', 'mode = "pilots"', '[log]', 'level = 3',
  ].join('\n');
  const mistakes = (options: object): readonly string[] => {
    try {
      parseConfig(wrong, 'my.toml', options);
      return [];
    } catch (e) {
      return (e as ConfigError).mistakes;
    }
  };
  const told = mistakes({ files: true });
  for (const said of [
    /^\(top level\): unknown key color; allowed are site, ec2, database/, /^ec2: unknown key prot; allowed are listen, public_address/, /^ec2\.tls_key: must be set, as ec2\.tls_certificate is/,
    /^ec2\.tls_certificate: "\/nowhere\.pem" must be a file that the service can read: no such file or directory$/, /^monitoring\.listen: must be another port than that of ec2\.listen, 9000$/,
    /^lease\.default_duration: must be a time like "90m"/, /^network\.forward_ports: must be FROM-TO with 1 <= FROM/, /^local_nodes\.1: unknown key cpu; allowed are name, zone/,
    /^local_nodes\.1\.name: must be another name than that of local_nodes\.0, a$/, /^types\.y\.cores: must be a number, and is missing$/, /^database\.pool: must be <=100$/,
    /^scheduler\.mode: must be one of "greedy-static"\|"pilot"$/, /^log\.level: must be one of/,
  ]) expect(told).toContainEqual(expect.stringMatching(said));
  expect(told.filter((m) => mistakes({}).includes(m))).toHaveLength(told.length - 1);
});

test.each([
  ['[lease]\ndefault_type = "big"', 'lease.default_type: must be one of [types]: m1.small, m1.large, m1.xlarge'],
  ['[lease]\ndefault_duration = "30d"', 'lease.default_duration: must not be longer than lease.max_duration'],
  ['[pilot]\ntls_key = "/k"', 'pilot.tls_certificate: must be set, as pilot.tls_key is; or leave both empty for HTTP'],
  ['[scheduler]\nmode = "pilot"\n[pilot]\nlisten = "10.0.0.1:8444"\n[ec2]\nlisten = ":8444"', 'pilot.listen: must be another port than that of ec2.listen, 8444'],
  ['[pilot_spot]\nqueue = "low"', 'pilot_spot.queue: must be left out, as pilot.lrm is slurm'],
  ['[pilot]\nlrm = "pbs"\n[pilot_spot]\nnice = 5', 'pilot_spot.nice: must be left out, as pilot.lrm is pbs'],
  ['[ec2]\nlisten = "127.0.0.1:70000"', 'ec2.listen: the port must be 0 to 65535'],
  ['[authorization]\nmodule = "/m.mjs"\nurl = "http://h/"', 'authorization: module and url exclude each other'],
  ['[authorization]\nmodule = "m.mjs"', 'authorization.module: must be an absolute path, or empty'],
  ['[usage_sinks.ledger]\nkeep = 5', 'usage_sinks.ledger: needs module or url, one of them'],
  ['[usage_sinks.ledger]\nmodule = "/m.mjs"\nurl = "http://h/"', 'usage_sinks.ledger: needs module or url, one of them'],
  ['[usage_sinks.ledger]\nmodule = "m.mjs"', 'usage_sinks.ledger.module: must be an absolute path, or empty'],
  ['[usage_sinks.ledger]\nurl = "http://h:99999/"', 'usage_sinks.ledger.url: must be http://HOST:PORT/PATH or https://HOST:PORT/PATH, or empty'],
  ['[database]\nurl = "mysql://x"', 'database.url: must be postgres://USER:PASSWORD@HOST/DATABASE, or empty'],
  ['[database]\nurl = "postgres://h:port/x"', 'database.url: must be postgres://USER:PASSWORD@HOST/DATABASE, or empty'],
  ['[ec2]\npublic_address = "http://foo bar"', 'ec2.public_address: must be HOST or HOST:PORT, without http://, or empty'],
  ['[ec2]\npublic_address = "h:70000"', 'ec2.public_address: the port must be 0 to 65535'],
  ['[ec2]\nserver_header = "a\\nb"', 'ec2.server_header: must be printable ASCII'],
  ['[ec2]\nlisten = "::1:8444"', 'ec2.listen: must be HOST:PORT, or [ADDRESS]:PORT of IPv6; port 0 takes a free one'],
  ['[ec2]\ntls_certificate = "/c"\ntls_key = "k"', 'ec2.tls_key: must be an absolute path, or empty'],
  ['[images]\ndirectory = "images"', 'images.directory: must be an absolute path, or empty'],
  ['[log]\nfile = "nimbus.log"', 'log.file: must be an absolute path, or empty'],
  ['[pilot]\nlegacy_account = "pilots"', 'pilot.legacy_secret: must be set, as pilot.legacy_account is; or leave both empty, and pilots of the original are refused'],
  ['[pilot]\nlegacy_secret = "fifteen letters"', 'pilot.legacy_account: must be set, as pilot.legacy_secret is; or leave both empty, and pilots of the original are refused'],
  ['[scheduler]\nmode = "pilot"\n[login_node]\nhost = "login1"\nhost_key = "k"', 'login_node.user: must be set, as login_node.host is: the account of login1 whose jobs the pilots are'],
])('%s is refused', (toml, said) => {
  expect(() => parseConfig(toml, 'my.toml')).toThrow(new ConfigError('my.toml', [said]));
});

test('a default type that is none of the types is told of beside a type that is wrong', () => {
  expect(() => parseConfig('[lease]\ndefault_type = "big"\n[types.a]\nmemory_mb = 0\ncores = 1\n[types.b]\ncores = 1', 'my.toml')).toThrow(new ConfigError('my.toml', [
    'types.a.memory_mb: must be >0', 'types.b.memory_mb: must be a number, and is missing', 'lease.default_type: must be one of [types]: a, b',
  ]));
  expect(() => parseConfig('[lease]\ndefault_type = "a"\n[types.a]\ncores = 1', 'my.toml')).toThrow(new ConfigError('my.toml', ['types.a.memory_mb: must be a number, and is missing']));
});

test('a table that is misnamed says what its name may be, and is looked into', () => {
  expect(() => parseConfig('[usage_sinks."a b"]\nkeep = "x"\nkep = 1\nmodule = "/nowhere.mjs"\n[types."a b"]\nmemory_mb = 0\ncores = 1', 'my.toml', { files: true })).toThrow(new ConfigError('my.toml', [
    'types."a b".memory_mb: must be >0',
    'usage_sinks."a b".keep: must be a number',
    'usage_sinks."a b": unknown key kep; allowed are module, url, token_file, deadline_ms, keep',
    'types."a b": the name must be 1 to 64 letters, digits, ".", "_" or "-"',
    'usage_sinks."a b": the name must be 1 to 64 letters, digits, ".", "_" or "-"',
    'lease.default_type: must be one of [types]: a b',
    'usage_sinks."a b".module: "/nowhere.mjs" must be a file that the service can read: no such file or directory',
  ]));
});

describe('files and directories that the service cannot use', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'cf-'));
    writeFileSync(join(root, 'file'), 'x');
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const told = (toml: string): readonly string[] => {
    try {
      parseConfig(toml.replaceAll('ROOT', root), 'my.toml', { files: true });
      return [];
    } catch (e) {
      return (e as ConfigError).mistakes.map((m) => m.replaceAll(root, 'ROOT'));
    }
  };

  test.each([
    ['[images]\ndirectory = "ROOT/file"', 'images.directory: "ROOT/file" must be a directory that the service can write to: it is no directory'],
    ['[images]\ndirectory = "ROOT/file/images"', 'images.directory: "ROOT/file/images" must be a directory that the service can write to: a part of the path is no directory'],
    ['[images]\ndirectory = "/proc/nope"', 'images.directory: "/proc/nope" must be a directory that the service can write to: '],
    ['[log]\nfile = "ROOT"', 'log.file: "ROOT" must be a file that the service can write to: it is a directory'],
    ['[log]\nfile = "ROOT/file/log"', 'log.file: "ROOT/file/log" must be a file that the service can write to: it is no directory'],
    ['[database]\nbin = "ROOT"', 'database.bin: "ROOT" must be a directory with the programs postgres and initdb: no such file or directory'],
    ['[ec2]\ngrid_certificates = true\n[grid]\ntrust_directory = "ROOT/nope"', 'grid.trust_directory: "ROOT/nope" must be a directory that the service can read: no such file or directory'],
    ['[ec2]\ntls_certificate = "ROOT/file"\ntls_key = "KEY"', 'ec2.tls_certificate: "ROOT/file" must be a certificate in PEM: '],
    ['[ec2]\ntls_certificate = "CERT"\ntls_key = "ROOT/file"', 'ec2.tls_key: "ROOT/file" must be a private key in PEM, without a passphrase: '],
    ['[grid]\ntls_certificate = "CERT"\ntls_key = "ROOT/other"', 'grid.tls_key: "ROOT/other" must be the key of grid.tls_certificate: it is another one'],
  ])('%s', (toml, said) => {
    writeFileSync(join(root, 'other'), generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
    expect(told(toml.replace('CERT', join(TLS, 'cert.pem')).replace('KEY', join(TLS, 'key.pem')))).toEqual([expect.stringContaining(said)]);
  });

  test('are all told at once, and nothing is left where it was tried', () => {
    expect(told([
      '[ec2]', 'grid_certificates = true', '[grid]', 'trust_directory = "ROOT/nope"', '[database]', 'bin = "ROOT"', '[images]', 'directory = "ROOT/file"', '[log]', 'file = "ROOT"', '[pilot]', 'legacy_account = "a"',
    ].join('\n')).map((m) => m.split(':')[0])).toEqual(['pilot.legacy_secret', 'grid.trust_directory', 'database.bin', 'images.directory', 'log.file']);
    expect(told('[images]\ndirectory = "ROOT/new/images"\n[log]\nfile = "ROOT/log/nimbus.log"')).toEqual([]);
    expect(readdirSync(root)).toEqual(['file']);
  });

  test('are no mistake where nobody uses them', () => {
    expect(told('[grid]\ntrust_directory = "ROOT/nope"\n[database]\nurl = "postgres://u@/db?host=/run&port=1"\nbin = "ROOT"\n[pilot]\ntls_ca = "ROOT/nope"')).toEqual([]);
  });
});

test('a site’s own code that is not there is named with its key', () => {
  expect(() => parseConfig('[authorization]\nmodule = "/nowhere.mjs"\n[usage_sinks.ledger]\nurl = "http://h/"\ntoken_file = "/nowhere"', 'my.toml', { files: true })).toThrow(new ConfigError('my.toml', [
    'authorization.module: "/nowhere.mjs" must be a file that the service can read: no such file or directory',
    'usage_sinks.ledger.token_file: "/nowhere" must be a file that the service can read: no such file or directory',
  ]));
});

test('the same port at two addresses is two, and port 0 is none', () => {
  expect(() => parseConfig('[ec2]\nlisten = "10.0.0.1:80"\n[monitoring]\nlisten = "127.0.0.1:80"', 'my.toml')).not.toThrow();
  expect(() => parseConfig('[ec2]\nlisten = "127.0.0.1:0"\n[monitoring]\nlisten = "127.0.0.1:0"', 'my.toml')).not.toThrow();
});

describe('each key alone', () => {
  /** Every key with its table as the default configuration has it; an entry of tables and lists that the site names. */
  const table: Readonly<Record<string, object>> = {
    ...defaults, types: { memory_mb: 1, cores: 1, disk_mb: 0, networks: [] }, local_nodes: defaults.local_nodes[0] ?? {},
    usage_sinks: configSchema.parse({ usage_sinks: { a: {} } }).usage_sinks['a'] ?? {},
  };
  const all = Object.entries(table).flatMap(([section, t]) => Object.keys(t).map((key) => [`${section}.${key}`, section, key] as const));
  const read = (section: string, key: string, value: unknown): void => {
    const entry = { ...section === 'types' ? { memory_mb: 1, cores: 1 } : section === 'local_nodes' ? { name: 'a' } : section === 'usage_sinks' ? { module: '/m.mjs' } : {}, [key]: value };
    const put = section === 'types' ? { 'm1.small': entry } : section === 'usage_sinks' ? { a: entry } : section === 'local_nodes' ? [entry] : entry;
    parseConfig(stringify({ [section]: put }), 'my.toml');
  };
  const told = (section: string, key: string, value: unknown): readonly string[] => {
    try {
      read(section, key, value);
      return [];
    } catch (e) {
      return (e as ConfigError).mistakes;
    }
  };

  test.each(all)('%s: what it says of a wrong value is what is allowed', (_name, section, key) => {
    for (const value of [true, [], [true], { a: 1 }, 'n o', '', '0s', -1, 1.5, 2 ** 31, 2 ** 53]) {
      for (const mistake of told(section, key, value)) expect(mistake).toMatch(/^[\w."]+: (?:must |needs |"[^"]*" is no duration; write e\.g\. |unknown key a; allowed are )/);
    }
  });

  test.each(all)('%s: what is too large for the database and for moments is a mistake', (_name, section, key) => {
    expect(() => read(section, key, 2 ** 31 * 1000)).toThrow(ConfigError);
    if (told(section, key, '90m').length === 0 && told(section, key, 'soon').length > 0) expect(told(section, key, '999999999w')).toContain(`${section}.${key}: must be at most "18262d"`);
  });
});
