import { execFileSync, spawn } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ENDPOINT, NotOffered, play, ROW, SIGNATURE as VERSION, until } from './session.mjs';

const JARS = ['axis', 'jaxrpc', 'saaj', 'wsdl4j', 'commons-discovery', 'commons-logging', 'javax.mail', 'javax.activation'].map((jar) => `/usr/share/java/${jar}.jar`).join(':');
const HERE = join(import.meta.dirname, 'axis');
const TAGS = '2010-08-31';
const MAIN = VERSION < TAGS ? 'Ec2' : 'Ec2Tags';
const work = join(process.env.HOME, `axis-${VERSION}`);
const [sources, classes] = [join(work, 'sources'), join(work, 'classes')];
const java = (...args) => execFileSync('java', args, { stdio: ['ignore', 'ignore', 'inherit'] });

/** Stubs of the WSDL that the service gives out, and the calls of the session by them; once for the session and the guest. -W: inputs and outputs as what they are. */
function compile() {
  mkdirSync(work, { recursive: true });
  java('-cp', JARS, 'org.apache.axis.wsdl.WSDL2Java', '-W', '-O', '30', '-o', sources, `${ENDPOINT}/?wsdl&version=${VERSION}`);
  const names = { DOC: `_${VERSION.replaceAll('-', '_')}`, NEW_STATE: VERSION < '2010-06-15' ? 'ShutdownState' : 'CurrentState' };
  for (const name of new Set(['Signer', 'Ec2', MAIN])) {
    writeFileSync(join(sources, `${name}.java`), readFileSync(join(HERE, `${name}.java`), 'utf8').replaceAll(/\b(get)?(DOC|NEW_STATE)\b/g, (_, get = '', word) => get + names[word]));
  }
  // Of the stubs only what is called is compiled.
  java('-m', 'jdk.compiler/com.sun.tools.javac.Main', '-nowarn', '-Xlint:none', '-XDsuppressNotes', '-encoding', 'UTF-8', '-cp', JARS, '-sourcepath', sources, '-d', classes, join(sources, `${MAIN}.java`));
}

class Fault extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** A client in a process of its own, which ends with its input. Java reads keys as PKCS #8 only, as `openssl pkcs8 -topk8 -nocrypt` writes them. */
function connect(name, keyFile) {
  const key = join(work, `${name}.key`);
  writeFileSync(key, createPrivateKey(readFileSync(keyFile)).export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const child = spawn('java', ['-cp', `${classes}:${JARS}`, MAIN, `${ENDPOINT}/`, process.env.EC2_CERT, key], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const call = async (...words) => {
    child.stdin.write(`${words.map((w) => Buffer.from(String(w)).toString('base64')).join(' ')}\n`);
    const { value = '' } = await answers.next();
    const [kind, ...gave] = value.split(' ').map((w) => Buffer.from(w, 'base64').toString());
    if (kind === 'fault') throw new Fault(...gave);
    if (kind !== 'gave') throw new Error('the client has ended');
    return gave;
  };
  return { call, end: () => child.stdin.end() };
}

class Axis {
  version = execFileSync('java', ['-cp', JARS, 'org.apache.axis.Version'], { encoding: 'utf8' }).match(/version: (\S+)/)[1];
  how = { running: 'poll', terminated: 'poll' };
  #call;

  constructor(call) { this.#call = call; }

  async images() { return (await this.#call('images')).map((location) => location.split('/').at(-1)); }

  async keyPair(name) { return (await this.#call('key pair', name))[0]; }

  run(image, count, key, userData) { return this.#call('run', image, count, key, userData); }

  async wait(ids, state) {
    await until(async () => (await this.#call('states', ...ids)).every((s) => s === state));
    return this.#call('states', ...ids);
  }

  async console(id) { return Buffer.from((await this.#call('console', id))[0], 'base64').toString(); }

  #tagged(...words) {
    if (VERSION < TAGS) throw new NotOffered(`no tags and filters in ${VERSION}`);
    return this.#call(...words);
  }

  async tag(id, name) { return this.#tagged('tag', id, name); }

  async find(name) { return this.#tagged('find', name); }

  async reboot(ids) { return (await this.#call('reboot', ...ids))[0] === 'true'; }

  terminate(ids) { return this.#call('terminate', ...ids); }

  look(id) { return this.#call('states', id); }

  tryRun(image) { return this.run(image, 0, ROW, ''); }

  async wayIn(id) {
    if (VERSION < TAGS) return { address: (await this.#call('address', id))[0] };
    const [address, command] = await this.#call('way in', id);
    return { address, command };
  }

  shown({ code, message }) { return { code, status: null, message }; }
}

if (!existsSync(classes)) compile();
const [own, wrong] = [connect('own', process.env.EC2_PRIVATE_KEY), connect('wrong', process.env.WRONG_PRIVATE_KEY)];
await play(new Axis(own.call), new Axis(wrong.call));
own.end();
wrong.end();
