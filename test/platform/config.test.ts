import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { expect, test } from 'vitest';
import { ConfigError, configSchema, parseConfig, readConfig } from '../../src/platform/config.ts';

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
  ['[pilot]\ntls_key = "k"', 'pilot.tls_certificate: must be set, as pilot.tls_key is; or leave both empty for HTTP'],
  ['[scheduler]\nmode = "pilot"\n[pilot]\nlisten = "10.0.0.1:8444"\n[ec2]\nlisten = ":8444"', 'pilot.listen: must be another port than that of ec2.listen, 8444'],
  ['[pilot_spot]\nqueue = "low"', 'pilot_spot.queue: must be left out, as pilot.lrm is slurm'],
  ['[pilot]\nlrm = "pbs"\n[pilot_spot]\nnice = 5', 'pilot_spot.nice: must be left out, as pilot.lrm is pbs'],
  ['[ec2]\nlisten = "127.0.0.1:70000"', 'ec2.listen: the port must be 0 to 65535'],
  ['[authorization]\nmodule = "/m.mjs"\nurl = "http://h/"', 'authorization: module and url exclude each other'],
  ['[authorization]\nmodule = "m.mjs"', 'authorization.module: must be an absolute path, or empty'],
  ['[usage_sinks.ledger]\nkeep = 5', 'usage_sinks.ledger: needs module or url, one of them'],
])('%s is refused', (toml, said) => {
  expect(() => parseConfig(toml, 'my.toml')).toThrow(new ConfigError('my.toml', [said]));
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
