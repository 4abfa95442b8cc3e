/** What grid clients are believed by: authorities, their policies and revocation lists, the grid-mapfile. Where no listener is for them, nothing. */
import { openMapfile } from '../../grid/trust/mapfile.ts';
import { openTrustDirectory, type TrustDirectory } from '../../grid/trust/directory.ts';
import type { Authority } from '../../grid/certificates/types.ts';
import { reasonText } from '../../platform/errors.ts';
import { fail, ok, warn } from '../findings.ts';
import type { Check, DoctorSite, Finding } from '../types.ts';

const CHECK = 'trust directory';
const DAY_MS = 86_400_000;
const SOON_DAYS = 21;
const NEVER_MS = 86_400_000;
const MOST = 10;

export const trust: Check = {
  name: CHECK,
  async look(site) {
    const { grid } = site.config;
    if (grid.tls_certificate === '') return [];
    return [...await directory(site), ...(grid.mapfile === '' ? [] : await mapfile(site))];
  },
};

async function directory(site: DoctorSite): Promise<Finding[]> {
  const { trust_directory: place } = site.config.grid;
  let found: TrustDirectory;
  try {
    found = await openTrustDirectory(site.ctx, place, NEVER_MS);
  } catch (e) {
    return [fail(CHECK, `grid.trust_directory = ${place} cannot be read: ${reasonText(e)}`, 'put certificates of authorities there, or make a test authority: nimbus ca init')];
  }
  found.stop();
  if (found.all.length === 0) return [fail(CHECK, `${place} has no authorities: no grid client is believed`, 'files are named HASH.0, by "openssl x509 -subject_hash"')];
  const problems = found.problems.slice(0, MOST).map((p) => warn(CHECK, `${place}/${p.file} does not count: ${p.why}`, 'mend or remove it'));
  const wrong = found.all.flatMap((a) => authority(site, a));
  return [...problems, ...wrong, ...(problems.length + wrong.length === 0 ? [ok(CHECK, `${place} has ${found.all.length} ${found.all.length === 1 ? 'authority' : 'authorities'} that can be used`)] : [])];
}

function authority({ ctx, config: { grid } }: DoctorSite, { certificate, policy, crl }: Authority): Finding[] {
  const name = certificate.subject.slash;
  const now = ctx.clock.now();
  const days = Math.floor((certificate.notAfter - now) / DAY_MS);
  const found: Finding[] = [];
  if (days < 0) found.push(warn(CHECK, `the authority ${name} has expired: nobody whom it signed is believed`, 'remove it, or get its new certificate'));
  else if (days < SOON_DAYS) found.push(warn(CHECK, `the authority ${name} is valid for ${days} more days`, 'get its new certificate'));
  if (policy === undefined && grid.signing_policy === 'required') found.push(warn(CHECK, `the authority ${name} has no signing policy: nobody whom it signed is believed`, 'put HASH.signing_policy beside its certificate'));
  if (policy !== undefined && 'of' in policy && policy.of(name) === undefined) found.push(warn(CHECK, `the signing policy beside ${name} does not speak of it`, 'its access_id_CA must be the name of the authority'));
  return [...found, ...revocation(name, crl, now, grid.crl === 'required')];
}

function revocation(name: string, crl: Authority['crl'], now: number, required: boolean): Finding[] {
  if (crl === undefined) return required ? [warn(CHECK, `the authority ${name} has no revocation list: nobody whom it signed is believed`, 'get it with fetch-crl, or from the authority')] : [];
  if ('unusable' in crl) return [warn(CHECK, `the revocation list of ${name} cannot be used, so nobody whom it signed is believed: ${crl.unusable}`, 'get it anew')];
  const left = (crl.nextUpdate ?? Infinity) - now;
  if (left < 0) return [fail(CHECK, `the revocation list of ${name} is out of date: nobody whom it signed is believed`, 'run fetch-crl, and see why nobody did')];
  return left < DAY_MS ? [warn(CHECK, `the revocation list of ${name} is good for less than a day`, 'see that fetch-crl runs')] : [];
}

async function mapfile({ ctx, config: { grid: { mapfile: file } } }: DoctorSite): Promise<Finding[]> {
  try {
    const map = await openMapfile(ctx, file, NEVER_MS);
    map.stop();
    const problems = map.problems.slice(0, MOST).map((p) => warn(CHECK, `${file}: ${p}`, 'mend the line; the others count'));
    return problems.length > 0 ? problems : [ok(CHECK, `${file} names ${map.entries} ${map.entries === 1 ? 'certificate' : 'certificates'}`)];
  } catch (e) {
    return [fail(CHECK, `grid.mapfile = ${file} cannot be read: ${reasonText(e)}`, 'it must be a file that the service can read')];
  }
}
