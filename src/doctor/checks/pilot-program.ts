/** Whether the pilot that jobs start is there, and of this version. */
import { fail, note, ok, warn } from '../findings.ts';
import type { BatchCheck, DoctorSite, Finding } from '../types.ts';

const VERSION_MS = 15_000;
/** An interpreter before it, or a name to be searched, says nothing of where it is. */
const CHECK = 'pilot program';

export const pilotProgram: BatchCheck = {
  name: CHECK,
  async look(_batch, site) {
    const { program } = site.config.pilot;
    const first = program[0] ?? '';
    if (!first.startsWith('/')) {
      return [warn(CHECK, `pilot.program = ${JSON.stringify(program)} is searched in the PATH of jobs, which differs from site to site`, 'give its full path'), await versionHere(site)];
    }
    return [await versionHere(site)];
  },
};

async function versionHere({ config: { pilot, login_node: login }, local, version }: DoctorSite): Promise<Finding> {
  const shown = pilot.program.join(' ');
  const everywhere = `every node must have it: ${shown} --version`;
  const ran = await local.run([...pilot.program, '--version'], { timeoutMs: VERSION_MS });
  if (ran.code === 0) return compare(ran.stdout, version, everywhere);
  if (ran.code === null) {
    return note(CHECK, `${shown} cannot be run on this machine (${ran.failure ?? 'it did not start'}), which need not have it`,
      login.host === '' ? everywhere : `${everywhere}; ${login.host} is a good place to look`, 'copy dist/workspace-pilot.cjs there, mode 0755; its path may hold the version, as jobs queued before an upgrade start after it');
  }
  return fail(CHECK, `${shown} --version ends with ${ran.code}: ${firstLine(ran.stderr) || 'it says nothing'}`, 'install the pilot of this version at that path, and Node 20.19 or newer');
}

function compare(stdout: string, version: string, everywhere: string): Finding {
  const found = /\d+\.\d+\.\d+\S*/.exec(stdout)?.[0];
  if (found === version) return ok(CHECK, `the pilot is version ${version}, as the service; ${everywhere}`);
  return fail(CHECK, `the pilot says "${firstLine(stdout)}", the service is version ${version}`, 'install the pilot of this version beside the old one, and set pilot.program to it: jobs that are queued keep the old one');
}

const firstLine = (text: string): string => (text.trim().split('\n')[0] ?? '').slice(0, 200);
