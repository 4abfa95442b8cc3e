// Runs in dom0: the calls that a pilot needs, made one after the other with nothing around them, and how long each way took.
// Arguments: what to do, the MB that dom0 is to have at the end, and the command that is xl. Or `program`, 0, and an argv
// whose whole run is timed. Prints one JSON line.
const { spawnSync } = require('node:child_process');
const { readFileSync } = require('node:fs');

const CURRENT = '/sys/devices/system/xen_memory/xen_memory0/info/current_kb';
const LOOK_MS = 20;
const DEADLINE_MS = 60_000;

const [what, mb, ...argv] = process.argv.slice(2);
const begun = process.hrtime.bigint();
const elapsed = () => Number(process.hrtime.bigint() - begun) / 1e6;

function call(...args) {
  const { status, stdout, stderr } = spawnSync(argv[0], [...argv.slice(1), ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${argv.join(' ')} ${args.join(' ')} ended with ${status}: ${stderr}`);
  return stdout;
}

const hostMb = () => Number(readFileSync(CURRENT, 'utf8')) / 1024;

function reached() {
  while (hostMb() !== Number(mb)) {
    if (elapsed() > DEADLINE_MS) throw new Error(`dom0 has ${hostMb()} MB, not ${mb}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
  }
}

const ways = {
  reduce() {
    hostMb();
    call('mem-set', '0', mb);
  },
  restore() {
    hostMb();
    call('info');
    call('mem-set', '0', mb);
  },
  'kill-all'() {
    const ids = call('list').trim().split('\n').slice(1).map((line) => line.split(/\s+/)[1]).filter((id) => id !== '0');
    for (const id of ids) call('destroy', id);
    call('mem-set', '0', mb);
  },
  program() {
    call();
  },
};

ways[what]();
const callsMs = elapsed();
if (what !== 'program') reached();
process.stdout.write(`${JSON.stringify({ callsMs, reachedMs: elapsed() })}\n`);
